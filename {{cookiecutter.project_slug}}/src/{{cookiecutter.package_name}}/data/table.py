"""Tables between stages: Parquet, written whole or not at all."""

from pathlib import Path

import pandas as pd

from ..files import write_atomically


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table without its index."""
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that a stage wrote."""
    return pd.read_parquet(path)
