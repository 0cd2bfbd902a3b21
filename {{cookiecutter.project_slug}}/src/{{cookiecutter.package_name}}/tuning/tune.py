"""Tune: look for better parameters by folds of the training rows, and write the best down."""

import argparse
from collections.abc import Mapping
from difflib import unified_diff

import numpy as np
from optuna.trial import FrozenTrial
from tqdm import tqdm

from ..errors import ParamsError
from ..files import write_bytes
from ..layout import Layout
from ..training.pipeline import build
from .bench import Bench, load_bench, standard_error
from .edit import with_parameters
from .space import Search, load_space
from .study import identity, known, open_study, sample, tried

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
    with open_study(layout, f"{profile}-{identity(layout, bench, space)}") as study:
        present = bench.params.model.chosen.parameters
        searched = {name: present[name] for name in space if name in present}
        before = known(study, searched)
        if before is None:
            study.add_trial(tried(bench, space, searched))
            before = study.trials[-1]
        there = len(study.trials)
        for number in tqdm(range(there, trials), "tune", trials, initial=there, disable=None):
            values = sample(study, space, (bench.params.seed + number) % 2**32)
            study.add_trial(tried(bench, space, values))
        best, count = study.best_trial, len(study.trials)
    _write(layout, bench, before, best, count)


def _refuse_unknown(bench: Bench, space: Mapping[str, Search]) -> None:
    estimator = build(bench.contract, bench.params.model.chosen, bench.params.seed)[-1]
    if unknown := sorted(set(space) - set(estimator.get_params())):
        raise ParamsError(
            f"tuning.yaml: profiles.{bench.params.model.profile} names {', '.join(unknown)}, but"
            f" {type(estimator).__name__} takes {', '.join(estimator.get_params())}; correct it"
        )


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
    edited = with_parameters(text, bench.params.model.profile, best.user_attrs["values"])
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
