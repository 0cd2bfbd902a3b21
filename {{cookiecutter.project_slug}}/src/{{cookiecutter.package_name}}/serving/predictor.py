"""The predictor: a model folder, checked before it is loaded, that answers encoded rows."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..contract import Contract, load_contract
from ..decision import Decision
from ..errors import ArtefactError, ProjectError
from ..features import DERIVED_FILE, Encoder, Features, Function, derived_sha256
from ..files import json_bytes
from ..trusted import TRUSTED_TYPES
from ..yaml_file import Strict, validated

DESCRIPTION = "model.json"
BACKGROUND = "background.json"
REMEDY = "run `make train`, or take the folder from its release again"

Answers = npt.NDArray[np.float64]


class ModelInfo(Strict):
    """model.json: which model this is, and the hashes that the files beside it must have."""

    name: str
    version: str
    task: Literal["classification", "regression"]
    artefact: Literal["model.onnx", "model.skops"]
    sha256: str
    contract_sha256: str
    metrics_sha256: str
    background_sha256: str
    derived_sha256: str
    estimator: str
    scikit_learn: str
    decision: Decision
    metrics: dict[str, float | None]
    audience: str = ""
    limits: Sequence[str] = ()


@dataclass(frozen=True)
class Predictor:
    """A loaded model with its contract and description.

    background: training rows as requests hold them, with which explanations compare a row.
    report: all figures on held-out rows, as metrics.json holds them.
    created: when its folder was written, in seconds since 1970.
    tenths: of a regression, the upper ends of the tenths of what it answers to the background.
    """

    contract: Contract
    info: ModelInfo
    _answer: Callable[[Features], Any]
    background: Sequence[Mapping[str, Any]] = ()
    created: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    tenths: tuple[float, ...] = ()

    def answers(self, features: Features) -> Answers:
        """Probabilities, shape (rows, labels), or values, shape (rows,)."""
        given = np.asarray(self._answer(features), np.float64)
        return given if self.contract.labels else given.reshape(len(given))

    def outcome(self, answers: Answers) -> dict[str, npt.NDArray[Any]]:
        """What callers are told, by columns of one entry a row: float64, or str objects.

        value; or label and probability (of that label), and where the contract has two labels
        score (the second one's probability) and threshold (the score from which it is given).
        """
        labels = self.contract.labels
        if not labels:
            return {"value": answers}
        places = self.info.decision.places(answers)
        told = {
            "label": np.array(labels, object)[places],
            "probability": answers[np.arange(len(answers)), places],
        }
        threshold = self.info.decision.threshold
        if threshold is None:
            return told
        return told | {"score": answers[:, 1], "threshold": np.full(len(answers), threshold)}


def load_predictor(
    folder: Path, derived: Path = DERIVED_FILE, functions: Sequence[Function] | None = None
) -> Predictor:
    """Load a folder that `export` wrote; hashes are checked before anything is parsed.

    derived, functions: the file of derived features beside it, and what it lists, where
    they are not today's.

    Raises:
        ArtefactError: a file is missing, altered or added, was made with another derived.py or
            scikit-learn, or does not answer the contract's example.
        DerivedError: a derived feature fails on the example.
    """
    info, content = check_folder(folder)
    path = folder / info.artefact
    if (found := derived_sha256(derived)) != info.derived_sha256:
        raise ArtefactError(
            f"{folder / DESCRIPTION}: the model was trained with a derived.py of SHA-256"
            f" {info.derived_sha256}, but this one has {found}; run `make train`, or take code and"
            " folder from one release"
        )
    contract = load_contract(folder / "contract.yaml")
    try:
        encoder = Encoder(contract) if functions is None else Encoder(contract, functions)
        background = json.loads(_read(folder / BACKGROUND, info.background_sha256))
        created = (folder / DESCRIPTION).stat().st_mtime
        report = json.loads(_read(folder / "metrics.json", info.metrics_sha256))
        answer = (
            _load_onnx(content)
            if info.artefact == "model.onnx"
            else _load_skops(content, folder, info, contract)
        )
        predictor = Predictor(contract, info, answer, background, created, report)
        example = predictor.answers(encoder.rows([contract.example]))
        if not contract.labels:
            predictor = replace(predictor, tenths=_tenths(predictor, encoder))
    except ProjectError:
        raise
    except Exception as fault:  # each runtime has exceptions of its own
        raise ArtefactError(
            f"{path} does not answer the example of {folder / 'contract.yaml'}:"
            f" {str(fault)[:300]}; {REMEDY}"
        ) from fault
    shape = (1, len(contract.labels)) if contract.labels else (1,)
    if example.shape != shape or not np.isfinite(example).all():
        raise ArtefactError(f"{path} answers {example.tolist()} to the contract's example")
    return predictor


def _tenths(predictor: Predictor, encoder: Encoder) -> tuple[float, ...]:
    """To three digits, so that a bucket has a name that people can read."""
    found = np.quantile(
        predictor.answers(encoder.rows(predictor.background)), np.arange(1, 11) / 10
    )
    return tuple(sorted({float(f"{end:.3g}") for end in found.tolist() if np.isfinite(end)}))


def check_folder(folder: Path) -> tuple[ModelInfo, bytes]:
    """The description and the artefact, once every file has the hash that it must have.

    Raises:
        ArtefactError: a file is missing, altered, added or a symbolic link.
    """
    path = folder / DESCRIPTION
    found = _read(path)
    try:
        described = json.loads(found)
        checksum = described.pop("checksum", None)
        intact = sealed(described) == found
    # JSON of another shape, or none.
    except (AttributeError, RecursionError, TypeError, ValueError):
        checksum, intact = None, False
    if not intact:
        raise ArtefactError(f"{path} was altered: its checksum is {checksum}; {REMEDY}")
    info = validated(described, str(path), ModelInfo, ArtefactError)
    files = {DESCRIPTION, BACKGROUND, "contract.yaml", "metrics.json", info.artefact}
    try:
        there = sorted(folder.iterdir())
    except OSError as fault:
        raise ArtefactError(f"{folder} cannot be read ({fault.strerror}); {REMEDY}") from None
    for each in there:
        if each.name not in files or each.is_symlink():
            raise ArtefactError(f"{each} is none of the files that export wrote there; {REMEDY}")
    content = _read(folder / info.artefact, info.sha256)
    _read(folder / "contract.yaml", info.contract_sha256)
    _read(folder / "metrics.json", info.metrics_sha256)
    _read(folder / BACKGROUND, info.background_sha256)
    return info, content


def sealed(description: Mapping[str, Any]) -> bytes:
    """model.json as it is written: the description and, as its last key, the SHA-256 of that."""
    checksum = hashlib.sha256(json_bytes(description)).hexdigest()
    return json_bytes({**description, "checksum": checksum})


def _read(path: Path, expected: str | None = None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise ArtefactError(f"{path} cannot be read ({fault.strerror}); {REMEDY}") from None
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected:
        raise ArtefactError(
            f"{path} has SHA-256 {found}, model.json says {expected}: the file was altered;"
            f" {REMEDY}"
        )
    return content


def _load_onnx(content: bytes) -> Callable[[Features], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = [(each.name, Features._fields.index(each.name)) for each in session.get_inputs()]
    output = [session.get_outputs()[-1].name]

    def answer(features: Features) -> Any:
        return session.run(output, {name: features[place] for name, place in inputs})[0]

    return answer


def _load_skops(
    content: bytes, folder: Path, info: ModelInfo, contract: Contract
) -> Callable[[Features], Any]:
    try:  # not in the serving environment unless params.yaml says artefact: skops
        import sklearn
        import skops.io

        if sklearn.__version__ != info.scikit_learn:
            raise ArtefactError(
                f"{folder / DESCRIPTION}: made by scikit-learn {info.scikit_learn}, but"
                f" {sklearn.__version__} is installed; run `make train` in this environment, or"
                " install that version"
            )
        model = skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except ImportError as fault:
        group = fault.name if fault.name in ("lightgbm", "xgboost") else "skops"
        raise ArtefactError(
            f"{folder / info.artefact} needs {fault.name}, which is not installed; install the"
            f" dependency group {group} (uv sync --group {group}), or set artefact: onnx in"
            " params.yaml"
        ) from fault
    predict = model.predict_proba if contract.labels else model.predict
    return lambda features: predict(features.table())
