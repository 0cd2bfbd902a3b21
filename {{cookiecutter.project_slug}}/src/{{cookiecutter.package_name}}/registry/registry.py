"""The registry of one model: its versions and its ledger, as the tags here have them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gto.registry import GitRegistry
from gto.tag import find, parse_name
from gto.versions import SemVer

from ..contract import load_contract
from ..errors import VersionError
from ..layout import Layout
from ..yaml_file import parse, validated
from .ledger import Assignment, Promotion, state
from .record import Record, locked
from .tags import check_repository, identity, synchronise

if TYPE_CHECKING:
    from scmrepo.git.objects import GitTag

STAGES = ("production", "staging")


@dataclass(frozen=True)
class Registry:
    """`versions` in their order; `assignments` are the tags of stages, in no order."""

    name: str
    versions: "dict[str, GitTag]"
    assignments: "list[GitTag]"

    def record(self, version: str) -> Record:
        """What a version is made of.

        Raises:
            VersionError: its tag was made by other means, or was moved to another commit.
        """
        tag = self._tag(version)
        found = validated(_content(tag), f"tag {tag.name}", Record, VersionError)
        _refuse_moved(tag, found.commit)
        return found

    def check_passed(self, version: str) -> None:
        """Refuse a version whose gate has not passed the very model that its commit names.

        Raises:
            VersionError: it has not, or dvc.lock names another.
        """
        found, tag = self.record(version), self.versions[version].name
        (there,) = locked(tag, Layout().serving)
        if not found.gate.passed or found.gate.model != found.model or there != found.serving:
            raise VersionError(
                f"{tag}: gate.passed {found.gate.passed} of model {found.gate.model}; the version"
                f" is model {found.model} in models/serving {found.serving}, and its dvc.lock names"
                f" {there}; register a version where these agree"
            )

    def ledger(self, stage: str = "") -> list[Assignment]:
        """The assignments of a stage, or of all, in the order of their counters.

        Raises:
            VersionError: a tag was made by other means, or was moved to another commit.
        """
        found = []
        for tag in self.assignments:
            name = parse_name(tag.name)
            if stage in ("", name["stage"]):
                said = validated(_content(tag), f"tag {tag.name}", Promotion, VersionError)
                _refuse_moved(tag, self._tag(said.version).target)
                time = datetime.fromtimestamp(tag.tag_time, UTC)
                place = (name.get("counter", 0), name["stage"], time)
                found.append(Assignment(*place, **said.model_dump()))
        return sorted(found)

    def version(self, reference: str) -> str:
        """The version that is meant by v1.2.0, NAME@v1.2.0, or a stage, which is its champion.

        Raises:
            VersionError: there is none; the message names the nearest.
        """
        short = reference.removeprefix(f"{self.name}@").removeprefix(f"{self.name}#")
        if short in STAGES:
            champion = state(self.ledger(short)).champion
            if champion is None:
                raise VersionError(f"{short} holds no version yet; registry promote gives it one")
            return champion.version
        self._tag(short)
        return short

    def _tag(self, version: str) -> "GitTag":
        if version not in self.versions:
            raise VersionError(
                f"{version!r} is no version of {self.name}{_nearest(version, self.versions)};"
                " git fetch --tags brings those of origin"
            )
        return self.versions[version]


def open_registry(writing: bool = False) -> Registry:
    """The registry of this folder; to write, after the tags of origin have been fetched.

    Raises:
        VersionError: git has no complete history, or, to write, no identity or no answer of origin.
        ContractError: contract.yaml cannot be used.
    """
    check_repository()
    name = load_contract(Layout().contract).name
    if not parse_name(f"{name}@v1.0.0", raise_on_fail=False):
        raise VersionError(f"contract.yaml: name {name!r} cannot stand in a tag; end it otherwise")
    if writing:
        identity()
        synchronise(name)
    with GitRegistry.from_url(".") as gto:
        tags = find(name=name, scm=gto.scm)
    versions = {tag.name.partition("@")[2]: tag for tag in tags}
    order = sorted(filter(SemVer.is_valid, filter(None, versions)), key=SemVer)
    stages = [tag for tag in tags if "stage" in parse_name(tag.name)]
    return Registry(name, {each: versions[each] for each in order}, stages)


def check_stage(stage: str) -> str:
    """The stage, where there is one of that name.

    Raises:
        VersionError: there is none.
    """
    if stage not in STAGES:
        raise VersionError(f"{stage!r} is no stage{_nearest(stage, STAGES)}")
    return stage


def _content(tag: "GitTag") -> Any:
    try:
        return parse(tag.message.partition("\n\n")[2])
    except ValueError:
        return None


def _refuse_moved(tag: "GitTag", commit: str) -> None:
    if tag.target != commit:
        raise VersionError(
            f"tag {tag.name} is at {tag.target}, but was made at {commit}: it was moved; git tag -d"
            " deletes it, and git fetch --tags brings that of origin"
        )


def _nearest(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0)
    return f"; the nearest is {close[0]}" if close else "; there is none yet"
