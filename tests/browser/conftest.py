"""One Chromium for each test process, and pages that reach this machine alone."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Route,
    ViewportSize,
    WebSocket,
    expect,
    sync_playwright,
)

from local import answering
from tests.workflow.theatre import Story, Theatre

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OWN_HOSTS = ("127.0.0.1", "localhost")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What no route sees finds no host either: the target of a redirect, a socket, a connection made in advance.
    "--host-resolver-rules=MAP * ~NOTFOUND, " + ", ".join(f"EXCLUDE {host}" for host in OWN_HOSTS),
)
PATIENCE_MS = 10_000

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def launched_chromium() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """The browser and the event loop that it needs: ask for `chromium`, which lends both to one test."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program is not None, f"no Chromium on PATH, neither as {' nor as '.join(PROGRAMS)}: run `make setup`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture
def chromium(launched_chromium) -> Iterator[Browser]:
    """Debian's Chromium, launched once for each test process.

    Playwright leaves its loop marked as running, so that asyncio.run() would raise in every later test of the process.
    So the mark is there during a test in a browser only; such a test runs a loop of its own in a thread.
    """
    browser, loop = launched_chromium
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


@pytest.fixture
def foreign_requests() -> list[str]:
    """Method and address of all that the pages of this test asked of other machines; none of it was sent.

    Not among them: what a page's own Content-Security-Policy stopped.
    """
    return []


@pytest.fixture(scope="session")
def spare_contexts() -> list[BrowserContext]:
    """Contexts that no test has at the moment. Each costs a window, and with it more than most pages that it shows."""
    return []


@pytest.fixture
def new_page(chromium, spare_contexts, foreign_requests) -> Iterator[Callable[..., Page]]:
    """Open a page in a context that no other of this test has; options are those of playwright's Browser.new_context.

    A context is used again by later tests, empty, if it has no options but these two.
    """
    lent: list[BrowserContext] = []
    own: list[BrowserContext] = []
    noting = listeners(foreign_requests)

    def open_page(
        *, viewport: ViewportSize | None = None, extra_http_headers: dict[str, str] | None = None, **others: Any
    ) -> Page:
        if others:
            context = make_context(chromium, **others)
            own.append(context)
        else:
            context = spare_contexts.pop() if spare_contexts else make_context(chromium)
            lent.append(context)
        listening: Any = context  # `on` is typed for each name of its own
        for name, note in noting.items():
            listening.on(name, note)
        context.set_extra_http_headers(extra_http_headers or {})
        page = context.new_page()
        if viewport is not None:
            page.set_viewport_size(viewport)
        return page

    yield open_page
    for context in own:
        context.close()
    for context in lent:
        for page in context.pages[1:]:
            page.close()
        context.clear_cookies()
        for name, note in noting.items():
            context.remove_listener(name, note)
        spare_contexts.append(context)


def listeners(foreign_requests: list[str]) -> dict[str, Callable[..., None]]:
    """Give what keeps the record: the events, not the route, since where a redirect leads to no route is asked."""

    def note_request(request: Request) -> None:
        if not is_own(request.url):
            foreign_requests.append(f"{request.method} {request.url}")

    def forget_request(request: Request) -> None:
        if request.failure == "csp" and not is_own(request.url):
            foreign_requests.remove(f"{request.method} {request.url}")

    def note_socket(socket: WebSocket) -> None:
        if not is_own(socket.url):
            foreign_requests.append(f"CONNECT {socket.url}")

    def note_page(page: Page) -> None:
        page.on("websocket", note_socket)

    return {"request": note_request, "requestfailed": forget_request, "page": note_page}


def make_context(browser: Browser, **options: Any) -> BrowserContext:
    """Make a context that reaches this machine alone; its first page stays empty and keeps its window open."""
    # A service worker's requests would pass by the route.
    context = browser.new_context(service_workers="block", **options)
    context.set_default_timeout(PATIENCE_MS)
    context.route(lambda url: not is_own(url), block)
    context.new_page()
    return context


@pytest.fixture
def open_as(new_page, foreign_requests) -> Iterator[Callable[..., Page]]:
    """Open a page as somebody, by their object id, or as nobody who is signed in.

    At the end of the test no page may have opened a dialog, complained in its console, or asked other machines.
    """
    troubles: list[str] = []

    def note_dialog(dialog: Dialog) -> None:
        troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def note_console(message: ConsoleMessage) -> None:
        # A page that says 404 is one that was asked for: the browser complains of it all the same.
        is_answer = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in {"error", "warning"} and not (is_answer and "/assets/" not in message.location["url"]):
            troubles.append(f"{message.type} in the console: {message.text}")

    def open_page(
        oid: str | None = None, *, width: int = 1400, roles: tuple[str, ...] = ("Medic.Approver",), **options: Any
    ) -> Page:
        claims = options.pop("claims", {})
        headers = {} if oid is None else answering.principal(oid, roles=roles, **claims)
        page = new_page(viewport={"width": width, "height": 900}, extra_http_headers=headers, **options)
        page.on("dialog", note_dialog)
        page.on("console", note_console)
        page.on("pageerror", lambda error: troubles.append(f"a script failed: {error}"))
        return page

    yield open_page
    assert troubles == []
    assert foreign_requests == []


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    """The app, which signs people in and writes its cards into the folder `notices` of the theatre."""
    folder = tmp_path_factory.mktemp("pages")
    with Theatre(folder, env={"MEDIC_NOTICES": str(folder / "notices")}) as opened:
        yield opened


@pytest.fixture
def tell(theatre) -> Iterator[Callable[..., Story]]:
    """Begin a story; its world ends with the test."""
    worlds = []

    def begin(*args: Any, **options: Any) -> Story:
        story = theatre.tell(*args, **options)
        worlds.append(story.world)
        return story

    yield begin
    for world in worlds:
        world.close()
    theatre.clear()


def block(route: Route) -> None:
    route.abort("blockedbyclient")


def is_own(url: str) -> bool:
    """Say whether an address leads to this machine, or nowhere at all."""
    parts = urlsplit(url)
    return parts.scheme in {"about", "blob", "data"} or (
        parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname in OWN_HOSTS
    )
