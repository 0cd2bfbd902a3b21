"""What a team runs in a generated project works there, from the first command on."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import LONGEST, ODD
from conftest import Project, outside, run_in
from machine import free_port, pythons, started, train

FIRST_COMMIT = "Project as the template generated it"


# --- the repository that make brings along -------------------------------------------------------


def log(folder: Path) -> list[str]:
    printed = run_in(folder, "git", "log", "--format=%an%x09%s%x09%G?", check=False).stdout
    return printed.splitlines()


def settings(folder: Path, **values: str) -> dict[str, str]:
    """Environment of a user with these settings of git, and no others."""
    file = folder / "settings"
    for name, value in values.items():
        run_in(folder, "git", "config", "--file", file, name.replace("__", "."), value)
    return {"GIT_CONFIG_GLOBAL": str(file)}


def test_make_makes_the_repository_once(fresh: Callable[..., Project], tmp_path: Path) -> None:
    project = fresh()
    env = settings(tmp_path, user__name="Somebody", user__email="somebody@localhost")
    project.run("make", "repository", env=env)
    assert log(project.path) == [f"Somebody\t{FIRST_COMMIT}\tN"]
    assert project.run("git", "status", "--porcelain").stdout == ""
    tracked = set(project.run("git", "ls-files", "-z").stdout.split("\0")) - {""}
    assert tracked == {str(file) for file in project.files() if file.parts[0] != ".git"}
    again = project.run("make", "repository", env=env)
    assert len(log(project.path)) == 1
    assert again.stderr == ""


def test_make_commits_without_an_identity(fresh: Callable[..., Project], tmp_path: Path) -> None:
    project = fresh()
    # Without this, git takes the name of the user and of the machine.
    env = settings(tmp_path, user__useConfigOnly="true")
    made = project.run("make", "repository", env=env)
    assert log(project.path) == [f"Project template\t{FIRST_COMMIT}\tN"]
    assert "git config user.name" in made.stderr


def test_make_commits_where_signing_is_on(fresh: Callable[..., Project], tmp_path: Path) -> None:
    project = fresh()
    env = settings(
        tmp_path,
        user__name="Somebody",
        user__email="somebody@localhost",
        commit__gpgsign="true",
        gpg__program="false",
    )
    made = project.run("make", "repository", env=env)
    assert log(project.path) == [f"Somebody\t{FIRST_COMMIT}\tN"]
    assert "unsigned although signing is on" in made.stderr


def test_make_commits_what_the_user_ignores_elsewhere(
    fresh: Callable[..., Project], tmp_path: Path
) -> None:
    project = fresh()
    (tmp_path / "ignored").write_text("*.yaml\nscripts/\n", encoding="utf-8")
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    env = settings(
        tmp_path, core__excludesFile=str(tmp_path / "ignored"), core__hooksPath=str(hook.parent)
    )
    project.run("make", "repository", env=env)
    assert project.run("git", "ls-files", "contract.yaml", "scripts").stdout.count("\n") > 1


def test_make_makes_no_repository_inside_another(
    fresh: Callable[..., Project], tmp_path: Path
) -> None:
    project = fresh()
    run_in(project.path.parent, "git", "init", "--quiet")
    made = project.run("make", "repository")
    assert f"inside the repository {project.path.parent}" in made.stderr
    assert not (project.path / ".git").exists()
    assert log(project.path) == []


def test_make_help_lists_what_it_can(project: Project) -> None:
    printed = project.run("make").stdout
    targets = "setup train push pull remote settle serve test check smoke image update"
    for target in targets.split():
        assert f"make {target} " in printed
        assert f".PHONY: {target}\n" in project.read("Makefile")


@pytest.mark.slow
def test_make_brings_uv_along(fresh: Callable[..., Project], tmp_path: Path) -> None:
    project = fresh()
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("make", "sh", "git"):
        (bare / name).symlink_to(shutil.which(name) or name)
    (bare / "python3").symlink_to(Path(sys.executable).resolve())
    made = project.run("make", "repository", env={"PATH": str(bare)})
    assert "uv is not installed: putting it into .tools" in made.stderr
    assert (project.path / ".tools" / "bin" / "uv").is_file()
    assert project.run("git", "status", "--porcelain", "--ignored").stdout == "!! .tools/\n"


# --- the project's own suites --------------------------------------------------------------------


# Answers, Python, and targets in their order. What the default project lacks here, `check` and
# `test`, its ci.yml runs in test_workflows.py, each on a fresh clone. The suite of the odd one runs
# on an adopted table, in test_adopted_suite.py; what `check` says does not depend on its answers.
SUITES: dict[str, tuple[dict[str, str], int | None, tuple[str, ...]]] = {
    "default": ({}, None, ("train",)),
    "regression-oldest": (
        {
            "task": "regression",
            "cloud": "none",
            "tuning": "yes",
            "licence": "Apache-2.0",
            **LONGEST,
        },
        0,
        ("check", "test", "train"),
    ),
    "odd-newest": (ODD, -1, ("train",)),
}


@pytest.mark.slow
@pytest.mark.suite
@pytest.mark.parametrize("name", SUITES)
def test_suites_of_the_project_pass(
    name: str,
    fresh: Callable[..., Project],
    shared: Path,
    project: Project,
    run_suite: Callable[[Project, dict[str, str]], str],
) -> None:
    answers, index, targets = SUITES[name]
    made = fresh(**answers)
    env = {} if index is None else {"UV_PYTHON": str(pythons()[index])}
    made.run("make", "repository", env=env)
    for target in targets:
        if target == "test":
            # As teams run it, by several processes.
            run_suite(made, {**env, "PYTEST_XDIST_AUTO_NUM_WORKERS": "2"})
        else:
            made.run("make", target, env=env)
    new = made.run("git", "status", "--porcelain").stdout
    assert new == "?? data/reference.json\n?? docs/openapi.json\n?? dvc.lock\n"
    again = made.run("make", "train", env=env)
    assert re.findall(r"Running stage '(\w+)'", again.stdout + again.stderr) == ["champion"]
    if name == "default":
        assert_same_model(made, train(shared, project))
        assert_what_git_keeps_is_made_again(made)
        assert_service_answers(made)
        assert_architecture_bites(made)


@pytest.mark.slow
def test_another_user_in_another_folder_trains_the_same_model(
    project: Project, shared: Path
) -> None:
    """Somebody who may read nothing of ours, with a Python and an environment of their own."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    python = Path("/usr/bin/python3")
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        other = Project(Path(home) / "elsewhere", project.answers)
        shutil.copytree(project.path, other.path)
        env = {"UV_PYTHON": str(python), "UV_LINK_MODE": "copy"}
        other.run("uv", "sync", "--locked", "--quiet", env=env)
        run_in(other.path, "chown", "--recursive", "12345:12345", home)
        become = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--")
        for stage in ("ingest", "validate", "split", "train", "champion", "evaluate", "export"):
            command = (*become, other.path / ".venv/bin/python", "-m", other.package.name, stage)
            other.run(*command, env={"HOME": home})
        assert (other.path / "models" / "candidate").stat().st_uid == 12345
        assert_same_model(train(shared, project), other, "candidate")


def assert_same_model(one: Project, other: Project, folder: str = "serving") -> None:
    """Two runs of the pipeline gave the same files, byte for byte."""
    files = sorted(path.name for path in (one.path / "models" / "serving").iterdir())
    assert "model.onnx" in files
    for file in files:
        mine = (one.path / "models" / "serving" / file).read_bytes()
        assert mine == (other.path / "models" / folder / file).read_bytes(), file


def assert_what_git_keeps_is_made_again(made: Project) -> None:
    """DVC's cache answers for the other stages, which is no reason to have none."""
    names = ("data/reference.json", "docs/openapi.json")
    before = [made.read(name) for name in names]
    for name in (*names, "dvc.lock"):
        (made.path / name).unlink()
    again = made.run("make", "train").stdout
    assert set(re.findall(r"Running stage '(\w+)'", again)) == {"validate", "champion", "api"}
    assert [made.read(name) for name in names] == before


def assert_service_answers(made: Project) -> None:
    port = free_port()
    command = ("make", "--directory", made.path, "serve", f"PORT={port}")
    with started(*command, ready=f"http://127.0.0.1:{port}/health/ready", env=outside()):
        made.run("make", "smoke", f"URL=http://127.0.0.1:{port}")


def assert_architecture_bites(made: Project) -> None:
    module = made.package / "serving" / "predictor.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text + "\nfrom ..training import train\n", encoding="utf-8")
    test = ("uv", "run", "--locked", "pytest", "--no-cov", "tests/architecture")
    failed = made.run(*test, check=False)
    assert failed.returncode == 1
    assert f"{made.package.name}.serving.predictor -> {made.package.name}.training" in failed.stdout
    module.write_text(text, encoding="utf-8")
    made.run(*test)
