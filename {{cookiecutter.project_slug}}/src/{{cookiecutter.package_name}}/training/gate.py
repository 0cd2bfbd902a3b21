"""Gate: the figures against the limits; a model that misses one goes no further."""

from typing import Any

from ..errors import GateError
from ..files import read_json, write_json
from ..layout import Layout
from ..params import Gate, load_params


def run(layout: Layout = Layout()) -> None:
    """Judge the metrics and write the verdict.

    Raises:
        GateError: a limit is missed; the message holds every figure beside its limit.
    """
    checks = judge(read_json(layout.metrics), load_params(layout.params).gate)
    passed = all(check["passed"] for check in checks)
    write_json(layout.gate_report, {"passed": passed, "checks": checks})
    lines = [
        f"  {'passed ' if check['passed'] else 'REFUSED'} {check['name']}: {check['figure']:.4g}"
        f" (must be {check['rule']} {check['limit']:.4g})"
        for check in checks
    ]
    if not passed:
        raise GateError(
            "\n".join(
                [
                    "the model is refused",
                    *lines,
                    f"improve the data or the model; the limits stand in {layout.params} under"
                    f" gate, the figures in {layout.metrics}",
                ]
            )
        )
    print("\n".join(["gate: the model may be exported", *lines]))


def judge(metrics: dict[str, Any], limits: Gate) -> list[dict[str, Any]]:
    """Each check with its figure, its limit and whether it passed."""
    least = limits.min_gain_in_standard_errors * metrics["gain"]["standard_error"]
    name, score = max(metrics["single_feature"].items(), key=lambda item: item[1])
    gained, limit = metrics["gain"]["mean"], limits.max_single_feature_score
    return [
        {
            "name": "loss saved against the baseline",
            "figure": gained,
            "rule": "above",
            "limit": least,
            "passed": gained > least,
        },
        {
            "name": f"leakage: {name} alone predicts the target",
            "figure": score,
            "rule": "below",
            "limit": limit,
            "passed": score < limit,
        },
    ]
