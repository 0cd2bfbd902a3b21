import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.derived import Numbers
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings

Row = dict[str, Any]


def ask(client: TestClient, content: Any) -> httpx2.Response:
    response: httpx2.Response = client.post("/v1/predictions", json=content)
    return response


def faults(response: httpx2.Response) -> dict[Any, str]:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert {"type", "title", "detail"} <= set(problem)
    return {fault["field"]: fault["message"] for fault in problem.get("errors", [])}


def test_one_row_gets_one_answer(client: TestClient, row: Row, predictor: Predictor) -> None:
    response = ask(client, row)
    assert response.status_code == 200
    answer = response.json()
    assert answer["model_version"] == predictor.info.version
    expected = predictor.answers(Encoder(predictor.contract).rows([row]))[0]
    if predictor.contract.labels:
        (place,) = predictor.info.decision.places(expected.reshape(1, -1))
        assert answer["label"] == predictor.contract.labels[place]
        assert answer["probability"] == float(expected[place])
    else:
        assert answer["value"] == float(expected)


def test_a_list_gets_an_answer_for_each_row_in_order(
    client: TestClient, pipeline: Layout, predictor: Predictor, as_sent: Callable[..., list[Row]]
) -> None:
    rows = as_sent(pd.read_parquet(pipeline.test).head(50))
    answers = ask(client, rows).json()
    expected = predictor.answers(Encoder(predictor.contract).rows(rows))
    if predictor.contract.labels:
        places = predictor.info.decision.places(expected)
        labels = [predictor.contract.labels[place] for place in places]
        assert [answer["label"] for answer in answers] == labels
        chances = expected[np.arange(len(rows)), places].tolist()
        assert [answer["probability"] for answer in answers] == chances
    else:
        assert [answer["value"] for answer in answers] == expected.tolist()
    assert len({answer["prediction_id"] for answer in answers}) == len(rows)


def test_the_order_of_keys_changes_nothing(client: TestClient, row: Row) -> None:
    first = ask(client, row).json()
    second = ask(client, dict(reversed(row.items()))).json()
    assert {**first, "prediction_id": ""} == {**second, "prediction_id": ""}


def test_each_prediction_is_logged(client: TestClient, row: Row, log_file: Path) -> None:
    answers = ask(client, [row, row]).json()
    records = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]
    assert [record["prediction_id"] for record in records] == [
        answer["prediction_id"] for answer in answers
    ]
    for record, answer in zip(records, answers, strict=True):
        assert record["inputs"] == row
        assert record["time"].endswith("+00:00")
        assert answer.items() <= record.items()


def test_a_prediction_that_cannot_be_logged_is_not_answered(
    client: TestClient, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    response = ask(client, row)
    assert response.status_code == 503
    assert "could not be logged" in response.json()["detail"]


def test_every_field_at_fault_is_named(client: TestClient, contract: Contract) -> None:
    names = [column.name for column in contract.features]
    wrong: Row = {name: [] for name in names[1:]}
    response = ask(client, {**wrong, "surprise": 1})
    assert response.status_code == 422
    found = faults(response)
    assert set(found) == {*names, "surprise"}
    assert found[names[0]] == "Field required"
    assert found["surprise"] == "Extra inputs are not permitted"


def test_each_fault_of_each_field_is_refused_by_name(
    client: TestClient, row: Row, contract: Contract
) -> None:
    for column in contract.features:
        wrong: list[Any] = [[], {}, "" if column.type == "boolean" else True]
        if column.type == "boolean":
            wrong += [1, 0.0, "true"]
        elif column.is_number:
            wrong += ["3.5", "", column.minimum - 1, column.maximum + 1, 1e39, -1e39]
        else:
            wrong += [1, 1.5, ""]
        if column.constraints.enum is not None:
            wrong.append("surprise")
        if column.constraints.required:
            wrong.append(None)
        if column.type == "integer":
            wrong.append(1.5)
        for value in wrong:
            response = ask(client, {**row, column.name: value})
            unbounded = isinstance(value, float) and abs(value) > 1e38 and abs(value) < 1e39
            if unbounded:  # one more than the greatest float32 is the same float64
                continue
            assert (response.status_code, list(faults(response))) == (422, [column.name]), value


def test_a_missing_value_is_answered_where_the_contract_allows_it(
    client: TestClient, row: Row, contract: Contract
) -> None:
    for column in contract.features:
        status = 422 if column.constraints.required else 200
        assert ask(client, {**row, column.name: None}).status_code == status


def test_the_row_at_fault_is_numbered(client: TestClient, row: Row, contract: Contract) -> None:
    response = ask(client, [row, {**row, contract.features[0].name: {}}])
    assert [fault["row"] for fault in response.json()["errors"]] == [1]


def test_limits_on_rows_and_body(client: TestClient, row: Row) -> None:
    assert ask(client, [row] * 50).status_code == 200
    response = ask(client, [row] * 51)
    assert (response.status_code, response.json()["detail"]) == (
        413,
        "more than 50 rows; send them in several requests",
    )
    padded = json.dumps(row) + " " * 100_000
    response = client.post(
        "/v1/predictions", content=padded, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert "larger than 100000 bytes" in response.json()["detail"]


def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient) -> None:
    response = client.post(
        "/v1/predictions",
        content=b"{}",
        headers={"content-type": "application/json", "content-length": "500000000"},
    )
    assert response.status_code == 413


def test_of_many_faults_a_hundred_are_named(client: TestClient, row: Row) -> None:
    many = {**row, **{f"unknown {number}": 1 for number in range(2_000)}}
    bodies: list[Any] = [many, [row, many], [{}] * 50]
    for body in bodies:
        problem = ask(client, body).json()
        assert len(problem["errors"]) == 100
        assert problem["detail"].endswith("the first 100 of them")
    assert {fault["row"] for fault in ask(client, [row, many]).json()["errors"]} == {1}


def test_a_body_that_is_not_declared_as_json_is_refused(client: TestClient, row: Row) -> None:
    response = client.post("/v1/predictions", data=row)
    assert response.status_code == 415
    assert "send the body as application/json" in response.json()["detail"]


def test_other_routes_and_methods_are_problems_too(client: TestClient) -> None:
    for method, path, status in [("GET", "/v1/predictions", 405), ("GET", "/nowhere", 404)]:
        response = client.request(method, path)
        assert response.status_code == status
        faults(response)
    assert set(client.put("/feedback").headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_an_answer_that_is_not_finite_is_refused(
    predictor: Predictor, row: Row, log_file: Path
) -> None:
    def nan(features: Features) -> Any:
        shape = (len(features.numbers), max(len(predictor.contract.labels), 1))
        return np.full(shape, np.nan)

    broken = replace(predictor, _answer=nan)
    client = TestClient(create_app(broken, PredictionLog(str(log_file)), Settings()))
    response = ask(client, row)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("the model has no finite answer")
    assert log_file.read_text(encoding="utf-8") == ""


def failing(values: Any) -> Any:
    raise ValueError(f"planted {values[0]}")


def test_a_derived_feature_that_fails_is_a_refusal(
    predictor: Predictor, row: Row, log_file: Path, derive: Callable[..., None]
) -> None:
    derive("broken", Numbers, predictor.contract.numbers[:1], failing)
    client = TestClient(create_app(predictor, PredictionLog(str(log_file)), Settings()))
    for content in (row, [row] * 500):  # alone in a thread, and with whatever arrives beside it
        response = ask(client, content)
        assert response.status_code == 422
        assert "derived.py: broken fails on these rows (ValueError: planted" in response.text
    assert log_file.read_text(encoding="utf-8") == ""


def test_an_unexpected_fault_shows_no_stack_trace(
    predictor: Predictor, row: Row, log_file: Path
) -> None:
    def fail(_: Features) -> Any:
        raise RuntimeError("secret")

    broken = replace(predictor, _answer=fail)
    app = create_app(broken, PredictionLog(str(log_file)), Settings())
    response = ask(TestClient(app, raise_server_exceptions=False), row)
    assert response.status_code == 500
    assert faults(response) == {}
    assert "secret" not in response.text


def test_a_private_field_is_in_no_log_and_no_refusal(
    predictor: Predictor, row: Row, log_file: Path
) -> None:
    contract = predictor.contract
    fields = [column.model_copy(update={"pii": True}) for column in contract.fields]
    private = replace(predictor, contract=contract.model_copy(update={"fields": fields}))
    private.contract.__dict__.pop("features", None)
    client = TestClient(create_app(private, PredictionLog(str(log_file)), Settings()))
    assert ask(client, row).status_code == 200
    assert json.loads(log_file.read_text(encoding="utf-8"))["inputs"] == {}
    response = ask(client, {**row, contract.features[0].name: ["planted"]})
    assert response.status_code == 422
    assert "planted" not in response.text


def with_keys(predictor: Predictor) -> Predictor:
    """The same model under a contract with ids: two to log, one of them required, one private."""
    content = predictor.contract.model_dump(by_alias=True)
    fields = [field for field in content["fields"] if field["role"] != "id"]
    text = {"name": "account", "type": "string", "role": "id", "constraints": {"required": True}}
    number = {"name": "contract number", "type": "integer", "role": "id"}
    fields += [text, number, {**text, "name": "e-mail", "pii": True}]
    contract = Contract.model_validate({**content, "fields": fields})
    return replace(predictor, contract=contract)


def test_a_request_may_name_what_it_is_about(
    client: TestClient, predictor: Predictor, row: Row, log_file: Path
) -> None:
    plain = ask(client, row).json()
    keyed = TestClient(create_app(with_keys(predictor), PredictionLog(str(log_file)), Settings()))
    keys: list[Row] = [{}, {"account": "a:1"}, {"account": "b", "contract number": None}]
    for key in keys:
        answer = ask(keyed, {**row, **key, "e-mail": "planted"}).json()
        assert {**answer, "prediction_id": ""} == {**plain, "prediction_id": ""}
        last = log_file.read_text(encoding="utf-8").splitlines()[-1]
        assert json.loads(last)["inputs"] == row | key
    described = keyed.get("/openapi.json").json()["components"]["schemas"]["Row"]
    assert list(described["properties"])[len(row) :] == ["account", "contract number", "e-mail"]
    assert described["required"] == list(row)


def test_a_wrong_or_doubled_key_is_refused(predictor: Predictor, row: Row, log_file: Path) -> None:
    client = TestClient(create_app(with_keys(predictor), PredictionLog(str(log_file)), Settings()))
    for name, value in [("account", 1), ("account", None), ("contract number", "1"), ("e-mail", 1)]:
        response = ask(client, {**row, name: value})
        assert (response.status_code, list(faults(response))) == (422, [name])
    thrice = ", ".join(['"account": "a"'] * 3)  # as many colons as a body with all fields has
    for doubled in ('"account": "a", "account": "b"', thrice, json.dumps(row)[1:-1]):
        body = f"{json.dumps(row)[:-1]}, {doubled}}}"
        headers = {"content-type": "application/json"}
        response = client.post("/v1/predictions", content=body, headers=headers)
        assert response.status_code == 400
        assert "named twice in one row" in response.json()["detail"]
    assert log_file.read_text(encoding="utf-8") == ""


def test_ids_go_into_the_log_and_back(client: TestClient, row: Row, log_file: Path) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "order-7", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    response = client.post("/v1/predictions", json=[row, row], headers=headers)
    assert response.headers["x-request-id"] == "order-7"
    for line in log_file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert (record["request_id"], record["trace_id"]) == ("order-7", trace)
    for unfit in ("", "a b", "x" * 129):  # it would break a log, or fill it
        response = client.post("/v1/predictions", json=row, headers={"x-request-id": unfit})
        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert "trace_id" not in json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    for path in ("/health/live", "/nowhere"):
        answer = client.get(path, headers={"x-request-id": "order-8"})
        assert answer.headers["x-request-id"] == "order-8"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_dry_run_is_answered_and_logged_as_such(
    client: TestClient, row: Row, log_file: Path
) -> None:
    plain = client.post("/v1/predictions?dry_run=false", json=row).json()
    dry = client.post("/v1/predictions?dry_run=true", json=row).json()
    assert {**plain, "prediction_id": ""} == {**dry, "prediction_id": ""}
    served, tried = map(json.loads, log_file.read_text(encoding="utf-8").splitlines())
    assert tried["dry_run"] is True
    assert "dry_run" not in served


@pytest.mark.parametrize("query", ["dry_run=yes", "dry-run=true", "dry_run=true&dry_run=true"])
def test_an_unknown_option_is_refused(
    query: str, client: TestClient, row: Row, log_file: Path
) -> None:
    response = client.post(f"/v1/predictions?{query}", json=row)
    assert response.status_code == 400
    assert "dry_run" in response.json()["detail"]
    assert log_file.read_text(encoding="utf-8") == ""


def test_an_answer_carries_its_reasons(client: TestClient, row: Row, log_file: Path) -> None:
    explained = client.post("/v1/explanations", json=[row]).json()
    assert log_file.read_text(encoding="utf-8") == ""  # nothing was served
    (explanation,) = explained
    reasons = explanation["reasons"]
    assert {each["feature"]: each["value"] for each in reasons} == row
    total = sum(each["contribution"] for each in reasons)
    gained = explanation["value"] - explanation["base_value"]
    assert total == pytest.approx(gained, rel=1e-9, abs=1e-9)
    top = client.post("/v1/explanations?top=2", json=row).json()
    assert top["reasons"] == reasons[:2]
    assert top["rest"] == pytest.approx(gained - sum(e["contribution"] for e in reasons[:2]))
    one, two = client.post("/v1/predictions?reasons=2", json=[row, row]).json()
    assert one["reasons"] == two["reasons"] == reasons[:2]
    records = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]
    assert [record["prediction_id"] for record in records] == [
        one["prediction_id"],
        two["prediction_id"],
    ]
    many = client.post("/v1/predictions?reasons=2", json=[row] * 11)
    assert many.status_code == 413
    assert "11 rows with reasons, at most 10 at once" in many.json()["detail"]
    assert len(log_file.read_text(encoding="utf-8").splitlines()) == 2
    assert client.post("/v1/explanations", json={}).status_code == 422
