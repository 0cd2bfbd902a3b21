"""The remote that keeps versions: which one it is, and whether it answers."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from dvc.config import Config
from dvc.exceptions import CheckoutError, DvcException, FileTransferError
from dvc.repo import Repo
from fsspec.asyn import sync

from .errors import VersionError
from .yaml_file import FROM_HERE

CLOUDS = {
    "s3": ("aws", "dvc_s3", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    "gs": ("gcp", "dvc_gs", "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default"),
    "azure": ("azure", "dvc_azure", "AZURE_STORAGE_CONNECTION_STRING, or az login"),
}
"""For each scheme: the dependency group, its module, and where credentials are set."""
PATIENCE = 20
"""Seconds for an answer of the remote."""
COMMAND = "make remote URL=s3://bucket/path"


def arguments(parser: ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("url", help="s3://, gs://, azure://, or a folder that all machines mount")
    parser.add_argument("--endpoint", default="", help="address of an S3-compatible server")


def run(url: str, endpoint: str = "") -> None:
    """Make `url` the default remote in .dvc/config.

    Raises:
        VersionError: the address is of no known kind, holds a secret, or lacks its dependencies.
    """
    address, server = urlsplit(url), urlsplit(endpoint)
    for name, part in (("URL", address), ("ENDPOINT", server)):
        if "@" in part.netloc or part.query or part.fragment:
            raise VersionError(
                f"{name} holds a user, a key or a query, and .dvc/config is for everybody to read;"
                f" leave it out{_credentials(address.scheme)}"
            )
    if not Path(url).is_absolute() and not (address.scheme in CLOUDS and address.netloc):
        kinds = ", ".join(f"{scheme}://NAME/path" for scheme in CLOUDS)
        raise VersionError(f"URL {url!r} names no remote; give {kinds}, or a folder from its root")
    if endpoint and (address.scheme != "s3" or server.scheme not in {"http", "https"}):
        raise VersionError(f"ENDPOINT {endpoint!r} is no http(s) address for an s3:// URL")
    _refuse_missing_group(address.scheme)
    if not Path(".dvc", "config").exists():
        raise VersionError(f".dvc/config is not in {Path.cwd()}; {FROM_HERE}")
    try:
        with Config(str(Path(".dvc").resolve())).edit("repo") as config:
            server_of = {"endpointurl": endpoint} if endpoint else {}
            config["remote"]["shared"] = {"url": url, **server_of}
            config["core"]["remote"] = "shared"
    except DvcException as fault:
        raise VersionError(f".dvc/config cannot be changed: {fault}; correct it first") from fault
    print(f"remote: {url} is the default in .dvc/config; commit that, then make push")


@contextmanager
def reached(repo: Repo) -> Iterator[str]:
    """The default remote as messages call it, once it has answered: DVC only counts failures.

    Raises:
        VersionError: there is none, it does not answer, refuses the credentials, or lacks files.
    """
    name = repo.config["core"].get("remote", "")
    settings = repo.config["remote"].get(name)
    if settings is None:
        raise VersionError(f".dvc/config has no remote {name!r}; {COMMAND}")
    scheme, server = urlsplit(settings["url"]).scheme, settings.get("endpointurl", "")
    title = f"remote {name} ({settings['url']}{server and f' at {server}'})"
    _refuse_missing_group(scheme)
    if scheme == "s3":  # botocore waits 60 seconds, and asks five times
        repo.config["remote"][name] = {"connect_timeout": 5, "read_timeout": PATIENCE} | settings
        os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")
    try:
        _ask(repo, name)
    except Exception as fault:  # each cloud's library has a tree of its own
        reason = str(fault) or f"no answer in {PATIENCE} s"
        raise VersionError(f"{title}: {reason}{_credentials(scheme)}") from fault
    try:
        yield title
    except FileTransferError as fault:
        raise VersionError(f"{title}: {fault}, see above{_credentials(scheme)}") from fault
    except CheckoutError as fault:
        missing = ", ".join(map(os.path.relpath, fault.target_infos))
        raise VersionError(
            f"{title} lacks {missing} of dvc.lock; make push where they were made, or make train,"
            f" or, for another remote, {COMMAND}"
        ) from fault


def _ask(repo: Repo, name: str) -> None:
    remote = repo.cloud.get_remote(name)
    fs = remote.fs.fs
    try:
        if fs.async_impl:
            sync(fs.loop, fs._info, remote.path, timeout=PATIENCE)
        else:
            fs.info(remote.path)
    except FileNotFoundError as fault:
        if fault.__cause__:  # the server says that there is no such bucket
            raise
        # Nothing is there yet, which the first push changes.


def _refuse_missing_group(scheme: str) -> None:
    group, module, _ = CLOUDS.get(scheme, ("", "dvc", ""))
    if find_spec(module) is None:
        raise VersionError(
            f"{scheme}:// needs the dependency group {group}, which is not installed; add {group}"
            " to GROUPS in the Makefile"
        )


def _credentials(scheme: str) -> str:
    return f"; credentials are set by {CLOUDS[scheme][2]}" if scheme in CLOUDS else ""
