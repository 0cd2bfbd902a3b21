"""Where tables come from and versions go to: an S3-compatible server, and PostgreSQL."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import outside
from machine import free_port, started

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
# No role of the machine that runs the tests.
NO_KEYS = {"AWS_EC2_METADATA_DISABLED": "true"}


def server(**env: str) -> tuple[list[object], str, dict[str, str]]:
    """The command of an S3-compatible server, its address, and its environment."""
    port = free_port()
    command = [Path(sys.prefix) / "bin" / "moto_server", "-H", "127.0.0.1", "-p", port]
    return command, f"http://127.0.0.1:{port}", {**outside(), **env}


def make_bucket(address: str) -> None:
    request = urllib.request.Request(f"{address}/team", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@contextlib.contextmanager
def object_store() -> Iterator[str]:
    """The address of an S3-compatible server with the bucket `team`, which is empty."""
    command, address, env = server()
    with started(*command, ready=f"{address}/moto-api/", env=env):
        make_bucket(address)
        yield address


def put(address: str, name: str, content: bytes) -> None:
    """Store an object in the bucket."""
    kind = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{address}/team/{name}", content, kind, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@contextlib.contextmanager
def postgresql(password: str) -> Iterator[tuple[list[str], str]]:
    """A database of the user `ann`: the command that runs SQL in it, and its URL."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("postgresql is not installed")
    # Its own user has to reach the folder, and root may not run it.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        user = ["runuser", "--user", "postgres", "--"]

    def run(name: str, *args: object) -> None:
        command = [*user, binaries[-1] / name, *args]
        subprocess.run([str(each) for each in command], check=True, cwd="/", capture_output=True)

    port = free_port()
    secret = folder / "password"
    secret.write_text(password, encoding="utf-8")
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        run("initdb", "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={secret}")
        run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        url = f"postgresql://ann@127.0.0.1:{port}/postgres"
        yield ["env", f"PGPASSWORD={password}", str(binaries[-1] / "psql"), "-qd", url, "-c"], url
    finally:
        subprocess.run(
            [*user, binaries[-1] / "pg_ctl", "-D", data, "-m", "immediate", "stop"], cwd="/"
        )
        shutil.rmtree(folder, ignore_errors=True)
