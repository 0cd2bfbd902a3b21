"""params.yaml: every figure and choice of the pipeline, frozen."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from .errors import ParamsError
from .yaml_file import FROM_HERE, Strict, load_yaml

Share = Annotated[float, Field(gt=0, lt=1)]


class Validate(Strict):
    """Limits on the dataset."""

    min_rows: Annotated[int, Field(ge=1)]
    max_rejected_share: Annotated[float, Field(ge=0, lt=1)]


class Feedback(Strict):
    """Which labels count."""

    max_delay_days: Annotated[int, Field(ge=1, le=36_500)]


class Split(Strict):
    """How many rows are held out."""

    test_share: Share


class Model(Strict):
    """The estimator by import path, and its parameters."""

    estimator: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]
    parameters: dict[str, Any]


class Evaluate(Strict):
    """How uncertainty is measured."""

    bootstrap_samples: Annotated[int, Field(ge=100)]


class Gate(Strict):
    """What a model must reach to be exported."""

    min_gain_in_standard_errors: Annotated[float, Field(ge=0)]
    max_single_feature_score: Share


class Params(Strict):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    validate_: Validate = Field(alias="validate")
    feedback: Feedback
    split: Split
    model: Model
    evaluate: Evaluate
    gate: Gate
    artefact: Literal["onnx", "skops"]


def load_params(path: Path) -> Params:
    """Read the parameters.

    Raises:
        ParamsError: the file is missing, no YAML, or has an unknown key or a wrong value.
    """
    return load_yaml(path, Params, ParamsError, FROM_HERE)
