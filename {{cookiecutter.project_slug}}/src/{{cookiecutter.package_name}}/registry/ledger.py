"""The ledger: which version was assigned to which stage, in the order of its counters."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import Field

from .tags import Message

WHOLE = 100


class Promotion(Message):
    """What the tag of a stage says.

    share: percent of the requests; 100 is the champion, less a challenger beside it, 0 takes the
    challenger out.
    """

    version: str
    share: Annotated[int, Field(ge=0, le=WHOLE)]
    digest: str
    actor: str
    reason: str


class Assignment(NamedTuple):
    """A promotion with its place in the ledger; `number` orders it, since clocks differ."""

    number: int
    stage: str
    time: datetime
    version: str
    share: int
    digest: str
    actor: str
    reason: str


class State(NamedTuple):
    """What a stage holds."""

    champion: Assignment | None = None
    challenger: Assignment | None = None


def state(ledger: Iterable[Assignment], at: datetime | None = None) -> State:
    """What a stage held at a time, or holds after all of its assignments.

    An assignment counts from the greatest time up to it, so that a clock that went back does not
    change the order.
    """
    now = State()
    for each in ledger:
        if at is not None and each.time > at:
            break  # and not the next one: what follows counts no earlier than this
        if each.share == WHOLE:
            now = State(champion=each)
        else:
            now = now._replace(challenger=each if each.share else None)
    return now


def champion_before(ledger: Iterable[Assignment]) -> Assignment | None:
    """The last champion of another version than the present one."""
    champions = [each for each in ledger if each.share == WHOLE]
    others = [each for each in champions if each.version != champions[-1].version]
    return others[-1] if others else None
