"""Data flows one way; the rules stand in pyproject.toml under importlinter."""

import subprocess
import sys
from pathlib import Path


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
    assert "4 kept, 0 broken" in done.stdout


def test_serving_loads_no_training_library(package: str) -> None:
    command = (
        f"import sys, {package}.serving.server as _;"
        "print(*{'dvc', 'pandas', 'pyarrow', 'skl2onnx', 'sklearn', 'skops'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == ""
