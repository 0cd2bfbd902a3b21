"""Tags of git: what their messages say, and how a push decides who was first."""

import subprocess

import yaml

from ..errors import VersionError
from ..yaml_file import FROM_HERE, Strict


class Message(Strict, extra="ignore"):
    """What a tag says, in YAML after a title; a later template may add keys."""

    def text(self, title: str) -> str:
        """The message."""
        content = yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)
        return f"{title}\n\n{content}"


def git(*arguments: str, given: str = "") -> str:
    """What a command of git prints.

    Raises:
        VersionError: git refuses.
    """
    done = subprocess.run(  # noqa: S603  (no shell)
        ["git", *arguments],  # noqa: S607  (the git of whoever runs it)
        input=given.encode("utf-8"),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise VersionError(f"git {arguments[0]}: {reason or f'exit {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")


def check_repository() -> None:
    """Refuse a folder without its own, complete history.

    Raises:
        VersionError: this is not the top of a repository, or it is a shallow clone.
    """
    below, shallow = git("rev-parse", "--show-prefix", "--is-shallow-repository").split("\n")[:2]
    if below:
        raise VersionError(f"{below} is not the top of its git repository; {FROM_HERE}")
    if shallow == "true":
        raise VersionError(
            "this clone is shallow, so versions may be missing; git fetch --unshallow --tags"
            " (fetch-depth: 0 in a workflow)"
        )


def identity() -> str:
    """Who makes a tag, and when, as git writes it.

    Raises:
        VersionError: git has been told no name and e-mail.
    """
    try:
        return git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT").strip()
    except VersionError:
        raise VersionError(
            'git knows no name and e-mail of yours; git config user.name "YOUR NAME" and'
            " git config user.email YOU@HOST"
        ) from None


def synchronise(name: str) -> None:
    """Bring the tags that origin has, where there is one.

    Raises:
        VersionError: origin does not answer, or one of its tags is another one here.
    """
    if _has_origin():
        try:
            git("fetch", "--no-tags", "--no-prune", "origin", *_specifications(name))
        except VersionError as fault:
            raise VersionError(
                f"{fault}\nthe tags of origin cannot be taken over, so nothing is recorded; where"
                " one is rejected, it was moved: git tag -d deletes the wrong one"
            ) from None


def publish(name: str, tag: str, commit: str, message: str) -> str:
    """Make an annotated tag, at origin first, and say where it is.

    Raises:
        VersionError: somebody else was first, or origin does not take it; no tag is made then.
    """
    head = f"object {commit}\ntype commit\ntag {tag}\ntagger {identity()}\n\n"
    made = git("mktag", given=head + message).strip()
    if _has_origin():
        try:
            # With those made before there was an origin. Never by force: tags do not move.
            git("push", "--atomic", "origin", f"{made}:refs/tags/{tag}", *_specifications(name))
        except VersionError as fault:
            _refuse_unless_there(name, tag, made, fault)
            return "pushed to origin"
    git("update-ref", f"refs/tags/{tag}", made, "")
    return "pushed to origin" if _has_origin() else "it is local, since git has no remote origin"


def _refuse_unless_there(name: str, tag: str, made: str, fault: VersionError) -> None:
    synchronise(name)
    say = "--format=%(objectname) %(taggername) %(taggeremail) at %(taggerdate:iso-strict)"
    there, _, who = git("for-each-ref", say, f"refs/tags/{tag}").strip().partition(" ")
    if not there:
        raise VersionError(f"{fault}\norigin does not take {tag}, so nothing is recorded")
    if there != made:  # else only the answer to the push was lost
        raise VersionError(
            f"{tag} was made by {who}, who was first, so nothing is recorded; look at registry"
            " history and run this again"
        )


def _has_origin() -> bool:
    return "origin" in git("remote").split("\n")


def _specifications(name: str) -> list[str]:
    return [f"refs/tags/{name}{mark}*:refs/tags/{name}{mark}*" for mark in "@#"]
