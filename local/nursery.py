"""A process that has imported the app and forks a worker whenever one is needed.

A worker that starts by itself imports for a second or more; one that is forked begins at once. It is a process all the
same: it is killed, and another starts, as with `local.host.Host` alone. For tests that start or kill many of them.
"""

import argparse
import importlib
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from local import worker

# What a worker of the function app imports when an event first needs it.
PRELOAD = (
    "functions.activities",
    "functions.entities",
    "functions.storms",
    "remediations.adapters.arm",
    "remediations.adapters.folder",
    "remediations.adapters.ml",
    "remediations.adapters.roles",
    "azure.ai.ml",
)
_MOST_BYTES = 1 << 20
_PATIENCE_S = 120.0  # a machine that others use takes that long to import what is preloaded


class Child:
    """A forked worker, as far as a `subprocess.Popen` is needed of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def wait(self) -> int:
        """Wait for its end; give its exit code, or the negative number of the signal that ended it."""
        self._ended.wait()
        return self.returncode if self.returncode is not None else -signal.SIGKILL

    def kill(self) -> None:
        """Kill it at once, if it is still there."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end, if it is still there."""
        self._signal(signal.SIGTERM)

    def end(self, code: int) -> None:
        """Note that it has ended."""
        self.returncode = code
        self._ended.set()

    def _signal(self, number: int) -> None:
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """Forks workers of one app. Its process ends with this one, and its workers with it.

    Args:
        app: Module whose ``app`` is the function app.
        preload: Further modules that a worker would import when it first needs them.
        env: What its environment holds while the app is imported, besides that of this process.
    """

    def __init__(self, app: str, preload: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self._children: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._begun: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "local.nursery", "--app", app, "--socket", str(theirs.fileno()), *preload]
            path = os.pathsep.join(entry for entry in sys.path if entry)
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **(env or {}), "PYTHONPATH": path},
            )
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], output: int) -> Child:
        """Fork a worker with these arguments of `local.worker`, this environment, and this file as its output."""
        order = json.dumps({"arguments": [*arguments, "--parent", str(self._process.pid)], "env": dict(env)})
        with self._lock:
            socket.send_fds(self._socket, [order.encode()], [output])
            try:
                return self._begun.get(timeout=_PATIENCE_S)
            except queue.Empty as error:
                raise RuntimeError("the nursery does not answer; its output says why not") from error

    def close(self) -> None:
        """End it, and with it all that it forked."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._listener.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        while told := self._socket.recv(_MOST_BYTES):
            pid, code = json.loads(told)
            if code is None:
                self._children[pid] = Child(pid)
                self._begun.put(self._children[pid])
            else:
                self._children.pop(pid).end(code)
        for child in self._children.values():
            child.end(-signal.SIGKILL)


def _serve(connection: socket.socket) -> None:
    """Fork as told, and tell who has ended, until the other side is gone."""
    wake, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([connection.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            while alive and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                alive.discard(ended[0])
                connection.send(json.dumps([ended[0], os.waitstatus_to_exitcode(ended[1])]).encode())
        if connection.fileno() in ready:
            order, files, _, _ = socket.recv_fds(connection, _MOST_BYTES, 1)
            if not order:
                break
            pid = os.fork()
            if pid == 0:
                connection.close()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _become_worker(json.loads(order), files[0])
            os.close(files[0])
            alive.add(pid)
            connection.send(json.dumps([pid, None]).encode())
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _become_worker(order: dict[str, Any], output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(order["env"])
    try:
        worker.main(order["arguments"])
    except BaseException:  # noqa: BLE001 - also what would end a process: what comes after the fork is not its own
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)  # a worker leaves by itself


def main(argv: Sequence[str] | None = None) -> None:
    """Import what workers need, and wait for orders."""
    parser = argparse.ArgumentParser(prog="local.nursery", description="Fork workers of a function app.")
    parser.add_argument("--app", required=True, help="module whose `app` is the function app")
    parser.add_argument("--socket", required=True, type=int, help="inherited descriptor of the socket to its owner")
    parser.add_argument("preload", nargs="*", help="further modules to import")
    options = parser.parse_args(argv)
    worker.load_functions(options.app)
    for module in options.preload:
        importlib.import_module(module)
    with socket.socket(fileno=options.socket) as connection:
        _serve(connection)


if __name__ == "__main__":
    main()
