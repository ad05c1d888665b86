"""Verify: Plan + fresh Evidence -> Verification: repaired, not repaired or inconclusive. Pure."""

from collections.abc import Mapping

from remediations.actions.action import Action
from remediations.model import End, Evidence, Outcome, Plan, Status, Verification


def verify(
    plan: Plan, outcome: Outcome, after: Evidence, actions: Mapping[str, Action], *, evidence_digest: str
) -> Verification:
    """Give whether a repair helped. What was not done repaired nothing; what is unclear proves nothing."""
    if outcome.status is Status.UNCLEAR:
        return Verification(end=End.INCONCLUSIVE, words=outcome.words, evidence=evidence_digest)
    if outcome.status is not Status.ACCEPTED:
        return Verification(end=End.NOT_REPAIRED, words=outcome.words, evidence=evidence_digest)
    end, words = actions[plan.action].verify(plan, after)
    return Verification(end=end, words=words, evidence=evidence_digest)
