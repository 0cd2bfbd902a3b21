"""Renders the template once for each set of answers, and hands the result out as a Project."""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from filelock import FileLock
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = bool(os.environ.get("REQUIRE_ALL"))


def leave_home() -> None:
    """Give the tests an empty home, so that no setting of the user's counts; caches stay."""
    home = Path.home()
    os.environ.setdefault("UV_CACHE_DIR", str(home / ".cache" / "uv"))
    os.environ.setdefault("PIP_CACHE_DIR", str(home / ".cache" / "pip"))
    empty = Path(tempfile.mkdtemp(prefix="home-"))
    atexit.register(shutil.rmtree, empty, ignore_errors=True)
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(empty)
    for name in ("COOKIECUTTER_CONFIG", "XDG_CONFIG_HOME", "GIT_DIR", "GIT_INDEX_FILE"):
        os.environ.pop(name, None)
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
    if uv := os.environ.get("UV"):  # `uv run` says where it is
        (empty / "bin").mkdir()
        (empty / "bin" / "uv").symlink_to(uv)
        os.environ["PATH"] = f"{empty / 'bin'}{os.pathsep}{os.environ['PATH']}"


if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker inherits it
    leave_home()

# Reads the home folder when it is imported.
from cookiecutter.main import cookiecutter  # noqa: E402


def outside() -> dict[str, str]:
    """The environment without what the test run itself put there; OpenMP has one thread."""
    drop = (
        "VIRTUAL_ENV",
        "PYTHON",
        "PYTEST",
        "MAKE",
        "MFLAGS",
        "COV_",
        "UV_RUN_",
        "UV_PROJECT",
        "REQUIRE_ALL",
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    # Several tests share the machine: threads of one that wait for one another hold the others up.
    env["OMP_NUM_THREADS"] = "1"
    # What mypy finds in libraries serves every project, but not two runs at a time.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    env["MYPY_CACHE_DIR"] = str(Path.home() / f"mypy{worker}")
    own = str(Path(sys.prefix) / "bin")
    env["PATH"] = os.pathsep.join(p for p in env["PATH"].split(os.pathsep) if p != own)
    return env


def run_in(
    folder: Path,
    *args: object,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    **kwargs: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command; `env` comes on top; its output is in the message when it fails."""
    command = [str(arg) for arg in args]
    result = subprocess.run(
        command,
        cwd=folder,
        env={**outside(), "PWD": str(folder), **(env or {})},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL if "input" not in kwargs else None,
        **kwargs,
    )
    if check and result.returncode:
        pytest.fail(
            f"{' '.join(command)} in {folder}: exit {result.returncode}\n"
            f"{result.stdout[-6000:]}\n{result.stderr[-6000:]}",
            pytrace=False,
        )
    return result


@dataclass(frozen=True)
class Project:
    """A generated project."""

    path: Path
    answers: Mapping[str, str]

    def run(
        self,
        *args: object,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[str]:
        return run_in(self.path, *args, env=env, check=check, **kwargs)

    def read(self, name: str) -> str:
        return (self.path / name).read_bytes().decode("utf-8")

    def files(self) -> list[Path]:
        """Every file, relative to the project."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(found)

    @property
    def package(self) -> Path:
        """The folder of the package, the only one under src."""
        (package,) = (self.path / "src").iterdir()
        return package


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Fill a folder, once for all workers."""
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            unfinished = folder.with_name(folder.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


def archive(target: Path) -> None:
    """Write what git tracks, with changes that are not committed yet, and nothing else."""
    # Also where a checkout belongs to somebody else, as it may in a container.
    git = ("git", "-c", f"safe.directory={ROOT}")
    index = run_in(ROOT, *git, "rev-parse", "--path-format=absolute", "--git-path", "index")
    own = target.with_name("index")  # so that no lock on the real one is in the way
    shutil.copy(index.stdout.strip(), own)
    user = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    stash = run_in(ROOT, *git, *user, "stash", "create", env={"GIT_INDEX_FILE": str(own)})
    tar = target.with_name("template.tar")
    run_in(ROOT, *git, "archive", "--output", tar, stash.stdout.strip() or "HEAD")
    with tarfile.open(tar) as content:
        content.extractall(target, filter="tar")


@pytest.fixture(scope="session")
def template(shared: Path) -> Path:
    """The template as a user would get it; without a git repository."""
    return make_once(shared / "template", archive)


@pytest.fixture(scope="session")
def template_repository(shared: Path, template: Path) -> Path:
    """The template as a git repository of one commit; to be cloned, not changed."""

    def commit(folder: Path) -> None:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        run_in(folder, "git", "init", "--quiet", "--initial-branch", "main")
        commit_all(folder, "The template")

    return make_once(shared / "repository", commit)


def commit_all(folder: Path, message: str) -> str:
    """Commit everything, as somebody, and give the commit's name."""
    user = ("-c", "user.name=Somebody", "-c", "user.email=somebody@localhost")
    run_in(folder, "git", "add", "--all")
    run_in(folder, "git", *user, "commit", "--quiet", "--no-verify", "--message", message)
    return run_in(folder, "git", "rev-parse", "HEAD").stdout.strip()


def bake(template: Path, folder: Path, answers: Mapping[str, str]) -> Path:
    """Render the template into a folder, as cookiecutter does with --no-input."""
    made = cookiecutter(
        str(template),
        no_input=True,
        default_config=True,
        extra_context=dict(answers),
        output_dir=str(folder),
    )
    return Path(made)


@pytest.fixture(scope="session")
def render(shared: Path, template: Path) -> Callable[..., Project]:
    """Render a set of answers, once; the result is not to be changed."""

    def rendered(**answers: str) -> Project:
        name = hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:12]
        folder = make_once(shared / name, lambda folder: bake(template, folder, answers))
        (path,) = folder.iterdir()
        return Project(path, answers)

    return rendered


@pytest.fixture(scope="session")
def project(render: Callable[..., Project]) -> Project:
    """The default answers, rendered; not to be changed."""
    return render()


@pytest.fixture
def fresh(render: Callable[..., Project], tmp_path: Path) -> Callable[..., Project]:
    """Render a set of answers into a copy of the test's own."""

    def copied(**answers: str) -> Project:
        original = render(**answers)
        path = Path(tempfile.mkdtemp(dir=tmp_path)) / original.path.name
        shutil.copytree(original.path, path, symlinks=True)
        return Project(path, answers)

    return copied


# Files whose tests share something costly, which lives in one worker. Marks do not do it: xdist 3.8
# hands them on by a name that pytest 9.2 no longer lets it change.
TOGETHER = {
    "test_container.py": "image",
    "test_release.py": "image",
    "test_demo.py": "demo",
    "test_versions.py": "versions",
}


class Together(LoadScopeScheduling):
    """Hands out tests one by one, and those that belong together to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(Path(nodeid.partition("::")[0]).name, nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole suites first, fast ones last, so that no worker is left alone with one at the end."""

    def place(item: pytest.Item) -> list[bool]:
        return [item.get_closest_marker(name) is None for name in ("suite", "slow")]

    items.sort(key=place)


@pytest.fixture
def run_suite(
    record_property: Callable[[str, object], None], tmp_path: Path
) -> Callable[[Project, Mapping[str, str]], str]:
    """Runs `make test` of a project, tells what it printed, and records its seconds by file.

    By one process unless `env` says otherwise, since what runs it is one of several that share the
    machine.
    """

    def run(project: Project, env: Mapping[str, str]) -> str:
        file = tmp_path / "suite.xml"
        one = {"PYTEST_XDIST_AUTO_NUM_WORKERS": "1"}
        ran = project.run(
            "make", "test", env={**one, **env, "PYTEST_ADDOPTS": f"--junitxml={file}"}
        )
        seconds: defaultdict[str, float] = defaultdict(float)
        for case in ElementTree.parse(file).iter("testcase"):
            seconds[case.attrib["classname"].removeprefix("tests.")] += float(case.attrib["time"])
        record_property(f"seconds of the suite of {project.package.name}", by_length(seconds))
        return ran.stdout

    return run


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL lets no test be skipped; {reason}"


def by_length(seconds: Mapping[str, float]) -> str:
    """Name and seconds of each that took one or more, the longest first, and of all."""
    longest = sorted(seconds.items(), key=lambda item: -item[1])
    told = [f"{name} {spent:.0f}" for name, spent in longest if spent >= 1]
    return ", ".join([*told, f"all {sum(seconds.values()):.0f}"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded with record_property, and where the time went."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")
    for outcome in ("", "passed", "failed", "error"):  # the first is of set-ups and tear-downs
        for report in terminalreporter.getreports(outcome):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.write_line(f"seconds by file: {by_length(seconds)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_if_skipped(report)
    return report
