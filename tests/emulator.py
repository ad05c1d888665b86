"""The storage emulator, as tests and benchmarks start it."""

import base64
import os
import re
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Self

from azure.core.credentials import AzureNamedKeyCredential

ROOT = Path(__file__).parents[1]


class Azurite:
    """A blob service of our own on a free loopback port, running while it is entered.

    The account and its key are made up. It keeps its blobs in memory, or in a folder: then it may be stopped and
    started again, on the same port.

    Attributes:
        endpoint: URL of the account.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._where = ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self.account, self.key = "medictest", base64.b64encode(secrets.token_bytes(64)).decode()
        self.credential = AzureNamedKeyCredential(self.account, self.key)
        self.endpoint = ""

    @property
    def accounts(self) -> str:
        """Give the account as AZURITE_ACCOUNTS names it."""
        return f"{self.account}:{self.key}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = ROOT / ".tools/azurite/node_modules/azurite/dist/src/blob/main.js"
        assert program.exists(), "Azurite is not installed: run `make setup`"
        options = ("--blobHost", "127.0.0.1", "--blobPort", self._port, "--silent", "--skipApiVersionCheck")
        self._process = subprocess.Popen(
            ["node", str(program), *options, "--disableTelemetry", *self._where],
            env={**os.environ, "AZURITE_ACCOUNTS": self.accounts},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            said += line
            if listening := re.search(r"listens on (http://\S+:(\d+))", line):
                self.endpoint, self._port = f"{listening[1]}/{self.account}", listening[2]
                return
        self.stop()
        raise AssertionError(f"Azurite ended before it listened:\n{said}")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it by its own process id. Killed, it forgets what it took in its last seconds; told to end, nothing."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
