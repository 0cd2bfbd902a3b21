"""A worker leaves connections to those with fewer for a moment, and takes none once closed."""

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvloop")  # there is none on Windows

from {{ cookiecutter.package_name }}.serving import acceptor, telemetry
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.telemetry import SLACK, Telemetry


class Protocol(asyncio.Protocol):
    """As uvicorn's: a worker's protocols share the set of those that are connected."""

    def __init__(self, connections: set[asyncio.BaseProtocol]) -> None:
        self.connections = connections

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        self.connections.add(self)


class Listening(socket.socket):
    """Tells its faults, and then gives the connections that there are."""

    faults: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.faults:
            raise OSError(self.faults.pop(0), "told by the system")
        return super().accept()


def free(_: int) -> bool:
    return False


def accepted(*faults: int, is_busier: Callable[[int], bool] = free) -> int:
    """How many of two callers are connected within 0.2 s."""
    connections: set[asyncio.BaseProtocol] = set()
    left: list[bool] = []

    async def serve() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.is_busier, loop.leave = is_busier, lambda: left.append(True)
        with Listening() as listening:
            listening.faults = list(faults)
            listening.bind(("127.0.0.1", 0))
            server = await loop.create_server(
                lambda: Protocol(connections), sock=listening, backlog=9
            )
            address = listening.getsockname()
            with socket.create_connection(address):
                await asyncio.sleep(0.1)
                with socket.create_connection(address):
                    await asyncio.sleep(0.1)
            server.close()
            count = len(connections)
            with socket.create_connection(address):
                await asyncio.sleep(0.05)
            await server.wait_closed()
            assert (len(connections), left) == (count, [True])

    with asyncio.Runner(loop_factory=acceptor.Loop) as runner:
        runner.run(serve())
    return len(connections)


def test_a_busier_one_leaves_a_connection_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []

    def busier(own: int) -> bool:
        told.append(own)
        return True

    assert accepted(is_busier=busier) == 2
    assert set(told) == {0, 1}
    monkeypatch.setattr(acceptor, "PATIENCE", 9)
    assert accepted(is_busier=busier) == 0
    assert accepted() == 2
    monkeypatch.setattr(acceptor, "PATIENCE", 0.12)  # still waits when the door is closed
    accepted(is_busier=busier)


def test_what_has_arrived_is_waited_for() -> None:
    arrived: list[bool] = []

    async def arrive(_: Callable[[], Protocol], connection: socket.socket) -> None:
        await asyncio.sleep(0.2)
        connection.close()
        arrived.append(True)

    async def serve() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.is_busier, loop.leave = free, lambda: None
        loop.connect_accepted_socket = arrive
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = await loop.create_server(lambda: Protocol(set()), sock=listening, backlog=9)
            with socket.create_connection(listening.getsockname()):
                await asyncio.sleep(0.1)
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=acceptor.Loop) as runner:
        runner.run(serve())
    assert arrived == [True]


@pytest.mark.parametrize("fault", [errno.EAGAIN, errno.ECONNABORTED, errno.EPROTO])
def test_a_connection_that_is_gone_is_none(fault: int) -> None:
    assert accepted(fault) == 2


def test_without_a_file_to_spare_it_waits_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "RELIEF", 9)
    assert accepted(errno.EMFILE) == 0
    assert [each.message for each in caplog.records] == ["no connection can be accepted"]
    monkeypatch.setattr(acceptor, "RELIEF", 0.05)
    assert accepted(errno.EMFILE) == 2


def test_only_those_who_are_there_are_a_measure(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = iter(range(3))
    monkeypatch.setattr(telemetry, "_slot", lambda _: next(slots))
    one, other, third = (Telemetry(predictor, tmp_path) for _ in range(3))
    assert not one.is_busier(30)
    assert not other.is_busier(SLACK)
    assert one.is_busier(30)
    assert not one.is_busier(2 * SLACK)
    assert third.is_busier(2 * SLACK + 1)
    other.leave()
    third.leave()
    assert not one.is_busier(30)
