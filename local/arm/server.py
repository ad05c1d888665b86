"""The simulator on a socket: an ASGI app, and uvicorn in a thread on a port of its own choice."""

import asyncio
import contextlib
import logging
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from local.arm.faults import Answer, Request
from local.arm.models import World
from local.arm.routes import Route, Simulator

_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)


class ArmApp:
    """The ASGI app: carries requests to a simulator and its answers back, broken connections included.

    Attributes:
        simulators: Of each world that is served, the first one's for what nobody else's is.
        doors: The simulator behind each further port.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulators = [simulator]
        self.doors: dict[int, Simulator] = {}

    def _of(self, port: int, path: str) -> Simulator:
        """Give the simulator that a request is for: by its port, else by the subscription that its path names."""
        behind = self.doors.get(port)
        if behind is not None or len(self.simulators) == 1:
            return behind or self.simulators[0]
        named = _SUBSCRIPTION.search(path)
        wanted = "" if named is None else named[1].lower()
        return next((each for each in self.simulators if wanted in each.world.subscriptions), self.simulators[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not spoken here")
        http = HttpRequest(scope, receive)
        request = Request(
            method=http.method,
            path=http.url.path,
            query=dict(http.query_params),
            headers={name.lower(): value for name, value in http.headers.items()},
            body=await http.body(),
        )
        simulator = self._of(scope["server"][1], request.path)
        answer = await run_in_threadpool(simulator.handle, request)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        await _send(answer, send)


async def _send(answer: Answer, send: Send) -> None:
    if answer.wire == "cut":
        await _hang_up(send, at_once=True)
        return
    body = b"" if answer.body is None else msgspec.json.encode(answer.body)
    if answer.raw is not None:
        body = answer.raw
    headers = {"content-length": str(len(body))} | answer.headers
    if body:
        headers["content-type"] = "application/json; charset=utf-8"
    if answer.status == 204:  # the one status that forbids a length
        del headers["content-length"]
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    if answer.wire == "half":
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await _hang_up(send, at_once=False)
        return
    await send({"type": "http.response.body", "body": body})


async def _hang_up(send: Send, *, at_once: bool) -> None:
    """Drop the connection. ASGI has no word for it, but uvicorn's ``send`` belongs to what holds the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("the simulated connection broke")
    if at_once:
        transport.abort()
    else:
        transport.close()
    for _ in range(3):  # until uvicorn has noticed, or it would answer 500 for us
        await asyncio.sleep(0)


class Server:
    """A running simulator: ``url`` is where, ``close`` ends it.

    Args:
        doors: Further ports, for worlds that are served at once: what a request to a registry or for a blob is about
            no subscription in its path tells, so each such world has a port of its own for those.
    """

    def __init__(self, world: World, routes: tuple[Route, ...] | None = None, *, doors: int = 0) -> None:
        self.world = world
        self._routes = routes
        self._app = ArmApp(Simulator(world, routes))
        self._config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            log_level=logging.ERROR,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(self._config)
        # Our own socket: with its protocol named, asyncio sets TCP_NODELAY (else each answer waits 40 ms for an ACK);
        # and it listens from now on, so that nobody is refused while uvicorn is still coming up.
        self._socket = _listener()
        self._doors = [_listener() for _ in range(doors)]
        self._thread = threading.Thread(target=self._run, name="arm-server", daemon=True)
        world.base_url = self.url

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at the end."""
        return _url(self._socket)

    @property
    def doors(self) -> list[str]:
        """The URLs of the further ports."""
        return [_url(each) for each in self._doors]

    def start(self) -> None:
        """Begin to listen, and let the world begin."""
        self._thread.start()
        self.world.start()

    def show(self, world: World) -> None:
        """Serve another world from now on, at the same place, and let it begin. The one before is not ended."""
        self.world = world
        world.base_url = self.url
        self._app.simulators, self._app.doors = [Simulator(world, self._routes)], {}
        world.start()

    def show_all(self, worlds: Sequence[World]) -> None:
        """Serve several worlds at once, each of other subscriptions and with a door of its own."""
        self.world = worlds[0]
        simulators = [Simulator(world, self._routes) for world in worlds]
        for simulator, door in zip(simulators, self._doors, strict=False):
            simulator.world.base_url = self.url
            simulator.world.registry_host = urlsplit(_url(door)).netloc
        ports = [each.getsockname()[1] for each in self._doors]
        self._app.simulators, self._app.doors = simulators, dict(zip(ports, simulators, strict=False))
        for world in worlds:
            world.start()

    def close(self) -> None:
        """Stop listening, and end the world. May be called twice."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
        for each in (self._socket, *self._doors):
            each.close()
        self.world.close()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._server.serve(sockets=[self._socket, *self._doors]))


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


@contextmanager
def serve_in_thread(world: World, routes: tuple[Route, ...] | None = None) -> Iterator[Server]:
    """Serve a world on 127.0.0.1 as long as the block lasts."""
    server = Server(world, routes)
    server.start()
    try:
        yield server
    finally:
        server.close()
