from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import TrainingError
from {{ cookiecutter.package_name }}.training.rules_baseline import Rules, by_rules, load_rules


@pytest.fixture
def contract() -> Contract:
    feature = {"role": "feature", "example": None}
    return Contract.model_validate(
        {
            "name": "model",
            "title": "Model",
            "description": "",
            "task": "classification",
            "source": {"path": "x.csv"},
            "fields": [
                {
                    "name": "churn",
                    "type": "string",
                    "role": "target",
                    "constraints": {"required": True, "enum": ["no", "yes"]},
                },
                feature | {"name": "plan", "type": "string", "constraints": {"enum": ["a", "b"]}},
                feature | {"name": "age", "type": "number"},
                feature | {"name": "paid", "type": "boolean"},
            ],
        }
    )


def written(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "baseline.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_first_rule_that_holds_answers(contract: Contract, tmp_path: Path) -> None:
    rules = load_rules(
        written(
            tmp_path,
            {
                "rules": [
                    {"when": {"plan": "a", "age": ">= 30"}, "answer": "yes"},
                    {"when": {"plan": "a"}, "answer": "no"},
                    {"when": {"age": None}, "answer": "yes"},
                    {"when": {"paid": True, "age": 5}, "answer": "yes"},
                ],
                "otherwise": "no",
            },
        ),
        contract,
    )
    frame = pd.DataFrame(
        {
            "plan": ["a", "a", "b", "b", None, "b"],
            "age": [30.0, 29.0, np.nan, 5.0, 5.0, 40.0],
            "paid": [None, None, None, 1.0, 0.0, 1.0],
            "churn": ["yes", "no", "yes", "yes", "no", "no"],
        }
    )
    given = by_rules(rules, contract, frame, frame)
    # Three rows answered yes are yes, three answered no are no; each label once more.
    yes = [0.8, 0.2, 0.8, 0.8, 0.2, 0.2]
    np.testing.assert_allclose(given, np.column_stack([1 - np.array(yes), yes]))


def test_values_are_answered_as_they_stand(contract: Contract) -> None:
    target = {"name": "churn", "type": "number", "role": "target"}
    content = contract.model_dump(by_alias=True, exclude_unset=True)
    content["fields"][0] = target | {"constraints": {"required": True}}
    values = Contract.model_validate(content | {"task": "regression"})
    rules = Rules.model_validate(
        {"rules": [{"when": {"age": "< 3"}, "answer": 7}], "otherwise": 1.5}
    )
    frame = pd.DataFrame({"age": [1.0, 3.0, np.nan]})
    assert by_rules(rules, values, frame, frame).tolist() == [7, 1.5, 1.5]


@pytest.mark.parametrize(
    ("condition", "answer", "message"),
    [
        ({"colour": "red"}, "yes", "rule 1 asks for colour, .* its features are plan, age, paid"),
        ({"plan": "c"}, "yes", "rule 1 compares plan, a string, with 'c'"),
        ({"plan": 1}, "yes", "rule 1 compares plan"),
        ({"age": "old"}, "yes", "rule 1 compares age, a number, with 'old'"),
        ({"age": True}, "yes", "rule 1 compares age"),
        ({"paid": "yes"}, "yes", "rule 1 compares paid, a boolean"),
        ({"age": "> 3"}, "maybe", "'maybe' is no answer; write one of no, yes"),
    ],
)
def test_a_rule_that_fits_no_column_or_label_is_refused(
    condition: dict[str, Any], answer: str, message: str, contract: Contract, tmp_path: Path
) -> None:
    path = written(tmp_path, {"rules": [{"when": condition, "answer": answer}], "otherwise": "no"})
    with pytest.raises(TrainingError, match=f"baseline.yaml: {message}"):
        load_rules(path, contract)
