"""The page of a served project in Chromium: by keyboard, without scripts, without the internet."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Project, outside
from machine import free_port, started, tool, train
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

KEY = "a key"
WIDTHS = (320, 1280)
ELSEWHERE = "http://elsewhere.test/"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "predictions.jsonl"


@pytest.fixture
def service(project: Project, shared: Path, log: Path) -> Iterator[str]:
    """The address of a served project that asks for a key."""
    made, port = train(shared, project), free_port()
    python = made.path / ".venv" / "bin" / "python"
    entry = f"test:{hashlib.sha256(KEY.encode()).hexdigest()}"
    env = outside() | {"PORT": str(port), "API_KEYS": entry, "PREDICTION_LOG": str(log)}
    # Its environment knows the folder in which it was trained by another name.
    env |= {"PYTHONPATH": str(made.path / "src")}
    env |= {"MODEL_DIR": str(made.path / "models" / "serving")}
    url = f"http://127.0.0.1:{port}/"
    command = (python, "-m", project.package.name, "serve")
    with started(*command, ready=f"{url}health/ready", env=env):
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = tool("chromium")
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def visit(browser: Browser, url: str, **options: object) -> tuple[BrowserContext, list[str]]:
    """A context that reaches the service alone, and what its pages asked for elsewhere."""
    elsewhere: list[str] = []

    def only(route: Route) -> None:
        if route.request.url.startswith(url):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    known = {"username": "", "password": KEY}
    context = browser.new_context(http_credentials=known, **options)  # type: ignore[arg-type]  # each has its own
    context.set_default_timeout(20_000)
    context.route("**/*", only)
    return context, elsewhere


def focus(page: Page, place: str) -> None:
    """Press Tab until this element has the focus, and shows that it has."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.locator(f"{place}:focus-visible").count():
            style = page.locator(place).evaluate("each => getComputedStyle(each).outlineStyle")
            assert style == "solid"
            return
    pytest.fail(f"Tab does not reach {place}")


def accessible(page: Page, scripts: bool) -> None:
    """The page as it stands breaks no rule of axe's, in both colour schemes, wide and narrow."""
    for scheme in ("dark", "light") if scripts else ():  # axe is one
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options={"runOnly": RULES})
        assert found.violations_count == 0, found.generate_report()
        assert found.response["passes"]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_asks_by_keyboard_and_tells_the_outcome(
    scripts: bool, browser: Browser, service: str, log: Path
) -> None:
    context, elsewhere = visit(browser, service, java_script_enabled=scripts)
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda said: console.append(said.text))
    page.goto(service)
    accessible(page, scripts)

    number = page.locator("form[action='./'] input").first
    name, before = number.get_attribute("name"), number.input_value()
    focus(page, f"[name='{name}']")
    page.keyboard.press("Control+A")
    page.keyboard.type("many")
    page.keyboard.press("Enter")
    page.wait_for_selector("#refusal:focus")
    assert page.title().startswith("Error: ")
    accessible(page, scripts)
    link = page.locator("#refusal ~ ul a")
    assert link.count() == 1
    focus(page, "#refusal ~ ul a")
    page.keyboard.press("Enter")
    field = page.locator(f"[name='{name}']:focus")
    assert field.input_value() == "many"
    described = (field.get_attribute("aria-describedby") or "").split()
    assert "Input should be" in " ".join(page.inner_text(f"#{each}") for each in described)
    page.keyboard.press("Control+A")
    page.keyboard.type(before)

    select = page.locator("form[action='./'] select").first
    focus(page, f"#{select.get_attribute('id')}")
    chosen = select.locator("option").last.inner_text()
    page.keyboard.type(chosen)
    focus(page, "form[action='./'] button")
    page.keyboard.press("Space")
    page.wait_for_selector("#answer:focus")
    accessible(page, scripts)
    line = json.loads(log.read_text(encoding="utf-8"))
    assert line["caller"] == "test"
    assert line["inputs"][select.get_attribute("name")] == chosen
    assert line["label"] in page.inner_text("#answer")
    rows = page.locator(".reasons tbody tr")
    assert rows.count() >= 5
    assert float(rows.first.locator("td").first.inner_text()) != 0
    boxes = [each.bounding_box() for each in page.locator(".up, .down").all()]
    widths = [box["width"] for box in boxes if box]
    assert widths[0] > 50
    assert widths == sorted(widths, reverse=True)

    focus(page, "#outcome")
    page.keyboard.type(line["label"])
    focus(page, "form[action='feedback'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#told:focus")
    accessible(page, scripts)
    told = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (told["prediction_id"], told["feedback"]) == (line["prediction_id"], line["label"])
    assert elsewhere == []
    assert [each for each in console if "422" not in each] == []
    context.close()


@pytest.mark.slow
def test_another_sites_form_is_refused(browser: Browser, service: str, log: Path) -> None:
    context, _ = visit(browser, service)
    form = f"<form method=post action='{service}'><input name=a value=1><button>Go</button></form>"
    context.route(ELSEWHERE, lambda route: route.fulfill(body=form, content_type="text/html"))
    page = context.new_page()
    page.goto(service)  # the browser knows the key from now on
    page.goto(ELSEWHERE)
    with page.expect_response(service) as answered:
        page.click("button")
    assert answered.value.status == 403
    assert "sent by another site" in answered.value.text()
    assert log.read_text(encoding="utf-8") == ""
    context.close()
