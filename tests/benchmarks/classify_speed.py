"""How many messages `medic classify --jsonl` answers in a second on one core, whether that is linear, and one of 1 MB.

The messages are those of tests/corpus, or of the files that are named, cut or repeated to 500 characters. Each figure
is the median of some runs of the whole command as a process of its own, its start taken off.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / "tests/corpus/failures.jsonl", ROOT / "tests/corpus/unknown.jsonl")


def messages(files: Iterable[Path]) -> list[str]:
    """Give the texts of some files, each of 500 characters."""
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    texts = [str(json.loads(line)["message"]) for line in lines]
    return [(f"{text} " * (500 // len(text) + 1))[:500] for text in texts]


def cpu_seconds(arguments: list[str], runs: int) -> float:
    """Give the processor time of a command, the median of some runs."""
    taken: list[float] = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "local.cli", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=list(CORPUS))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    texts = messages(options.files)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.jsonl"
        file.write_text("")
        start = cpu_seconds(["classify", "--jsonl", str(file)], options.runs)
        for count in (5_000, 20_000, 80_000):
            lines = (json.dumps({"id": n, "message": text}) for n, text in enumerate(islice(cycle(texts), count)))
            file.write_text("\n".join(lines))
            spent = cpu_seconds(["classify", "--jsonl", str(file)], options.runs) - start
            print(f"{count:>6} messages of 500 characters: {count / spent:,.0f} a second")
        start = cpu_seconds(["causes", "quota-cpu"], options.runs)
        for name, text in (("a failure", texts[0]), ("braces", "{"), ("a traceback", '  File "/x/score.py", line 1\n')):
            file.write_text((text * (1_000_000 // len(text) + 1))[:1_000_000])
            spent = cpu_seconds(["classify", str(file)], options.runs) - start
            print(f"1 MB of {name}: {max(0.0, spent) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
