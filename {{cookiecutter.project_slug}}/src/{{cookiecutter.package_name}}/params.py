"""params.yaml: every figure and choice of the pipeline, frozen."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from .errors import ParamsError
from .yaml_file import FROM_HERE, Strict, load_yaml

Share = Annotated[float, Field(gt=0, lt=1)]
Cost = Annotated[float, Field(ge=0)]
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


class Profile(Strict):
    """An estimator by its import path, and its parameters."""

    estimator: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]
    parameters: dict[str, Any]


class Model(Strict):
    """The profiles there are, and the one in use."""

    profile: str
    profiles: dict[str, Profile]

    @property
    def chosen(self) -> Profile:
        """The profile in use."""
        return self.profiles[self.profile]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.profile not in self.profiles:
            raise ValueError(f"profile {self.profile} is none of {', '.join(self.profiles)}")
        return self


class Value(Strict):
    """What answers cost, in the unit of the domain.

    costs: for a classification, what a wrong answer costs where a label is true; where it depends
        on the answer, by answers, 0 where one is not named.
    cost_per_unit: for a regression, of each unit by which an answer is off.
    hurdle: what the model has to save a row against the best constant answer.
    """

    unit: Annotated[str, Field(min_length=1)]
    costs: dict[str, Cost | dict[str, Cost]] | None = None
    cost_per_unit: Annotated[float, Field(gt=0)] | None = None
    hurdle: Annotated[float, Field(ge=0)]


class Evaluate(Strict):
    """How sure the figures are, and which parts of the rows have figures of their own.

    bins: for a number with role group, the values that cut it; its quartiles otherwise.
    """

    bootstrap_samples: Annotated[int, Field(ge=100)]
    confidence: Share
    min_slice_rows: Annotated[int, Field(ge=1)]
    bins: dict[str, list[float]]


class Gate(Strict):
    """What a model must reach to be served; null switches a gate off."""

    min_gain_over_constant: float | None
    min_gain_over_rules: float | None
    min_gain_over_simpler: float | None
    min_gain_over_champion: float | None
    floors: dict[str, float]
    max_group_gap: Share | None
    max_calibration_error: Share | None
    max_single_feature_score: Share | None
    max_differing_answers: Annotated[float, Field(ge=0, lt=1)] | None
    max_latency_ms: Annotated[float, Field(gt=0)] | None
    max_size_mb: Annotated[float, Field(gt=0)] | None
    denied_features: list[str]
    advisory: list[str]

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        if set(self.floors) <= {"accuracy"}:
            raise ValueError(
                f"floors holds {', '.join(self.floors) or 'nothing'} alone, and an answer that is"
                " always the most frequent one reaches a high accuracy; add skill, roc_auc or r2"
            )
        if unknown := sorted(set(self.advisory) - set(type(self).model_fields)):
            raise ValueError(f"advisory names {', '.join(unknown)}, which is no gate")
        return self


class Card(Strict):
    """What the model card says that no figure tells."""

    audience: str
    limits: list[str]


class Params(Strict):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    validate_: Validate = Field(alias="validate")
    feedback: Feedback
    split: Split
    model: Model
    value: Value
    evaluate: Evaluate
    gate: Gate
    card: Card
    artefact: Literal["onnx", "skops"]


def load_params(path: Path) -> Params:
    """Read the parameters.

    Raises:
        ParamsError: the file is missing, no YAML, or has an unknown key or a wrong value.
    """
    return load_yaml(path, Params, ParamsError, FROM_HERE)
