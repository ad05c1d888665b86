"""The Functions host of one machine: the very same function app over HTTP, Event Grid and timers, on loopback only.

``with Host(app="function_app") as host`` serves the app's triggers and the task hub in this process and keeps a worker
process alive for orchestrators, activities and entities. ``python -m local.host`` does so until Ctrl-C.
"""

import argparse
import asyncio
import gc
import importlib
import inspect
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import azure.functions as func
import uvicorn
from azure.durable_functions import client as durable_client
from azure.durable_functions.internal.serialization import DEFAULT_FUNCTIONS_DATA_CONVERTER
from azure.functions.decorators.function_app import Function
from azure.functions.eventgrid import EventGridEventInConverter
from azure.functions.meta import Datum
from azure.functions.timer import TimerRequestConverter
from durabletask.client import TaskHubGrpcClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.backend import Backend
from local.nursery import Child, Nursery
from local.worker import client_arguments, client_config, load_functions, trigger_of

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 2 * 1024 * 1024
START_S = 30.0
STOP_S = 10.0
RESTART_S = 0.2
SLOWEST_RESTART_S = 5.0
EVENT_GRID = "/runtime/webhooks/eventgrid"
ADMIN_FUNCTION = "/admin/functions/"
ADMIN_STATUS = "/admin/host/status"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "alpha": "[A-Za-z]+",
    "guid": "[0-9A-Fa-f-]{36}",
    "bool": "true|false",
}


class Schedule:
    """An NCRONTAB expression: second, minute, hour, day, month, day of week (0 and 7 are Sunday), in UTC.

    Knows ``*``, ``*/n``, numbers, ranges and lists. Unlike in Unix cron, day and day of week must both match.
    """

    FIELDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    HORIZON_DAYS = 8 * 366  # a leap day recurs within that

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) != len(self.FIELDS):
            raise ValueError(f"schedule {expression!r} has {len(fields)} fields; NCRONTAB has 6")
        try:
            parsed = [_numbers(field, *limits) for field, limits in zip(fields, self.FIELDS, strict=True)]
        except ValueError as error:
            raise ValueError(f"schedule {expression!r}: {error}") from error
        self._seconds, self._minutes, self._hours, self._days, self._months, weekdays = parsed
        self._weekdays = {number % 7 for number in weekdays}

    def after(self, moment: datetime) -> datetime:
        """The first time that is later than the moment."""
        today = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for day in (today + timedelta(days=number) for number in range(self.HORIZON_DAYS)):
            if day.day in self._days and day.month in self._months and day.isoweekday() % 7 in self._weekdays:
                for hour in self._hours:
                    if day == today and hour < moment.hour:
                        continue
                    for minute in self._minutes:
                        for second in self._seconds:
                            due = day.replace(hour=hour, minute=minute, second=second)
                            if due > moment:
                                return due
        raise ValueError("the schedule names a day that never comes")


def _numbers(field: str, low: int, high: int) -> list[int]:
    numbers: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(first)
        end = high if span == "*" or (step and not last) else int(last or first)
        if not low <= start <= end <= high or (step and int(step) < 1):
            raise ValueError(f"{part!r} is not within {low}-{high}")
        numbers.update(range(start, end + 1, int(step or 1)))
    return sorted(numbers)


class HttpRoute:
    """An HTTP trigger's route: ``{name}``, ``{name:constraint}``, ``{name?}``, ``{*rest}``; case is ignored."""

    def __init__(self, function: Function, prefix: str) -> None:
        trigger = trigger_of(function)
        self.function = function
        self.methods = {getattr(method, "value", str(method)).upper() for method in trigger.methods or METHODS}
        route = function.get_function_name() if trigger.route is None else trigger.route
        self.path = "/" + "/".join(part for part in (prefix.strip("/"), str(route).strip("/")) if part)
        segments = self.path.strip("/").split("/")
        self._pattern = re.compile("".join(self._segment(segment) for segment in segments) + "/?", re.IGNORECASE)
        # As in ASP.NET: a literal segment wins over a parameter, and that over a catch-all.
        self.rank = [2 if "{*" in segment else 1 if "{" in segment else 0 for segment in segments]

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters, or None."""
        found = self._pattern.fullmatch(path)
        return None if found is None else {key: value for key, value in found.groupdict().items() if value is not None}

    def _segment(self, segment: str) -> str:
        found = re.fullmatch(r"\{(\*?)(\w+)(?::(\w+))?(\??)\}", segment)
        if found is None:
            return "/" + re.escape(segment)
        rest, name, constraint, optional = found.groups()
        if rest:
            return f"(?:/(?P<{name}>.*))?"
        pattern = f"/(?P<{name}>{CONSTRAINTS.get(constraint, '[^/]+')})"
        return f"(?:{pattern})?" if optional else pattern


class Site:
    """What the host answers over HTTP, and the timers beside it."""

    def __init__(self, functions: Sequence[Function], *, config: str, prefix: str, origin: str, timers: bool) -> None:
        self._config = config
        self._origin = origin
        self._functions = {str(function.get_function_name()): function for function in functions}
        self.routes = sorted(
            (HttpRoute(function, prefix) for function in self._of_kind("httpTrigger")), key=lambda route: route.rank
        )
        self.schedules = {
            name: Schedule(_setting(trigger_of(self._functions[name]).schedule))
            for name in self.names_of_kind("timerTrigger")
        }
        self._timers = timers
        self.asgi = Starlette(
            routes=[Route("/{path:path}", self._answer, methods=METHODS)],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
            lifespan=self._lifespan,
        )

    def names_of_kind(self, kind: str) -> list[str]:
        """The names of the functions with such a trigger."""
        return [name for name, function in self._functions.items() if _kind(function) == kind]

    def _of_kind(self, kind: str) -> list[Function]:
        return [self._functions[name] for name in self.names_of_kind(kind)]

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._keep_time(name)) for name in self.schedules if self._timers]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Request) -> Response:
        path = str(request.scope["path"])
        body = await _read(request)
        if body is None:
            return _refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        if path.lower().startswith(("/admin/", "/runtime/")):
            return await self._answer_host(request, path, body)
        for route in self.routes:
            parameters = route.match(path)
            if parameters is not None and request.method in route.methods:
                return await self._answer_function(route.function, request, parameters, body)
        return _refuse(404, "no function has this route and method")

    async def _answer_function(
        self, function: Function, request: Request, parameters: Mapping[str, str], body: bytes
    ) -> Response:
        value = func.HttpRequest(
            request.method,
            str(request.url),
            headers={key: ", ".join(request.headers.getlist(key)) for key in request.headers},
            params=dict(request.query_params),
            route_params=parameters,
            body=body,
        )
        ran, result = await self._run(function, lambda: value)
        return _response(result) if ran else _refuse(500, "internal error")

    # The host's own paths

    async def _answer_host(self, request: Request, path: str, body: bytes) -> Response:
        if request.headers.get("origin") not in {None, self._origin}:
            return _refuse(403, "a page of another origin may not call this")  # any site can post to loopback
        where = path.lower().rstrip("/")
        if where == EVENT_GRID:
            return await self._receive_events(request, body)
        if where == ADMIN_STATUS and request.method == "GET":
            return JSONResponse({"state": "Running", "functions": sorted(self._functions)})
        if where.startswith(ADMIN_FUNCTION) and request.method == "POST":
            return await self._run_now(path.rstrip("/")[len(ADMIN_FUNCTION) :])
        return _refuse(404, "the host has no such path")

    async def _receive_events(self, request: Request, body: bytes) -> Response:
        name = request.query_params.get("functionName", "")
        function = self._functions.get(name)
        if function is None or _kind(function) != "eventGridTrigger":
            return _refuse(404, f"no function {name!r} with an Event Grid trigger")
        if request.method == "OPTIONS":
            return _allow_sender(request)
        if request.method != "POST":
            return _refuse(405, "events are posted")
        try:
            received = json.loads(body)
        except (ValueError, RecursionError):
            return _refuse(400, "the body is not JSON, or nested too deep")
        events = received if isinstance(received, list) else [received]
        if not all(isinstance(event, dict) for event in events):
            return _refuse(400, "an event is a JSON object")
        match request.headers.get("aeg-event-type", "Notification").lower():
            case "subscriptionvalidation":
                return _validate_subscription(events)
            case "unsubscribe":
                return Response(status_code=202)
        runs = [self._run(function, partial(_decode, EventGridEventInConverter, event)) for event in events]
        all_ran = all(ran for ran, _ in await asyncio.gather(*runs))
        return Response(status_code=202) if all_ran else _refuse(500, "internal error")

    async def _run_now(self, name: str) -> Response:
        if name not in self.schedules:
            return _refuse(404, f"no function {name!r} with a timer trigger")
        if not await self._run_timer(name):
            return _refuse(500, "internal error")
        return Response(status_code=202)

    # Timers

    async def _keep_time(self, name: str) -> None:
        if trigger_of(self._functions[name]).run_on_startup:
            await self._run_timer(name)
        while True:
            now = datetime.now(UTC)
            due = self.schedules[name].after(now)
            await asyncio.sleep((due - now).total_seconds())
            await self._run_timer(name, past_due=datetime.now(UTC) - due > timedelta(minutes=1))

    async def _run_timer(self, name: str, *, past_due: bool = False) -> bool:
        now = datetime.now(UTC)
        status = {"Last": now.isoformat(), "Next": self.schedules[name].after(now).isoformat()}
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        ran, _ = await self._run(self._functions[name], partial(_decode, TimerRequestConverter, info))
        return ran

    async def _run(self, function: Function, decode: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether the function ran to its end, and what it returned."""
        call = function.get_user_function()
        try:
            arguments = {str(trigger_of(function).name): decode(), **client_arguments(function, self._config)}
            if inspect.iscoroutinefunction(call):
                return True, await call(**arguments)
            return True, await asyncio.to_thread(call, **arguments)
        except Exception as error:  # the host answers for whatever a function raises
            log.error("function.failed name=%s error=%r", function.get_function_name(), error)  # noqa: TRY400
            log.debug("function.traced", exc_info=True)
            return False, None


def _kind(function: Function) -> str:
    return str(trigger_of(function).get_binding_name())


def _decode(converter: Any, received: Mapping[str, Any]) -> Any:
    return converter.decode(Datum(type="json", value=json.dumps(received)), trigger_metadata=None)


def _setting(text: str) -> str:
    """The text, or the setting that it names between percent signs."""
    named = re.fullmatch(r"%(.+)%", text)
    if named is None:
        return text
    if named[1] not in os.environ:
        raise ValueError(f"a trigger names the setting {named[1]}, which is not set")
    return os.environ[named[1]]


async def _read(request: Request) -> bytes | None:
    """The body, or None if it is too large; read to its end all the same, or the sender would see a broken pipe."""
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            body += chunk
    return bytes(body) if size <= MAX_BODY_BYTES else None


def _refuse(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=status)


def _response(result: Any) -> Response:
    if not isinstance(result, func.HttpResponse):
        return Response(status_code=204) if result is None else Response(str(result), media_type="text/plain")
    response = Response(result.get_body(), status_code=result.status_code)
    for key, value in result.headers.items():
        response.headers.append(key, value)
    if "content-type" not in response.headers and result.get_body():
        text = result.mimetype.startswith("text/")
        response.headers["content-type"] = f"{result.mimetype}; charset={result.charset}" if text else result.mimetype
    return response


def _allow_sender(request: Request) -> Response:
    """The handshake of CloudEvents: any sender, at any rate."""
    origin = request.headers.get("webhook-request-origin")
    if origin is None:
        return _refuse(400, "WebHook-Request-Origin is missing")
    headers = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"}
    return Response(status_code=200, headers=headers)


def _validate_subscription(events: Sequence[Mapping[str, Any]]) -> Response:
    """The handshake of the Event Grid schema."""
    details = events[0].get("data") if events else None
    if not isinstance(details, dict) or not isinstance(details.get("validationCode"), str):
        return _refuse(400, "data.validationCode is missing")
    return JSONResponse({"validationResponse": details["validationCode"]})


class Host:
    """Runs a function app: HTTP and the task hub in this process, durable functions in a worker that is kept alive.

    One at a time in a process: `env` stands in ``os.environ`` while it runs, since the app reads its settings there.

    Args:
        app: Module whose ``app`` is the function app.
        port: Port on loopback; 0 takes a free one.
        env: Settings for the app, on top of the environment.
        timers: Whether timer triggers fire by their schedule; by hand they always can.
        backend: The task hub, not started; for one that is seeded or observed.
        worker_output: Where the worker prints; standard error unless told, so that standard output is the caller's.
        worker_python: Interpreter of the worker; one of another environment sees the libraries that are there alone.
        worker_path: Where the worker finds what its environment does not hold; as this process does unless told.
        nursery: Forks the workers, of the same app; else each is a Python that starts by itself.

    Attributes:
        worker_exits: How each worker ended that was not told to: minus the number of a signal.
    """

    def __init__(
        self,
        *,
        app: str = "function_app",
        port: int = 0,
        env: Mapping[str, str] | None = None,
        timers: bool = True,
        backend: Backend | None = None,
        worker_output: int | IO[bytes] = 2,
        worker_python: str = sys.executable,
        worker_path: Sequence[str] = (),
        nursery: Nursery | None = None,
    ) -> None:
        self.backend = backend if backend is not None else Backend()
        self.url = ""
        self.client: TaskHubGrpcClient
        self.site: Site
        self._app = app
        self._port = port
        self._env = dict(env or {})
        self._timers = timers
        self._worker_output = worker_output
        self._worker_python = worker_python
        self._worker_path = worker_path
        self._nursery = nursery
        self._resources = ExitStack()
        self._process: subprocess.Popen[bytes] | Child | None = None
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self.worker_exits: list[int] = []

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id; another one after each restart."""
        return None if self._process is None else self._process.pid

    def kill_worker(self) -> None:
        """Kill the worker at once, as a lost machine would; another one starts soon."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            listener = resources.enter_context(socket.create_server((LOOPBACK, self._port)))
            # asyncio sets it only where a socket names its protocol; without it each answer waits 40 ms for an ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = f"{LOOPBACK}:{listener.getsockname()[1]}"
            self.url = f"http://{address}"
            self._env.setdefault("WEBSITE_HOSTNAME", address)  # as the real host tells its app where it is
            resources.enter_context(_environment(self._env))
            self.backend.start()
            resources.callback(self.backend.stop)
            self.client = TaskHubGrpcClient(
                host_address=self.backend.address,
                data_converter=DEFAULT_FUNCTIONS_DATA_CONVERTER,
                emit_trace_spans=False,
                logger=logging.getLogger(f"{__name__}.client"),
            )
            resources.callback(self.client.close)
            resources.enter_context(self._supervised_worker())
            resources.enter_context(self._served(listener))
            self._wait_for_worker()
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        gc.collect()  # closed asynchronous channels hang in cycles, and gRPC's poller thread lives as long as they

    @contextmanager
    def _served(self, listener: socket.socket) -> Iterator[None]:
        functions = load_functions(self._app)
        config = client_config(self.backend.address, self.url)
        self.site = Site(
            functions, config=config, prefix=_route_prefix(self._app), origin=self.url, timers=self._timers
        )
        settings = uvicorn.Config(
            self.site.asgi,
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(STOP_S),
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), name="http")
        thread.start()
        try:
            _wait(lambda: server.started or not thread.is_alive(), "the HTTP server to start")
            yield
        finally:
            server.should_exit = True
            thread.join()
            cached = durable_client._sync_client_cache.pop(config, None)  # noqa: SLF001 - else it lives until exit
            if cached is not None:
                cached.close()

    @contextmanager
    def _supervised_worker(self) -> Iterator[None]:
        self._ending.clear()
        self._process = self._start_worker()
        thread = threading.Thread(target=self._supervise, name="worker-supervisor")
        thread.start()
        try:
            yield
        finally:
            with self._starting:
                self._ending.set()
                self._process.terminate()
            thread.join(STOP_S)
            self._process.kill()
            thread.join()

    def _start_worker(self) -> subprocess.Popen[bytes] | Child:
        arguments = ["--app", self._app, "--backend", self.backend.address]
        if self._nursery is not None:
            output = self._worker_output if isinstance(self._worker_output, int) else self._worker_output.fileno()
            return self._nursery.start(arguments, {**os.environ, **self._env}, output)
        command = [self._worker_python, "-m", "local.worker", *arguments]
        search_path = os.pathsep.join(entry for entry in self._worker_path or sys.path if entry)
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=self._worker_output,
            stderr=self._worker_output,
            env={**os.environ, **self._env, "PYTHONPATH": search_path},
        )

    def _supervise(self) -> None:
        pause_s = RESTART_S
        while self._process is not None:
            exit_code = self._process.wait()
            if not self._ending.is_set():
                self.worker_exits.append(exit_code)
            # One that ends by itself, again and again, is broken: no point in spinning.
            pause_s = RESTART_S if exit_code < 0 else min(2 * pause_s, SLOWEST_RESTART_S)
            if self._ending.wait(pause_s):
                return
            with self._starting:
                if self._ending.is_set():
                    return
                log.warning("worker.restarted app=%s exit_code=%s", self._app, exit_code)
                self._process = self._start_worker()

    def _wait_for_worker(self) -> None:
        _wait(lambda: self.backend.streams > 0, f"the worker of {self._app!r} to connect; its output says why not")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_S:.0f} s for {what}")
        time.sleep(0.01)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _route_prefix(app: str) -> str:
    """The prefix of all routes: from the ``host.json`` beside the app, else the default."""
    settings = Path(str(importlib.import_module(app).__file__)).with_name("host.json")
    if not settings.exists():
        return "api"
    return str(json.loads(settings.read_text("utf-8")).get("extensions", {}).get("http", {}).get("routePrefix", "api"))


def main(argv: Sequence[str] | None = None) -> None:
    """Serve a function app until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="local.host", description="Serve a function app on this machine.")
    parser.add_argument("--app", default="function_app", help="module whose `app` is the function app")
    parser.add_argument("--port", type=int, default=7071, help="port on 127.0.0.1; 0 takes a free one")
    options = parser.parse_args(argv)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Host(app=options.app, port=options.port) as host:
        for route in host.site.routes:
            print(f"{','.join(sorted(route.methods)):<12} {host.url}{route.path}")
        for name in host.site.names_of_kind("eventGridTrigger"):
            print(f"{'Event Grid':<12} {host.url}{EVENT_GRID}?functionName={name}")
        for name in host.site.schedules:
            print(f"{'timer':<12} POST {host.url}{ADMIN_FUNCTION}{name} runs it now")
        print(f"{'ready':<12} Ctrl-C ends it", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
