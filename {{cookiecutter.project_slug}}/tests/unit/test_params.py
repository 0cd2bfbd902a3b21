from pathlib import Path
from typing import Any

import pytest
import yaml

from {{ cookiecutter.package_name }}.errors import ParamsError
from {{ cookiecutter.package_name }}.params import load_params


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "sed", 1, "sed: Extra inputs"),
        ("gate", "min_gain", 1, "gate.min_gain: Extra inputs"),
        ("split", "test_share", 1.5, "split.test_share: Input should be less than 1"),
        ("split", "test_share", "0.2", "split.test_share: Input should be a valid number"),
        ("split", "by", "order", "split.by: Input should be 'random', 'time' or 'group'"),
        ("validate", "rules", {}, "rules lacks wrong_type, missing"),
        ("model", "profile", "best", "model: .*profile best is none of accurate, interpretable"),
        (
            "model",
            "profiles",
            {"accurate": {"estimator": "Ridge", "parameters": {}}},
            "model.profiles.accurate.estimator: String should match",
        ),
        ("value", "hurdle", -1.0, "value.hurdle: Input should be greater than or equal to 0"),
        ("gate", "floors", {"accuracy": 0.9}, "gate: .*floors holds accuracy alone"),
        ("gate", "floors", {}, "gate: .*floors holds nothing alone"),
        ("gate", "advisory", ["hurdle"], "gate: .*advisory names hurdle, which is no gate"),
        (None, "artefact", "pickle", "artefact: Input should be 'onnx' or 'skops'"),
    ],
)
def test_a_fault_is_refused_by_name(
    section: str | None, key: str, value: Any, message: str, root: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    (content[section] if section else content)[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        load_params(path)
