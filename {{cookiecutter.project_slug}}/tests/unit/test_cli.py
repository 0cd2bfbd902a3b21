from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.cli import COMMANDS, main
from {{ cookiecutter.package_name }}.layout import Layout


def test_a_refusal_is_one_message_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["ingest"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(
        "ingest: contract.yaml cannot be read (No such file or directory); run"
    )


def test_a_command_runs_and_exits_with_0(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(layout.root)
    with pytest.raises(SystemExit) as stop:
        main(["gate"])
    assert stop.value.code == 0
    assert "the model may be exported" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fly"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert all(command in error for command in COMMANDS)
