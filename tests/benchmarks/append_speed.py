"""How fast audit records go onto the trail in blobs, against the bare SDK appending the same bytes at known positions.

Both take turns in one run on one Azurite: one incident written in sequence, then eight incidents by eight threads.
Asked is at least 80 % of the bare rate in both.

.venv/bin/python -m tests.benchmarks.append_speed
"""

import argparse
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from azure.storage.blob import ContainerClient
from msgspec.structs import replace

from remediations import codec
from remediations.adapters.blobs import BlobStore
from remediations.model import Actor, AuditRecord, Mode
from remediations.proof import chain
from remediations.trail import Trail, audit_folder
from tests.builders import NOON
from tests.emulator import Azurite

THREADS = 8
GUARDS = (
    ("mode", "allow", "the mode is auto"),
    ("budget", "allow", "1 of 3 slots of this hour are taken"),
    ("cooldown", "allow", "the last attempt on this deployment is 26 h old"),
)


def records_of(incident: str, count: int) -> list[AuditRecord]:
    """Give records of an incident as its walk writes them: decisions, of about 700 bytes each."""
    return [
        AuditRecord(
            seq=0,
            at=NOON + timedelta(seconds=number),
            incident=incident,
            stage="decision",
            key=f"decision:{codec.digest(f'{incident} {number}')}",
            actor=Actor(oid=str(uuid.uuid5(uuid.NAMESPACE_OID, "medic"))),
            mode=Mode.AUTO,
            policy_version=codec.digest("policy"),
            facts=codec.dump(
                {
                    "plan": codec.digest(f"plan {number}"),
                    "verdict": "run",
                    "situation": codec.digest(f"situation {number}"),
                    "guards": [{"guard": guard, "says": says, "words": words} for guard, says, words in GUARDS],
                }
            ),
            previous="",
        )
        for number in range(count)
    ]


def lines_of(records: Sequence[AuditRecord]) -> list[bytes]:
    """Give the bytes that stand on the trail for these records."""
    lines: list[bytes] = []
    previous = chain.FIRST
    for seq, record in enumerate(records):
        line, previous = chain.seal(replace(record, seq=seq), previous)
        lines.append(line)
    return lines


def rate(work: Sequence[Callable[[], None]], appends: int) -> float:
    """Run pieces of work at once, each in a thread of its own; give the appends a second of all."""
    with ThreadPoolExecutor(len(work)) as pool:
        begin = time.perf_counter()
        for done in [pool.submit(one) for one in work]:
            done.result()
        return appends / (time.perf_counter() - begin)


def by_trail(trail: Trail, records: Sequence[AuditRecord]) -> Callable[[], None]:
    """Begin an incident's file; give the work that adds the other records."""
    trail.append_record(records[0])

    def work() -> None:
        for record in records[1:]:
            trail.append_record(record)

    return work


def by_client(container: ContainerClient, name: str, lines: Sequence[bytes]) -> Callable[[], None]:
    """Begin a blob; give the work that adds the other lines, each at its known position."""
    blob = container.get_blob_client(name)
    blob.create_append_blob()
    blob.append_block(lines[0], appendpos_condition=0)

    def work() -> None:
        at = len(lines[0])
        for line in lines[1:]:
            blob.append_block(line, appendpos_condition=at)
            at += len(line)

    return work


def measure(store: BlobStore, container: ContainerClient, threads: int, count: int, rounds: int) -> None:
    """Print both rates and what ours is of the bare one, as medians over the rounds."""
    ours: list[float] = []
    bare: list[float] = []
    trail = Trail(store)
    for turn in range(rounds):
        incidents = [uuid.uuid4().hex for _ in range(threads)]
        records = {incident: records_of(incident, count + 1) for incident in incidents}
        lines = {incident: lines_of(records[incident]) for incident in incidents}
        through = [by_trail(trail, records[incident]) for incident in incidents]
        direct = [by_client(container, f"bare/{incident}", lines[incident]) for incident in incidents]
        # Whoever comes first in a round may find a machine that is busier.
        for work, rates in ((through, ours), (direct, bare)) if turn % 2 else ((direct, bare), (through, ours)):
            rates.append(rate(work, threads * count))
        for incident in incidents:
            kept = store.read(f"{audit_folder(incident)}/0000.jsonl")
            assert kept == b"".join(lines[incident]) == store.read(f"bare/{incident}")
    share = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    size = statistics.mean(len(line) for each in lines.values() for line in each)
    print(
        f"{threads} at once, {size:.0f} bytes a record: {statistics.median(ours):.0f}/s by the trail, "
        f"{statistics.median(bare):.0f}/s by the bare client: {share:.0%} (asked: 80%)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=40, help="of each incident in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with Azurite() as azurite:
        store = BlobStore(azurite.endpoint, "trail", azurite.credential)
        assert list(store.list("")) == []  # the container is made with that
        with ContainerClient(azurite.endpoint, "trail", credential=azurite.credential) as container:
            for threads in (1, THREADS):
                measure(store, container, threads, options.records, options.rounds)


if __name__ == "__main__":
    main()
