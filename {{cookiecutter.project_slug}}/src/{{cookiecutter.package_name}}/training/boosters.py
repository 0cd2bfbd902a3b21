"""LightGBM and XGBoost, where they are installed: onnxmltools converts them for skl2onnx."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.base import is_classifier

CONVERTERS = {
    "lightgbm": ("LightGbm", "convert_lightgbm"),
    "xgboost": ("XGBoost", "convert_xgboost"),
}
"""For each library, the module and the function in onnxmltools."""


def register_converter(estimator: Any) -> None:
    """Let skl2onnx convert the estimator, if it is from one of the libraries."""
    library = type(estimator).__module__.partition(".")[0]
    if library not in CONVERTERS:
        return
    module, name = CONVERTERS[library]
    folder = f"onnxmltools.convert.{library}.operator_converters"
    convert = getattr(import_module(f"{folder}.{module}"), name)

    if library == "lightgbm":
        convert = _with_float32_thresholds(convert)
    classifies = is_classifier(estimator)
    update_registered_converter(
        type(estimator),
        type(estimator).__name__,
        calculate_linear_classifier_output_shapes
        if classifies
        else calculate_linear_regressor_output_shapes,
        convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]} if classifies else None,
    )


def float32_below(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest float32 that is at most each threshold.

    A float32 input is at most a threshold exactly where it is at most the next float32 below it;
    rounded to the nearest instead, inputs that equal the rounded threshold change sides.
    """
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, below, rounded)


def _with_float32_thresholds(convert: Callable[..., None]) -> Callable[..., None]:
    """A converter for LightGBM, whose thresholds are float64; those of XGBoost are float32."""

    def converted(scope: Any, operator: Any, container: Any) -> None:
        add = container.add_node

        def add_node(kind: str, *args: Any, **attributes: Any) -> None:
            if "nodes_values" in attributes:
                exact = np.array(attributes["nodes_values"], np.float64)
                attributes["nodes_values"] = float32_below(exact).tolist()
            add(kind, *args, **attributes)

        container.add_node = add_node
        try:
            convert(scope, operator, container)
        finally:
            del container.add_node

    return converted
