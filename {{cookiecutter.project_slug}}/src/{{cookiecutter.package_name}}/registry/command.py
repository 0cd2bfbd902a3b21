"""The registry's command line: its jobs, and what they print."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import VersionError
from ..yaml_file import parse
from .change import promote, register, rollback
from .fetch import fetch
from .ledger import WHOLE, Assignment, state
from .registry import check_stage, open_registry
from .tags import git


def arguments(parser: ArgumentParser) -> None:
    """Declare what the command takes."""
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, (job, takes) in JOBS.items():
        purpose = str(job.__doc__).partition("\n")[0]
        declared = jobs.add_parser(name, help=purpose, description=purpose)
        for each in takes.split():
            declared.add_argument(each, **OPTIONS.get(each, {}))


def run(job: str, **options: Any) -> None:
    """Do one job.

    Raises:
        VersionError: it is refused; the message says what to do.
        ArtefactError: the model's folder was altered.
    """
    JOBS[job][0](**options)


def history(stage: str) -> None:
    """Print the assignments of a stage, or of all, in the order of their counters."""
    _print_table(Assignment._fields, open_registry().ledger(stage and check_stage(stage)))


def show(reference: str) -> None:
    """Print what a version, or the champion of a stage, is made of."""
    registry = open_registry()
    version = registry.version(reference)
    print(registry.record(version).text(f"{registry.name}@{version}"))


def which_model(stage: str, at: str) -> None:
    """Print champion and challenger, with their shares, that a stage (production) held at a time.

    Raises:
        VersionError: `at` is no time, or nothing was assigned by then.
    """
    time, stage = _time(at), stage or "production"
    champion, challenger = state(open_registry().ledger(check_stage(stage)), time)
    if champion is None:
        raise VersionError(f"{stage} held no version at {time}; registry history has all times")
    left = WHOLE - (challenger.share if challenger else 0)
    rows = [("champion", *champion._replace(share=left))]
    rows += [("challenger", *challenger)] if challenger else []
    _print_table(("role", *Assignment._fields), rows)


def diff(one: str, other: str) -> None:
    """Print the hashes, parameters and figures that differ between two versions."""
    registry = open_registry()
    both = [registry.version(each) for each in (one, other)]
    left, right = (
        _flat(
            registry.record(each).model_dump()
            | {"params": parse(git("show", f"{registry.name}@{each}:./params.yaml"))}
        )
        for each in both
    )
    keys = [key for key in left | right if left.get(key) != right.get(key)]
    _print_table(("", *both), [(key, left.get(key, ""), right.get(key, "")) for key in keys])


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": each for inner, each in _flat(value).items()}
        else:
            found[key] = value
    return found


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text) if text else datetime.now(UTC)
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (OverflowError, ValueError):
        raise VersionError(
            f"{text!r} is no time; give ISO 8601 (2026-03-29T01:00:00+01:00), without a zone UTC"
        ) from None


def _print_table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    texts = [[" ".join(str(cell).split()) or "-" for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


OPTIONS: dict[str, dict[str, Any]] = {
    "--bump": {"choices": ["major", "minor", "patch"], "default": "minor"},
    "--stage": {"default": "", "help": "production or staging"},
    "--share": {"type": int, "default": WHOLE, "help": "percent; less than 100 is a challenger"},
    "--digest": {"default": "", "help": "of the image, sha256:..."},
    "--reason": {"default": ""},
    "--at": {"default": "", "help": "ISO 8601, without a zone UTC; now by default"},
    "--to": {"default": "models/fetched", "help": "folder, models/fetched by default"},
}
JOBS: dict[str, tuple[Callable[..., None], str]] = {
    "register": (register, "--bump"),
    "promote": (promote, "version --stage --share --digest --reason"),
    "rollback": (rollback, "--stage --reason"),
    "history": (history, "--stage"),
    "show": (show, "reference"),
    "which-model": (which_model, "--stage --at"),
    "diff": (diff, "one other"),
    "fetch": (fetch, "reference --to"),
}
"""For each job: its function, whose first line says what it does, and its arguments."""
