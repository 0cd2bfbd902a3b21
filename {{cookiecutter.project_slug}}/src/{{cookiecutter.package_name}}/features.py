"""Rows to arrays, by the contract: the one encoding that training and serving share."""

import hashlib
import inspect
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt

from .contract import Column, Contract
from .derived import DERIVED, Categories, Numbers
from .errors import ContractError, DerivedError

MISSING_CATEGORY = ""
"""The category of its own that stands for a missing one."""

DERIVED_FILE = Path(__file__).with_name("derived.py")

Function = Callable[..., Numbers | Categories]


class Features(NamedTuple):
    """The model's two inputs, row by row.

    numbers: float32, shape (rows, numeric features), NaN where missing.
    categories: str objects, shape (rows, categorical features), "" where missing.
    """

    numbers: npt.NDArray[np.float32]
    categories: npt.NDArray[np.object_]

    def table(self) -> npt.NDArray[np.object_]:
        """Both arrays side by side, as scikit-learn takes them: numbers first."""
        return np.hstack([self.numbers.astype(object), self.categories])


class Encoder:
    """Encodes rows of one contract, its own features first and the derived ones after.

    numbers, categories: what the columns of both arrays are, in their order.

    Raises:
        ContractError: a derived feature does not fit the contract; the message names the function.
    """

    def __init__(self, contract: Contract, derived: Sequence[Function] = DERIVED) -> None:
        self._numbers = [column.name for column in contract.numbers]
        self._categories = [column.name for column in contract.categories]
        self._derived = _bind_all(contract, derived)
        self._read = {each.name: each for bound in self._derived for each in bound.reads.values()}
        added = [bound.column for bound in self._derived]
        self.numbers = (*contract.numbers, *(each for each in added if each.is_number))
        self.categories = (*contract.categories, *(each for each in added if not each.is_number))

    @property
    def inputs(self) -> dict[str, str]:
        """For each feature, and each column that a derived one reads, the feature."""
        own = {column.name: column.name for column in (*self.numbers, *self.categories)}
        for bound in self._derived:
            own |= {column.name: bound.column.name for column in bound.reads.values()}
        return own

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Features:
        """Encode validated rows, each a mapping from a feature's name to its value or None.

        Raises:
            DerivedError: a derived feature fails on them.
        """
        numbers = [row[name] for row in rows for name in self._numbers]
        categories = [row[name] for row in rows for name in self._categories]
        if None in categories:
            categories = [MISSING_CATEGORY if each is None else each for each in categories]
        features = Features(
            np.array(numbers, np.float32).reshape(len(rows), len(self._numbers)),
            np.array(categories, object).reshape(len(rows), len(self._categories)),
        )
        if not self._derived:
            return features
        return self._with_derived(features, lambda name: [row[name] for row in rows])

    def columns(self, table: Mapping[str, Sequence[Any]]) -> Features:
        """Encode a table given by columns of equal length, None or NaN where missing.

        Raises:
            DerivedError: a derived feature fails on them.
        """
        size = len(next(iter(table.values()))) if table else 0
        numbers = np.empty((size, len(self._numbers)), np.float32)
        categories = np.empty((size, len(self._categories)), object)
        for place, name in enumerate(self._numbers):
            numbers[:, place] = np.array(table[name], np.float32)
        for place, name in enumerate(self._categories):
            categories[:, place] = _texts(table[name])
        features = Features(numbers, categories)
        return self._with_derived(features, table.__getitem__) if self._derived else features

    def _with_derived(self, features: Features, values: Callable[[str], Sequence[Any]]) -> Features:
        """Put the derived features beside the contract's; `values` gives a column by its name."""
        columns = {name: _array(column, values(name)) for name, column in self._read.items()}
        numbers, categories = [features.numbers], [features.categories]
        for bound in self._derived:
            side: list[Any] = numbers if bound.column.is_number else categories
            side.append(bound.values(columns, len(features.numbers)).reshape(-1, 1))
        return Features(np.hstack(numbers), np.hstack(categories))


class _Bound(NamedTuple):
    """A derived feature with the column that each of its parameters reads."""

    column: Column
    function: Function
    reads: dict[str, Column]

    def values(self, columns: Mapping[str, npt.NDArray[Any]], size: int) -> npt.NDArray[Any]:
        """The feature, shape (size,): float32, NaN where not finite, or str objects."""
        given = {parameter: columns[column.name] for parameter, column in self.reads.items()}
        where = f"derived.py: {self.column.name}"
        with np.errstate(all="ignore"):
            try:
                found = np.asarray(self.function(**given))
            except Exception as fault:  # the function is the team's, and may raise anything
                private = any(column.pii for column in self.reads.values())
                why = type(fault).__name__ if private else f"{type(fault).__name__}: {fault}"
                raise DerivedError(
                    f"{where} fails on these rows ({why:.200}); correct it, or send other values"
                ) from fault
            if self.column.is_number and found.shape == (size,) and found.dtype.kind in "biuf":
                numbers = found.astype(np.float32)
                numbers[~np.isfinite(numbers)] = np.nan
                return numbers
        texts = found.tolist()
        if (
            not self.column.is_number
            and found.shape == (size,)
            and all(isinstance(text, str) for text in texts)
        ):
            return np.array(texts, object)
        one = "number, NaN" if self.column.is_number else 'text, ""'
        raise DerivedError(
            f"{where} returns {found.dtype} of shape {found.shape} for {size} rows; return an"
            f" array with one {one} where missing, for each row"
        )


def derived_sha256(path: Path = DERIVED_FILE) -> str:
    """The hash of derived.py, whatever line ends git gave it."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def as_parameter(name: str) -> str:
    """A column's name as Python can spell it: `unit price` is unit_price, and `class` is class_."""
    return f"{name}_" if keyword.iskeyword(name) else re.sub(r"\W|^(?=\d)", "_", name)


def _bind_all(contract: Contract, derived: Sequence[Function]) -> list[_Bound]:
    if callable(derived):
        raise ContractError("derived.py: DERIVED is a function; put a comma after it: (name,)")
    bound = [_bind(contract, function) for function in derived]
    names = [each.column.name for each in bound]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"derived.py: DERIVED lists {', '.join(twice)} twice; keep one")
    return bound


def _bind(contract: Contract, function: Function) -> _Bound:
    name = function.__name__
    where, hints = f"derived.py: {name}", get_type_hints(function)
    kind = hints.get("return")
    if kind not in (Numbers, Categories):
        raise ContractError(
            f"{where} does not say what it returns; annotate it with -> Numbers or -> Categories"
        )
    if any(column.name == name for column in contract.fields):
        raise ContractError(f"{where} is a column of contract.yaml already; rename the function")
    reads = {}
    for parameter in inspect.signature(function).parameters:
        named = [
            each for each in contract.fields if parameter in (each.name, as_parameter(each.name))
        ]
        if len(named) != 1:
            raise ContractError(
                f"{where} reads {parameter}, which names {len(named) or 'no'} columns of"
                f" contract.yaml; its features are {', '.join(c.name for c in contract.features)}"
            )
        column = named[0]
        if column.role != "feature":
            raise ContractError(
                f"{where} reads {parameter}, which has role {column.role} in contract.yaml; take"
                " the parameter out, or give the column role feature there"
            )
        expected = Numbers if column.is_number else Categories
        if hints.get(parameter, expected) != expected:
            raise ContractError(
                f"{where} reads {parameter}, which has type {column.type} in contract.yaml;"
                f" annotate it with {'Numbers' if column.is_number else 'Categories'}"
            )
        reads[parameter] = column
    column = Column(name=name, type="number" if kind == Numbers else "string", role="feature")
    return _Bound(column, function, reads)


def _array(column: Column, values: Sequence[Any]) -> npt.NDArray[Any]:
    """A column as a derived feature reads it."""
    array = np.array(values, np.float64) if column.is_number else np.array(_texts(values), object)
    array.setflags(write=False)
    return array


def _texts(values: Any) -> Any:
    """Texts as they are, and "" for the rest."""
    if isinstance(values, np.ndarray):
        with suppress(TypeError):  # mostly none; join tells three times as fast as a look at each
            "".join(values.tolist())
            return values
    return [value if isinstance(value, str) else MISSING_CATEGORY for value in values]
