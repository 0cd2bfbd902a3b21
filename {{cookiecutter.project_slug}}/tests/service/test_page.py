"""The page: made from any contract, safe to show, and the API's own answers behind its forms."""

import base64
import hashlib
import json
import logging
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.mock import mock_predictor
from {{ cookiecutter.package_name }}.serving.page.form import as_row, as_text
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings

SCRIPT = "<script>alert('1')</script>&\"'|"
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Shown(HTMLParser):
    """Each form's controls by name, with what they hold; what is tagged how; the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._form: dict[str, str] = {}
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "form":
            self._form = self.forms[given["action"] or ""] = {}
        elif tag == "input":
            self._form[given["name"] or ""] = given["value"] or ""
        elif tag == "select":
            self._select = given["name"] or ""
        elif tag == "option":
            first = self._select not in self._form
            if first or "selected" in given:
                self._form[self._select] = given["value"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def by_id(self, name: str) -> dict[str, str | None]:
        (found,) = (each for _, each in self.tags if each.get("id") == name)
        return found


Build = Callable[..., tuple[TestClient, Contract]]


@pytest.fixture
def served(contract: Contract, log_file: Path) -> Build:
    """Serves a constant under a contract of the test's own."""

    def serve(fields: list[dict[str, Any]], labels: list[str]) -> tuple[TestClient, Contract]:
        limits = {"required": True, "enum": labels or None}
        kind = "string" if labels else "number"
        own = Contract.model_validate(
            contract.model_dump(by_alias=True)
            | {
                "title": SCRIPT,
                "description": SCRIPT,
                "task": "classification" if labels else "regression",
                "fields": [
                    {"name": "is", "type": kind, "role": "target", "constraints": limits},
                    *fields,
                ],
            }
        )
        log = PredictionLog(str(log_file))
        return TestClient(create_app(mock_predictor(own), log, Settings())), own

    return serve


HOSTILE = [
    {
        "name": SCRIPT,
        "title": SCRIPT,
        "type": "string",
        "role": "feature",
        "constraints": {"enum": [SCRIPT, "items", " two\nlines "]},
        "example": " two\nlines ",
    },
    {"name": "items", "type": "string", "role": "feature", "example": None},
    {"name": "get", "type": "boolean", "role": "feature", "example": False},
    {
        "name": "é ü",
        "type": "number",
        "role": "feature",
        "constraints": {"required": True},
        "example": 1e22,
    },
    {"name": "keys", "type": "string", "role": "id", "constraints": {"required": True}},
    {
        "name": "card",
        "type": "integer",
        "role": "id",
        "pii": True,
    },
]


def typed(contract: Contract) -> dict[str, str]:
    """The contract's example as the form holds it."""
    return {each.name: as_text(contract.example.get(each.name)) for each in contract.requested}


def page_of(found: httpx2.Response, status: int = 200) -> Shown:
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    return Shown(found.text)


def test_it_shows_the_model_and_a_form_of_the_contract(
    client: TestClient, contract: Contract, predictor: Predictor
) -> None:
    shown = page_of(client.get("/"))
    assert shown.forms["./"] == typed(contract)
    for number, column in enumerate(contract.requested):
        control = shown.by_id(f"field-{number}")
        assert control["name"] == column.name
        needed = column.constraints.required and column.role != "id"
        assert ("required" in control) == needed
        assert shown.by_id(str(control["aria-describedby"]))
        assert ("label", {"for": f"field-{number}"}) in shown.tags
        assert (column.title or column.name) in shown.text
        for limit in (column.constraints.minimum, column.constraints.maximum):
            assert limit is None or f" {limit:.15g}" in shown.text
    options = [each["value"] for tag, each in shown.tags if tag == "option"]
    for column in contract.features:
        assert set(column.constraints.enum or ()) <= set(options)
    info = predictor.info
    for said in (
        contract.title,
        info.version,
        info.task,
        info.estimator,
        *info.metrics,
        *info.limits,
    ):
        assert said in shown.text


def test_the_answer_is_the_apis_with_reasons_and_logged(
    client: TestClient, contract: Contract, row: dict[str, Any], log_file: Path
) -> None:
    expected = client.post("/v1/predictions?reasons=10", json=row).json()
    found = client.post("/", data=typed(contract), headers={"x-request-id": "mine"})
    shown = page_of(found)
    line = json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    assert line["inputs"] == row
    assert line["request_id"] == "mine"
    assert "dry_run" not in line
    assert shown.forms["feedback"]["prediction_id"] == line["prediction_id"]
    assert shown.forms["./"] == typed(contract)
    answer = expected["label"] if contract.labels else f"{expected['value']:,.0f}"
    assert answer in shown.text
    bars = [each for tag, each in shown.tags if tag == "rect" and each["class"] != "zero"]
    signs = ["down" if each["contribution"] < 0 else "up" for each in expected["reasons"]]
    assert [each["class"] for each in bars] == signs
    widths = [float(each["width"] or 0) for each in bars]
    assert widths == sorted(widths, reverse=True)
    for reason in expected["reasons"]:
        if contract.labels:
            assert f"{reason['contribution']:+.2f}" in shown.text
    counted = client.get("/metrics").text
    assert 'http_requests_total{route="/",status="200"} 1.0' in counted


@pytest.mark.usefixtures("underived")
def test_a_refused_form_says_so_at_the_fields_and_keeps_what_was_typed(
    served: Build, log_file: Path
) -> None:
    client, own = served(HOSTILE, [])
    place, column = next(each for each in enumerate(own.requested) if each[1].type == "number")
    for text, fault in ((SCRIPT, "Input should be"), (" ", "A value is needed.")):
        given = typed(own) | {column.name: text}
        shown = page_of(client.post("/", data=given), 422)
        assert shown.forms["./"] == given
        assert "script" not in [tag for tag, _ in shown.tags]
        control = shown.by_id(f"field-{place}")
        assert control["aria-invalid"] == "true"
        assert f"field-{place}-fault" in str(control["aria-describedby"])
        assert shown.by_id(f"field-{place}-fault")
        assert ("a", {"href": f"#field-{place}"}) in shown.tags
        assert "autofocus" in shown.by_id("refusal")
        assert shown.text.count(fault) == 2  # in the summary, and at the field
    unknown = page_of(client.post("/", data=typed(own) | {SCRIPT + "?": "1"}), 422)
    assert SCRIPT + "?: Extra inputs" in unknown.text
    assert log_file.read_text(encoding="utf-8") == ""
    counted = 'feature_refused_total{feature="' + column.name + '"} 2.0'
    assert counted in client.get("/metrics").text


def test_the_outcome_goes_to_the_log(
    client: TestClient, contract: Contract, row: dict[str, Any], log_file: Path
) -> None:
    known = client.post("/v1/predictions", json=row).json()["prediction_id"]
    target = contract.target
    outcome = contract.labels[0] if contract.labels else f"{max(target.minimum, 1):.15g}"
    told = {"prediction_id": known, target.name: outcome}
    assert known in page_of(client.post("/feedback", data=told)).text
    line = json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    assert (line["prediction_id"], str(line["feedback"])) == (known, as_text(line["feedback"]))
    for wrong in ("", SCRIPT):
        shown = page_of(client.post("/feedback", data=told | {target.name: wrong}), 422)
        assert shown.forms["feedback"]["prediction_id"] == known
        assert shown.by_id("outcome")["aria-invalid"] == "true"
    page_of(client.post("/feedback", data=told | {"prediction_id": SCRIPT}), 422)
    assert len(log_file.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://testserver"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://testserver"}, 403),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "http://testserver.elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_only_its_own_forms_are_taken(
    headers: dict[str, str], status: int, client: TestClient, contract: Contract, log_file: Path
) -> None:
    assert client.post("/", data=typed(contract), headers=headers).status_code == status
    told = client.post("/feedback", data={"prediction_id": ""}, headers=headers)
    assert told.status_code == (422 if status == 200 else status)
    assert bool(log_file.read_text(encoding="utf-8")) == (status == 200)


def test_a_browser_is_asked_for_a_key(
    predictor: Predictor, log_file: Path, contract: Contract
) -> None:
    known = "team:" + hashlib.sha256(b"secret").hexdigest()
    guarded = TestClient(
        create_app(predictor, PredictionLog(str(log_file)), Settings(api_keys=known))
    )
    for path in ("/", "/style.css"):
        refused = guarded.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
    for path in ("/", "/feedback"):
        assert guarded.post(path, data=typed(contract)).status_code == 401
    basic = {"authorization": "Basic " + base64.b64encode(b":secret").decode()}
    page_of(guarded.get("/", headers=basic))
    page_of(guarded.post("/", data=typed(contract), headers=basic))
    assert json.loads(log_file.read_text(encoding="utf-8"))["caller"] == "team"


def test_nothing_runs_is_framed_or_loaded_from_elsewhere(
    client: TestClient, contract: Contract
) -> None:
    for found in (client.get("/"), client.post("/", data=typed(contract))):
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert found.headers["x-frame-options"] == "DENY"
        assert not re.search(r"<script|<style| style=| on\w+=|https?:", found.text)
        addresses = re.findall(r'(?:href|src|action)="([^"]*)"', found.text)
        for address in {each for each in addresses if each[0] != "#" and ":" not in each}:
            method = client.post if address == "feedback" else client.get
            assert method("/" + address.removeprefix("./")).status_code in (200, 415)
    assert client.get("/style.css").headers["content-type"].startswith("text/css")
    assert page_of(client.get("/feedback")).forms["./"]
    assert client.put("/").status_code == 405


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("", {}, 415),
        ("{}", {"content-type": "application/json"}, 415),
        ("a=1&a=2", FORM, 400),
        ("a=%ff", FORM, 400),
        ("é=1", FORM, 400),
        ("&".join(f"{number}=1" for number in range(5000)), FORM, 400),
        ("a=" + "1" * 200_000, FORM, 413),
        ("", FORM, 422),
    ],
)
def test_other_bodies_are_refused(
    body: str, headers: dict[str, str], status: int, client: TestClient
) -> None:
    for path in ("/", "/feedback"):
        found = client.post(path, content=body.encode(), headers=headers)
        assert found.status_code == status


@pytest.mark.usefixtures("underived")
@pytest.mark.parametrize("labels", [[], ["<b>no", "yes"], ["<b>no", "items", "keys"]])
def test_any_contract_has_a_page(labels: list[str], served: Build, log_file: Path) -> None:
    client, own = served(HOSTILE, labels)
    shown = page_of(client.get("/"))
    assert shown.forms["./"] == typed(own)
    assert not [each for _, each in shown.tags if "aria-invalid" in each]
    for place, column in enumerate(own.requested):
        assert ("required" in shown.by_id(f"field-{place}")) == (column.name == "é ü")
    assert "built-in" not in shown.text  # what a dictionary has by the name of a column
    # A browser sends a line break as two characters.
    body = urlencode(typed(own)).replace("%0A", "%0D%0A")
    shown = page_of(client.post("/", content=body, headers=FORM))
    line = json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    assert line["inputs"] == own.example
    assert not {"script", "b"} & {tag for tag, _ in shown.tags}
    assert SCRIPT in shown.text
    without = typed(own) | {"é ü": ""}
    del without["items"]
    shown = page_of(client.post("/", data=without), 422)
    assert shown.forms["./"] == typed(own) | {"é ü": "", "items": ""}
    card = client.get("/v1/model/card")
    assert card.headers["content-type"].startswith("text/markdown")
    assert "<" not in card.text


@pytest.mark.usefixtures("underived")
def test_personal_data_stays_out_of_the_logs(
    served: Build, log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client, own = served(HOSTILE, [])
    with caplog.at_level(logging.DEBUG):
        page_of(client.post("/", data=typed(own) | {"card": "4000123"}))
        refused = page_of(client.post("/", data=typed(own) | {"card": "4000123x"}), 422)
    assert refused.forms["./"]["card"] == "4000123x"
    assert "4000123" not in log_file.read_text(encoding="utf-8")
    assert not [each for each in caplog.records if "4000123" in str(vars(each))]


@pytest.mark.usefixtures("underived")
@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("é ü", " 1.50 ", 1.5),
        ("é ü", "-.5e1", -5.0),
        ("é ü", "1e999", "1e999"),
        ("é ü", "nan", "nan"),
        ("é ü", "1,5", "1,5"),
        ("é ü", "\uff11", "\uff11"),
        ("é ü", "", None),
        ("card", "12", 12),
        ("card", "1_2", "1_2"),
        ("card", "1" * 5000, "1" * 5000),
        ("get", "true", True),
        ("get", "1", "1"),
        ("items", " as it is ", " as it is "),
    ],
)
def test_what_is_typed_means_one_thing(name: str, text: str, value: Any, served: Build) -> None:
    _, own = served(HOSTILE, [])
    found = as_row({name: text}, own.requested)[name]
    assert found == value
    assert type(found) is type(value)


def test_a_log_that_fails_is_said_on_the_page(
    client: TestClient, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        shown = page_of(client.post("/", data=typed(contract)), 503)
    assert "could not be logged" in shown.text
    assert shown.forms["./"] == typed(contract)
