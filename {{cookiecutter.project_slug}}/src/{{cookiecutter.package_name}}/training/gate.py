"""Gate: every figure beside its limit; only a candidate that passes becomes the served model."""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..contract import load_contract
from ..errors import GateError
from ..features import Encoder
from ..files import read_json, replaced, write_json
from ..layout import Layout
from ..params import load_params
from .judge import Check, judge_artefact, judge_data, judge_model


def arguments(parser: argparse.ArgumentParser) -> None:
    """How the verdict is shown."""
    parser.add_argument("--markdown", action="store_true", help="the last verdict as a table")


def run(layout: Layout = Layout(), markdown: bool = False) -> None:
    """Judge the candidate, write the verdict, and put a candidate that passes in its place.

    Raises:
        GateError: a limit is missed; the message holds every figure beside its limit.
    """
    if markdown:
        if not layout.gate_report.exists():
            raise GateError(f"{layout.gate_report} is not there yet; run `make train`")
        print(as_markdown(read_json(layout.gate_report)))
        return
    params = load_params(layout.params)
    described = read_json(layout.candidate / "model.json")
    limits = params.gate
    inputs = Encoder(load_contract(layout.contract)).inputs
    checks = [
        *judge_model(read_json(layout.metrics), limits, params.value.hurdle, params.value.unit),
        *judge_artefact(read_json(layout.artefact_report), limits),
        *judge_data(read_json(layout.validation_report), inputs, limits),
    ]
    passed = all(check.passed or check.advisory for check in checks)
    off = [name for name, limit in limits.model_dump().items() if limit is None]
    report = {
        "passed": passed,
        "version": described["version"],
        "model_sha256": described["sha256"],
        "champion": read_json(layout.metrics)["champion"]["version"],
        "checks": [{**asdict(check), "passed": check.passed} for check in checks],
        "off": off,
    }
    write_json(layout.gate_report, report)
    lines = [_line(check) for check in checks]
    lines += [f"  off     {name}" for name in off]
    if not passed:
        steps = [f"  {check.remedy}" for check in checks if not check.passed and not check.advisory]
        raise GateError(
            "\n".join(
                [
                    "the model is refused",
                    *lines,
                    *dict.fromkeys(steps),
                    f"the limits stand in {layout.params} under gate and value, the figures in"
                    f" {layout.metrics}",
                ]
            )
        )
    with replaced(layout.serving) as folder:
        shutil.copytree(layout.candidate, folder)
    advice = [f"  {check.remedy}" for check in checks if not check.passed]
    print("\n".join([f"gate: {described['version']} may be served", *lines, *advice]))


def as_markdown(report: Mapping[str, Any]) -> str:
    """The verdict as a table for a pull request."""
    rows = [
        f"| {'passed' if each['passed'] else 'advice' if each['advisory'] else '**refused**'}"
        f" | {each['name'].replace('|', '/')} | {each['figure']:.4g}"
        f" | {each['rule']} {each['limit']:.4g} |"
        for each in report["checks"]
    ]
    verdict = "passed" if report["passed"] else "is refused"
    return "\n".join(
        [
            f"### Gate: {report['version']} {verdict}",
            "",
            "| verdict | what | figure | limit |",
            "| --- | --- | ---: | --- |",
            *rows,
            *(f"| off | {name} | | |" for name in report["off"]),
        ]
    )


def _line(check: Check) -> str:
    return (
        f"  {check.verdict:7} {check.name}: {check.figure:.4g} (must be {check.rule}"
        f" {check.limit:.4g})"
    )
