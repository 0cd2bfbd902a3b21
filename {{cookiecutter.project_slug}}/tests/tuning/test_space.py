from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from {{ cookiecutter.package_name }}.errors import ParamsError
from {{ cookiecutter.package_name }}.tuning.space import Search, load_space


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"low": 1}, "give low and high"),
        ({"low": 1, "high": 2, "choices": [1]}, "give low and high"),
        ({"choices": [1, 2], "log": True}, "give low and high"),
        ({"choices": []}, "must contain one or more elements"),
        ({"low": 2, "high": 1}, "`low <= high` must hold"),
        ({"low": 0.0, "high": 1.0, "log": True}, "`low > 0` must hold"),
        ({"low": 1, "high": 2, "step": 1}, ".step: Extra inputs"),
        ({"low": "1", "high": 2}, ".low.float: Input should be a valid number"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    search: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({"profiles": {"one": {"rate": search}}}), encoding="utf-8")
    with pytest.raises(ParamsError, match=rf"tuning.yaml: profiles.one.rate.*{message}"):
        load_space(path, "one")


def test_a_profile_without_a_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tuning.yaml"
    path.write_text("profiles: {one: {}}\n", encoding="utf-8")
    for profile in ("one", "two"):
        with pytest.raises(ParamsError, match=f"tuning.yaml: profiles names no .* of {profile}, "):
            load_space(path, profile)
    path.unlink()
    with pytest.raises(ParamsError, match=r"tuning.yaml cannot be read .*say there where to look"):
        load_space(path, "one")


def test_whole_ends_make_whole_numbers() -> None:
    assert Search(low=1, high=9, log=True).distribution() == IntDistribution(1, 9, log=True)
    assert Search(low=1, high=9.5).distribution() == FloatDistribution(1, 9.5)
    assert Search(choices=["a", None]).distribution() == CategoricalDistribution(("a", None))


def test_a_number_is_tried_with_few_digits_between_its_ends() -> None:
    assert Search(low=0.0, high=9.0).rounded(1.23456) == 1.23
    assert Search(low=1.2345, high=9.0).rounded(1.2346) == 1.2345
    assert Search(low=0.0, high=1.2368).rounded(1.2366) == 1.2368
    assert Search(low=1, high=99999).rounded(12345) == 12345
    assert Search(choices=[0.12345]).rounded(0.12345) == 0.12345
