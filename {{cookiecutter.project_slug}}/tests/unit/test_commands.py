"""Commands of a folder that the project's answers left out."""

import pytest

from {{ cookiecutter.package_name }}.cli import COMMANDS, main


@pytest.fixture(autouse=True)
def left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "paint", (".painting.paint:walls", "paint the walls"))


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


def test_a_command_that_was_left_out_is_in_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert COMMANDS["serve"][1] in printed
    assert "paint" not in printed
