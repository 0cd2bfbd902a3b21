"""Export: the folder that is served, with an artefact that agrees with the model."""

import hashlib
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..errors import ExportError, GateError
from ..features import Encoder, derived_sha256
from ..files import read_json, replaced, write_bytes
from ..layout import Layout
from ..params import load_params
from ..serving.predictor import DESCRIPTION, load_predictor, sealed
from .evaluate import answers
from .parity import compare, probes
from .rows import to_rows
from .skops_file import load

OPSET = 21
"""The ONNX operator set; ONNX Runtime has run it since 1.20."""
OTHER_WAY = "set artefact: skops in params.yaml, or choose another model.estimator"


def run(layout: Layout = Layout()) -> None:
    """Write the artefact, its description and the contract, and compare it with the model.

    Raises:
        GateError: the gate has not passed this model.
        ExportError: the model cannot be exported, or the artefact answers otherwise.
    """
    if not read_json(layout.gate_report)["passed"]:
        raise GateError(f"{layout.gate_report}: the model was refused, so it is not exported")
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    model = load(layout.model)
    onnx = params.artefact == "onnx"
    content = to_onnx(contract, model) if onnx else layout.model.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    description = {
        "name": contract.name,
        "version": f"{contract.name}@{digest[:12]}",
        "task": contract.task,
        "artefact": f"model.{params.artefact}",
        "sha256": digest,
        "contract_sha256": hashlib.sha256(layout.contract.read_bytes()).hexdigest(),
        "derived_sha256": derived_sha256(),
        "estimator": params.model.estimator,
        "scikit_learn": sklearn.__version__,
        "metrics": read_json(layout.metrics)["model"],
    }
    held_out = to_rows(contract, read_table(layout.test)).features
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary), content, description, layout.contract)
        rows = probes(contract, held_out, params.seed)
        given = load_predictor(Path(temporary)).answers(rows)
        parity = compare(given, answers(contract, model, rows.table()))
    linear = hasattr(model.named_steps["estimator"], "coef_")
    if not parity.agrees(linear):
        raise ExportError(
            f"the {params.artefact} artefact does not agree with {params.model.estimator}:"
            f" {parity.differing} of {parity.rows} rows differ, by {parity.largest:.2g} at most,"
            f" {parity.flipped} labels flipped; {OTHER_WAY}"
        )
    with replaced(layout.serving) as folder:
        _write(folder, content, description, layout.contract)
    print(
        f"export: {description['version']} in {layout.serving}; {parity.rows} rows compared,"
        f" largest difference {parity.largest:.2g}, {parity.flipped} labels flipped"
    )


def to_onnx(contract: Contract, model: Pipeline) -> bytes:
    """The model as ONNX with two inputs, `numbers` (float32) and `categories` (text).

    Raises:
        ExportError: skl2onnx cannot convert it; the message names the other way.
    """
    encoder = Encoder(contract)
    inputs: list[tuple[str, Any]] = []
    if encoder.numbers:
        inputs.append(("numbers", FloatTensorType([None, len(encoder.numbers)])))
    if encoder.categories:
        inputs.append(("categories", StringTensorType([None, len(encoder.categories)])))
    model = _with_float32_thresholds(model)
    options = {id(model): {"zipmap": False}} if contract.task == "classification" else None
    try:
        graph = convert_sklearn(model, contract.name, inputs, options=options, target_opset=OPSET)
    except Exception as fault:  # skl2onnx raises whatever its converters raise
        raise ExportError(
            f"{type(model.named_steps['estimator']).__name__} cannot be exported to ONNX:"
            f" {str(fault)[:300]}; {OTHER_WAY}"
        ) from fault
    # skl2onnx lists the operator sets in the order of a hash that changes from run to run.
    opsets = sorted(graph.opset_import, key=lambda opset: opset.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def _with_float32_thresholds(model: Pipeline) -> Pipeline:
    """A copy whose histogram trees compare as before once their thresholds are float32.

    A float32 input is at most a threshold exactly where it is at most the next float32 below it;
    rounded to the nearest instead, inputs that equal the rounded threshold change sides.
    """
    model = deepcopy(model)
    for trees in getattr(model.named_steps["estimator"], "_predictors", []):
        for tree in trees:
            exact = tree.nodes["num_threshold"]
            rounded = exact.astype(np.float32)
            below = np.nextafter(rounded, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(rounded > exact, below, rounded)
    return model


def _write(folder: Path, content: bytes, description: dict[str, Any], contract: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / str(description["artefact"]), content)
    write_bytes(folder / "contract.yaml", contract.read_bytes())
    write_bytes(folder / DESCRIPTION, sealed(description))
