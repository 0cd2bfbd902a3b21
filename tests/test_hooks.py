"""The hooks refuse what a project could not live with, and leave nothing else to wish for."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import CHOICES, HOSTILE, LONGEST, ROOT, SHORTEST
from conftest import Project, bake, commit_all, run_in
from cookiecutter.exceptions import FailedHookException
from reading import read_file

lock = runpy.run_path(str(ROOT / "lock.py"))
PRE = (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
POST = (ROOT / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")

# Question, answer, what the one line has to say besides those two.
REFUSED = [
    ("package_name", "", "is not made of"),
    ("package_name", "class", "keyword of Python: type another, such as 'class_service'"),
    ("package_name", "match", "keyword of Python"),
    ("package_name", "json", "standard-library module: type another, such as 'json_service'"),
    ("package_name", "email", "standard-library module"),
    ("package_name", "csv", "standard-library module"),
    ("package_name", "string", "standard-library module"),
    ("package_name", "test", "or folders"),
    ("package_name", "compression", "one of the project's dependencies"),
    ("package_name", "fastapi", "one of the project's dependencies"),
    ("package_name", "typing_extensions", "one of the project's dependencies"),
    ("package_name", "sklearn", "one of the project's dependencies"),
    ("package_name", "yaml", "one of the project's dependencies"),
    ("package_name", "dateutil", "one of the project's dependencies"),
    ("package_name", "tests", "or folders: type another, such as 'tests_service'"),
    ("package_name", "nul", "or folders"),
    ("package_name", "Credit", "is not made of"),
    ("package_name", "credit-risk", "is not made of"),
    ("package_name", "credit risk", "is not made of"),
    ("package_name", "1credit", "is not made of"),
    ("package_name", "_credit", "is not made of"),
    ("package_name", "../credit", "is not made of"),
    ("package_name", "credit/risk", "is not made of"),
    ("package_name", "credit\\risk", "is not made of"),
    ("package_name", "crédit", "is not made of"),
    ("package_name", "credit\n", "is not made of"),
    ("package_name", "ab", "has 2 letters: type 3 to 30, such as 'credit_risk'"),
    ("package_name", "a" * 31, "has 31 letters: type 3 to 30"),
    ("project_slug", "", "is not made of"),
    ("project_slug", ".", "is not made of"),
    ("project_slug", "..", "is not made of"),
    ("project_slug", "a/b/c", "is not made of"),
    ("project_slug", "../../credit", "is not made of"),
    ("project_slug", "/credit/risk", "is not made of"),
    ("project_slug", "credit\\risk", "is not made of"),
    ("project_slug", "credit\x00", "is not made of"),
    ("project_slug", "a" * 41, "has 41 letters: type 1 to 40, such as 'credit-risk'"),
    ("project_slug", "a" * 400, "has 400 letters"),
    ("project_slug", "Credit", "single hyphens: type one such as 'credit-risk'"),
    ("project_slug", "credit_risk", "is not made of"),
    ("project_slug", "credit risk", "is not made of"),
    ("project_slug", "credit--risk", "is not made of"),
    ("project_slug", "credit-", "is not made of"),
    ("project_slug", "-credit", "is not made of"),
    ("project_slug", "3d", "is not made of"),
    ("project_slug", "credit\n", "is not made of"),
    ("project_slug", "風險", "is not made of"),
    ("project_slug", "scikit-learn", "such as 'scikit-learn-service'"),
    ("project_slug", "numpy", "one of the project's dependencies"),
    ("project_name", "", "is empty: type a few words"),
    ("project_name", "   ", "is empty"),
    ("project_name", " Credit", "begins or ends with a space"),
    ("project_name", "Credit \U0001f680", "holds '\\U0001f680'"),
    ("project_name", "Credit\nRisk", "line break: type plain text on one line"),
    ("project_name", "Credit\tRisk", "control character"),
    ("project_name", "Credit\x7fRisk", "control character"),
    ("project_name", "Credit\u0085Risk", "control character"),
    ("project_name", "Credit\u2028Risk", "line break"),
    ("project_name", "Credit {{ 7 * 7 }}", "template code"),
    ("project_name", "{% raw %}Credit{% endraw %}", "template code"),
    ("project_name", "Credit {# Risk #}", "template code"),
    ("description", "", "is empty"),
    ("description", "one\r\ntwo", "line break"),
    ("description", "{{ cookiecutter.project_name }}", "template code"),
    ("owner", "", "is empty"),
    ("owner", "example/org", "holds a slash"),
    ("owner", "example\x00org", "control character"),
    ("owner", "example \U0001d54f", "above U+FFFF"),
    ("owner", "example \udcc3", "LC_ALL=C.UTF-8"),
]

# Odd, and right.
ACCEPTED = [
    *({key: HOSTILE[key]} for key in ("project_name", "description", "owner")),
    *({"project_name": name, "project_slug": "odd"} for name in (
      "O'Neil", "'", '"', '"""', "'''", "\\", "\\n", "\\u0041", "C:\\new\\table", "${HOME}",
      "$(HOME)", "$x", "%s", "# Credit", "- Credit", "-Credit", "--credit", "a: b", "[a]", "{a: b}",
      "{ x }", "}}", "%}", "* a", "& a", "! a", "| a", "> a", "@a", "`a`", "~", "null", "yes", "0",
      "1e3", "3.10", "<script>", "</a>", "a, b", "a; b", "é", "ñandú", "Ελλάδα", "مخاطر", "リスク",
      "e\u0301", "a\u00a0b", "a\u200db", "\ufeffa", "ﬁ", "İ", "ß", "\ue000", "\uffff", "a" * 200,
      "word " * 40 + "end",
    )),
    {"project_name": "a" * 200},
    {"package_name": "data"},
    {"package_name": "models"},
    {"package_name": "notebooks"},
    {"package_name": "logs"},
    {"package_name": "serving"},
    {"package_name": "a__"},
    {"package_name": "print"},
    {"project_slug": "json", "package_name": "json_service"},
    {"project_slug": "a", "package_name": "aaa"},
    SHORTEST,
    LONGEST,
]  # fmt: skip


def cookiecutter(
    folder: Path, *args: object, env: dict[str, str] | None = None, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """The command, run in a folder; --no-input is the caller's."""
    command = (sys.executable, "-m", "cookiecutter", *args)
    return run_in(folder, *command, env=env, check=False, **kwargs)


@pytest.mark.parametrize(("question", "answer", "reason"), REFUSED)
def test_bad_answer_is_refused_in_one_line(
    question: str,
    answer: str,
    reason: str,
    template: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = {"project_slug": "credit-risk", "package_name": "credit_risk", question: answer}
    output = tmp_path / "one" / "two" / "three"
    output.mkdir(parents=True)
    with pytest.raises(FailedHookException):
        bake(template, output, answers)
    line, *rest = capfd.readouterr().err.splitlines()
    assert line.startswith(question + " ")
    assert reason in line
    assert ": type " in line
    assert line.isascii()
    assert not rest
    assert len([*tmp_path.rglob("*")]) == 3


@pytest.mark.parametrize(("name", "reason"), [("", "is empty"), ("\U0001f680", "above U+FFFF")])
def test_name_is_at_fault_where_no_slug_can_be_made_of_it(
    name: str, reason: str, template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FailedHookException):
        bake(template, tmp_path, {"project_name": name})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("project_name ")
    assert reason in line
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("value", ["{{ x }}", "{{", "{% x", "a {{ x"])
def test_answer_that_jinja_cannot_read_leaves_nothing(
    value: str, template: Path, tmp_path: Path
) -> None:
    result = cookiecutter(tmp_path, template, "--no-input", f"description={value}")
    assert result.returncode == 1
    assert not [*tmp_path.iterdir()]


def short(answers: dict[str, str]) -> str:
    return ascii(next(iter(answers.values())))[:40]


@pytest.mark.parametrize("answers", ACCEPTED, ids=short)
def test_odd_answer_makes_a_valid_project(
    answers: dict[str, str], template_repository: Path, project: Project, tmp_path: Path
) -> None:
    path = bake(template_repository, tmp_path, answers)
    for file in Project(path, answers).files():
        known = project.path / file  # read by another test
        if not known.exists() or known.read_bytes() != (path / file).read_bytes():
            read_file(path / file)
    noted = json.loads((path / ".cruft.json").read_bytes())["context"]["cookiecutter"]
    assert {key: noted[key] for key in answers} == answers


def test_prompts_help_and_defaults_work(template: Path, tmp_path: Path) -> None:
    result = cookiecutter(tmp_path, template, input="Café prices\n\n\n\n\n2\n\n\n\n")
    assert result.returncode == 0, result.stderr
    assert "lower case, digits, hyphens, 40 at most) (cafe-prices)" in " ".join(
        result.stdout.split()
    )
    assert "2 - a number (starts with" in result.stdout
    made = tmp_path / "cafe-prices"
    assert (made / "src" / "cafe_prices" / "__init__.py").is_file()
    assert (made / "data" / "sample" / "housing.csv").is_file()


def test_reserved_names_are_those_of_the_lock_file() -> None:
    text = (ROOT / "{{cookiecutter.project_slug}}" / "uv.lock").read_text(encoding="utf-8")
    locked = lock["locked_names"](text, "{{ cookiecutter.project_slug }}")
    assert "scikit-learn" in locked
    assert locked <= set(reserved())


def reserved() -> list[str]:
    found = re.search(r'RESERVED = set\(\n    """\n(.*?)\n    """', PRE, re.DOTALL)
    assert found, "run `make lock`"
    assert found[1] == lock["reserved_block"](set(found[1].split()))
    return found[1].split()


OLD = {
    "sys.version_info = (3, 10, 1)": "Python 3.10 runs cookiecutter, and 3.11 is the oldest "
    "that works: use a newer one, such as uvx --python 3.13 cookiecutter\n",
    "": "cookiecutter 2.2 is the oldest that works: "
    "use a newer one, such as uvx cookiecutter@2.7.1\n",
}


@pytest.mark.parametrize(("pretend", "line"), OLD.items(), ids=["Python", "cookiecutter"])
def test_first_hook_says_what_is_too_old(pretend: str, line: str, tmp_path: Path) -> None:
    answers = json.dumps(json.dumps({"project_name": "a"}))
    source = re.sub(r"\{\{.*\}\}", lambda _: answers, PRE)
    ast.parse(source, feature_version=(3, 6))
    hook = tmp_path / "hook.py"
    hook.write_text(source, encoding="utf-8")
    command = f"import sys; {pretend}\nexec(open({str(hook)!r}).read())"
    result = run_in(tmp_path, sys.executable, "-c", command, check=False)
    assert result.returncode == 1
    assert result.stderr == line


def options() -> dict[str, dict[str, list[str]]]:
    for node in ast.parse(POST).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPTIONS":
            return ast.literal_eval(node.value)
    raise AssertionError("post_gen_project.py holds no OPTIONS")


LEAVING = [
    (question, choice, path)
    for question, choices in options().items()
    for choice, paths in choices.items()
    for path in paths
]


@pytest.mark.parametrize(("question", "choice", "path"), LEAVING)
def test_option_takes_its_paths_along(
    question: str, choice: str, path: str, template: Path, render: Callable[..., Project]
) -> None:
    assert (template / "{{cookiecutter.project_slug}}" / path).exists(), "mend the table"
    (other, *_) = (each for each in CHOICES[question] if each != choice)
    path = path.replace("{{cookiecutter.package_name}}", "credit_risk")
    assert not (render(**{question: choice}).path / path).exists()
    assert (render(**{question: other}).path / path).exists()


@pytest.mark.parametrize("cloud", CHOICES["cloud"])
def test_no_folder_is_empty(cloud: str, render: Callable[..., Project]) -> None:
    folders = [path for path in render(cloud=cloud).path.rglob("*") if path.is_dir()]
    assert [folder for folder in folders if not [*folder.iterdir()]] == []


def test_missing_path_of_an_option_is_no_error(template: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(template, tmp_path / "template")
    shutil.rmtree(copied / "{{cookiecutter.project_slug}}" / "terraform")
    assert bake(copied, tmp_path, {"cloud": "none"}).is_dir()


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["cp1252", "C"],
)
def test_generation_works_in_any_locale(
    locale: dict[str, str], template: Path, template_repository: Path, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path / "home")}
    for name, source in (("a", template), ("b", template_repository)):
        folder = tmp_path / name
        folder.mkdir()
        result = cookiecutter(folder, source, "--no-input", env=locale | home)
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout.isascii()
    command = (template, "--no-input", "owner=\U0001f680", "--output-dir", tmp_path / "c")
    refused = cookiecutter(tmp_path, *command, env=locale | home)
    assert refused.returncode == 1
    assert refused.stderr.startswith("owner '")


def test_repository_in_a_folder_that_is_no_ascii(template_repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "modèle"
    run_in(tmp_path, "git", "clone", "--quiet", template_repository, clone)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for env in ({}, ascii_only):
        result = cookiecutter(tmp_path, clone, "--no-input", "--overwrite-if-exists", env=env)
        assert result.returncode == 0, result.stderr
        noted = json.loads((tmp_path / "credit-risk" / ".cruft.json").read_bytes())
        assert noted["template"] == str(clone)


# --- .cruft.json ---------------------------------------------------------------------------------


@pytest.fixture
def repository(template_repository: Path, tmp_path: Path) -> Path:
    """A clone that a test may change."""
    clone = tmp_path / "template.git"  # cookiecutter looks for that in a file's URL
    run_in(tmp_path, "git", "clone", "--quiet", template_repository, clone)
    return clone


def head(repository: Path) -> str:
    return run_in(repository, "git", "rev-parse", "HEAD").stdout.strip()


def made_by_cruft(folder: Path, source: object, *args: object) -> str:
    """What cruft itself writes for the same request."""
    output = folder / "by-cruft"
    output.mkdir()
    command = (sys.executable, "-m", "cruft", "create", source, "--no-input", *args)
    run_in(folder, *command, "--output-dir", output)
    return (output / "credit-risk" / ".cruft.json").read_bytes().decode("utf-8")


def made_by_cookiecutter(folder: Path, source: object, *args: object, **kwargs: Any) -> str:
    output = folder / "by-cookiecutter"
    command = (source, "--no-input", "--output-dir", output, *args)
    result = cookiecutter(folder, *command, **kwargs)
    assert result.returncode == 0, result.stderr
    file = output / "credit-risk" / ".cruft.json"
    assert not file.with_name(file.name + ".unfinished").exists()
    return file.read_bytes().decode("utf-8") if file.exists() else result.stdout


def test_cruft_file_is_the_one_that_cruft_writes(repository: Path, tmp_path: Path) -> None:
    made = made_by_cookiecutter(tmp_path, repository)
    assert made == made_by_cruft(tmp_path, repository)
    assert json.loads(made)["template"] == str(repository)
    assert json.loads(made)["commit"] == head(repository)


def test_cruft_file_of_a_url_and_a_tag(repository: Path, tmp_path: Path) -> None:
    tagged = head(repository)
    run_in(repository, "git", "tag", "v1.0.0")
    (repository / "README.md").write_text("newer\n", encoding="utf-8")
    commit_all(repository, "Newer")
    url = f"file://{repository}"
    made = made_by_cookiecutter(tmp_path, url, "--checkout", "v1.0.0")
    assert made == made_by_cruft(tmp_path, url, "--checkout", "v1.0.0")
    noted = json.loads(made)
    assert noted["commit"] == tagged
    assert noted["checkout"] == "v1.0.0"
    assert noted["template"] == str(repository)


def test_cruft_file_holds_the_full_url(repository: Path, tmp_path: Path) -> None:
    for short, full in (
        ("gh:example/ml-cd-template", "https://github.com/example/ml-cd-template.git"),
        ("gl:example/ml-cd-template", "https://gitlab.com/example/ml-cd-template.git"),
    ):
        instead = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
            "GIT_CONFIG_VALUE_0": full,
        }
        made = made_by_cookiecutter(tmp_path, short, "--overwrite-if-exists", env=instead)
        noted = json.loads(made)
        assert noted["template"] == full
        assert noted["context"]["cookiecutter"]["_template"] == full
        assert noted["commit"] == head(repository)


def test_cruft_file_from_relative_paths(repository: Path, tmp_path: Path) -> None:
    for folder, path, env in (
        (tmp_path, "template.git", {}),
        (repository, ".", {}),
        (repository / "hooks", "..", {}),
        (repository / "hooks", "..", {"PWD": "/"}),  # as where no shell set it
    ):
        result = cookiecutter(folder, path, "--no-input", env=env)
        assert result.returncode == 0, result.stderr
        noted = json.loads((folder / "credit-risk" / ".cruft.json").read_bytes())
        assert noted["template"] == str(repository)
        shutil.rmtree(folder / "credit-risk")


def test_cruft_file_where_the_reference_is_packed(repository: Path, tmp_path: Path) -> None:
    run_in(repository, "git", "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert json.loads(made_by_cookiecutter(tmp_path, repository))["commit"] == head(repository)


def test_cruft_file_where_the_head_is_detached(repository: Path, tmp_path: Path) -> None:
    run_in(repository, "git", "checkout", "--quiet", "--detach")
    assert json.loads(made_by_cookiecutter(tmp_path, repository))["commit"] == head(repository)


def test_cruft_file_of_a_worktree(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run_in(repository, "git", "worktree", "add", "--quiet", "-b", "next", other)
    (other / "README.md").write_text("next\n", encoding="utf-8")
    commit = commit_all(other, "Next")
    for pack in (False, True):
        if pack:
            run_in(repository, "git", "pack-refs", "--all")
        made = made_by_cookiecutter(tmp_path, other, "--overwrite-if-exists")
        assert json.loads(made)["commit"] == commit != head(repository)
        assert json.loads(made)["template"] == str(other)


def test_cruft_file_of_a_folder_in_a_repository(template: Path, tmp_path: Path) -> None:
    collection = tmp_path / "collection.git"
    shutil.copytree(template, collection / "templates" / "ml")
    run_in(collection, "git", "init", "--quiet")
    commit = commit_all(collection, "Templates")
    url = f"file://{collection}"
    made = made_by_cookiecutter(tmp_path, url, "--directory", "templates/ml")
    assert made == made_by_cruft(tmp_path, url, "--directory", "templates/ml")
    local = made_by_cookiecutter(tmp_path, collection / "templates" / "ml", "--overwrite-if-exists")
    assert local == made
    assert json.loads(made)["directory"] == "templates/ml"
    assert json.loads(made)["commit"] == commit


def test_no_cruft_file_where_there_is_no_commit(template: Path, tmp_path: Path) -> None:
    line = "No .cruft.json, so `make update` cannot work here: "
    assert made_by_cookiecutter(tmp_path, template) == (
        line + "the template is in no git repository\n"
    )
    work = tmp_path / "work"
    shutil.copytree(template, work / "vendored")
    run_in(work, "git", "init", "--quiet")
    (work / "README.md").write_text("not the template's\n", encoding="utf-8")
    run_in(work, "git", "add", "README.md")
    args = (work / "vendored", "--overwrite-if-exists")
    assert "around the template does not track it" in made_by_cookiecutter(tmp_path, *args)
    (work / ".git" / "index").unlink()
    assert made_by_cookiecutter(tmp_path, *args).startswith(line)
    run_in(work, "git", "add", "--all")
    assert "commit was not found" in made_by_cookiecutter(tmp_path, *args)


# --- what the hooks do besides -------------------------------------------------------------------

AUDIT = """
import os, sys
if sys.argv[-1].startswith("-") or "-m" in sys.orig_argv:
    pass
else:
    log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    changing = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link",
                "os.symlink", "os.truncate", "shutil.rmtree")
    running = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")

    def watch(event, args):
        if event == "open" and args[2] & writing or event in changing:
            paths = [os.path.abspath(arg) for arg in args[:2] if isinstance(arg, (str, bytes))
                     and arg not in ("w", "wb", "a", "x")]
            os.write(log, f"write {paths}\\n".encode())
        elif event.startswith("socket.") or event in running:
            os.write(log, f"{event} {args}\\n".encode())

    sys.addaudithook(watch)
"""


def test_hooks_run_nothing_call_nobody_and_write_in_the_project_alone(
    template_repository: Path, tmp_path: Path
) -> None:
    watcher = tmp_path / "watcher"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(AUDIT, encoding="utf-8")
    log = tmp_path / "log"
    env = {"PYTHONPATH": str(watcher), "AUDIT_LOG": str(log), "PYTHONDONTWRITEBYTECODE": "1"}
    output = tmp_path / "output"
    result = cookiecutter(
        tmp_path, template_repository, "--no-input", "cloud=none", "--output-dir", output, env=env
    )
    assert result.returncode == 0, result.stderr
    project = str(output / "credit-risk")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert any(".cruft.json" in line for line in lines)
    assert any("terraform" in line for line in lines)
    for line in lines:
        kind, _, paths = line.partition(" ")
        assert kind == "write", line
        assert all(path.startswith(project) for path in ast.literal_eval(paths)), line


def test_generation_works_without_a_network(template: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"]).returncode:
        pytest.skip("unshare cannot take the network away here")
    run_in(tmp_path, "unshare", "-n", sys.executable, "-m", "cookiecutter", template, "--no-input")
    assert (tmp_path / "credit-risk" / "Makefile").is_file()
