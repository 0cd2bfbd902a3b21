"""What a version is made of: the hashes that its tag holds, and what must hold to make one."""

import hashlib
from pathlib import Path
from typing import Any

from ..errors import VersionError
from ..files import read_json
from ..layout import Layout
from ..serving.predictor import check_folder
from ..versions import repository
from ..yaml_file import Strict, parse
from .tags import Message, git

MADE_OF = "src params.yaml contract.yaml dvc.yaml dvc.lock uv.lock pyproject.toml"
ABSENT = ("always changed", "deleted", "not in cache")
"""How DVC calls data in a clone that has not pulled it, and a stage that asks the registry."""


class Verdict(Strict):
    """gate.json: its SHA-256, and that of the model that it judged."""

    passed: bool
    sha256: str
    model: str


class Record(Message):
    """What the tag of a version says.

    model, parameters, contract, lock, metrics: SHA-256 of the artefact, params.yaml, contract.yaml,
    uv.lock and reports/metrics.json; serving, data: DVC's MD5 of models/serving and
    data/raw.parquet; code: git's hash of src; figures: those of model.json.
    """

    commit: str
    model: str
    serving: str
    data: str
    code: str
    parameters: str
    contract: str
    lock: str
    metrics: str
    gate: Verdict
    figures: dict[str, float | None]


def record(layout: Layout = Layout()) -> Record:
    """What HEAD and the files here are.

    Raises:
        VersionError: something is not committed, is not what dvc.lock names, or has not passed.
        ArtefactError: the model's folder was altered.
    """
    try:
        commit = git("rev-parse", "--verify", "HEAD").strip()
    except VersionError:
        raise VersionError("there is no commit yet; git add --all, then git commit") from None
    if changed := git("status", "--porcelain", "--untracked-files=all", "--", *MADE_OF.split()):
        names = ", ".join(line[3:] for line in changed.splitlines())
        raise VersionError(f"{names}: not committed; make train, git commit, then run this again")
    serving, data = locked("HEAD", layout.serving, layout.raw)
    info, _ = check_folder(layout.serving)
    verdict = _verdict(layout.gate_report, info.sha256)
    _refuse_differing(layout)
    return Record(
        commit=commit,
        model=info.sha256,
        serving=serving,
        data=data,
        code=git("rev-parse", "HEAD:src").strip(),
        parameters=_sha256(layout.params),
        contract=_sha256(layout.contract),
        lock=_sha256(Path("uv.lock")),
        metrics=_sha256(layout.metrics),
        gate=verdict,
        figures=info.metrics,
    )


def locked(revision: str, *paths: Path) -> list[str]:
    """The MD5 of outputs in the dvc.lock of a commit.

    Raises:
        VersionError: there is none, or it does not name them.
    """
    try:
        stages = parse(git("show", f"{revision}:./dvc.lock"))["stages"].values()
        found = {each["path"]: each["md5"] for stage in stages for each in stage.get("outs", [])}
        return [found[path.as_posix()] for path in paths]
    except (AttributeError, KeyError, TypeError, ValueError, VersionError) as fault:
        names = " and ".join(path.as_posix() for path in paths)
        raise VersionError(
            f"dvc.lock of {revision} does not name {names} ({fault}); make train, commit dvc.lock"
        ) from None


def _verdict(path: Path, model: str) -> Verdict:
    try:
        report = read_json(path)
    except OSError as fault:
        raise VersionError(f"{path} cannot be read ({fault.strerror}); make train") from None
    judged = report["model_sha256"]
    if report["passed"] is not True:
        raise VersionError(f"{path}: the gate refused this model; improve it, then make train")
    if judged != model:
        raise VersionError(f"{path} is about model {judged}, but here is {model}; make train")
    return Verdict(passed=True, sha256=_sha256(path), model=judged)


def _refuse_differing(layout: Layout) -> None:
    """Refuse what `dvc status` names, but for data that is not here."""
    needed = [each.as_posix() for each in (layout.serving, layout.gate_report, layout.metrics)]
    found = set()
    with repository("register") as repo:
        for stage, entries in repo.status().items():
            for entry in entries:
                states: dict[str, Any] = (
                    {stage: entry} if isinstance(entry, str) else dict(*entry.values())
                )
                found |= {
                    name for name, how in states.items() if how not in ABSENT or name in needed
                }
    if found:
        raise VersionError(
            f"{', '.join(sorted(found))}: not what dvc.lock names; make train (make pull where"
            " files are missing), commit dvc.lock, then run this again"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
