"""What decides on training rows has not been fitted on them, and no held-out row decides."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data.table import read_table
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.training import train
from {{ cookiecutter.package_name }}.training.folds import FOLDS, folds, unseen_answers
from {{ cookiecutter.package_name }}.training.rows import to_rows


def split_by(params: Params, **how: Any) -> Params:
    return params.model_copy(update={"split": params.split.model_copy(update=how)})


@pytest.fixture
def frame(layout: Layout) -> pd.DataFrame:
    return read_table(layout.train).head(400).reset_index(drop=True)


def test_each_row_is_set_aside_once(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> None:
    parts = list(folds(frame, contract, split_by(params, by="random")))
    assert len(parts) == FOLDS
    aside = np.concatenate([each for _, each in parts])
    assert sorted(aside) == list(range(len(frame)))
    for seen, each in parts:
        assert not set(seen) & set(each)
        assert len(each) == pytest.approx(len(frame) / FOLDS, rel=0.5)


def test_equal_rows_and_groups_stay_together(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> None:
    twice = pd.concat([frame, frame], ignore_index=True)
    for _, aside in folds(twice, contract, split_by(params, by="random")):
        assert {place % len(frame) for place in aside} <= {*aside} & set(range(len(frame)))
    name = contract.features[0].name
    for seen, aside in folds(frame, contract, split_by(params, by="group", column=name)):
        assert not set(frame[name].iloc[seen]) & set(frame[name].iloc[aside])
    with pytest.raises(DataError, match="split.column in params.yaml is nothing"):
        list(folds(frame, contract, split_by(params, by="group", column="nothing")))


def test_by_time_the_later_are_set_aside(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> None:
    time = {"name": "at", "type": "datetime", "role": "time"}
    content = contract.model_dump(by_alias=True, exclude_unset=True)
    for field in content["fields"]:
        field["role"] = "excluded" if field["role"] == "time" else field["role"]
    timed = Contract.model_validate({**content, "fields": [*content["fields"], time]})
    hours = pd.to_timedelta(np.random.default_rng(0).permutation(len(frame)), unit="h")
    frame["at"] = pd.Timestamp("2024-01-01", tz="UTC") + hours
    parts = list(folds(frame, timed, split_by(params, by="time")))
    assert len(parts) == FOLDS
    for seen, aside in parts:
        assert frame["at"].iloc[seen].max() < frame["at"].iloc[aside].min()


def test_a_model_that_learns_by_heart_knows_no_row_that_is_set_aside(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> None:
    kind = DecisionTreeClassifier if contract.labels else DecisionTreeRegressor
    rows = to_rows(contract, frame)
    encoded = rows.features.numbers
    random = np.random.default_rng(0)
    targets = random.permutation(rows.targets)
    shuffled = rows._replace(
        features=rows.features._replace(
            numbers=np.nan_to_num(encoded) + random.random(encoded.shape).astype(np.float32),
            categories=np.zeros((len(frame), 0), object),
        ),
        targets=targets,
    )
    given, places = unseen_answers(kind(random_state=0), shuffled, frame, contract, params)
    if contract.labels:
        hits = given.argmax(axis=1) == targets[places]
        # Of each label, since by chance alone nearly all of a frequent one are hit.
        assert pd.Series(hits).groupby(targets[places]).mean().mean() < 0.9
    else:
        assert np.corrcoef(given, targets[places])[0, 1] < 0.5


def test_a_label_that_a_fold_lacks_has_no_chance(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> None:
    if not contract.labels:
        return
    rows = to_rows(contract, frame)
    targets = np.zeros(len(frame), np.int64)
    targets[0] = 1
    model = DecisionTreeClassifier(random_state=0)
    numbers = rows.features._replace(
        numbers=np.nan_to_num(rows.features.numbers), categories=np.zeros((len(frame), 0), object)
    )
    given, places = unseen_answers(
        model, rows._replace(features=numbers, targets=targets), frame, contract, params
    )
    assert given.shape == (len(frame), len(contract.labels))
    assert given[places == 0, 1] == 0


def test_no_choice_of_training_sees_a_held_out_row(layout: Layout) -> None:
    before = layout.decision.read_bytes()
    layout.test.unlink()
    layout.decision.unlink()
    train.run(layout)
    assert layout.decision.read_bytes() == before


def test_the_threshold_is_chosen_on_rows_that_the_model_has_not_seen(
    layout: Layout, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(*given: Any) -> Any:
        answers, places = unseen_answers(*given)
        asked.append(answers[:, 1])
        return answers, places

    def look(probabilities: Any, *_: Any) -> float:
        asked.append(probabilities)
        return 0.5

    monkeypatch.setattr(train, "unseen_answers", spy)
    monkeypatch.setattr(train, "best_threshold", look)
    train.run(layout)
    if len(contract.labels) == 2:
        unseen, decided = asked
        np.testing.assert_array_equal(unseen, decided)
    else:
        assert asked == []
