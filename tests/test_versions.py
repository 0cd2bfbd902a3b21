"""Versions of data and model, shared between machines through an S3-compatible server."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from act import load
from conftest import Project, commit_all, outside, run_in
from machine import dvc_cache, free_port, installed, started, tool, train
from stores import KEYS, NO_KEYS, make_bucket, object_store, server

pytestmark = pytest.mark.slow

MADE = ("data/raw.parquet", "data/train.parquet", "models/serving/model.onnx")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server with one bucket."""
    with object_store() as address:
        yield address


@pytest.fixture(scope="module")
def pushed(
    s3: str, shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The project of somebody who has trained and pushed."""
    folder = tmp_path_factory.mktemp("first") / project.path.name
    skip = shutil.ignore_patterns(".venv", "*_cache")
    shutil.copytree(train(shared, project).path, folder, symlinks=True, ignore=skip)
    first = installed(Project(folder, project.answers), shared, project)
    env = {**dvc_cache(shared), **KEYS}
    first.run("make", "remote", "URL=s3://team/project", f"ENDPOINT={s3}", env=env)
    commit_all(folder, "A remote, and a model")
    assert (
        "files sent to remote shared (s3://team/project"
        in first.run("make", "push", env=env).stdout
    )
    return first


@pytest.fixture(scope="module")
def clone(
    pushed: Project, shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The project of somebody else, from a shallow clone; each test leaves it as committed."""
    folder = tmp_path_factory.mktemp("second") / pushed.path.name
    run_in(folder.parent, "git", "clone", "--quiet", "--depth=1", f"file://{pushed.path}", folder)
    second = installed(Project(folder, pushed.answers), shared, project)
    assert "files fetched from remote shared" in second.run("make", "pull", env=KEYS).stdout
    return second


@pytest.fixture
def other(clone: Project) -> Iterator[Project]:
    yield clone
    clone.run("git", "merge", "--abort", check=False)
    clone.run("git", "switch", "--quiet", "--discard-changes", "main")


def command(project: Project, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command of the project, as make runs it."""
    own = {**KEYS, **activated(project), **env}
    return project.run("python", "-m", project.package.name, *args, env=own, check=False)


def dvc(project: Project, *args: str) -> str:
    return project.run("dvc", *args, env=activated(project)).stdout


def activated(project: Project) -> dict[str, str]:
    return {"PATH": f"{project.path / '.venv' / 'bin'}:{outside()['PATH']}"}


def test_another_machine_has_the_same_model_and_trains_nothing(
    pushed: Project, other: Project
) -> None:
    trained = other.run("make", "train")
    assert re.findall(r"Running stage '(\w+)'", trained.stdout) == ["champion"]
    assert "repro: nothing has changed" in trained.stdout
    for name in MADE:
        assert (other.path / name).read_bytes() == (pushed.path / name).read_bytes(), name
    assert other.run("git", "status", "--porcelain").stdout == ""
    assert "0 files sent" in other.run("make", "push", env=KEYS).stdout


def test_a_shallow_clone_compares_with_its_commit_and_no_older_one(other: Project) -> None:
    text = other.read("params.yaml")
    (other.path / "params.yaml").write_text(text.replace("seed: 20", "seed: 21"), encoding="utf-8")
    assert re.search(r"params.yaml +seed +20 +21", dvc(other, "params", "diff"))
    dvc(other, "metrics", "diff")
    older = other.run("dvc", "params", "diff", "HEAD~1", env=activated(other), check=False)
    assert older.returncode
    assert "unknown Git revision 'HEAD~1'" in older.stderr


def test_no_workflow_needs_more_than_the_commit_before(project: Project) -> None:
    for path in (project.path / ".github").rglob("*.yml"):
        assert not re.search(
            r"dvc \w+ diff|HEAD(~|\^\^)|origin/|fetch-depth: [^2]", path.read_text("utf-8")
        )


def test_other_line_ends_are_reported_and_change_nothing_after(other: Project) -> None:
    source = other.path / load(other.path / "contract.yaml")["source"]["path"]
    before = {name: (other.path / name).read_bytes() for name in MADE}
    content = source.read_bytes()
    assert b"\r" not in content
    source.write_bytes(content.replace(b"\n", b"\r\n"))
    assert re.search(rf"modified: +{source.relative_to(other.path)}", dvc(other, "status"))
    trained = command(other, "repro")
    assert re.findall(r"Running stage '(\w+)'", trained.stdout) == ["ingest", "champion"], trained
    for name in MADE:
        assert (other.path / name).read_bytes() == before[name], name


@pytest.mark.parametrize("target", ["train", "pull"])
def test_two_runs_at_once_both_end_well(other: Project, target: str) -> None:
    # One of the small files, so that there is something to do.
    shutil.rmtree(other.path / "models" / "serving")
    start = ("make", "--directory", str(other.path), target)
    env = {**outside(), **KEYS}
    both = [
        subprocess.Popen(start, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].decode("utf-8") for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert (other.path / "models" / "serving" / "model.onnx").exists()


def test_a_hidden_model_is_refused_before_anything_runs(other: Project) -> None:
    ignore = other.path / ".dvcignore"
    ignore.write_text(other.read(".dvcignore") + "models/\n", encoding="utf-8")
    shutil.rmtree(other.path / "models")
    refused = command(other, "repro")
    assert refused.returncode
    assert "models/model.skops' is ignored by .dvcignore:" in refused.stderr
    assert "Running stage" not in refused.stdout
    assert "Traceback" not in refused.stderr
    other.run("git", "checkout", ".dvcignore")
    command(other, "pull")


def refusal(project: Project, address: str, **env: str) -> str:
    """What a push to a server says in the end."""
    config = project.path / ".dvc" / "config"
    config.write_text(
        re.sub("endpointurl = .*", f"endpointurl = {address}", config.read_text("utf-8")), "utf-8"
    )
    refused = command(project, "push", **env)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(f"push: remote shared (s3://team/project at {address}): "), refused
    assert "; credentials are set by AWS_ACCESS_KEY_ID" in last
    assert len(refused.stderr.splitlines()) < 4
    return last


def test_no_credentials_are_named(other: Project, s3: str) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **NO_KEYS}
    assert "Unable to locate credentials" in refusal(other, s3, **none)


def test_wrong_credentials_are_named(other: Project) -> None:
    command, address, env = server(INITIAL_NO_AUTH_ACTION_COUNT="1")
    with started(*command, ready=f"{address}/moto-api/", env=env):
        make_bucket(address)
        assert "Forbidden" in refusal(other, address)


def test_a_missing_bucket_is_named(other: Project, s3: str) -> None:
    config = other.path / ".dvc" / "config"
    config.write_text(config.read_text("utf-8").replace("//team/", "//nobody/"), "utf-8")
    refused = command(other, "pull")
    assert refused.returncode == 1
    assert f"remote shared (s3://nobody/project at {s3}): The specified bucket does not" in (
        refused.stderr
    )


def test_a_server_that_is_not_there_is_named(other: Project) -> None:
    assert "Could not connect" in refusal(other, f"http://127.0.0.1:{free_port()}")


def test_a_server_that_does_not_answer_is_given_up(other: Project) -> None:
    module = other.package / "remote.py"
    text = module.read_text(encoding="utf-8")
    assert "PATIENCE = 20\n" in text
    module.write_text(text.replace("PATIENCE = 20\n", "PATIENCE = 2\n"), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        assert "no answer in 2 s" in refusal(other, address)
        assert time.monotonic() - start < 15


def branch(project: Project, name: str, old: str, new: str) -> None:
    """A branch from main with one parameter changed, trained and committed."""
    project.run("git", "switch", "--quiet", "--create", name, "main")
    text = project.read("params.yaml")
    assert old in text
    (project.path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    dvc(project, "repro", "validate")
    commit_all(project.path, name)


def test_a_conflict_in_the_lock_is_settled_by_one_command(
    other: Project, check: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    # A comment is between them in params.yaml, so git merges that; in dvc.lock nothing is.
    branch(other, "stricter", "max_rejected_share: 0.01", "max_rejected_share: 0.005")
    branch(other, "looser", "max_drift: 0.25", "max_drift: 0.3")
    user = ("-c", "user.name=Somebody", "-c", "user.email=somebody@localhost")
    merged = other.run("git", *user, "merge", "stricter", check=False)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in merged.stdout
    refused = command(other, "repro")
    assert refused.returncode == 1
    assert re.search(
        r"dvc.lock line \d+ has the conflict marks of a merge; make settle", refused.stderr
    )
    assert check().returncode == 1
    other.run("make", "settle")
    assert other.run("git", "status", "--porcelain").stdout.split() == [
        *("M", "dvc.lock"),
        *("M", "params.yaml"),
    ]
    commit_all(other.path, "Merged")
    assert check().returncode == 0
    for value in ("max_rejected_share: 0.005", "max_drift: 0.3"):
        assert value in other.read("dvc.lock")
    assert "nothing has changed" in command(other, "repro").stdout
    other.run("git", "switch", "--quiet", "main")
    dvc(other, "checkout")


def step(project: Project, name: str) -> subprocess.CompletedProcess[str]:
    """What the workflow does in this step before it trains."""
    tool("jq")
    steps = load(project.path / ".github" / "workflows" / "ci.yml")["jobs"]["train"]["steps"]
    (script,) = (each["run"] for each in steps if each.get("name", "").startswith(name))
    return project.run("bash", "-eo", "pipefail", "-c", script, check=False)


@pytest.fixture
def check(other: Project) -> Callable[[], subprocess.CompletedProcess[str]]:
    return lambda: step(other, "dvc.lock")


def test_the_workflow_refuses_an_api_that_breaks_its_callers(other: Project) -> None:
    other.run("git", "switch", "--quiet", "--create", "broken")
    assert step(other, "No caller breaks").returncode == 0  # a first commit breaks nobody
    path = other.path / "docs" / "openapi.json"
    for gone in ("/v1/predictions", "/v1/model", ""):
        described = json.loads(path.read_text(encoding="utf-8"))
        described["paths"].pop(gone, None)
        described["info"]["description"] += "."
        path.write_text(json.dumps(described), encoding="utf-8")
        commit_all(other.path, f"Without {gone}")
        done = step(other, "No caller breaks")
        assert done.returncode == (2 if gone else 0), done.stderr
        assert not gone or f"{gone} is gone" in done.stderr


def test_the_workflow_refuses_a_stale_lock(
    other: Project, check: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    assert check().returncode == 0
    for name, old, new in (
        ("params.yaml", "seed: 20", "seed: 21"),
        ("contract.yaml", "title:", "title:  "),
        ("dvc.yaml", "credit_risk gate\n", "credit_risk  gate\n"),
    ):
        text = other.read(name)
        (other.path / name).write_text(text.replace(old, new), encoding="utf-8")
        refused = check()
        assert refused.returncode == 1, name
        assert "::error file=dvc.lock::" in refused.stdout
        assert "Run make train (after a merge make settle), and commit dvc.lock." in refused.stdout
        (other.path / name).write_text(text, encoding="utf-8")
    other.run("git", "rm", "--cached", "--quiet", "dvc.lock")
    assert check().returncode == 0  # nothing is recorded yet
    other.run("git", "reset", "--quiet")
