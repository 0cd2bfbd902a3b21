"""What the machine lends the slow tests: tools, a base image, buildah, a registry on loopback."""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, Project, commit_all, make_once, outside, run_in
from filelock import FileLock

# Of the environment as it is; what follows names the last stage to run.
REPRO = ("uv", "run", "--no-sync", "dvc", "repro")
STAND_INS = ROOT / "tests" / "stand_ins"
# Outlives a run, as uv's cache beside it does: the base image takes most of a minute.
CACHE = Path(os.environ["UV_CACHE_DIR"]).resolve().parent / "ml-cd-template"


def tool(name: str) -> str:
    """The path of a command, of this environment or of the machine."""
    own = Path(sys.prefix) / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def pythons() -> list[Path]:
    """The Pythons found, 3.11 or newer, the oldest first."""
    command = ("uv", "python", "list", "--only-installed", "--offline", "--output-format", "json")
    listed = run_in(Path.cwd(), *command).stdout
    candidates = {Path(each["path"]) for each in json.loads(listed)}
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        if folder.name == "shims":  # pyenv, which hides all but one
            candidates |= set((folder.parent / "versions").glob("*/bin/python3"))
    ask = "import sys; print(*sys.version_info[:2], sys.implementation.name)"
    found: dict[tuple[int, int], Path] = {}
    for path in sorted(candidates):
        printed = run_in(Path.cwd(), path, "-c", ask, check=False).stdout.split()
        if len(printed) == 3 and printed[2] == "cpython" and "shims" not in path.parts:
            found.setdefault((int(printed[0]), int(printed[1])), path)
    return [found[version] for version in sorted(found) if version >= (3, 11)]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def started(
    *args: object, ready: str, env: Mapping[str, str], patience: float = 60
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it answers and for as long as the block lasts."""
    # A file, since a pipe that nobody reads stops the writer when it is full.
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [str(arg) for arg in args],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        end = time.monotonic() + patience
        try:
            while not answers(ready):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    output = log.read()[-4000:].decode("utf-8", "replace")
                    pytest.fail(f"{ready} does not answer\n{output}", pytrace=False)
                time.sleep(0.1)
            yield process
        finally:
            stop(process)


@dataclass(frozen=True)
class Buildah:
    """Debian's buildah, with images and containers of this run's own over the base image."""

    store: Path

    @property
    def command(self) -> list[str]:
        base = CACHE / "base-image" / "storage"
        own = ("--root", str(self.store / "storage"), "--runroot", str(self.store / "run"))
        return ["buildah", *own, "--storage-opt", f"overlay.imagestore={base}"]

    def __call__(self, *args: object, cwd: Path = ROOT) -> str:
        return run_in(cwd, *self.command, *args, env={"BUILDAH_LAYERS": "true"}).stdout.strip()

    def build(self, folder: Path, tag: str, *more: str) -> None:
        how = ("--isolation=chroot", "--format=docker", "--pull-never")
        self("build", *how, *more, "--tag", tag, ".", cwd=folder)

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """A container of an image, and the folder where its files are mounted."""
        name = self("from", "--pull-never", image)
        try:
            yield name, Path(self("mount", name))
        finally:
            self("rm", name)

    def remove(self) -> None:
        self("rm", "--all")
        self("rmi", "--all", "--force")
        shutil.rmtree(self.store)


@functools.cache
def buildah() -> Buildah:
    """Buildah with the stand-in for the base image; removed when this process ends."""
    for name in ("buildah", "mmdebstrap"):
        tool(name)
    if os.geteuid():
        pytest.skip("buildah's chroot isolation needs root")
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "base-image.lock"):
        run_in(ROOT, ROOT / "tests" / "base-image", CACHE / "base-image")
    found = Buildah(Path(tempfile.mkdtemp(prefix="images-")))
    atexit.register(found.remove)
    return found


def train(shared: Path, project: Project) -> Project:
    """The project with its pipeline run, once for all tests; not to be changed."""

    def make(folder: Path) -> None:
        shutil.copytree(project.path, folder, dirs_exist_ok=True)
        run_in(folder, "make", "train", env=dvc_cache(shared))

    return Project(make_once(shared / "trained", make), project.answers)


def installed(
    made: Project, shared: Path, project: Project, env: Mapping[str, str] | None = None
) -> Project:
    """The project with its environment, and in it what Python compiled when the shared one trained.

    Compiling it again, some 2,500 files, would take longer than most of what a test runs.
    """
    made.run("make", "repository", env=env)
    made.run("uv", "sync", "--locked", env=env)
    (target,) = made.path.glob(".venv/lib/python*/site-packages")
    source = train(shared, project).path / target.relative_to(made.path)
    for folder in source.rglob("__pycache__"):
        there = target / folder.relative_to(source)
        if there.parent.is_dir() and not there.exists():
            unfinished = shutil.ignore_patterns("*.pyc.*")  # of whoever uses it just now
            shutil.copytree(folder, there, copy_function=os.link, ignore=unfinished)
    return made


def trained_again(fresh: Callable[..., Project], shared: Path, project: Project) -> Project:
    """A fresh project with its own history, in which the shared one's training is committed."""
    env = dvc_cache(shared)
    trained, made = train(shared, project), fresh()
    installed(made, shared, project)
    for name in ("dvc.lock", "data/reference.json", "docs/openapi.json"):
        shutil.copy(trained.path / name, made.path / name)
    made.run("make", "train", env=env)
    commit_all(made.path, "Trained")
    return made


def dvc_cache(shared: Path) -> dict[str, str]:
    """Environment in which DVC finds what any run of the same pipeline has made already."""
    config = shared / "dvc"
    config.mkdir(exist_ok=True)
    (config / "config").write_text(f"[cache]\n    dir = {shared / 'dvc-cache'}\n", encoding="utf-8")
    return {"DVC_GLOBAL_CONFIG_DIR": str(config)}


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """An image registry on loopback; gives its host and port."""
    program, port = tool("docker-registry"), free_port()
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdir: {folder / 'images'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n",
        encoding="utf-8",
    )
    with started(program, "serve", config, ready=f"http://127.0.0.1:{port}/v2/", env=outside()):
        yield f"127.0.0.1:{port}"
