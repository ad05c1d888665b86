"""A campaign of faults on a seed that stays the same and on a fresh one: no promise is broken."""

import secrets
from pathlib import Path

import pytest

from local.chaos import campaign
from local.chaos.campaign import Lanes

INCIDENTS = 150
FIXED = 20_261_123


@pytest.mark.parametrize("seed", [FIXED, pytest.param(None, id="fresh")])
def test_no_promise_breaks(seed: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = secrets.randbelow(2**32) if seed is None else seed
    with capsys.disabled():
        print(f"\nmedic chaos --incidents {INCIDENTS} --seed {chosen}")  # noqa: T201 - the fresh seed, to play it again
    with Lanes(tmp_path, 1) as lanes:
        results = list(campaign.run(chosen, INCIDENTS, lanes))
    broken = [result for result in results if result.violations]
    told = [
        f"{violation.invariant}: {violation.words} {violation.records}"
        for result in broken
        for violation in result.violations
    ]
    assert not told, f"medic chaos --incidents {INCIDENTS} --seed {chosen} shows:\n" + "\n".join(told)
    totals = campaign.totals(results, seed=chosen, began=0.0)
    assert totals.incidents >= INCIDENTS
    assert totals.effects > 0
    assert totals.kills > 0
    assert len(totals.faults) > len(totals.laid) / 2  # what was laid was met, by and large
