"""The registry of a real project: two versions, their stages, and the model on another machine."""

import json
import re
import shutil
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from act import load
from conftest import Project, commit_all, outside, run_in
from machine import dvc_cache, free_port, installed, started, train

pytestmark = pytest.mark.slow

FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC)
"""When the clocks of the European Union go forward."""
SHOWN = """
from argparse import ArgumentParser
import os, sys, time
from {package}.registry import command, registry
read = registry.open_registry()
command.open_registry = lambda: read
for line in sys.stdin:
    zone, at = line.split()
    os.environ["TZ"] = zone
    time.tzset()
    print("at", zone, at)
    command.which_model("production", at)
"""


@pytest.fixture(scope="module")
def registered(shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A trained project with an origin and a remote that others can reach; v1.0.0 serves."""
    base = tmp_path_factory.mktemp("registry")
    folder, origin = base / project.path.name, base / "origin.git"
    skip = shutil.ignore_patterns(".venv", "*_cache")
    shutil.copytree(train(shared, project).path, folder, symlinks=True, ignore=skip)
    ours = installed(Project(folder, project.answers), shared, project)
    for name, value in (("name", "Ann"), ("email", "ann@localhost")):
        ours.run("git", "config", f"user.{name}", value)
    run_in(base, "git", "init", "--quiet", "--bare", "--initial-branch=main", origin)
    ours.run("git", "remote", "add", "origin", f"file://{origin}")
    make(ours, shared, "remote", f"URL={base / 'remote'}")
    commit_all(folder, "Trained")
    ours.run("git", "push", "--quiet", "origin", "HEAD:main")
    make(ours, shared, "push")
    make(ours, shared, "register")
    return ours


def make(project: Project, shared: Path, *arguments: str, at: datetime | None = None) -> str:
    date = {"GIT_COMMITTER_DATE": at.isoformat()} if at else {}
    return project.run("make", *arguments, env={**dvc_cache(shared), **date}).stdout


def test_a_model_is_registered_promoted_fetched_served_and_rolled_back(
    registered: Project, shared: Path, tmp_path: Path
) -> None:
    name = load(registered.path / "contract.yaml")["name"]

    def ours(*arguments: str, at: datetime | None = None) -> str:
        return make(registered, shared, *arguments, at=at)

    assert f"already registered as {name}@v1.0.0" in ours("register")
    champion = ("promote", "VERSION=v1.0.0", "STAGE=production", "REASON=it's the $(first) one")
    assert "pushed to origin" in ours(*champion, at=FORWARD - timedelta(days=1))

    params = registered.path / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("max_leaf_nodes: 15", "max_leaf_nodes: 7")
    params.write_text(text, encoding="utf-8")
    refused = registered.run("make", "register", env=dvc_cache(shared), check=False)
    assert "params.yaml: not committed; make train" in refused.stderr
    ours("train")
    commit_all(registered.path, "Smaller trees")
    ours("push")
    assert f"register: {name}@v1.1.0" in ours("register")
    challenger = ("promote", "VERSION=v1.1.0", "STAGE=production")
    ours(*challenger, "SHARE=10", at=FORWARD)
    ours(*challenger, at=FORWARD + timedelta(seconds=30))
    each_second_is_answered_right(registered)
    history = ours("history")
    assert history.count("Ann <ann@localhost>") == 3
    assert ours("which-model", "AT=2026-03-29T03:00:29+02:00").count("v1.1.0   10 ") == 1
    registry = ("python", "-m", registered.package.name, "registry")
    environment = {"PATH": f"{registered.path / '.venv' / 'bin'}:{outside()['PATH']}"}
    differences = registered.run(*registry, "diff", "v1.0.0", "v1.1.0", env=environment).stdout
    assert re.search(r"accurate.parameters.max_leaf_nodes +15 +7\n", differences)
    assert re.search(r"figures.roc_auc +0\.\d+ +0\.\d+\n", differences)
    assert "contract" not in differences

    got = tmp_path / "got"
    for how, version in (("--rev=v1.0.0", "v1.0.0"), ("--stage=production", "v1.1.0")):
        get = ("dvc", "artifacts", "get", ".", name, how, "--out", got / version)
        registered.run(*get, env=environment)
        assert model(got / version) == tagged(registered, f"{name}@{version}")

    other = Project(tmp_path / "other" / registered.path.name, registered.answers)
    origin = registered.run("git", "remote", "get-url", "origin").stdout.strip()
    run_in(tmp_path, "git", "clone", "--quiet", origin, other.path)
    other.run("git", "config", "user.name", "Bob")
    other.run("git", "config", "user.email", "bob@localhost")
    other.run("git", "switch", "--quiet", "--detach", f"{name}@v1.1.0")
    assert serves(other, "MODEL=production") == tagged(registered, f"{name}@v1.1.0")
    rolled = other.run("make", "rollback", "STAGE=production", "REASON=complaints").stdout
    assert f"{name} v1.0.0 in production, share 100: {name}#production#4" in rolled
    assert serves(other, "MODEL=production") == tagged(registered, f"{name}@v1.0.0")
    other.run("make", "challenger", "VERSION=v1.1.0")
    version = f"{name}@{tagged(registered, f'{name}@v1.1.0')[:12]}"
    variants = tmp_path / "variants.yaml"
    variants.write_text(f"challenger: {version}\nshare: 100\n", encoding="utf-8")
    assert asked(other, "MODEL=production", VARIANTS_FILE=str(variants)) == version
    registered.run("git", "fetch", "--quiet", "--tags")
    assert re.search(r"champion +4 +production .* v1.0.0 +100 +- +Bob", ours("which-model"))


def each_second_is_answered_right(project: Project) -> None:
    """In three zones, from before to after both promotions."""
    asked = []
    for seconds in range(-5, 40):
        now = FORWARD + timedelta(seconds=seconds)
        expected = "100" if seconds < 0 else "90 10" if seconds < 30 else "100"
        for zone in ("Europe/Berlin", "America/New_York", "Asia/Kathmandu"):
            local = now.astimezone(ZoneInfo(zone)).isoformat()
            asked += [(zone, local, expected), (zone, f"{now:%Y-%m-%dT%H:%M:%S}", expected)]
    lines = "".join(f"{zone} {at}\n" for zone, at, _ in asked)
    script = SHOWN.format(package=project.package.name)
    python = project.path / ".venv" / "bin" / "python"
    printed = project.run(python, "-c", script, input=lines).stdout.split("at ")
    answers = [
        re.findall(r"^(?:champion|challenger) .*?  v1.\d.0 +(\d+)", each, re.M) for each in printed
    ]
    assert [" ".join(each) for each in answers if each] == [expected for *_, expected in asked]


def tagged(project: Project, tag: str) -> str:
    """The SHA-256 of the model that a version's tag names."""
    said = project.run("git", "tag", "--list", "--format=%(contents)", tag).stdout
    (found,) = re.findall(r"^model: (\w+)$", said, re.MULTILINE)
    return found


def model(folder: Path) -> str:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))["sha256"]


def serves(project: Project, variable: str) -> str:
    """Serve what make is told to, ask it, and give the SHA-256 of the model that answered."""
    version, found = asked(project, variable), model(project.path / "models" / "fetched")
    assert version.endswith(f"@{found[:12]}")
    assert not (project.path / "models" / "serving").exists()
    return found


def asked(project: Project, variable: str, **environment: str) -> str:
    """Serve what make is told to, ask it, and give the model_version of the answer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("make", "--directory", project.path, "serve", f"PORT={port}", variable)
    with started(*command, ready=f"{url}/health/ready", env=outside() | environment):
        with urllib.request.urlopen(f"{url}/openapi.json") as answer:
            operation = json.load(answer)["paths"]["/v1/predictions"]["post"]
        row = operation["requestBody"]["content"]["application/json"]["example"]
        body = json.dumps(row).encode("utf-8")
        request = urllib.request.Request(
            f"{url}/v1/predictions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["model_version"])
