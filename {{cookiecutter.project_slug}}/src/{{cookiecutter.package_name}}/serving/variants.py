"""Variants: the champion, and the challenger that a watched file lets take a share of requests."""

import hashlib
import logging
import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..errors import ArtefactError, NoFiniteAnswerError, SettingsError
from ..features import Encoder
from ..yaml_file import Strict, parse, validated
from .comparison import BINS, CHALLENGER, CHAMPION, VARIANTS, Comparison, Limits
from .explain import Explainer
from .predictor import Answers, Predictor, load_predictor
from .request import Row

LOOK_SECONDS = 0.2
"""How often the file is looked at."""

logger = logging.getLogger(__name__)


class Wanted(Strict):
    """The watched file.

    challenger: its model_version, as `GET /v1/model` names that of a champion.
    share: percent of the requests that it answers; 0 takes it out, as in the registry. A shadow
        scores all of them, which is logged and compared, and answers none.
    """

    challenger: str
    share: Annotated[int, Field(ge=0, le=100)] | Literal["shadow"]
    limits: Limits = Limits()


NOBODY = Wanted(challenger="", share=0)


@dataclass(frozen=True, eq=False)
class Variant:
    """A model that answers validated rows."""

    name: str
    predictor: Predictor
    encoder: Encoder
    explainer: Explainer

    def answers(self, rows: Sequence[Row]) -> Answers:
        """Probabilities, shape (rows, labels), or values, shape (rows,).

        Raises:
            DerivedError: a derived feature fails on the rows.
            NoFiniteAnswerError: the model has no finite answer for a row.
        """
        answers = self.predictor.answers(self.encoder.rows(rows))
        if np.isfinite(answers).all():
            return answers
        wrong = np.flatnonzero(~np.isfinite(answers.reshape(len(answers), -1)).all(axis=1))
        raise NoFiniteAnswerError(
            "the model has no finite answer; send less extreme values",
            [{"row": int(row), "field": None, "message": "no finite answer"} for row in wrong],
        )


def variant(name: str, predictor: Predictor) -> Variant:
    """The variant of this name."""
    encoder = Encoder(predictor.contract)
    return Variant(name, predictor, encoder, Explainer(predictor, encoder))


@dataclass(frozen=True, eq=False)
class Plan:
    """Who answers: one state of the file, which no request sees changing.

    number: tells it from every other; below 2**53, so that a counter can hold it.
    edges: inner ends of the bins of scores.
    """

    champion: Variant
    challenger: Variant | None = None
    wanted: Wanted = NOBODY
    number: int = 0
    edges: tuple[float, ...] = ()

    @property
    def has_shadow(self) -> bool:
        """Whether the challenger scores without answering."""
        return self.challenger is not None and self.wanted.share == "shadow"

    @property
    def share(self) -> int:
        """Percent of the requests that the challenger answers."""
        return self.wanted.share if isinstance(self.wanted.share, int) else 0

    @property
    def alone(self) -> "Plan":
        """The champion by itself."""
        return Plan(self.champion)

    def variant(self, key: str) -> Variant:
        """Who answers a request of this key; the same as long as the share does not fall.

        Another challenger takes other keys, so that the same callers do not try all of them.
        """
        if self.challenger is None or not self.share:
            return self.champion
        text = f"{self.wanted.challenger} {key}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        taken = int.from_bytes(digest) % 100 < self.share
        return self.challenger if taken else self.champion

    def bins(self, answers: Answers) -> list[int]:
        """The bin of each score."""
        return [bisect_left(self.edges, score) for score in _scores(answers)]


class Variants:
    """The present plan, which follows the file and the limits.

    folder: where the challenger is, if the instance has one.
    file: what is watched; without one the champion answers alone.
    load: gives the predictor of a folder.
    """

    def __init__(
        self,
        champion: Predictor,
        comparison: Comparison,
        folder: Path,
        file: Path | None = None,
        load: Callable[[Path], Predictor] = load_predictor,
    ) -> None:
        self._alone = Plan(variant(CHAMPION, champion))
        self._folder, self._file, self._load = folder, file, load
        self._seen: tuple[bytes, int] | None = None
        self._stopped = Event()
        self.comparison = comparison
        self.plan = self._alone
        self.look()

    def answers(self, plan: Plan, variant: Variant, rows: Sequence[Row]) -> Answers:
        """What the variant answers, counted where there are two to compare.

        Raises:
            DerivedError, NoFiniteAnswerError: as Variant.answers.
        """
        if plan.challenger is None:
            return variant.answers(rows)
        start = perf_counter()
        answers = variant.answers(rows)
        seconds, place = perf_counter() - start, VARIANTS.index(variant.name)
        limits = plan.wanted.limits
        self._judge(plan, self.comparison.answered(place, seconds, plan.bins(answers), limits))
        return answers

    def failed(self, plan: Plan, fault: Exception) -> None:
        """Count a fault of the challenger where the champion answers."""
        logger.error("the challenger %s failed: %s", plan.wanted.challenger, fault)
        rows = max(len(getattr(fault, "errors", ())), 1)
        self._judge(plan, self.comparison.failed(rows, plan.wanted.limits))

    def look(self) -> None:
        """Follow the file, and what other workers found of the challenger; raises nothing."""
        try:
            content = _read(self._file)
            if content != self._seen:
                self._seen = content
                self.plan = self._alone if content is None else self._planned(*content)
        except Exception as refusal:  # of any kind: the champion goes on
            logger.error("the variants stay as they are: %s", refusal)
        plan = self.plan
        if plan.challenger and self.comparison.aborted(plan.number):
            logger.error("the challenger %s is out", plan.wanted.challenger)
            self.plan = self._alone

    def watch(self) -> None:
        """Look again and again, in a thread of its own, until `stop`."""
        if self._file is not None:
            Thread(target=self._watch, name="variants", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()

    def _judge(self, plan: Plan, fault: str | None) -> None:
        if fault is None or self.plan is not plan:
            return
        self.plan = self._alone
        if self.comparison.abort(plan.number):
            logger.error("the challenger %s is put out: %s", plan.wanted.challenger, fault)

    def _planned(self, content: bytes, changed: int) -> Plan:
        try:
            found = parse(content)
        except ValueError as fault:
            raise SettingsError(f"{self._file} cannot be read as YAML: {fault}") from fault
        if found is None:
            return self._alone
        wanted = validated(found, str(self._file), Wanted, SettingsError)
        if wanted.share == 0:
            return self._alone
        challenger = self.plan.challenger
        if challenger is None or challenger.predictor.info.version != wanted.challenger:
            challenger = self._challenger(wanted)
        # A file that is written again is another plan: whoever was put out has another try.
        digest = hashlib.sha256(content + str(changed).encode()).digest()
        plan = Plan(
            self._alone.champion, challenger, wanted, int.from_bytes(digest[:6]), self._edges
        )
        self.comparison.begin(plan.number)
        return plan

    def _challenger(self, wanted: Wanted) -> Variant:
        predictor, champion = self._load(self._folder), self._alone.champion.predictor
        if (version := predictor.info.version) != wanted.challenger:
            raise ArtefactError(
                f"{self._file}: challenger is {wanted.challenger!r}, but {self._folder} holds"
                f" {version}; name that one, or take an image that holds the other"
            )
        if _taken(predictor) != _taken(champion):
            raise ArtefactError(
                f"{self._folder}: {version} takes other columns, or gives other labels, than the"
                f" champion {champion.info.version}; release it as the champion of an image"
            )
        return variant(CHALLENGER, predictor)

    @cached_property
    def _edges(self) -> tuple[float, ...]:
        """Deciles of the champion's scores on its background."""
        champion = self._alone.champion
        answers = champion.predictor.answers(champion.encoder.rows(champion.predictor.background))
        return tuple(np.quantile(_scores(answers), np.arange(1, BINS) / BINS))


def _read(file: Path | None) -> tuple[bytes, int] | None:
    """The file and when it was changed, in nanoseconds; None where there is none."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            return opened.read(), os.fstat(opened.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _scores(answers: Answers) -> list[float]:
    """Of labels the last one's probabilities."""
    scores: list[float] = (answers[:, -1] if answers.ndim == 2 else answers).tolist()
    return scores


def _taken(predictor: Predictor) -> Any:
    contract = predictor.contract
    columns = {column.name: (column.type, column.role) for column in contract.requested}
    return columns, contract.labels
