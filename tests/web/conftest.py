"""A headless Chromium and the stand-in API behind the page; each test gets a fresh page and fresh knobs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.web.fake_api import Knobs, make_app

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT_MS = 40_000  # a page takes a tenth of a second; a crowded machine much longer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that opens a page carries the marker `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "open_page" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for the tests of a file; skips where there is none.

    Not for all files: until it ends, an event loop of Playwright's runs in this thread, and no other can.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on PATH; install Debian's package `chromium`")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Fake:
    """The stand-in API: its address and what can be turned."""

    url: str
    knobs: Knobs


@pytest.fixture(scope="session")
def fake_server() -> Iterator[Fake]:
    knobs = Knobs()
    server = uvicorn.Server(uvicorn.Config(make_app(knobs), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Fake(f"http://127.0.0.1:{port}/", knobs)
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def fake(fake_server: Fake) -> Iterator[Fake]:
    """The stand-in API with all knobs as they come."""
    fresh = Knobs()
    for knob in fields(Knobs):
        setattr(fake_server.knobs, knob.name, getattr(fresh, knob.name))
    yield fake_server
    fake_server.knobs.release.set()


class Opener:
    """Opens links in fresh contexts and remembers what went wrong in them."""

    def __init__(self, browser: Browser, base: str, key: str | None = None) -> None:
        self.browser = browser
        self.base = base
        self.key = key
        self.errors: list[str] = []
        self.contexts = []

    def __call__(self, link: str = "", width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **options
        )
        context.set_default_timeout(TIMEOUT_MS)
        if self.key:
            context.add_init_script(f"sessionStorage.setItem('interplay.key', '{self.key}')")
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("request", lambda request: self._outside(request.url))
        page.goto(self.base + link)
        return page

    def close(self) -> None:
        """Close every page; none may have had an error of ours."""
        for context in self.contexts:
            context.close()
        assert self.errors == []

    def _console(self, kind: str, text: str) -> None:
        # Chromium itself reports each 4xx and 5xx answer here; those are what the error tests ask for.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.errors.append(text)

    def _outside(self, url: str) -> None:
        if not url.startswith(self.base):
            self.errors.append(f"a request left the server: {url}")


@pytest.fixture
def open_page(chromium: Browser, fake: Fake) -> Iterator[Opener]:
    """Opens links of the page; in the end there may be no script error, CSP report or outside request."""
    opener = Opener(chromium, fake.url)
    yield opener
    opener.close()


@dataclass
class Offline:
    """Opens files from disk; every request but the one for the file itself fails, and is noted."""

    browser: Browser
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __call__(self, file: Path, width: int = 1280) -> Page:
        context = self.browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.route("**/*", lambda route: route.continue_() if route.request.url == file.as_uri() else route.abort())
        page.on("request", lambda request: self._noted(request.url, file))
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.goto(file.as_uri())
        return page

    def _noted(self, url: str, file: Path) -> None:
        if url != file.as_uri() and not url.startswith("data:"):
            self.requests.append(url)


@pytest.fixture
def offline(chromium: Browser) -> Iterator[Offline]:
    """Opens saved files; in the end there may be no script error and no request."""
    opener = Offline(chromium)
    yield opener
    assert (opener.requests, opener.errors) == ([], [])


def answered(page: Page) -> None:
    """Waits until the answer that comes in has come whole: a part of it must stand on the page already."""
    expect(page.locator("#stop")).to_be_hidden()


def held(page: Page, url: str) -> list[Route]:
    """The requests for `url` from now on, as they come; each waits until the test lets it go on."""
    routes: list[Route] = []
    page.route(url, lambda route: routes.append(route))
    return routes


def settle(page: Page) -> None:
    """Waits until the page has taken in what came before."""
    page.evaluate("import('/static/main.js').then(({ app }) => app.client.get('v1/limits'))")


def save(page: Page, button: str, folder: Path) -> Path:
    """Presses a button by the keyboard, and gives the file."""
    expect(page.locator("#stop")).to_be_hidden()
    page.get_by_role("button", name=button).focus()
    with page.expect_download() as saving:
        page.keyboard.press("Enter")
    file = folder / saving.value.suggested_filename
    saving.value.save_as(file)
    return file


@dataclass(frozen=True)
class Served:
    """The address of the real application over runs, a key, and the folder of the runs."""

    url: str
    key: str
    folder: Path


@pytest.fixture
def visit(chromium: Browser, served: Served) -> Iterator[Opener]:
    """Opens links of the page with the key in place; no script error, CSP report or outside request may remain."""
    opener = Opener(chromium, served.url, key=served.key)
    yield opener
    opener.close()
