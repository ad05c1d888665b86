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
from local.rehearsal import Answer, KillWorker, Scenario, Undo, load, shipped

SCENARIOS_A_ROUND, CROWDS_A_ROUND, RACES_A_ROUND = 12, 5, 6
KILLS_A_ROUND, STOPS_A_ROUND, STORE_FAULTS_A_ROUND = 12, 4, 8
TROUBLES_A_ROUND = 24
DRY_RUN_EVERY, ASK_EVERY, LOSS_EVERY = 8, 11, 3
IDLE_CROWDS_A_ROUND = 2
FIRST_DRY_RUN, FIRST_ASK = 2, 3
DEPLOYMENT = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

type Draw = random.Random
type Crowd = Callable[[Draw], Act]


def draw(seed: int, number: int) -> Story:
    """Give the story of one round of a campaign."""
    chance = random.Random(f"chaos {seed} {number}")
    acts = _acts(chance, seed, number)
    watched = chance.random() < 0.5
    return Story(
        seed=seed,
        number=number,
        mode=_mode(number),
        policy=_policy(chance, acts, seed, number, watched=watched),
        acts=tuple(_troubled(chance, acts, seed, number, watched=watched)),
        store=tuple(
            store_fault(chance, kind, where)
            for kind, where in _dealt("store", seed, number, STORE_DECK, STORE_FAULTS_A_ROUND)
        ),
        kills=(*_kills(chance, seed, number), *_stops(seed, number)),
        losses=_losses(chance, seed, number),
        people=_people(chance, seed, number),
        twice=chance.choice((0.0, 0.2, 0.2, 1.0)),
        channel_fails=chance.choice((0, 0, 2, 5, None)),
        sweeps_s=tuple(sorted(round(chance.uniform(0.5, 8.0), 2) for _ in range(chance.randint(0, 3)))),
    )


def _mode(number: int) -> Literal["auto", "ask", "dry-run"]:
    if number % DRY_RUN_EVERY == FIRST_DRY_RUN:
        return "dry-run"
    return "ask" if number % ASK_EVERY == FIRST_ASK else "auto"


def _writing(number: int) -> int:
    """Give how many rounds with effects came before: what needs effects is dealt out to these."""
    return sum(_mode(before) != "dry-run" for before in range(number))


def _kills(chance: Draw, seed: int, number: int) -> tuple[Kill, ...]:
    """Deal the points of kills out to the rounds in which there are effects, and to crowds that come by them."""
    usual = [kill for kill in worker_kills() if kill.what not in ONLY_IN]
    if _mode(number) == "dry-run":
        points = chance.sample(usual, KILLS_A_ROUND)
    else:
        points = _dealt("kills", seed, _writing(number), usual, KILLS_A_ROUND)
        for name, only, count in RARELY:
            rare = [kill for kill in worker_kills() if ONLY_IN.get(kill.what) is only]
            points += _dealt_to(f"{name} kills", seed, number, rare, count, fits=_has(seed, only))
    return _timed(chance, points)


def _stops(seed: int, number: int) -> tuple[Kill, ...]:
    """Deal the points at which triggers are killed: in a dry run those of the intake alone, those of undos to undos."""
    usual = [kill for kill in trigger_kills() if kill.what not in UNDOING]
    if _mode(number) == "dry-run":
        points = [kill for kill in usual if kill.what == "create delivery"]
    else:
        points = _dealt("stops", seed, _writing(number), usual, STOPS_A_ROUND)

    def undoes(round_: int) -> bool:
        return any(map(is_undone, _played(seed, round_)))

    rare = [kill for kill in trigger_kills() if kill.what in UNDOING]
    undos = _dealt_to("undo stops", seed, number, rare, 1, fits=undoes)
    return (*_timed(random.Random(f"chaos stops {seed} {number}"), points), *undos)


def _timed(chance: Draw, points: Sequence[Kill]) -> tuple[Kill, ...]:
    return tuple(
        msgspec.structs.replace(kill, nth=1 if kill.what in RARE else chance.choice((1, 1, 1, 2, 4))) for kill in points
    )


def _losses(chance: Draw, seed: int, number: int) -> tuple[HubLoss, ...]:
    """Deal the points at which the hub is lost: those of storms to storms."""
    if number % LOSS_EVERY == 1:
        usual = [what for what in WORK if what not in ONLY_IN]
        dealt = _dealt("losses", seed, number // LOSS_EVERY, usual, 1)
        return tuple(HubLoss(what=what, nth=chance.randint(1, 6)) for what in dealt)
    lost: list[str] = []
    for name, only, _ in RARELY:
        rare = [what for what in WORK if ONLY_IN.get(what) is only]
        if rare and not lost and _mode(number) != "dry-run" and number % LOSS_EVERY == 0:
            lost = _dealt_to(f"{name} losses", seed, number, rare, 1, fits=_has(seed, only))
    return tuple(HubLoss(what=what) for what in lost)


def _dealt_to[T](
    name: str, seed: int, number: int, deck: Sequence[T], count: int, *, fits: Callable[[int], bool]
) -> list[T]:
    """Give the next cards of a deck that is dealt only to rounds with effects that fit."""

    def is_dealt(round_: int) -> bool:
        return _mode(round_) != "dry-run" and fits(round_)

    return _dealt(name, seed, sum(map(is_dealt, range(number))), deck, count) if is_dealt(number) else []


def _has(seed: int, only: Sequence[Crowd]) -> Callable[[int], bool]:
    """Give whether a round has one of some crowds."""
    return lambda round_: any(crowd in only for crowd in _crowds(seed, round_))


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


def _played(seed: int, number: int) -> list[Scenario]:
    """Deal the scenarios out to the rounds."""
    return _dealt("scenarios", seed, number, _scenarios(), SCENARIOS_A_ROUND)


def _crowds(seed: int, number: int) -> list[Crowd]:
    """Deal the crowds out to the rounds with effects; in the others, fewer are enough."""
    if _mode(number) == "dry-run":
        return _dealt("idle crowds", seed, number // DRY_RUN_EVERY, CROWDS, IDLE_CROWDS_A_ROUND)
    return _dealt("crowds", seed, _writing(number), CROWDS, CROWDS_A_ROUND)


def _acts(chance: Draw, seed: int, number: int) -> list[Act]:
    """Give scenarios, acts that policy holds back, races and crowds: troubles look for the last ones by their place."""
    scenarios = _played(seed, number)
    acts: list[Act] = []
    taken: set[str] = set()
    for scenario in scenarios:
        others = _subscriptions(scenario.world)
        if scenario.name in {act.name for act in acts} or others & taken:
            continue  # two worlds of one subscription could not be told apart
        taken |= others
        acts.append(_of_scenario(chance, scenario))
    acts += [_held(chance, crowd) for crowd in _dealt("held", seed, number, HELD_CROWDS, 1)]
    if _mode(number) != "dry-run":
        acts += [race(chance) for race in _dealt("races", seed, _writing(number), RACES, RACES_A_ROUND)]
    return acts + [crowd(chance) for crowd in _crowds(seed, number)]


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
    # Half of the storms are not over with one repair: their ramp has to stop.
    hazards = [{"kind": "higher-priority", "remaining": len(names) * chance.choice((1, 10))}]
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
    world = {**_short_of_cores(names, idle=idle), "quota_refuses": chance.choice(("end", "end", "request"))}
    return _crowd(chance, "a crowd lacks cores", world, _spread(chance, names))


def _short_of_cores(names: Sequence[str], *, idle: int) -> dict[str, Any]:
    """Give a world in which so many idle deployments hold the cores that others need."""
    opted_in = {"tags": {"medic-delete": "allow"}, "properties": {"environmentVariables": None}}
    victims = [{"name": f"old-{n}", "age": 9_640_000, "spec": opted_in} for n in range(idle)]
    used = 8 * (1 + idle)
    fraud = {
        "name": "fraud",
        "traffic": {"live": 100},
        "deployments": [{"name": "live", "age": 8_640_000}, *victims],
    }
    return {
        "workspaces": [_workspace([*({"name": name} for name in names), fraud])],
        "usages": [
            {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": used, "limit": used + 2},
            {"name": "Total Cluster Dedicated Regional vCPUs", "used": used, "limit": 100},
        ],
    }


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
CROWDS: tuple[Crowd, ...] = (
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
CROWD_NAMES = frozenset(crowd(random.Random(0)).name for crowd in CROWDS)
STORMS: tuple[Crowd, ...] = (_storm, _storm_of_roles)
# The crowds in which the worker comes there at all. How many of these points are dealt to one that does: RARELY.
_ASKED, _GRANTING, _SYNCING, _DELETING = (_storm_of_roles,), (_roles, _mixed), (_keys, _mixed), (_quota,)
ONLY_IN: dict[str, tuple[Crowd, ...]] = {
    "orchestration mustering": STORMS,
    "orchestration ramp": STORMS,
    "activity fold": STORMS,
    "activity muster": STORMS,
    "activity assemble": STORMS,
    "activity wave": STORMS,
    "activity disband": STORMS,
    "create member": STORMS,
    "create roll": STORMS,
    "create groups": STORMS,
    "activity ask_members": _ASKED,
    "PUT role-assignment": _GRANTING,
    "POST resync-keys": _SYNCING,
    "DELETE deployment": _DELETING,
}
RARELY: tuple[tuple[str, tuple[Crowd, ...], int], ...] = (
    ("asked", _ASKED, 1),
    ("storm", STORMS, 4),
    ("granting", _GRANTING, 1),
    ("syncing", _SYNCING, 1),
    ("deleting", _DELETING, 1),
)

# --- acts that policy holds back, and races ---


HELD = "is held back"


def _held(chance: Draw, crowd: Crowd) -> Act:
    """Give a small crowd for which a rule of policy says less than the app's mode would permit."""
    act = crowd(chance)
    return msgspec.structs.replace(act, name=f"{act.name}, {HELD}")


def _few(name: str, **world: Any) -> Crowd:
    """Give crowds of two or three failures."""

    def crowd(chance: Draw) -> Act:
        names = _names(chance, 2, 3)
        endpoints = [
            {"name": one, "identities": [f"id-{one}"]} if "role_assignments" in world else {"name": one}
            for one in names
        ]
        return _crowd(chance, name, {"workspaces": [_workspace(endpoints)], **world}, _spread(chance, names))

    return crowd


HELD_CROWDS: tuple[Crowd, ...] = (
    _few("a few are canceled", hazards=[{"kind": "higher-priority", "remaining": 9}]),
    _few("a few have old keys", registries=[{"name": "crmlwdemo", "keys_regenerated": 3600}]),
    _few("a few lack roles", role_assignments=[]),
    _quota,
)

# Right after the last read on which the plan rests: both lists of roles, the metrics of the victim.
_BEFORE_A_GRANT: dict[str, Any] = {"when": "get role-assignments by medic", "nth": 2}
_BEFORE_A_DELETION: dict[str, Any] = {"when": "get deployment-metrics by medic"}
_AFTER_A_GRANT: dict[str, Any] = {"when": "put role-assignment by medic"}
_READS_FAIL = 8  # so often: for some tries, and then no more


def _race(chance: Draw, name: str, kind: str, world: dict[str, Any], happens: Sequence[dict[str, Any]]) -> Act:
    """Give an act of one failure alone, in which something happens between plan and effect."""
    act = _crowd(chance, f"{RACING} {name}", world, [("ep-0", "green", chance.uniform(0.0, 2.0))])
    trouble = Trouble(kind=kind, happens=tuple({"who": "person", **each} for each in happens))
    return msgspec.structs.replace(act, troubles=(trouble,))


RACING = "right before the effect:"


def _race_of_roles(
    name: str, kind: str, *happens: dict[str, Any], held: Sequence[dict[str, Any]] = (), **world: Any
) -> Crowd:
    """A race about a grant. `held`: the roles that the identity has."""

    def race(chance: Draw) -> Act:
        endpoint = {"name": "ep-0", "identities": ["id-ep-0"]}
        plain = {"workspaces": [_workspace([endpoint])], "role_assignments": list(held), **world}
        return _race(chance, name, kind, plain, happens)

    return race


def _race_of_quota(name: str, kind: str, *happens: dict[str, Any], **world: Any) -> Crowd:
    """A race about a deletion: one victim gives what one failed deployment needs."""

    def race(chance: Draw) -> Act:
        plain = {**_short_of_cores(["ep-0"], idle=1), **world}
        return _race(chance, name, kind, plain, happens)

    return race


def _reads_fail(path: str, moment: dict[str, Any]) -> dict[str, Any]:
    fault = {"kind": "malformed", "method": "GET", "principal": "medic", "path": path, "times": _READS_FAIL}
    return {**moment, "do": "break", "fault": fault}


_THE_FAILED_ONE = {"endpoint": "ep-0", "deployment": "green"}
_A_VICTIM = {"endpoint": "fraud", "deployment": "old-0"}
_MAY_PULL = {"principal": "id-ep-0", "role": "AcrPull", "scope": "registry"}
_MAY_READ = {"principal": "id-ep-0", "role": "Storage Blob Data Reader", "scope": "storage"}
_TARGET, _VICTIM = "person changes the target", "person changes a victim"
_ROLES, _IDENTITIES, _READS = "person changes roles", "person changes identities", "reads fail before the effect"
KINDS_OF_RACES = (_TARGET, _VICTIM, _ROLES, _IDENTITIES, _READS)
_LATE: dict[str, Any] = {"activity_log_delay": 20.0}  # the Activity Log tells of it when it is too late
RACES: tuple[Crowd, ...] = (
    _race_of_roles(
        "the failed one is deleted",
        _TARGET,
        {**_BEFORE_A_GRANT, "do": "delete", **_THE_FAILED_ONE},
        held=[_MAY_PULL],
        **_LATE,
    ),
    _race_of_roles(
        "the failed one is deployed anew",
        _TARGET,
        {**_BEFORE_A_GRANT, "do": "put", **_THE_FAILED_ONE, "spec": {"tags": {"fixed": "by-hand"}}},
        **_LATE,
    ),
    _race_of_roles(
        "the role is given above",
        _ROLES,
        {**_BEFORE_A_GRANT, "do": "assign-role", **_MAY_PULL, "scope": "subscription"},
    ),
    _race_of_roles(
        "the second role is given above",
        _ROLES,
        {**_AFTER_A_GRANT, "do": "assign-role", **_MAY_READ, "scope": "subscription"},
    ),
    _race_of_roles(
        "the failed one is deleted after the first grant",
        _TARGET,
        {**_AFTER_A_GRANT, "do": "delete", **_THE_FAILED_ONE},
        **_LATE,
    ),
    _race_of_roles("a role is taken away", _ROLES, {**_AFTER_A_GRANT, "do": "unassign-role", **_MAY_PULL}),
    _race_of_roles(
        "the identity is another",
        _IDENTITIES,
        {**_BEFORE_A_GRANT, "do": "identities", "endpoint": "ep-0", "identities": ["id-other"]},
    ),
    _race_of_roles(
        "the identity is another, whose roles cannot be read",
        _IDENTITIES,
        {**_AFTER_A_GRANT, "do": "identities", "endpoint": "ep-0", "identities": ["id-other"]},
        _reads_fail("*/roleassignments", _AFTER_A_GRANT),
    ),
    _race_of_roles("assignments cannot be read", _READS, _reads_fail("*/roleassignments", _BEFORE_A_GRANT)),
    _race_of_roles("the endpoint cannot be read", _READS, _reads_fail("*/onlineendpoints/ep-0", _BEFORE_A_GRANT)),
    _race_of_quota(
        "the failed one, which lacks cores, is deleted",
        _TARGET,
        {**_BEFORE_A_DELETION, "do": "delete", **_THE_FAILED_ONE},
        **_LATE,
    ),
    _race_of_quota(
        "a victim gets traffic",
        _VICTIM,
        {**_BEFORE_A_DELETION, "do": "traffic", "endpoint": "fraud", "traffic": {"live": 90, "old-0": 10}},
    ),
    _race_of_quota("a victim is deleted", _VICTIM, {**_BEFORE_A_DELETION, "do": "delete", **_A_VICTIM}),
    _race_of_quota("a victim is deployed anew", _VICTIM, {**_BEFORE_A_DELETION, "do": "put", **_A_VICTIM}),
    _race_of_quota(
        "a victim is opted out",
        _VICTIM,
        {**_BEFORE_A_DELETION, "do": "put", **_A_VICTIM, "spec": {"tags": {"medic-delete": "no"}}},
    ),
    _race_of_quota("a victim is asked", _VICTIM, {**_BEFORE_A_DELETION, "do": "request", **_A_VICTIM}),
    _race_of_quota(
        "a victim's metrics cannot be read", _READS, _reads_fail("*/deployments/old-0/*metrics", _BEFORE_A_DELETION)
    ),
    _race_of_quota("a victim cannot be read", _READS, _reads_fail("*/deployments/old-0", _BEFORE_A_DELETION)),
    _race_of_quota("the quota cannot be read", _READS, _reads_fail("*/usages", _BEFORE_A_DELETION)),
)


# --- troubles of a world ---


def _troubled(chance: Draw, acts: Sequence[Act], seed: int, number: int, *, watched: bool) -> list[Act]:
    troubles: list[list[Trouble]] = [[] for _ in acts]
    for kind in _dealt("troubles", seed, number, tuple(TROUBLES), TROUBLES_A_ROUND):
        is_met = kind not in OF_WRITES or _mode(number) != "dry-run"
        if not is_met or (kind == "events lost" and not watched):
            continue  # nothing is written in a dry run; nobody but the sweep could find what is lost
        place = _place(chance, kind, acts)
        if place is None:
            continue
        changes, happens, ahead_s = TROUBLES[kind](chance, acts[place])
        if changes or happens or ahead_s:
            trouble = Trouble(kind=kind, world=changes, happens=tuple(happens), ahead_s=ahead_s)
            troubles[place].append(trouble)
    return [
        msgspec.structs.replace(act, troubles=(*act.troubles, *mine), strays=tuple(_strays(chance)))
        for act, mine in zip(acts, troubles, strict=True)
    ]


def _place(chance: Draw, kind: str, acts: Sequence[Act]) -> int | None:
    """Draw an act in which a trouble can be met; None if there is none.

    What is to be met has to be asked for: in the crowds, which stand last, most failures have a repair. Races and what
    policy holds back are left as they are.
    """
    fits = ONLY_WHERE.get(kind)
    able = [place for place, act in enumerate(acts) if is_plain(act) and (fits is None or fits(act))]
    if kind in ON_REQUESTS and chance.random() < 0.8:
        able = [place for place in able if acts[place].name in CROWD_NAMES] or able
    return chance.choice(able) if able else None


def is_plain(act: Act) -> bool:
    """Tell whether an act is neither a race nor held back by policy, and nothing of it is to be undone."""
    return not act.name.startswith(RACING) and not act.name.endswith(HELD) and not is_undone(act)


def is_undone(act: Act | Scenario) -> bool:
    """Tell whether somebody asks for what was done in an act to be undone."""
    return any(isinstance(step, Undo) for step in act.steps)


def lacks_roles(act: Act) -> bool:
    """Tell whether roles may be granted in an act."""
    return act.world.get("role_assignments") is not None


def has_old_keys(act: Act) -> bool:
    """Tell whether a workspace of an act may hold old keys of its registry."""
    return bool(act.world.get("registries"))


def lacks_cores(act: Act) -> bool:
    """Tell whether something may be deleted in an act for its cores."""
    return bool(act.world.get("usages"))


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
    "*/permissions",
    "*operation*",
    "*",
)
READS_OF_ROLES = ("*/roleassignments*", "*/roleassignments*", "*/registries/*")
READS_OF_KEYS = ("*/registries/*",)
READS_OF_CORES = ("*/usages", "*/metrics", "*/metrics")


def _wire(chance: Draw, act: Act, kind: str, **fields: Any) -> Changes:
    """Spoil some of our reads: those of what an act is about as often as others."""
    own = (*READS_OF_ROLES * lacks_roles(act), *READS_OF_KEYS * has_old_keys(act), *READS_OF_CORES * lacks_cores(act))
    fault = {
        "kind": kind,
        "method": "GET",
        "principal": "medic",
        "path": chance.choice(own if own and chance.random() < 0.5 else READS),
        "after": chance.choice((0, 0, 1, 3)),
        "times": chance.choice((1, 2, 5, 12)),
        **fields,
    }
    return {"faults": [fault]}, (), 0.0


def _write(chance: Draw, act: Act, kind: str, **fields: Any) -> Changes:
    """Spoil some of our writes, of those that there may be."""
    writes = [("PUT", "*/onlineendpoints/*")]
    writes += [("PUT", "*/roleassignments/*")] * lacks_roles(act)
    writes += [("POST", "*/resynckeys")] * has_old_keys(act)
    writes += [("DELETE", "*")] * lacks_cores(act)
    method, path = chance.choice(writes)
    times, after = chance.choice((1, 1, 2)), chance.choice((0, 0, 1))
    return _wire(chance, act, kind, method=method, path=path, times=times, after=after, **fields)


def _either(chance: Draw, act: Act, kind: str, **fields: Any) -> Changes:
    return (_write if chance.random() < 0.5 else _wire)(chance, act, kind, **fields)


def _setting(**changes: Any) -> Changes:
    return changes, (), 0.0


def _events(**changes: Any) -> Changes:
    return {"events": changes}, (), 0.0


def _pages(kind: str, **fields: Any) -> Changes:
    fault = {"kind": kind, "method": "GET", "principal": "medic", "path": "*/eventtypes/*", "times": 2, **fields}
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
    "429 with Retry-After": lambda chance, act: _either(chance, act, "throttle", retry_after=1),
    "429 without Retry-After": lambda chance, act: _either(chance, act, "throttle", retry_after=None),
    "5xx": lambda chance, act: _either(chance, act, "error", status=chance.choice((500, 502, 503, 504))),
    "409 of a write": lambda chance, act: _write(
        chance, act, "error", status=409, code="Conflict", message="It is busy."
    ),
    "403": lambda chance, act: _either(
        chance, act, "error", status=403, code="AuthorizationFailed", message="Not for you."
    ),
    "timeout before the effect": lambda chance, act: _write(chance, act, "silent", seconds=1.4),
    "timeout after the effect": lambda chance, act: _write(chance, act, "delay", seconds=1.4),
    "answer lost": lambda chance, act: _write(chance, act, "lost"),
    "reset": lambda chance, act: _either(chance, act, "reset"),
    "truncated": lambda chance, act: _either(chance, act, "truncated"),
    "malformed": lambda chance, act: _either(chance, act, "malformed"),
    "slow read": lambda chance, act: _wire(chance, act, "delay", seconds=0.7),
    "stale read": lambda chance, act: _wire(chance, act, "stale", path="*/onlineendpoints/*"),
    "empty page": lambda *_: _pages("empty-page"),
    "page fails in the middle": lambda *_: _pages("error", query="*skiptoken*"),
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

OF_WRITES = frozenset(
    {
        "409 of a write",
        "timeout before the effect",
        "timeout after the effect",
        "answer lost",
        "role propagation slow",
        "role propagation partial",
        "repair fails",
    }
)
ONLY_WHERE: dict[str, Callable[[Act], bool]] = {
    "role propagation slow": lacks_roles,
    "role propagation partial": lacks_roles,
    "person changes the target": lambda act: _first(act)[1] is not None,
    "event while its incident runs": lambda act: _first(act)[1] is not None,
}

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
    "recorded",
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
CREATED_BY_TRIGGERS = ("delivery", "joined", "place", "answer", "vote")  # and by no worker
UNDOING = ("create claim", "create index")  # by the trigger that a person asks for an undo
APPENDED = ("audit", "register")  # by both
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
        *(f"create {record}" for record in ("settled", "result", "member", "roll", "groups", "joined")),
        "PUT role-assignment",
        "POST resync-keys",
        "DELETE deployment",
    }
)


def kill_points() -> list[Kill]:
    """Give every kind of point at which something is killed."""
    return [*worker_kills(), *trigger_kills()]


def worker_kills() -> list[Kill]:
    """Give those at which the worker is."""
    work = [Kill(at="work", what=what) for what in WORK]
    records = [("create", record) for record in CREATED] + [("append", record) for record in APPENDED]
    phases: list[Any] = ["before", "inside", "after"]
    stored = [Kill(at="store", what=" ".join(each), phase=phase) for each in records for phase in phases]
    called = [Kill(at="call", what=what, phase=phase) for what in CALLS for phase in (phases[0], phases[2])]
    return [*work, *stored, *called]


def trigger_kills() -> list[Kill]:
    """Give those at which a trigger is: what the intake, answers and undos write. All else they do is start walks."""
    whats = [f"create {record}" for record in (*CREATED_BY_TRIGGERS, "member")]
    whats += [*UNDOING, *(f"append {record}" for record in APPENDED)]
    phases: list[Any] = ["before", "after"]
    return [Kill(at="trigger", what=what, phase=phase) for what in whats for phase in phases]


STORE_DECK: tuple[tuple[str, tuple[str, str]], ...] = (
    *(
        (kind, ("create", record))
        for kind in ("refused", "lost", "echoed")
        for record in (*CREATED, *CREATED_BY_TRIGGERS)
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
    usual: list[Deed] = ["approve", "approve", "approve", "approve", "approve"]
    deeds: list[Deed] = [*usual, "reject", "race", "late", "late", "nothing"]
    chance.shuffle(deeds)
    kind = (seed + number) % 4
    return People(
        deeds=tuple(deeds),
        delay_s=round(chance.choice((0.0, 0.2, 1.0)), 2),
        is_doubled=kind in {1, 3},
        strangers=kind in {2, 3},
    )


def _policy(chance: Draw, acts: Sequence[Act], seed: int, number: int, *, watched: bool) -> dict[str, Any]:
    """Draw what policy says; ``{act}`` stands for what every act fills in for itself."""
    changes: dict[str, Any] = {"actions": {}}
    alone = [act for act in acts if act.name.startswith(RACING) or is_undone(act)]
    if chance.random() < 0.6:
        changes["actions"]["delete-idle"] = {"mode": "auto"}
    listed = alone
    if chance.random() < 0.6:
        changes["actions"]["grant-roles"] = {"mode": "auto"}
        listed = list(acts)
    names = ["id-credit", "id-churn", *(f"id-ep-{number}" for number in range(6))]
    group = "resourceGroups/rg-ml-prod/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    identities = [f"/subscriptions/{act.subscription}/{group}/{name}" for act in listed for name in names]
    changes["grants"] = {"identities": identities, "repository_reader": chance.random() < 0.5}
    if chance.random() < 0.3:
        for action in ("retry", "sync-keys", "grant-roles", "delete-idle"):
            changes["actions"].setdefault(action, {})["budget_per_hour"] = chance.randint(1, 3)
    if chance.random() < 0.6:
        changes["approval_window"] = "PT3M"  # 1.8 s as the campaign scales time
    if watched:
        changes["subscriptions"] = [act.subscription for act in acts]
    if any(act.world.get("blobs") for act in acts):
        changes["desired_specs"] = {"containers": ["{blobs}/desired"], "trusted": ["{blobs}/desired"]}
    if chance.random() < 0.4:
        changes["storm"] = {"from": _storm_from(chance, seed, number), "within": "PT10M", "calm": "PT30S"}
    changes["rules"] = _rules(chance, acts, alone)
    return changes | _closed(chance, acts)


def _storm_from(chance: Draw, seed: int, number: int) -> int:
    """Draw from which failure on a storm is one; where the worker is to be killed in one, there has to be one."""
    return chance.choice((3, 3, 8) if any(crowd in STORMS for crowd in _crowds(seed, number)) else (3, 3, 8, 0))


def _rules(chance: Draw, acts: Sequence[Act], alone: Sequence[Act]) -> list[dict[str, Any]]:
    """Draw modes of single acts: dry run in each round; those of `alone` need no person, where the app's mode permits
    it: races, and what is to be undone afterwards."""
    rules: list[dict[str, Any]] = [{"scope": _scope(act), "mode": "auto"} for act in alone]
    held, plain = [act for act in acts if act.name.endswith(HELD)], [act for act in acts if is_plain(act)]
    scenarios = [act for act in plain if act.name not in CROWD_NAMES]
    rules += [{"scope": _scope(act), "mode": chance.choice(("dry-run", "dry-run", "dry-run", "off"))} for act in held]
    for mode in chance.sample(("dry-run", "ask", "off"), chance.choice((0, 1, 1, 2))):
        action = chance.choice(("*", "retry", "sync-keys", "grant-roles", "delete-idle"))
        scope = _scope(chance.choice(scenarios if action == "*" else plain))
        rules.append({"scope": scope, "actions": [action], "mode": mode})
    if chance.random() < 0.4:
        trips = {"breaker_failures": chance.randint(1, 2), "breaker_within": chance.choice(("PT6H", "PT3M"))}
        rules.append({"scope": _scope(chance.choice(plain)), **trips})
    if chance.random() < 0.2:
        rules.append({"scope": _scope(chance.choice(plain)), "cooldown": "PT3M"})
    return rules


def _scope(act: Act) -> dict[str, str]:
    return {"subscription": act.subscription}


def _closed(chance: Draw, acts: Sequence[Act]) -> dict[str, Any]:
    """Draw a pause, a freeze or a maintenance window that closes one of the scenarios, or a tag that protects."""
    scope = _scope(chance.choice([act for act in acts if is_plain(act) and act.name not in CROWD_NAMES]))
    always, reason = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}, "Nothing may change here."
    closings: tuple[dict[str, Any], ...] = (
        {"pauses": [{"until": always["end"], "reason": reason, "scope": scope}]},
        {"freezes": [{**always, "reason": reason, "scope": scope}]},
        {"windows": [{"start": "03:00:00", "end": "03:00:01", "days": [chance.randint(1, 7)], "scope": scope}]},
        {"windows": [{"start": "00:00:00", "end": "00:00:00", "scope": scope}]},  # it is open all day
        {"protected": {"medic": "off", "fixed": "by-hand"}},
    )
    return chance.choice(closings) if chance.random() < 0.4 else {}
