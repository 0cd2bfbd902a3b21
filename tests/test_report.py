"""The page on a dataset in a browser, and what DVC shows of two versions."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, commit_all, run_in
from machine import dvc_cache, tool, train

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"
# A table of two million rows, made of the sample's, in which a column has moved.
LARGE = """
import resource
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from {package}.data import report
from {package}.layout import Layout

valid = pyarrow.parquet.read_table(Layout().valid)
large = valid.take(pa.array(np.resize(np.arange(len(valid)), 2_000_000)))
pyarrow.parquet.write_table(large, Layout().valid)
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(used)
"""


def browse(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """The page as a browser has it in the end, what its console says, and what it asked for."""
    log = folder / "net.json"
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    done = run_in(
        folder,
        tool("chromium"),
        *options,
        f"--user-data-dir={folder / 'browser'}",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
        "--virtual-time-budget=10000",
        "--dump-dom",
        page.as_uri(),
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = sorted(set(re.findall(r'"url":"([^"]*)"', log.read_text(encoding="utf-8"))))
    return done.stdout, console, asked
