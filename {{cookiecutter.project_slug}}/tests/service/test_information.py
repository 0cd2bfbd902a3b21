from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.serving.predictor import Predictor


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_the_model_is_described(client: TestClient, predictor: Predictor) -> None:
    described = client.get("/v1/model").json()
    assert described["version"] == predictor.info.version
    assert described["labels"] == list(predictor.contract.labels)
    assert described["metrics"] == predictor.info.metrics


def test_the_documentation_is_there(client: TestClient) -> None:
    assert "/openapi.json" in client.get("/docs").text
