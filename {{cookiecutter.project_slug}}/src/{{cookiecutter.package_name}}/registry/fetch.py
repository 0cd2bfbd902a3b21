"""Fetch: the model of a version out of DVC's cache or remote, compared with the version's tag."""

from contextlib import nullcontext
from pathlib import Path

from dvc.repo import Repo

from ..errors import VersionError
from ..files import replaced
from ..remote import reached
from ..serving.predictor import DESCRIPTION, check_folder
from ..versions import repository
from .registry import Registry, open_registry


def fetch(reference: str, to: str) -> None:
    """Put the model of a version, or of a stage's champion, into a folder, whole or not at all.

    Raises:
        VersionError: there is no such version, or neither the cache nor the remote has its model.
        ArtefactError: what came is not whole.
    """
    registry, folder = open_registry(), Path(to)
    version = registry.version(reference)
    if folder.exists() and not (folder / DESCRIPTION).is_file():
        raise VersionError(f"{folder} exists and holds no model; name another folder")
    with repository("registry fetch") as repo, replaced(folder) as new:
        model = bring(repo, registry, version, new)
    print(f"fetch: {registry.name}@{version} in {folder}, model {model[:12]} as its tag says")


def bring(repo: Repo, registry: Registry, version: str, new: Path) -> str:
    """Put the model of a version into a new folder, and give its SHA-256.

    Raises:
        VersionError: neither the cache nor the remote has it, or it is not the one of the tag.
        ArtefactError: what came is not whole.
    """
    record = registry.record(version)
    cached = repo.cache.local.exists(record.serving)
    with nullcontext("the cache") if cached else reached(repo) as where:
        try:
            # DVC reads the settings of the version's commit, whose remote may be another.
            with Repo(config={key: repo.config[key] for key in ("core", "remote")}) as there:
                there.artifacts.download(registry.name, version=version, out=str(new))
        except Exception as fault:  # each cloud's library has a tree of its own, as has DVC
            raise VersionError(
                f"{where} lacks the model of {version}: {fault}; make push where it was made"
            ) from fault
    info, _ = check_folder(new)
    if info.sha256 != record.model:
        raise VersionError(
            f"the model that came has SHA-256 {info.sha256}, but tag {registry.name}@{version}"
            f" says {record.model}; register the model again"
        )
    return info.sha256
