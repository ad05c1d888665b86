"""An HTTP proxy on loopback that stands before a blob service and breaks what it is told to break.

Requests pass as they came, with their own Host and Authorization: a shared-key signature covers the path, and the
emulator takes the account from there. Which request suffers what is decided by a function of `Asked`: `scripted` or
`seeded`.
"""

import random
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

_OF_ONE_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


class How(StrEnum):
    """What is done to one request."""

    ANSWER = "answered with an error"
    SILENCE = "not answered until the client gave up"
    LATE = "carried out after the client gave up"
    RESET = "connection reset"
    CUT = "answer cut in the middle"
    SLOW = "answered slowly"


class Fault(NamedTuple):
    """What is done to one request.

    Attributes:
        after: Whether the service carries the request out first; CUT and SLOW always come after, LATE never.
        status: With `code`, the answer in place of the service's own.
    """

    how: How
    after: bool = False
    status: int = 503
    code: str = "ServerBusy"

    def __str__(self) -> str:
        answer = f" {self.status} {self.code}" if self.how is How.ANSWER else ""
        return f"{self.how}{answer} {'after' if self.after else 'before'} the effect"


# One of each kind, for seeded disorder.
EVERY_FAULT = (
    Fault(How.ANSWER),
    Fault(How.ANSWER, status=500, code="InternalError"),
    Fault(How.ANSWER, after=True),
    Fault(How.ANSWER, after=True, status=500, code="InternalError"),
    Fault(How.SILENCE),
    Fault(How.SILENCE, after=True),
    Fault(How.LATE),
    Fault(How.RESET),
    Fault(How.RESET, after=True),
    Fault(How.CUT, after=True),
    Fault(How.SLOW, after=True),
)


class Asked(NamedTuple):
    """One request, as far as faults are chosen by it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def what(self) -> str:
        """Give the operation of the blob service: create, begin, append, read, look, list or another."""
        operation = "".join(self.query.get("comp", []))
        if "container" in self.query.get("restype", []):
            return "list" if operation == "list" else "container"
        if self.method == "PUT":
            kind = self.headers.get("x-ms-blob-type", "")
            return {"appendblock": "append"}.get(operation) or {"AppendBlob": "begin", "BlockBlob": "create"}.get(
                kind, "other"
            )
        return {"GET": "read", "HEAD": "look"}.get(self.method, "other")


Choice = Callable[[Asked], Fault | None]


def no_faults(_asked: Asked) -> None:
    """Let everything pass."""


def scripted(*steps: tuple[str, Fault | None]) -> Choice:
    """Give each step its turn: the next request of its kind gets its fault, or passes where that is None."""
    left = list(steps)

    def choose(asked: Asked) -> Fault | None:
        if left and left[0][0] == asked.what:
            return left.pop(0)[1]
        return None

    return choose


def always(what: str, fault: Fault) -> Choice:
    """Give every request of a kind the same fault."""
    return lambda asked: fault if asked.what == what else None


def seeded(seed: object, rate: float, faults: Iterable[Fault] = EVERY_FAULT) -> Choice:
    """Give some of the requests to blobs a fault; a read is never cut, since the SDK then sleeps for a second."""
    chance, known = random.Random(f"{seed}"), tuple(faults)

    def choose(asked: Asked) -> Fault | None:
        fault = chance.choice(known) if chance.random() < rate else None
        if asked.what == "container" or (fault and fault.how is How.CUT and asked.what == "read"):
            return None
        return fault

    return choose


class FaultyProxy(ThreadingHTTPServer):
    """The proxy, on a free port while it is entered.

    Attributes:
        choose: Asked about each request, one after another.
        done: How often each fault was done, as ``append: connection reset after the effect``.
        passed: How many requests of each kind came, with a fault or without.
        failed: What the proxy itself did wrong; must stay empty.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, service: str, *, patience: float = 5, slowness: float = 0.03) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = urlsplit(service)
        self.patience = patience
        self.slowness = slowness
        self.choose: Choice = no_faults
        self.done: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.failed: list[BaseException] = []
        self._choosing = threading.Lock()
        self._serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def endpoint(self) -> str:
        """Give the URL of the account behind the proxy."""
        return f"http://127.0.0.1:{self.server_address[1]}{self.service.path}"

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._serving.join()
        self.server_close()

    def chosen(self, asked: Asked) -> Fault | None:
        """Give the fault of a request, and count it."""
        with self._choosing:
            self.passed[asked.what] += 1
            fault = self.choose(asked)
            if fault is not None:
                self.done[f"{asked.what}: {fault}"] += 1
            return fault

    def shutdown_request(self, request: Any) -> None:
        """Close at once: the stock server says a polite end first, and a reset would be none."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong here; that the client or the service hung up is what this is for."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.failed.append(error)


class _Answer(NamedTuple):
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyProxy

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        asked = Asked(self.command, parts.path, parse_qs(parts.query), {k.lower(): v for k, v in self.headers.items()})
        fault = self.server.chosen(asked)
        if fault is None:
            self._answer(self._forward(body))
        elif fault.how is How.LATE:
            self._wait_until_gone()
            self._forward(body)
            self._hang_up()
        else:
            answer = self._forward(body) if fault.after or fault.how in {How.CUT, How.SLOW} else None
            self._break(fault, answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _break(self, fault: Fault, answer: _Answer | None) -> None:
        match fault.how, answer:
            case How.ANSWER, _:
                self._answer(_error(fault))
            case How.SLOW, _Answer():
                time.sleep(self.server.slowness)
                self._answer(answer)
            case How.CUT, _Answer():
                written = self._written(answer)
                # In the body, or else in the status line: a reader of headers takes an end among them for their end.
                self.wfile.write(written[: len(written) - len(answer.body) // 2 - 1 if answer.body else 12])
                self._hang_up()
            case How.RESET, _:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                self._hang_up()
            case _:
                self._wait_until_gone()
                self._hang_up()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _forward(self, body: bytes) -> _Answer:
        """Have the service answer, on a connection of its own: on one that has gone stale it would be asked twice."""
        onward = HTTPConnection(self.server.service.hostname or "", self.server.service.port, timeout=20)
        try:
            onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                onward.putheader(name, value)
            onward.endheaders(body or None, encode_chunked="Transfer-Encoding" in self.headers)
            response = onward.getresponse()
            return _Answer(response.status, response.reason, _headers(response, self.command), response.read())
        except HTTPException as error:
            raise ConnectionAbortedError from error
        finally:
            onward.close()

    def _answer(self, answer: _Answer) -> None:
        self.wfile.write(self._written(answer))

    def _written(self, answer: _Answer) -> bytes:
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in answer.headers)]
        if not any(name.lower() == "content-length" for name, _ in answer.headers):
            lines.append(f"Content-Length: {len(answer.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if self.command == "HEAD" else head + answer.body

    def _wait_until_gone(self) -> None:
        """Wait until the client hangs up, or patience ends."""
        until = time.monotonic() + self.server.patience
        while (left := until - time.monotonic()) > 0:
            if select.select([self.connection], [], [], left)[0] and not self.connection.recv(65536):
                return

    def _hang_up(self) -> None:
        self.close_connection = True


def _headers(response: HTTPResponse, method: str) -> list[tuple[str, str]]:
    dropped = _OF_ONE_HOP - ({"content-length"} if method == "HEAD" else set())
    return [(name, value) for name, value in response.getheaders() if name.lower() not in dropped]


def _error(fault: Fault) -> _Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{fault.code}</Code><Message>{fault}</Message></Error>'
    headers = [("Content-Type", "application/xml"), ("x-ms-error-code", fault.code)]
    return _Answer(fault.status, "By the proxy", headers, body.encode())
