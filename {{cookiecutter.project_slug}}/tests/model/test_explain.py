"""Reasons, beside Shapley values by their definition and beside a linear model's own weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.decision import Decision
from {{ cookiecutter.package_name }}.derived import Categories, Numbers
from {{ cookiecutter.package_name }}.errors import ArtefactError, NoFiniteAnswerError
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.files import json_bytes, read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.serving import explain
from {{ cookiecutter.package_name }}.serving.explain import Explainer, Explanation
from {{ cookiecutter.package_name }}.serving.predictor import Predictor, _load_onnx
from {{ cookiecutter.package_name }}.serving.request import RequestParser
from {{ cookiecutter.package_name }}.training.export import to_onnx
from {{ cookiecutter.package_name }}.training.pipeline import build_simpler
from {{ cookiecutter.package_name }}.training.rows import to_background, to_rows

Row = dict[str, Any]
Array = npt.NDArray[Any]
Answer = Callable[[Features], Array]
Make = Callable[..., Predictor]

ROW = {"a": 2.5, "b": 4, "sold": True, "kind": "x"}
LACKING = {"a": None, "b": None, "sold": None, "kind": None}


def own_contract(*labels: str) -> Contract:
    """Four features, and labels or a value."""
    kinds = {"a": "number", "b": "integer", "sold": "boolean", "kind": "string"}
    fields: list[Row] = [{"name": n, "type": k, "role": "feature"} for n, k in kinds.items()]
    limits: Row = {"required": True} | ({"enum": list(labels)} if labels else {})
    target = {"name": "worth", "type": "string" if labels else "number", "role": "target"}
    about = {"name": "own", "title": "", "description": "", "source": {"path": "own.csv"}}
    task = {"task": "classification" if labels else "regression"}
    return Contract.model_validate(
        {**about, **task, "fields": [*fields, {**target, "constraints": limits}]}
    )


@pytest.fixture
def made(predictor: Predictor) -> Make:
    """A predictor of four features that answers as the test says."""

    def make(answer: Answer, *labels: str, decision: Decision = Decision(threshold=0.5)) -> Any:
        random = np.random.default_rng(3)
        background = [
            {"a": a, "b": b, "sold": sold, "kind": kind}
            for a, b, sold, kind in zip(
                [None, *random.normal(size=29).tolist()],
                [*random.integers(9, size=29).tolist(), None],
                random.choice(np.array([True, False, None]), 30).tolist(),
                random.choice(np.array(["x", "y", None]), 30).tolist(),
                strict=True,
            )
        ]
        info = predictor.info.model_copy(update={"decision": decision})
        return Predictor(own_contract(*labels), info, answer, background)

    return make


def explained(predictor: Predictor, encoder: Encoder, row: Row) -> Explanation:
    (explanation,) = Explainer(predictor, encoder).explain([row])
    return explanation


def contributions(explanation: Explanation) -> dict[str, float]:
    return {reason.feature: reason.contribution for reason in explanation.reasons}


def by_definition(
    predictor: Predictor, encoder: Encoder, row: Row, scale: Callable[[Array], Array]
) -> dict[str, float]:
    """Shapley values over all sets of features."""
    names = [column.name for column in predictor.contract.features]

    def mean(taken: tuple[str, ...]) -> float:
        rows = [{**there, **{name: row[name] for name in taken}} for there in predictor.background]
        return float(scale(predictor.answers(encoder.rows(rows))).mean())

    return {
        name: sum(
            (mean((*taken, name)) - mean(taken)) / comb(len(names) - 1, size) / len(names)
            for size in range(len(names))
            for taken in combinations([each for each in names if each != name], size)
        )
        for name in names
    }


def log_odds(probability: Array) -> Array:
    probability = np.clip(probability, 2.0**-24, 1 - 2.0**-24)
    odds: Array = probability / (1 - probability)
    return np.log(odds)


def by_pairs(features: Features) -> Array:
    """A value in which features interact two by two, and a missing one counts."""
    a, b, sold = np.nan_to_num(features.numbers.astype(np.float64), nan=-1.5).T
    kind = np.select([features.categories[:, 0] == text for text in ("x", "")], [1.0, 5.0], 2.0)
    result: Array = 3 * a + a * b - sold * kind + np.sin(b) * kind
    return result


def two(features: Features) -> Array:
    second = 1 / (1 + np.exp(-by_pairs(features) / 10))
    return np.column_stack([1 - second, second])


def three(features: Features) -> Array:
    first = np.exp(by_pairs(features) / 10)
    others = np.exp(np.nan_to_num(features.numbers[:, :2]).astype(np.float64))
    parts = np.column_stack([first, others])
    result: Array = parts / parts.sum(axis=1, keepdims=True)
    return result


@pytest.mark.parametrize("row", [ROW, LACKING, {**ROW, "kind": "never seen"}])
def test_pairs_of_features_are_shared_exactly(made: Make, row: Row) -> None:
    for predictor, scale in (
        (made(by_pairs), lambda answers: answers),
        (made(two, "bad", "good"), lambda answers: log_odds(answers[:, 1])),
    ):
        encoder = Encoder(predictor.contract, ())
        found = explained(predictor, encoder, row)
        assert found.label == (predictor.contract.labels or (None, None))[1]
        expected = by_definition(predictor, encoder, row, scale)
        assert contributions(found) == pytest.approx(expected, abs=1e-9)
        assert {reason.feature: reason.value for reason in found.reasons} == row
        sizes = [abs(reason.contribution) for reason in found.reasons]
        assert sizes == sorted(sizes, reverse=True)
        assert found.value == pytest.approx(float(scale(predictor.answers(encoder.rows([row])))[0]))


def test_of_three_labels_the_answered_one_is_explained(made: Make) -> None:
    costs = [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    predictor = made(three, "low", "middle", "high", decision=Decision(costs=costs))
    encoder, answered = Encoder(predictor.contract, ()), set()
    for row in (ROW, LACKING, {**ROW, "a": 9.0}):
        (label,) = predictor.outcome(predictor.answers(encoder.rows([row])))["label"]
        place = predictor.contract.labels.index(label)
        found = explained(predictor, encoder, row)
        assert found.label == label

        def scale(answers: Array, place: int = place) -> Array:
            return log_odds(answers[:, place])

        expected = by_definition(predictor, encoder, row, scale)
        for reason in found.reasons:
            off = abs(reason.contribution - expected[reason.feature])
            assert off < 4 * reason.standard_error + 1e-9
        answered.add(label)
    assert len(answered) > 1


def test_the_standard_error_says_how_far_off_more_than_pairs_may_be(made: Make) -> None:
    def answer(features: Features) -> Array:
        a, b, sold = np.nan_to_num(features.numbers.astype(np.float64)).T
        result: Array = a * b * (1 + sold) * np.where(features.categories[:, 0] == "x", 2.0, -1.0)
        return result

    predictor = made(answer)
    encoder, scores = Encoder(predictor.contract, ()), []
    for a in np.linspace(-3, 3, 20).tolist():
        found = explained(predictor, encoder, {**ROW, "a": a})
        expected = by_definition(predictor, encoder, {**ROW, "a": a}, lambda answers: answers)
        for reason in found.reasons:
            off = reason.contribution - expected[reason.feature]
            scores.append(off / reason.standard_error)
    assert 0.3 < np.sqrt(np.mean(np.square(scores))) < 2
    assert np.abs(scores).max() < 4


def test_an_ignored_feature_has_no_share_and_equal_ones_have_equal_shares(made: Make) -> None:
    def answer(features: Features) -> Array:
        result: Array = np.exp(features.numbers[:, 0]) * np.exp(features.numbers[:, 1])
        return result

    predictor = made(answer)
    same = [{"a": float(n), "b": n, "sold": None, "kind": "y"} for n in range(3)]
    predictor = replace(predictor, background=same)
    found = contributions(
        explained(predictor, Encoder(predictor.contract, ()), {**ROW, "a": 4.0, "b": 4})
    )
    assert found["sold"] == found["kind"] == 0
    assert found["a"] == pytest.approx(found["b"], rel=1e-6) != 0


def test_what_is_derived_from_a_feature_belongs_to_it(made: Make) -> None:
    def area(a: Numbers, b: Numbers) -> Numbers:
        return a * b

    def known(kind: Categories) -> Categories:
        return np.where(kind == "", "no", "yes").astype(object)

    def answer(features: Features) -> Array:
        area = np.nan_to_num(features.numbers[:, 3].astype(np.float64))
        result: Array = 2 * area + np.where(features.categories[:, 1] == "yes", 7.0, 0.0)
        return result

    predictor = made(answer)
    encoder = Encoder(predictor.contract, (area, known))
    found = contributions(explained(predictor, encoder, ROW))
    expected = by_definition(predictor, encoder, ROW, lambda answers: answers)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found["sold"] == 0 != found["kind"]


def test_a_certain_answer_has_finite_log_odds(made: Make) -> None:
    def answer(features: Features) -> Array:
        second = (features.numbers[:, 0] > 8).astype(np.float64)
        return np.column_stack([1 - second, second])

    predictor = made(answer, "bad", "good")
    found = explained(predictor, Encoder(predictor.contract, ()), {**ROW, "a": 9.0})
    assert (found.base_value, found.value) == pytest.approx((-24 * np.log(2), 24 * np.log(2)))
    assert contributions(found)["a"] == pytest.approx(48 * np.log(2))


def test_no_finite_answer_is_refused(made: Make) -> None:
    def answer(features: Features) -> Array:
        wrong = (features.numbers[:, 0] == 2.5) & (features.categories[:, 0] == "y")
        return np.where(wrong, np.nan, 1.0)

    predictor = made(answer)
    explainer = Explainer(predictor, Encoder(predictor.contract, ()))
    with pytest.raises(NoFiniteAnswerError, match="mixture of it and a row") as refused:
        explainer.explain([LACKING, ROW])
    assert [each["row"] for each in refused.value.errors] == [1]


def test_no_background_is_refused(predictor: Predictor, contract: Contract) -> None:
    with pytest.raises(ArtefactError, match="background.json holds no row"):
        Explainer(replace(predictor, background=[]), Encoder(contract))


def test_the_cost_is_what_it_says(made: Make) -> None:
    asked: list[int] = []

    def answer(features: Features) -> Array:
        asked.append(len(features.numbers))
        return by_pairs(features)

    predictor = made(answer)
    explainer = Explainer(predictor, Encoder(predictor.contract, ()))
    explainer.explain([ROW])
    asked.clear()
    explainer.explain([ROW])
    assert sum(asked) == explainer.model_rows == 2 * explainer.pairs * 30 * 3 + 1
    assert explain.MODEL_ROWS / 2 < explainer.model_rows <= explain.MODEL_ROWS
    assert max(asked) <= explain.CALL_ROWS


def test_one_feature_takes_all(predictor: Predictor) -> None:
    whole = own_contract()
    one = whole.model_copy(update={"fields": [whole.fields[0], whole.fields[-1]]})
    contract = Contract.model_validate(one.model_dump(by_alias=True))
    background = [{"a": 1.0}, {"a": 3.0}]
    single = Predictor(contract, predictor.info, lambda each: each.numbers[:, 0], background)
    found = explained(single, Encoder(contract, ()), {"a": 7.0})
    assert (found.base_value, found.value) == (2.0, 7.0)
    assert contributions(found) == {"a": 5.0}


@pytest.fixture
def rows(
    pipeline: Layout, as_sent: Callable[[pd.DataFrame], list[Row]], contract: Contract
) -> list[Row]:
    """Held-out rows, and one that lacks what it may."""
    sent = as_sent(pd.read_parquet(pipeline.test).head(5))
    lacking = {
        column.name: sent[0][column.name] if column.constraints.required else None
        for column in contract.features
    }
    return [*sent, lacking]


def test_the_reasons_add_up_to_the_answer(
    predictor: Predictor, contract: Contract, rows: list[Row]
) -> None:
    encoder = Encoder(contract)
    explainer = Explainer(predictor, encoder)
    found = explainer.explain(rows)
    answers = predictor.answers(encoder.rows(rows))
    for place, each in enumerate(found):
        assert len(each.reasons) == len(contract.features)
        total = each.base_value + sum(contributions(each).values())
        assert total == pytest.approx(each.value, rel=1e-9)
        if each.label is None:
            answer = answers[place]
        else:
            answer = log_odds(answers[place, contract.labels.index(each.label)])
        assert each.value == pytest.approx(answer, rel=1e-3, abs=0.05)
    for top in (0, 1, 2):
        for whole, part in zip(found, explainer.explain(rows, top), strict=True):
            assert part.reasons == whole.reasons[:top]
            given = part.base_value + sum(contributions(part).values()) + part.rest
            assert given == pytest.approx(part.value, rel=1e-9)


def test_a_row_always_has_the_same_reasons(
    predictor: Predictor, contract: Contract, rows: list[Row]
) -> None:
    together = Explainer(predictor, Encoder(contract)).explain(rows)
    for row, before in zip(rows, together, strict=True):
        assert explained(predictor, Encoder(contract), row) == before


@pytest.mark.usefixtures("underived")
def test_a_linear_model_is_explained_by_its_weights(
    predictor: Predictor, contract: Contract, params: Params, pipeline: Layout, rows: list[Row]
) -> None:
    if len(contract.labels) > 2:
        return  # their log-odds do not add up
    train = to_rows(contract, pd.read_parquet(pipeline.train))
    model = build_simpler(contract, params.seed).fit(train.features.table(), train.targets)
    answer = _load_onnx(to_onnx(contract, model))
    linear, encoder = replace(predictor, _answer=answer), Encoder(contract)
    for column in contract.categories:
        if column.constraints.enum is None and column.constraints.pattern is None:
            rows = [*rows, {**rows[0], column.name: "never seen"}]
    columns, estimator = model[:-1], model[-1]
    there = columns.transform(encoder.rows(predictor.background).table())
    here = columns.transform(encoder.rows(rows).table())
    expected = estimator.coef_.reshape(-1) * (here - there.mean(axis=0))
    bases = estimator.decision_function(there) if contract.labels else estimator.predict(there)
    # Each category has columns of its own, after the numbers.
    owners = [column.name for column in contract.numbers]
    if contract.categories:
        fitted = model.named_steps["columns"].named_transformers_["categories"].categories_
        for column, words in zip(contract.categories, fitted, strict=True):
            owners += [column.name] * len(words)
    for place, found in enumerate(Explainer(linear, encoder).explain(rows)):
        # What a float32 answer tells: of a value in proportion, of a probability by its log-odds.
        size = max(abs(found.value), np.abs(bases).max())
        near = 2.0**-22 * (np.exp(size) if contract.labels else size)
        assert found.base_value == pytest.approx(bases.mean(), abs=near)
        for reason in found.reasons:
            own = sum(expected[place, [each == reason.feature for each in owners]])
            assert reason.contribution == pytest.approx(own, abs=near), (reason, near)


def test_the_background_is_a_sample_of_training_rows_as_requests_hold_them(
    predictor: Predictor,
    contract: Contract,
    params: Params,
    pipeline: Layout,
    as_sent: Callable[[pd.DataFrame], list[Row]],
) -> None:
    frame = pd.read_parquet(pipeline.train)
    stored = (pipeline.serving / "background.json").read_bytes()
    assert stored == json_bytes(to_background(contract, frame, params.seed))
    assert stored != json_bytes(to_background(contract, frame, params.seed + 1))
    background = read_json(pipeline.serving / "background.json")
    assert predictor.background == background
    assert len(background) == min(100, len(frame))
    public = [column.name for column in contract.features if not column.pii]
    trained = {json.dumps([row[name] for name in public]) for row in as_sent(frame)}
    assert all(json.dumps([row[name] for name in public]) in trained for row in background)
    rows = RequestParser(contract, 100).parse(json.dumps(background).encode("utf-8")).rows
    assert rows == background


@pytest.mark.parametrize("kind", ["number", "integer", "boolean"])
def test_personal_numbers_are_their_median_in_the_background(kind: str) -> None:
    fields: list[Mapping[str, Any]] = [
        {"name": "age", "type": kind, "role": "feature", "pii": True},
        {"name": "b", "type": "integer", "role": "feature"},
        {"name": "worth", "type": "number", "role": "target", "constraints": {"required": True}},
    ]
    whole = own_contract().model_dump(by_alias=True)
    contract = Contract.model_validate({**whole, "fields": fields})
    ages = [0.0, 1.0, 1.0, np.nan] if kind == "boolean" else [17.0, 40.0, 43.0, 90.0, np.nan]
    frame = pd.DataFrame({"age": ages, "b": np.arange(len(ages), dtype=float)})
    rows = to_background(contract, frame, 0)
    assert {"number": 41.5, "integer": 42, "boolean": True}[kind] == rows[0]["age"]
    assert {(type(row["age"]), row["age"]) for row in rows} == {
        ({"number": float, "integer": int, "boolean": bool}[kind], rows[0]["age"])
    }
    assert sorted(row["b"] for row in rows) == list(range(len(ages)))
    assert (
        "age"
        not in to_background(
            Contract.model_validate(
                {**whole, "fields": [{**fields[0], "role": "group"}, *fields[1:]]}
            ),
            frame,
            0,
        )[0]
    )
