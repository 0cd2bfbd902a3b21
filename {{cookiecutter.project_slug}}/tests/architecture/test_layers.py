"""Data flows one way; the rules stand in pyproject.toml under importlinter."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_the_imports_keep_the_rules(root: Path) -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "5 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "more"),
    [
        ("serving.server", {"pyarrow", "fastapi", "prometheus_client"}),
        ("batch.score", set()),
        ("registry.champion", {"gto"}),  # each training imports it, mostly with nothing promoted
    ],
)
def test_no_start_waits_for_what_it_does_not_need(
    package: str, module: str, more: set[str]
) -> None:
    unwanted = {"dvc", "pandas", "skl2onnx", "sklearn", "skops"} | more
    command = f"import sys, {package}.{module} as _; print(*{unwanted} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == ""
