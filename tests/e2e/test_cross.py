"""Every action in every other's world: it neither cures nor harms.

Each world has one thing wrong and is otherwise in perfect health, with an idle deployment that anyone might delete and
under a policy that asks nobody. An action is led into it twice: by a forged diagnosis, against which only its own
reads, its guards and the verification stand; and by an error in the words of its own cause, as anyone may write them.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from msgspec import Struct
from msgspec.structs import replace

from functions import activities, events
from local.arm.models import World
from local.arm.resources import merged
from local.arm.server import Server, serve_in_thread
from remediations import intake, services
from remediations.actions import ACTIONS
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import Diagnosis, End, Evidence, Incident, Level, Mode
from remediations.services import Services
from remediations.settings import Settings

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-credit"
SHIPPED = Path(__file__).parents[2] / "policy.yaml"
PATIENCE_S = 20.0

PULL = {"principal": "id-credit", "role": "AcrPull", "scope": "registry"}
READ = {"principal": "id-credit", "role": "Storage Blob Data Reader", "scope": "storage"}
IDLE = {
    "name": "old",
    "age": 100 * 86400,
    "spec": {"tags": {"medic-delete": "allow"}, "properties": {"environmentVariables": None}},
}


def cores(limit: int) -> list[dict[str, Any]]:
    return [
        {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": 16, "limit": limit},
        {"name": "Total Cluster Dedicated Regional vCPUs", "used": 16, "limit": 100},
    ]


HEALTHY: dict[str, Any] = {
    "subscription": SUBSCRIPTION,
    "operation_seconds": 0.02,
    "activity_log_delay": 0.0,
    "workspaces": [
        {
            "name": "mlw-demo",
            "endpoints": [
                {"name": "credit-scoring", "identities": ["id-credit"]},
                {"name": "fraud", "traffic": {"live": 100}, "deployments": [{"name": "live"}, IDLE]},
            ],
        }
    ],
    "role_assignments": [PULL, READ],
    "usages": cores(limit=64),
    "happens": [{"who": "ci", "do": "put", "endpoint": "credit-scoring", "deployment": "green"}],
}

# The one thing that is wrong in the world of each action, and that the action cures.
WRONG: dict[str, dict[str, Any]] = {
    "retry": {"hazards": [{"kind": "higher-priority"}]},
    "sync-keys": {"registries": [{"name": "crmlwdemo", "keys_regenerated": 1800}]},
    "grant-roles": {"role_assignments": [READ]},
    "delete-idle": {"usages": cores(limit=18)},
}
# How the cause of each action speaks.
CAUSE = {
    "retry": "canceled-higher-priority",
    "sync-keys": "acr-authorization",
    "grant-roles": "identity-missing-acrpull",
    "delete-idle": "quota-cpu",
}
WORDS: dict[str, dict[str, Any]] = {
    "retry": {
        "ends": "Canceled",
        "code": "OperationCanceled",
        "message": "Operation was canceled by another operation that has a higher priority.",
    },
    "sync-keys": {"code": "ImageBuildFailure", "message": "Container registry authorization failure"},
    "grant-roles": {
        "code": "BadArgument",
        "message": "Endpoint identity does not have pull permission on the registry.",
    },
    "delete-idle": {
        "code": "OutOfQuota",
        "message": "Not enough quota available for Standard_DS3_v2 in SubscriptionId ***. "
        "Current usage/limit: 16/18. Additional needed: 8",
    },
}

GREEN = "PUT credit-scoring/green"
OLD = "DELETE fraud/old"
SYNC = "POST mlw-demo/resyncKeys"
GRANT = "PUT a role on crmlwdemo"


class Walked(Struct, frozen=True, kw_only=True):
    """What came of one try: by the trail, and by the simulator's ledger."""

    end: End
    words: str
    action: str | None
    results: tuple[End, ...]
    writes: tuple[str, ...]
    states: dict[str, str]


class Pair(NamedTuple):
    """An action in another's world.

    Attributes:
        writes: What it may send there, and does; nothing if there is no plan.
        end: How that ends.
        forged: Words of the end when the diagnosis is forged.
        told: Words of the end when only the error's words are its cause's.
    """

    action: str
    world: str
    writes: tuple[str, ...]
    end: End
    forged: str
    told: str


_FAILED, _CANCELED = "green is Failed again", "green is Canceled again"
_HOLDS, _FITS = "no role is missing: every identity of the endpoint holds what it needs", "there is quota for it now"
_RULED_OUT = "what Azure shows does not confirm it"

PAIRS = (
    # A re-run alone changes nothing, and shows it.
    Pair("retry", "sync-keys", (GREEN,), End.NOT_REPAIRED, _FAILED, _FAILED),
    Pair("retry", "grant-roles", (GREEN,), End.NOT_REPAIRED, _FAILED, _FAILED),
    Pair("retry", "delete-idle", (GREEN,), End.NOT_REPAIRED, _FAILED, _FAILED),
    # A sync gives the workspace the keys that it has already.
    Pair("sync-keys", "retry", (SYNC, GREEN), End.NOT_REPAIRED, _CANCELED, _CANCELED),
    Pair("sync-keys", "grant-roles", (SYNC, GREEN), End.NOT_REPAIRED, _FAILED, _FAILED),
    Pair("sync-keys", "delete-idle", (SYNC, GREEN), End.NOT_REPAIRED, _FAILED, _FAILED),
    # Nothing is granted that is held, and nothing deleted for cores that are free.
    Pair("grant-roles", "retry", (), End.ADVISED, _HOLDS, _RULED_OUT),
    Pair("grant-roles", "sync-keys", (), End.ADVISED, _HOLDS, _RULED_OUT),
    Pair("grant-roles", "delete-idle", (), End.ADVISED, _HOLDS, _RULED_OUT),
    Pair("delete-idle", "retry", (), End.ADVISED, _FITS, _FITS),
    Pair("delete-idle", "sync-keys", (), End.ADVISED, _FITS, _FITS),
    Pair("delete-idle", "grant-roles", (), End.ADVISED, _FITS, _FITS),
)
CURES = {
    "retry": (GREEN,),
    "sync-keys": (SYNC, GREEN),
    "grant-roles": (GRANT, GREEN),
    "delete-idle": (OLD, GREEN),
}


@pytest.fixture
def walk(tmp_path, monkeypatch) -> Iterator[Callable[..., Walked]]:
    """Gives what leads one failure of a world through the activities of one try, all waits left out."""
    policy = merged(
        yaml.safe_load(SHIPPED.read_text("utf-8")),
        {"actions": {name: {"mode": "auto"} for name in ACTIONS}, "grants": {"identities": [IDENTITY]}},
    )
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(policy), "utf-8")

    def lead(world: World, *, forged: str | None = None) -> Walked:
        with serve_in_thread(world) as server:
            services.use(_services(server, file, tmp_path))
            if forged is not None:
                monkeypatch.setattr(activities, "wanted", lambda *_: frozenset(ACTIONS[forged].asks))
                monkeypatch.setattr(activities, "classify", _forger(forged))
            return _walked(world, _failure(world))

    yield lead
    services.use(None)


@pytest.mark.parametrize("action", WRONG)
def test_each_action_cures_its_own_world(action: str, walk):
    hazards = [{"kind": "higher-priority", "remaining": 1}]  # the contender is gone when it is run again
    world = World.from_dict(HEALTHY | WRONG[action] | ({"hazards": hazards} if action == "retry" else {}))

    came = walk(world)

    assert (came.action, came.end, came.words) == (action, End.REPAIRED, _STANDS)
    assert came.writes == CURES[action]
    assert came.results == (End.REPAIRED,)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.action}-where-{pair.world}-would-help")
def test_a_forged_diagnosis_neither_cures_nor_harms(pair: Pair, walk):
    came = walk(World.from_dict(HEALTHY | WRONG[pair.world]), forged=pair.action)

    assert pair.forged in came.words
    _neither_cures_nor_harms(pair, came)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.action}-where-{pair.world}-would-help")
def test_an_error_in_anothers_words_neither_cures_nor_harms(pair: Pair, walk):
    wrong = WRONG[pair.world]
    misleading = {"kind": "broken", "remaining": 1, "endpoint": "credit-scoring", **WORDS[pair.action]}

    came = walk(World.from_dict(HEALTHY | wrong | {"hazards": [misleading, *wrong.get("hazards", ())]}))

    assert pair.told in came.words
    _neither_cures_nor_harms(pair, came)


def _neither_cures_nor_harms(pair: Pair, came: Walked) -> None:
    assert came.end is pair.end
    assert came.writes == pair.writes
    assert came.results == ((End.NOT_REPAIRED,) if pair.writes else ())
    assert came.states["credit-scoring/green"] in {"Failed", "Canceled"}
    assert (came.states["fraud/live"], came.states["fraud/old"]) == ("Succeeded", "Succeeded")


# ------------------------------------------------------------------------------------------- the walk


_STANDS = "mlw-demo/credit-scoring/green is Succeeded with the spec that was sent"


def _walked(world: World, incident: Incident) -> Walked:
    own = services.services()
    step: dict[str, Any] = events.order_of(incident, own)
    assert activities.open_incident(step)
    step = _until(partial(activities.collect, {**step, "polls": 0}), lambda seen: seen["settled"])
    step = activities.judge(step)
    step = _repaired({**step, "number": 0, "attempt": 1, "desk": "ours"})
    activities.finish(step)
    now = datetime.now(UTC)
    action = step.get("action")
    results = own.trail.results(SUBSCRIPTION, action, now - timedelta(hours=1), now) if action else ()
    return Walked(
        end=End(step["end"]),
        words=step["words"],
        action=action,
        results=tuple(result.end for result in results),
        writes=tuple(_writes(world)),
        states=dict(_states(world)),
    )


def _repaired(step: dict[str, Any]) -> dict[str, Any]:
    """Take the turns of a plan, as the orchestrator does."""
    deadline = time.monotonic() + PATIENCE_S
    while step["verdict"] == "run" and time.monotonic() < deadline:
        step = activities.execute(step)
        if step["sent"]:
            seen = _until(partial(activities.check, {**step, "polls": 0}), lambda found: found["over"])
            step = activities.verify({**step, "seen": seen})
    return step


def _until(ask: Callable[[], dict[str, Any]], is_enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while not is_enough(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer


def _failure(world: World) -> Incident:
    """The incident of CI's own failed write, by the event that the world raises."""
    world.wait_until_quiet()
    reception = intake.receive(world.raised[0], received_at=datetime.now(UTC))
    assert reception.incident is not None
    return reception.incident


def _services(server: Server, policy: Path, folder: Path) -> Services:
    principal = server.world.principals["medic"]
    return Services(
        Settings(
            mode=Mode.AUTO,
            store=str(folder / "store"),
            policy=str(policy),
            arm_url=server.url,
            arm_scope=f"{server.url}/.default",
            arm_token="sim-medic",
            client_id=principal.appid,
            principal_id=principal.oid,
            time_scale=1000.0,
        )
    )


def _forger(action: str) -> Callable[..., Diagnosis]:
    """Gives a classification that names the cause of an action, as sure as can be, whatever the evidence."""
    cause = next(one for one in CAUSES if one.id == CAUSE[action])

    def forge(evidence: Evidence, *_: Any, evidence_digest: str) -> Diagnosis:
        return replace(
            classify(evidence, CAUSES, evidence_digest=evidence_digest),
            cause_id=cause.id,
            code=cause.code,
            action=cause.action,
            level=Level.TWO_READS,
        )

    return forge


def _writes(world: World) -> Iterator[str]:
    """Give our writes that took effect; asking for logs or a diagnosis changes nothing."""
    ours = (entry for entry in world.ledger if entry.principal == "medic" and entry.took_effect)
    for entry in ours:
        if entry.path.lower().endswith(("/getlogs", "/diagnose")):
            continue
        scope, is_role, _ = entry.path.partition("/providers/Microsoft.Authorization/roleAssignments/")
        _, _, inside = entry.path.partition("/workspaces/")
        place = inside.partition("/onlineEndpoints/")[2].replace("/deployments/", "/") or inside
        yield f"{entry.method} a role on {scope.rsplit('/', 1)[-1]}" if is_role else f"{entry.method} {place}"


def _states(world: World) -> Iterator[tuple[str, str]]:
    for name in ("credit-scoring/green", "fraud/live", "fraud/old"):
        endpoint, _, deployment = name.partition("/")
        shown = world.deployment(endpoint, deployment)
        yield name, "gone" if shown is None else shown["properties"]["provisioningState"]
