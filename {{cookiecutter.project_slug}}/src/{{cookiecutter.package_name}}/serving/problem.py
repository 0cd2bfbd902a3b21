"""Refusals over HTTP: problem+json (RFC 9457), and the one table from error to status."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic_core import to_json

from .. import errors

STATUSES: dict[type[errors.RequestError], HTTPStatus] = {
    errors.MalformedBodyError: HTTPStatus.BAD_REQUEST,
    errors.GoneError: HTTPStatus.BAD_REQUEST,
    errors.OptionError: HTTPStatus.BAD_REQUEST,
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.ForeignFormError: HTTPStatus.FORBIDDEN,
    errors.SlowBodyError: HTTPStatus.REQUEST_TIMEOUT,
    errors.BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.MediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidRowsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NoFiniteAnswerError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DerivedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PredictionLogError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Answer(NamedTuple):
    """What goes back to the caller."""

    status: int
    media_type: bytes
    content: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


def refused(refusal: errors.RequestError) -> Answer:
    """The answer to a refused request."""
    return problem(STATUSES[type(refusal)], str(refusal), refusal.errors)


def problem(status: HTTPStatus, detail: str, faults: list[dict[str, Any]] | None = None) -> Answer:
    """A problem document; its type is about:blank, so its title is the status's phrase."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    if faults:
        content["errors"] = faults
    return Answer(status.value, b"application/problem+json", to_json(content))
