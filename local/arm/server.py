"""The simulator on a socket: an ASGI app, and uvicorn in a thread on a port of its own choice."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from local.arm.faults import Answer, Request
from local.arm.models import World
from local.arm.routes import Route, Simulator


class ArmApp:
    """The ASGI app: carries requests to the simulator and its answers back, broken connections included."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

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
        answer = await run_in_threadpool(self.simulator.handle, request)
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
    """A running simulator: ``url`` is where, ``close`` ends it."""

    def __init__(self, world: World, routes: tuple[Route, ...] | None = None) -> None:
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
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, name="arm-server", daemon=True)
        world.base_url = self.url

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at the end."""
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def start(self) -> None:
        """Begin to listen, and let the world begin."""
        self._thread.start()
        self.world.start()

    def show(self, world: World) -> None:
        """Serve another world from now on, at the same place, and let it begin. The one before is not ended."""
        self.world = world
        world.base_url = self.url
        self._app.simulator = Simulator(world, self._routes)
        world.start()

    def close(self) -> None:
        """Stop listening, and end the world. May be called twice."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()
        self.world.close()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._server.serve(sockets=[self._socket]))


@contextmanager
def serve_in_thread(world: World, routes: tuple[Route, ...] | None = None) -> Iterator[Server]:
    """Serve a world on 127.0.0.1 as long as the block lasts."""
    server = Server(world, routes)
    server.start()
    try:
        yield server
    finally:
        server.close()
