"""The model card as far as the model's folder tells it, as Markdown or for the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .predictor import Predictor

Cells = Sequence[str]


class Section(NamedTuple):
    """A part of the card: sentences, then a table, then points, each where there is one."""

    title: str
    text: Sequence[str] = ()
    head: Cells = ()
    rows: Sequence[Cells] = ()
    points: Sequence[str] = ()


def sections(predictor: Predictor) -> Iterator[Section]:
    """What the contract, the description and the figures in the model's folder say."""
    yield _purpose(predictor)
    beyond = "Values beyond the contract's ranges and categories are refused, not answered."
    yield Section("Limits", points=[*predictor.info.limits, beyond])
    if predictor.report:
        yield from _figures(predictor)
        yield from _parts(predictor.report)


def as_markdown(title: str, parts: Iterable[Section]) -> str:
    """The card under its title."""
    lines = [f"# Model card: {_cell(title)}", ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        for sentence in part.text:
            lines += [_cell(sentence), ""]
        if part.head:
            marks = ["---", *("---:" for _ in part.head[1:])]
            table = [part.head, marks, *part.rows]
            lines += [f"| {' | '.join(map(_cell, row))} |" for row in table] + [""]
        if part.points:
            lines += [f"- {_cell(point)}" for point in part.points] + [""]
    return "\n".join(lines)


def _purpose(predictor: Predictor) -> Section:
    contract, info = predictor.contract, predictor.info
    answer = ", ".join(contract.labels) if contract.labels else "a number"
    points = [
        f"Predicts: {contract.target.title or contract.target.name} ({answer})",
        f"For: {info.audience or 'nobody has said for whom; say it in params.yaml, card'}",
        f"Model: {info.version}, {info.estimator}",
    ]
    if (threshold := info.decision.threshold) is not None:
        points.append(
            f"Answers {contract.labels[1]} from a probability of {threshold:.3f} on, where answers"
            " cost least on training rows that were set aside in turns"
        )
    unseen = [
        each.name for role in ("group", "excluded") for each in contract.fields if each.role == role
    ]
    points.append(f"Never sees: {', '.join(unseen) or 'nothing is kept from it'}")
    return Section("Purpose", [contract.description], points=points)


def _figures(predictor: Predictor) -> Iterator[Section]:
    report = predictor.report
    rows = [
        [
            name,
            _short(value),
            _range(report["intervals"][name]),
            *(_short(other.get(name)) for other in report["others"].values()),
        ]
        for name, value in report["metrics"].items()
    ]
    yield Section(
        "Figures",
        [
            f"On {report['rows']} rows that it was not trained on; it was trained on"
            f" {report['training_rows']}."
        ],
        ["metric", "model", "interval", *report["others"]],
        rows,
    )
    of = "probability" if predictor.contract.labels else "standard deviations of the target"
    yield Section("Calibration", [f"Mean distance {report['calibration']['error']:.3f} ({of})."])


def _parts(report: Mapping[str, Any]) -> Iterator[Section]:
    shown = [name for name in ("skill", "accuracy", "rmse", "saving") if name in report["metrics"]]
    shown += [name for name in report["metrics"] if name.startswith("recall_")]
    gaps = [
        f"{column}: the largest gap is {gap['gap']:.3f} in {gap['metric']}, between"
        f" {' and '.join(gap['between'])}; {gap['sure']:.3f} of it is sure"
        for column, gap in report["gaps"].items()
        if gap["between"]
    ]
    for key, points in (("slices", []), ("groups", gaps)):
        rows = [
            [
                f"{column}: {value}",
                f"{each['rows']}{' (small)' if each['small'] else ''}",
                *(_short(each["metrics"].get(name)) for name in shown),
            ]
            for column, values in report[key].items()
            for value, each in values.items()
        ]
        if rows:
            yield Section(key.capitalize(), [], ["part", "rows", *shown], rows, points)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _range(ends: Sequence[float | None]) -> str:
    return " to ".join(_short(end) for end in ends) if None not in ends else ""


def _cell(text: str) -> str:
    """Text of the data, which may hold what Markdown would read as a table or as HTML."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")
