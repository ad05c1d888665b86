"""Verify: Plan + fresh Evidence -> Verification: repaired, not repaired, inconclusive, or on to the next step. Pure."""

from collections.abc import Mapping

from remediations.actions.action import Action
from remediations.model import End, Evidence, Outcome, Plan, Status, Verification


def verify(
    plan: Plan,
    number: int,
    outcome: Outcome,
    after: Evidence,
    actions: Mapping[str, Action],
    *,
    evidence_digest: str,
    failed: str | None = None,
) -> Verification:
    """Give whether a step helped. What was not done repaired nothing; what is unclear proves nothing.

    Args:
        number: Of the step in the plan.
        failed: How the long-running operation of the step failed, if it did.
    """
    if outcome.status is Status.UNCLEAR:
        return Verification(end=End.INCONCLUSIVE, words=outcome.words, evidence=evidence_digest)
    if outcome.status is not Status.ACCEPTED:
        return Verification(end=End.NOT_REPAIRED, words=outcome.words, evidence=evidence_digest)
    if failed is not None and not plan.steps[number].is_rerun:
        words = f"{plan.calls[number].method} of {plan.calls[number].path} was accepted, and failed: {failed}"
        return Verification(end=End.NOT_REPAIRED, words=words, evidence=evidence_digest)
    end, words = actions[plan.action].verify(plan, number, after)
    return Verification(end=end, words=words, evidence=evidence_digest)
