"""Coalescing: bodies that arrive together share one model call, and none waits for more to come.

A body of the only request in progress is answered without it.
"""

import asyncio
from collections.abc import Callable, Sequence

from ..errors import DerivedError, NoFiniteAnswerError
from .request import Parsed

MAX_ROWS_TOGETHER = 128
"""With so many rows a model call takes no further body, so that none holds the loop for long."""


class Coalescer:
    """Collects what one turn of the event loop brings, and answers it in the next."""

    def __init__(self, predict: Callable[[Sequence[Parsed]], list[bytes]]) -> None:
        self._predict = predict
        self._waiting: list[tuple[Parsed, asyncio.Future[bytes]]] = []

    async def answer(self, parsed: Parsed) -> bytes:
        """The answer to one body; a fault of the shared call is a fault of each that shared it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((parsed, future))
        return await future

    def _flush(self) -> None:
        count = rows = 0
        while count < len(self._waiting) and rows < MAX_ROWS_TOGETHER:
            rows += len(self._waiting[count][0].rows)
            count += 1
        together, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._answer([each for each in together if not each[1].done()])

    def _answer(self, together: list[tuple[Parsed, asyncio.Future[bytes]]]) -> None:
        try:
            answers = self._predict([parsed for parsed, _ in together])
        except (DerivedError, NoFiniteAnswerError) as refusal:
            if len(together) == 1:
                together[0][1].set_exception(refusal)
                return
            for each in together:  # one of them is at fault, and the others are not
                self._answer([each])
        except Exception as fault:  # whatever it is, those who wait must hear of it
            for _, future in together:
                future.set_exception(fault)
        else:
            for (_, future), answer in zip(together, answers, strict=True):
                future.set_result(answer)
