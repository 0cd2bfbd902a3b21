"""`make update` brings a newer template, keeps the team's changes, and never hides a conflict."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import HOSTILE
from conftest import Project, bake, commit_all, run_in

pytestmark = pytest.mark.slow

PRODUCT = "{{cookiecutter.project_slug}}"
CRUFT = ("uv", "tool", "run", "--quiet", "--with", "typer<0.26", "cruft@2.16.0")


class Template:
    """A clone of the template that makes releases."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        return self.path / PRODUCT / name

    def replace(self, name: str, old: str, new: str) -> None:
        replace(self.file(name), old, new)

    def release(self, tag: str) -> str:
        commit = commit_all(self.path, f"Release {tag}")
        run_in(self.path, "git", "tag", tag)
        return commit


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def releases(template_repository: Path, tmp_path: Path) -> Template:
    """A template whose first release, v1.0.0, is the present one."""
    path = tmp_path / "template"
    run_in(tmp_path, "git", "clone", "--quiet", template_repository, path)
    run_in(path, "git", "tag", "v1.0.0")
    return Template(path)


@pytest.fixture
def team(releases: Template, tmp_path: Path) -> Callable[..., Project]:
    """Makes a project from the template, with its first commit, as a team would."""

    def made(**answers: str) -> Project:
        project = Project(bake(releases.path, tmp_path / "team", answers), answers)
        project.run("make", "repository")
        return project

    return made


def cruft_file(project: Project) -> dict[str, Any]:
    return json.loads(project.read(".cruft.json"))


def update(project: Project, *args: str, **env: str) -> tuple[int, str]:
    result = project.run("make", "update", *args, env=env, check=False)
    return result.returncode, result.stdout + result.stderr


def newer(template: Template) -> str:
    """A release that changes a rendered file and a verbatim one, and brings a file."""
    template.replace(".editorconfig", "root = true", "# newer\nroot = true")
    template.replace(".github/workflows/ci.yml", "name:", "# newer\nname:")
    template.file("docs").mkdir(exist_ok=True)
    page = "# News of {{ cookiecutter.package_name }}\n"
    template.file("docs/news.md").write_text(page, encoding="utf-8")
    return template.release("v1.1.0")


@pytest.mark.parametrize(
    "answers",
    [{}, {"task": "regression", "cloud": "none", "licence": "Apache-2.0"}, HOSTILE],
    ids=["default", "regression", "hostile"],
)
def test_update_brings_the_newer_and_keeps_the_edits(
    answers: dict[str, str], releases: Template, team: Callable[..., Project]
) -> None:
    project = team(**answers)
    with (project.path / ".editorconfig").open("a", encoding="utf-8") as file:
        file.write("\n[*.ours]\nindent_size = 3\n")
    (project.path / "ours.txt").write_text("ours\n", encoding="utf-8")
    (project.path / "CONTRIBUTING.md").unlink()
    commit_all(project.path, "Our edits")

    commit = newer(releases)
    code, printed = update(project)
    assert code == 0, printed
    assert project.read(".editorconfig").startswith("# newer\nroot = true\n")
    assert project.read(".editorconfig").endswith("\n[*.ours]\nindent_size = 3\n")
    assert project.read(".github/workflows/ci.yml").startswith("# newer\nname:")
    assert project.read("docs/news.md") == f"# News of {project.package.name}\n"
    assert project.read("ours.txt") == "ours\n"
    assert not (project.path / "CONTRIBUTING.md").exists()
    assert cruft_file(project)["commit"] == commit
    assert cruft_file(project)["checkout"] == "v1.1.0"
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").stdout
    assert sorted(line[3:] for line in changed.splitlines()) == [
        ".cruft.json",
        ".editorconfig",
        ".github/workflows/ci.yml",
        "docs/news.md",
    ]
    for key, value in answers.items():
        assert cruft_file(project)["context"]["cookiecutter"][key] == value

    commit_all(project.path, "Update the template")
    releases.replace("docs/news.md", "News", "More news")
    second = releases.release("v1.2.0")
    code, printed = update(project)
    assert code == 0, printed
    assert project.read("docs/news.md") == f"# More news of {project.package.name}\n"
    assert project.read(".editorconfig").endswith("\n[*.ours]\nindent_size = 3\n")
    assert cruft_file(project)["commit"] == second


@pytest.mark.parametrize("pristine", [True, False], ids=["first-commit", "no-first-commit"])
def test_conflict_is_a_failure(
    pristine: bool, releases: Template, team: Callable[..., Project]
) -> None:
    project = team()
    if not pristine:  # then git cannot merge, and cruft leaves files of rejects
        shutil.rmtree(project.path / ".git")
        project.run("git", "init", "--quiet")
    replace(project.path / ".editorconfig", "root = true", "root = true  # ours")
    commit_all(project.path, "Our edit")
    newer(releases)
    releases.replace(".editorconfig", "root = true", "root = true  # theirs")
    releases.release("v1.2.0")
    code, printed = update(project)
    assert code != 0
    assert "\n.editorconfig" in printed
    assert "need your hand" in printed


def test_option_goes_off_and_on_again(releases: Template, team: Callable[..., Project]) -> None:
    project = team()
    before = {str(file) for file in project.files() if file.parts[0] != ".git"}
    (project.path / "ours.txt").write_text("ours\n", encoding="utf-8")
    commit_all(project.path, "Our edit")
    for choice in ("none", "aws"):
        variables = json.dumps({"cloud": choice})
        project.run(*CRUFT, "update", "--skip-apply-ask", "--variables-to-update", variables)
        commit_all(project.path, f"Switch the cloud to {choice}")
        assert (project.path / "terraform").exists() == (choice == "aws")
        assert (project.path / "ops" / "project.json").exists() == (choice == "aws")
    after = {str(file) for file in project.files() if file.parts[0] != ".git"}
    assert after == before | {"ours.txt"}


def test_update_writes_in_the_project_alone(
    releases: Template, team: Callable[..., Project], tmp_path: Path
) -> None:
    project = team()
    newer(releases)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()

    def around() -> dict[str, int]:
        return {
            str(path): zlib.crc32(path.read_bytes())
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.is_relative_to(project.path)
        }

    before = around()
    code, printed = update(project, HOME=str(home), TMPDIR=str(temporary))
    assert code == 0, printed
    left = {
        path
        for path in around().items() - before.items()
        # cookiecutter leaves its rendered hooks behind, uv its tools.
        if not path[0].startswith((f"{temporary}/tmp", f"{home}/.local/share/uv"))
    }
    assert left == set()


@pytest.mark.parametrize(
    "settings",
    [
        ("diff.mnemonicPrefix=true", "color.ui=always", "status.showUntrackedFiles=no"),
        ("diff.noprefix=true", "diff.renames=copies", "core.autocrlf=input"),
    ],
    ids=["mnemonicPrefix", "noprefix"],
)
def test_settings_of_git_do_not_matter(
    settings: tuple[str, ...], releases: Template, team: Callable[..., Project], tmp_path: Path
) -> None:
    project = team()
    newer(releases)
    for name, _, value in (setting.partition("=") for setting in settings):
        run_in(tmp_path, "git", "config", "--file", tmp_path / "settings", name, value)
    code, printed = update(project, GIT_CONFIG_GLOBAL=str(tmp_path / "settings"))
    assert code == 0, printed
    commit_all(project.path, "Update the template")
    assert project.read(".editorconfig").startswith("# newer\n")
    assert project.read("docs/news.md").startswith("# News")
    assert project.run("git", "ls-files", "--deleted").stdout == ""


def test_file_that_the_template_renamed_keeps_the_edit(
    releases: Template, team: Callable[..., Project]
) -> None:
    project = team()
    with (project.path / ".dockerignore").open("a", encoding="utf-8") as file:
        file.write("\nours\n")
    commit_all(project.path, "Our edit")
    releases.file(".dockerignore").rename(releases.file("Dockerfile.dockerignore"))
    releases.release("v1.1.0")
    code, printed = update(project)
    assert code == 0, printed
    assert project.read("Dockerfile.dockerignore").endswith("\nours\n")
    assert not (project.path / ".dockerignore").exists()


def test_what_cannot_be_applied_is_a_conflict(
    releases: Template, team: Callable[..., Project]
) -> None:
    """A file that one side deleted and the other changed, and one that both sides added."""
    project = team()
    replace(project.path / ".editorconfig", "root = true", "root = true  # ours")
    (project.path / "docs").mkdir(exist_ok=True)
    (project.path / "docs" / "news.md").write_text("# Ours\n", encoding="utf-8")
    commit_all(project.path, "Our edits")
    newer(releases)
    code, printed = update(project)
    assert code != 0, printed
    assert "\ndocs/news.md" in printed.partition("need your hand")[2]
    assert project.read("docs/news.md").count("# Ours") == 1

    project.run("git", "reset", "--quiet", "--hard")
    project.run("git", "clean", "--quiet", "--force", "-d")
    (project.path / "docs" / "news.md").unlink()
    commit_all(project.path, "Without ours")
    releases.file(".editorconfig").unlink()
    releases.release("v1.2.0")
    code, printed = update(project)
    assert code != 0, printed
    assert "\n.editorconfig" in printed.partition("need your hand")[2]


def test_update_goes_to_the_newest_release_and_no_further(
    releases: Template, team: Callable[..., Project]
) -> None:
    project = team()
    first = newer(releases)
    releases.replace(".editorconfig", "# newer", "# newest")
    second = releases.release("v1.10.0")
    releases.replace(".editorconfig", "# newest", "# not released")
    commit_all(releases.path, "Not released")

    code, printed = update(project, "TO=v1.1.0")
    assert code == 0, printed
    assert cruft_file(project)["commit"] == first
    commit_all(project.path, "Update the template")
    code, printed = update(project)
    assert code == 0, printed
    assert cruft_file(project)["commit"] == second
    assert project.read(".editorconfig").startswith("# newest\n")
    commit_all(project.path, "Update the template")
    code, printed = update(project)
    assert code == 0, printed
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_update_says_what_is_in_its_way(releases: Template, team: Callable[..., Project]) -> None:
    project = team()
    newer(releases)
    (project.path / "README.md").write_text("not committed\n", encoding="utf-8")
    code, printed = update(project)
    assert code != 0
    assert "uncommitted changes" in printed
    (project.path / ".cruft.json").unlink()
    commit_all(project.path, "Without it")
    code, printed = update(project)
    assert code != 0
    assert ".cruft.json is missing" in printed
