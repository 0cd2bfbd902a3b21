"""Rules: the contract as a pandera schema, each check named as in params.yaml."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandera.errors import SchemaErrors

from ..contract import Column, Contract
from .profile import is_default
from .table import JOINED

ROWS = "rows"
"""Stands for the column where a rule is about rows as a whole."""


def broken(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Each break of a rule: columns rule, column and index, the row's label in `frame`.

    An id that is unique is so among the source's rows. Rows that are JOINED, which come last, are
    further observations of what it names.
    """
    try:
        _schema(contract, frame[JOINED]).validate(frame.drop(columns=JOINED), lazy=True)
    except SchemaErrors as faults:
        cases = faults.failure_cases
        of_rows = cases["schema_context"] == "DataFrameSchema"
        found = pd.DataFrame(
            {
                "rule": cases["check"],
                "column": cases["column"].mask(of_rows, ROWS),
                "index": cases["index"],
            }
        )
        return found.drop_duplicates(ignore_index=True)
    return pd.DataFrame({"rule": [], "column": [], "index": []}, dtype=object)


def _schema(contract: Contract, joined: pd.Series) -> pandera.DataFrameSchema:
    columns = {
        column.name: pandera.Column(nullable=True, checks=list(_checks(column, joined)))
        for column in contract.kept
    }
    rows = [_check("duplicate_row", lambda frame: ~frame.duplicated())]
    return pandera.DataFrameSchema(columns, checks=rows)


def _checks(column: Column, joined: pd.Series) -> Iterator[pandera.Check]:
    limits = column.constraints
    if limits.required:
        name = "missing_target" if column.role == "target" else "missing"
        yield pandera.Check(lambda values: values.notna(), name=name, ignore_na=False)
    if limits.unique:
        yield _check("duplicate_id", lambda values: ~values.duplicated() | joined[values.index])
    if column.is_number:
        yield _check(
            "out_of_range",
            lambda values: values.between(column.minimum, column.maximum) & np.isfinite(values),
        )
    if column.is_time:
        yield _check("future_time", lambda values: values <= datetime.now(UTC))
    if limits.enum is not None:
        yield _check("unknown_category", lambda values: values.isin(limits.enum))
    if limits.pattern is not None:
        yield _check("changed_format", lambda values: values.str.fullmatch(limits.pattern))
    yield _check("default_value", lambda values: ~is_default(column, values))


def _check(name: str, sound: Callable[[Any], Any]) -> pandera.Check:
    return pandera.Check(sound, name=name)
