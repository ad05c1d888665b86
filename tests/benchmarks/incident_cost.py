"""What one incident uses of what Azure bills: executions, calls of Azure, operations on blobs, bytes kept and logged.

The function app runs as in Azure, but for its time: waits that policy chose, an operation of ten minutes and the delay
of the Activity Log are all divided by the same number, so that it polls as often. Blobs are Azurite's, behind a proxy
that counts. docs/runbook.md puts prices to these figures.

.venv/bin/python -m tests.benchmarks.incident_cost
"""

import argparse
import json
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, Self

import httpx
from azure.storage.blob import BlobServiceClient

from local import answering
from local.arm.models import World
from local.arm.resources import Refusal
from local.arm.server import Server
from local.backend import Backend
from local.host import Host
from remediations import services
from remediations.adapters.blobs import BlobStore
from remediations.approval import token
from remediations.proof import checkpoint
from remediations.trail import Trail
from tests.contract.faulty_proxy import FaultyProxy
from tests.emulator import Azurite
from tests.workflow.theatre import POLICY, eventually, short_of_cores

SCALE = 100.0
OPERATION_S = 600.0  # until a deployment stands or has failed
LOG_DELAY_S = 20.0  # of the Activity Log
EVENT_GRID = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"
KEY = "benchmark-approval-key-0123456789abcdef"
CANCELED: dict[str, Any] = {
    "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring"}]}],
    "hazards": [{"kind": "higher-priority", "remaining": 1}],
}
STORIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("dry run", "dry-run", CANCELED),
    ("repaired", "auto", CANCELED),
    ("asked, deleted, repaired", "auto", short_of_cores(8, old={})),
)
KINDS = {"create": "write", "begin": "write", "append": "write", "read": "read", "look": "other", "list": "list"}


class Bench:
    """The app's processes, and what they used since it was last asked."""

    def __init__(self, mode: str, azurite: Azurite, folder: Path) -> None:
        self.mode, self.azurite, self.folder = mode, azurite, folder
        self.ran: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            services.use(None)  # this process may have served another bench before
            resources.callback(services.use, None)
            self.server = Server(World.from_dict({"workspaces": []}))
            resources.callback(self.server.close)
            self.server.start()
            self.proxy = resources.enter_context(FaultyProxy(self.azurite.endpoint))
            self.log = self.folder / "worker.log"
            output = resources.enter_context(self.log.open("w", encoding="utf-8"))
            resources.enter_context(redirect_stderr(output))
            self.host = resources.enter_context(
                Host(
                    app="tests.benchmarks.logged_app",
                    env=self._environment(),
                    timers=False,
                    backend=Backend(on_hand_out=self._count),
                    worker_output=output.fileno(),
                )
            )
            hooks: dict[str, list[Any]] = {"response": [lambda _: self._count("http", "", "")]}
            self.http = resources.enter_context(httpx.Client(base_url=self.host.url, timeout=30, event_hooks=hooks))
            self.trail = Trail(BlobStore(self.azurite.endpoint, "trail", self.azurite.credential))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _environment(self) -> dict[str, str]:
        principal = self.server.world.principals["medic"]
        return {
            "MEDIC_MODE": self.mode,
            "MEDIC_STORE": self.proxy.endpoint,
            "AZURITE_ACCOUNTS": self.azurite.accounts,
            "MEDIC_POLICY": str(POLICY),
            "MEDIC_ARM_URL": self.server.url,
            "MEDIC_ARM_TOKEN": "sim-medic",
            "MEDIC_CLIENT_ID": principal.appid,
            "MEDIC_PRINCIPAL_ID": principal.oid,
            "MEDIC_TIME_SCALE": f"{SCALE:g}",
            "MEDIC_SEND_SECONDS": "1",
            "MEDIC_APPROVAL_KEYS": json.dumps({"k1": KEY}),
            "MEDIC_ANCHOR_KEY": checkpoint.new_key(),
            "MEDIC_NOTICES": str(self.folder / "notices"),
            **answering.SIGN_IN,
        }

    def _count(self, kind: str, _name: str, _instance: str) -> None:
        with self._counting:
            self.ran[kind] += 1

    @contextmanager
    def world(self, seed: dict[str, Any]) -> Iterator[World]:
        """Show a world of its own, whose events the app gets."""
        times = {"operation_seconds": OPERATION_S / SCALE, "activity_log_delay": LOG_DELAY_S / SCALE}
        made = World.from_dict({**seed, **times, "subscription": str(uuid.uuid4())})
        made.subscribe(self.host.url + EVENT_GRID)
        self.server.show(made)
        try:
            yield made
        finally:
            made.close()

    def answer(self) -> None:
        """Approve whatever is asked, as many people as have to."""
        asked = list(self.trail.open_questions())
        for question in asked:
            link = token.Token(
                incident_id=question.incident_id,
                plan=question.plan,
                policy_version=question.policy_version,
                expires_at=question.expires_at,
            )
            path = f"/api/approvals/{token.sign(link, {'k1': KEY}, 'k1')}"
            for number in range(question.quorum):
                answering.answer(self.http, path, "approve", oid=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))))

    def play(self, seed: dict[str, Any]) -> dict[str, float]:
        """Let a deployment fail, wait until its incident has ended, and give what that used."""
        known, before = set(self.trail.incidents()), self._state()
        with self.world(seed) as made:
            with suppress(Refusal):
                made.put_deployment("ci", "credit-scoring", "green")

            def ended() -> bool:
                self.answer()
                return any(self.trail.ended(one) is not None for one in set(self.trail.incidents()) - known)

            eventually(ended, "the incident did not end", within_s=120)
            time.sleep(2)  # what is told of the end
            reads, writes = sum(made.reads.values()), sum(entry.principal == "medic" for entry in made.ledger)
        after = self._state()
        used = {name: after[name] - before[name] for name in after}
        return {**used, "deliveries": after["deliveries"] - before["deliveries"], "calls of Azure": reads + writes}

    def timer(self, name: str) -> dict[str, float]:
        """Run what a timer runs, and give what that used."""
        before = self._state()
        self.http.post(f"/admin/functions/{name}", json={}).raise_for_status()
        after = self._state()
        return {name: after[name] - before[name] for name in after}

    def _state(self) -> dict[str, float]:
        kept: dict[str, float] = {}
        with BlobServiceClient(self.azurite.endpoint, credential=self.azurite.credential) as client:
            for container in ("trail", "evidence"):
                blobs = list(client.get_container_client(container).list_blobs())
                kept |= {f"{container}: blobs": len(blobs), f"{container}: bytes": sum(blob.size for blob in blobs)}
        lines = [line for line in self.log.read_bytes().splitlines() if line.startswith(b"{")]
        operations = Counter(dict.fromkeys(KINDS.values(), 0))
        for what, count in self.proxy.passed.items():
            operations[KINDS.get(what, "other")] += count
        return {
            **{f"{kind} executions": self.ran[kind] for kind in ("activity", "orchestration", "entity", "http")},
            **{f"blob {kind}": count for kind, count in operations.items()},
            **kept,
            "deliveries": sum(1 for _ in self.trail.store.list("intake/")),
            "log: lines": len(lines),
            "log: bytes": sum(map(len, lines)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=10, help="played of each kind; figures are means")
    count = parser.parse_args().incidents
    with Azurite() as azurite, tempfile.TemporaryDirectory() as folder:
        with BlobServiceClient(azurite.endpoint, credential=azurite.credential) as client:
            for container in ("trail", "evidence"):
                client.create_container(container)
        for name, mode, seed in STORIES:
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            with Bench(mode, azurite, place) as bench:
                print(f"\n{name} (MEDIC_MODE={mode}), mean of {count}")
                played = [bench.play(seed) for _ in range(count)]
                for figure in played[0]:
                    print(f"  {figure:<28} {sum(one[figure] for one in played) / count:>10.1f}")
                for timer in ("sweep", "anchor", "anchor"):  # the second has nothing to sign
                    used = {name: value for name, value in bench.timer(timer).items() if value}
                    print(f"  {timer} after it: {used}")


if __name__ == "__main__":
    main()
