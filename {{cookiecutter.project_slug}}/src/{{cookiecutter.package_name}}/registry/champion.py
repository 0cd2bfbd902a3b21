"""Champion: the model in production, brought here so that a new one is judged beside it."""

from pathlib import Path

from dvc.repo import Repo

from ..errors import ProjectError
from ..files import replaced, write_bytes, write_json
from ..layout import Layout
from .fetch import bring
from .ledger import state
from .registry import open_registry
from .tags import git

STAGE = "production"
DERIVED = Path(__file__).parent.with_name("derived.py")


def run(layout: Layout = Layout()) -> None:
    """Write its folder: version, model, and the derived features that belong to it.

    Where it cannot be brought, the reason stands there, and the gate refuses for it.
    """
    said: dict[str, str | None] = {"version": None, "reason": None}
    with replaced(layout.champion) as new:
        new.mkdir()
        try:
            said["version"] = _bring(layout, new)
        except ProjectError as fault:
            said["reason"] = str(fault)
        write_json(new / "champion.json", said)
    print(f"champion: {said['reason'] or said['version'] or f'nothing is in {STAGE} yet'}")


def _bring(layout: Layout, new: Path) -> str | None:
    if not (layout.root / ".git").exists():
        return None
    registry = open_registry()
    champion = state(registry.ledger(STAGE)).champion
    if champion is None:
        return None
    tag = f"{registry.name}@{champion.version}"
    derived = git("show", f"{tag}:./{DERIVED.relative_to(Path.cwd()).as_posix()}")
    write_bytes(new / "derived.py", derived.encode("utf-8"))
    with Repo() as repo:  # `make train`, which runs this, holds the lock of `repository`
        bring(repo, registry, champion.version, new / "model")
    return tag
