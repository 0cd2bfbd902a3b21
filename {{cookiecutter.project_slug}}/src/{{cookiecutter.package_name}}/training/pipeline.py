"""The scikit-learn pipeline around an estimator that params.yaml names."""

from importlib import import_module
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaseEnsemble
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags

from ..contract import Contract
from ..errors import TrainingError
from ..features import Encoder
from ..params import Profile


def build(contract: Contract, profile: Profile, seed: int) -> Pipeline:
    """The unfitted model: categories one-hot, numbers as the estimator needs them.

    An estimator that takes missing values sees numbers as they are. A tree of scikit-learn's, or
    an ensemble of them, sees missing ones imputed with the mean, since skl2onnx sends them right at
    each node; scaled, they would fall on the other side of a threshold once they are float32. Any
    other estimator sees them scaled, then imputed with the mean.

    Raises:
        TrainingError: the estimator does not exist, takes other parameters, or does another task.
    """
    estimator = _estimator(profile, seed)
    does = {"classification": is_classifier, "regression": is_regressor}[contract.task]
    if not does(estimator):
        raise TrainingError(
            f"params.yaml: model.profiles: {profile.estimator} does no {contract.task}, the task of"
            " contract.yaml; name one that does"
        )
    if contract.task == "classification" and not hasattr(estimator, "predict_proba"):
        raise TrainingError(
            f"params.yaml: model.profiles: {profile.estimator} with parameters {profile.parameters}"
            " gives no probabilities; choose one, or parameters, with predict_proba"
        )
    numbers: Any
    if isinstance(estimator, BaseDecisionTree | BaseEnsemble):
        numbers = SimpleImputer(keep_empty_features=True)
    elif get_tags(estimator).input_tags.allow_nan:
        numbers = "passthrough"
    else:
        numbers = make_pipeline(
            StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0)
        )
    encoder = Encoder(contract)
    count = len(encoder.numbers)
    columns = ColumnTransformer(
        [
            ("numbers", numbers, list(range(count))),
            (
                "categories",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
                list(range(count, count + len(encoder.categories))),
            ),
        ]
    )
    return Pipeline([("columns", columns), ("estimator", estimator)])


def build_constant(contract: Contract) -> BaseEstimator:
    """The constant that the model has to beat: class shares, or the mean."""
    if contract.task == "classification":
        return DummyClassifier(strategy="prior")
    return DummyRegressor(strategy="mean")


def build_simpler(contract: Contract, seed: int) -> Pipeline:
    """The linear model that a more complex one has to beat, with scikit-learn's defaults."""
    if contract.task == "classification":
        return build(
            contract,
            Profile(
                estimator="sklearn.linear_model.LogisticRegression", parameters={"max_iter": 1000}
            ),
            seed,
        )
    return build(contract, Profile(estimator="sklearn.linear_model.Ridge", parameters={}), seed)


def is_linear(model: Pipeline) -> bool:
    """Whether the fitted model is a linear one, and so none to be simplified."""
    return hasattr(model.named_steps["estimator"], "coef_")


def _estimator(profile: Profile, seed: int) -> BaseEstimator:
    module, _, name = profile.estimator.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
        parameters = dict(profile.parameters)
        known = kind().get_params()
        if "random_state" in known:
            parameters.setdefault("random_state", seed)
        if "n_jobs" in known and not module.startswith("sklearn."):
            # None is every processor outside scikit-learn, and their number goes into the file.
            parameters.setdefault("n_jobs", 1)
        estimator: BaseEstimator = kind(**parameters)
    except ModuleNotFoundError as fault:
        raise TrainingError(
            f"params.yaml: model.profiles: {profile.estimator} cannot be built: {fault}; correct"
            " its import path, or put the library's dependency group into GROUPS in the Makefile"
        ) from fault
    except (ImportError, AttributeError, TypeError) as fault:
        raise TrainingError(
            f"params.yaml: model.profiles: {profile.estimator} with parameters {profile.parameters}"
            f" cannot be built: {fault}; correct its import path or parameters"
        ) from fault
    return estimator
