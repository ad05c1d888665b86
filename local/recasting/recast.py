"""Recast: an incident on record -> the scenario that rehearses it, and what could not be rebuilt.

Pure. Names stay as they were, but for the subscription, which each rehearsal has anew; times become ages.
"""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from local.arm.models import World
from local.arm.resources import WorldError
from local.recasting.others import meanwhile
from local.recasting.record import NotRecorded, Recorded
from local.recasting.world import DESIRED, rebuild
from local.rehearsal import Answer, Effect, Expected, Scenario, Send, Step, WaitFor, call_of, filled, label_of, name_of
from remediations import codec
from remediations.catalogue import CAUSES
from remediations.model import Absent, End, Found, Mode, Operation, ResourceId
from remediations.policy import ActionPolicy, Policy

type Plain = dict[str, Any]

_ALWAYS = "2099-01-01T00:00:00Z"
_SHORT_WINDOW = "PT3M"
_GUARD = re.compile(r"(?P<guard>[a-z]+(?:-[a-z]+)+): ")
_TRIED = {"subscription": "00000000-0000-4000-8000-000000000000", "blobs": "http://127.0.0.1:1/blobs"}
_ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
_BY_PEOPLE = frozenset({End.REJECTED, End.EXPIRED, End.SUPERSEDED})  # their words name people, and repeat theirs
EARLIER = {  # what a guard rests on that is not part of the incident
    "attempts-left": "earlier repairs of the same resource",
    "cooled-down": "earlier repairs of the same resource",
    "not-synced-in-vain": "an earlier sync of the same workspace",
    "no-open-intent": "another incident's write of which nobody knew what came",
    "budget-left": "repairs of other incidents in the same hour",
    "desk-is-ours": "another incident that was being worked on",
    "in-time": "how old the failure was",
    "inside-window": "the time of day, which maintenance windows ask for",
    "not-frozen": "a freeze that held then",
}


class Recast(Struct, frozen=True):
    """A scenario, and what it does not bring back."""

    scenario: Scenario
    notes: tuple[str, ...]


def recast(recorded: Recorded, shipped: Policy) -> Recast:
    """Give the scenario of an incident; raises NotRecorded if its world cannot be built."""
    notes: list[str] = []
    world = rebuild(recorded, notes)
    has_spec = "blobs" in world
    happens = [*world.get("happens", ()), *(_short(one, recorded) for one in meanwhile(recorded, notes))]
    if happens:
        world["happens"] = happens
    notes += [
        f"what made a step of ours unneeded: {one.facts.get('words')}"
        for one in recorded.records
        if one.stage == "unneeded"
    ]
    own = recorded.incident.resource.subscription
    scenario = Scenario(
        name=_name(recorded),
        story=_anonymous(_story(recorded), own),
        mode="dry-run" if recorded.records and recorded.records[0].mode is Mode.DRY_RUN else "auto",
        policy=_anonymous(_policy(recorded, shipped, notes, has_spec=has_spec), own),
        world=_anonymous(world, own),
        steps=_anonymous_steps(tuple(_steps(recorded, has_spec=has_spec)), own),
        expect=_expected(recorded, notes, is_alone=len(happens) <= 1),
    )
    try:
        World.from_dict({**filled(scenario.world, _TRIED), "subscription": _TRIED["subscription"]})
    except WorldError as error:
        raise NotRecorded(f"{recorded.incident.id} cannot be rebuilt as a world of the simulator: {error}") from error
    notes.append("other failures of the same time, and earlier repairs: a scenario holds one incident")
    notes.append("how long everything took: waits are a hundred times as short in a rehearsal")
    return Recast(scenario, tuple(_anonymous(list(dict.fromkeys(notes)), own)))


def _name(recorded: Recorded) -> str:
    end = recorded.ended.end.value.replace("-", " ")
    return f"{label_of(recorded.incident)}: {recorded.last_cause}, {end}"


def _story(recorded: Recorded) -> str:
    what = next((cause.what for cause in CAUSES if cause.id == recorded.last_cause), "")
    ended = recorded.ended
    how = f"It ended {ended.end}." if ended.end in _BY_PEOPLE else f"It ended so: {ended.words}"
    return " ".join(part for part in (what, how) if part)


# ------------------------------------------------------------------------------------------------- policy


def _policy(recorded: Recorded, shipped: Policy, notes: list[str], *, has_spec: bool) -> Plain:
    """Give where the policy, as far as the decision shows it, was not the shipped one."""
    policy: Plain = {}
    situation = recorded.situation
    action = next((str(one.facts["action"]) for one in recorded.records if one.stage == "decision"), None)
    if situation is None and action is not None:
        notes.append("what policy said is kept no more: the shipped policy is taken")
    if situation is not None and action is not None:
        held, usual = situation.permission, shipped.permission(action, recorded.incident.resource, situation.tags)
        names = [name for name in ActionPolicy.__struct_fields__ if name != "approvers"]
        held = replace(held, mode=_mode(recorded, held.mode))
        changed = {name: getattr(held, name) for name in names if getattr(held, name) != getattr(usual, name)}
        if changed:
            policy["actions"] = {action: codec.dump(changed)}
        identities = {access.identity.path.lower() for access in _access(recorded)}
        grants: Plain = {}
        if listed := [path for path in situation.grants.identities if path.lower() in identities]:
            grants["identities"] = listed
        if situation.grants.repository_reader and not shipped.grants.repository_reader:
            grants["repository_reader"] = True
        if grants:
            policy["grants"] = grants
        if situation.idle != shipped.idle:
            policy["idle"] = codec.dump(situation.idle)
        if situation.protected != shipped.protected:
            policy["protected"] = dict(situation.protected)
        if situation.pauses:
            policy["pauses"] = [{**codec.dump(pause), "until": _ALWAYS} for pause in situation.pauses]
            notes.append("until when the pause held: here it holds for ever")
    if has_spec:
        place = f"{{blobs}}/{DESIRED}"
        plans = [one.facts for one in recorded.records if one.stage == "plan"]
        is_trusted = not any("does not trust" in str(one.get("needs_person")) for one in plans)
        policy["desired_specs"] = {"containers": [place]} | ({"trusted": [place]} if is_trusted else {})
    if recorded.ended.end is End.EXPIRED:
        policy["approval_window"] = _SHORT_WINDOW
        notes.append("how long the question was open: here it is soon over")
    return policy


def _mode(recorded: Recorded, permitted: Mode) -> Mode:
    """Give the mode that held, if not because of ``MEDIC_MODE=dry-run`` or of the plan itself: both hold again."""
    facts = [one.facts for one in recorded.records]
    held = next((Mode(str(one["held_mode"])) for one in facts if "held_mode" in one), permitted)
    is_dry = recorded.situation is not None and recorded.situation.ceiling is Mode.DRY_RUN
    needs_person = any(one.get("needs_person") for one in facts)
    return permitted if is_dry or needs_person or held.rank > permitted.rank else held


def _access(recorded: Recorded) -> tuple[Any, ...]:
    reading = recorded.evidence.surroundings.access
    return reading.value if isinstance(reading, Found) else ()


# -------------------------------------------------------------------------------------------------- steps


def _steps(recorded: Recorded, *, has_spec: bool) -> Iterator[Step]:
    resource, incident = recorded.incident.resource, recorded.incident
    is_put = incident.is_scoring or incident.operation is Operation.DELETE or resource.deployment is not None
    if has_spec:
        yield WaitFor(events=1)
        yield Send(event=_event(recorded, {"desiredSpecUri": f"{{blobs}}/{DESIRED}/{resource.deployment}.json"}))
    elif not is_put:
        yield Send(event=_event(recorded, {}))
    events = 0 if has_spec or not is_put else 1
    questions = sum(one.stage == "question" for one in recorded.records)
    for number in range(questions):
        approved = recorded.answers[number] if number < len(recorded.answers) else None
        yield WaitFor(question=True, events=events if number == 0 else 0)
        if approved is not None:
            yield Answer(decision="approve" if approved else "reject")
        elif recorded.votes:
            yield Answer(decision="approve", people=recorded.votes)


def _event(recorded: Recorded, more: Plain) -> Plain:
    """Give the event that CI would send of the failure."""
    path = recorded.incident.resource.path
    kind = "onlineEndpoints/deployments" if recorded.incident.resource.deployment else "onlineEndpoints"
    data = {
        "resourceUri": path,
        "operationName": f"Microsoft.MachineLearningServices/workspaces/{kind}/{recorded.incident.operation}",
        "status": "Failed",
    }
    return {
        "specversion": "1.0",
        "id": f"rehearsal-of-{recorded.incident.id}",
        "source": "https://ci.example/runs/1",
        "type": "com.example.mlops.OnlineDeploymentFailed",
        "subject": path,
        "data": data | more,
    }


# ------------------------------------------------------------------------------------------------- the end


def _expected(recorded: Recorded, notes: list[str], *, is_alone: bool) -> Expected:
    label, ended = label_of(recorded.incident), recorded.ended
    cause = recorded.last_cause
    effects = tuple(Effect(action=one.action, call=call_of(one.method, one.path)) for one in recorded.accepted)
    if ended.end is End.SUPERSEDED:
        notes.append("the newer failure that ended it: here the question stays open")
        return Expected(effects=effects, questions=1, cause=cause)
    guard = _GUARD.match(ended.words) if ended.end is End.REFUSED else None
    if guard is not None and guard["guard"] in EARLIER:
        notes.append(f"{EARLIER[guard['guard']]}, for which it was refused: here it goes on, and ends otherwise")
    return Expected(
        ends={label: ended.end},
        effects=effects,
        states=dict(_states(recorded, is_alone=is_alone)),
        says=(guard.group(),) if guard is not None else (),
        cause=cause,
    )


def _states(recorded: Recorded, *, is_alone: bool) -> Iterator[tuple[str, str]]:
    """Give the states that are known of the end: nobody may have written since."""
    resource = recorded.incident.resource
    looks = [recorded.evidence.resource, *(seen.resource for seen in recorded.seen)]
    last = [one for one in looks if isinstance(one, Found | Absent)][-1:]
    for reading in last if resource.deployment is not None else ():
        state = reading.value.provisioning_state if isinstance(reading, Found) else "gone"
        if recorded.ended.end is End.REPAIRED:
            state = "gone" if recorded.incident.operation is Operation.DELETE else "Succeeded"
        if (is_alone or recorded.ended.end is End.REPAIRED) and state in {*_ENDED, "gone"}:
            yield name_of(resource), state
    for one in recorded.accepted:
        if one.method == "DELETE" and not one.is_rerun:
            yield name_of(ResourceId.parse(one.path)), "gone"


# ------------------------------------------------------------------------------------------------ the names


def _short(happening: Plain, recorded: Recorded) -> Plain:
    """Give a happening as the world's other parts name things: identities by name, scopes by what they are."""
    short = dict(happening)
    place = recorded.evidence.surroundings.workspace
    if isinstance(place, Found) and "scope" in short:
        named = {place.value.registry: "registry", place.value.storage: "storage"}
        short["scope"] = named.get(short["scope"], short["scope"])
    group = f"{recorded.incident.resource.resource_group_path}/providers/".lower()
    if str(short.get("principal", "")).lower().startswith(group):
        short["principal"] = short["principal"].rpartition("/")[2]
    return short


def _anonymous(value: Any, subscription: str) -> Any:
    """Give some data with ``{subscription}`` wherever the id of the incident's own stands."""
    if isinstance(value, dict):
        return {_anonymous(name, subscription): _anonymous(item, subscription) for name, item in value.items()}
    if isinstance(value, list):
        return [_anonymous(item, subscription) for item in value]
    if isinstance(value, str):
        return re.sub(re.escape(subscription), "{subscription}", value, flags=re.IGNORECASE)
    return value


def _anonymous_steps(steps: tuple[Step, ...], subscription: str) -> tuple[Step, ...]:
    return tuple(Send(event=_anonymous(step.event, subscription)) if isinstance(step, Send) else step for step in steps)
