from pathlib import Path

import pytest
import yaml

from {{ cookiecutter.package_name }}.errors import ParamsError
from {{ cookiecutter.package_name }}.params import load_params
from {{ cookiecutter.package_name }}.tuning.edit import with_parameters

BLOCK = """\
# Above.
seed: 1   # odd   spacing
model:
  profile: one
  profiles:
    one:
      estimator: "a.B"
      parameters:
        # Slow.
        rate: 0.05 # per tree
        leaves: 15 # at most

    two: {estimator: a.C, parameters: {}}
after: 'quoted' # stays
"""


def test_only_the_values_change() -> None:
    edited = with_parameters(BLOCK, "one", {"rate": 0.1, "leaves": 15, "depth": None, "kind": "no"})
    assert edited == BLOCK.replace("0.05", "0.1").replace(
        "at most\n", "at most\n        depth: null\n        kind: 'no'\n"
    )


def test_parameters_on_one_line_stay_on_it() -> None:
    edited = with_parameters(BLOCK, "two", {"C": 0.5, "max_iter": 100})
    assert edited == BLOCK.replace("parameters: {}", "parameters: {C: 0.5, max_iter: 100}")
    again = with_parameters(edited, "two", {"C": 1.0e-05, "penalty": "l1"})
    assert again == BLOCK.replace(
        "parameters: {}", "parameters: {C: 1.0e-05, max_iter: 100, penalty: l1}"
    )


def test_line_ends_of_windows_stay() -> None:
    edited = with_parameters(BLOCK.replace("\n", "\r\n"), "one", {"rate": 0.1, "depth": 3})
    lines = BLOCK.replace("0.05", "0.1").replace("at most\n", "at most\n        depth: 3\n")
    assert edited == lines.replace("\n", "\r\n")


def test_the_end_of_the_file_may_be_the_end_of_the_parameters() -> None:
    text = BLOCK[: BLOCK.index(" # at most")]
    assert with_parameters(text, "one", {"depth": 3}) == text + "\n        depth: 3"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 1 ", "seed: &rate 0.05 "),  # and the parameter an alias of it
        ("leaves: 15 # at most", "leaves: # nothing"),
    ],
)
def test_what_would_change_more_is_left_to_the_user(old: str, new: str) -> None:
    text = BLOCK.replace(old, new).replace("rate: 0.05 #", "rate: *rate #")
    if "&rate" not in text:
        text = text.replace("*rate", "0.05")
    with pytest.raises(ParamsError, match="cannot be edited here; write there {rate: 0.1"):
        with_parameters(text, "one", {"rate": 0.1, "leaves": 16})


def test_the_project_s_own_parameters_can_be_edited(root: Path, tmp_path: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    profiles = yaml.safe_load(text)["model"]["profiles"]
    for profile in profiles:
        (tmp_path / "params.yaml").write_text(
            with_parameters(text, profile, {"tol": 0.001}), encoding="utf-8"
        )
        found = load_params(tmp_path / "params.yaml").model.profiles
        assert found[profile].parameters == {**profiles[profile]["parameters"], "tol": 0.001}
