"""What a person asks of the audit trail: every filter, and what is read for it."""

import ast
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.commands import selecting, terminal
from local.commands.selecting import Given, Wanted
from remediations import audit, codec
from remediations.adapters.folder import FolderStore
from remediations.audit import STAGES
from remediations.model import Actor, Caller, End, ResourceId
from remediations.trail import Ended, Opened, Trail, Vote
from tests.builders import make_diagnosis, make_incident, make_journal

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANNA = "00000000-0000-4000-8000-00000000000a"
BEN = "00000000-0000-4000-8000-00000000000b"
PIPELINE = "11111111-0000-4000-8000-00000000000c"
MEDIC = "dddddddd-1111-4222-8333-eeeeeeeeeeee"


class Watched(FolderStore):
    """A folder that notes what is read and listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read_names: list[str] = []
        self.listed: list[str] = []

    def read(self, name: str) -> bytes:
        self.read_names.append(name)
        return super().read(name)

    def list(self, prefix: str) -> Iterator[str]:
        self.listed.append(prefix)
        return super().list(prefix)


def place(workspace: str) -> ResourceId:
    return ResourceId(
        subscription="00000000-1111-2222-3333-444444444444",
        resource_group="rg",
        workspace=workspace,
        endpoint="scoring",
        deployment="green",
    )


def always(at: datetime) -> Callable[[], datetime]:
    return lambda: at


@pytest.fixture
def trail(tmp_path) -> Trail:
    """Three incidents: one repaired and approved by Anna, one advised, and one open with Ben's rejection."""
    made = Trail(FolderStore(tmp_path))
    rows = [
        ("inc-a1", "MLW-Prod", NOON - 3 * HOUR, "quota-cpu", "delete-idle", End.REPAIRED, ANNA),
        ("inc-a2", "mlw-dev", NOON - 2 * HOUR, "model-not-found", None, End.ADVISED, None),
        ("inc-b3", "mlw-prod", NOON - HOUR, "acr-authorization", "sync-keys", None, BEN),
    ]
    for name, workspace, at, cause, action, end, person in rows:
        incident = make_incident(id=name, resource=place(workspace))
        made.open_incident(incident, f"nonce-{name}", at)
        journal = make_journal(made, always(at))
        journal.opened(incident)
        journal.diagnosed(make_diagnosis(incident=incident, cause_id=cause, action=action))
        if person is not None:
            by = Caller(oid=person.upper(), appid=PIPELINE if person == BEN else None, tid=MEDIC)
            journal.voted(name, Vote(at=at, plan="p" * 64, by=by, approves=person == ANNA))
        if end is not None:
            made.end_incident(Ended(at=at, end=end, words="so", incident=incident, cause_id=cause, action=action))
    return made


def ids(trail: Trail, **given) -> list[str]:
    wanted = Given(**given).wanted(NOON)
    return [case.opened.incident.id for case in selecting.listed(trail, wanted, lambda _: None)]


# ------------------------------------------------------------------------------------------------ filters


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param({}, ["inc-a1", "inc-a2", "inc-b3"], id="nothing asked, all found"),
        pytest.param({"since": "2h"}, ["inc-a2", "inc-b3"], id="the beginning of a span is inside"),
        pytest.param({"until": "2h"}, ["inc-a1"], id="its end is outside"),
        pytest.param({"since": "2026-11-23T09:30Z", "until": "2026-11-23T12:30+02:00"}, ["inc-a2"], id="with a zone"),
        pytest.param({"until": "2026-11-23"}, [], id="a date is its midnight"),
        pytest.param({"incident": ["inc-a1"]}, ["inc-a1"], id="a whole id"),
        pytest.param({"incident": ["A"]}, ["inc-a1", "inc-a2"], id="the beginning of several"),
        pytest.param({"incident": ["a1", "b"]}, ["inc-a1", "inc-b3"], id="several beginnings"),
        pytest.param({"workspace": ["mlw-prod"]}, ["inc-a1", "inc-b3"], id="a workspace without case"),
        pytest.param({"workspace": ["*-DEV"]}, ["inc-a2"], id="a glob without case"),
        pytest.param({"workspace": ["prod"]}, [], id="a part of a name is no name"),
        pytest.param({"action": ["delete-idle"]}, ["inc-a1"], id="the action of one that ended"),
        pytest.param({"action": ["sync-keys"]}, ["inc-b3"], id="the action of one that is open"),
        pytest.param({"action": ["retry"]}, [], id="an action that nobody took"),
        pytest.param({"end": ["repaired"]}, ["inc-a1"], id="an end"),
        pytest.param({"end": ["repaired", "advised"]}, ["inc-a1", "inc-a2"], id="one of several ends"),
        pytest.param({"end": ["open"]}, ["inc-b3"], id="no end yet"),
        pytest.param({"cause": ["model-not-found"]}, ["inc-a2"], id="the cause of one that ended"),
        pytest.param({"cause": ["acr-authorization"]}, ["inc-b3"], id="the cause of one that is open"),
        pytest.param({"cause": ["acr-authorization"], "end": ["repaired"]}, [], id="both have to hold"),
        pytest.param({"actor": [ANNA]}, ["inc-a1"], id="a person by object id"),
        pytest.param({"actor": [PIPELINE.upper()]}, ["inc-b3"], id="an application by client id"),
        pytest.param({"actor": [ANNA, BEN]}, ["inc-a1", "inc-b3"], id="one of two people"),
        pytest.param({"actor": ["medic"]}, ["inc-a1", "inc-a2", "inc-b3"], id="we ourselves"),
        pytest.param({"actor": [MEDIC]}, ["inc-a1", "inc-a2", "inc-b3"], id="we by our object id"),
        pytest.param({"actor": [BEN], "workspace": ["mlw-dev"]}, [], id="a person, and another workspace"),
    ],
)
def test_a_filter_finds_what_is_asked_for(given, found, trail) -> None:
    assert ids(trail, **given) == found


def test_every_filter_is_in_words_as_it_is_typed() -> None:
    given = Given(
        since="1h",
        until="2026-11-23T12:00Z",
        incident=["A1", "b"],
        workspace=["mlw-*"],
        action=["Retry"],
        end=["open"],
        cause=["unknown"],
        actor=["MEDIC"],
        stage=["vote"],
    )
    assert given.wanted(NOON).words == (
        "--since 2026-11-23 11:00:00 UTC, --until 2026-11-23 12:00:00 UTC, --incident inc-a1, --incident inc-b, "
        "--workspace mlw-*, --action retry, --end open, --cause unknown, --actor medic, --stage vote"
    )
    assert Wanted().words == ""


@pytest.mark.parametrize(
    ("stage", "who", "oid", "taken"),
    [
        pytest.param("vote", "person", ANNA.upper(), True, id="both hold"),
        pytest.param("vote", "person", BEN, False, id="somebody else's"),
        pytest.param("answer", "person", ANNA, False, id="another stage"),
        pytest.param("vote", "medic", MEDIC, False, id="our own"),
        pytest.param("vote", "person", None, False, id="nobody's that is known"),
    ],
)
def test_a_record_is_taken_by_its_actor_and_its_stage(stage, who, oid, taken, trail) -> None:
    record = trail.records("inc-a1")[0]
    wanted = Given(actor=[ANNA], stage=["vote", "end"]).wanted(NOON)
    changed = type(record)(
        **{name: getattr(record, name) for name in record.__struct_fields__}
        | {"stage": stage, "actor": Actor(who=who, oid=oid)}
    )
    assert wanted.takes(changed) is taken


# ------------------------------------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"end": ["fixed"]},
            (
                "--end 'fixed' is not known. There are: repaired, not-repaired, inconclusive, refused, rejected, "
                "expired, superseded, dry-run, advised, nothing-to-do, open."
            ),
        ),
        (
            {"action": ["rebot"]},
            (
                "--action 'rebot' is not known. There are: "
                "retry, sync-keys, grant-roles, delete-idle, undo-delete, undo-grant."
            ),
        ),
        (
            {"cause": ["quota"]},
            "--cause 'quota' is not known. Near it: quota-cpu, quota-disk, quota-other. `medic causes` lists them.",
        ),
        ({"cause": ["zzz"]}, "--cause 'zzz' is not known. `medic causes` lists them."),
        ({"stage": ["votes"]}, "--stage 'votes' is not known. There are: incident, "),
        (
            {"actor": ["anna@contoso.com"]},
            "--actor 'anna@contoso.com' is neither an object id nor a client id, nor medic.",
        ),
        ({"incident": [" "]}, "--incident is empty."),
        ({"workspace": [""]}, "--workspace is empty."),
        (
            {"since": "1h", "until": "2h"},
            "--until 2026-11-23 10:00:00 UTC is not after --since 2026-11-23 11:00:00 UTC: nothing lies between them.",
        ),
        ({"since": "2026-11-23", "until": "2026-11-23"}, "--until 2026-11-23 00:00:00 UTC is not after"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_can(given, words) -> None:
    with pytest.raises(terminal.CommandError) as told:
        Given(**given).wanted(NOON)
    assert str(told.value).startswith(words)
    assert told.value.exit_code == 2


@pytest.mark.parametrize("find", [selecting.listed, selecting.exported])
def test_an_incident_that_is_not_there_is_told_also_beside_one_that_is(find, trail) -> None:
    wanted = Given(incident=["a1", "zz"]).wanted(NOON)
    with pytest.raises(terminal.CommandError, match="no incident on the trail begins with 'inc-zz'"):
        list(find(trail, wanted, lambda _: None))


# --------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("find", "given", "read"),
    [
        pytest.param(selecting.exported, {}, {"opened"}, id="an export of all asks for no end"),
        pytest.param(selecting.exported, {"actor": [ANNA], "stage": ["vote"]}, {"opened"}, id="nor for records here"),
        pytest.param(selecting.exported, {"end": ["repaired"]}, {"opened", "ended"}, id="an end asks for ends"),
        pytest.param(selecting.listed, {"since": "7d"}, {"opened", "ended"}, id="a list shows ends"),
        pytest.param(
            selecting.listed, {"action": ["retry"]}, {"opened", "ended", "records of inc-b3"}, id="of the open"
        ),
        pytest.param(
            selecting.listed, {"cause": ["quota-cpu"], "end": ["repaired"]}, {"opened", "ended"}, id="not asked"
        ),
        pytest.param(selecting.listed, {"actor": [ANNA], "until": "3h"}, set(), id="not what opened too late"),
    ],
)
def test_no_more_is_read_than_a_filter_needs(find, given, read, trail) -> None:
    store = Watched(trail.store.root)
    wanted = Given(**given).wanted(NOON)
    list(find(Trail(store), wanted, lambda _: None))
    kinds = {
        f"records of {name.split('/')[1]}" if name.startswith("audit/") else name.rpartition("/")[2]
        for name in store.read_names
    }
    assert kinds == (read or {"opened"})
    assert store.listed == ["incidents/"]
    assert len(store.read_names) == len(set(store.read_names))


def test_of_named_incidents_only_those_are_read_and_no_end_that_is_not_there(trail) -> None:
    store = Watched(trail.store.root)
    list(selecting.listed(Trail(store), Given(incident=["b3"]).wanted(NOON), lambda _: None))
    assert store.read_names == ["incidents/inc-b3/opened"]


def test_what_stands_is_told_by_names_alone(trail) -> None:
    trail.store.create("incidents/inc-b3/joined/opened", b"{}")
    trail.store.create("incidents/inc-c4/ended", b"{}")  # an end of what was never opened is no incident
    store = Watched(trail.store.root)
    assert list(Trail(store).standing()) == [("inc-a1", True), ("inc-a2", True), ("inc-b3", False)]
    assert Trail(store).unended() == ("inc-b3",)
    assert store.read_names == []


def test_an_export_is_in_the_order_of_opening_whatever_the_ids_are(tmp_path) -> None:
    trail = Trail(FolderStore(tmp_path))
    for number in range(150):
        incident = make_incident(id=f"inc-{number:03d}")
        trail.store.create(
            f"incidents/{incident.id}/opened",
            codec.encode(Opened(at=NOON - number * HOUR, nonce="n", incident=incident)),
        )
    seen: list[int] = []
    found = selecting.exported(trail, Wanted(), seen.append)
    assert [case.id for case in found] == [f"inc-{number:03d}" for number in reversed(range(150))]
    assert seen == [64, 128, 150]


# ------------------------------------------------------------------------------------------------- stages


def test_the_stages_are_those_that_the_journal_writes() -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(Path(audit.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "record"
    ]
    written = {call.args[1].value for call in calls if isinstance(call.args[1], ast.Constant)} | {"told", "not-told"}
    assert set(STAGES) == written
