"""Whatever JSON comes, the answer is a prediction without a null or a refusal, never a fault."""

import json
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from {{ cookiecutter.package_name }}.contract import Contract

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_in_any_field(
    data: st.DataObject, client: TestClient, contract: Contract
) -> None:
    names = [column.name for column in contract.features]
    changed = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    row: dict[str, Any] = {**contract.example, **changed}
    body = data.draw(st.sampled_from([row, [row], [contract.example, row]]))
    response = client.post(
        "/v1/predictions",
        content=json.dumps(body).encode("utf-8"),
        headers={"content-type": "application/json"},
    )
    assert response.status_code in (200, 400, 422), response.text
    answers = response.json() if response.status_code == 200 else []
    for answer in answers if isinstance(answers, list) else [answers]:
        assert None not in answer.values()


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=VALUES.map(json.dumps).map(str.encode) | st.binary(max_size=200))
def test_any_body(body: bytes, client: TestClient) -> None:
    response = client.post(
        "/v1/predictions", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
