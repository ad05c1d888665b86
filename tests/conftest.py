"""What all tests share: the storage emulator, and the research folder where there is one."""

import base64
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from hypothesis import settings

ROOT = Path(__file__).parents[1]
RESEARCH = os.environ.get("MEDIC_RESEARCH")

# How long an example takes says nothing on a machine that others use too; slowness has tests of its own.
settings.register_profile("medic", deadline=None)
settings.load_profile("medic")

collect_ignore_glob = [] if RESEARCH else ["*test_*research*.py"]
if not os.environ.get("MEDIC_LIVE_DEPLOYMENT"):
    collect_ignore_glob += ["live/*", "*/live/*"]


@pytest.fixture(scope="session")
def research() -> Path:
    """The folder of real messages, events and responses that MEDIC_RESEARCH names."""
    assert RESEARCH is not None, "only tests in test_*research*.py may ask for the research folder"
    return Path(RESEARCH)


class Azurite(NamedTuple):
    """A running storage emulator; the account and its key are made up for this run."""

    endpoint: str
    credential: AzureNamedKeyCredential


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A blob service of our own on a free loopback port, one for each test process."""
    program = ROOT / ".tools/azurite/node_modules/azurite/dist/src/blob/main.js"
    assert program.exists(), "Azurite is not installed: run `make setup`"
    account, key = "medictest", base64.b64encode(secrets.token_bytes(64)).decode()
    options = ("--blobPort", "0", "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    with subprocess.Popen(
        ["node", program, "--blobHost", "127.0.0.1", *options],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            address = _read_until_listening(process)
            yield Azurite(f"{address}/{account}", AzureNamedKeyCredential(account, key))
        finally:
            process.kill()


def _read_until_listening(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if listening := re.search(r"listens on (http://\S+)", line):
            return listening[1]
    raise AssertionError(f"Azurite ended before it listened:\n{said}")
