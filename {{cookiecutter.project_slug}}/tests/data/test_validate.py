import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Column, Contract
from {{ cookiecutter.package_name }}.data import validate
from {{ cookiecutter.package_name }}.data.table import FAULTS, JOINED, REASONS
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params


@pytest.fixture
def layout(layout: Layout) -> Layout:
    """A project whose snapshot has sound rows alone, whatever is wrong in the team's table."""
    sound = pd.read_parquet(layout.valid).assign(**{FAULTS: ""})
    sound[JOINED] = False
    sound.to_parquet(layout.raw, index=False)
    validate.run(layout)
    return layout


def spoil(layout: Layout, name: str, value: Any, rows: int) -> None:
    frame = pd.read_parquet(layout.raw)
    frame.loc[: rows - 1, name] = value
    frame.to_parquet(layout.raw, index=False)


def limit(layout: Layout, rule: str, severity: str, max_share: float) -> None:
    content = yaml.safe_load(layout.params.read_text(encoding="utf-8"))
    content["validate"]["rules"][rule] = {"severity": severity, "max_share": max_share}
    layout.params.write_text(yaml.safe_dump(content), encoding="utf-8")


def faults(column: Column) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if column.constraints.required:
        found.append(("missing_target" if column.role == "target" else "missing", None))
    if column.is_number:
        found.append(("out_of_range", np.inf))
        if column.constraints.minimum is not None:
            found.append(("out_of_range", column.minimum - 1))
        if column.constraints.maximum is not None:
            found.append(("out_of_range", column.maximum + 1))
    elif column.constraints.enum is not None:
        found.append(("unknown_category", "surprise"))
    return found


def test_each_rule_of_each_column_rejects_the_row_with_its_reason(
    layout: Layout, contract: Contract
) -> None:
    before = pd.read_parquet(layout.raw)
    every = [(column.name, *fault) for column in contract.kept for fault in faults(column)]
    for start in range(0, len(every), 5):  # few enough not to stop the pipeline
        spoilt = before.copy()
        for place, (name, _, value) in enumerate(some := every[start : start + 5]):
            spoilt[name] = spoilt[name].astype(object)
            spoilt.loc[place, name] = value
        spoilt.infer_objects().to_parquet(layout.raw, index=False)
        validate.run(layout)
        rejected = pd.read_parquet(layout.rejected)
        assert rejected[REASONS].tolist() == [f"{rule}: {name}" for name, rule, _ in some]
        assert len(pd.read_parquet(layout.valid)) == len(before) - len(some)
        found = read_json(layout.validation_report)["rules"]
        for rule in {rule for _, rule, _ in some}:
            columns = Counter(name for name, other, _ in some if other == rule)
            assert (found[rule]["rows"], found[rule]["columns"]) == (columns.total(), columns)


# One column more, its constraints, a value that is sound in every row, one that is not, its rule.
MORE: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "future_time": (
        {"type": "datetime", "role": "time"},
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime.now(UTC) + timedelta(days=2),
    ),
    "changed_format": (
        {"type": "string", "role": "group", "constraints": {"pattern": "[A-Z]{2}[0-9]+"}},
        "AB12",
        "ab-12",
    ),
    "duplicate_id": (
        {"type": "string", "role": "id", "constraints": {"unique": True}},
        None,
        "id-7",
    ),
}


@pytest.fixture
def widened(request: pytest.FixtureRequest, layout: Layout) -> tuple[Layout, str, Any]:
    """A project with one column more, the rule that it is for, and a value that breaks the rule."""
    rule = request.param
    field, sound, broken = MORE[rule]
    content = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    for other in content["fields"]:
        other["role"] = "excluded" if other["role"] == "time" else other["role"]
    content["fields"].append({"name": "extra", **field})
    layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    frame = pd.read_parquet(layout.raw)
    frame["extra"] = [f"id-{row}" for row in range(len(frame))] if sound is None else sound
    frame.to_parquet(layout.raw, index=False)
    return layout, rule, broken


@pytest.mark.parametrize("widened", MORE, indirect=True)
def test_a_rule_of_times_formats_and_ids_bites(widened: tuple[Layout, str, Any]) -> None:
    layout, rule, broken = widened
    validate.run(layout)
    assert rule not in read_json(layout.validation_report)["rules"]
    limit(layout, rule, "reject", 0.01)
    spoil(layout, "extra", broken, 1)
    validate.run(layout)
    rejected = pd.read_parquet(layout.rejected)
    assert rejected[REASONS].tolist() == [f"{rule}: extra"]
    limit(layout, rule, "stop", 0.5)
    with pytest.raises(DataError, match=f"{rule}: 1 of .* rows .extra 1."):
        validate.run(layout)


def test_equal_rows_are_counted_and_too_many_stop_the_pipeline(layout: Layout) -> None:
    limit(layout, "duplicate_id", "warn", 1.0)
    frame = pd.read_parquet(layout.raw)
    before = read_json(layout.validation_report)["rules"].get("duplicate_row", {"rows": 0})["rows"]
    pd.concat([frame, frame[:5]]).to_parquet(layout.raw, index=False)
    validate.run(layout)
    assert read_json(layout.validation_report)["rules"]["duplicate_row"]["rows"] == before + 5
    assert len(pd.read_parquet(layout.valid)) == len(frame) + 5
    pd.concat([frame, frame[: len(frame) // 2]]).to_parquet(layout.raw, index=False)
    with pytest.raises(DataError, match="duplicate_row: .* against 0.2"):
        validate.run(layout)


def test_a_rise_of_default_values_stops_the_pipeline(layout: Layout, contract: Contract) -> None:
    column = next(each for each in contract.numbers if each.type != "boolean")
    value = -1.0 if column.minimum <= -1 else 0.0
    frame = pd.read_parquet(layout.raw)
    spoil(layout, column.name, value, len(frame) // 5)
    with pytest.raises(DataError, match=f"default_value: {re.escape(column.name)} holds 0, -1"):
        validate.run(layout)


def test_each_rule_can_warn_reject_and_stop(layout: Layout, contract: Contract) -> None:
    column = next(each for each in contract.features if each.constraints.enum)
    spoil(layout, column.name, "surprise", 3)
    rows = len(pd.read_parquet(layout.raw))
    for severity, left in [("warn", rows), ("reject", rows - 3)]:
        limit(layout, "unknown_category", severity, 0.5)
        validate.run(layout)
        assert len(pd.read_parquet(layout.valid)) == left
    limit(layout, "unknown_category", "stop", 0.5)
    with pytest.raises(DataError, match=f"y: 3 of {rows} rows .{re.escape(column.name)} 3."):
        validate.run(layout)


def test_a_renamed_category_is_named(layout: Layout, contract: Contract) -> None:
    column = next(each for each in contract.features if each.constraints.enum)
    frame = pd.read_parquet(layout.raw)
    old = frame[column.name].value_counts().index[0]
    frame[column.name] = frame[column.name].replace(old, "Renamed")
    frame.to_parquet(layout.raw, index=False)
    with pytest.raises(
        DataError, match=re.escape(f"of {column.name} {old!r} is gone and 'Renamed'")
    ):
        validate.run(layout)


def test_rejected_rows_beyond_the_limit_stop_the_pipeline(
    layout: Layout, contract: Contract, params: Params
) -> None:
    share = params.validate_.max_rejected_share
    too_many = int(share * len(pd.read_parquet(layout.raw))) + 1
    column = contract.numbers[0]
    spoil(layout, column.name, column.maximum + 1, too_many)
    limit(layout, "out_of_range", "reject", 0.5)
    with pytest.raises(DataError, match=f"{too_many} of .* rows rejected, .*share {share}"):
        validate.run(layout)
    assert len(pd.read_parquet(layout.rejected)) == too_many


def test_rows_without_a_label_are_set_aside_up_to_a_limit_of_their_own(
    layout: Layout, contract: Contract
) -> None:
    rows = len(pd.read_parquet(layout.raw))
    spoil(layout, contract.target.name, None, rows // 10)
    validate.run(layout)
    assert len(pd.read_parquet(layout.rejected)) == rows // 10
    spoil(layout, contract.target.name, None, rows // 4)
    with pytest.raises(DataError, match=f"missing_target: {rows // 4} of .* against 0.2"):
        validate.run(layout)


def test_a_feature_without_any_value_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    name = contract.features[0].name
    spoil(layout, name, float("nan"), len(pd.read_parquet(layout.raw)))
    with pytest.raises(DataError, match=f"{re.escape(name)} holds no value in any row"):
        validate.run(layout)


def test_too_few_rows_stop_the_pipeline(layout: Layout, params: Params) -> None:
    least = params.validate_.min_rows
    pd.read_parquet(layout.raw).head(least - 1).to_parquet(layout.raw, index=False)
    with pytest.raises(DataError, match=f"{least - 1} valid rows are left, fewer than .* {least}"):
        validate.run(layout)


def test_rows_that_are_rejected_are_no_reason_to_add_rows(
    layout: Layout, contract: Contract
) -> None:
    column = contract.numbers[0]
    rows = len(pd.read_parquet(layout.raw))
    spoil(layout, column.name, column.maximum + 1, rows)
    with pytest.raises(
        DataError, match=f"0 valid rows .*; {rows} are rejected: .*parquet says why"
    ):
        validate.run(layout)


def test_missing_values_of_a_required_column_may_be_allowed(
    layout: Layout, contract: Contract
) -> None:
    column = next(each for each in contract.features if each.constraints.required)
    spoil(layout, column.name, None, len(pd.read_parquet(layout.raw)) // 2)
    name = re.escape(column.name)
    with pytest.raises(DataError, match=f"missing: .*{name}.*, dropping required: true"):
        validate.run(layout)


def test_a_label_with_hardly_a_row_stops_the_pipeline(layout: Layout, contract: Contract) -> None:
    if not contract.labels:
        return
    frame = pd.read_parquet(layout.raw)
    label = frame[contract.target.name].value_counts().index[-1]
    rare = frame[contract.target.name] == label
    frame = pd.concat([frame[~rare], frame[rare].head(len(frame) // 400)])
    frame.to_parquet(layout.raw, index=False)
    layout.reference.unlink()
    with pytest.raises(DataError, match=f"is {re.escape(label)} in a share of 0.00"):
        validate.run(layout)


def test_a_shift_of_one_column_is_drift_until_it_is_accepted(
    layout: Layout, contract: Contract
) -> None:
    column = contract.numbers[-1]
    frame = pd.read_parquet(layout.raw)
    spread = frame[column.name].quantile([0.6, 0.9]).to_numpy()
    frame.loc[frame[column.name] < spread[0], column.name] = spread[1]
    frame.to_parquet(layout.raw, index=False)
    with pytest.raises(DataError, match=f"drift: {re.escape(column.name)} has a population"):
        validate.run(layout)
    validate.accept(layout)
    validate.run(layout)


def test_samples_of_the_same_table_are_no_drift(layout: Layout) -> None:
    frame = pd.read_parquet(layout.raw)
    for seed in range(5):
        frame.sample(300, random_state=seed).to_parquet(layout.raw, index=False)
        validate.run(layout)


def test_only_what_was_accepted_is_the_reference(layout: Layout) -> None:
    before = layout.reference.read_bytes()
    frame = pd.read_parquet(layout.raw)
    frame.sample(len(frame) - 50, random_state=0).to_parquet(layout.raw, index=False)
    validate.run(layout)
    assert layout.reference.read_bytes() == before
    validate.accept(layout)
    assert layout.reference.read_bytes() != before


def test_what_the_model_will_impute_is_marked(layout: Layout, contract: Contract) -> None:
    name = contract.numbers[0].name
    content = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    for field in content["fields"]:
        field.get("constraints", {}).pop("required" if field["name"] == name else "", None)
    layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    spoil(layout, name, None, 5)
    validate.run(layout)
    frame = pd.read_parquet(layout.raw)
    report = read_json(layout.validation_report)
    assert report["imputed"][name] == pytest.approx(frame[name].isna().mean())
