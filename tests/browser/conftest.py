"""One Chromium for each test process, and pages that reach this machine alone."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, WebSocket, sync_playwright

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


@pytest.fixture
def new_page(chromium, foreign_requests) -> Iterator[Callable[..., Page]]:
    """Open a page in a context of its own; its options are those of playwright's Browser.new_context."""
    contexts = []

    def note_request(request: Request) -> None:
        if not is_own(request.url):
            foreign_requests.append(f"{request.method} {request.url}")

    def forget_request(request: Request) -> None:
        if request.failure == "csp" and not is_own(request.url):
            foreign_requests.remove(f"{request.method} {request.url}")

    def note_socket(socket: WebSocket) -> None:
        if not is_own(socket.url):
            foreign_requests.append(f"CONNECT {socket.url}")

    def open_page(**context_options) -> Page:
        # A service worker's requests would pass by the route.
        context = chromium.new_context(service_workers="block", **context_options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.route(lambda url: not is_own(url), block)
        # The events, not the route, keep the record: where a redirect leads to, no route is asked.
        context.on("request", note_request)
        context.on("requestfailed", forget_request)
        context.on("page", lambda page: page.on("websocket", note_socket))
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


def block(route: Route) -> None:
    route.abort("blockedbyclient")


def is_own(url: str) -> bool:
    """Say whether an address leads to this machine, or nowhere at all."""
    parts = urlsplit(url)
    return parts.scheme in {"about", "blob", "data"} or (
        parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname in OWN_HOSTS
    )
