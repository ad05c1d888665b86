"""How fast a trail of 1,000,000 records in 10,000 incidents is verified: on one core, in a process of its own.

Asked are 100,000 records a second in less than 200 MB, and time that grows with the number of records alone: a tenth of
the incidents is verified too, and the rates are compared. Beside it stands a floor: a process that only reads the same
files and takes one SHA-256 of each line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from remediations import codec
from remediations.adapters.folder import FolderStore
from remediations.model import Actor, AuditRecord, Mode
from remediations.proof import anchoring, chain
from tests.trails import KEY

ROOT = Path(__file__).parents[2]
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
ENDS = r"""
peak_mb = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000
print(json.dumps({"records": records, "seconds": time.perf_counter() - begin, "peak_mb": peak_mb}))
"""
VERIFY = (
    """
import json, re, sys, time
from pathlib import Path
from remediations.adapters.folder import FolderCopy
from remediations.proof import checking

begin = time.perf_counter()
copy = FolderCopy(Path(sys.argv[1]))
verdict = checking.verify(copy, torn=copy.torn())
assert verdict.ok and verdict.records == verdict.anchored, verdict
records = verdict.records
"""
    + ENDS
)
FLOOR = (
    """
import hashlib, json, re, sys, time
from pathlib import Path

begin = time.perf_counter()
records = 0
for file in sorted(Path(sys.argv[1], "audit").glob("*/*.jsonl")):
    for line in file.read_bytes().splitlines():
        hashlib.sha256(line).digest()
        records += 1
"""
    + ENDS
)


def write(root: Path, records: int, number: int) -> int:
    """Write one incident's records as they would lie there; give their bytes."""
    incident, opened = f"inc-{codec.digest(str(number))[:24]}", BEGIN + timedelta(seconds=number)
    plan, lines, digest = codec.digest(f"plan {number}"), [], chain.FIRST
    for seq in range(records):
        record = AuditRecord(
            seq=seq,
            at=opened + timedelta(seconds=seq, microseconds=number),
            incident=incident,
            stage="decision",
            key=f"decision:{plan}:{seq}",
            actor=Actor(),
            mode=Mode.AUTO,
            policy_version="0123456789ab",
            facts={"plan": plan, "verdict": "run", "situation": codec.digest(f"{number} {seq}"), "why": "guarded " * 9},
            previous="",
        )
        line, digest = chain.seal(record, digest)
        lines.append(line)
    content = b"".join(lines)
    folder = root / "audit" / incident
    folder.mkdir(parents=True)
    (folder / "0000.jsonl").write_bytes(content)
    (folder / ".0000.jsonl.length").write_bytes(b"%020d" % len(content))
    return len(content)


def fill(root: Path, incidents: int, records: int) -> int:
    """Write and sign a trail; give its bytes."""
    with ProcessPoolExecutor() as pool:
        size = sum(pool.map(partial(write, root, records), range(incidents), chunksize=100))
    anchored = anchoring.anchor(FolderStore(root), KEY, BEGIN + timedelta(days=1))
    assert anchored.is_new, anchored
    return size


def measure(program: str, root: Path) -> dict[str, Any]:
    """Give what a program says of a trail, on one core."""
    one = min(os.sched_getaffinity(0))
    said = subprocess.run(
        ["taskset", "--cpu-list", str(one), sys.executable, "-c", program, str(root)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=100, help="of each incident")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {}
    for name, incidents in (("a tenth", options.incidents // 10), ("all", options.incidents)):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            size = fill(root, incidents, options.records)
            count = incidents * options.records
            print(f"{name}: {count:,} records in {incidents:,} incidents, {size / count:.0f} bytes each", flush=True)
            for what, program in (("floor", FLOOR), ("verify", VERIFY)):
                found = [measure(program, root) for _ in range(options.runs)]
                assert all(one["records"] == count for one in found)
                rates[f"{what} {name}"] = [count / one["seconds"] for one in found]
                each = ", ".join(f"{rate:,.0f}" for rate in rates[f"{what} {name}"])
                peak = max(one["peak_mb"] for one in found)
                print(f"  {what:<6} records/s: {each}; peak {peak:.0f} MB", flush=True)
    fastest = {name: max(found) for name, found in rates.items()}
    for other in ("verify a tenth", "floor all"):
        print(f"verify all to {other}, the fastest of each: {fastest['verify all'] / fastest[other]:.2f}")


if __name__ == "__main__":
    main()
