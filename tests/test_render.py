"""Every set of answers gives a project whose every file is right as it stands."""

import ast
import filecmp
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from answers import HOSTILE, QUESTIONS, ROOT, SETS
from conftest import Project, bake, run_in
from markdown_it import MarkdownIt
from reading import read_file, read_markdown

PRODUCT = "{{cookiecutter.project_slug}}"
TAG = re.compile(r"\{\{[-+]?\s*_?cookiecutter|\{%|(?<!\$)\{#")
# A team will own every line: files besides Terraform's and __init__.py, and its package's code.
MOST_FILES, MOST_LINES = 190, 8800


@pytest.fixture(params=SETS)
def made(request: pytest.FixtureRequest, render: Callable[..., Project]) -> Project:
    """A project of each set of answers."""
    return render(**SETS[request.param])


def test_each_file_is_right_for_its_format(made: Project) -> None:
    for file in made.files():
        raw = (made.path / file).read_bytes()
        assert b"\r" not in raw, file
        if file.name != "__init__.py":
            assert raw.endswith(b"\n"), file
        # A page of the package has tags of its own.
        tag = re.compile("cookiecutter") if file.suffix == ".html" else TAG
        assert not tag.search(raw.decode("utf-8")), file
        read_file(made.path / file)


def anchors(text: str) -> set[str]:
    """The names under which GitHub finds the headings."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found = set()
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open":
            plain = re.sub(r"[^\w\- ]", "", content.content.lower())
            found.add(plain.replace(" ", "-"))
    return found


def test_the_score_names_tests_that_are_there(project: Project) -> None:
    text = project.read("docs/ml-test-score.md")
    named = re.findall(r"`(test_\w+)` in \[\w+\.py\]\(\.\./(tests/[^)]+)\)", text)
    assert len(named) == len(re.findall("`test_", text)) > 8
    for name, file in named:
        assert f"def {name}(" in project.read(file), f"{file} has no {name}"
    for section, claimed in re.findall(
        r"^## \w+: ([\d.]+) of 7\n(.*?)(?=^## |\Z)", text, re.M | re.S
    ):
        points = [float(each) for each in re.findall(r"\| ([\d.]+) \|$", claimed, re.M)]
        assert (len(points), sum(points)) == (7, float(section))
        assert float(section) >= 5


def test_links_between_pages_lead_somewhere(made: Project) -> None:
    for file in made.files():
        if file.suffix != ".md":
            continue
        for link in read_markdown(made.read(str(file))):
            target, _, anchor = link.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            page = (made.path / file.parent / target) if target else made.path / file
            assert page.exists(), f"{file}: {link}"
            if anchor:
                assert anchor in anchors(page.read_text(encoding="utf-8")), f"{file}: {link}"


def test_lock_file_fits(made: Project) -> None:
    made.run("uv", "lock", "--check", "--offline")


def ruff(*args: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_in(folder, sys.executable, "-m", "ruff", *args, "--no-cache", check=False)


def test_format_and_style_need_no_change(made: Project) -> None:
    for command in (("format", "--check", "--diff"), ("check",)):
        result = ruff(*command, ".", folder=made.path)
        assert result.returncode == 0, result.stdout + result.stderr


def test_source_of_the_template_is_python_as_it_stands(template: Path, project: Project) -> None:
    config = project.path / "pyproject.toml"
    source = template / PRODUCT / "src"
    for command in (("format", "--check"), ("check", "--ignore", "N999")):
        result = ruff(*command, "--config", config, source, folder=template)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "No Python files found" not in result.stderr


def test_project_and_workshop_lock_the_same_ruff() -> None:
    versions = [
        {each["name"]: each["version"] for each in tomllib.loads(text)["package"]}["ruff"]
        for text in (
            (ROOT / "uv.lock").read_text(encoding="utf-8"),
            (ROOT / PRODUCT / "uv.lock").read_text(encoding="utf-8"),
        )
    ]
    assert versions[0] == versions[1], "run `make lock`"


def test_verbatim_files_arrive_letter_for_letter(template: Path, project: Project) -> None:
    seen = 0
    for pattern in QUESTIONS["_copy_without_render"]:
        for path in (template / PRODUCT).glob(pattern + "/*"):
            name = str(path.relative_to(template / PRODUCT))
            made = project.path / name.replace("{{cookiecutter.package_name}}", "credit_risk")
            if path.is_file() and made.exists():
                assert made.read_bytes() == path.read_bytes(), name
                assert b"cookiecutter" not in path.read_bytes(), name
                seen += b"${{" in path.read_bytes()
    assert seen > 1, "no workflow with an expression was compared"


def test_two_renders_are_equal(template_repository: Path, tmp_path: Path) -> None:
    paths = [bake(template_repository, tmp_path / each, HOSTILE) for each in ("a", "b")]
    first, second = (Project(path, HOSTILE) for path in paths)
    assert first.files() == second.files()
    for file in first.files():
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes(), file
        assert (first.path / file).stat().st_mode == (second.path / file).stat().st_mode, file


def test_only_scripts_are_executable(made: Project) -> None:
    for file in made.files():
        if os.access(made.path / file, os.X_OK) and (made.path / file).stat().st_mode & 0o111:
            assert (made.path / file).read_bytes().startswith(b"#!"), file


def test_nothing_private_ships(project: Project) -> None:
    names = {part for file in project.files() for part in file.parts}
    assert not names & {"__pycache__", ".ruff_cache", ".venv", ".DS_Store", "dvc.lock"}


def lines_of_code(text: str) -> int:
    """Lines without the blank ones, comments and docstrings."""
    nothing = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = [token for token in tokens if token.type not in nothing]
    lines = {line for each in code for line in range(each.start[0], each.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_lines_of_code_leaves_out_what_only_explains() -> None:
    code = ['"""Says."""', "", "X = 1  # one", '"""Why', 'so."""', "# no", "Y = (", "    2", ")"]
    assert lines_of_code("\n".join(code)) == 4


def test_budget_of_files_and_lines(
    project: Project, record_property: Callable[[str, object], None]
) -> None:
    files = [
        file
        for file in project.files()
        if file.parts[0] != "terraform" and file.name not in ("__init__.py", ".cruft.json")
    ]
    lines = sum(
        lines_of_code(path.read_text(encoding="utf-8")) for path in project.package.rglob("*.py")
    )
    record_property("files of a project", f"{len(files)} of {MOST_FILES}")
    record_property("lines of its package", f"{lines} of {MOST_LINES}")
    assert len(files) <= MOST_FILES
    assert lines <= MOST_LINES


# Where an answer is meant to arrive, read by the file's own parser. A text goes nowhere else.
MEANT: dict[str, dict[str, Callable[[Project], object]]] = {
    "project_name": {
        "README.md": lambda made: made.read("README.md").splitlines()[0][2:],
        "contract.yaml": lambda made: contract(made)["title"],
    },
    "description": {
        "contract.yaml": lambda made: contract(made)["description"],
        "README.md": lambda made: made.read("README.md").splitlines()[2],
        "pyproject.toml": lambda made: pyproject(made)["description"],
    },
    "owner": {
        "LICENSE": lambda made: made.read("LICENSE").splitlines()[2][len("Copyright (c) ") :],
        "pyproject.toml": lambda made: pyproject(made)["authors"][0]["name"],
        "ops/project.json": lambda made: json.loads(made.read("ops/project.json"))["repository"][
            : -len("/odd-names")
        ],
    },
}


def contract(made: Project) -> dict[str, Any]:
    return yaml.safe_load(made.read("contract.yaml"))


def pyproject(made: Project) -> dict[str, Any]:
    return tomllib.loads(made.read("pyproject.toml"))["project"]


@pytest.mark.parametrize("question", MEANT)
def test_text_arrives_unchanged_where_it_is_meant(
    question: str, render: Callable[..., Project]
) -> None:
    made = render(**HOSTILE)
    for file, get in MEANT[question].items():
        assert get(made) == HOSTILE[question], file


@pytest.mark.parametrize("question", MEANT)
def test_text_arrives_nowhere_else(question: str, render: Callable[..., Project]) -> None:
    marker = f"marker of {question}"
    made = render(project_slug="odd-names", package_name="odd_names", **{question: marker})
    found = {str(file) for file in made.files() if marker in made.read(str(file))}
    assert found == set(MEANT[question])


@pytest.mark.parametrize("licence", QUESTIONS["licence"])
def test_licence_is_the_one_chosen(licence: str, render: Callable[..., Project]) -> None:
    made = render(licence=licence)
    first = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "LicenseRef-Proprietary": "Copyright (c) example-org. All rights reserved.",
    }[licence]
    text = made.read("LICENSE")
    assert text.strip().splitlines()[0].strip() == first
    assert "example-org" in text
    assert pyproject(made)["license"] == licence


@pytest.mark.parametrize("package", ["data", "models", "logs", "notebooks", "dist", "reports"])
def test_git_takes_every_file(package: str, fresh: Callable[..., Project]) -> None:
    made = fresh(package_name=package, project_slug=package)
    made.run("git", "init", "--quiet")
    ignored = made.run("git", "ls-files", "--others", "--ignored", "--exclude-standard")
    assert ignored.stdout == ""


def test_clone_with_windows_line_ends(template_repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    run_in(tmp_path, "git", *windows, "clone", "--quiet", template_repository, clone)
    made = Project(bake(clone, tmp_path, {}), {})
    for file in made.files():
        assert b"\r" not in (made.path / file).read_bytes(), file
    made.run("git", "init", "--quiet")
    attributes = made.run("git", "check-attr", "eol", "Makefile", "Dockerfile", "scripts/update.sh")
    assert attributes.stdout.count("eol: lf") == 3


def same(left: Path, right: Path) -> bool:
    compared = filecmp.dircmp(left, right, ignore=[])
    differing = compared.left_only + compared.right_only + compared.diff_files
    return not differing and all(same(left / name, right / name) for name in compared.common_dirs)


def test_replay_gives_the_same_project(template: Path, project: Project, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "cookiecutter", template, "--output-dir", tmp_path / "again")
    home = {"HOME": str(tmp_path)}
    run_in(tmp_path, *command[:-1], tmp_path / "first", "--no-input", env=home)
    (saved,) = (tmp_path / ".cookiecutter_replay").iterdir()
    run_in(tmp_path, *command, "--replay-file", saved, env=home)
    assert same(project.path, tmp_path / "again" / "credit-risk")

    # A file that an older template saved: cookiecutter asks for what is missing.
    content = json.loads(saved.read_bytes())
    del content["cookiecutter"]["licence"]
    saved.write_text(json.dumps(content), encoding="utf-8")
    older = (*command[:-1], tmp_path / "older", "--replay-file", saved)
    assert run_in(tmp_path, *older, env=home, check=False).returncode == 1
    assert not (tmp_path / "older").exists()
    run_in(tmp_path, *older, env=home, input="\n")
    assert same(project.path, tmp_path / "older" / "credit-risk")
