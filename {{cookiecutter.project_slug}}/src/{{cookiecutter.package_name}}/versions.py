"""Versions of data and models, kept by DVC: reproduced, shared, or refused in one message."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.output import OutputAlreadyTrackedError, OutputIsIgnoredError
from dvc.repo import Repo
from dvc.ui import ui
from filelock import FileLock, Timeout

from .errors import VersionError
from .remote import reached
from .yaml_file import FROM_HERE

OWN = ("dvc.lock", "dvc.yaml", "params.yaml", "contract.yaml")
MERGED = (*OWN, ".dvc/config", ".dvcignore")
"""What DVC reads, and a merge can leave with conflict marks."""
LOCK = Path("dvc.lock")
UNHIDE = "take that pattern out, since DVC has to track the file"


def repro() -> None:
    """Run the stages whose inputs have changed.

    Raises:
        VersionError: a stage has failed, a file has conflict marks, or .dvcignore hides one.
    """
    with repository("repro") as repo:
        items = [
            Path(each.fs_path) for stage in repo.index.stages for each in (*stage.deps, *stage.outs)
        ]
        _refuse_hidden(repo, items)
        before = _content(LOCK)
        repo.reproduce()
        _refuse_hidden(repo, items)  # only now are there files that *.onnx would hide
    done = "there are new results; commit dvc.lock, and make push shares them"
    print(f"repro: {'nothing has changed' if _content(LOCK) == before else done}")


def push() -> None:
    """Send what dvc.lock names to the default remote.

    Raises:
        VersionError: there is no such version or remote, or the remote does not take it.
    """
    with repository("push", needs_lock=True) as repo, reached(repo) as title:
        print(f"push: {repo.push()} files sent to {title}; the others are there")


def pull() -> None:
    """Bring what dvc.lock names from the default remote.

    Raises:
        VersionError: there is no such version or remote, or the remote does not have it.
    """
    with repository("pull", needs_lock=True) as repo, reached(repo) as title:
        print(f"pull: {repo.pull()['stats']['fetched']} files fetched from {title}")


def track(root: Path, path: Path) -> None:
    """Let DVC keep this file or folder, unless git does.

    Raises:
        VersionError: DVC cannot take it.
    """
    _leave_out_hints()
    try:
        with Repo(str(root)) as repo:
            repo.add(str(path))
    except OutputAlreadyTrackedError:
        return
    except DvcException as fault:
        raise VersionError(f"{path} cannot be put under DVC: {fault}") from fault


@contextmanager
def repository(command: str, needs_lock: bool = False) -> Iterator[Repo]:
    """The project, for one run at a time; DVC's own lock gives up after three seconds.

    Raises:
        VersionError: there is none, or DVC refuses.
    """
    if not Path(".dvc").is_dir():
        raise VersionError(f".dvc is not in {Path.cwd()}; {FROM_HERE}")
    Path(".dvc", "tmp").mkdir(exist_ok=True)
    lock = FileLock(Path(".dvc", "tmp", "versions.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{command}: waits for another run on {Path.cwd()} to end", flush=True)
        lock.acquire()
    try:
        _refuse_conflicts()
        if needs_lock and not Path("dvc.lock").exists():
            raise VersionError("dvc.lock is missing, so no version is known; make train writes it")
        _leave_out_hints()
        ui.enable()
        with Repo() as repo:
            yield repo
    except OutputIsIgnoredError as fault:
        raise VersionError(f"{fault}; {UNHIDE}") from fault
    except DvcException as fault:
        reasons = [str(each) for each in (fault, fault.__cause__) if each and str(each)]
        raise VersionError("; ".join(reasons)) from fault
    finally:
        lock.release()


def _leave_out_hints() -> None:
    logging.getLogger("dvc.repo.scm_context").addFilter(_asked_for)


def _asked_for(record: logging.LogRecord) -> bool:
    return "auto staging" not in record.getMessage()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _refuse_conflicts() -> None:
    for name in filter(os.path.exists, MERGED):
        text = Path(name).read_text(encoding="utf-8")
        if mark := re.search(r"^(<{7} |={7}$|>{7} )", text, re.MULTILINE):
            line = text.count("\n", 0, mark.start()) + 1
            step = "make settle" if name == "dvc.lock" else "settle them by hand, then make train"
            raise VersionError(f"{name} line {line} has the conflict marks of a merge; {step}")


def _refuse_hidden(repo: Repo, items: Sequence[Path]) -> None:
    inside = [
        path
        for item in items
        for path in item.rglob("*")
        if not re.search(r"/(\.|__pycache__)", path.as_posix()[len(str(item)) :])
    ]
    for path in (*map(Path, OWN), *items, *inside):
        # A folder that is not there yet is known as one by what would be in it.
        for probe in (path, path / "file"):
            found = repo.dvcignore.check_ignore(str(probe))
            if found.match:
                name = os.path.relpath(path)
                raise VersionError(f"{name} is ignored by {found.pattern_infos[-1]}; {UNHIDE}")
