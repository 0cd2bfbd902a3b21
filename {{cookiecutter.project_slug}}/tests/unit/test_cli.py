import subprocess
import sys
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.cli import COMMANDS, main
from {{ cookiecutter.package_name }}.files import read_json, write_json
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
    assert "may be served" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fly"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert all(command in error for command in COMMANDS)


def test_a_command_knows_its_own_arguments_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, words in (
        (["remote", "--help"], 0, "--endpoint"),
        (["remote"], 2, "required: url"),
        (["gate", "--endpoint", "x"], 2, "unrecognized arguments: --endpoint"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == code
        printed = capsys.readouterr()
        assert words in printed.out + printed.err


def test_a_command_gets_its_arguments(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(layout.root)
    for given, status, said in [
        (["remote"], 2, "the following arguments are required: url"),
        (["feedback"], 1, "feedback: logs/predictions.jsonl cannot be read"),
        (["gate", "labels.csv"], 2, "unrecognized arguments: labels.csv"),
        (["feedback", "labels.csv"], 1, "feedback: labels.csv cannot be read"),
    ]:
        with pytest.raises(SystemExit) as stop:
            main(given)
        assert stop.value.code == status
        assert said in capsys.readouterr().err


def test_text_of_any_language_is_printed_in_any_locale(layout: Layout, package: str) -> None:
    metrics = read_json(layout.metrics)
    metrics["single_feature"]["caf\u00e9"] = 0.97
    write_json(layout.metrics, metrics)
    done = subprocess.run(
        [sys.executable, "-m", package, "gate"],
        cwd=layout.root,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=True,
    )
    assert "caf\u00e9 alone" in done.stdout.decode("utf-8")


@pytest.fixture
def left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of a folder that the project's answers left out."""
    monkeypatch.setitem(COMMANDS, "paint", (".painting.paint:walls", "paint the walls"))


@pytest.mark.usefixtures("left_out")
def test_a_command_that_was_left_out_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["paint"], ["paint", "--trials", "2"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("paint: painting is not in this project; answer yes to")
        assert (printed.out, printed.err.count("\n")) == ("", 1)


@pytest.mark.usefixtures("left_out")
def test_a_command_that_was_left_out_is_in_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert COMMANDS["serve"][1] in printed
    assert "paint" not in printed
