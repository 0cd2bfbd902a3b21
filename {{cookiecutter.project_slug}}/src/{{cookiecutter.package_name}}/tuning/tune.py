"""Tune: look for better parameters by folds of the training rows, and write the best down."""

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import unified_diff
from hashlib import sha256
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.exc import DatabaseError
from tqdm import tqdm

from ..errors import ParamsError, TrainingError
from ..features import derived_sha256
from ..files import write_bytes
from ..layout import Layout
from ..params import Profile
from ..training.pipeline import build
from .bench import Bench, load_bench, standard_error
from .edit import with_parameters
from .space import Search, load_space

TRIALS = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    """How long to look."""
    parser.add_argument("--trials", type=int, default=TRIALS, help="trials of the study in the end")


def run(layout: Layout = Layout(), trials: int = TRIALS) -> None:
    """Go on with the study of these rows and this space, and write its winner into params.yaml.

    The parameters of params.yaml are its first trial, so that nothing worse is written.

    Raises:
        ParamsError: tuning.yaml cannot be used, or params.yaml cannot be edited.
        TrainingError: a model cannot be built or fitted, or the study cannot be opened.
    """
    if trials < 2:
        raise ParamsError(f"TRIALS is {trials}, and the present parameters are one; give 2 or more")
    bench = load_bench(layout)
    profile = bench.params.model.profile
    space = load_space(layout.root / "tuning.yaml", profile)
    _refuse_unknown(bench, space)
    with _study(layout, f"{profile}-{_identity(layout, bench, space)}") as study:
        present = bench.params.model.chosen.parameters
        before = _known(study, present)
        if before is None:
            study.add_trial(_tried(bench, space, present))
        there = len(study.trials)
        for number in tqdm(range(there, trials), "tune", trials, initial=there, disable=None):
            sampled = _sampled(study, space, (bench.params.seed + number) % 2**32)
            study.add_trial(_tried(bench, space, {**present, **sampled}))
        before, best = _known(study, present) or study.trials[0], study.best_trial
        count = len(study.trials)
    _write(layout, bench, before, best, count)


def _refuse_unknown(bench: Bench, space: Mapping[str, Search]) -> None:
    estimator = build(bench.contract, bench.params.model.chosen, bench.params.seed)[-1]
    if unknown := sorted(set(space) - set(estimator.get_params())):
        raise ParamsError(
            f"tuning.yaml: profiles.{bench.params.model.profile} names {', '.join(unknown)}, but"
            f" {type(estimator).__name__} takes {', '.join(estimator.get_params())}; correct it"
        )


def _identity(layout: Layout, bench: Bench, space: Mapping[str, Search]) -> str:
    """The same for what can be compared: rows, features, folds, space, and what stays fixed."""
    chosen = bench.params.model.chosen
    fixed = {name: value for name, value in chosen.parameters.items() if name not in space}
    searched = {name: search.model_dump() for name, search in space.items()}
    folds = [bench.params.seed, bench.params.split.model_dump(), derived_sha256()]
    content = json.dumps([chosen.estimator, fixed, searched, folds], sort_keys=True, default=str)
    parts = content.encode("utf-8"), layout.contract.read_bytes(), layout.train.read_bytes()
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:12]


@contextmanager
def _study(layout: Layout, name: str) -> Iterator[optuna.Study]:
    """The study of this name in reports/tuning.db, for one run at a time."""
    path = layout.root / "reports" / "tuning.db"
    path.parent.mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with FileLock(f"{path}.lock", blocking=False):
            storage = f"sqlite:///{path}"
            others = sorted(set(optuna.get_all_study_names(storage)) - {name})
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            said = f"{len(study.trials)} trials are there, and it goes on"
            if not study.trials:
                said = "a new one" + bool(others) * (
                    f", as rows, features, tuning.yaml or what stays fixed in params.yaml differ"
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
            f"{path} cannot be used: {fault!s:.200}; move it away, and a new one is made"
        ) from fault


def _known(study: optuna.Study, parameters: Mapping[str, Any]) -> FrozenTrial | None:
    same = (each for each in study.trials if each.user_attrs["parameters"] == parameters)
    return next(same, None)


def _sampled(study: optuna.Study, space: Mapping[str, Search], seed: int) -> dict[str, Any]:
    """What to try next, by the trials that are there and the seed alone.

    So a study that was stopped goes on as if it had not been: no trial is begun in its file, and
    no sampler has a past. Source: Bergstra et al. (2011), Algorithms for Hyper-Parameter
    Optimization, section 4.
    """
    draft = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    draft.add_trials([each for each in study.trials if each.params])
    sampled = draft.ask(_distributions(space)).params
    return {name: search.rounded(sampled[name]) for name, search in space.items()}


def _tried(bench: Bench, space: Mapping[str, Search], parameters: dict[str, Any]) -> FrozenTrial:
    """A trial with its losses; outside of the space, as params.yaml may be, it guides no other."""
    profile = Profile(estimator=bench.params.model.chosen.estimator, parameters=parameters)
    model = build(bench.contract, profile, bench.params.seed)
    losses = bench.losses(model)
    found: dict[str, Any] = {
        "value": float(losses.mean()),
        "user_attrs": {"parameters": parameters, "losses": losses.tolist()},
    }
    searched = {name: model[-1].get_params()[name] for name in space}
    try:
        return create_trial(params=searched, distributions=_distributions(space), **found)
    except (ValueError, TypeError):
        return create_trial(**found)


def _distributions(space: Mapping[str, Search]) -> dict[str, BaseDistribution]:
    return {name: search.distribution() for name, search in space.items()}


def _write(
    layout: Layout, bench: Bench, before: FrozenTrial, best: FrozenTrial, trials: int
) -> None:
    gains = np.subtract(before.user_attrs["losses"], best.user_attrs["losses"])
    if gains.mean() <= 0:
        print(
            f"tune: none of {trials} trials loses less than the present parameters"
            f" ({before.value:.6g}); TRIALS={2 * trials} looks on"
        )
        return
    text = layout.params.read_bytes().decode("utf-8")
    edited = with_parameters(text, bench.params.model.profile, best.user_attrs["parameters"])
    write_bytes(layout.params, edited.encode("utf-8"))
    lines = (text.splitlines(), edited.splitlines())
    print(*unified_diff(*lines, "params.yaml", "params.yaml", n=1, lineterm=""), sep="\n")
    print(
        f"tune: trial {best.number} of {trials} loses {best.value:.6g} a row, and the present"
        f" parameters {before.value:.6g}: a gain of {gains.mean():.3g}, standard error"
        f" {standard_error(gains):.2g} over {len(gains)} folds\n"
        "tune: the best of many looks better than it is; the gate judges it on rows held out\n"
        "tune: git diff params.yaml; make train"
    )
