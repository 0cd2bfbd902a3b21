"""The page at /: the model, a form made from the contract, the answer with its reasons, feedback.

It is a caller of the API like any other, so what it asks is checked, logged and counted there.
"""

from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from ...errors import RequestError
from ..card import sections
from ..endpoint import Asked, Endpoint, Front, Look
from ..predictor import Predictor
from ..problem import STATUSES, Answer
from .form import Form, as_row, as_text, read_form

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
REASONS = "10"
POLICY = (
    b"default-src 'none'; style-src 'self'; img-src data:; form-action 'self';"
    b" frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY),
    (b"x-frame-options", b"DENY"),
    # With none at all browsers would not say that the page's own forms are its own.
    (b"referrer-policy", b"same-origin"),
]
Ask = Callable[[bytes, Asked], Awaitable[Answer]]


class Page:
    """Renders the page, and answers its forms.

    predict, learn: what answers /v1/predictions and /v1/feedback.
    """

    def __init__(self, predictor: Predictor, predict: Ask, learn: Ask) -> None:
        self._predict, self._learn = predict, learn
        self._predictor, self._contract = predictor, predictor.contract
        example = self._contract.example
        self._example = {
            each.name: as_text(example.get(each.name)) for each in self._contract.requested
        }

    def endpoints(self, front: Front, max_body_bytes: int) -> list[Endpoint]:
        """The page, also where it stands once a form was sent, its forms and its stylesheet."""

        async def read(*_: object) -> Answer:
            return self._page(200, self._example)

        async def style(*_: object) -> Answer:
            return Answer(200, b"text/css; charset=utf-8", (HERE / "style.css").read_bytes())

        looks = {"/": read, "/feedback": read, "/style.css": style}
        forms = {"/": self._answer, "/feedback": self._take}
        return [
            *(Look(path, answer, front) for path, answer in looks.items()),
            *(Form(path, answer, front, max_body_bytes) for path, answer in forms.items()),
        ]

    async def _answer(self, body: bytes, asked: Asked) -> Answer:
        typed = read_form(body, len(self._contract.requested) + 1)
        row = to_json(as_row(typed, self._contract.requested))
        try:
            told = await self._predict(row, asked._replace(options={"reasons": REASONS}))
        except RequestError as refusal:
            return self._page(STATUSES[type(refusal)], typed, refusal=refusal)
        return self._page(200, typed, answer=from_json(told.content))

    async def _take(self, body: bytes, asked: Asked) -> Answer:
        told = read_form(body, 2)
        try:
            await self._learn(to_json(as_row(told, [self._contract.target])), asked)
        except RequestError as refusal:
            status = STATUSES[type(refusal)]
            return self._page(status, self._example, told=told, refusal=refusal)
        return self._page(200, self._example, told=told)

    def _page(
        self,
        status: int,
        typed: dict[str, str],
        told: dict[str, str] | None = None,
        answer: dict[str, Any] | None = None,
        refusal: RequestError | None = None,
    ) -> Answer:
        """The page with what was typed; told: the feedback; refusal: of that, or else of a row."""
        texts = typed if told is None else told
        faults = {
            fault["field"]: fault["message"]
            if texts.get(fault["field"], "").strip()
            else "A value is needed."
            for fault in (refusal.errors if refusal else ())
            if fault["field"] is not None
        }
        content = self._template.render(
            typed=typed,
            told=told,
            answer=answer,
            refusal=refusal,
            faults=faults,
            contract=self._contract,
            titles={each.name: each.title or each.name for each in self._contract.features},
            info=self._predictor.info,
            card=list(sections(self._predictor)),
        )
        return Answer(status, b"text/html; charset=utf-8", content.encode(), HEADERS)

    @cached_property
    def _template(self) -> "Template":
        # The first visitor waits for it, not every start of the service.
        from jinja2 import Environment, FileSystemLoader

        environment = Environment(
            autoescape=True, loader=FileSystemLoader(HERE), trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["figure"] = _figure
        return environment.get_template("page.html")


def _figure(value: Any, sign: str = "") -> str:
    """A number as people read it, with four digits or in whole; a text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return as_text(value) or "none"
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}.4g}"
