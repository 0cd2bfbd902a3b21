"""Feedback: what became of a prediction, told by whoever asked for it."""

from datetime import UTC, datetime
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from ..contract import Contract
from ..errors import InvalidRowsError, MalformedBodyError
from .prediction_log import PredictionLog
from .request import value_schema

ID_PATTERN = "^[0-9a-f]{32}$"


class FeedbackService:
    """Takes the true answer to a prediction into the log, for `make feedback`."""

    def __init__(self, contract: Contract, log: PredictionLog) -> None:
        self._log = log
        self._target = contract.target.name
        self._schema = SchemaValidator(
            core_schema.typed_dict_schema(
                {
                    "prediction_id": core_schema.typed_dict_field(
                        core_schema.str_schema(pattern=ID_PATTERN, strict=True)
                    ),
                    contract.target.name: core_schema.typed_dict_field(
                        value_schema(contract.target)
                    ),
                },
                extra_behavior="forbid",
                strict=True,
            )
        )

    def take(self, body: bytes, context: dict[str, Any]) -> bytes:
        """Log one true answer; it is known from now on.

        Raises:
            MalformedBodyError: no JSON text.
            InvalidRowsError: a field is unknown, missing or of another value than the contract's.
            PredictionLogError: it cannot be logged.
        """
        try:
            given = self._schema.validate_json(body)
        except ValidationError as fault:
            faults = fault.errors(include_url=False, include_context=False, include_input=False)
            if faults[0]["type"] == "json_invalid":
                raise MalformedBodyError(f"{faults[0]['msg']}; send one JSON object") from None
            raise InvalidRowsError(
                "the feedback does not keep the contract; errors names the faults",
                [
                    {
                        "row": 0,
                        "field": str(each["loc"][0])[:100] if each["loc"] else None,
                        "message": each["msg"],
                    }
                    for each in faults[:100]
                ],
            ) from None
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = {"prediction_id": given["prediction_id"], "feedback": given[self._target]}
        self._log.append([{"time": time, **context, **known}])
        return b'{"status":"taken"}'
