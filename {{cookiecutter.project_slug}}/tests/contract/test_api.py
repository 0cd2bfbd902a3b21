"""What breaks a caller is found, and what does not is let through."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.package_name }} import api
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import ApiError, VersionError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout

Document = dict[str, Any]
Change = Callable[[Document], Any]
PREDICT = "/v1/predictions"


@pytest.fixture
def document(pipeline: Layout) -> Document:
    found: Document = json.loads(json.dumps(api.document(pipeline)))
    return found


def row(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Row"]
    return found


def answer(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Prediction"]
    return found


def first(document: Document) -> Document:
    """The first feature of a row."""
    found: Document = next(iter(row(document)["properties"].values()))
    return found


BREAKING: dict[str, tuple[Change, str]] = {
    "path": (lambda new: new["paths"].pop(PREDICT), "POST /v1/predictions is gone"),
    "method": (
        lambda new: new["paths"][PREDICT].update(put=new["paths"][PREDICT].pop("post")),
        "POST /v1/predictions is gone",
    ),
    "option": (
        lambda new: new["paths"][PREDICT]["post"]["parameters"].pop(),
        "no longer knows reasons",
    ),
    "choice": (
        lambda new: new["paths"][PREDICT]["post"]["parameters"][-2]["schema"].update(enum=["true"]),
        "dry_run may no longer be 'false'",
    ),
    "new feature": (
        lambda new: row(new)["required"].append("surprise"),
        "the body now requires surprise",
    ),
    "feature gone": (
        lambda new: row(new)["properties"].pop(next(iter(row(new)["properties"]))),
        "",
    ),
    "type": (lambda new: first(new).update(type="array"), "may no longer be"),
    "pattern": (
        lambda new: first(new).update(pattern="^x$"),
        "has pattern '^x$', which was 'none'",
    ),
    "minimum": (lambda new: first(new).update(minimum=1e30), "has minimum 1e+30"),
    "maximum": (lambda new: first(new).update(maximum=-1e30), "has maximum -1e+30"),
    "answer": (lambda new: answer(new)["properties"].pop("model_version"), "no longer has model_v"),
    "promise": (
        lambda new: answer(new)["required"].remove("prediction_id"),
        "no longer promises prediction_id",
    ),
    "kind of answer": (
        lambda new: answer(new)["properties"]["prediction_id"].update(type=["string", "null"]),
        "prediction_id may now be null",
    ),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "words": lambda new: new["info"].update(title="Another", description="words"),
    "path": lambda new: new["paths"].update({"/v1/more": new["paths"][PREDICT]}),
    "version": lambda new: new.update(
        paths={path.replace("/v1/", "/v2/"): each for path, each in new["paths"].items()}
    ),
    "option": lambda new: new["paths"][PREDICT]["post"]["parameters"].append(
        {"name": "more", "in": "query", "schema": {"type": "string"}}
    ),
    "answer": lambda new: answer(new)["properties"].update(more={"type": "string"}),
    "id": lambda new: row(new)["properties"].update(more={"type": ["string", "null"]}),
}


@pytest.mark.parametrize("kind", BREAKING)
def test_what_breaks_a_caller_is_named(kind: str, document: Document) -> None:
    change, said = BREAKING[kind]
    new = deepcopy(document)
    change(new)
    found = list(api.breaks(document, new))
    assert found
    assert said in found[0]


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_breaks_nobody_is_let_through(kind: str, document: Document) -> None:
    new = deepcopy(document)
    HARMLESS[kind](new)
    assert list(api.breaks(document, new)) == []


def test_a_label_more_or_less_is_told(document: Document, contract: Contract) -> None:
    if not contract.labels:
        return
    new = deepcopy(document)
    answer(new)["properties"]["label"]["enum"].append("surprise")
    assert any("may now be 'surprise'" in each for each in api.breaks(document, new))


def test_the_document_is_what_the_service_says(document: Document, client: Any) -> None:
    assert client.get("/openapi.json").json() == document


def test_a_commit_is_compared_with(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(layout.root)

    def git(*arguments: str) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *own, *arguments], check=True, capture_output=True)  # noqa: S607  (the git here)

    here = Layout()
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message=Empty")
    api.run(here)
    api.run(here, against="main")
    assert "main has no docs/openapi.json" in capsys.readouterr().out
    git("add", "docs/openapi.json")
    git("commit", "--quiet", "--message=Described")
    api.run(here, against="main")
    assert "callers of main go on as before" in capsys.readouterr().out
    changed = read_json(here.api)
    del changed["paths"][PREDICT]
    Path(here.api).write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(ApiError, match="callers of main would break:\n  POST /v1/predictions is"):
        api.run(here, against="main")
    here.api.unlink()
    with pytest.raises(ApiError, match="is gone, but main has it; make train writes it again"):
        api.run(here, against="main")
    with pytest.raises(VersionError):
        api.run(here, against="nowhere")
