"""Requests that share a model call get their own answers, and share no fault of one of them."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import DerivedError, NoFiniteAnswerError, RequestError
from {{ cookiecutter.package_name }}.features import Encoder
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving.coalescing import Coalescer
from {{ cookiecutter.package_name }}.serving.endpoint import WHOLE_BODY
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.request import Parsed

JSON = {"content-type": "application/json"}


def body(number: int) -> Parsed:
    return Parsed([{"number": number}], is_list=False)


def numbers(bodies: Any) -> list[int]:
    return [parsed.rows[0]["number"] for parsed in bodies]


async def ask(coalescer: Coalescer, count: int) -> list[Any]:
    waiting = (coalescer.answer(body(number)) for number in range(count))
    async with asyncio.timeout(10):
        return await asyncio.gather(*waiting, return_exceptions=True)


def test_what_arrives_together_is_one_call() -> None:
    calls: list[list[int]] = []

    def predict(bodies: Any) -> list[bytes]:
        calls.append(numbers(bodies))
        return [str(number).encode() for number in numbers(bodies)]

    answers = asyncio.run(ask(Coalescer(predict), 300))
    assert answers == [str(number).encode() for number in range(300)]
    assert [len(call) for call in calls] == [128, 128, 44]


def test_a_failed_call_fails_those_that_shared_it_and_no_other() -> None:
    def predict(bodies: Any) -> list[bytes]:
        if 0 in numbers(bodies):
            raise RuntimeError("broken")
        return [b"fine"] * len(bodies)

    answers = asyncio.run(ask(Coalescer(predict), 200))
    assert [isinstance(answer, RuntimeError) for answer in answers] == [True] * 128 + [False] * 72


@pytest.mark.parametrize("refusal", [DerivedError, NoFiniteAnswerError])
def test_a_row_without_an_answer_is_refused_alone(refusal: type[RequestError]) -> None:
    def predict(bodies: Any) -> list[bytes]:
        if 7 in numbers(bodies):
            raise refusal("not finite")
        return [b"fine"] * len(bodies)

    answers = asyncio.run(ask(Coalescer(predict), 20))
    refused = [place for place, answer in enumerate(answers) if answer != b"fine"]
    assert refused == [7]
    assert isinstance(answers[7], refusal)


def test_one_that_left_keeps_no_other_waiting() -> None:
    async def leave() -> bytes:
        coalescer = Coalescer(lambda bodies: [b"fine"] * len(bodies))
        gone = asyncio.create_task(coalescer.answer(body(0)))
        stays = asyncio.create_task(coalescer.answer(body(1)))
        await asyncio.sleep(0)
        gone.cancel()
        async with asyncio.timeout(10):
            return await stays

    assert asyncio.run(leave()) == b"fine"


@pytest.mark.parametrize(("running", "is_answered"), [(1, True), (2, False)])
def test_one_alone_is_answered_in_its_first_turn(
    client: TestClient, contract: Contract, running: int, is_answered: bool
) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(contract.example).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> bool:
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/predictions"}
        scope |= {"query_string": b"", "headers": [(b"content-type", b"application/json")]}
        app: Any = client.app
        scope["state"] = {WHOLE_BODY: set(range(running))}
        task = asyncio.create_task(app(scope, receive, send))
        await asyncio.sleep(0)
        was_answered = task.done()
        await task
        return was_answered

    assert asyncio.run(ask()) == is_answered
    assert sent[0]["status"] == 200


def test_many_callers_get_their_own_answers(
    client: TestClient,
    pipeline: Layout,
    predictor: Predictor,
    contract: Contract,
    as_sent: Callable[..., list[dict[str, Any]]],
) -> None:
    rows = as_sent(pd.read_parquet(pipeline.valid).head(500))
    expected = predictor.answers(Encoder(contract).rows(rows))
    if contract.labels:
        expected = expected[np.arange(len(rows)), predictor.info.decision.places(expected)]

    def given(row: dict[Any, Any]) -> float:
        response = client.post("/v1/predictions", content=json.dumps(row), headers=JSON)
        answer = response.json()
        return float(answer["probability"] if contract.labels else answer["value"])

    with ThreadPoolExecutor(32) as callers:
        assert list(callers.map(given, rows)) == pytest.approx(expected.tolist(), rel=1e-6)
