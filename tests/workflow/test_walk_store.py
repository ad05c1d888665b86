"""A store that fails under the walk: no audit, no action; and what a lost record leaves behind."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId
from msgspec.structs import replace

from functions import activities, events, timers
from local.arm.schema import Denial
from remediations import codec, desk, services, settings, telling
from remediations.admission import Admission
from remediations.approval.notice import Kind
from remediations.audit import Journal
from remediations.errors import StoreUnavailable
from remediations.model import Caller, Disposition, End, Incident, Reception
from remediations.ports import Delivery
from remediations.services import Services
from remediations.trail import Answered, Ended, Question, Vote, outcome_name
from tests.builders import NOON, make_effect, make_incident, make_intent, make_journal, make_plan, make_situation
from tests.workflow.theatre import eventually

HOUR = timedelta(hours=1)
OID = "cccccccc-1111-4222-8333-dddddddddddd"


def ended_in_the_hub(story):
    state = story.host.client.get_orchestration_state(story.incident())
    return state is not None and state.runtime_status in {OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED}


def test_without_a_place_for_the_intent_nothing_is_sent_and_the_sweep_goes_on_with_it(tell):
    story = tell()
    trail = story.theatre.folder / "trail"
    trail.mkdir(exist_ok=True)
    (trail / "effects").write_text("no folder")
    story.put()
    eventually(lambda: story.incidents() and ended_in_the_hub(story), "the walk did not give up")
    assert story.trail.ended(story.incident()) is None
    assert story.sends() == []
    green = EntityInstanceId("desk", desk.key_of(f"{story.resource}/deployments/green"))
    eventually(
        lambda: story.host.client.get_entity(green).get_state() == '{"owner": null, "until": null, "parked": []}',
        "the desk was not left",
    )
    (trail / "effects").unlink()
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_without_the_record_of_the_intent_nothing_is_sent_until_the_trail_can_be_written_again(tell):
    story = tell()
    spoiled = []

    def spoil_the_trail():
        length = story.theatre.folder / "trail/audit" / story.incident() / ".0000.jsonl.length"
        spoiled.append((length, length.read_bytes()))
        length.unlink()
        length.mkdir()

    story.world.when("get deployment by medic", spoil_the_trail, nth=3)  # collect, guards, body
    story.put()
    eventually(lambda: spoiled and ended_in_the_hub(story), "the walk did not give up")
    assert story.sends() == []
    assert [status for _, status in story.intents()] == [None]

    length, content = spoiled[0]
    length.rmdir()
    length.write_bytes(content)
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [status for _, status in story.intents()] == ["not-done", "accepted"]
    story.check_promises()


def test_a_decision_whose_evidence_is_gone_is_not_carried_out(tell):
    story = tell()

    def lose(_kind, name, _instance):
        if name == "execute":
            shutil.rmtree(story.theatre.folder / "evidence", ignore_errors=True)

    story.host.backend.on_hand_out = lose
    story.put()
    assert story.ending() == ("inconclusive", "a step failed: NotFound")
    assert story.sends() == []
    assert story.intents() == []


def test_a_decision_that_was_changed_in_the_store_is_not_carried_out(tell):
    story = tell()

    def change(_kind, name, _instance):
        if name == "execute":
            for path in (story.theatre.folder / "evidence").rglob("*"):
                if path.is_file():
                    path.write_bytes(path.read_bytes().replace(b"green", b"black"))

    story.host.backend.on_hand_out = change
    story.put()
    assert story.ending() == ("inconclusive", "a step failed: ValueError")
    assert story.sends() == []
    assert story.intents() == []


# ------------------------------------------------------------- intents whose incident ended before anybody closed them


@pytest.fixture
def open_intent(tell):
    """A story that has ended with an open intent: what came of its call had no place on the trail."""
    blocked: list[Path] = []

    def told(world=None):
        story = tell(world)

        def block():
            (intent, _) = story.intents()[-1]
            place = story.theatre.folder / f"trail/effects/{intent.plan}/{intent.step}/{intent.attempt}/outcome"
            place.mkdir()
            blocked.append(place)

        story.world.when("put by medic", block)
        story.put()
        assert story.ending() == ("inconclusive", "a step failed: UnsafeName")
        assert [status for _, status in story.intents()] == [None]
        blocked.pop().rmdir()
        return story

    return told


def swept(story):
    """What the only intent comes to, once the sweep has looked."""
    eventually(lambda: story.sweep() or story.intents()[0][1], "the sweep left the intent open")
    (record,) = story.records(stage="outcome")
    assert record.seq == len(story.records()) - 1
    story.check_promises()
    return story.intents()[0][1], record.facts["words"]


def test_the_sweep_closes_what_took_effect(open_intent):
    story = open_intent()
    words = "the answer was lost; Azure shows that the call took effect"
    assert swept(story) == ("accepted", words)
    assert story.effects() == ["PUT green"]


def test_the_sweep_closes_what_was_never_done_and_does_not_do_it(open_intent):
    refused = {"kind": "error", "method": "PUT", "principal": "medic", "status": 409, "code": "Conflict"}
    story = open_intent({"faults": [refused]})
    assert swept(story) == ("not-done", "the answer was lost; Azure shows that nothing was done")
    assert story.effects() == []


def test_what_the_world_does_not_show_is_left_to_people(open_intent):
    story = open_intent()
    story.world.denied.append(Denial(principal="medic", action="*/deployments/read"))
    words = "the answer was lost, and Azure does not show whether the call took effect"
    assert swept(story) == ("unclear", words)


def test_without_the_evidence_of_its_decision_an_intent_is_left_to_people(open_intent):
    story = open_intent()
    shutil.rmtree(story.theatre.folder / "evidence")
    status, words = swept(story)
    assert status == "unclear"
    assert words.startswith("the answer was lost, and what was planned is kept no more: whether PUT /subscriptions/")


def test_a_decision_that_was_changed_leaves_its_intent_to_people_as_well(open_intent):
    story = open_intent()
    (intent, _) = story.intents()[0]
    kept = story.theatre.folder / "evidence" / intent.decision[:2] / intent.decision
    kept.write_bytes(kept.read_bytes() + b" ")
    status, words = swept(story)
    assert status == "unclear"
    assert words.startswith("the answer was lost, and what was planned cannot be read any more: whether PUT /subs")


def test_an_intent_that_cannot_be_read_stops_no_sweep(open_intent):
    story = open_intent()
    story.trail.store.create(f"effects/{'0' * 64}/0/1/intent", b"{}")
    eventually(lambda: story.sweep() or story.records(stage="outcome"), "the sweep left the intent open")
    assert [record.facts["status"] for record in story.records(stage="outcome")] == ["accepted"]


class Hub:
    """As much of a task hub's client as a sweep schedules with; it refuses what it is told to."""

    def __init__(self) -> None:
        self.refuses = False
        self.scheduled: list[dict[str, Any]] = []

    async def get_orchestration_state(self, *_: Any, **__: Any) -> None:
        return None

    async def schedule_new_orchestration(self, name: str, *, input: dict[str, Any], instance_id: str) -> None:  # noqa: A002
        if self.refuses:
            raise Refusing
        assert (name, instance_id) == ("notify", f"tell-{input['key']}")
        self.scheduled.append(input)

    def close_intents(self, own: Services) -> int:
        client: Any = self
        return asyncio.run(timers._close_intents(own, client))


class Refusing(grpc.RpcError):
    """The hub does not answer."""


@pytest.fixture
def own(tmp_path):
    """The services of an app with one incident that was refused, and whose intent nobody has closed."""
    made = Services(settings.load({"MEDIC_STORE": str(tmp_path), "MEDIC_DEV_SIGN_IN": OID}), clock=lambda: NOON)
    made.trail.open_incident(make_incident(), "n", NOON)
    made.trail.open_intent(make_effect(at=NOON - HOUR), make_intent(at=NOON - HOUR), ("target",))
    made.trail.end_incident(Ended(at=NOON - HOUR, end=End.REFUSED, words="paused", incident=make_incident()))
    services.use(made)
    yield made
    services.use(None)


def test_people_are_told_of_an_unclear_effect_before_it_is_closed(own):
    hub = Hub()
    hub.refuses = True
    with pytest.raises(Refusing):  # the next sweep finds the intent as open as before
        hub.close_intents(own)
    assert len(own.trail.open_intents()) == 1
    hub.refuses = False
    assert hub.close_intents(own) == 1
    assert own.trail.open_intents() == ()
    (order,) = hub.scheduled
    message = telling.message(own, order)
    assert message is not None
    assert message.kind == "inconclusive"
    assert str(message.facts["words"]).startswith("paused. Since: the answer was lost, and what was planned is kept no")
    assert hub.close_intents(own) == 0


class Walking(Hub):
    """A hub in which the walk of every incident is under way, begun by some event."""

    def __init__(self, began: Incident) -> None:
        super().__init__()
        order = {"incident": codec.dump(began)}
        self.state = SimpleNamespace(
            runtime_status=OrchestrationStatus.RUNNING, serialized_input=codec.encode(order).decode()
        )

    async def get_orchestration_state(self, *_: Any, **__: Any) -> Any:
        return self.state


@pytest.mark.parametrize(("event", "disposition"), [("event-1", "duplicate"), ("event-2", "joined")])
def test_a_failure_whose_first_delivery_left_no_record_is_not_lost_with_the_hub(own, event, disposition):
    # The first one has begun a walk, and its record was refused: Event Grid delivers it once more.
    began = make_incident(id="inc-new", event_id="event-1")
    incident = replace(began, event_id=event)
    client: Any = Walking(began)
    new = Admission(disposition=Disposition.INCIDENT, incident=incident, incident_id=incident.id)
    admitted = asyncio.run(events.start(new, incident, client, own))
    assert str(admitted.disposition) == disposition
    reception = Reception(event_id=event, event_type="failure")
    events._record(own, reception, admitted)
    own.clock = lambda: NOON + HOUR
    walks = dict(timers._unfinished(own, []))
    assert walks["inc-new"]["incident"] == codec.dump(incident)
    own.trail.open_incident(incident, "n", NOON)  # its walk had come to that
    assert "inc-new" not in dict(timers._unfinished(own, []))


def refuses(*_: object) -> None:
    raise StoreUnavailable("trail", "append", "it refused", "Wait.")


def test_what_was_kept_of_an_effect_when_the_store_failed_the_record_is_put_on_it_by_the_sweep(own, monkeypatch):
    # The outcome stands, so nobody takes the intent for open any more, and no walk of the incident comes again.
    hub = Hub()
    with monkeypatch.context() as failing:
        failing.setattr(Journal, "came_of", refuses)
        with pytest.raises(StoreUnavailable):
            hub.close_intents(own)
    assert own.trail.outcome("p" * 64, 0, 1) is not None
    assert "outcome" not in {record.stage for record in own.trail.records(make_incident().id)}
    assert hub.close_intents(own) == 1
    told = [record.facts for record in own.trail.records(make_incident().id) if record.stage == "outcome"]
    assert [facts["beside"]["sha256"] for facts in told] == [own.trail.digest(outcome_name("p" * 64, 0, 1))]
    assert hub.close_intents(own) == 0


def test_who_was_told_that_the_end_is_inconclusive_is_not_told_again(own):
    order = telling.order(own, make_incident().id, Kind.INCONCLUSIVE)
    assert order is not None
    message = telling.message(own, order)
    assert message is not None
    make_journal(own.trail).told(message, "folder", Delivery(taken=True, words="it did"), attempt=1)
    hub = Hub()
    assert hub.close_intents(own) == 1
    assert hub.scheduled == []


def test_an_approval_that_a_new_walk_goes_by_is_put_on_the_record_before_anything_is_sent(own):
    """The walk that asked was lost with the hub, right after somebody had answered."""
    plan = make_plan()
    incident = plan.diagnosis.incident
    question = Question(
        at=NOON,
        incident_id=incident.id,
        plan=plan.digest,
        decision="d",
        policy_version=plan.policy_version,
        expires_at=NOON + HOUR,
    )
    own.trail.ask(question)
    own.trail.vote(Vote(at=NOON, plan=plan.digest, by=Caller(oid=OID, tid="t"), approves=True))
    own.trail.answer(Answered(at=NOON, plan=plan.digest, approved=True, words="approved", by=Caller(oid=OID, tid="t")))
    assert own.trail.records(incident.id, {"vote", "answer"}) == ()
    for _ in range(2):
        activities._permitted(own, plan, {"number": 0, "attempt": 1, "decision": "d"}, make_situation())
    records = own.trail.records(incident.id, {"vote", "answer", "decision"})
    assert [record.stage for record in records] == ["vote", "answer", "decision"]
    assert records[1].facts["beside"]["name"] == f"approvals/{plan.digest}/decided"
