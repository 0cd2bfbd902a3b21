"""The registry on small git repositories whose model is a few bytes under DVC."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import gto.api
import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.artifacts import Artifacts

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import ArtefactError, ProjectError, VersionError
from {{ cookiecutter.package_name }}.files import write_json
from {{ cookiecutter.package_name }}.registry import champion as champion_stage
from {{ cookiecutter.package_name }}.registry import command, registry, tags
from {{ cookiecutter.package_name }}.registry.ledger import Assignment, champion_before, state
from {{ cookiecutter.package_name }}.serving.predictor import sealed

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

PIPELINE = """vars: [contract.yaml:name]
artifacts:
  ${name}: {path: models/serving, type: model}
stages:
  export:
    cmd: "true"
    deps: [params.yaml]
    outs: [data/raw.parquet, models/serving]
    metrics: [reports/metrics.json, reports/gate.json]
"""
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
MADE_OF = ("src/code.py", "dvc.yaml", "dvc.lock", "uv.lock", "pyproject.toml", "contract.yaml")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "commit.gpgsign=false", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return done.stdout.decode("utf-8").strip()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train(folder: Path, seed: int) -> None:
    """Another model, with everything that goes with it, committed."""
    (folder / "params.yaml").write_text(f"model:\n  depth: 3\nseed: {seed}\n", encoding="utf-8")
    write_json(folder / "reports" / "metrics.json", {"metrics": {"loss": seed / 7}})
    fill(folder / "models" / "serving", seed)
    (folder / "data" / "raw.parquet").write_bytes(b"rows")
    judge(folder, passed=True)
    commit_lock(folder)


def judge(folder: Path, **report: Any) -> None:
    """Write a verdict, about the model that is there unless said otherwise."""
    model = sha256(folder / "models" / "serving" / "model.onnx")
    verdict = {"passed": True, "model_sha256": model, "checks": []}
    write_json(folder / "reports" / "gate.json", {**verdict, **report})


def fill(serving: Path, seed: int) -> None:
    """A model folder whose files have the hashes that model.json names."""
    serving.mkdir(parents=True, exist_ok=True)
    (serving / "model.onnx").write_bytes(b"model %d" % seed)
    shutil.copy(serving.parents[1] / "contract.yaml", serving)
    shutil.copy(serving.parents[1] / "reports" / "metrics.json", serving)
    write_json(serving / "background.json", [])
    description = {
        "name": "a-model",
        "version": f"a-model@{seed}",
        "task": "classification",
        "artefact": "model.onnx",
        "sha256": sha256(serving / "model.onnx"),
        "contract_sha256": sha256(serving / "contract.yaml"),
        "metrics_sha256": sha256(serving / "metrics.json"),
        "background_sha256": sha256(serving / "background.json"),
        "derived_sha256": "",
        "estimator": "",
        "scikit_learn": "",
        "decision": {"threshold": 0.5, "costs": None},
        "metrics": {"loss": seed / 7},
    }
    (serving / "model.json").write_bytes(sealed(description))


def commit_lock(folder: Path) -> None:
    with chdir(folder), Repo() as repo:
        repo.commit(force=True)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Trained")


@pytest.fixture(scope="module")
def original(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model is committed; not to be changed."""
    base = tmp_path_factory.mktemp("registry")
    folder = base / "project"
    for name in ("src", ".dvc", "data", "reports"):
        (folder / name).mkdir(parents=True)
    files = {
        "src/code.py": "",
        "uv.lock": "version = 1\n",
        "pyproject.toml": "",
        "dvc.yaml": PIPELINE,
        ".gitignore": "/models/\n/data/\n/reports/\n/remote/\n",
        ".dvc/.gitignore": "/cache\n/tmp\n/config.local\n",
        ".dvc/config": "[cache]\n    dir = cache\n"
        f"[core]\n    analytics = false\n    site_cache_dir = {base / 'site'}\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(root / "contract.yaml", folder)
    git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    git(folder, "config", "user.name", "Ann")
    git(folder, "config", "user.email", "ann@localhost")
    train(folder, 1)
    return folder


@pytest.fixture(scope="module")
def registered(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a second model: v1.0.0 and v1.1.0; not to be changed."""
    folder = tmp_path_factory.mktemp("registered") / "project"
    shutil.copytree(original, folder)
    with chdir(folder):
        do("register")
        train(folder, 2)
        do("register")
    return folder


@pytest.fixture(autouse=True)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The present folder is a copy of the project, with versions where a test asks for them."""
    kind = "registered" if "two_versions" in request.fixturenames else "original"
    folder = tmp_path / "project"
    shutil.copytree(request.getfixturevalue(kind), folder)
    monkeypatch.chdir(folder)
    for name, value in (("GIT_CONFIG_GLOBAL", os.devnull), ("GIT_CONFIG_NOSYSTEM", "1")):
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_ACTOR", "GIT_COMMITTER_DATE", "GIT_COMMITTER_NAME", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def two_versions() -> None:
    """Asks for v1.0.0 and v1.1.0."""


@pytest.fixture
def champion(two_versions: None) -> None:  # noqa: ARG001  (made first)
    """v1.0.0 is the champion of production, v1.1.0 is registered."""
    do("promote", "v1.0.0", "--stage=production")


@pytest.fixture
def name(contract: Contract) -> str:
    return contract.name


def do(*arguments: str) -> None:
    """A job, as the command line does it."""
    parser = ArgumentParser()
    command.arguments(parser)
    command.run(**vars(parser.parse_args(arguments)))


@pytest.mark.usefixtures("project")
def test_before_a_promotion_gto_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    do("register")
    monkeypatch.setattr(registry, "open_registry", None)
    champion_stage.run()
    assert capsys.readouterr().out.endswith("champion: nothing is in production yet\n")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a job prints."""

    def printed(*arguments: str) -> str:
        capsys.readouterr()
        do(*arguments)
        return capsys.readouterr().out

    return printed


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A job at a time."""

    def done(moment: datetime, *arguments: str) -> None:
        monkeypatch.setenv("GIT_COMMITTER_DATE", moment.isoformat())
        do(*arguments)
        monkeypatch.delenv("GIT_COMMITTER_DATE")

    return done


def made(folder: Path) -> list[str]:
    return git(folder, "tag").split()


def forge(folder: Path, tag: str, revision: str, content: Any) -> None:
    """A tag that was not made by the registry."""
    message = f"title\n\n{yaml.safe_dump(content)}"
    git(folder, "tag", "--force", "--annotate", "--message", message, tag, revision)


def message(folder: Path, tag: str) -> Any:
    text = git(folder, "tag", "--list", "--format=%(contents)", tag)
    return yaml.safe_load(text.partition("\n\n")[2])


# register


def test_a_version_names_what_it_is_made_of(project: Path, name: str) -> None:
    do("register")
    assert made(project) == [f"{name}@v1.0.0"]
    assert git(project, "cat-file", "-t", f"{name}@v1.0.0") == "tag"
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    outs = {each["path"]: each["md5"] for each in lock["stages"]["export"]["outs"]}
    model = hashlib.sha256(b"model 1").hexdigest()
    assert message(project, f"{name}@v1.0.0") == {
        "commit": git(project, "rev-parse", "HEAD"),
        "model": model,
        "serving": outs["models/serving"],
        "data": hashlib.md5(b"rows", usedforsecurity=False).hexdigest(),
        "code": git(project, "rev-parse", "HEAD:src"),
        "parameters": sha256(project / "params.yaml"),
        "contract": sha256(project / "contract.yaml"),
        "lock": sha256(project / "uv.lock"),
        "metrics": sha256(project / "reports/metrics.json"),
        "gate": {"passed": True, "sha256": sha256(project / "reports/gate.json"), "model": model},
        "figures": {"loss": 1 / 7},
    }


@pytest.mark.parametrize(
    ("bump", "second"),
    [("", "v1.1.0"), ("major", "v2.0.0"), ("minor", "v1.1.0"), ("patch", "v1.0.1")],
)
def test_a_version_is_immutable_and_the_next_one_is_greater(
    bump: str, second: str, project: Path, name: str, said: Callable[..., str]
) -> None:
    do("register")
    before = git(project, "show-ref", "--tags")
    assert said("register") == f"register: already registered as {name}@v1.0.0\n"
    assert git(project, "show-ref", "--tags") == before
    train(project, 2)
    do("register", *([f"--bump={bump}"] if bump else []))
    assert made(project) == sorted([f"{name}@v1.0.0", f"{name}@{second}"])


def test_versions_are_ordered_as_numbers(project: Path, name: str) -> None:
    for number in ("v1.9.0", "v1.10.0", "v1.2.0"):
        git(project, "tag", "--annotate", "--message=by hand", f"{name}@{number}", "HEAD")
    train(project, 2)
    do("register")
    assert f"{name}@v1.11.0" in made(project)


def test_without_a_name_and_an_address_nothing_is_made(project: Path) -> None:
    git(project, "config", "--unset", "user.email")
    for job in (("register",), ("promote", "v1.0.0", "--stage=staging")):
        with pytest.raises(VersionError, match="git config user.email YOU@HOST"):
            do(*job)
    assert made(project) == []


@pytest.mark.parametrize("path", [*MADE_OF, "params.yaml", "src/new.py"])
def test_what_is_not_committed_is_refused(path: str, project: Path) -> None:
    with (project / path).open("a", encoding="utf-8", newline="\n") as file:
        file.write("# changed\n")
    with pytest.raises(VersionError, match=f"{path}: not committed; make train, git commit"):
        do("register")
    assert made(project) == []


def test_other_files_may_change(project: Path) -> None:
    (project / "README.md").touch()
    do("register")


def test_a_lock_that_is_in_no_commit_is_refused(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "dvc.lock")
    (project / ".git" / "info").mkdir(exist_ok=True)
    (project / ".git" / "info" / "exclude").write_text("dvc.lock\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--message=None")
    with pytest.raises(VersionError, match="dvc.lock of HEAD .* make train, commit dvc.lock"):
        do("register")


def other_model(folder: Path) -> None:
    fill(folder / "models" / "serving", 2)
    judge(folder)


def other_metrics(folder: Path) -> None:
    write_json(folder / "reports" / "metrics.json", {})


def no_metrics(folder: Path) -> None:
    (folder / "reports" / "metrics.json").unlink()


def other_gate(folder: Path) -> None:
    judge(folder, checks=[1])


def refused_gate(folder: Path) -> None:
    judge(folder, passed=False)
    commit_lock(folder)


def gate_of_another_model(folder: Path) -> None:
    judge(folder, model_sha256="f" * 64)
    commit_lock(folder)


def no_gate(folder: Path) -> None:
    (folder / "reports" / "gate.json").unlink()


def stale_lock(folder: Path) -> None:
    (folder / "params.yaml").write_text("seed: 9\n", encoding="utf-8")
    git(folder, "commit", "--quiet", "--all", "--message=Not trained")


def torn_lock(folder: Path) -> None:
    (folder / "dvc.lock").write_text("stages: [", encoding="utf-8")
    git(folder, "commit", "--quiet", "--all", "--message=Torn")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_model, "models/serving, reports/gate.json: not what dvc.lock names; make train"),
        (other_metrics, "reports/metrics.json: not what dvc.lock names"),
        (no_metrics, "reports/metrics.json: not what dvc.lock names.*make pull"),
        (other_gate, "reports/gate.json: not what dvc.lock names"),
        (refused_gate, "reports/gate.json: the gate refused this model; improve it"),
        (gate_of_another_model, "reports/gate.json is about model f{64}, but here is"),
        (no_gate, "reports/gate.json cannot be read .*; make train"),
        (stale_lock, "params.yaml: not what dvc.lock names"),
        (torn_lock, "dvc.lock of HEAD does not name models/serving and data/raw.parquet"),
    ],
)
def test_what_is_not_what_the_lock_names_or_has_not_passed_is_refused(
    change: Callable[[Path], None], words: str, project: Path
) -> None:
    change(project)
    with pytest.raises(VersionError, match=words):
        do("register")
    assert made(project) == []


def test_data_that_is_not_here_is_no_obstacle(project: Path) -> None:
    (project / "data" / "raw.parquet").unlink()
    do("register")


def test_an_altered_model_is_refused(project: Path) -> None:
    (project / "models" / "serving" / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ArtefactError, match="the file was altered"):
        do("register")


def test_a_repository_without_its_history_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do("register")
    train(project, 2)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project}", "shallow")
    shutil.copytree(project / "src", tmp_path / "none" / "src")
    for folder, words in (
        (tmp_path / "shallow", "git fetch --unshallow --tags"),
        (project / "src", "src/ is not the top of its git repository"),
        (tmp_path / "none", "not a git repository"),
    ):
        monkeypatch.chdir(folder)
        with pytest.raises(VersionError, match=words):
            do("history")


def test_a_repository_without_a_commit_is_refused(project: Path) -> None:
    git(project, "update-ref", "-d", "HEAD")
    with pytest.raises(VersionError, match="there is no commit yet; git add"):
        do("register")


def test_missing_tags_are_named(project: Path, tmp_path: Path, name: str) -> None:
    do("register")
    git(tmp_path, "clone", "--quiet", "--no-tags", f"file://{project}", "clone")
    os.chdir(tmp_path / "clone")
    for reference in ("v1.0.0", f"{name}@v1.0.0"):
        with pytest.raises(VersionError, match="there is none yet; git fetch --tags"):
            do("show", reference)


# promote and rollback


def test_the_ledger_says_who_promoted_what_and_why(
    project: Path,
    name: str,
    at: Callable[..., None],
    said: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    do("register")
    at(NOON, "promote", f"{name}@v1.0.0", "--stage=staging", "--reason=a: first\n# one")
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    at(NOON, "promote", "v1.0.0", "--stage=production", f"--digest={DIGEST}")
    assert made(project) == [f"{name}#production#2", f"{name}#staging#1", f"{name}@v1.0.0"]
    rows = [re.split(" {2,}", line) for line in said("history").splitlines()]
    time = "2026-03-01 12:00:00+00:00"
    assert rows == [
        list(Assignment._fields),
        ["1", "staging", time, "v1.0.0", "100", "-", "Ann <ann@localhost>", "a: first # one"],
        ["2", "production", time, "v1.0.0", "100", DIGEST, "octocat", "-"],
    ]
    assert "staging" not in said("history", "--stage=production")
    assert said("promote", "v1.0.0", "--stage=production").endswith("already\n")
    assert len(made(project)) == 3


def who(stage: str = "production") -> list[tuple[str, int]]:
    """Version and share of champion and challenger."""
    found = state(registry.open_registry().ledger(stage))
    return [(each.version, each.share) for each in found if each]


@pytest.mark.usefixtures("champion")
def test_a_challenger_comes_and_goes() -> None:
    for version, share, there in (
        ("v1.1.0", 10, [("v1.0.0", 100), ("v1.1.0", 10)]),
        ("v1.1.0", 50, [("v1.0.0", 100), ("v1.1.0", 50)]),
        ("v1.1.0", 0, [("v1.0.0", 100)]),
        ("v1.1.0", 99, [("v1.0.0", 100), ("v1.1.0", 99)]),
        ("v1.0.0", 100, [("v1.0.0", 100)]),
        ("v1.1.0", 1, [("v1.0.0", 100), ("v1.1.0", 1)]),
        ("v1.1.0", 100, [("v1.1.0", 100)]),
    ):
        do("promote", version, "--stage=production", f"--share={share}")
        assert who() == there
    assert who("staging") == []


def test_rollback_assigns_the_champion_before_again(project: Path, name: str) -> None:
    do("register")
    do("promote", "v1.0.0", "--stage=production", f"--digest={DIGEST}")
    with pytest.raises(VersionError, match="production had no other champion before"):
        do("rollback", "--stage=production")
    train(project, 2)
    do("register")
    do("promote", "v1.1.0", "--stage=production")
    do("promote", "v1.0.0", "--stage=production", "--share=5")
    do("rollback", "--stage=production")
    assert who() == [("v1.0.0", 100)]
    last = message(project, f"{name}#production#4")
    assert (last["digest"], last["reason"]) == (DIGEST, "rollback to number 1")
    do("rollback", "--stage=production", "--reason=better after all")
    assert who() == [("v1.1.0", 100)]
    with pytest.raises(VersionError, match="staging had no other champion before"):
        do("rollback", "--stage=staging")


def test_gto_and_dvc_read_the_same(
    project: Path, name: str, tmp_path: Path, at: Callable[..., None]
) -> None:
    at(NOON, "register")
    at(NOON, "promote", "v1.0.0", "--stage=production")
    train(project, 2)
    at(NOON + timedelta(hours=1), "register")
    at(NOON + timedelta(hours=2), "promote", "v1.1.0", "--stage=production")
    shown = gto.api.show(".", name)
    assert [each["version"] for each in shown] == ["v1.1.0", "v1.0.0"]
    assert [len(each["stages"]) for each in shown] == [1, 0]
    Artifacts.get(str(project), name, version="v1.0.0", out=str(tmp_path / "first"))
    assert (tmp_path / "first" / "model.onnx").read_bytes() == b"model 1"
    Artifacts.get(str(project), name, stage="production", out=str(tmp_path / "second"))
    assert (tmp_path / "second" / "model.onnx").read_bytes() == b"model 2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("v1.1.1 --stage=production", "'v1.1.1' is no version of .*; the nearest is v1.1.0"),
        ("staging --stage=production", "staging holds no version yet"),
        ("v1.1.0 --stage=prod", "'prod' is no stage; the nearest is production"),
        ("v1.1.0", "'' is no stage"),
        ("v1.1.0 --stage=production --share=101", "share 101 is no percentage"),
        ("v1.1.0 --stage=production --share=-1", "share -1 is no percentage"),
        ("v1.1.0 --stage=production --digest=sha256:abc", "digest 'sha256:abc' is none"),
        ("v1.1.0 --stage=staging --share=10", "the champion of staging is None; promote with"),
        ("v1.0.0 --stage=production --share=10", "the champion of production is v1.0.0"),
        ("v1.1.0 --stage=production --share=0", "no challenger of production.* is None"),
        ("v1.0.0 --stage=production --share=0", "v1.0.0 is no challenger of production"),
    ],
)
@pytest.mark.usefixtures("champion")
def test_a_promotion_that_cannot_be_is_refused(arguments: str, words: str, project: Path) -> None:
    before = made(project)
    with pytest.raises(VersionError, match=words):
        do("promote", *arguments.split())
    assert made(project) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gate": {"passed": False}}, "gate.passed False of model"),
        ({"model": "f" * 64}, "the version is model f{64}"),
        ({"serving": "0.dir"}, "in models/serving 0.dir, and its dvc.lock names [0-9a-f]{32}.dir"),
        ({"commit": "0" * 40}, "was made at 0{40}: it was moved"),
        (None, "tag .*@v1.0.0: the file"),
    ],
)
def test_a_version_of_another_making_is_not_promoted(
    change: dict[str, Any] | None, words: str, project: Path, name: str
) -> None:
    do("register")
    tag = f"{name}@v1.0.0"
    said = message(project, tag)
    if change and "gate" in change:
        change = {"gate": said["gate"] | change["gate"]}
    forge(project, tag, "HEAD", change and said | change)
    with pytest.raises(VersionError, match=words):
        do("promote", "v1.0.0", "--stage=production")
    assert made(project) == [tag]


@pytest.mark.usefixtures("champion")
def test_a_tag_that_was_moved_is_refused(project: Path, name: str) -> None:
    tag = f"{name}#production#1"
    said = message(project, tag)
    forge(project, tag, "HEAD", said)
    with pytest.raises(VersionError, match=f"tag {tag} is at .* it was moved; git tag -d"):
        do("which-model")
    for content, words in (
        (None, f"tag {tag}: the file"),
        ({**said, "share": 101}, f"tag {tag}: share"),
        ({**said, "version": "production"}, "'production' is no version"),
    ):
        forge(project, tag, f"{name}@v1.0.0^0", content)
        with pytest.raises(VersionError, match=words):
            do("history")
    git(project, "tag", "--delete", tag)
    git(project, "tag", "--annotate", "--message=by hand\n\n[", f"{name}#production", "HEAD")
    with pytest.raises(VersionError, match=f"tag {name}#production: the file"):
        do("history")


# which-model


@pytest.fixture
def local_time() -> Iterator[Callable[[str], None]]:
    """Sets this process's zone."""

    def use(zone: str) -> None:
        patch.setenv("TZ", zone)
        time.tzset()

    with pytest.MonkeyPatch.context() as patch:
        yield use
    time.tzset()


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Auckland"])
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin's clocks go forward
        datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin's clocks go back
        datetime(2026, 3, 8, 5, 30, tzinfo=UTC),  # St John's clocks go forward
        datetime(2026, 4, 4, 14, tzinfo=UTC),  # Auckland's clocks go back
    ],
)
def test_each_second_around_a_promotion_is_answered_right(
    zone: str,
    moment: datetime,
    at: Callable[..., None],
    said: Callable[..., str],
    local_time: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local_time(zone)
    for seconds, arguments in (
        (-20, ["v1.0.0"]),
        (0, ["v1.1.0", "--share=10"]),
        (20, ["v1.1.0"]),
    ):
        local = (moment + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone))
        at(local, "promote", *arguments, "--stage=production")
    read = registry.open_registry()
    monkeypatch.setattr(command, "open_registry", lambda: read)
    for offset in range(-21, 23):
        now = moment + timedelta(seconds=offset)
        local = now.astimezone(ZoneInfo(zone))
        expected = (
            "none"
            if offset < -20
            else "champion v1.0.0 100"
            if offset < 0
            else "champion v1.0.0 90 challenger v1.1.0 10"
            if offset < 20
            else "champion v1.1.0 100"
        )
        for text in (now.isoformat(), f"{now:%Y-%m-%dT%H:%M:%S}", local.isoformat()):
            try:
                rows = [line.split() for line in said("which-model", f"--at={text}").splitlines()]
                found = " ".join(f"{row[0]} {row[5]} {row[6]}" for row in rows[1:])
            except VersionError as refusal:
                assert "held no version at" in str(refusal)
                found = "none"
            assert found == expected, text


def line(number: int, seconds: int, version: str, share: int = 100) -> Assignment:
    moment = NOON + timedelta(seconds=seconds)
    return Assignment(number, "production", moment, version, share, "", "", "")


def test_a_clock_that_went_back_does_not_change_the_order() -> None:
    ledger = [line(1, 0, "a"), line(2, 50, "b"), line(3, 20, "c"), line(4, 60, "d", 10)]
    for seconds, expected in ((0, "a"), (20, "a"), (49, "a"), (50, "c"), (60, "c")):
        found = state(ledger, NOON + timedelta(seconds=seconds))
        assert found.champion
        assert found.champion.version == expected, seconds
        assert bool(found.challenger) is (seconds == 60)
    assert state(ledger, NOON - timedelta(seconds=1)) == (None, None)
    assert state(ledger) == state(ledger, NOON + timedelta(days=1))
    before = champion_before(ledger)
    assert before
    assert before.version == "b"


@pytest.mark.usefixtures("two_versions")
def test_the_counter_orders_promotions_of_one_second(at: Callable[..., None]) -> None:
    for each in range(11):  # so that #10 comes after #9
        at(NOON, "promote", f"v1.{each % 2}.0", "--stage=production")
    assert who() == [("v1.0.0", 100)]
    assert [each.number for each in registry.open_registry().ledger()] == list(range(1, 12))


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T25:00", "12:00", "1"])
@pytest.mark.usefixtures("champion")
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match="is no time; give ISO 8601"):
        do("which-model", f"--at={text}")


# show and diff


@pytest.mark.usefixtures("champion")
def test_show_and_diff_print_what_a_version_is_made_of(
    project: Path, name: str, said: Callable[..., str]
) -> None:
    for reference in ("v1.0.0", f"{name}@v1.0.0", "production", f"{name}#production"):
        shown = said("show", reference)
        assert shown.startswith(f"{name}@v1.0.0\n\n")
        assert yaml.safe_load(shown.partition("\n\n")[2]) == message(project, f"{name}@v1.0.0")
    printed = said("diff", "production", "v1.1.0").splitlines()
    rows = {row[0]: row[1:] for row in map(str.split, printed)}
    assert rows.pop("-") == ["v1.0.0", "v1.1.0"]
    assert rows["figures.loss"] == [str(1 / 7), str(2 / 7)]
    assert rows["params.seed"] == ["1", "2"]
    assert set(rows) == {
        *("commit", "model", "serving", "parameters", "metrics", "gate.sha256"),
        *("gate.model", "figures.loss", "params.seed"),
    }


# fetch


@pytest.mark.usefixtures("champion")
def test_fetch_brings_a_version_out_of_the_cache(project: Path, name: str) -> None:
    there = project / "models" / "fetched"
    for reference, content in (
        ("v1.1.0", b"model 2"),
        (f"{name}@v1.0.0", b"model 1"),
        ("v1.1.0", b"model 2"),
        ("production", b"model 1"),
        (f"{name}#production", b"model 1"),
    ):
        do("fetch", reference)
        assert (there / "model.onnx").read_bytes() == content
        assert len(list(there.iterdir())) == 5
    assert (project / "models" / "serving" / "model.onnx").read_bytes() == b"model 2"
    with pytest.raises(VersionError, match="staging holds no version yet"):
        do("fetch", "staging")


def test_fetch_replaces_nothing_but_a_model(project: Path) -> None:
    do("register")
    for there in ("src", "params.yaml"):
        with pytest.raises(VersionError, match=f"{there} exists and holds no model; name another"):
            do("fetch", "v1.0.0", f"--to={there}")
    assert (project / "src" / "code.py").exists()


@pytest.mark.usefixtures("champion")
def test_a_model_that_is_not_the_versions_is_not_fetched(project: Path, name: str) -> None:
    do("fetch", "v1.1.0")
    tag = f"{name}@v1.0.0"
    content = message(project, tag)
    forge(project, tag, f"{tag}^0", {**content, "model": "f" * 64})
    with pytest.raises(VersionError, match=f"but tag {tag} says {'f' * 64}"):
        do("fetch", "v1.0.0")
    forge(project, tag, f"{tag}^0", content)
    (cached,) = (
        path
        for path in (project / ".dvc" / "cache" / "files").rglob("*")
        if path.is_file() and path.read_bytes() == b"model 1"
    )
    cached.chmod(0o644)
    cached.write_bytes(b"altered")
    with pytest.raises(ProjectError):
        do("fetch", "v1.0.0")
    assert (project / "models" / "fetched" / "model.onnx").read_bytes() == b"model 2"
    assert sorted(path.name for path in (project / "models").iterdir()) == ["fetched", "serving"]


def test_fetch_asks_the_remote_for_what_the_cache_lacks(project: Path, tmp_path: Path) -> None:
    do("register")
    shutil.move(project / ".dvc" / "cache", tmp_path / "cache")
    with pytest.raises(VersionError, match="no remote ''; make remote URL="):
        do("fetch", "v1.0.0")
    with (project / ".dvc" / "config").open("a", encoding="utf-8", newline="\n") as config:
        config.write(f"    remote = ours\n['remote \"ours\"']\n    url = {tmp_path / 'remote'}\n")
    (tmp_path / "remote").mkdir()
    with pytest.raises(VersionError, match="remote ours .* lacks the model of v1.0.0.*make push"):
        do("fetch", "v1.0.0")
    assert not (project / "models" / "fetched").exists()
    shutil.copytree(tmp_path / "cache", tmp_path / "remote", dirs_exist_ok=True)
    do("fetch", "v1.0.0")
    assert (project / "models" / "fetched" / "model.onnx").read_bytes() == b"model 1"


# origin


@pytest.fixture
def origin(project: Path, tmp_path: Path) -> Path:
    """A bare repository that the project pushes to."""
    git(tmp_path, "clone", "--quiet", "--bare", str(project), "origin")
    git(project, "remote", "add", "origin", str(tmp_path / "origin"))
    return tmp_path / "origin"


@pytest.fixture
def other(project: Path, origin: Path, tmp_path: Path) -> Path:  # noqa: ARG001  (made first)
    """The clone of somebody else, with the same model."""
    shutil.copytree(project, tmp_path / "other")
    git(tmp_path / "other", "config", "user.name", "Bob")
    return tmp_path / "other"


def test_tags_are_pushed_and_those_of_others_come(
    project: Path, origin: Path, other: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do("register")
    assert made(origin) == [f"{name}@v1.0.0"]
    monkeypatch.chdir(other)
    do("promote", "v1.0.0", "--stage=staging")
    monkeypatch.chdir(project)
    do("promote", "v1.0.0", "--stage=production")
    assert made(origin) == [f"{name}#production#2", f"{name}#staging#1", f"{name}@v1.0.0"]
    assert made(project) == made(origin)


def test_tags_from_before_there_was_an_origin_are_pushed_with_the_next(
    project: Path, tmp_path: Path, name: str, said: Callable[..., str]
) -> None:
    assert "it is local, since git has no remote origin" in said("register")
    git(tmp_path, "clone", "--quiet", "--bare", "--no-tags", f"file://{project}", "origin")
    git(project, "remote", "add", "origin", str(tmp_path / "origin"))
    git(project, "config", "fetch.prune", "true")
    do("promote", "v1.0.0", "--stage=production")
    assert made(tmp_path / "origin") == [f"{name}#production#1", f"{name}@v1.0.0"]


def test_who_is_second_records_nothing_and_is_told_who_was_first(
    project: Path, origin: Path, other: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = f"{name}@v1.0.0"
    do("register")
    monkeypatch.chdir(other)
    train(other, 2)
    with monkeypatch.context() as patch:  # the first has pushed after the second has fetched
        patch.setattr(registry, "synchronise", lambda _: None)
        with pytest.raises(VersionError, match=f"{tag} was made by Ann .*run this again"):
            do("register")
    assert made(other) == [tag]
    assert git(other, "rev-parse", tag) == git(origin, "rev-parse", tag)
    do("register")
    assert made(origin) == [tag, f"{name}@v1.1.0"]
    do("promote", "v1.1.0", "--stage=production")
    monkeypatch.chdir(project)
    tag = f"{name}#production#1"
    with monkeypatch.context() as patch:
        patch.setattr(registry, "synchronise", lambda _: None)
        with pytest.raises(VersionError, match=f"{tag} was made by Bob .*run this again"):
            do("promote", "v1.0.0", "--stage=production")
    assert who() == [("v1.1.0", 100)]


def test_two_at_once_leave_one_ledger(
    project: Path, origin: Path, other: Path, package: str
) -> None:
    do("register")
    start = [sys.executable, "-m", package, "registry", "promote", "v1.0.0", "--stage=production"]
    both = [
        subprocess.Popen(
            [*start, f"--digest=sha256:{digit * 64}"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder, digit in ((project, "a"), (other, "b"))
    ]
    ends = [(process.communicate(timeout=60), process.returncode) for process in both]
    won = [code for _, code in ends].count(0)
    assert won in (1, 2), ends
    assert len([tag for tag in made(origin) if "#" in tag]) == won
    for (_, error), code in ends:
        assert code == 0 or "who was first" in error


def test_an_origin_that_takes_or_answers_nothing_leaves_no_tag(project: Path, origin: Path) -> None:
    hook = origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(VersionError, match=r"(?s)not today.*does not take .*nothing is recorded"):
        do("register")
    origin.rename(origin.with_name("gone"))
    with pytest.raises(
        VersionError, match=r"(?s)gone|cannot be taken over, so nothing is recorded"
    ):
        do("register")
    assert made(project) == []


def test_a_push_whose_answer_is_lost_counts(
    project: Path, origin: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tags.git

    def deaf(*arguments: str, given: str = "") -> str:
        answer = plain(*arguments, given=given)
        if arguments[0] == "push":
            raise VersionError("the line broke")
        return answer

    monkeypatch.setattr(tags, "git", deaf)
    do("register")
    assert made(project) == made(origin) == [f"{name}@v1.0.0"]


def test_a_tag_that_was_moved_at_origin_is_refused(project: Path, origin: Path, name: str) -> None:
    do("register")
    tag = f"{name}@v1.0.0"
    before = git(project, "rev-parse", tag)
    git(origin, "tag", "--force", tag, "main")
    with pytest.raises(VersionError, match=r"(?s)would clobber existing tag.*it was moved"):
        do("promote", "v1.0.0", "--stage=production")
    assert made(project) == [tag]
    assert git(project, "rev-parse", tag) == before
