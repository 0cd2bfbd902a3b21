"""What the OpenAPI document promises is what the service does."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_the_example_is_accepted(client: TestClient, document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/predictions"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/v1/predictions", json=example).status_code == 200


def test_a_row_is_described_as_the_contract_says(
    document: dict[str, Any], contract: Contract
) -> None:
    row = document["components"]["schemas"]["Row"]
    assert list(row["properties"]) == [column.name for column in contract.requested]
    assert row["required"] == [column.name for column in contract.features]
    assert row["additionalProperties"] is False
    for column in contract.features:
        described = row["properties"][column.name]
        nullable = isinstance(described["type"], list) and "null" in described["type"]
        assert nullable != column.constraints.required
        if column.type == "boolean":
            assert "minimum" not in described
        elif column.is_number:
            assert (described["minimum"], described["maximum"]) == (column.minimum, column.maximum)
        elif column.constraints.enum is not None:
            assert [value for value in described["enum"] if value] == column.constraints.enum


def test_an_answer_has_the_keys_that_are_described(
    client: TestClient, document: dict[str, Any], row: dict[str, Any]
) -> None:
    described = document["components"]["schemas"]["Prediction"]
    answer = client.post("/v1/predictions", json=row).json()
    assert list(answer) == described["required"]
    answer = client.post("/v1/predictions?reasons=2", json=row).json()
    assert list(answer) == list(described["properties"])
    reason = document["components"]["schemas"]["Reason"]
    assert [list(each) for each in answer["reasons"]] == [reason["required"]] * 2
    explained = client.post("/v1/explanations", json=row).json()
    described = document["components"]["schemas"]["Explanation"]
    assert list(explained) == described["required"] == list(described["properties"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            references.extend([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                visit(child)

    visit(document)
    assert len(references) > 5
    for reference in references:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_what_is_read_is_answered_in_the_type_described(
    client: TestClient, document: dict[str, Any]
) -> None:
    read = {path: methods["get"] for path, methods in document["paths"].items() if "get" in methods}
    assert {"/v1/model", "/health/live", "/health/ready", "/metrics"} <= read.keys()
    for path, described in read.items():
        answer = client.get(path)
        assert answer.status_code == 200
        assert (
            answer.headers["content-type"].split(";")[0] in described["responses"]["200"]["content"]
        )


def test_each_refusal_is_described(client: TestClient, document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/predictions"]["post"]["responses"]
    headers = {"content-type": "application/json"}
    for content, status in [("", 400), ("[]", 422), (" " * 200_000, 413)]:
        response = client.post("/v1/predictions", content=content, headers=headers)
        assert response.status_code == status
        assert str(status) in described
    assert client.post("/v1/predictions", content="{}").status_code == 415
    assert {"415", "503"} <= set(described)
