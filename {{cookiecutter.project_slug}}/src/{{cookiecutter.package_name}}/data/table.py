"""Tables between stages: Parquet, written whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

FAULTS = "(faults)"
"""The column that says which values of a row were none of their type; "" for a sound row."""
JOINED = "(joined)"
"""The column that says whether a row came from feedback, and not from the source."""
REASONS = "(reasons)"
"""The column of the rejected rows that says why they are; no name that one would choose."""


def write_table(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table without its index."""
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False))


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table that a stage wrote.

    Raises:
        DataError: no stage has written it yet.
    """
    import pandas as pd  # not where batch scores, which reads tables by `source`

    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path} is not there yet; run `make train`, or `make pull`") from None
