import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Contract, load_contract
from {{ cookiecutter.package_name }}.errors import ContractError

Content = dict[str, Any]


def feature(content: Content, numeric: bool) -> Content:
    found: Content = next(
        field
        for field in content["fields"]
        if field["role"] == "feature" and (field["type"] != "string") == numeric
    )
    return found


def target(content: Content) -> Content:
    found: Content = next(field for field in content["fields"] if field["role"] == "target")
    return found


def change(content: Content, where: str, key: str, value: Any) -> object:
    numeric = {"number": True, "text": False}
    field = target(content) if where == "target" else feature(content, numeric[where])
    field[key] = value
    return field


FAULTS: dict[str, tuple[Callable[[Content], Any], str]] = {
    "unknown key": (lambda c: c.update(colour=1), "colour: Extra inputs"),
    "unknown type": (lambda c: change(c, "number", "type", "colour"), "type: Input should be"),
    "unknown role": (lambda c: change(c, "number", "role", "colour"), "role: Input should be"),
    "unquoted yes": (
        lambda c: change(c, "text", "constraints", {"enum": [True]}),
        "enum.0: Input should be a valid string .found True",
    ),
    "enum of a number": (
        lambda c: change(c, "number", "constraints", {"enum": ["a"]}),
        "enum and pattern go with type string",
    ),
    "a private text as feature": (
        lambda c: change(c, "text", "pii", True),
        "a text marked pii cannot be a feature",
    ),
    "a date as feature": (
        lambda c: change(c, "number", "type", "date"),
        "minimum and maximum go with numbers|a date cannot be a feature",
    ),
    "a pattern that cannot be used": (
        lambda c: change(c, "text", "constraints", {"pattern": "(?=a)"}),
        "pattern '.*' cannot be used",
    ),
    "a format of a text": (
        lambda c: change(c, "text", "format", "%Y"),
        "format goes with date and datetime",
    ),
    "true and false alike": (
        lambda c: change(c, "text", "trueValues", ["false"]),
        "in trueValues and falseValues",
    ),
    "an unknown encoding": (
        lambda c: c.update(source={"path": "a.csv", "encoding": "nosuch"}),
        "encoding 'nosuch' is none that Python knows",
    ),
    "one sign for two things": (
        lambda c: c.update(source={"path": "a.csv", "delimiter": ".", "decimalChar": "."}),
        "delimiter and decimalChar are both",
    ),
    "two times": (
        lambda c: c["fields"].extend(
            {"name": name, "type": "date", "role": "time"} for name in ("then", "now")
        ),
        "have role time; give it to one",
    ),
    "a time that is none": (
        lambda c: (
            [f.update(role="excluded") for f in c["fields"] if f["role"] == "time"],
            c["fields"].append({"name": "then", "type": "string", "role": "time"}),
        ),
        "needs type date or datetime, as time",
    ),
    "minimum of a text": (
        lambda c: change(c, "text", "constraints", {"minimum": 1}),
        "minimum and maximum go with numbers",
    ),
    "crossed limits": (
        lambda c: change(c, "number", "constraints", {"minimum": 2, "maximum": 1}),
        "minimum 2.* and maximum 1.* are in the wrong order",
    ),
    "a limit beyond float32": (
        lambda c: change(c, "number", "constraints", {"maximum": 1e39}),
        "beyond float32",
    ),
    "a limit that is not finite": (
        lambda c: change(c, "number", "constraints", {"maximum": float("inf")}),
        "maximum: Input should be a finite number",
    ),
    "a value twice": (
        lambda c: change(c, "text", "constraints", {"enum": ["a", "a"]}),
        "names a value twice",
    ),
    "an example of another type": (
        lambda c: change(c, "number", "example", "text"),
        "example 'text' is none that its type and constraints allow",
    ),
    "an example out of range": (
        lambda c: change(c, "number", "example", 10**9),
        "example 1000000000 is none",
    ),
    "no example of a required field": (
        lambda c: c["fields"].append(
            {"name": "x", "type": "string", "role": "feature", "constraints": {"required": True}}
        ),
        "x: example None is none",
    ),
    "an example outside its categories": (
        lambda c: c["fields"].append(
            {"name": "x", "type": "string", "role": "feature", "example": "a"}
            | {"constraints": {"enum": ["b"]}}
        ),
        "x: example 'a' is none",
    ),
    "two fields of one name": (
        lambda c: c["fields"].append(dict(feature(c, True))),
        "named twice",
    ),
    "two targets": (lambda c: change(c, "number", "role", "target"), "2 have role target"),
    "no target": (lambda c: change(c, "target", "role", "excluded"), "0 have role target"),
    "a target that may be missing": (
        lambda c: target(c)["constraints"].update(required=False),
        "needs constraints.required: true, as target",
    ),
    "no feature": (
        lambda c: [f.update(role="excluded") for f in c["fields"] if f["role"] == "feature"],
        "none has role feature",
    ),
    "no labels": (
        lambda c: (
            c.update(task="classification"),
            change(c, "target", "constraints", {"required": True}),
        ),
        "needs constraints.enum",
    ),
    "text to regress on": (
        lambda c: (
            c.update(task="regression"),
            change(c, "target", "type", "string"),
            change(c, "target", "constraints", {"required": True}),
        ),
        "must be a number for task regression",
    ),
    "a name with capitals": (lambda c: c.update(name="My Service"), "name: String should match"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_by_name(fault: str, root: Path, tmp_path: Path) -> None:
    break_it, message = FAULTS[fault]
    content = yaml.safe_load((root / "contract.yaml").read_text(encoding="utf-8"))
    break_it(content)
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ContractError, match=f"{re.escape(str(path))}.*{message}"):
        load_contract(path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="run the command from the project's folder"):
        load_contract(tmp_path / "contract.yaml")


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text("fields: [", encoding="utf-8")
    with pytest.raises(ContractError, match="cannot be read as YAML"):
        load_contract(path)


def test_every_feature_has_one_kind(contract: Contract) -> None:
    by_kind = [column.name for column in (*contract.numbers, *contract.categories)]
    assert sorted(by_kind) == sorted(column.name for column in contract.features)
