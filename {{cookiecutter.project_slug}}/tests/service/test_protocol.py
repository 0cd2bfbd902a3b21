"""Slow or large heads hold no connection, a slow body harms no other, an answer is one write."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from {{ cookiecutter.package_name }}.serving import endpoint, protocol
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.coalescing import Coalescer
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings

POST = b"POST /v1/predictions HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
PART = b"x" * 1_000_000


@pytest.fixture
def port(predictor: Predictor, log_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a service that waits half a second for heads and bodies."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(endpoint, "BODY_SECONDS", 0.5)
    app = create_app(predictor, PredictionLog(str(log_file)), Settings())
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            http=protocol.Protocol,
            log_config=None,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port: int, *parts: bytes, pause: float = 0.0) -> str:
    """The status line that comes back, once all is sent or the service listens no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        return connection.recv(100).split(b"\r\n")[0].decode()


def test_a_slow_head_is_refused(port: int) -> None:
    for parts in ((), (b"POST /v1/pre",), (POST, b"X-More: ", b"x")):
        start = time.monotonic()
        assert answer(port, *parts) == "HTTP/1.1 408 Request Timeout"
        assert 0.4 < time.monotonic() - start < 5
    assert answer(port, *(b"x" for _ in range(30)), pause=0.05).startswith("HTTP/1.1 40")


def test_a_large_head_is_refused(port: int) -> None:
    heads = (b"X-%d: %s\r\n" % (number, b"x" * 8000) for number in range(20))
    assert answer(port, POST, *heads).startswith("HTTP/1.1 431")
    assert answer(port, POST, b"X: ", *[PART] * 20).startswith("HTTP/1.1 431")


def test_a_slow_body_is_refused_and_harms_no_other(port: int) -> None:
    slow: list[Any] = []
    head = POST + b"Content-Length: 1000\r\n\r\n"
    parts = [head, *(b"x" for _ in range(30))]
    thread = threading.Thread(target=lambda: slow.append(answer(port, *parts, pause=0.05)))
    thread.start()
    while thread.is_alive():
        start = time.monotonic()
        assert answer(port, b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n").endswith("200 OK")
        assert time.monotonic() - start < 1
    assert slow == ["HTTP/1.1 408 Request Timeout"]


def test_a_body_that_is_there_waits_for_no_clock_and_alone_for_no_other(
    port: int, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "BODY_SECONDS", "no number, so whoever looks at the clock fails")
    monkeypatch.setattr(Coalescer, "answer", None)
    body = json.dumps(predictor.contract.example).encode()
    head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
    assert answer(port, head + body) == "HTTP/1.1 200 OK"


class Wire:
    """A transport that keeps what it is told to send, and sends it on where there is another."""

    def __init__(self, transport: Any = None) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False
        self.transport = transport

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        if self.transport:
            self.transport.write(data)

    def close(self) -> None:
        self.sent.append(b"closed")

    def is_closing(self) -> bool:
        return self.is_closed


def test_the_service_answers_by_one_write(
    port: int, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires: list[Any] = []

    def joined(transport: Any, loop: asyncio.AbstractEventLoop) -> Any:
        wires.append(Wire(transport))
        return joins(wires[-1], loop)

    joins = protocol.Joined
    monkeypatch.setattr(protocol, "Joined", joined)
    body = json.dumps(predictor.contract.example).encode()
    assert answer(port, POST + b"Content-Length: %d\r\n\r\n" % len(body), body).endswith("OK")
    ((sent,),) = [wire.sent for wire in wires]
    assert sent.startswith(b"HTTP/1.1 200 OK")
    assert sent.endswith(b"}")


def test_head_and_body_of_an_answer_are_sent_together() -> None:
    async def answer() -> list[bytes]:
        wire: Any = Wire()
        joined = protocol.Joined(wire, asyncio.get_running_loop())
        for part in (b"head", b" and body", b"alone"):
            joined.write(part)
        assert wire.sent == [b"head and body"]
        await asyncio.sleep(0)
        joined.write(b"last")
        joined.close()
        joined.write(b"nobody listens")
        wire.is_closed = True
        await asyncio.sleep(0)
        found: list[bytes] = wire.sent
        return found

    assert asyncio.run(answer()) == [b"head and body", b"alone", b"last", b"closed"]


def test_a_caller_may_wait_to_be_told_to_go_on(port: int, predictor: Predictor) -> None:
    body = json.dumps(predictor.contract.example).encode()
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200 OK")
