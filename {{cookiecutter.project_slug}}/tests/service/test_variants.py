"""Champion and challenger: who answers, who is put out, and that the champion always goes on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import load_contract
from {{ cookiecutter.package_name }}.errors import NoFiniteAnswerError
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving import shadow
from {{ cookiecutter.package_name }}.serving import variants as module
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.comparison import (
    ABORTS,
    SHIFT_ROWS,
    SIZE,
    Comparison,
    Limits,
    stability,
)
from {{ cookiecutter.package_name }}.serving.metrics import report
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor, load_predictor
from {{ cookiecutter.package_name }}.serving.request import Parsed
from {{ cookiecutter.package_name }}.serving.service import PredictionService
from {{ cookiecutter.package_name }}.serving.settings import Settings
from {{ cookiecutter.package_name }}.serving.telemetry import Telemetry
from {{ cookiecutter.package_name }}.serving.variants import Plan, Variants, Wanted, variant

OTHER = "other@000000000000"
Model = Callable[[Any], Any]


def named(predictor: Predictor, answer: Model | None = None, version: str = OTHER) -> Predictor:
    """A challenger: the champion under another version, or with other answers."""
    info = predictor.info.model_copy(update={"version": version})
    return replace(predictor, info=info, _answer=answer or predictor._answer)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "variants.yaml"


class Instance:
    """One worker: its variants, what it counts and what it logs."""

    def __init__(
        self, champion: Predictor, file: Path, challenger: Predictor, shared: Path | None = None
    ) -> None:
        self.log = file.with_name("predictions.jsonl")
        self.file = file
        self.telemetry = Telemetry(champion, shared)
        self.variants = Variants(
            champion, self.telemetry.comparison, Path("challenger"), file, lambda _: challenger
        )
        log = PredictionLog(str(self.log))
        contract = champion.contract
        self.service = PredictionService(contract, self.variants, log, self.telemetry, 50)
        self.row = contract.example
        self._asked = 0

    def write(self, **wanted: Any) -> None:
        """Change the file, and let it be seen."""
        self.file.write_text(json.dumps({"challenger": OTHER, **wanted}), encoding="utf-8")
        self.variants.look()

    def ask(self, count: int, together: int = 16, **wanted: Any) -> list[dict[str, Any]]:
        """Answers to so many requests of one row, each of a key of its own."""
        answers: list[bytes] = []
        while len(answers) < count:
            keys = range(self._asked, self._asked + min(together, count - len(answers)))
            self._asked = keys.stop
            answers += self.service.predict(
                [Parsed([self.row], False, {}, str(key), **wanted) for key in keys]
            )
        return [json.loads(answer) for answer in answers]

    @property
    def is_out(self) -> bool:
        return self.variants.plan.challenger is None

    def counted(self, name: str) -> float:
        lines = report(self.telemetry).decode().splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(name)))

    def records(self) -> list[dict[str, Any]]:
        self.service.close()
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def instance(predictor: Predictor, file: Path) -> Iterator[Instance]:
    made = Instance(predictor, file, named(predictor))
    yield made
    made.service.close()


def by(answers: list[dict[str, Any]]) -> Counter[str]:
    return Counter(answer["variant"] for answer in answers)


def test_without_a_file_the_champion_answers(instance: Instance) -> None:
    assert by(instance.ask(20)) == {"champion": 20}


@pytest.mark.parametrize("share", [0, 1, 10, 50, 99, 100])
def test_the_share_is_kept_within_two_points(predictor: Predictor, share: int) -> None:
    champion, other = variant("champion", predictor), variant("challenger", named(predictor))
    plan = Plan(champion, other, Wanted(challenger=OTHER, share=share))
    taken = [plan.variant(f"customer {number}") is other for number in range(10_000)]
    assert sum(taken) / 100 == pytest.approx(share, abs=2 if 0 < share < 100 else 0)


def test_a_key_keeps_its_variant_as_the_share_grows(predictor: Predictor) -> None:
    champion, other = variant("champion", predictor), variant("challenger", named(predictor))

    def taken(version: str, share: int) -> set[int]:
        plan = Plan(champion, other, Wanted(challenger=version, share=share))
        return {number for number in range(2000) if plan.variant(str(number)) is other}

    assert taken("a", 10) == taken("a", 10)
    assert taken("a", 10) < taken("a", 30)
    assert taken("a", 10) != taken("b", 10)


def test_each_is_answered_by_its_variant(instance: Instance) -> None:
    instance.write(share=50)
    answers = instance.ask(64)
    assert min(by(answers).values()) > 10
    versions = {answer["variant"]: answer["model_version"] for answer in answers}
    assert versions["challenger"] == OTHER != versions["champion"]
    assert [record["variant"] for record in instance.records()] == [
        answer["variant"] for answer in answers
    ]
    assert instance.counted('variant_rows_total{variant="challenger"}') == by(answers)["challenger"]
    instance.write(share=100)
    assert by(instance.ask(20)) == {"challenger": 20}
    instance.write(share=0)
    assert by(instance.ask(20)) == {"champion": 20}
    instance.write(share=100)
    instance.file.unlink()
    instance.variants.look()
    assert by(instance.ask(20)) == {"champion": 20}


def test_reasons_are_those_of_the_variant(instance: Instance) -> None:
    instance.write(share=100)
    (answer,) = instance.ask(1, reasons=2)
    assert (answer["variant"], len(answer["reasons"]) > 0) == ("challenger", True)
    explained = json.loads(instance.service.explain(json.dumps(instance.row).encode(), None, "x"))
    assert explained["variant"] == "challenger"


def test_a_shadow_is_logged_and_never_told(instance: Instance) -> None:
    instance.write(share="shadow")
    answers = instance.ask(20, together=4)
    assert by(answers) == {"champion": 20}
    instance.service._shadow._thread.shutdown()
    shadows = [record for record in instance.records() if record.get("shadow")]
    assert {record["variant"] for record in shadows} == {"challenger"}
    assert {record["model_version"] for record in shadows} == {OTHER}
    assert [record["prediction_id"] for record in shadows] == [
        answer["prediction_id"] for answer in answers
    ]
    assert instance.counted('variant_rows_total{variant="challenger"}') == 0


def test_a_shadow_that_lags_leaves_rows_out(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_WAITING_ROWS", 3)
    instance.write(share="shadow")
    instance.ask(4, together=4)
    assert instance.counted("challenger_dropped_total") == 4


def fails(_: Any) -> Any:
    raise RuntimeError("broken")


def infinite(labels: int) -> Model:
    return lambda features: np.full((len(features.numbers), labels or 1), np.nan)


def shifted(predictor: Predictor, constant: bool = False) -> Model:
    """Other scores than the champion's."""

    def answer(features: Any) -> Any:
        given = np.array(predictor.answers(features))
        if constant:
            given[:] = given.mean(axis=0)
        elif predictor.contract.labels:
            given = given[:, ::-1] * np.linspace(1, 3, given.shape[1])
            given /= given.sum(axis=1, keepdims=True)
        else:
            given = given * 2 + 1
        return given

    return answer


@pytest.mark.parametrize("share", ["shadow", 10, 100])
@pytest.mark.parametrize("kind", ["fails", "infinite"])
def test_one_that_fails_is_put_out_and_no_caller_notices(
    predictor: Predictor, file: Path, caplog: pytest.LogCaptureFixture, kind: str, share: Any
) -> None:
    bad = fails if kind == "fails" else infinite(len(predictor.contract.labels))
    instance = Instance(predictor, file, named(predictor, bad))
    instance.write(share=share)
    answers = instance.ask(500, together=1)
    if share == "shadow":
        instance.service._shadow._thread.shutdown()
    assert by(answers) == {"champion": 500}
    assert len({answer["prediction_id"] for answer in answers}) == 500
    assert len(instance.records()) == 500
    assert instance.is_out
    assert f"the challenger {OTHER} is put out: it failed 6 rows" in caplog.text
    assert instance.counted("challenger_aborts_total") == 1
    assert instance.counted("challenger_errors_total") == 6


def test_a_row_that_both_fail_is_no_fault_of_the_challenger(
    predictor: Predictor, file: Path
) -> None:
    bad = infinite(len(predictor.contract.labels))
    instance = Instance(named(predictor, bad, "champion@0"), file, named(predictor, bad))
    instance.write(share=100)
    for _ in range(20):
        with pytest.raises(NoFiniteAnswerError):
            instance.ask(1)
    assert not instance.is_out


def test_one_that_cannot_explain_leaves_it_to_the_champion(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.write(share=100)
    challenger = instance.variants.plan.challenger
    assert challenger is not None
    monkeypatch.setattr(challenger.explainer, "explain", fails)
    (answer,) = instance.ask(1, reasons=2)
    assert (answer["variant"], len(answer["reasons"]) > 0) == ("champion", True)
    explained = json.loads(instance.service.explain(json.dumps(instance.row).encode(), None, "x"))
    assert explained["variant"] == "champion"
    assert instance.counted("challenger_errors_total") == 2
    assert len(instance.records()) == 1


def test_one_that_is_slow_is_put_out(
    predictor: Predictor, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def slow(features: Any) -> Any:
        nonlocal now
        now += 0.25
        return predictor._answer(features)

    monkeypatch.setattr(module, "perf_counter", lambda: now)
    instance = Instance(predictor, file, named(predictor, slow))
    instance.write(share=50)
    answers = instance.ask(200, together=1)
    assert instance.is_out
    # 2 s beyond 50 ms a call.
    assert by(answers)["challenger"] == pytest.approx(10, abs=2)
    instance.write(share=50, limits={"latency_ms": 300.0})
    instance.ask(200, together=1)
    assert not instance.is_out


@pytest.fixture
def rows(pipeline: Layout, as_sent: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    import pandas as pd

    return as_sent(pd.read_parquet(pipeline.train).sample(2000, replace=True, random_state=0))


def ask_rows(instance: Instance, rows: list[dict[str, Any]], seed: int) -> Counter[str]:
    """Ask about the rows in lists of ten, each of a key by chance."""
    generator, found = np.random.default_rng(seed), Counter[str]()
    for start in range(0, len(rows), 10):
        key = str(generator.integers(2**32))
        body = Parsed(rows[start : start + 10], True, {}, key)
        found += by(json.loads(instance.service.predict([body])[0]))
    return found


@pytest.mark.parametrize("constant", [True, False])
def test_one_with_other_scores_is_put_out(
    predictor: Predictor, file: Path, rows: list[dict[str, Any]], constant: bool
) -> None:
    instance = Instance(predictor, file, named(predictor, shifted(predictor, constant)))
    for seed in range(10):
        instance.write(share=50)
        found = ask_rows(instance, rows, seed)
        assert instance.is_out
        assert SHIFT_ROWS <= found["challenger"] < 900
        instance.variants.look()
        assert instance.is_out, "the file still names it, and nobody wrote it again"


def test_a_good_one_is_never_put_out(
    predictor: Predictor, file: Path, rows: list[dict[str, Any]]
) -> None:
    instance = Instance(predictor, file, named(predictor))
    for seed in range(20):
        instance.write(share=30 + seed)
        found = ask_rows(instance, rows, seed)
        assert found["challenger"] > SHIFT_ROWS
        assert not instance.is_out
        instance.write(share=100)
        assert by(instance.ask(5)) == {"challenger": 5}
    assert instance.counted("challenger_aborts_total") == 0


def test_a_long_good_time_excuses_nothing() -> None:
    own = np.zeros(SIZE)
    comparison, limits = Comparison(own, own[None]), Limits()
    for place in (0, 1):
        for _ in range(5000):
            assert comparison.answered(place, 0.001, [0], limits) is None
    for _ in range(5):
        assert comparison.failed(1, limits) is None
    assert "it failed 6 rows more" in (comparison.failed(1, limits) or "")


def test_workers_judge_together_and_one_puts_out_for_all(predictor: Predictor, file: Path) -> None:
    counts = np.zeros((2, SIZE))
    workers = [Comparison(own, counts) for own in counts]
    pair = [
        Variants(predictor, each, Path("challenger"), file, lambda _: named(predictor, fails))
        for each in workers
    ]
    file.write_text(json.dumps({"challenger": OTHER, "share": 10}), encoding="utf-8")
    for each in pair:
        each.look()
    plans = [each.plan for each in pair]
    assert plans[0].number == plans[1].number > 0
    for number in range(6):
        pair[number % 2].failed(plans[number % 2], RuntimeError("broken"))
    assert (pair[1].plan.challenger, pair[0].plan.challenger is None) == (None, False)
    pair[0].look()
    assert pair[0].plan.challenger is None
    assert counts[:, ABORTS].sum() == 1
    # One that starts now, in the place of a worker that died, finds it out.
    assert Variants(predictor, workers[0], Path("challenger"), file).plan.challenger is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("share: [", "cannot be read as YAML"),
        (f"challenger: {OTHER}\nshare: 101", "Input should be less than or equal to 100"),
        (f"challenger: {OTHER}\nshare: 10\nshadow: true", "shadow: Extra inputs"),
        (f"challenger: {OTHER}\nshare: 1\nlimits:\n  error: 1.0", "limits.error: Extra"),
        ("challenger: someone@1\nshare: 10", f"holds {OTHER}; name that one"),
    ],
)
def test_a_file_that_cannot_be_followed_changes_nothing(
    instance: Instance, caplog: pytest.LogCaptureFixture, content: str, message: str
) -> None:
    instance.write(share=100)
    instance.file.write_text(content, encoding="utf-8")
    instance.variants.look()
    assert message in caplog.text
    assert by(instance.ask(5)) == {"challenger": 5}
    caplog.clear()
    instance.variants.look()
    assert not caplog.records, "said once"


def test_a_challenger_of_other_columns_is_refused(
    pipeline: Layout, predictor: Predictor, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (pipeline.serving / "contract.yaml").read_text(encoding="utf-8")
    changed = yaml.safe_load(text)
    name = predictor.contract.features[-1].name
    (field,) = [each for each in changed["fields"] if each["name"] == name]
    field["name"] = "another"
    path = file.with_name("contract.yaml")
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    other = replace(named(predictor), contract=load_contract(path))
    instance = Instance(predictor, file, other)
    instance.write(share=100)
    assert f"{OTHER} takes other columns" in caplog.text
    assert by(instance.ask(5)) == {"champion": 5}


@pytest.mark.parametrize("file_of_it", ["model.json", "contract.yaml", None])
def test_a_tampered_challenger_is_not_loaded(
    layout: Layout,
    challenger: Path,
    other_version: str,
    file: Path,
    file_of_it: str | None,
    caplog: Any,
) -> None:
    if file_of_it is None:
        (challenger / "more").touch()
    else:
        content = (challenger / file_of_it).read_bytes()
        (challenger / file_of_it).write_bytes(content + b" ")
    file.write_text(json.dumps({"challenger": other_version, "share": 100}), encoding="utf-8")
    champion = load_predictor(layout.serving)
    settings = Settings(challenger_dir=challenger, variants_file=file)
    log = PredictionLog(str(layout.root / "predictions.jsonl"))
    with TestClient(create_app(champion, log, settings)) as client:
        answer = client.post("/v1/predictions", json=champion.contract.example)
        assert answer.json()["variant"] == "champion"
    assert "the variants stay as they are" in caplog.text


def test_the_api_tells_who_stands_beside_the_champion(
    layout: Layout, challenger: Path, other_version: str, file: Path
) -> None:
    file.write_text(json.dumps({"challenger": other_version, "share": 25}), encoding="utf-8")
    champion = load_predictor(layout.serving)
    settings = Settings(challenger_dir=challenger, variants_file=file)
    log = PredictionLog(str(layout.root / "predictions.jsonl"))
    app = create_app(champion, log, settings)
    with TestClient(app) as client:
        assert client.get("/v1/model").json()["challenger"] == {
            "version": other_version,
            "share": 25,
        }
        row = champion.contract.example

        def answers(**headers: str) -> set[str]:
            asked = [client.post("/v1/predictions", json=row, headers=headers) for _ in range(40)]
            return {answer.json()["variant"] for answer in asked}

        assert answers() == {"champion", "challenger"}
        assert len(answers(**{"X-Variant-Key": "customer 7"})) == 1
        file.write_text("", encoding="utf-8")
        app.variants.look()
        assert client.get("/v1/model").json()["challenger"] is None


def test_the_index_of_a_shift_is_the_books() -> None:
    # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5)
    assert stability(np.array([5e6, 5e6]), np.array([3e6, 7e6])) == pytest.approx(0.16946, abs=1e-4)
    assert stability(np.array([1e3, 0.0]), np.array([1e3, 0.0])) == 0
