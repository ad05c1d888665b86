"""Measure the rows that are asked for, and write down what came out: ``make bench``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks import machine, report
from benchmarks.bench import Bench
from benchmarks.environments import HOME
from benchmarks.machine import Machine
from benchmarks.report import Result
from benchmarks.rows import ROWS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(ROWS),
        metavar="ROW",
        help=f"one of {', '.join(ROWS)}; may be given again",
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often each subject has its turn (7)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, not as a table")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    here = machine.look()  # once: a row would else find the machine busy with the row before
    results = [_measured(name, options.rounds, here) for name in options.only or ROWS]
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(results), indent=1).decode())
    else:
        print(report.table(results))
    print(f"kept in {report.RESULTS}", file=sys.stderr)
    missed = [one.name for result in results for one in result.row.ratios if one.is_met is False]
    missed += [f"{one.subject}: {one.what}" for result in results for one in result.row.figures if one.is_met is False]
    for one in missed:
        print(f"not as asked: {one}", file=sys.stderr)


def _measured(name: str, rounds: int, here: Machine) -> Result:
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {name}: {words}", file=sys.stderr, flush=True)

    HOME.mkdir(exist_ok=True)
    # Not where temporary files lie: that may be memory, and some rows are about the disk.
    with tempfile.TemporaryDirectory(dir=HOME, prefix="run-") as folder, Bench(Path(folder), rounds, say) as bench:
        row = ROWS[name](bench)
    row = msgspec.structs.replace(row, left_out=tuple(dict.fromkeys(bench.left_out)))
    result = Result(row=row, machine=here, versions=bench.versions, rounds=rounds)
    report.keep(result)
    return result


if __name__ == "__main__":
    main()
