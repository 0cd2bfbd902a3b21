"""The API as a document that is committed, and what of it a change would break for callers."""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from .contract import load_contract
from .errors import ApiError, VersionError
from .files import json_bytes, read_json, write_bytes
from .layout import Layout
from .registry.tags import git
from .serving.app import create_app
from .serving.mock import mock_predictor
from .serving.prediction_log import PredictionLog
from .serving.settings import Settings

Schema = dict[str, Any]
VERSION = re.compile(r"v[0-9]+")
NARROWER: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda old, new: new > old,
    "maximum": lambda old, new: new < old,
    "minLength": lambda old, new: new > old,
    "pattern": lambda old, new: new != old,
}
"""Limits of what a caller may send, and when a new one is narrower."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument("--against", default="", help="a commit whose callers must not break")


def run(layout: Layout = Layout(), against: str = "") -> None:
    """Write the document; or compare it with that of a commit.

    Raises:
        ApiError: a caller of that commit's API would break, and the path's version is the same.
    """
    if not against:
        write_bytes(layout.api, json_bytes(document(layout)))
        print(f"api: {layout.api} describes the service; commit it")
        return
    git("rev-parse", "--verify", f"{against}^{{commit}}")  # a commit that is not here is refused
    try:
        before = git("show", f"{against}:./{layout.api}")
    except VersionError:
        print(f"api: {against} has no {layout.api}, so there is nothing to break")
        return
    if not layout.api.exists():
        raise ApiError(f"{layout.api} is gone, but {against} has it; make train writes it again")
    found = list(breaks(json.loads(before), read_json(layout.api)))
    if found:
        raise ApiError(
            "\n  ".join([f"callers of {against} would break:", *found])
            + "\nkeep what they use, or give the paths a new version"
        )
    print(f"api: callers of {against} go on as before")


def document(layout: Layout) -> dict[str, Any]:
    """The OpenAPI document of the service under the contract; the model changes nothing in it."""
    log = PredictionLog("-")
    app = create_app(mock_predictor(load_contract(layout.contract)), log, Settings())
    log.close()
    return app.information.openapi()


def breaks(old: Schema, new: Schema) -> Iterator[str]:
    """What a caller of the old API does that the new one refuses or no longer answers.

    Paths of a version that the new one has left altogether, for another, are not compared.
    """
    versions = {path.split("/")[1] for path in new["paths"]}
    for path, methods in old["paths"].items():
        version = path.split("/")[1]
        if version not in versions and VERSION.fullmatch(version):
            continue
        for method, before in methods.items():
            where = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{where} is gone"
                continue
            options = {each["name"]: each for each in after.get("parameters", ())}
            for option in before.get("parameters", ()):
                if option["name"] not in options:
                    yield f"{where} no longer knows {option['name']}"
                    continue
                found = (option["schema"], options[option["name"]]["schema"])
                yield from _sent(f"{where}: {option['name']}", *found, old, new)
            for status, pair in _contents(before, after):
                if status == "":
                    yield from _sent(f"{where}: the body", *pair, old, new)
                elif status.startswith("2"):
                    yield from _answered(f"{where}: the answer", *pair, old, new)


def _contents(before: Schema, after: Schema) -> Iterator[tuple[str, tuple[Schema, Schema]]]:
    """The schemas of the body (without a status) and of each answer, of both."""
    both = [{"": each.get("requestBody", {}), **each["responses"]} for each in (before, after)]
    for status, content in both[0].items():
        for kind, held in content.get("content", {}).items():
            other = both[1].get(status, {}).get("content", {}).get(kind, {})
            yield status, (held.get("schema", {}), other.get("schema", {}))


def _sent(where: str, old: Schema, new: Schema, olds: Schema, news: Schema) -> Iterator[str]:
    """How a schema takes less than before."""
    old, new = _resolved(old, olds), _resolved(new, news)
    if gone := sorted(_kinds(old) - _kinds(new)):
        yield f"{where} may no longer be {' or '.join(gone)}"
    if "enum" in new and (
        lost := [each for each in old.get("enum", ()) if each not in new["enum"]]
    ):
        yield f"{where} may no longer be {', '.join(map(repr, lost))}"
    for limit, narrower in NARROWER.items():
        if limit in new and (limit not in old or narrower(old[limit], new[limit])):
            was = old.get(limit, "none")
            yield f"{where} has {limit} {new[limit]!r}, which was {was!r}"
    properties = new.get("properties", {})
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield f"{where} now requires {name}"
    for name, each in old.get("properties", {}).items():
        if name in properties:
            yield from _sent(f"{where}: {name}", each, properties[name], olds, news)
        elif new.get("additionalProperties") is False:
            yield f"{where} may no longer have {name}"


def _answered(where: str, old: Schema, new: Schema, olds: Schema, news: Schema) -> Iterator[str]:
    """How a schema promises less than before."""
    old, new = _resolved(old, olds), _resolved(new, news)
    if added := sorted(_kinds(new) - _kinds(old)):
        yield f"{where} may now be {' or '.join(added)}"
    if "enum" in old and (
        more := [each for each in new.get("enum", ()) if each not in old["enum"]]
    ):
        yield f"{where} may now be {', '.join(map(repr, more))}"
    for name, each in old.get("properties", {}).items():
        if name in old.get("required", ()) and name not in new.get("required", ()):
            yield f"{where} no longer promises {name}"
        elif name in new.get("properties", {}):
            yield from _answered(f"{where}: {name}", each, new["properties"][name], olds, news)
        else:
            yield f"{where} no longer has {name}"


def _resolved(schema: Schema, document: Schema) -> Schema:
    """The schema itself; of one or a list of them, the one."""
    if "oneOf" in schema:
        schema = schema["oneOf"][0]
    if "$ref" not in schema:
        return schema
    found: Schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _kinds(schema: Schema) -> set[str]:
    kinds = schema.get("type", [])
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return found | ({"integer"} if "number" in found else set())
