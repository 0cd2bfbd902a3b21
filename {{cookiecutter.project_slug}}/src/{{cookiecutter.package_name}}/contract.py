"""The contract: which columns there are, what they may hold, and what each is for.

The vocabulary is that of Table Schema (https://specs.frictionlessdata.io/table-schema/) and CSV
Dialect, with a `role` and a `pii` mark for each field.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from .errors import ContractError
from .yaml_file import FROM_HERE, Strict, load_yaml

FLOAT32_MAX = float(np.finfo(np.float32).max)

Role = Literal["target", "feature", "id", "time", "group", "excluded"]
Name = Annotated[str, Field(min_length=1)]


class Constraints(Strict):
    """What the values of one column may be; bounds are inclusive, a pattern matches the whole."""

    required: bool = False
    unique: bool = False
    minimum: float | None = None
    maximum: float | None = None
    enum: list[str] | None = None
    pattern: str | None = None


class Source(Strict):
    """The table: the file or folder that the pipeline reads, and where `make fetch` takes it from.

    A folder holds files of the same columns. encoding, delimiter and decimalChar are those of CSV.
    """

    path: Name
    from_: Name | None = Field(default=None, alias="from")
    query: Name | None = None
    encoding: Name = "utf-8"
    delimiter: Annotated[str, Field(pattern=r"^[\t -!#-~]$")] = ","
    decimal_char: Literal[".", ","] = Field(default=".", alias="decimalChar")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.delimiter == self.decimal_char:
            raise ValueError(f"delimiter and decimalChar are both {self.delimiter!r}; correct one")
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise ValueError(
                f"encoding {self.encoding!r} is none that Python knows; try utf-8, or cp1252"
            ) from None
        return self


class Column(Strict):
    """One field of the table."""

    name: Name
    type: Literal["integer", "number", "boolean", "string", "date", "datetime"]
    role: Role
    title: str = ""
    format: str | None = None
    constraints: Constraints = Constraints()
    true_values: list[str] = Field(default=["true"], alias="trueValues")
    false_values: list[str] = Field(default=["false"], alias="falseValues")
    example: bool | int | float | str | None = None
    pii: bool = False

    @property
    def is_number(self) -> bool:
        """Whether the column is encoded as a number; true is 1 and false is 0."""
        return self.type in {"integer", "number", "boolean"}

    @property
    def is_time(self) -> bool:
        """Whether the column holds points in time; without a zone they are read as UTC."""
        return self.type in {"date", "datetime"}

    @property
    def minimum(self) -> float:
        """The least value allowed; the least float32 where the contract names none."""
        low = 0.0 if self.type == "boolean" else self.constraints.minimum
        return -FLOAT32_MAX if low is None else low

    @property
    def maximum(self) -> float:
        """The greatest value allowed; the greatest float32 where the contract names none."""
        high = 1.0 if self.type == "boolean" else self.constraints.maximum
        return FLOAT32_MAX if high is None else high

    @property
    def json_schema(self) -> dict[str, Any]:
        """The column as JSON Schema, for OpenAPI."""
        kind: Any = self.type if self.constraints.required else [self.type, "null"]
        schema: dict[str, Any] = {"type": kind}
        if self.title:
            schema["description"] = self.title
        if self.type == "boolean":
            pass
        elif self.is_number:
            schema |= {"minimum": self.minimum, "maximum": self.maximum}
        elif self.constraints.enum is not None:
            nothing = [] if self.constraints.required else [None]
            schema["enum"] = [*self.constraints.enum, *nothing]
        elif self.constraints.pattern is not None:
            schema["pattern"] = self.whole_pattern
        else:
            schema["minLength"] = 1
        return schema

    @property
    def whole_pattern(self) -> str:
        """The pattern, tied to both ends."""
        return f"^(?:{self.constraints.pattern})$"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        limits = self.constraints
        if self.type != "string" and (limits.enum is not None or limits.pattern is not None):
            raise ValueError(f"{self.name}: enum and pattern go with type string; remove them")
        if self.type not in {"integer", "number"} and (
            limits.minimum is not None or limits.maximum is not None
        ):
            raise ValueError(f"{self.name}: minimum and maximum go with numbers; remove them")
        if self.is_time and self.role in {"feature", "target"}:
            raise ValueError(
                f"{self.name}: a {self.type} cannot be a {self.role}; give it role time or"
                " excluded, or a type that the model can use"
            )
        if self.format is not None and not self.is_time:
            raise ValueError(f"{self.name}: format goes with date and datetime; remove it")
        if self.pii and self.type == "string" and self.role in {"feature", "target"}:
            raise ValueError(
                f"{self.name}: a text marked pii cannot be a {self.role}, since a model holds its"
                " categories; give it role id, group or excluded"
            )
        if shared := set(self.true_values) & set(self.false_values):
            raise ValueError(f"{self.name}: {sorted(shared)} in trueValues and falseValues")
        if limits.pattern is not None:
            try:  # the service's engine, which takes linear time and knows no look-around
                SchemaValidator(core_schema.str_schema(pattern=self.whole_pattern))
            except SchemaError as fault:
                raise ValueError(
                    f"{self.name}: pattern {limits.pattern!r} cannot be used: {fault}"
                ) from None
        if not -FLOAT32_MAX <= self.minimum <= self.maximum <= FLOAT32_MAX:
            raise ValueError(
                f"{self.name}: minimum {self.minimum} and maximum {self.maximum} are in the wrong"
                " order or beyond float32; correct them"
            )
        if limits.enum is not None and len(set(limits.enum)) != len(limits.enum):
            raise ValueError(f"{self.name}: enum {limits.enum} names a value twice; keep one")
        if self.role == "feature" and not self._allows(self.example):
            raise ValueError(
                f"{self.name}: example {self.example!r} is none that its type and constraints"
                " allow; give one, since the documentation and the start of the service use it"
            )
        return self

    def _allows(self, value: bool | int | float | str | None) -> bool:
        """Whether the service would accept the value."""
        limits = self.constraints
        if value is None:
            return not limits.required
        if isinstance(value, bool):
            return self.type == "boolean"
        if isinstance(value, str):
            fits = limits.pattern is None or re.fullmatch(limits.pattern, value) is not None
            known = limits.enum is None or value in limits.enum
            return self.type == "string" and value != "" and fits and known
        whole = isinstance(value, int)
        return (
            self.type in {"integer", "number"}
            and (whole or self.type == "number")
            and (self.minimum <= value <= self.maximum)
        )


class Contract(Strict):
    """The whole of contract.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: str
    description: str
    task: Literal["classification", "regression"]
    source: Source
    missing_values: list[str] = Field(default=[""], alias="missingValues")
    fields: list[Column]

    @cached_property
    def target(self) -> Column:
        """The column that the model predicts."""
        return next(column for column in self.fields if column.role == "target")

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model sees."""
        return tuple(column for column in self.fields if column.role == "feature")

    @cached_property
    def numbers(self) -> tuple[Column, ...]:
        """The features encoded as float32, in the order of the arrays' columns."""
        return tuple(column for column in self.features if column.is_number)

    @cached_property
    def categories(self) -> tuple[Column, ...]:
        """The features encoded as text, in the order of the arrays' columns."""
        return tuple(column for column in self.features if not column.is_number)

    @cached_property
    def time(self) -> Column | None:
        """The column that says when a row was, if there is one."""
        return next((column for column in self.fields if column.role == "time"), None)

    @cached_property
    def ids(self) -> tuple[Column, ...]:
        """The columns that together name a row, or what it is about."""
        return tuple(column for column in self.fields if column.role == "id")

    @property
    def requested(self) -> tuple[Column, ...]:
        """The columns of a request: the features, then the ids, which it may leave out."""
        return self.features + self.ids

    @cached_property
    def kept(self) -> tuple[Column, ...]:
        """The columns of a snapshot: all but the excluded ones."""
        return tuple(column for column in self.fields if column.role != "excluded")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities; empty for regression."""
        return tuple(self.target.constraints.enum or ())

    @property
    def example(self) -> dict[str, bool | int | float | str | None]:
        """One row that the service accepts."""
        return {column.name: column.example for column in self.features}

    @property
    def json_schema(self) -> dict[str, Any]:
        """One row as JSON Schema, for OpenAPI."""
        return {
            "type": "object",
            "properties": {column.name: column.json_schema for column in self.requested},
            "required": [column.name for column in self.features],
            "additionalProperties": False,
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"fields: {', '.join(twice)} named twice; keep one of each")
        targets = [column.name for column in self.fields if column.role == "target"]
        if len(targets) != 1:
            raise ValueError(f"fields: {len(targets)} have role target {targets}; give it to one")
        times = [column.name for column in self.fields if column.role == "time"]
        if len(times) > 1:
            raise ValueError(f"fields: {times} have role time; give it to one")
        if self.time is not None and not self.time.is_time:
            raise ValueError(f"fields: {times[0]} needs type date or datetime, as time")
        if not self.target.constraints.required:
            raise ValueError(f"fields: {targets[0]} needs constraints.required: true, as target")
        if not self.features:
            raise ValueError("fields: none has role feature; give it to at least one")
        if self.task == "classification" and len(self.labels) < 2:
            raise ValueError(f"fields: {targets[0]} needs constraints.enum with its labels")
        if self.task == "regression" and not self.target.is_number:
            raise ValueError(f"fields: {targets[0]} must be a number for task regression")
        return self


def load_contract(path: Path) -> Contract:
    """Read a contract.

    Raises:
        ContractError: the file is missing, no YAML, or breaks a rule; the message names the key.
    """
    return load_yaml(path, Contract, ContractError, FROM_HERE)
