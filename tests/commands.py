"""The environment that a command is tested in: nobody's settings, and a folder of its own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from pathlib import Path

import pytest

from remediations import services
from remediations.adapters.folder import FolderStore
from remediations.trail import Trail


def settle(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: str) -> Trail:
    """Give a command these settings alone, and the test the trail that the command will use."""
    for name in os.environ:
        if name.startswith(("MEDIC_", "AZURE_")) and name != "MEDIC_RESEARCH":
            monkeypatch.delenv(name)
    for name, value in {"MEDIC_STORE": str(folder / "store"), "COLUMNS": "80", **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(services, "_services", None)
    return Trail(FolderStore(folder / "store" / "trail"))


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Let what stands for the app answer a command, as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
