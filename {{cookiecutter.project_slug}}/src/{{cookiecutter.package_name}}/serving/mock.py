"""Mock: the service under its contract without a model, so that callers can start on day one."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..contract import Contract, load_contract
from ..decision import Decision
from . import server
from .predictor import ModelInfo, Predictor
from .settings import Settings

LOG = "logs/mock.jsonl"
"""Not the prediction log, since nothing was predicted."""
NONE = "0" * 64
"""In the place of hashes, since nothing was trained."""


def run() -> None:
    """Serve a constant: each label is equally likely, a value is in the middle of its range.

    Raises:
        ContractError: contract.yaml cannot be used.
        SettingsError: a setting is wrong.
    """
    settings = replace(Settings.from_environment(), workers=1, prediction_log=LOG)
    server.run(settings, mock_predictor(load_contract(Path("contract.yaml"))))


def mock_predictor(contract: Contract) -> Predictor:
    """A predictor that answers the same to every row."""
    labels, limits = contract.labels, contract.target.constraints
    middle = ((limits.minimum or 0.0) + (limits.maximum or 0.0)) / 2
    costs = (1.0 - np.eye(len(labels))).tolist() if len(labels) > 2 else None
    info = ModelInfo(
        name=contract.name,
        version=f"{contract.name}@mock",
        task=contract.task,
        artefact="model.onnx",
        sha256=NONE,
        contract_sha256=NONE,
        metrics_sha256=NONE,
        background_sha256=NONE,
        derived_sha256=NONE,
        estimator="constant",
        scikit_learn="",
        decision=Decision(threshold=0.5 if len(labels) == 2 else None, costs=costs),
        metrics={},
    )
    constant = np.full((1, len(labels)), 1 / len(labels)) if labels else np.array([middle])
    return Predictor(
        contract,
        info,
        lambda features: np.repeat(constant, len(features.numbers), axis=0),
        [contract.example],
    )
