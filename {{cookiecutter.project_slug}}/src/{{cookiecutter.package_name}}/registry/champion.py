"""Champion: the model in production, brought here so that a new one is judged beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProjectError
from ..files import replaced, write_bytes, write_json
from ..layout import Layout
from .tags import git

if TYPE_CHECKING:
    from .registry import Registry

STAGE = "production"
DERIVED = Path(__file__).parent.with_name("derived.py")


def run(layout: Layout = Layout()) -> None:
    """Write its folder: version, model, and the derived features that belong to it.

    Where it cannot be brought, the reason stands there, and the gate refuses for it. A shallow
    clone cannot tell whether there is one, and goes on: it can register nothing either.
    """
    said: dict[str, str | None] = {"version": None, "reason": None}
    with replaced(layout.champion) as new:
        new.mkdir()
        try:
            if present := _present(layout):
                registry, version = present
                said["version"] = f"{registry.name}@{version}"
                _bring(registry, version, new)
        except ProjectError as fault:
            said["reason"] = str(fault)
        write_json(new / "champion.json", said)
    print(f"champion: {said['reason'] or said['version'] or f'nothing is in {STAGE} yet'}")


def _present(layout: Layout) -> "tuple[Registry, str] | None":
    if not (layout.root / ".git").exists():
        return None
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        print("champion: a shallow clone knows none; git fetch --unshallow --tags", flush=True)
        return None
    if not git("tag", "--list", f"*#{STAGE}#*"):
        return None
    from .ledger import state  # slow to import, and of no use before a promotion
    from .registry import open_registry

    registry = open_registry()
    champion = state(registry.ledger(STAGE)).champion
    return (registry, champion.version) if champion else None


def _bring(registry: "Registry", version: str, new: Path) -> None:
    from dvc.repo import Repo

    from .fetch import bring

    place = DERIVED.relative_to(Path.cwd()).as_posix()
    derived = git("show", f"{registry.name}@{version}:./{place}")
    write_bytes(new / "derived.py", derived.encode("utf-8"))
    with Repo() as repo:  # `make train`, which runs this, holds the lock of `repository`
        bring(repo, registry, version, new / "model")
