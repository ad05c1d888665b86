"""How many stored incidents `medic replay` decides again in a second of one core's time, from a folder, beside a bare
floor: the same files read, and decoded with msgspec, and nothing else.

The store is made of incidents that the real app recorded while it played some of the demo's stories; each is copied
with an id and a subscription of its own, and with all its digests made anew.

.venv/bin/python -m tests.benchmarks.replay_speed
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec.structs import replace

from local import rehearsal
from local.commands.replaying import replayed
from local.rehearsal import Stage
from remediations import codec, planning, policy
from remediations.actions import ACTIONS
from remediations.adapters.folder import FolderStore
from remediations.model import AuditRecord, Decision, Evidence, Mode, Plan
from remediations.policy import Policy
from remediations.proof import chain
from remediations.replay import Kind, Replayed, WhatIf, totals
from remediations.services import EvidenceStore
from remediations.situation import Declined, Situation
from remediations.trail import Trail

STORIES = {  # of ten incidents
    "01-canceled-by-priority": 3,
    "06-update-asks": 1,
    "13-unknown-error": 1,
    "20-keys-regenerated": 1,
    "29-acrpull-missing": 1,
    "40-quota-idle-deleted": 1,
    "45-not-opted-in": 1,
    "71-model-error-alert": 1,
}
OTHER = {"retry": {"mode": "ask", "ceiling": "PT1S"}, "sync-keys": {"mode": "ask"}, "delete-idle": {"mode": "off"}}


def played(folder: Path) -> list[tuple[str, Policy, int]]:
    """Play the stories; give the incident of each with the policy that it was decided by, and its share."""
    found = []
    with Stage("auto", folder) as stage:
        for name, share in STORIES.items():
            report = stage.play(rehearsal.load(rehearsal.SCENARIOS / f"{name}.yaml"))
            assert report.as_expected, report.differences
            found.append((report.incidents[0], policy.load(stage.policy_file), share))
    return found


def copies(source: Path, target: Path, incident_id: str, ruled: Policy, count: int) -> None:
    """Write an incident so many times, each with its own id and subscription; every digest is that of its content."""
    trail, evidence = Trail(FolderStore(source / "trail")), EvidenceStore(FolderStore(source / "evidence"))
    opened = trail.opened(incident_id)
    assert opened is not None
    records = trail.records(incident_id)
    kinds = {"evidence": Evidence, "situation": Situation, "decision": Decision, "declined": Declined}
    parts = {str(record.facts[name]): kinds[name] for record in records for name in kinds if name in record.facts}
    rooms = [source / "trail" / room / incident_id for room in ("incidents", "audit")]
    files = {path: path.read_bytes() for room in rooms for path in room.rglob("*") if path.is_file()}
    raw = {digest: evidence.store.read(f"{digest[:2]}/{digest}") for digest in parts}
    for number in range(count):
        subscription = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{incident_id} {number}"))
        renamed = {
            incident_id: f"inc-{codec.digest(subscription)[:24]}",
            opened.incident.resource.subscription: subscription,
        }
        for kind in (Evidence, Declined, Decision, Situation, Decision):  # a plan's digest stands in later situations
            for digest in (one for one, its in parts.items() if its is kind):
                content = _renamed(raw[digest], renamed)
                if kind is Decision:
                    old = codec.decode(Decision, content)
                    judged = codec.decode(Evidence, _read(target, old.plan.diagnosis.evidence))
                    plan = planning.propose(old.plan.diagnosis, judged, ACTIONS, ruled, try_number=old.plan.try_number)
                    assert isinstance(plan, Plan)
                    renamed[codec.decode(Decision, raw[digest]).plan.digest] = plan.digest
                    content = codec.encode(replace(old, plan=plan))
                renamed[digest] = codec.digest(content)
                _write(target, renamed[digest], content)
        for path, content in files.items():
            place = target / "trail" / path.parent.parent.name / renamed[incident_id] / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            renewed = _renamed(content, renamed)
            place.write_bytes(_sealed(renewed) if path.suffix == ".jsonl" else renewed)


def _sealed(lines: bytes) -> bytes:
    """Give lines with their hashes made anew."""
    found, previous = b"", chain.FIRST
    for line in lines.splitlines():
        sealed, previous = chain.seal(codec.decode(AuditRecord, line), previous)
        found += sealed
    return found


def _renamed(content: bytes, names: dict[str, str]) -> bytes:
    for old, new in names.items():
        content = content.replace(old.encode(), new.encode())
    return content


def _read(target: Path, digest: str) -> bytes:
    return (target / "evidence" / digest[:2] / digest).read_bytes()


def _write(target: Path, digest: str, content: bytes) -> None:
    place = target / "evidence" / digest[:2] / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


class Noted:
    """A store that keeps which names were read."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self.names: list[Path] = []

    def create(self, name: str, content: bytes) -> None:
        raise AssertionError(name)

    def append(self, name: str, content: bytes, at: int) -> None:
        raise AssertionError(name)

    def read(self, name: str) -> bytes:
        self.names.append(self._store.root / name)
        return self._store.read(name)

    def list(self, prefix: str) -> Iterator[str]:
        return self._store.list(prefix)

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._store.lengths(prefix)


def floor(trail: list[Path], evidence: list[Path]) -> None:
    """Read the files of a replay and decode them, with nothing else."""
    records = msgspec.json.Decoder(AuditRecord)
    values = [msgspec.json.Decoder(one) for one in (Decision, Evidence, Situation, Declined)]
    for path in trail:
        with open(path, "rb") as file:  # noqa: PTH123 - the fastest way
            records.decode_lines(file.read())
    for path in evidence:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            content = file.read()
        # Each is told by its first field: which type a digest stands for, the record says.
        number = 0 if content.startswith(b'{"answers"') else 1 if content.startswith(b'{"activity"') else 2
        values[3 if content.startswith(b'{"no_plan"') else number].decode(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="Print where the time goes, and nothing else.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "played", Path(folder) / "store"
        for incident_id, ruled, share in played(source):
            copies(source, target, incident_id, ruled, options.incidents // 10 * share)
        measure(target, options.runs, is_profile=options.profile)


def measure(target: Path, runs: int, *, is_profile: bool) -> None:
    """Print the figures of a store."""
    shipped = policy.load(rehearsal.SHIPPED_POLICY)
    plain = policy.read_yaml(rehearsal.SHIPPED_POLICY.read_bytes())
    assert isinstance(plain, dict)
    other = policy.parse(codec.encode(rehearsal.laid_over(plain, {"actions": OTHER})))
    now = datetime.now(UTC)

    trail, evidence = (FolderStore(target / name) for name in ("trail", "evidence"))

    def again(ruled: Policy, mode: Mode | None = None) -> tuple[Replayed, ...]:
        asked = WhatIf(policy=ruled, actions=ACTIONS, since=now - timedelta(days=1), until=now, mode=mode)
        return replayed(asked, trail, evidence)

    if is_profile:
        with cProfile.Profile() as profile:
            again(other)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    noted = Noted(trail), Noted(evidence)
    replayed(WhatIf(policy=other, actions=ACTIONS, since=now - timedelta(days=1), until=now), *noted)
    files = tuple(store.names for store in noted)
    count, size = len(files[0]), sum(path.stat().st_size for paths in files for path in paths)
    found = totals(again(other))
    print(
        f"{count:,} incidents with {found.decisions:,} decisions, "
        f"{sum(map(len, files)) / count:.1f} files and {size / count / 1000:.0f} kB each"
    )
    works: tuple[tuple[str, Callable[[], object]], ...] = (
        ("the shipped policy", lambda: again(shipped)),
        (f"another, which changes {found.kinds[Kind.CHANGED]:,}", lambda: again(other)),
        ("the ceiling dry-run", lambda: again(shipped, Mode.DRY_RUN)),
        ("floor: read and decode", lambda: floor(*files)),
    )
    taken: dict[str, list[float]] = {words: [] for words, _ in works}
    for _ in range(runs):  # by turns, so that what else this machine does falls on all alike
        for words, work in works:
            start = time.process_time()
            work()
            taken[words].append(time.process_time() - start)
    for words, times in taken.items():
        print(f"{words:<34} {count / statistics.median(times):>6,.0f} incidents/s")


if __name__ == "__main__":
    main()
