"""Draw the story of a round: all of it comes from a seed and a number, the same on every machine.

What has to come up in a campaign lies in decks, each shuffled by the seed and dealt out round by round: in rounds that
follow each other everything comes before anything comes again.
"""

import random
import re
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from local.arm import schema
from local.chaos.story import Act, Deed, HubLoss, Kill, People, StoreFault, Story, Stray, Trouble
from local.rehearsal import Answer, KillWorker, Scenario, load, shipped

SCENARIOS_A_ROUND, CROWDS_A_ROUND = 14, 5
KILLS_A_ROUND, STORE_FAULTS_A_ROUND = 15, 8
TROUBLES_A_ROUND = 24
DRY_RUN_EVERY, ASK_EVERY, LOSS_EVERY = 8, 11, 3
DEPLOYMENT = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

type Draw = random.Random


def draw(seed: int, number: int) -> Story:
    """Give the story of one round of a campaign."""
    chance = random.Random(f"chaos {seed} {number}")
    kills = _kills(chance, seed, number)
    acts = _acts(chance, seed, number, kills)
    watched = chance.random() < 0.5
    return Story(
        seed=seed,
        number=number,
        mode=_mode(number),
        policy=_policy(chance, acts, watched=watched),
        acts=tuple(_troubled(chance, acts, seed, number, watched=watched)),
        store=tuple(
            store_fault(chance, kind, where)
            for kind, where in _dealt("store", seed, number, STORE_DECK, STORE_FAULTS_A_ROUND)
        ),
        kills=kills,
        losses=tuple(
            HubLoss(what=what, nth=chance.randint(1, 6))
            for what in _dealt("losses", seed, number // LOSS_EVERY, WORK, 1)
            if number % LOSS_EVERY == 1
        ),
        people=_people(chance, seed, number),
        twice=chance.choice((0.0, 0.2, 0.2, 1.0)),
        channel_fails=chance.choice((0, 0, 2, 5, None)),
        sweeps_s=tuple(sorted(round(chance.uniform(0.5, 8.0), 2) for _ in range(chance.randint(0, 3)))),
    )


def _mode(number: int) -> Literal["auto", "ask", "dry-run"]:
    if number % DRY_RUN_EVERY == DRY_RUN_EVERY - 1:
        return "dry-run"
    return "ask" if number % ASK_EVERY == ASK_EVERY - 1 else "auto"


def _kills(chance: Draw, seed: int, number: int) -> tuple[Kill, ...]:
    """Deal the points of kills out to the rounds in which there are effects; elsewhere, many are never come by."""
    points = kill_points()
    if _mode(number) == "auto":
        points = _dealt("kills", seed, sum(_mode(before) == "auto" for before in range(number)), points, KILLS_A_ROUND)
    else:
        points = chance.sample(points, KILLS_A_ROUND)
    return tuple(
        msgspec.structs.replace(kill, nth=1 if kill.what in RARE else chance.choice((1, 1, 1, 2, 4))) for kill in points
    )


def _dealt[T](name: str, seed: int, number: int, deck: Sequence[T], count: int) -> list[T]:
    """Give the next cards of a deck that is shuffled anew each time it has been dealt out."""
    dealt: list[T] = []
    for place in range(number * count, (number + 1) * count):
        again, index = divmod(place, len(deck))
        order = list(range(len(deck)))
        random.Random(f"chaos {name} {seed} {again}").shuffle(order)
        dealt.append(deck[order[index]])
    return dealt


# --- acts ---


@cache
def _scenarios() -> tuple[Scenario, ...]:
    return tuple(load(path) for path in shipped())


def _acts(chance: Draw, seed: int, number: int, kills: Sequence[Kill]) -> list[Act]:
    scenarios = _dealt("scenarios", seed, number, _scenarios(), SCENARIOS_A_ROUND)
    crowds = _dealt("crowds", seed, number, CROWDS, CROWDS_A_ROUND)
    wanted = [ONLY_IN[kill.what] for kill in kills if kill.what in ONLY_IN]
    crowds = [*wanted, *(one for one in crowds if one not in wanted)][:CROWDS_A_ROUND]
    acts: list[Act] = []
    taken: set[str] = set()
    for scenario in scenarios:
        others = _subscriptions(scenario.world)
        if scenario.name in {act.name for act in acts} or others & taken:
            continue  # two worlds of one subscription could not be told apart
        taken |= others
        acts.append(_of_scenario(chance, scenario))
    return acts + [crowd(chance) for crowd in crowds]


def _subscriptions(world: dict[str, Any]) -> set[str]:
    """Give the subscriptions that a world names itself, besides the one that it is given."""
    return set(_GUID.findall(msgspec.json.encode(world).decode())) - {schema.WorldSeed().tenant}


def _of_scenario(chance: Draw, scenario: Scenario) -> Act:
    # Questions are answered by the people of the round, and the worker is killed by its kills.
    steps = tuple(step for step in scenario.steps if not isinstance(step, Answer | KillWorker))
    return Act(
        name=scenario.name,
        subscription=_guid(chance),
        world=msgspec.to_builtins(scenario.world),
        failures=len(scenario.expect.ends),
        steps=steps,
    )


def _guid(chance: Draw) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _crowd(chance: Draw, name: str, world: dict[str, Any], puts: Sequence[tuple[str, str, float]]) -> Act:
    """Give an act in which so many deployments are put: endpoint, deployment and when."""
    happens = [
        {
            "who": "ci",
            "do": "put",
            "endpoint": endpoint,
            "deployment": deployment,
            "after": round(at, 2),
            "spec": {"properties": {"environmentVariables": {"LOG_LEVEL": "{planted}"}}},
        }
        for endpoint, deployment, at in puts
    ]
    return Act(
        name=name,
        subscription=_guid(chance),
        world={"operation_seconds": 0.05, **world, "happens": happens},
        failures=len(puts),
    )


def _spread(chance: Draw, endpoints: Sequence[str]) -> list[tuple[str, str, float]]:
    most = chance.choice((0.0, 0.5, 2.0))
    return [(endpoint, "green", chance.uniform(0.0, most)) for endpoint in endpoints]


def _names(chance: Draw, least: int, most: int) -> list[str]:
    return [f"ep-{number}" for number in range(chance.randint(least, most))]


def _canceled(chance: Draw) -> Act:
    names = _names(chance, 4, 12)
    kind = chance.choice(("higher-priority", "lock-confirmation"))
    hazards = [{"kind": kind, "remaining": len(names) + chance.randint(0, 2 * len(names))}]
    world = {"workspaces": [_workspace([{"name": name} for name in names])], "hazards": hazards}
    return _crowd(chance, "a crowd is canceled", world, _spread(chance, names))


def _storm(chance: Draw) -> Act:
    names = _names(chance, 22, 26)
    hazards = [{"kind": "higher-priority", "remaining": len(names)}]
    world = {"workspaces": [_workspace([{"name": name} for name in names])], "hazards": hazards}
    return _crowd(chance, "a storm of cancellations", world, [(name, "green", 0.0) for name in names])


def _storm_of_roles(chance: Draw) -> Act:
    """A storm about which people are asked: policy lists the identities of the first few alone."""
    names = _names(chance, 12, 16)
    endpoints = [{"name": name, "identities": [f"id-{name}"]} for name in names]
    world = {"workspaces": [_workspace(endpoints)], "role_assignments": []}
    return _crowd(chance, "a storm of missing roles", world, [(name, "green", 0.0) for name in names])


def _one_after_another(chance: Draw) -> Act:
    """Several failures of one resource, and of one endpoint."""
    names = ["ep-0", "ep-1"]
    world = {
        "workspaces": [_workspace([{"name": name, "deployments": [{"name": "blue"}]} for name in names])],
        "hazards": [{"kind": "higher-priority", "remaining": chance.randint(3, 6)}],
        "failed_update_shows": chance.choice(("old", "new")),
    }
    puts = [(name, chance.choice(("green", "green", "blue")), 0.4 * n) for n in range(4) for name in names]
    return _crowd(chance, "failures of one resource after another", world, puts)


def _updated(chance: Draw) -> Act:
    names = _names(chance, 2, 5)
    world = {
        "workspaces": [_workspace([{"name": name, "deployments": [{"name": "blue"}]} for name in names])],
        "hazards": [{"kind": "higher-priority", "remaining": len(names) + 1}],
        "failed_update_shows": "new",
    }
    return _crowd(chance, "a crowd of updates is canceled", world, [(name, "blue", 0.1) for name in names])


def _keys(chance: Draw) -> Act:
    names = _names(chance, 2, 5)
    world = {
        "workspaces": [_workspace([{"name": name} for name in names])],
        "registries": [{"name": "crmlwdemo", "keys_regenerated": 3600}],
    }
    return _crowd(chance, "a crowd has old keys", world, _spread(chance, names))


def _roles(chance: Draw) -> Act:
    names = _names(chance, 2, 6)
    shared = chance.random() < 0.5
    endpoints = [{"name": name, "identities": ["id-credit" if shared else f"id-{name}"]} for name in names]
    world = {"workspaces": [_workspace(endpoints)], "role_assignments": []}
    return _crowd(chance, "a crowd lacks roles", world, _spread(chance, names))


def _quota(chance: Draw) -> Act:
    names, idle = _names(chance, 2, 4), chance.randint(1, 3)
    opted_in = {"tags": {"medic-delete": "allow"}, "properties": {"environmentVariables": None}}
    victims = [{"name": f"old-{n}", "age": 9_640_000, "spec": opted_in} for n in range(idle)]
    used = 8 * (1 + idle)
    fraud = {
        "name": "fraud",
        "traffic": {"live": 100},
        "deployments": [{"name": "live", "age": 8_640_000}, *victims],
    }
    world = {
        "workspaces": [_workspace([*({"name": name} for name in names), fraud])],
        "usages": [
            {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": used, "limit": used + 2},
            {"name": "Total Cluster Dedicated Regional vCPUs", "used": used, "limit": 100},
        ],
        "quota_refuses": chance.choice(("end", "end", "request")),
    }
    return _crowd(chance, "a crowd lacks cores", world, _spread(chance, names))


def _broken(chance: Draw) -> Act:
    names = _names(chance, 3, 6)
    hazards = [
        {"kind": "broken", "endpoint": name, "code": code, "message": f"{text} {SECRET_TEXT}"}
        for name, (code, text) in zip(names, chance.sample(ERRORS, len(names)), strict=True)
    ]
    world = {"workspaces": [_workspace([{"name": name} for name in names])], "hazards": hazards}
    return _crowd(chance, "a crowd fails of what has no repair", world, _spread(chance, names))


def _mixed(chance: Draw) -> Act:
    """Everything that has a repair, in one workspace."""
    names = [f"ep-{number}" for number in range(6)]
    endpoints: list[dict[str, Any]] = [{"name": name} for name in names]
    endpoints[0]["identities"] = endpoints[1]["identities"] = ["id-credit"]
    world = {
        "workspaces": [_workspace(endpoints)],
        "registries": [{"name": "crmlwdemo", "keys_regenerated": 3600}],
        "role_assignments": [],
        "hazards": [{"kind": "higher-priority", "remaining": 8}],
    }
    return _crowd(chance, "a crowd fails of several causes", world, _spread(chance, names))


def _workspace(endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "mlw-demo", "endpoints": endpoints}


SECRET_TEXT = "password={planted}"  # noqa: S105 - the place of one
ERRORS = (
    ("BadRequest", "Something went wrong with no further word."),
    ("InternalServerError", "An internal error occurred."),
    ("ResourceNotFound", "The model could not be found."),
    ("OutOfQuota", "Kubernetes quota is not enough."),
    ("ImageBuildFailure", "Failed to build the image."),
    ("ResourceNotReady", "User container has crashed or terminated."),
)
CROWDS: tuple[Callable[[Draw], Act], ...] = (
    _canceled,
    _one_after_another,
    _updated,
    _keys,
    _roles,
    _quota,
    _broken,
    _mixed,
    _storm,
    _storm_of_roles,
)
ONLY_IN = {"activity ask_members": _storm_of_roles}  # the one crowd in which the worker can be killed there


# --- troubles of a world ---


def _troubled(chance: Draw, acts: Sequence[Act], seed: int, number: int, *, watched: bool) -> list[Act]:
    troubles: list[list[Trouble]] = [[] for _ in acts]
    for kind in _dealt("troubles", seed, number, tuple(TROUBLES), TROUBLES_A_ROUND):
        # What is to be met has to be asked for: in the crowds, which stand last, most failures have a repair.
        is_met_there = kind in ON_REQUESTS and chance.random() < 0.8
        place = chance.randrange(len(acts) - CROWDS_A_ROUND if is_met_there else 0, len(acts))
        if kind == "events lost" and not watched:
            continue  # nobody but the sweep could find them
        changes, happens, ahead_s = TROUBLES[kind](chance, acts[place])
        if changes or happens or ahead_s:
            trouble = Trouble(kind=kind, world=changes, happens=tuple(happens), ahead_s=ahead_s)
            troubles[place].append(trouble)
    return [
        msgspec.structs.replace(act, troubles=tuple(mine), strays=tuple(_strays(chance)))
        for act, mine in zip(acts, troubles, strict=True)
    ]


def _strays(chance: Draw) -> list[Stray]:
    kinds: list[Any] = ["again", "again", "again", "ours", "foreign", "broken", "batch"]
    count = chance.choice((0, 0, 1, 2))
    return [
        Stray(kind=chance.choice(kinds), at_s=round(chance.uniform(0.3, 5.0), 2), which=chance.randrange(100))
        for _ in range(count)
    ]


type Changes = tuple[dict[str, Any], Sequence[dict[str, Any]], float]

READS = (
    "*/deployments/*",
    "*/deployments/*",
    "*/eventtypes/*",
    "*operation*",
    "*",
    "*/onlineendpoints/*",
    "*/eventtypes/*",
    "*/roleassignments*",
    "*/registries/*",
    "*/usages",
    "*/metrics",
    "*/permissions",
    "*operation*",
    "*",
)


def _wire(chance: Draw, kind: str, **fields: Any) -> Changes:
    """Spoil some of our reads."""
    fault = {
        "kind": kind,
        "method": "GET",
        "principal": "medic",
        "path": chance.choice(READS),
        "after": chance.choice((0, 0, 1, 3)),
        "times": chance.choice((1, 2, 5, 12)),
        **fields,
    }
    return {"faults": [fault]}, (), 0.0


def _write(chance: Draw, kind: str, **fields: Any) -> Changes:
    """Spoil some of our writes."""
    method, path = chance.choice((*[("PUT", "*")] * 4, ("POST", "*/resynckeys"), ("DELETE", "*")))
    times, after = chance.choice((1, 1, 2)), chance.choice((0, 0, 1))
    return _wire(chance, kind, method=method, path=path, times=times, after=after, **fields)


def _either(chance: Draw, kind: str, **fields: Any) -> Changes:
    return (_write if chance.random() < 0.5 else _wire)(chance, kind, **fields)


def _setting(**changes: Any) -> Changes:
    return changes, (), 0.0


def _events(**changes: Any) -> Changes:
    return {"events": changes}, (), 0.0


def _pages(chance: Draw, kind: str, **fields: Any) -> Changes:
    fault = {"kind": kind, "method": "GET", "principal": "medic", "times": chance.choice((1, 3)), **fields}
    return {"page_size": 1, "activity_log_page_size": 2, "faults": [fault]}, (), 0.0


def _person(chance: Draw, act: Act) -> Changes:
    endpoint, deployment = _first(act)
    if deployment is None:
        return {}, (), 0.0
    when = chance.choice(
        ("get deployment by medic", "put deployment by medic", "get operation by medic", "get permissions by medic")
    )
    happening: dict[str, Any] = {"when": when, "nth": chance.randint(1, 3), "who": "person", "deployment": deployment}
    spec = {"properties": {"instanceType": chance.choice(("Standard_DS2_v2", "Standard_DS4_v2"))}}
    happening |= chance.choice(({"do": "put", "spec": spec}, {"do": "put"}, {"do": "delete"}))
    if endpoint is not None:
        happening["endpoint"] = endpoint
    return {}, (happening,), 0.0


def _again(chance: Draw, act: Act) -> Changes:
    """CI deploys the same once more while it is being repaired."""
    endpoint, deployment = _first(act)
    if deployment is None:
        return {}, (), 0.0
    when = chance.choice(("put deployment by medic", "get deployment by medic", "get activity-log by medic"))
    happening = {"when": when, "nth": chance.randint(1, 3), "who": "ci", "do": "put", "deployment": deployment}
    return {}, ({**happening, **({} if endpoint is None else {"endpoint": endpoint})},), 0.0


def _first(act: Act) -> tuple[str | None, str | None]:
    """Give endpoint and deployment of the first that is put in an act."""
    put: dict[str, Any] = next((each for each in act.world.get("happens", ()) if each.get("do") == "put"), {})
    return put.get("endpoint"), put.get("deployment")


def _skewed(chance: Draw) -> Changes:
    return {}, (), round(chance.uniform(-90.0, 90.0), 1)


TROUBLES: dict[str, Callable[[Draw, Act], Changes]] = {
    "429 with Retry-After": lambda chance, _: _either(chance, "throttle", retry_after=1),
    "429 without Retry-After": lambda chance, _: _either(chance, "throttle", retry_after=None),
    "5xx": lambda chance, _: _either(chance, "error", status=chance.choice((500, 502, 503, 504))),
    "409 of a write": lambda chance, _: _write(chance, "error", status=409, code="Conflict", message="It is busy."),
    "403": lambda chance, _: _either(chance, "error", status=403, code="AuthorizationFailed", message="Not for you."),
    "timeout before the effect": lambda chance, _: _write(chance, "silent", seconds=1.4),
    "timeout after the effect": lambda chance, _: _write(chance, "delay", seconds=1.4),
    "answer lost": lambda chance, _: _write(chance, "lost"),
    "reset": lambda chance, _: _either(chance, "reset"),
    "truncated": lambda chance, _: _either(chance, "truncated"),
    "malformed": lambda chance, _: _either(chance, "malformed"),
    "slow read": lambda chance, _: _wire(chance, "delay", seconds=0.7),
    "stale read": lambda chance, _: _wire(chance, "stale", path="*/onlineendpoints/*"),
    "empty page": lambda chance, _: _pages(chance, "empty-page"),
    "page fails in the middle": lambda chance, _: _pages(chance, "error", query="*skiptoken*"),
    "operation never ends": lambda chance, _: _setting(
        hazards=[{"kind": "slow", "after": chance.randint(1, 4), "remaining": 1, "lasts": 3600}]
    ),
    "operation vanishes": lambda chance, _: _setting(
        **chance.choice(({"operation_records_missing": True}, {"operation_record_seconds": 0.0}))
    ),
    "operation is slow": lambda chance, _: _setting(
        hazards=[{"kind": "slow", "after": 1, "remaining": chance.randint(1, 4), "lasts": 2.5}]
    ),
    "repair fails": lambda chance, act: _setting(
        hazards=[{"kind": "lock-confirmation", "after": act.failures, "remaining": chance.randint(1, 3)}]
    ),
    "activity log late": lambda chance, _: _setting(activity_log_delay=round(chance.uniform(0.8, 4.0), 2)),
    "activity log missing": lambda *_: _setting(activity_log_missing=True),
    "role propagation slow": lambda chance, _: _setting(role_propagation_seconds=round(chance.uniform(0.3, 2.5), 2)),
    "role propagation partial": lambda chance, _: _setting(
        role_propagation_seconds=round(chance.uniform(0.3, 2.5), 2), role_propagation_is_partial=True
    ),
    "person changes the target": _person,
    "event while its incident runs": _again,
    "clock skew": lambda chance, _: _skewed(chance),
    "events doubled": lambda chance, _: _events(deliveries=chance.randint(2, 6)),
    "events late": lambda chance, _: _events(delay=round(chance.uniform(0.2, 2.0), 2)),
    "events out of order": lambda chance, _: _events(
        deliveries=chance.randint(1, 3), shuffle=round(chance.uniform(0.2, 2.0), 2)
    ),
    "events lost": lambda *_: _setting(events="none"),
}

ON_REQUESTS = frozenset(
    {
        "429 with Retry-After",
        "429 without Retry-After",
        "5xx",
        "403",
        "409 of a write",
        "timeout before the effect",
        "timeout after the effect",
        "answer lost",
        "reset",
        "truncated",
        "malformed",
        "person changes the target",
        "event while its incident runs",
    }
)

# --- the app ---

WORK = (
    "orchestration remediate",
    "orchestration gather",
    "orchestration repair",
    "orchestration follow",
    "orchestration notify",
    "orchestration mustering",
    "orchestration ramp",
    "activity open_incident",
    "activity collect",
    "activity judge",
    "activity ask",
    "activity settle",
    "activity execute",
    "activity check",
    "activity verify",
    "activity finish",
    "activity tell",
    "activity fold",
    "activity muster",
    "activity assemble",
    "activity ask_members",
    "activity wave",
    "activity disband",
    "entity desk",
)
CREATED = (
    "claim",
    "index",
    "target",
    "intent",
    "outcome",
    "settled",
    "request",
    "slot",
    "result",
    "question",
    "end",
    "evidence",
    "member",
    "roll",
    "groups",
)
CREATED_BY_THE_HOST = ("delivery", "joined", "place", "answer", "vote")  # it is not killed
APPENDED = ("audit", "register")
CALLS = (
    "GET deployment",
    "GET endpoint",
    "GET activity-log",
    "GET operation",
    "GET role-assignments",
    "GET permissions",
    "GET usages",
    "PUT deployment",
    "PUT role-assignment",
    "POST resync-keys",
    "DELETE deployment",
)

RARE = frozenset(
    {
        *(
            what
            for what in WORK
            if what.rpartition(" ")[2]
            in {"mustering", "ramp", "fold", "muster", "assemble", "ask_members", "wave", "disband"}
        ),
        *(f"create {record}" for record in ("settled", "result", "member", "roll", "groups")),
        "PUT role-assignment",
        "POST resync-keys",
        "DELETE deployment",
    }
)


def kill_points() -> list[Kill]:
    """Give every kind of point at which the worker is killed."""
    work = [Kill(at="work", what=what) for what in WORK]
    records = [("create", record) for record in CREATED] + [("append", record) for record in APPENDED]
    phases: list[Any] = ["before", "inside", "after"]
    stored = [Kill(at="store", what=" ".join(each), phase=phase) for each in records for phase in phases]
    called = [Kill(at="call", what=what, phase=phase) for what in CALLS for phase in (phases[0], phases[2])]
    return [*work, *stored, *called]


STORE_DECK: tuple[tuple[str, tuple[str, str]], ...] = (
    *(
        (kind, ("create", record))
        for kind in ("refused", "lost", "echoed")
        for record in (*CREATED, *CREATED_BY_THE_HOST)
    ),
    *((kind, ("append", record)) for kind in ("refused", "lost", "echoed") for record in APPENDED),
    *(("refused", ("read", record)) for record in ("claim", "evidence", "intent", "outcome", "audit", "question")),
    *(("refused", ("list", record)) for record in ("targets", "resources", "approvals", "budget", "incidents")),
    *(("slow", (operation, "*")) for operation in ("create", "append", "read", "list")),
    *(("full", ("*", "*")) for _ in range(3)),
)


def store_fault(chance: Draw, kind: Any, where: tuple[Any, str]) -> StoreFault:
    """Draw how often a fault of the store is met."""
    operation, record = where
    wide = record == "*"
    return StoreFault(
        kind=kind,
        operation=operation,
        record=record,
        after=chance.randint(0, 200) if wide else chance.choice((0, 0, 1, 3, 8)),
        times=chance.randint(10, 40) if kind == "full" else chance.choice((1, 2, 4)),
        seconds=round(chance.uniform(0.1, 1.5), 2) if kind == "slow" else 0.0,
    )


def _people(chance: Draw, seed: int, number: int) -> People:
    deeds: list[Deed] = ["approve", "approve", "approve", "approve", "reject", "race", "late", "nothing"]
    chance.shuffle(deeds)
    kind = (seed + number) % 4
    return People(
        deeds=tuple(deeds),
        delay_s=round(chance.choice((0.0, 0.2, 1.0)), 2),
        is_doubled=kind in {1, 3},
        strangers=kind in {2, 3},
    )


def _policy(chance: Draw, acts: Sequence[Act], *, watched: bool) -> dict[str, Any]:
    """Draw what policy says; ``{act}`` stands for what every act fills in for itself."""
    changes: dict[str, Any] = {"actions": {}}
    if chance.random() < 0.6:
        changes["actions"]["delete-idle"] = {"mode": "auto"}
    if chance.random() < 0.6:
        changes["actions"]["grant-roles"] = {"mode": "auto"}
        names = ["id-credit", "id-churn", *(f"id-ep-{number}" for number in range(6))]
        group = "resourceGroups/rg-ml-prod/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        listed = [f"/subscriptions/{act.subscription}/{group}/{name}" for act in acts for name in names]
        changes["grants"] = {"identities": listed, "repository_reader": chance.random() < 0.5}
    if chance.random() < 0.3:
        for action in ("retry", "sync-keys", "grant-roles", "delete-idle"):
            changes["actions"].setdefault(action, {})["budget_per_hour"] = chance.randint(1, 3)
    if chance.random() < 0.3:
        changes["approval_window"] = "PT3M"  # 1.8 s as the campaign scales time
    if watched:
        changes["subscriptions"] = [act.subscription for act in acts]
    if any(act.world.get("blobs") for act in acts):
        changes["desired_specs"] = {"containers": ["{blobs}/desired"], "trusted": ["{blobs}/desired"]}
    return changes
