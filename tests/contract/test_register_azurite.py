"""The register in blobs: append blobs of a day, written by many and read in one go."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from remediations.adapters.blobs import BlobStore
from remediations.model import End, Mode, Operation
from remediations.register import Kind, Line, Register, State
from remediations.trail import Answered, Ended, Question, Trail
from tests.builders import DEPLOYMENT, FAILED_AT, NOON, make_incident

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def blobs(azurite) -> BlobStore:
    return BlobStore(azurite.endpoint, f"t{uuid.uuid4().hex}", azurite.credential)


def opened(number, at=NOON):
    return Line(
        at=at,
        kind=Kind.OPENED,
        incident=f"inc-{number}",
        resource=DEPLOYMENT,
        operation=Operation.WRITE,
        failed_at=FAILED_AT,
    )


def test_an_empty_container_lists_nothing(blobs):
    assert Register(blobs).cases(NOON - 30 * DAY, NOON) == ()


def test_incidents_of_a_month_are_listed(blobs):
    register = Register(blobs)
    for number in range(40):
        register.note(opened(number, NOON - number * DAY))
    for _ in range(2):
        found = Register(blobs).cases(NOON - 30 * DAY, NOON)
        assert [case.id for case in found] == [f"inc-{number}" for number in range(31)]


def test_writers_at_once_lose_no_line(blobs):
    registers = [Register(blobs) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: registers[number % 3].note(opened(number)), range(60)))
    listing = Register(blobs).listing(NOON - DAY, NOON)
    assert (len(listing.cases), listing.unreadable) == (60, 0)


def test_a_trail_in_blobs_is_listed_as_it_goes_on(blobs):
    trail, incident = Trail(blobs), make_incident()
    states = []

    def look(at):
        (case,) = Trail(blobs).register.cases(NOON - DAY, at)
        states.append(case.state)
        return case

    trail.open_incident(incident, "n", NOON, mode=Mode.ASK)
    look(NOON)
    trail.ask(
        Question(
            at=NOON, incident_id=incident.id, plan="p1", decision="d", policy_version="v", expires_at=NOON + 4 * HOUR
        )
    )
    look(NOON)
    trail.answer(Answered(at=NOON + HOUR, plan="p1", approved=True, words="yes"))
    look(NOON + HOUR)
    trail.end_incident(Ended(at=NOON + 2 * HOUR, end=End.REPAIRED, words="", incident=incident, effects=1))
    case = look(NOON + 2 * HOUR)
    assert states == [State.RUNNING, State.WAITING, State.RUNNING, State.ENDED]
    assert (case.end, case.mode, case.effects, case.resource) == (End.REPAIRED, Mode.ASK, 1, incident.resource)
