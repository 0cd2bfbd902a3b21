import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.errors import PredictionLogError, SettingsError
from {{ cookiecutter.package_name }}.serving import prediction_log
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog


def test_each_record_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "predictions.jsonl"
    log = PredictionLog(str(path))
    log.append([{"id": 1, "text": "caf\u00e9\n"}, {"id": 2}])
    log.append([{"id": 3}])
    log.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]
    assert json.loads(lines[0])["text"] == "caf\u00e9\n"


def test_a_full_disk_is_no_silent_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.jsonl"
    log = PredictionLog(str(path))
    write, calls = os.write, []

    def full_after_5_bytes(file: int, content: bytes) -> int:
        calls.append(content)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:5])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after_5_bytes)
        with pytest.raises(PredictionLogError, match="No space left on device"):
            log.append([{"id": 1}])
    log.append([{"id": 2}])
    log.close()
    torn, whole = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"id"'
    assert json.loads(whole) == {"id": 2}


def test_a_torn_line_of_an_earlier_process_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": 1}\n{"id', encoding="utf-8")
    log = PredictionLog(str(path))
    log.append([{"id": 2}])
    log.close()
    first, torn, whole = path.read_text(encoding="utf-8").splitlines()
    assert (first, torn) == ('{"id": 1}', '{"id')
    assert json.loads(whole) == {"id": 2}


def test_minus_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = PredictionLog("-")
    log.append([{"id": 1}])
    log.close()
    assert json.loads(capfd.readouterr().out) == {"id": 1}


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="PREDICTION_LOG .* cannot be opened"):
        PredictionLog(str(tmp_path / "file" / "predictions.jsonl"))


def test_a_file_that_was_moved_or_deleted_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "LOOK_SECONDS", 0.0)
    path = tmp_path / "predictions.jsonl"
    log = PredictionLog(str(path))
    for number in range(2):
        log.append([{"id": number}])
        if number:
            path.unlink()
        else:
            path.rename(tmp_path / "old")
        log.append([{"id": number + 10}])
        assert json.loads(path.read_text(encoding="utf-8")) == {"id": number + 10}
    log.close()


def test_a_full_file_is_put_aside_and_no_line_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "LOOK_SECONDS", 0.0)
    path = tmp_path / "predictions.jsonl"
    logs = [PredictionLog(str(path), max_bytes=50) for _ in range(2)]  # of two processes
    for number in range(40):
        logs[number % 2].append([{"id": number}])
    for log in logs:
        log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) < 80
    lines = "".join(file.read_text(encoding="utf-8") for file in files).splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == list(range(40))


@pytest.mark.parametrize("fsync", [True, False])
def test_a_line_is_on_the_disk_where_that_is_asked_for(
    fsync: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    log = PredictionLog(str(tmp_path / "predictions.jsonl"), fsync=fsync)
    log.append([{"id": 1}])
    log.close()
    assert len(synced) == fsync


KILLED = """
import os, random, signal, sys, time
from itertools import count
from PACKAGE.serving.prediction_log import PredictionLog
for turn in range(100):
    told, tells = os.pipe()
    if (child := os.fork()) == 0:
        log = PredictionLog(sys.argv[1])
        for number in count():
            log.append([dict(id="%s-%s" % (turn, number), text="x" * 3000)] * (1 + number % 5))
            os.write(tells, b"%d-%d\\n" % (turn, number))
    os.close(tells)
    first = os.read(told, 1)
    time.sleep(random.Random(turn).random() / 100)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(told, "rb") as file:
        print((first + file.read()).decode(), end="")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to kill")
def test_killed_at_any_moment_no_told_line_is_lost(tmp_path: Path, package: str) -> None:
    path, script = tmp_path / "predictions.jsonl", KILLED.replace("PACKAGE", package)
    command = [sys.executable, "-c", script, str(path)]
    run = subprocess.run(command, check=True, capture_output=True, timeout=60)
    told = set(run.stdout.decode("utf-8").split())
    assert len({each.partition("-")[0] for each in told}) == 100
    found, torn = set(), 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.add(json.loads(line)["id"])
        except ValueError:  # what a kill cut off, which nobody was told of
            torn += 1
    assert told <= found
    assert torn <= 100
