"""tuning.yaml: where better parameters are looked for."""

from pathlib import Path
from typing import Any, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import model_validator

from ..errors import ParamsError
from ..yaml_file import Strict, load_yaml

DIGITS = 3
"""Significant digits of a number that is tried; more would tell nothing, and read badly."""


class Search(Strict):
    """Where one parameter is looked for: from low to high, both included, or among choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[bool | int | float | str | None] | None = None

    def distribution(self) -> BaseDistribution:
        """The same for Optuna; whole numbers where both ends are."""
        if self.choices is not None:
            return CategoricalDistribution(self.choices)
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        kind: Any = IntDistribution if whole else FloatDistribution
        made: BaseDistribution = kind(self.low, self.high, log=self.log)
        return made

    def rounded(self, value: Any) -> Any:
        """A sampled value as it is tried."""
        if self.choices is not None or isinstance(value, int):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low or 0.0), self.high or 0.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        listed = self.choices is not None
        if (self.low is None, self.high is None) != (listed, listed) or (listed and self.log):
            raise ValueError("give low and high (and log), or choices")
        self.distribution()  # which refuses ends in the wrong order, and a logarithm of 0
        return self


class Space(Strict):
    """The whole of tuning.yaml: by profile of params.yaml, its parameters."""

    profiles: dict[str, dict[str, Search]]


def load_space(path: Path, profile: str) -> dict[str, Search]:
    """The search of the profile's parameters.

    Raises:
        ParamsError: the file is missing, no YAML, breaks a rule, or says nothing of the profile.
    """
    profiles = load_yaml(path, Space, ParamsError, "say there where to look").profiles
    if not profiles.get(profile):
        raise ParamsError(
            f"{path}: profiles names no parameter of {profile}, the model.profile of params.yaml;"
            " add it with the parameters to look for, or choose another profile"
        )
    return profiles[profile]
