"""The short way through the service, as plain ASGI: a framework's costs more than the model."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from random import Random
from time import perf_counter
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from ..errors import (
    BodyTooLargeError,
    GoneError,
    MediaTypeError,
    OptionError,
    RequestError,
    SlowBodyError,
)
from .auth import Keys
from .problem import Answer, problem, refused
from .telemetry import Telemetry

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context: version, trace id, parent id, flags."""
HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
CLOSE = (b"connection", b"close")
BODY_SECONDS = 20
"""A body that takes longer holds a connection for nothing."""
WHOLE_BODY = "whole_body"
"""In the scope's state: the body has arrived, so that nobody need wait for it. The value holds the
requests that are in progress."""
MAX_DIGITS = 18
"""Of a declared length: as many are beyond any limit, and quickly read."""
FAULT = "an unexpected fault; it has been logged"
OPEN = ("/health/",)
"""Paths that need no key, since the platform asks them."""

logger = logging.getLogger(__name__)
_ids = Random()  # noqa: S311  (no secrets; asking the system for each takes its time)


class Lifecycle:
    """Whether the service is about to stop: then every answer asks its caller to leave."""

    draining = False


class Asked(NamedTuple):
    """What a request says beside its body, and whether it is the only one in progress."""

    request_id: str
    trace_id: str
    caller: str
    key: str
    options: dict[str, str]
    is_alone: bool

    @property
    def context(self) -> dict[str, str]:
        """What is logged beside the request's rows."""
        own = {"request_id": self.request_id, "trace_id": self.trace_id, "caller": self.caller}
        return {name: value for name, value in own.items() if value}


class Front:
    """Ids, headers and counters for every request, around what answers it."""

    def __init__(self, telemetry: Telemetry, lifecycle: Lifecycle, keys: Keys) -> None:
        self._telemetry = telemetry
        self._lifecycle = lifecycle
        self._keys = keys

    def admit(self, path: str, given: dict[bytes, bytes]) -> str:
        """Whose key the request holds, or nobody's where none is required.

        Raises:
            UnauthorizedError: it holds none that is known.
        """
        if not self._keys.required or path.startswith(OPEN):
            return ""
        return self._keys.name(given.get(b"authorization", b""))

    def headers(self, request_id: bytes) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""
        own = [*HEADERS, (b"x-request-id", request_id)]
        return [*own, CLOSE] if self._lifecycle.draining else own

    def done(self, route: str, status: int, start: float, request_id: bytes, trace: str) -> None:
        """Count one request, and log it unless it was answered as it should be."""
        self._telemetry.requested(route, status, perf_counter() - start)
        if status >= HTTPStatus.BAD_REQUEST:
            ids = {"request_id": request_id.decode(), "trace_id": trace}
            logger.info("refused", extra={"route": route, "status": status, **ids})


class Endpoint:
    """Reads a body of JSON, and answers it as the function does.

    options: what may stand in the query, each with the pattern of its value.
    """

    methods: tuple[str, ...] = ("POST",)
    takes = b"application/json"

    def __init__(
        self,
        path: str,
        answer: Callable[[bytes, Asked], Awaitable[Answer]],
        front: Front,
        max_body_bytes: int,
        **options: str,
    ) -> None:
        self.path = path
        self._route = path
        self.answer = answer
        self._front = front
        self._max_body_bytes = max_body_bytes
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = perf_counter()
        given = dict(scope["headers"])
        request_id, trace_id = identify(given)
        try:
            caller = self._front.admit(self.path, given)
            options = self._asked(scope["query_string"])
            key = given.get(b"x-variant-key", request_id).decode("latin-1")
            running = scope.get("state", {}).get(WHOLE_BODY, ())
            asked = Asked(request_id.decode(), trace_id, caller, key, options, len(running) == 1)
            body = await self._read(given, receive, bool(running))
            answer = await self.answer(body, asked)
        except RequestError as refusal:
            answer = refused(refusal)
        except Exception:
            own = {"request_id": request_id.decode()}
            logger.exception("%s %s failed", scope["method"], self.path, extra=own)
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)
        self._front.done(self._route, answer.status, start, request_id, trace_id)
        await respond(answer, self._front.headers(request_id), send)

    def _asked(self, query: bytes) -> dict[str, str]:
        if not query:
            return {}
        options: dict[str, str] = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            pattern = self._options.get(name)
            if pattern is None or name in options:
                known = ", ".join(self._options) or "none"
                raise OptionError(f"the query names {name[:100]!r}; its options are, once: {known}")
            if not re.fullmatch(pattern, value):
                raise OptionError(f"{name} is {value[:100]!r}; it has to match {pattern}")
            options[name] = value
        return options

    async def _read(self, given: dict[bytes, bytes], receive: Receive, is_whole: bool) -> bytes:
        """The body, read no further than the limit, and not at all where its length says so."""
        kind = given.get(b"content-type", b"")
        if kind.partition(b";")[0].strip().lower() != self.takes:
            raise MediaTypeError(
                f"Content-Type is {kind[:100].decode('latin-1')!r}; send the body as"
                f" {self.takes.decode()}"
            )
        declared = given.get(b"content-length", b"0")[:MAX_DIGITS]
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large
        if is_whole:
            return await self._whole(receive)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._whole(receive)
        except TimeoutError:
            raise SlowBodyError(
                f"the body did not arrive within {BODY_SECONDS} seconds; send it faster"
            ) from None

    async def _whole(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        read, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError("the caller left before the body was read")
            parts.append(message.get("body", b""))
            read += len(parts[-1])
            if read > self._max_body_bytes:
                raise self._too_large
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def _too_large(self) -> BodyTooLargeError:
        limit = self._max_body_bytes
        return BodyTooLargeError(f"the body is larger than {limit} bytes; send several requests")


class Look(Endpoint):
    """Reads no body, and takes any query."""

    methods = ("GET", "HEAD")

    def __init__(
        self, path: str, answer: Callable[[bytes, Asked], Awaitable[Answer]], front: Front
    ) -> None:
        super().__init__(path, answer, front, 0)
        self._route = "other"

    def _asked(self, *_: object) -> dict[str, str]:
        return {}

    async def _read(self, *_: object) -> bytes:
        return b""


async def respond(answer: Answer, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """Send a whole answer."""
    own = [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.content)),
        *answer.headers,
        *headers,
    ]
    if answer.status == HTTPStatus.UNAUTHORIZED:
        own.append((b"www-authenticate", b'Basic realm="API key as the password", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": answer.status, "headers": own})
    await send({"type": "http.response.body", "body": answer.content})


def identify(given: dict[bytes, bytes]) -> tuple[bytes, str]:
    """The caller's request id, or a new one where it has none that can be logged; the trace id."""
    request_id = given.get(b"x-request-id", b"")
    if not REQUEST_ID.fullmatch(request_id):
        request_id = b"%032x" % _ids.getrandbits(128)
    trace = TRACE.fullmatch(given.get(b"traceparent", b""))
    return request_id, trace[1].decode() if trace else ""
