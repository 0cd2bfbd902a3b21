"""Export: the folder that is served, with an artefact that agrees with the model."""

import hashlib
from copy import deepcopy
from time import perf_counter
from typing import Any

import numpy as np
import sklearn
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..errors import ArtefactError, ExportError
from ..features import Encoder, Features, derived_sha256
from ..files import json_bytes, read_json, replaced, write_json
from ..layout import Layout
from ..params import load_params
from ..serving.predictor import BACKGROUND, DESCRIPTION, Predictor, load_predictor, sealed
from .boosters import float32_below, register_converter
from .evaluate import answers
from .parity import compare, probes
from .pipeline import is_linear
from .rows import to_background, to_rows
from .skops_file import load

OPSETS = {"": 21, "ai.onnx.ml": 3}
"""The ONNX operator sets; ONNX Runtime has run the first since 1.20. Trees are those of the other,
the newest that onnxmltools writes."""
TIMED = 300
"""Rows answered one by one, of which the slowest hundredth counts."""


def run(layout: Layout = Layout()) -> None:
    """Write the candidate: the artefact, its description and what it answers by.

    How far it agrees with the model, how fast and how large it is go into a report, for the gate.

    Raises:
        ExportError: the model cannot be exported, or answers nothing once it is.
    """
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    model = load(layout.model)
    onnx = params.artefact == "onnx"
    content = to_onnx(contract, model) if onnx else layout.model.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    metrics = layout.metrics.read_bytes()
    background = json_bytes(to_background(contract, read_table(layout.train), params.seed))
    description = {
        "name": contract.name,
        "version": f"{contract.name}@{digest[:12]}",
        "task": contract.task,
        "artefact": f"model.{params.artefact}",
        "sha256": digest,
        "contract_sha256": hashlib.sha256(layout.contract.read_bytes()).hexdigest(),
        "metrics_sha256": hashlib.sha256(metrics).hexdigest(),
        "background_sha256": hashlib.sha256(background).hexdigest(),
        "derived_sha256": derived_sha256(),
        "estimator": params.model.chosen.estimator,
        "scikit_learn": sklearn.__version__,
        "decision": read_json(layout.decision),
        "metrics": read_json(layout.metrics)["metrics"],
        "audience": params.card.audience,
        "limits": params.card.limits,
    }
    files = {
        str(description["artefact"]): content,
        "contract.yaml": layout.contract.read_bytes(),
        "metrics.json": metrics,
        BACKGROUND: background,
        DESCRIPTION: sealed(description),
    }
    with replaced(layout.candidate) as folder:
        folder.mkdir()
        for name, part in files.items():
            (folder / name).write_bytes(part)
    try:
        predictor = load_predictor(layout.candidate)
    except ArtefactError as fault:
        if not onnx:
            raise
        raise ExportError(
            f"{params.model.chosen.estimator} was exported to ONNX, which does not answer: {fault};"
            " set artefact: skops in params.yaml, or choose another estimator"
        ) from fault
    rows = probes(contract, to_rows(contract, read_table(layout.test)).features, params.seed)
    parity = compare(predictor, rows, answers(contract, model, rows.table()))
    report = {
        "estimator": params.model.chosen.estimator.rpartition(".")[2],
        "linear": is_linear(model),
        "rows": parity.rows,
        "differing": parity.differing / parity.rows,
        "flipped": parity.flipped if contract.labels else None,
        "largest": parity.largest if np.isfinite(parity.largest) else None,
        "latency_ms": _latency(predictor, rows),
        "size_mb": len(content) / 1e6,
    }
    write_json(layout.artefact_report, report)
    print(
        f"export: {description['version']} in {layout.candidate}; {parity.rows} rows compared,"
        f" largest difference {parity.largest:.2g}, {parity.flipped} labels differ"
    )


def _latency(predictor: Predictor, rows: Features) -> float:
    """Milliseconds that the slowest hundredth of single rows takes."""
    taken = []
    for place in range(min(TIMED, len(rows.numbers))):
        one = Features(rows.numbers[place : place + 1], rows.categories[place : place + 1])
        start = perf_counter()
        predictor.answers(one)
        taken.append(perf_counter() - start)
    return float(np.quantile(taken, 0.99)) * 1000


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
    register_converter(model.named_steps["estimator"])
    options = {id(model): {"zipmap": False}} if contract.task == "classification" else None
    try:
        graph = convert_sklearn(model, contract.name, inputs, options=options, target_opset=OPSETS)
    except Exception as fault:  # skl2onnx raises whatever its converters raise
        raise ExportError(
            f"{type(model.named_steps['estimator']).__name__} cannot be exported to ONNX:"
            f" {str(fault)[:300]}; set artefact: skops in params.yaml, or choose another estimator"
        ) from fault
    # skl2onnx lists the operator sets in the order of a hash that changes from run to run.
    opsets = sorted(graph.opset_import, key=lambda opset: opset.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def _with_float32_thresholds(model: Pipeline) -> Pipeline:
    """A copy whose histogram trees compare as before once their thresholds are float32."""
    model = deepcopy(model)
    for trees in getattr(model.named_steps["estimator"], "_predictors", []):
        for tree in trees:
            tree.nodes["num_threshold"] = float32_below(tree.nodes["num_threshold"])
    return model
