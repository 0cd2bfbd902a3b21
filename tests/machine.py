"""What the machine lends the slow tests: tools, a base image, buildah, a registry on loopback."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, outside, run_in
from filelock import FileLock

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


def wait_for(url: str, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + seconds
    while not answers(url):
        if process.poll() is not None or time.monotonic() > end:
            stop(process)
            output = process.stdout.read() if process.stdout else ""
            pytest.fail(f"{url} does not answer\n{output[-4000:]}", pytrace=False)
        time.sleep(0.1)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that was started in a session of its own, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def started(*args: object, ready: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A server, for as long as the block lasts."""
    with subprocess.Popen(
        [str(arg) for arg in args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            wait_for(ready, process)
            yield process
        finally:
            stop(process)


@dataclass(frozen=True)
class Buildah:
    """Debian's buildah on a store of our own, which holds the stand-in for the base image."""

    store: Path

    @property
    def command(self) -> list[str]:
        return [
            "buildah",
            "--root",
            str(self.store / "storage"),
            "--runroot",
            str(self.store / "run"),
        ]

    def __call__(self, *args: object, cwd: Path = ROOT, check: bool = True) -> str:
        return run_in(cwd, *self.command, *args, check=check).stdout.strip()

    def build(self, folder: Path, tag: str) -> None:
        self(
            "build",
            "--isolation=chroot",
            "--format=docker",
            "--pull-never",
            "-t",
            tag,
            ".",
            cwd=folder,
        )

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """A container of an image, and the folder where its files are mounted."""
        name = self("from", "--pull-never", image)
        try:
            yield name, Path(self("mount", name))
        finally:
            self("rm", name)


def buildah() -> Buildah:
    for name in ("buildah", "mmdebstrap"):
        tool(name)
    if os.geteuid():
        pytest.skip("buildah's chroot isolation needs root")
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "base-image.lock"):
        run_in(ROOT, ROOT / "tests" / "base-image", CACHE / "base-image")
    return Buildah(CACHE / "base-image")


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
