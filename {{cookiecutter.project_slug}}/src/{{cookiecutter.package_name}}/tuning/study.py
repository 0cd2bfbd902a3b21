"""Study: the trials of one search, which may be stopped and goes on as if it had not been."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.exc import DatabaseError

from ..errors import TrainingError
from ..features import derived_sha256
from ..layout import Layout
from ..params import Profile
from ..training.pipeline import build
from .bench import Bench
from .space import Search


@contextmanager
def open_study(layout: Layout, name: str) -> Iterator[optuna.Study]:
    """The study of this name in reports/tuning.db, for one run at a time.

    Raises:
        TrainingError: another run has it, the file is none of Optuna's, or the run was stopped.
    """
    path = layout.root / "reports" / "tuning.db"
    path.parent.mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with FileLock(f"{path}.lock", blocking=False):
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
            others = sorted(set(optuna.get_all_study_names(storage)) - {name})
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            said = "a new one"
            if study.trials:
                said = f"{len(study.trials)} trials are there, and it goes on"
            elif others:
                said += (
                    ", as rows, features, tuning.yaml or what stays fixed in params.yaml differ"
                    f" from those of {', '.join(others)}"
                )
            print(f"tune: study {name} in {path}: {said}", flush=True)
            yield study
    except KeyboardInterrupt:
        raise TrainingError(f"stopped; make tune goes on with what is in {path}") from None
    except Timeout:
        raise TrainingError(f"{path} is in use by another make tune; wait for its end") from None
    except (DatabaseError, optuna.exceptions.StorageInternalError) as fault:
        raise TrainingError(
            f"{path} cannot be used: {str(fault).splitlines()[0]}; move it away, and a new one is"
            " made"
        ) from fault


def identity(layout: Layout, bench: Bench, space: Mapping[str, Search]) -> str:
    """The same for what can be compared: rows, features, folds, space, and what stays fixed."""
    chosen = bench.params.model.chosen
    fixed = {name: value for name, value in chosen.parameters.items() if name not in space}
    searched = {name: search.model_dump() for name, search in space.items()}
    folds = [bench.params.seed, bench.params.split.model_dump(), derived_sha256()]
    content = json.dumps([chosen.estimator, fixed, searched, folds], sort_keys=True, default=str)
    parts = content.encode("utf-8"), layout.contract.read_bytes(), layout.train.read_bytes()
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:12]


def known(study: optuna.Study, values: Mapping[str, Any]) -> FrozenTrial | None:
    """The trial of these values, if there is one."""
    same = (each for each in study.trials if each.user_attrs["values"] == values)
    return next(same, None)


def sample(study: optuna.Study, space: Mapping[str, Search], seed: int) -> dict[str, Any]:
    """What to try next, by the trials that are there and the seed alone.

    So a study that was stopped goes on as if it had not been: no trial is begun in its file, and
    no sampler has a past. Source: Bergstra et al. (2011), Algorithms for Hyper-Parameter
    Optimization, section 4.
    """
    draft = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    draft.add_trials([each for each in study.trials if each.params])
    sampled = draft.ask(_distributions(space)).params
    return {name: search.rounded(sampled[name]) for name, search in space.items()}


def tried(bench: Bench, space: Mapping[str, Search], values: dict[str, Any]) -> FrozenTrial:
    """A trial with its losses; outside of the space, as params.yaml may be, it guides no other.

    Raises:
        TrainingError: the model cannot be built or fitted.
    """
    chosen = bench.params.model.chosen
    profile = Profile(estimator=chosen.estimator, parameters=chosen.parameters | values)
    model = build(bench.contract, profile, bench.params.seed)
    losses = bench.losses(model)
    found: dict[str, Any] = {
        "value": float(losses.mean()),
        "user_attrs": {"values": values, "losses": losses.tolist()},
    }
    searched = {name: model[-1].get_params()[name] for name in space}
    try:
        return create_trial(params=searched, distributions=_distributions(space), **found)
    except (ValueError, TypeError):
        return create_trial(**found)


def _distributions(space: Mapping[str, Search]) -> dict[str, BaseDistribution]:
    return {name: search.distribution() for name, search in space.items()}
