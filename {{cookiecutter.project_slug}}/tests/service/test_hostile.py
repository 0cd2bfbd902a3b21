"""500 hostile bodies: each is refused within a second, none is a fault of the service."""

import base64
import json
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "hostile.jsonl").read_text("utf-8").splitlines()
]


def body(case: dict[str, Any], contract: Contract) -> bytes:
    """The case's bytes, its gaps filled with the contract's example and names.

    raw (times times, between before and after) or base64: the body itself.
    number, text: JSON text in the place of the value of the first number or text.
    rest: what follows the row's last value. around: what stands around the row.
    drop: which value is left out.
    """
    if "base64" in case:
        return base64.b64decode(case["base64"])
    if "raw" in case:
        text = str(case["raw"]) * int(case.get("times", 1))
        whole = str(case.get("before", "")) + text + str(case.get("after", ""))
        return whole.encode("utf-8", "surrogatepass")
    values = {name: json.dumps(value) for name, value in contract.example.items()}
    kinds = {"number": contract.numbers, "text": contract.categories}
    for kind, columns in kinds.items():
        if kind in case:
            column = next(iter(columns), contract.features[0])
            values[column.name] = case[kind]
    if "drop" in case:
        del values[list(values)[case["drop"] % len(values)]]
    pairs = ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items())
    first = json.dumps(contract.features[0].name)
    row = "{" + pairs + str(case.get("rest", "")).replace("FIRST", first) + "}"
    return str(case.get("around", "ROW")).replace("ROW", row).encode("utf-8", "surrogatepass")


def test_there_are_500_different_ones() -> None:
    assert len({json.dumps(case, sort_keys=True) for case in CASES}) == len(CASES) == 500


def test_every_hostile_body_is_refused_within_a_second(
    client: TestClient, contract: Contract
) -> None:
    for case in CASES:
        start = time.monotonic()
        response = client.post(
            "/v1/predictions",
            content=body(case, contract),
            headers={"content-type": "application/json"},
        )
        took = time.monotonic() - start
        assert 400 <= response.status_code < 500, (case, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
        assert took < 1, (case, took)
