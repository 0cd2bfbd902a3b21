"""Known rows asked of a running service: SERVICE_URL says which, API_KEY what it wants to see."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

URL = os.environ.get("SERVICE_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("API_KEY")
PATIENCE = 60
CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def service() -> Iterator[httpx2.Client]:
    """A client, once the service is ready."""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx2.Client(base_url=URL, timeout=10, headers=headers) as client:
        deadline = time.monotonic() + PATIENCE
        while (fault := not_ready(client)) is not None:
            assert time.monotonic() < deadline, f"{URL} {fault} after {PATIENCE} s"
            time.sleep(0.5)
        yield client


def not_ready(client: httpx2.Client) -> str | None:
    try:
        status = client.get("/health/ready").status_code
    except httpx2.TransportError as error:
        return f"does not answer ({error})"
    return None if status == 200 else f"answers {status}"


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_known_row_gets_its_answer(case: dict[str, Any], service: httpx2.Client) -> None:
    response = service.post("/v1/predictions", json=case["row"])
    assert response.status_code == 200, response.text
    answer = response.json()
    if "label" in case:
        assert answer["label"] == case["label"], answer
    elif "least" in case:
        assert case["least"] <= answer["value"] <= case["most"], answer


def test_an_empty_row_is_refused(service: httpx2.Client) -> None:
    response = service.post("/v1/predictions", json={})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_the_answers_come_from_the_model_that_is_named(service: httpx2.Client) -> None:
    answer = service.post("/v1/predictions", json=CASES[0]["row"]).json()
    assert answer["model_version"] == service.get("/v1/model").json()["version"]
