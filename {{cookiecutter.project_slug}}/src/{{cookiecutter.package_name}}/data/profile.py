"""Profile: what a dataset looks like in a few figures, and how far another one is from it.

Columns marked `pii`, identifiers and times are left out, so a profile can be committed and shown.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtri  # scipy.stats takes longer to import than all this to run

from ..contract import Column, Contract

BINS = 10
MOST_CATEGORIES = 50
FLOOR = 1e-4
"""A share of nothing counts as this much, so that the logarithm stays finite."""
CERTAINTY = 0.999
"""How unlikely chance has to be, column by column, before a difference counts as drift."""
DEFAULTS = (0.0, -1.0, 99.0, 999.0, 9999.0, -999.0, -9999.0)
DEFAULT_TEXTS = ("0", "-1", "N/A", "NA", "n/a", "none", "None", "null", "NULL", "unknown", "?", "-")
DEFAULT_TIMES = ("1900-01-01", "1970-01-01", "9999-12-31")
"""What systems write where they know no value."""


def profile(frame: pd.DataFrame, contract: Contract) -> dict[str, Any]:
    """Rows, and for each column its bins or categories with the share of rows in each.

    The first share is that of missing values, the last of categories that are not listed.
    """
    columns = {}
    for column in profiled(contract):
        values = frame[column.name]
        found: dict[str, Any] = {}
        if column.is_number:
            levels = np.arange(1, BINS) / BINS
            present = values.dropna()
            edges = np.quantile(present, levels, method="lower") if len(present) else []
            found["edges"] = np.unique(edges).tolist()
        else:
            found["categories"] = values.value_counts().index[:MOST_CATEGORIES].tolist()
        found["shares"] = shares(values, found).tolist()
        found["defaults"] = float(is_default(column, values).mean())
        columns[column.name] = found
    return {"rows": len(frame), "columns": columns}


def profiled(contract: Contract) -> list[Column]:
    """The columns of a profile."""
    roles = {"target", "feature", "group"}
    return [each for each in contract.fields if each.role in roles and not each.pii]


def shares(values: pd.Series, found: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """The share of rows in each part of a profile's column."""
    if "edges" in found:
        places = np.searchsorted(found["edges"], values.to_numpy(np.float64), side="left") + 1
        size = len(found["edges"]) + 2
    else:
        codes = pd.Index(found["categories"]).get_indexer(values)
        size = len(found["categories"]) + 2
        places = np.where(codes < 0, size - 1, codes + 1)
    places = np.where(values.isna(), 0, places)
    return np.bincount(places, minlength=size) / max(len(values), 1)


def is_default(column: Column, values: pd.Series) -> pd.Series:
    """Which values are ones that systems write where they know none."""
    if column.is_time:
        return values.isin(pd.to_datetime(list(DEFAULT_TIMES), utc=True))
    if column.type == "boolean":
        return pd.Series(data=False, index=values.index)
    listed = list(DEFAULTS if column.is_number else DEFAULT_TEXTS)
    return values.isin(listed)


def drift(
    reference: Mapping[str, Any], frame: pd.DataFrame, contract: Contract, limit: float
) -> dict[str, tuple[float, float]]:
    """For each column its population stability index against the reference, and the limit for it.

    The limit is `limit`, or what chance alone reaches in tables so small. Sources: Siddiqi (2006),
    Credit Risk Scorecards, for the index and 0.25; Yurdakul (2018), Statistical Properties of
    Population Stability Index, for its distribution, (1/n + 1/m) times chi-squared.
    """
    found = {}
    for column in profiled(contract):
        before = reference["columns"].get(column.name)
        if before is None or ("edges" in before) != column.is_number:
            continue
        old = np.maximum(before["shares"], FLOOR)
        new = np.maximum(shares(frame[column.name], before), FLOOR)
        index = float(((new - old) * np.log(new / old)).sum())
        chance = chdtri(len(old) - 1, 1 - CERTAINTY) * (1 / reference["rows"] + 1 / len(frame))
        found[column.name] = (index, max(limit, float(chance)))
    return found
