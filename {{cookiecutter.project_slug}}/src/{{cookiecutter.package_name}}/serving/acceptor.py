"""Acceptor: a worker leaves the next connection to others that have clearly fewer.

The system wakes all who wait at a socket, and mostly the same one comes first. Callers that keep
their connections would all stay with it, while the others have nothing to do.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvloop

PATIENCE = 0.001
"""Seconds, at most, for which a connection is left to others; uvloop's clock has no less."""
RELIEF = 1.0
"""Seconds until the next attempt where the system gives no connection, as with too many files."""
SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
logger = logging.getLogger(__name__)


class Loop(uvloop.Loop):
    """The event loop of one of several workers.

    is_busier: tells the others how many connections this one has, and whether one has fewer.
    leave: tells them that it takes no more.
    """

    is_busier: Callable[[int], bool]
    leave: Callable[[], None]

    async def create_server(self, protocol_factory: Any, *_: Any, **kwargs: Any) -> Any:
        """Accept what comes to the socket `sock`."""
        return Acceptor(self, protocol_factory, kwargs["sock"], kwargs["backlog"])


class Acceptor:
    """What accepts connections from a socket that workers share."""

    def __init__(
        self, loop: Loop, protocol: Callable[[], Any], listening: socket.socket, backlog: int
    ) -> None:
        self._loop = loop
        self._protocol = protocol
        self._connections = protocol().connections  # uvicorn's, of all protocols of this worker
        self._listening = listening
        self._pause: asyncio.TimerHandle | None = None
        self._arriving = set[asyncio.Task[Any]]()
        listening.setblocking(False)
        listening.listen(backlog)
        loop.add_reader(listening, self._look)

    def close(self) -> None:
        """Accept no more."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._loop.leave()

    async def wait_closed(self) -> None:
        """Wait for what was accepted and is not connected yet."""
        if self._arriving:
            await asyncio.wait(self._arriving)

    def _look(self) -> None:
        if self._loop.is_busier(len(self._connections)):
            self._wait(PATIENCE)
        else:
            self._accept()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._look)
        self._accept()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except OSError as fault:
            if fault.errno in SCARCE:
                logger.exception("no connection can be accepted")
                self._wait(RELIEF)
            return  # else another worker was faster, or the caller has gone
        arrival = self._loop.connect_accepted_socket(self._protocol, accepted)
        task = self._loop.create_task(arrival)
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
