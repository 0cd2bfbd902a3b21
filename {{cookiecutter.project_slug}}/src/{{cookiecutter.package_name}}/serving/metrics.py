"""The counters as Prometheus reads them."""

from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .comparison import ABORTS, DROPPED, ERRORS, VARIANTS
from .telemetry import ROUTES, SECONDS, STATUSES, Telemetry


def report(counted: Telemetry) -> bytes:
    """The counters of all workers, in text format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Families(counted))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, counted: Telemetry) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """The sums over all workers."""
        counted, found = self._counted, self._counted.sums()
        requests = CounterMetricFamily(
            "http_requests", "Requests answered", labels=["route", "status"]
        )
        times = HistogramMetricFamily(
            "http_request_duration_seconds", "From the headers to the answer", labels=["route"]
        )
        width = len(SECONDS) + 2
        for number, route in enumerate(ROUTES):
            start = number * len(STATUSES)
            for status, count in zip(
                STATUSES, found["requests"][start : start + len(STATUSES)], strict=True
            ):
                if count:
                    requests.add_metric([route, str(status)], count)
            *counts, total = found["seconds"][number * width : (number + 1) * width]
            times.add_metric([route], _buckets(SECONDS, counts), total)
        yield requests
        yield times
        answers = CounterMetricFamily("prediction_answers", "Rows answered", labels=["answer"])
        for label, count in zip(counted.labels, found["answers"], strict=True):
            answers.add_metric([label], count)
        yield answers
        variants = CounterMetricFamily(
            "variant_rows", "Rows answered by each variant", labels=["variant"]
        )
        for variant, count in zip(VARIANTS, found["variants"], strict=True):
            variants.add_metric([variant], count)
        yield variants
        *counts, total = found["scores"]
        name = "score" if counted.predictor.contract.labels else "value"
        yield HistogramMetricFamily(
            f"prediction_{name}", "What was answered", _buckets(counted.ends, counts), total
        )
        for name, what, names in (
            ("missing", "Rows answered without a value", counted.features),
            ("refused", "Bodies refused for the field, as out of range", counted.fields),
        ):
            family = CounterMetricFamily(f"feature_{name}", what, labels=["feature"])
            for feature, count in zip(names, found[name], strict=True):
                family.add_metric([feature], count)
            yield family
        for name, what in (
            ("dry_runs", "Rows answered and not served"),
            ("log_failures", "Times that predictions could not be logged"),
        ):
            yield CounterMetricFamily(f"prediction_{name}", what, found[name][0])
        for place, name, what in (
            (ERRORS, "errors", "Rows that it failed, and the champion answered"),
            (ABORTS, "aborts", "Times that it was put out"),
            (DROPPED, "dropped", "Rows that it was too slow to score in the shadow"),
        ):
            yield CounterMetricFamily(f"challenger_{name}", what, found["comparison"][place])
        info = counted.predictor.info
        model = GaugeMetricFamily("model_info", "The model", labels=["name", "version", "sha256"])
        model.add_metric([info.name, info.version, info.sha256], 1)
        yield model
        yield GaugeMetricFamily(
            "model_created_timestamp_seconds",
            "When the model's folder was written",
            counted.predictor.created,
        )


def _buckets(ends: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    names = [*map(str, ends), "+Inf"]
    return list(zip(names, np.cumsum(counts).tolist(), strict=True))
