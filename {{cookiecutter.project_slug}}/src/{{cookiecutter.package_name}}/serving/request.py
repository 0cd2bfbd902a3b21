"""A request's body to validated rows, straight from its bytes."""

import json
from collections.abc import Iterator
from math import ceil, floor
from typing import Any, NamedTuple

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema, from_json

from ..contract import Column, Contract
from ..errors import BodyTooLargeError, InvalidRowsError, MalformedBodyError, RequestError

MAX_ERRORS = 100
"""Faults named in one answer; that there are more is said beside them."""

Row = dict[str, Any]


class Parsed(NamedTuple):
    """The rows, whether the body was a list of them, and what the request says beside them.

    context: what is logged beside each row. key: what chooses the variant. dry_run: answered, but
    not served. reasons: how many each answer carries.
    """

    rows: list[Row]
    is_list: bool
    context: dict[str, Any] = {}  # noqa: RUF012  (nobody changes it)
    key: str = ""
    dry_run: bool = False
    reasons: int = 0


class RequestParser:
    """Parses the bodies of one contract."""

    def __init__(self, contract: Contract, max_rows: int) -> None:
        row = _row(contract)
        self._names = [column.name for column in contract.requested]
        self._private = {column.name for column in contract.fields if column.pii}
        self._max_rows = max_rows
        self._one = SchemaValidator(row)
        self._many = SchemaValidator(
            core_schema.list_schema(
                row, min_length=1, max_length=max_rows, strict=True, fail_fast=True
            )
        )

    def parse(self, body: bytes) -> Parsed:
        """Validate one row or a list of rows.

        Raises:
            MalformedBodyError: no JSON text, or a key named twice.
            BodyTooLargeError: more rows than allowed.
            InvalidRowsError: a field is unknown, missing, of a wrong type or out of range.
        """
        is_list = body.lstrip()[:1] == b"["
        try:
            given = (self._many if is_list else self._one).validate_json(body)
        except ValidationError as fault:
            raise self._refusal(fault, body, is_list) from None
        rows: list[Row] = given if is_list else [given]
        # A valid body has one colon a field, but for colons in its texts: more means a second look.
        if body.count(b":") != sum(map(len, rows)):
            json.loads(body, object_pairs_hook=_no_key_twice)
        return Parsed(rows, is_list)

    def _refusal(self, fault: ValidationError, body: bytes, is_list: bool) -> RequestError:
        if fault.error_count() == 1:
            only = fault.errors(include_url=False, include_context=False)[0]
            if only["type"] == "json_invalid":
                return MalformedBodyError(f"{only['msg']}; send one JSON object or a list of them")
            if only["type"] == "too_long":
                return BodyTooLargeError(
                    f"more than {self._max_rows} rows; send them in several requests"
                )
            if only["type"] == "too_short":
                return InvalidRowsError("the list is empty; send at least one row")
        # The rows are looked at again, one by one: the faults of all of them at once may take a
        # thousand times the memory of the body.
        errors: list[dict[str, Any]] = []
        for place, row in enumerate(from_json(body) if is_list else [from_json(body)]):
            errors += self.faults(place, row)
            if len(errors) >= MAX_ERRORS:
                break
        more = f", the first {MAX_ERRORS} of them" if len(errors) >= MAX_ERRORS else ""
        detail = f"the rows do not keep the contract; errors names the faults{more}"
        return InvalidRowsError(detail, errors[:MAX_ERRORS])

    def faults(self, place: int, row: Any) -> Iterator[dict[str, Any]]:
        """Each fault of one row: row (`place`), field, message, and found unless it is private."""
        if isinstance(row, dict):  # of a thousand unknown keys, a hundred are enough
            unknown = [name for name in row if name not in self._names][:MAX_ERRORS]
            row = {name: row[name] for name in (*self._names, *unknown) if name in row}
        try:
            self._one.validate_python(row)
        except ValidationError as fault:
            for each in fault.errors(include_url=False, include_context=False):
                field = str(each["loc"][0])[:100] if each["loc"] else None
                entry: dict[str, Any] = {"row": place, "field": field, "message": each["msg"]}
                if each["type"] != "missing" and field is not None and field not in self._private:
                    entry["found"] = f"{each['input']!r:.100}"
                yield entry


def _row(contract: Contract) -> CoreSchema:
    return core_schema.typed_dict_schema(
        {
            column.name: core_schema.typed_dict_field(
                value_schema(column), required=column.role == "feature"
            )
            for column in contract.requested
        },
        extra_behavior="forbid",
        strict=True,
    )


def value_schema(column: Column) -> CoreSchema:
    """What a value of the column has to be."""
    limits = column.constraints
    value: CoreSchema
    if column.type == "boolean":
        value = core_schema.bool_schema(strict=True)
    elif column.type == "integer":
        value = core_schema.int_schema(
            ge=ceil(column.minimum), le=floor(column.maximum), strict=True
        )
    elif column.type == "number":
        value = core_schema.float_schema(
            ge=column.minimum, le=column.maximum, allow_inf_nan=False, strict=True
        )
    elif limits.enum is not None:
        value = core_schema.literal_schema(list(limits.enum))
    else:
        pattern = None if limits.pattern is None else column.whole_pattern
        value = core_schema.str_schema(min_length=1, pattern=pattern, strict=True)
    return value if limits.required else core_schema.nullable_schema(value, strict=True)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Row:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise MalformedBodyError(f"{', '.join(twice)} named twice in one row; send each key once")
    return dict(pairs)
