"""What callers expect is kept, by the service and by the mock; see consumers.yaml."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.mock import mock_predictor
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.settings import Settings

Case = dict[str, Any]
CASES: list[Case] = yaml.safe_load(
    (Path(__file__).parent / "consumers.yaml").read_text(encoding="utf-8")
)
TYPES: dict[str, Any] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


@pytest.fixture(params=["service", "mock"])
def asked(
    request: pytest.FixtureRequest, client: TestClient, contract: Contract, tmp_path: Path
) -> TestClient:
    """The service, or what stands in for it before there is a model."""
    if request.param == "service":
        return client
    log = PredictionLog(str(tmp_path / "mock.jsonl"))
    return TestClient(create_app(mock_predictor(contract), log, Settings()))


@pytest.fixture
def cases(contract: Contract) -> list[Case]:
    return [case for case in CASES if case.get("task", contract.task) == contract.task]


def answer(case: Case, asked: TestClient, contract: Contract) -> Any:
    """The answer, of the status that is expected."""
    if "get" in case:
        response = asked.get(case["get"])
    else:
        rows = {"example": contract.example, "examples": [contract.example] * 2}
        body = case["body"]
        response = asked.post(
            case["post"], json=rows.get(body, body) if isinstance(body, str) else body
        )
    assert response.status_code == case.get("status", 200), (case["caller"], response.text)
    return response.json()


def place(path: str, content: Any) -> tuple[Any, Any]:
    """What holds the last part of a path, and that part: a key, or a number of a list."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        content = content[part]
    return content, last


def breaks(case: Case, content: Any) -> Iterator[str]:
    """What the caller reads and does not find."""
    for path, kind in case["reads"].items():
        try:
            holder, last = place(path, content)
            found = holder[last]
        except (KeyError, IndexError, TypeError):
            yield f"{case['caller']}: {path} is gone"
            continue
        if not isinstance(found, TYPES[kind]) or (isinstance(found, bool) and kind != "boolean"):
            yield f"{case['caller']}: {path} is {found!r}, and a {kind} is read"


def test_what_callers_read_is_there(
    cases: list[Case], asked: TestClient, contract: Contract
) -> None:
    found = [each for case in cases for each in breaks(case, answer(case, asked, contract))]
    assert found == []


def test_what_vanishes_or_changes_its_type_is_named(
    cases: list[Case], asked: TestClient, contract: Contract
) -> None:
    for case in cases:
        whole = answer(case, asked, contract)
        for path in case["reads"]:
            changed = deepcopy(whole)
            holder, last = place(path, changed)
            holder[last] = object()
            assert any(f"{path} is <object" in each for each in breaks(case, changed))
            del holder[last]
            if not isinstance(holder, list):
                assert f"{case['caller']}: {path} is gone" in breaks(case, changed)
