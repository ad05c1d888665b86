"""One send per intent, no send before intent and record, and no guess about a lost answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediations import codec
from remediations.actions.action import Body, Changed
from remediations.actions.retry import RETRY
from remediations.adapters.arm import NoWrites
from remediations.errors import StoreUnavailable, WriteInDryRun
from remediations.execution import World, execute, found, outcome_of, request_id_of
from remediations.execution import seen as seen_of
from remediations.model import Absent, Call, ErrorDetail, Found, Outcome, Status, Step, Unknown
from remediations.ports import Reply
from remediations.trail import Slot
from tests.builders import (
    DELETE,
    DEPLOYMENT,
    FAILED_AT,
    NOON,
    SUBSCRIPTION,
    WRITE,
    FakeReads,
    FakeWrites,
    make_call,
    make_evidence,
    make_incident,
    make_intent,
    make_journal,
    make_plan,
    make_row,
    make_state,
    make_trail,
    store_of,
)

MINUTE = timedelta(minutes=1)
BODY: dict[str, Any] = {"location": "westeurope", "properties": {"environmentVariables": {"KEY": "s3cret-value"}}}
RETRY_AS_PLANNED = replace(RETRY, prepare=lambda _plan, _number, _reads, _kept: Body(BODY))
REQUEST = request_id_of(make_plan().digest, 0, 1)


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


def sent(trail, writes=None, *, clock=None, plan=None, number=0, attempt=1, budget=20, **changes):
    return execute(
        plan or make_plan(),
        number,
        attempt,
        action=changes.get("action", RETRY_AS_PLANNED),
        reads=changes.get("reads") or FakeReads(),
        writes=writes or FakeWrites(),
        trail=trail,
        journal=make_journal(trail, clock or Clock()),
        nonce="nonce-1",
        keep=changes.get("keep", codec.digest_of),
        decision="d" * 64,
        budget=budget,
        send_within=MINUTE,
    )


def world_of(evidence=None, log=None):
    return World(evidence=lambda: evidence or make_evidence(), log=lambda: log or Unknown("no log in this test"))


def seen(trail, *, clock=None, world=None, attempt=1):
    return found(
        make_plan(),
        0,
        attempt,
        action=RETRY_AS_PLANNED,
        trail=trail,
        journal=make_journal(trail, clock or Clock()),
        world=world_of(world),
        send_within=MINUTE,
    )


def stages(trail):
    return [record.stage for record in trail.records(make_incident().id)]


# --------------------------------------------------------------------------------------------------- the order


def test_the_index_the_intent_and_the_record_come_before_the_send_and_the_outcome_after():
    trail = make_trail()
    writes = FakeWrites()
    writes.before = lambda: store_of(trail).calls.append("send")
    outcome = sent(trail, writes)
    plan, incident = make_plan().digest, make_incident().id
    kinds = [call.split("/")[0].removeprefix("create ").removeprefix("append ") for call in store_of(trail).calls]
    assert kinds == ["budget", "targets", "requests", "effects", "audit", "send", "effects", "audit", "effects"]
    assert store_of(trail).calls[3] == f"create effects/{plan}/0/1/intent"
    assert store_of(trail).calls[4] == f"append audit/{incident}/0000.jsonl"
    assert store_of(trail).calls[6] == f"create effects/{plan}/0/1/outcome"
    assert (outcome.status, stages(trail)) == (Status.ACCEPTED, ["intent", "outcome"])


def test_what_was_planned_is_sent_once_with_the_intent_s_own_request_id():
    writes = FakeWrites()
    sent(make_trail(), writes)
    assert writes.sent == [(make_plan().calls[0], BODY, REQUEST)]
    assert REQUEST.startswith("medic-")
    assert len(REQUEST) == 38


def test_every_attempt_has_another_request_id():
    assert len({request_id_of("p", 0, 1), request_id_of("p", 0, 2), request_id_of("q", 0, 1)}) == 3


def test_no_secret_of_the_body_reaches_the_trail():
    trail = make_trail()
    sent(
        trail,
        FakeWrites(Reply(status=400, errors=(ErrorDetail(code="BadArgument", message="KEY=s3cret-value", depth=0),))),
    )
    kept = b"".join(trail.store.read(name) for name in trail.store.list("audit/"))
    assert b"s3cret-value" not in kept
    assert b"BadArgument" in kept


# ----------------------------------------------------------------------------------------------- the send, once


def test_who_finds_the_intent_never_sends():
    trail = make_trail()
    sent(trail, FakeWrites(Reply(status=None)))
    writes = FakeWrites()
    again = sent(trail, writes)
    assert (again.status, writes.sent) == (Status.PENDING, [])
    assert again.retry_after == 2 * MINUTE


def test_two_executors_at_once_send_once():
    trail = make_trail()
    writes = FakeWrites()
    barrier = threading.Barrier(8)

    def together():
        barrier.wait(timeout=10)
        return sent(trail, writes)

    with ThreadPoolExecutor(8) as pool:
        outcomes = [future.result() for future in [pool.submit(together) for _ in range(8)]]
    assert len(writes.sent) == 1
    assert sorted(outcome.status for outcome in outcomes) == [Status.ACCEPTED, *[Status.PENDING] * 7]


def test_a_send_after_its_time_is_not_made():
    trail, clock, writes = make_trail(), Clock(), FakeWrites()
    journal = make_journal(trail, clock)

    def slow(incident_id, stage, key, by=None, **facts):
        clock.now += timedelta(seconds=31)

    outcome = execute(
        make_plan(),
        0,
        1,
        action=RETRY_AS_PLANNED,
        reads=FakeReads(),
        writes=writes,
        trail=trail,
        journal=type("Slow", (type(journal),), {"record": staticmethod(slow)}, frozen=True)(
            trail=trail, mode=journal.mode, policy_version="v", clock=clock, own=journal.own
        ),
        nonce="n",
        keep=codec.digest_of,
        decision="d" * 64,
        budget=20,
        send_within=MINUTE,
    )
    assert (outcome.status, writes.sent) == (Status.UNSENT, [])
    kept = trail.outcome(make_plan().digest, 0, 1)
    assert kept is not None
    assert kept.words == "not sent: the intent was no longer fresh"


def test_a_body_that_changed_is_not_sent_and_leaves_no_intent():
    trail, writes = make_trail(), FakeWrites()
    action = replace(
        RETRY, prepare=lambda _plan, _number, _reads, _kept: Changed("the body is not the one that was planned")
    )
    outcome = sent(trail, writes, action=action)
    assert (outcome.status, outcome.words) == (Status.REFUSED, "the body is not the one that was planned")
    assert writes.sent == []
    assert trail.intent(make_plan().digest, 0, 1) is None


def test_a_receipt_that_cannot_be_made_leaves_no_intent():
    trail, writes = make_trail(), FakeWrites()
    action = replace(RETRY_AS_PLANNED, receipt=lambda _plan, _number, _reads: Changed("it is gone"))
    outcome = sent(trail, writes, action=action)
    assert (outcome.status, outcome.words, writes.sent) == (Status.REFUSED, "it is gone", [])
    assert trail.intent(make_plan().digest, 0, 1) is None


def test_a_receipt_is_kept_before_the_intent_that_names_it():
    trail, kept = make_trail(), []
    action = replace(RETRY_AS_PLANNED, receipt=lambda _plan, _number, _reads: {"body": {"a": 1}})

    def keep(value):
        assert trail.intent(make_plan().digest, 0, 1) is None
        kept.append(value)
        return "digest-1"

    sent(trail, action=action, keep=keep)
    assert kept == [{"taken_at": NOON, "receipt": {"body": {"a": 1}}}]
    intent = trail.intent(make_plan().digest, 0, 1)
    assert intent is not None
    assert intent.receipt == "digest-1"


def test_who_sends_is_ready_before_the_intent_s_time_runs():
    """Importing an SDK and signing in take seconds, which are not the call's."""
    trail, clock = make_trail(), Clock()

    class Slow(FakeWrites):
        def ready(self, call):
            assert trail.intent(make_plan().digest, 0, 1) is None
            clock.now += 10 * MINUTE

    assert sent(trail, Slow(), clock=clock).status is Status.ACCEPTED


def test_a_call_without_a_place_among_our_writes_waits_without_an_intent_and_without_a_slot():
    trail = make_trail()

    class Full(FakeWrites):
        def ready(self, call):
            return 3 * MINUTE

    writes = Full()
    outcome = sent(trail, writes)
    assert (outcome.status, outcome.retry_after, writes.sent) == (Status.PENDING, 3 * MINUTE, [])
    assert outcome.words == "not sent: our share of the subscription's writes is used up"
    assert [one for one in trail.store.list("") if not one.startswith("audit/")] == []
    assert stages(trail) == ["wait"]
    assert sent(trail).status is Status.ACCEPTED


def test_what_could_not_be_read_for_its_number_alone_refuses_nothing():
    trail, writes, reads = make_trail(), FakeWrites(), FakeReads()
    reads.held_back = 3 * MINUTE
    action = replace(RETRY, prepare=lambda *_: Changed("it cannot be read"))
    outcome = sent(trail, writes, action=action, reads=reads)
    assert (outcome.status, outcome.retry_after, writes.sent) == (Status.PENDING, 3 * MINUTE, [])
    assert trail.intent(make_plan().digest, 0, 1) is None


def test_the_steps_of_a_plan_have_an_intent_each_and_one_slot():
    first = Step(call=make_call(path="/workspace"), target=("/workspace",))
    plan, trail, writes = make_plan(steps=(first, *make_plan().steps)), make_trail(), FakeWrites()
    for number in (0, 1):
        sent(trail, writes, plan=plan, number=number, budget=1)
    assert [call.path for call, _, _ in writes.sent] == ["/workspace", DEPLOYMENT]
    assert len({request for _, _, request in writes.sent}) == 2
    ((effect, _),) = trail.effects_on("/workspace")
    assert (effect.step, [one.step for one, _ in trail.effects_on(DEPLOYMENT)]) == (0, [0, 1])


def test_what_an_answer_means_to_the_action_comes_before_what_it_means_elsewhere():
    trail = make_trail()
    action = replace(RETRY_AS_PLANNED, answer=lambda _step, _reply: (Status.ACCEPTED, "it is there already"))
    outcome = sent(trail, FakeWrites(Reply(status=409)), action=action)
    assert (outcome.status, outcome.words) == (Status.ACCEPTED, "it is there already")


def test_a_spent_budget_sends_nothing():
    trail, writes = make_trail(), FakeWrites()
    trail.take_budget(SUBSCRIPTION, "retry", NOON, Slot(plan="other", incident_id="i"), 1)
    outcome = sent(trail, writes, budget=1)
    assert (outcome.status, outcome.words) == (Status.REFUSED, "the budget of 1 repairs by retry an hour is spent")
    assert writes.sent == []


def test_a_second_attempt_of_the_same_plan_takes_no_second_slot():
    trail, writes = make_trail(), FakeWrites(Reply(status=409))
    for attempt in (1, 2):
        assert sent(trail, writes, attempt=attempt, budget=1).status is Status.BUSY
    assert len(writes.sent) == 2


def test_a_dry_run_has_nothing_that_could_send_and_says_what_was_asked():
    trail, writes = make_trail(), NoWrites()
    with pytest.raises(WriteInDryRun, match="Set MEDIC_MODE to let it act"):
        sent(trail, writes)
    assert writes.refused == [make_plan().calls[0]]


# ---------------------------------------------------------------------------------------------- the store is down


@pytest.mark.parametrize("part", ["budget/", "targets/", "requests/", "/intent", "audit/"])
def test_nothing_is_sent_while_intent_and_record_are_not_both_on_the_trail(part):
    trail, writes = make_trail(), FakeWrites()
    store_of(trail).fails = lambda name: part in name
    with pytest.raises(StoreUnavailable):
        sent(trail, writes)
    assert writes.sent == []


@pytest.mark.parametrize("part", ["budget/", "targets/", "requests/", "/intent"])
def test_a_store_that_is_back_before_the_intent_lets_the_same_attempt_send(part):
    trail, writes = make_trail(), FakeWrites()
    store_of(trail).fails = lambda name: part in name
    with pytest.raises(StoreUnavailable):
        sent(trail, writes)
    store_of(trail).fails = lambda _: False
    assert seen(trail) is None
    assert sent(trail, writes).status is Status.ACCEPTED
    assert len(writes.sent) == 1


def test_a_record_that_failed_after_the_intent_is_read_back_as_not_done():
    trail, writes, clock = make_trail(), FakeWrites(), Clock()
    store_of(trail).fails = lambda name: name.startswith("audit/")
    with pytest.raises(StoreUnavailable):
        sent(trail, writes, clock=clock)
    store_of(trail).fails = lambda _: False
    clock.now += 2 * MINUTE
    outcome = seen(trail, clock=clock)
    assert outcome is not None
    assert (outcome.status, writes.sent) == (Status.NOT_DONE, [])


def test_an_outcome_that_could_not_be_kept_is_read_off_the_world():
    trail, writes, clock = make_trail(), FakeWrites(), Clock()
    store_of(trail).fails = lambda name: name.endswith("/outcome")
    with pytest.raises(StoreUnavailable):
        sent(trail, writes, clock=clock)
    store_of(trail).fails = lambda _: False
    clock.now += 2 * MINUTE
    created = make_state(
        provisioning_state="Creating", modified_by_us=True, last_modified_at=NOON, operation_url="/op/2"
    )
    outcome = seen(trail, clock=clock, world=make_evidence(resource=Found(created)))
    assert outcome is not None
    assert (outcome.status, outcome.operation_url, len(writes.sent)) == (Status.ACCEPTED, "/op/2", 1)


# -------------------------------------------------------------------------------------------------- a lost answer


@pytest.mark.parametrize("status", [None, 500, 502, 503, 504])
def test_an_answer_that_says_nothing_is_pending_and_keeps_the_intent_open(status):
    trail = make_trail()
    outcome = sent(trail, FakeWrites(Reply(status=status)))
    assert (outcome.status, outcome.retry_after) == (Status.PENDING, 2 * MINUTE)
    assert trail.outcome(make_plan().digest, 0, 1) is None


CHANGED = {"provisioning_state": "Creating", "last_modified_at": NOON, "operation_url": "/op/2"}


@pytest.mark.parametrize(
    ("resource", "status", "words"),
    [
        pytest.param(
            Found(make_state(**CHANGED, modified_by_us=True)),
            Status.ACCEPTED,
            "the answer was lost; Azure shows that the call took effect",
            id="landed",
        ),
        pytest.param(
            Found(make_state()),
            Status.NOT_DONE,
            "the answer was lost; Azure shows that nothing was done",
            id="not done",
        ),
        pytest.param(
            Found(make_state(**CHANGED, modified_by_us=False)),
            Status.UNCLEAR,
            "the answer was lost, and Azure does not show whether the call took effect",
            id="another wrote",
        ),
        pytest.param(
            Unknown(),
            Status.UNCLEAR,
            "the answer was lost, and Azure does not show whether the call took effect",
            id="unknown",
        ),
        pytest.param(
            Absent(),
            Status.UNCLEAR,
            "the answer was lost, and Azure does not show whether the call took effect",
            id="gone",
        ),
    ],
)
def test_a_lost_answer_is_found_out_once_nobody_can_send_any_more(resource, status, words):
    trail, clock = make_trail(), Clock()
    sent(trail, FakeWrites(Reply(status=None)), clock=clock)
    clock.now += 2 * MINUTE
    outcome = seen(trail, clock=clock, world=make_evidence(resource=resource))
    assert outcome is not None
    assert (outcome.status, outcome.words, outcome.request_id) == (status, words, REQUEST)
    assert trail.outcome(make_plan().digest, 0, 1) == outcome
    assert stages(trail) == ["intent", "outcome"]


def test_while_the_creator_may_still_send_the_world_is_not_asked():
    trail, clock = make_trail(), Clock()
    sent(trail, FakeWrites(Reply(status=None)), clock=clock)
    clock.now += timedelta(seconds=119)

    def world():
        raise AssertionError("the world was asked too early")

    outcome = found(
        make_plan(),
        0,
        1,
        action=RETRY_AS_PLANNED,
        trail=trail,
        journal=make_journal(trail, clock),
        world=World(evidence=world, log=world),
        send_within=MINUTE,
    )
    assert outcome is not None
    assert (outcome.status, outcome.retry_after) == (Status.PENDING, timedelta(seconds=1))


def test_an_attempt_that_nobody_has_begun_is_nothing():
    assert seen(make_trail()) is None


def test_what_is_known_stays_known_whatever_the_world_shows_later():
    trail = make_trail()
    first = sent(trail, FakeWrites(Reply(status=409)))
    assert seen(trail, world=make_evidence(resource=Absent())) == first
    assert stages(trail) == ["intent", "outcome"]


# ------------------------------------------------------------------------------------------------ the answers


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (Reply(status=200), Status.ACCEPTED, "Azure took the call (200)"),
        (Reply(status=201), Status.ACCEPTED, "Azure took the call (201)"),
        (Reply(status=202), Status.ACCEPTED, "Azure took the call (202)"),
        (Reply(status=204), Status.ACCEPTED, "Azure took the call (204)"),
        (Reply(status=302), Status.REJECTED, "Azure rejected the call with 302"),
        (
            Reply(
                status=400,
                errors=(ErrorDetail(code=None, message="x", depth=1), ErrorDetail(code="Bad", message="y", depth=0)),
            ),
            Status.REJECTED,
            "Azure rejected the call with 400 (Bad)",
        ),
        (
            Reply(status=401, permission="x/write"),
            Status.FORBIDDEN,
            "our identity lacks x/write on /x",
        ),
        (
            Reply(status=403, permission="x/write"),
            Status.FORBIDDEN,
            "our identity lacks x/write on /x",
        ),
        (Reply(status=404), Status.REJECTED, "Azure rejected the call with 404"),
        (Reply(status=409), Status.BUSY, "another operation runs on the endpoint"),
        (Reply(status=412), Status.REJECTED, "Azure rejected the call with 412"),
        (Reply(status=429), Status.THROTTLED, "Azure asks us to slow down"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
def test_an_answer_below_500_says_how_the_effect_ended(reply, status, words):
    outcome = outcome_of(reply, "medic-1", "/x")
    assert (outcome.status, outcome.words, outcome.request_id) == (status, words, "medic-1")


def test_everything_that_a_person_at_azure_would_ask_for_is_kept():
    reply = Reply(
        status=429,
        operation_url="/op",
        retry_after=timedelta(seconds=17),
        service_request_id="srv",
        correlation_id="cor",
    )
    assert outcome_of(reply, "medic-1", "/x") == Outcome(
        status=Status.THROTTLED,
        words="Azure asks us to slow down",
        request_id="medic-1",
        operation_url="/op",
        retry_after=timedelta(seconds=17),
        service_request_id="srv",
        correlation_id="cor",
    )


def test_the_first_failure_of_an_incident_is_what_the_effect_is_counted_under():
    trail = make_trail()
    sent(trail)
    ((effect, outcome),) = trail.effects_on(make_plan().target[0])
    assert (effect.cause_id, effect.incident_id, effect.at) == ("canceled-higher-priority", make_incident().id, NOON)
    assert outcome is not None
    assert effect.at > FAILED_AT


# ------------------------------------------------------------------- a deletion whose answer was lost, and others

GONE = make_evidence(resource=Absent())
OURS = "medic-request-1"
CALL = Call(method="DELETE", path=DEPLOYMENT, api_version="v")
DELETION = make_plan(steps=(Step(call=CALL, target=(DEPLOYMENT.lower(),), is_rerun=True),))


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        pytest.param(None, Status.ACCEPTED, id="the log cannot be read"),
        pytest.param([], Status.ACCEPTED, id="the log is behind"),
        pytest.param([{"client_request_id": OURS}], Status.ACCEPTED, id="ours"),
        pytest.param([{"client_request_id": "a-person"}], Status.UNCLEAR, id="somebody else's"),
        pytest.param([{"client_request_id": None}], Status.UNCLEAR, id="of nobody that is known"),
        pytest.param(
            [{"client_request_id": "x"}, {"client_request_id": "medic-request-1"}], Status.ACCEPTED, id="both"
        ),
        pytest.param([{"client_request_id": "x", "status": "Failed"}], Status.ACCEPTED, id="another's that failed"),
        pytest.param([{"client_request_id": "x", "operation_name": WRITE}], Status.ACCEPTED, id="another's write"),
        pytest.param([{"client_request_id": "x", "at": NOON - 2 * MINUTE}], Status.ACCEPTED, id="before the intent"),
    ],
)
def test_what_is_gone_was_deleted_by_us_unless_the_log_names_somebody_else(rows, status):
    plain = {"at": NOON, "status": "Succeeded", "operation_name": DELETE}
    log = None if rows is None else Found(tuple(make_row(**{**plain, **row}) for row in rows))
    intent = make_intent(at=NOON, request_id=OURS)
    outcome = seen_of(intent, DELETION, RETRY_AS_PLANNED, world_of(GONE, log))
    assert outcome.status is status
    assert ("somebody else deleted" in outcome.words) is (status is Status.UNCLEAR)
