from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.files import read_json, replaced, write_atomically, write_json


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"old": True})

    def fail(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused_and_other_text_arrives_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_json(path, {"name": "caf\u00e9"})
    assert read_json(path) == {"name": "caf\u00e9"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"share": float("nan")})
    assert read_json(path) == {"name": "caf\u00e9"}


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "ours"
    for name in ("old", "new"):
        with replaced(folder) as fresh:
            fresh.mkdir()
            (fresh / name).touch()
        assert [path.name for path in folder.iterdir()] == [name]
    with pytest.raises(OSError, match="disk full"), replaced(folder) as fresh:
        fresh.mkdir()
        raise OSError("disk full")
    assert [path.name for path in folder.rglob("*")] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]
