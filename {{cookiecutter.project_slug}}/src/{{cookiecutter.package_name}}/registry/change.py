"""What changes the registry: a new version, and a version in a stage."""

import os
import re
from typing import Any

from gto.constants import Action
from gto.registry import GitRegistry
from gto.tag import name_tag
from gto.versions import SemVer

from ..errors import VersionError
from .ledger import WHOLE, Promotion, State, champion_before, state
from .record import record
from .registry import Registry, check_stage, open_registry
from .tags import identity, publish

DIGEST = "sha256:[0-9a-f]{64}"


def register(bump: str) -> None:
    """Make HEAD and its model the next version.

    Raises:
        VersionError: something is not committed, is not what dvc.lock names, or has not passed.
        ArtefactError: the model's folder was altered.
    """
    registry = open_registry(writing=True)
    found = record()
    for version, tag in registry.versions.items():
        if tag.target == found.commit:
            if registry.record(version).model != found.model:
                raise VersionError(f"HEAD is {tag.name} already, with another model; commit first")
            print(f"register: already registered as {tag.name}")
            return
    version = "v1.0.0"
    if registry.versions:
        last = SemVer.parse(list(registry.versions)[-1])
        version = f"v{getattr(last, f'bump_{bump}')()}"
    name = f"{registry.name}@{version}"
    where = publish(registry.name, name, found.commit, found.text(f"{registry.name} {version}"))
    print(f"register: {name} is commit {found.commit[:12]}, model {found.model[:12]}; {where}")


def promote(version: str, stage: str, share: int, digest: str, reason: str) -> None:
    """Assign a version to a stage.

    share: percent of the requests; 100 makes it the champion, less a challenger, 0 takes it out.

    Raises:
        VersionError: the version, stage, share or digest cannot be, or somebody else was first.
    """
    registry = open_registry(writing=True)
    now = state(registry.ledger(check_stage(stage)))
    version = registry.version(version)
    if digest and not re.fullmatch(DIGEST, digest):
        raise VersionError(f"digest {digest!r} is none of an image; give sha256: and 64 hex digits")
    if not 0 <= share <= WHOLE:
        raise VersionError(
            f"share {share} is no percentage; give 1 to 100, or 0 for a challenger that ends"
        )
    _refuse_share(version, stage, share, now)
    present = now.challenger or now.champion
    if present and present[3:6] == (version, share, digest or present.digest):
        print(f"promote: {version} has share {share} of {stage} already")
        return
    _assign(registry, stage, version=version, share=share, digest=digest, reason=reason)


def rollback(stage: str, reason: str) -> None:
    """Make the champion before the present one the champion again; a challenger ends.

    Raises:
        VersionError: there is none, or somebody else was first.
    """
    registry = open_registry(writing=True)
    before = champion_before(registry.ledger(check_stage(stage)))
    if before is None:
        raise VersionError(f"{stage} had no other champion before; see registry history")
    said = {"version": before.version, "share": WHOLE, "digest": before.digest}
    _assign(registry, stage, **said, reason=reason or f"rollback to number {before.number}")


def _refuse_share(version: str, stage: str, share: int, now: State) -> None:
    champion, challenger = (each and each.version for each in now)
    if share == 0 and version != challenger:
        raise VersionError(f"{version} is no challenger of {stage}; the challenger is {challenger}")
    if 0 < share < WHOLE and champion in (None, version):
        raise VersionError(
            f"{version} has nobody to challenge, since the champion of {stage} is {champion};"
            " promote with share 100, or another version"
        )


def _assign(registry: Registry, stage: str, **given: Any) -> None:
    actor = os.environ.get("GITHUB_ACTOR") or identity().rsplit(" ", 2)[0]
    said = Promotion(**given, actor=actor)
    registry.check_passed(said.version)
    with GitRegistry.from_url(".") as gto:  # GTO counts over all stages
        tag = name_tag(Action.ASSIGN, registry.name, stage=stage, scm=gto.scm)
    title = f"{registry.name} {said.version} in {stage}, share {said.share}"
    where = publish(registry.name, tag, registry.versions[said.version].target, said.text(title))
    print(f"{title}: {tag}; {where}")
