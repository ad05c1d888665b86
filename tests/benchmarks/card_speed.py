"""How long the card of a question takes to write: a large one as there are, and one with far more than it can hold.

.venv/bin/python -m tests.benchmarks.card_speed
"""

import argparse
import statistics
import time
from collections.abc import Callable

from msgspec.structs import replace

from remediations import codec
from remediations.approval.card import message
from remediations.approval.notice import Notice
from remediations.model import Caller, Finding, Touch
from tests.notices import make_again, make_vote


def large(count: int) -> Notice:
    """Give a question about a deletion, with so many pieces of evidence, things it touches, differences and votes."""
    notice = make_again("delete-idle")
    findings = tuple(Finding(read="log", says=f"line {number}: {'0123456789 ' * 30}") for number in range(count))
    says = notice.question.touches[0].says if notice.question is not None else ()
    touches = tuple(
        Touch(path=f"/subscriptions/s/resourceGroups/g/touched/{number}", says=says) for number in range(count)
    )
    assert notice.question is not None
    assert notice.diagnosis is not None
    return replace(
        notice,
        diagnosis=replace(notice.diagnosis, supporting=findings, opposing=findings[: count // 4]),
        question=replace(notice.question, touches=touches, differences=notice.question.differences * count),
        votes=tuple(make_vote("delete-idle", by=Caller(oid=f"o-{number}")) for number in range(min(count, 20))),
    )


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Give the median time of a piece of work."""
    taken: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    for name, notice in (
        ("as it is", make_again("delete-idle")),
        ("large", large(12)),
        ("far too large", large(2_000)),
    ):
        size = len(codec.encode(message(notice)))
        spent = median_ms(lambda notice=notice: message(notice), options.runs)  # type: ignore[misc]
        print(f"{name:<14} {size:>6} bytes: {spent:.2f} ms")


if __name__ == "__main__":
    main()
