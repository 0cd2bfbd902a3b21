"""The usage profile: what the service has to carry, and what follows for its settings."""

import os
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ..errors import SettingsError
from ..yaml_file import FROM_HERE, Strict, load_yaml

PROFILE = Path("ops/usage-profile.yaml")
REQUESTS_A_WORKER, ROWS_A_WORKER = 1000, 5000
"""A second: well below what one reaches on a processor of its own, since clouds lend parts."""
BYTES_A_ROW = 1000

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class UsageProfile(Strict):
    """What callers ask of all instances together, as the file's comments say."""

    requests_per_second: Count
    burst_per_second: Count
    rows_per_request: Count
    max_rows_per_request: Count
    latency_ms: Annotated[float, Field(gt=0)]

    def settings(self) -> dict[str, Any]:
        """The settings of one instance that follow.

        workers: as many as the burst needs, at most one a processor: what is left is the work of
            more instances.
        """
        load = max(
            self.burst_per_second / REQUESTS_A_WORKER,
            self.burst_per_second * self.rows_per_request / ROWS_A_WORKER,
        )
        return {
            "workers": min(ceil(load), os.cpu_count() or 1),
            "max_rows": self.max_rows_per_request,
            "max_body_bytes": self.max_rows_per_request * BYTES_A_ROW,
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for less, more in (
            ("requests_per_second", "burst_per_second"),
            ("rows_per_request", "max_rows_per_request"),
        ):
            if getattr(self, less) > getattr(self, more):
                raise ValueError(
                    f"{less} {getattr(self, less)} is more than {more} {getattr(self, more)};"
                    " correct one"
                )
        return self


def load_profile(path: Path = PROFILE) -> UsageProfile:
    """Read a usage profile.

    Raises:
        SettingsError: the file is missing, no YAML, or has an unknown key or a wrong value.
    """
    return load_yaml(path, UsageProfile, SettingsError, FROM_HERE)
