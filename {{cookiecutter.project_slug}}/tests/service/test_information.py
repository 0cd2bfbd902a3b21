import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.serving.endpoint import FAULT
from {{ cookiecutter.package_name }}.serving.predictor import Predictor


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready?now=1").json() == {"status": "ready"}
    assert client.head("/health/ready").status_code == 200


def test_fastapi_is_made_once_for_all_who_ask(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: Any = client.app
    made: list[FastAPI] = []

    def inform(make: Any = app.inform) -> FastAPI:
        time.sleep(0.1)
        made.append(make())
        return made[-1]

    monkeypatch.setattr(app, "inform", inform)
    with ThreadPoolExecutor() as threads:
        asked = list(threads.map(client.get, ["/v1/model", "/v1/contract", "/nowhere"] * 3))
    assert [each.status_code for each in asked] == [200, 200, 404] * 3
    assert len(made) == 1


def test_where_fastapi_fails_the_rest_is_answered(
    client: TestClient, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError("no such module")

    monkeypatch.setattr(client.app, "inform", fail)
    answer = client.get("/v1/model")
    assert (answer.status_code, answer.json()["detail"]) == (500, FAULT)
    assert answer.headers["x-request-id"]
    assert client.post("/v1/predictions", json=row).status_code == 200
    assert counters(client)["http_requests_total", "other", "500"] == 1


def test_the_model_is_described(client: TestClient, predictor: Predictor) -> None:
    described = client.get("/v1/model").json()
    assert described["version"] == predictor.info.version
    assert described["labels"] == list(predictor.contract.labels)
    assert described["metrics"] == predictor.info.metrics


def test_the_models_card_is_there(client: TestClient, predictor: Predictor) -> None:
    card = client.get("/v1/model/card")
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    info = predictor.info
    for said in (info.version, info.audience, *info.limits):
        assert said in card.text
    for name, value in info.metrics.items():
        assert value is None or f"| {name} | {value:.4g} |" in card.text


def test_the_documentation_is_there(client: TestClient) -> None:
    (url,) = re.findall(r"url: '(.*openapi.*)'", client.get("/docs").text)
    for prefix in ("", "/ml"):  # which a proxy takes away, and the browser sees
        assert urljoin(f"{prefix}/docs", url) == f"{prefix}/openapi.json"


def test_no_redirect_leaves_the_prefix_of_a_proxy(client: TestClient, row: dict[str, Any]) -> None:
    answers = [client.get(f"{path}/", follow_redirects=False) for path in ("/v1/model", "/docs")]
    answers.append(client.post("/v1/predictions/", json=row, follow_redirects=False))
    for answer in answers:
        assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_the_contract_is_there_as_json_schema(client: TestClient, contract: Contract) -> None:
    schema = client.get("/v1/contract").json()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert list(schema["properties"]) == [column.name for column in contract.requested]


def counters(client: TestClient) -> dict[tuple[str, ...], float]:
    """Each sample of /metrics, by its name and the values of its labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_a_mounted_service_answers_and_counts_once(client: TestClient, row: dict[str, Any]) -> None:
    outer = FastAPI()
    outer.mount("/ml", client.app)
    answer = TestClient(outer).post("/ml/v1/predictions", json=row)
    assert (answer.status_code, len(answer.headers.get_list("x-request-id"))) == (200, 1)
    found = counters(client)
    assert found["http_requests_total", "/v1/predictions", "200"] == 1
    assert ("http_requests_total", "other", "200") not in found
    assert TestClient(client.app, root_path="/").get("/").status_code == 200
    found = counters(client)
    assert found["http_requests_total", "other", "200"] == 2  # with the counters before
    assert ("http_requests_total", "/", "200") not in found


def test_what_was_asked_is_counted(
    client: TestClient, contract: Contract, row: dict[str, Any], predictor: Predictor
) -> None:
    field = contract.features[0].name
    gaps = [column.name for column in contract.features if not column.constraints.required]
    sparse = row | dict.fromkeys(gaps[:1])
    answers = client.post("/v1/predictions", json=[row, sparse]).json()
    answers.append(client.post("/v1/predictions?dry_run=true", json=row).json())
    assert client.post("/v1/predictions", json={**row, field: []}).status_code == 422
    assert client.get("/nowhere").status_code == 404
    found = counters(client)
    assert found["http_requests_total", "/v1/predictions", "200"] == 2
    assert found["http_requests_total", "/v1/predictions", "422"] == 1
    assert found["http_requests_total", "other", "404"] == 1
    assert found["http_request_duration_seconds_count", "/v1/predictions"] == 3
    assert found["prediction_dry_runs_total",] == 1
    assert found["feature_refused_total", field] == 1
    if gaps:
        assert found["feature_missing_total", gaps[0]] == 1
    info = predictor.info
    assert found["model_info", info.name, info.sha256, info.version] == 1
    assert found["model_created_timestamp_seconds",] == predictor.created > 1e9
    if contract.labels:
        for label in contract.labels:
            count = sum(answer["label"] == label for answer in answers)
            assert found["prediction_answers_total", label] == count
        assert found["prediction_score_count",] == 3
        scores = [answer.get("score", answer["probability"]) for answer in answers]
        assert abs(found["prediction_score_sum",] - sum(scores)) < 1e-9
    else:
        assert found["prediction_value_count",] == 3
        buckets = [found[each] for each in found if each[0] == "prediction_value_bucket"]
        assert len(buckets) > 5
        assert max(buckets) == 3


def test_a_log_that_fails_is_counted(
    client: TestClient, row: dict[str, Any], monkeypatch: Any
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        assert client.post("/v1/predictions", json=row).status_code == 503
    found = counters(client)
    assert found["prediction_log_failures_total",] == 1
    assert found["http_requests_total", "/v1/predictions", "503"] == 1


def test_a_prediction_is_told_its_outcome(
    client: TestClient, contract: Contract, row: dict[str, Any], log_file: Path
) -> None:
    known = client.post("/v1/predictions", json=row).json()["prediction_id"]
    target = contract.target
    outcome = contract.labels[0] if contract.labels else max(target.minimum, 1)
    told = {"prediction_id": known, target.name: outcome}
    assert client.post("/v1/feedback", json=told).json() == {"status": "taken"}
    line = json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    assert (line["prediction_id"], line["feedback"]) == (known, outcome)
    for wrong, status in [
        ({**told, "prediction_id": "x"}, 422),
        ({**told, target.name: []}, 422),
        ({**told, "more": 1}, 422),
        ([told], 422),
    ]:
        assert client.post("/v1/feedback", json=wrong).status_code == status
    headers = {"content-type": "application/json"}
    assert client.post("/v1/feedback", content="{", headers=headers).status_code == 400
    assert len(log_file.read_text(encoding="utf-8").splitlines()) == 2
