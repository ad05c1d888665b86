"""How long the page of 10,000 incidents takes on a folder and on Azurite: the first page of a process, which also
compiles its templates; one whose register has read nothing yet; and one that follows.

Each incident has four lines in the register: opened, asked, answered, ended, spread over 30 days. The time is that of
the route itself, from request to response, once its imports are done; the median of some runs.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from remediations import codec, register
from remediations.adapters.blobs import BlobStore
from remediations.adapters.folder import FolderStore
from remediations.model import End, Mode, Operation
from remediations.ports import Store
from remediations.register import Kind, Line
from tests.emulator import Azurite

ROOT = Path(__file__).parents[2]
DAYS = 30
CAUSES = ("canceled-higher-priority", "quota-cpu", "registry-keys-stale", "acr-pull-missing", "unknown")
WALK = """
import json, time
import azure.functions as func
from functions import incidents
from remediations.register import Register
from remediations.services import services

services().trail.store, services().policy  # what is made once a process, and imported for it


def listed():
    url = "http://127.0.0.1:7071/api/incidents"
    asked = func.HttpRequest(method="GET", url=url, headers={}, params={}, body=b"")
    begin = time.perf_counter()
    answer = incidents.listed(asked)
    taken = time.perf_counter() - begin
    assert answer.status_code == 200, answer.get_body()
    assert b" incidents</strong>" in answer.get_body()
    return taken, len(answer.get_body())


first, size = listed()
services().trail.register = Register(services().trail.store)
fresh, _ = listed()
later = [listed()[0] for _ in range(5)]
print(json.dumps({"first": [first], "fresh": [fresh], "later": later, "bytes": size}))
"""
PERSON = {"MEDIC_DEV_SIGN_IN": "00000000-1111-2222-3333-444444444444"}


def lines(count: int, now: datetime) -> Iterator[Line]:
    """Give the lines of some incidents, each with a resource of its own."""
    chance = random.Random(7)
    for number in range(count):
        opened = now - timedelta(days=DAYS - 1) * chance.random() - timedelta(hours=6)
        incident, plan = f"inc-{codec.digest(str(number))[:24]}", codec.digest(f"plan {number}")
        resource = (
            f"/subscriptions/00000000-1111-2222-3333-{number % 7:012d}/resourceGroups/rg-ml-prod-{number % 40}"
            "/providers/Microsoft.MachineLearningServices"
            f"/workspaces/mlw-prod-{number % 40}/onlineEndpoints/credit-scoring-{number % 900}/deployments/d{number}"
        )
        base = Line(
            at=opened,
            kind=Kind.OPENED,
            incident=incident,
            resource=resource,
            operation=Operation.WRITE,
            failed_at=opened - timedelta(seconds=40),
            mode=Mode.AUTO,
        )
        known: dict[str, Any] = {
            "cause_id": CAUSES[number % 5],
            "action": "retry",
            "diagnosed_at": opened + timedelta(seconds=30),
        }
        rest: dict[str, Any] = {
            name: getattr(base, name) for name in ("incident", "resource", "operation", "failed_at")
        }
        rest |= {"opened_at": opened}
        known["mode"] = Mode.AUTO
        asked, answered, ended = (opened + timedelta(minutes=minutes) for minutes in (1, 20, 30))
        yield base
        yield Line(at=asked, kind=Kind.ASKED, plan=plan, expires_at=asked + timedelta(hours=4), **rest, **known)
        yield Line(at=answered, kind=Kind.ANSWERED, plan=plan, approved=True, **rest)
        yield Line(at=ended, kind=Kind.ENDED, end=list(End)[number % 10], effects=1, **rest, **known)


def fill(store: Store, count: int, now: datetime) -> int:
    """Write the register of some incidents, file by file; give its bytes."""
    days: dict[str, list[bytes]] = {}
    for line in sorted(lines(count, now), key=lambda line: line.at):
        short = register._short(line, line.at.date())
        days.setdefault(f"{line.at:%Y-%m-%d}", []).append(codec.encode(short) + b"\n")
    for day, written in days.items():
        store.append(f"days/{day}/0000", b"".join(written), 0)
    return sum(len(line) for written in days.values() for line in written)


def measure(name_of: str, environment: dict[str, str], runs: int) -> None:
    """Print how long the page takes on one store."""
    taken: dict[str, list[float]] = {"first": [], "fresh": [], "later": []}
    size = 0
    for _ in range(runs):
        told = subprocess.run(
            [sys.executable, "-c", WALK],
            cwd=ROOT,
            env={**os.environ, **PERSON, **environment},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads(told.stdout.splitlines()[-1])
        size = found["bytes"]
        for name, times in taken.items():
            times.extend(found[name])
    words = {"first": "first page", "fresh": "register unread", "later": "later"}
    figures = ", ".join(
        f"{words[name]} {statistics.median(times) * 1000:.0f} ms (at most {max(times) * 1000:.0f})"
        for name, times in taken.items()
    )
    print(f"{name_of:<8} {figures}; the page has {size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        size = fill(FolderStore(Path(folder) / "trail"), options.incidents, now)
        print(f"{options.incidents:,} incidents in {DAYS} days: {size / 1e6:.1f} MB of register")
        measure("folder", {"MEDIC_STORE": folder}, options.runs)
    with tempfile.TemporaryDirectory() as folder, Azurite(Path(folder)) as azurite:
        fill(BlobStore(azurite.endpoint, "trail", azurite.credential), options.incidents, now)
        measure("Azurite", {"MEDIC_STORE": azurite.endpoint, "AZURITE_ACCOUNTS": azurite.accounts}, options.runs)


if __name__ == "__main__":
    main()
