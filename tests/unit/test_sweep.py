"""The sweep keeps to what is watched."""

import asyncio
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from durabletask.client import OrchestrationStatus

from functions import timers
from remediations import codec
from remediations.adapters.outbox import FolderNotifier
from remediations.errors import StoreUnavailable
from remediations.model import Disposition, End, Found, Incident
from remediations.services import EvidenceStore, Services, use
from remediations.settings import Settings, load
from remediations.trail import Answered, Ended, Intake, Question, Trail
from tests.builders import NOON, SUBSCRIPTION, FakeReads, MemoryStore, make_incident, make_journal, make_trail

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ML = "providers/Microsoft.MachineLearningServices/workspaces"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
ONE, TWO = f"{GROUP}/rg-one/{ML}/mlw", f"{GROUP}/rg-two/{ML}/mlw"


def swept(held_back: timedelta | None = None, **settings: Any) -> list[str]:
    """Give the workspaces whose endpoints a sweep lists."""
    empty = {f"{each}/onlineEndpoints": Found(()) for each in (ONE, TWO)}
    reads = FakeReads({f"/subscriptions/{SUBSCRIPTION}/{ML}": Found(({"id": ONE}, {"id": TWO})), **empty})
    reads.held_back = held_back
    own = SimpleNamespace(
        reads=lambda **_: reads,
        clock=lambda: NOON,
        policy=SimpleNamespace(subscriptions=(SUBSCRIPTION,)),
        settings=Settings(**settings),
    )
    assert list(timers._unseen(cast("Services", own))) == []
    return [url.partition("/onlineEndpoints")[0] for url in reads.asked if "/onlineEndpoints" in url]


def test_without_a_setting_it_looks_at_each_workspace_of_the_subscription():
    assert swept() == [ONE, TWO]


def test_it_reads_nothing_beside_the_group_that_is_watched():
    assert swept(watch=(f"{GROUP}/RG-one".lower(),)) == [ONE]


def test_of_many_workspaces_each_has_its_turn():
    many = [f"{GROUP}/rg/{ML}/mlw-{number}" for number in range(50)]
    looked = [timers._whose_turn_it_is(many, NOON + number * timedelta(minutes=15)) for number in range(5)]
    assert [len(each) for each in looked] == [20] * 5
    assert {workspace for each in looked for workspace in each} == set(many)
    assert timers._whose_turn_it_is(many[:20], NOON) == many[:20]


def test_it_stops_at_what_is_throttled():
    assert swept(held_back=timedelta(seconds=9)) == [ONE]


# ------------------------------------------------------------------------------------------------- what it costs


class Hub:
    """Knows which walks run, and keeps what is scheduled and rung."""

    def __init__(self, *running: str) -> None:
        self.running = running
        self.scheduled: list[str] = []
        self.rung: list[str] = []

    async def get_orchestration_state(self, instance_id: str, **_: Any) -> Any:
        is_running = instance_id in self.running
        return SimpleNamespace(runtime_status=OrchestrationStatus.RUNNING) if is_running else None

    async def schedule_new_orchestration(self, _name: str, *, instance_id: str, **_: Any) -> None:
        self.scheduled.append(instance_id)

    async def raise_orchestration_event(self, instance_id: str, _name: str) -> None:
        self.rung.append(instance_id)


@pytest.fixture
def own(tmp_path):
    """The services of an app with a store in memory, and a policy that watches no subscription."""
    made = Services(load({"MEDIC_STORE": str(tmp_path), "MEDIC_NOTICES": "off"}), clock=lambda: NOON)
    made.trail = make_trail()
    made.evidence = EvidenceStore(MemoryStore())
    use(made)
    yield made
    use(None)


def opened(own: Services, name: str, age: timedelta) -> Incident:
    incident = make_incident(id=name, event_id=name, failed_at=NOON - age)
    own.trail.open_incident(incident, "n", NOON - age)
    return incident


def looks_of_a_sweep(own: Services, hub: Hub) -> list[str]:
    looks = cast("MemoryStore", own.trail.store).looks
    looks.clear()
    asyncio.run(timers.sweep(cast("Any", hub)))
    return list(looks)


def test_what_was_claimed_and_not_ended_is_restarted_however_old(own):
    for number in range(5):
        over = opened(own, f"inc-over-{number}", 400 * DAY)
        own.trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="over", incident=over))
    opened(own, "inc-old", 400 * DAY)
    opened(own, "inc-new", timedelta(minutes=1))
    hub = Hub("inc-new")
    looks_of_a_sweep(own, hub)
    assert hub.scheduled == ["inc-old"]


def test_history_costs_a_sweep_one_listing_of_names(own):
    opened(own, "inc-open", timedelta(minutes=1))
    before = looks_of_a_sweep(own, Hub("inc-open"))
    for number in range(40):
        over = opened(own, f"inc-{number:02}", 30 * DAY)
        own.trail.end_incident(Ended(at=NOON - 30 * DAY, end=End.REPAIRED, words="over", incident=over))
    after = looks_of_a_sweep(own, Hub("inc-open"))
    assert [look for look in after if look.startswith("read")] == [look for look in before if look.startswith("read")]
    assert Counter(after) - Counter(before) == Counter(
        f"list incidents/inc-{number:02}/{name}" for number in range(40) for name in ("opened", "ended")
    )


def test_deliveries_that_started_nothing_are_not_read(own):
    for number in range(20):
        taken = Intake(at=NOON - HOUR, event_id=f"e-{number}", event_type="x", disposition=Disposition.DUPLICATE)
        own.trail.record_intake(taken, "n")
    lost = make_incident(id="inc-lost")
    fields: dict[str, Any] = {"event_id": "e", "event_type": "x", "incident": lost, "incident_id": lost.id}
    own.trail.record_intake(Intake(at=NOON - HOUR, disposition=Disposition.INCIDENT, **fields), "n")
    hub = Hub()
    read = [look for look in looks_of_a_sweep(own, hub) if look.startswith("read intake/")]
    assert (len(read), hub.scheduled) == (1, ["inc-lost"])


def test_a_stuck_incident_is_told_whether_its_walk_runs_or_not(own, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(timers.log, "warning", lambda event, **keys: told.append(f"{event} {keys['incident_id']}"))
    opened(own, "inc-runs", DAY)
    opened(own, "inc-idle", DAY)
    opened(own, "inc-young", HOUR)
    looks_of_a_sweep(own, Hub("inc-runs"))
    assert sorted(told) == ["incident.stuck inc-idle", "incident.stuck inc-runs"]


def test_a_bell_is_rung_for_an_answer_that_no_walk_has_heard_and_for_no_other(own):
    for name in ("answered", "waiting"):
        incident = opened(own, f"inc-{name}", HOUR)
        asked = Question(
            at=NOON, incident_id=incident.id, plan=name, decision="d", policy_version="v", expires_at=NOON + HOUR
        )
        own.trail.ask(asked)
        make_journal(own.trail).asked(asked)
    own.trail.answer(Answered(at=NOON, plan="answered", approved=True, words="yes"))
    hub = Hub("inc-answered", "inc-waiting")
    looks = looks_of_a_sweep(own, hub)
    assert hub.rung == ["inc-answered"]
    assert "read approvals/waiting/asked" not in looks


# ------------------------------------------------------------------------------------------------- lost lines


class LosesLines(MemoryStore):
    """Takes no line of the register, as if whoever wrote one died before."""

    is_dead = False

    def append(self, name: str, content: bytes, at: int) -> None:
        if self.is_dead and name.startswith("days/"):
            raise StoreUnavailable("the store", f"append {name}", "it died", "It passes.")
        super().append(name, content, at)


@pytest.mark.parametrize("age", [timedelta(minutes=20), timedelta(hours=5), DAY])
def test_an_end_that_the_register_does_not_know_is_put_there(own, age):
    store = LosesLines()
    own.trail = Trail(store)
    incident = opened(own, "inc-lost", age)
    ended = Ended(
        at=NOON - timedelta(minutes=10), end=End.INCONCLUSIVE, words="who knows", incident=incident, effects=1
    )
    store.is_dead = True
    with pytest.raises(StoreUnavailable):
        own.trail.end_incident(ended)
    store.is_dead = False
    assert [case.end for case in own.trail.register.cases(NOON - 2 * DAY, NOON)] == [None]

    hub = Hub()
    looks_of_a_sweep(own, hub)

    (case,) = own.trail.register.cases(NOON - 2 * DAY, NOON)
    assert (case.id, case.end, case.ended_at, case.effects) == ("inc-lost", End.INCONCLUSIVE, ended.at, 1)
    assert hub.scheduled == []  # it is over: nothing is begun again


def test_people_are_told_of_an_end_whose_line_was_lost(own, tmp_path):
    own.notifiers = (FolderNotifier(tmp_path / "notices"),)
    incident = opened(own, "inc-lost", HOUR)
    own.trail.store.create(
        "incidents/inc-lost/ended",
        codec.encode(
            Ended(at=NOON - timedelta(minutes=10), end=End.INCONCLUSIVE, words="who knows", incident=incident)
        ),
    )
    hub = Hub()
    looks_of_a_sweep(own, hub)
    (told,) = hub.scheduled
    assert told.startswith("tell-")


def test_what_is_on_no_list_of_the_open_ones_is_left_alone_without_an_end(own):
    """It was opened while the sweep ran."""
    opened(own, "inc-young", timedelta(minutes=1))
    assert list(timers._ends(own, ())) == []
    assert [case.end for case in own.trail.register.cases(NOON - DAY, NOON)] == [None]
