"""With REQUIRE_ALL=1 a skipped test is a failed one."""

import sys
from pathlib import Path

import pytest
from conftest import ROOT, outside, run_in

CASES = {
    "inside a test": "import pytest\ndef test_it(): pytest.skip('no tool')\n",
    "by a mark": "import pytest\n@pytest.mark.skip('no tool')\ndef test_it(): pass\n",
    "a whole file": "import pytest\npytest.skip('no tool', allow_module_level=True)\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef a(): pytest.skip('no tool')\n"
    "def test_it(a): pass\n",
}


@pytest.mark.parametrize("source", CASES.values(), ids=CASES)
def test_skip_is_a_failure_where_all_is_required(source: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-p", "conftest", "--rootdir", tmp_path, tmp_path)
    env = {**outside(), "PYTHONPATH": str(ROOT / "tests")}
    skipped = run_in(tmp_path, *command, env=env, check=False)
    assert skipped.returncode in (0, 5), skipped.stdout
    failed = run_in(tmp_path, *command, env={**env, "REQUIRE_ALL": "1"}, check=False)
    assert failed.returncode in (1, 2), failed.stdout
    assert "REQUIRE_ALL lets no test be skipped" in failed.stdout
    assert "no tool" in failed.stdout
