"""What a form sends, as a body of the API."""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive

from ...contract import Column
from ...errors import ForeignFormError, MalformedBodyError
from ..endpoint import Endpoint

WHOLE = re.compile(r"-?[0-9]{1,40}")
NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Form(Endpoint):
    """Reads a form, which this service's own page has sent."""

    takes = b"application/x-www-form-urlencoded"

    async def _read(self, given: dict[bytes, bytes], receive: Receive, is_whole: bool) -> bytes:
        refuse_foreign(given)
        return await super()._read(given, receive, is_whole)


def refuse_foreign(given: dict[bytes, bytes]) -> None:
    """Refuse what another site has the browser send, as it would add this one's key.

    A caller that is no browser says nothing of sites, and adds no key unasked.
    Source: Go's net/http.CrossOriginProtection.

    Raises:
        ForeignFormError: the browser names another site.
    """
    site, origin = given.get(b"sec-fetch-site"), given.get(b"origin")
    if site is not None:
        own = site in (b"same-origin", b"none")
    else:  # older browsers, and addresses without TLS
        own = origin is None or origin.rpartition(b"/")[2] == given.get(b"host")
    if not own:
        named = (origin or site or b"")[:100].decode("latin-1")
        raise ForeignFormError(
            f"the form was sent by another site, {named}; open this service's page and send its own"
        )


def read_form(body: bytes, most: int) -> dict[str, str]:
    """The texts of a form's fields, at most so many.

    Raises:
        MalformedBodyError: no form in UTF-8, a field named twice, or too many.
    """
    try:
        # Browsers send each line break as two characters.
        text = body.replace(b"%0D%0A", b"%0A").decode("ascii")
        pairs = parse_qsl(text, True, True, errors="strict", max_num_fields=most) if text else []
    except ValueError:
        raise MalformedBodyError(
            f"the body is no form of at most {most} fields in UTF-8; send the page's own"
        ) from None
    typed = dict(pairs)
    if len(typed) < len(pairs):
        raise MalformedBodyError("the form names a field twice; send each once")
    return typed


def as_row(typed: dict[str, str], columns: Sequence[Column]) -> dict[str, Any]:
    """A row as the API takes it; whether it keeps the contract is told there."""
    known = {column.name: column for column in columns}
    row = {
        name: _value(known[name], text) if name in known else text for name, text in typed.items()
    }
    unsaid = {column.name for column in columns if column.role == "id"}
    return {name: value for name, value in row.items() if value is not None or name not in unsaid}


def as_text(value: Any) -> str:
    """A value of the contract as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _value(column: Column, text: str) -> Any:
    """The value that the text says; the text where it says none of the column's type."""
    bare = text.strip()
    if not bare:
        return None
    if column.type == "boolean":
        return {"true": True, "false": False}.get(bare, text)
    if column.type == "integer" and WHOLE.fullmatch(bare):
        return int(bare)
    if column.type == "number" and NUMBER.fullmatch(bare) and isfinite(number := float(bare)):
        return number
    return text
