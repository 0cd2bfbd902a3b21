"""params.yaml: every figure and choice of the pipeline, frozen."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from .errors import ParamsError
from .yaml_file import FROM_HERE, Strict, load_yaml

Share = Annotated[float, Field(gt=0, lt=1)]
RuleName = Literal[
    "wrong_type",
    "missing",
    "missing_target",
    "out_of_range",
    "unknown_category",
    "changed_format",
    "future_time",
    "default_value",
    "duplicate_row",
    "duplicate_id",
]
RULES: tuple[RuleName, ...] = get_args(RuleName)


class Rule(Strict):
    """What a broken rule does to the row, and the share of rows from which it stops the pipeline.

    reject: the row is kept aside; warn: it goes on; stop: no row may break the rule.
    """

    severity: Literal["reject", "warn", "stop"]
    max_share: Annotated[float, Field(ge=0, le=1)] = 0.0


class Validate(Strict):
    """Limits on the dataset."""

    min_rows: Annotated[int, Field(ge=1)]
    min_label_share: Share
    max_rejected_share: Annotated[float, Field(ge=0, lt=1)]
    max_drift: Annotated[float, Field(gt=0)]
    rules: dict[RuleName, Rule]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if absent := [name for name in RULES if name not in self.rules]:
            raise ValueError(f"rules lacks {', '.join(absent)}; give each severity and max_share")
        return self


class Feedback(Strict):
    """Which labels count."""

    max_delay_days: Annotated[int, Field(ge=1, le=36_500)]


class Split(Strict):
    """Which rows are held out: random ones, the latest, or whole groups of equal `column`."""

    by: Literal["random", "time", "group"]
    test_share: Share
    column: str | None = None


class Model(Strict):
    """The estimator by import path, and its parameters."""

    estimator: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]
    parameters: dict[str, Any]


class Evaluate(Strict):
    """How uncertainty is measured."""

    bootstrap_samples: Annotated[int, Field(ge=100)]


class Gate(Strict):
    """What a model must reach to be exported."""

    min_gain_in_standard_errors: Annotated[float, Field(ge=0)]
    max_single_feature_score: Share


class Params(Strict):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    validate_: Validate = Field(alias="validate")
    feedback: Feedback
    split: Split
    model: Model
    evaluate: Evaluate
    gate: Gate
    artefact: Literal["onnx", "skops"]


def load_params(path: Path) -> Params:
    """Read the parameters.

    Raises:
        ParamsError: the file is missing, no YAML, or has an unknown key or a wrong value.
    """
    return load_yaml(path, Params, ParamsError, FROM_HERE)
