"""A repair is verified by what was done and by what is there; what is unclear proves nothing."""

import pytest
from msgspec.structs import replace

from remediations.actions import ACTIONS
from remediations.model import End, Found, Status, Unknown, Verification
from remediations.verification import verify
from tests.builders import make_evidence, make_outcome, make_plan, make_state

DONE = Found(make_state(provisioning_state="Succeeded", modified_by_us=True))


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (Status.ACCEPTED, End.REPAIRED),
        (Status.UNCLEAR, End.INCONCLUSIVE),
        (Status.REJECTED, End.NOT_REPAIRED),
        (Status.FORBIDDEN, End.NOT_REPAIRED),
        (Status.REFUSED, End.NOT_REPAIRED),
        (Status.NOT_DONE, End.NOT_REPAIRED),
        (Status.BUSY, End.NOT_REPAIRED),
        (Status.THROTTLED, End.NOT_REPAIRED),
        (Status.PENDING, End.NOT_REPAIRED),
    ],
)
def test_only_what_azure_took_can_have_repaired(status, end):
    outcome = make_outcome(status=status, words="as it was told")
    verified = verify(make_plan(), 0, outcome, make_evidence(resource=DONE), ACTIONS, evidence_digest="e" * 64)
    assert (verified.end, verified.evidence) == (end, "e" * 64)
    assert (verified.words == "as it was told") is (status is not Status.ACCEPTED)


def test_what_was_taken_and_cannot_be_read_is_inconclusive():
    verified = verify(
        make_plan(), 0, make_outcome(), make_evidence(resource=Unknown("500")), ACTIONS, evidence_digest="e" * 64
    )
    assert verified == Verification(
        end=End.INCONCLUSIVE, words="mlw-prod/credit-scoring/green is unknown (500)", evidence="e" * 64
    )


CURE_AND_RERUN = make_plan(
    action="sync-keys", steps=(replace(make_plan().steps[0], is_rerun=False), make_plan().steps[0])
)


def test_a_step_that_only_removes_the_cause_goes_on_to_the_next():
    verified = verify(CURE_AND_RERUN, 0, make_outcome(), make_evidence(), ACTIONS, evidence_digest="e" * 64)
    assert verified.end is None


def test_a_step_whose_operation_failed_ends_the_plan():
    verified = verify(
        CURE_AND_RERUN, 0, make_outcome(), make_evidence(), ACTIONS, evidence_digest="e" * 64, failed="Failed (X)"
    )
    assert (verified.end, verified.words.endswith("was accepted, and failed: Failed (X)")) == (End.NOT_REPAIRED, True)


def test_what_a_re_run_came_to_the_resource_itself_shows():
    verified = verify(
        CURE_AND_RERUN,
        1,
        make_outcome(),
        make_evidence(resource=DONE),
        ACTIONS,
        evidence_digest="e",
        failed="Failed (X)",
    )
    assert verified.end is End.REPAIRED
