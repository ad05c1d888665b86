"""The activities of a storm: call the roll, group what was judged, ask once for all, ramp, and end what was not begun.

What a member does is its own walk (`activities`): its guards, intents, budgets and desks are those of any incident.
Nothing here sends anything to Azure. The trail alone says how far a storm has come: each may run twice, also at once.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from functions import activities
from functions.events import muster_of, order_of
from remediations import codec, desk, storms
from remediations.actions import ACTIONS
from remediations.approval import rules
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import Decision, End, Evidence, Incident, Json, ResourceId, Verdict
from remediations.services import Services, services
from remediations.situation import Situation
from remediations.storms import Group, Groups, Judged, Part, Roll
from remediations.trail import Asked, Ended, Opened, Question

log = structlog.get_logger()

type Order = dict[str, Any]

_CHUNK = 8  # judged at once: each is a sub-orchestration of some steps
_MOST_LOOKS = 10  # at the members, until it is calm
_LARGEST_WAVE = 32
_ENDS = {Verdict.REFUSE.value: End.REFUSED, Verdict.DRY_RUN.value: End.DRY_RUN}


def muster(order: Order) -> Order:
    """Take the next step of judging a storm's members: wait until it is calm, call the roll, give the next walks to
    judge, or put together what was judged and give what is to start."""
    own = services()
    key, number, at = order["storm"], order["roll"], order["at"]
    roll = own.trail.storms.roll(key, number)
    if roll is None:
        left = unjudged(own, key)
        looks = order.get("looks", 0)
        if left and len(left) != order.get("seen") and looks < _MOST_LOOKS:
            wait_s = own.policy.storm.calm.total_seconds() / order["scale"]
            return _step({**order, "seen": len(left), "looks": looks + 1}, wait_s=wait_s)
        roll = _called(own, key, number, left)
        if roll is None:
            return _step(order, over=True)
        log.info("storm.mustered", storm=key, roll=number, judged=len(roll.entries), failures=len(roll.everybody))
    following = {name: order[name] for name in ("walk", "storm", "scale")}
    if at >= len(roll.entries):
        return _step({**following, "roll": number + 1, "at": 0}, start=_starts(own, _grouped(own, key, number, roll)))
    if own.trail.storms.groups(key, number) is not None:  # an earlier muster's; what it could not start, the sweep does
        return _step({**following, "roll": number + 1, "at": 0})
    walks = [_to_judge(own, entry) for entry in roll.entries[at : at + _CHUNK]]
    return _step({**order, "at": at + _CHUNK}, judge=[walk for walk in walks if walk is not None])


def assemble(step: Order) -> Order:
    """Give a storm's incident what its members were judged to: how it goes on."""
    own, incident = services(), codec.load(Incident, step["incident"])
    group = own.trail.storms.of(incident)
    first = group.members[0]
    evidence = own.evidence.find(Evidence, first.evidence)
    if evidence is not None:
        diagnosis = classify(evidence, CAUSES, evidence_digest=first.evidence)
        own.journal.diagnosed(replace(diagnosis, incident=incident))
    own.journal.gathered(incident.id, group)
    log.info("storm.assembled", incident_id=incident.id, cause=group.cause, members=len(group.members))
    judged = {**step, "cause": group.cause, "action": group.action, "verdict": group.verdict, "wait_s": 0.0}
    if group.verdict in {Verdict.RUN, Verdict.ASK}:
        plan = storms.plan_digest(part.plan or "" for part in group.members)
        return {**judged, "plan": plan, "decision": first.decision, "size": 1, "at": 0}
    end = _ENDS.get(group.verdict) or End(group.verdict)
    words = f"{incident.label}: {first.words}"
    return {**judged, "end": end, "words": words}


def ask_members(step: Order) -> Order:
    """Put one question about the plans of all members to people: by the strictest of what holds for each."""
    own, incident = services(), codec.load(Incident, step["incident"])
    members = own.trail.storms.of(incident).members
    now, window = own.clock(), own.policy.approval_window / step["scale"]
    decisions = [own.evidence.get(Decision, part.decision or "") for part in members]
    seen = [own.evidence.get(Situation, decision.situation) for decision in decisions]
    callers = [rules.callers_of(own.evidence.get(Evidence, part.evidence)) for part in members]
    plans = [decision.plan for decision in decisions]
    each = list(zip(plans, seen, callers, strict=True))
    question = Question(
        at=now,
        incident_id=incident.id,
        plan=step["plan"],
        decision=step["decision"],
        policy_version=own.policy.version,
        expires_at=min(
            now + window, *(plan.diagnosis.incident.began_at + one.permission.ceiling for plan, one, _ in each)
        ),
        quorum=max(rules.quorum_of(plan.risk, one.quorum, by) for plan, one, by in each),
        approvers=tuple({codec.digest_of(they): they for one in seen for they in one.approvers}.values()),
        callers=tuple(sorted({caller for by in callers for caller in by})),
        touches=ACTIONS[plans[0].action].touches(plans[0], seen[0]),
        members=tuple(
            Asked(incident=part.incident, plan=part.plan or "", decision=part.decision or "") for part in members
        ),
    )
    return activities.put(own, step, question)


def wave(step: Order) -> Order:
    """Give the members' walks that run next, twice as many as before; none once one of the last ones was in vain."""
    own, incident = services(), codec.load(Incident, step["incident"])
    members, at = own.trail.storms.of(incident).members, step["at"]
    ends = [_end_of(own, part) for part in members]
    if any(map(storms.halts, ends[:at])):
        return {**step, "orders": []}
    size = min(step["size"], _LARGEST_WAVE)
    left = [number for number in range(at, len(members)) if ends[number] is None][:size]
    if at == 0 and any(end is not None and storms.halts(end) for end in ends):
        left = []  # it was stopped before the hub was lost
    orders: list[Json] = [_walk(own, members[number], incident.id) for number in left]
    log.info("storm.ramped", incident_id=incident.id, begins=len(left), after=at)
    return {**step, "orders": orders, "at": left[-1] + 1 if left else at, "size": 2 * size}


def disband(step: Order) -> Order:
    """End the members that were not begun as their storm ends, and give its own end."""
    own, incident = services(), codec.load(Incident, step["incident"])
    group = own.trail.storms.of(incident)
    was_run = step["verdict"] == "over"
    ends: list[tuple[Part, End | None, bool]] = []
    for number, part in enumerate(group.members):
        end = _end_of(own, part)
        is_begun = was_run and (number < step["at"] or end is not None or _has_sent(own, part))
        if end is None and not is_begun:
            words = "not begun: another of the same storm was in vain" if was_run else part.words or step["words"]
            kept = End.REFUSED if was_run else End(step["end"])
            _end(own, group, part, kept, words)
            end = kept
        ends.append((part, end, is_begun))
    if not was_run:
        return step
    end = storms.end_of([end for _, end, is_begun in ends if is_begun])
    words = storms.words_of([(part.label, end, is_begun) for part, end, is_begun in ends])
    return {**step, "verdict": "end", "end": end, "words": f"{incident.label}: {words}"}


# ------------------------------------------------------------------------------------------- for the sweep


def unjudged(own: Services, key: str) -> list[str]:
    """Give the members that stand in no roll yet."""
    before = frozenset[str]().union(*(roll.everybody for roll in own.trail.storms.rolls(key)))
    return sorted(own.trail.storms.listed(key) - before)


def is_unfinished(own: Services, key: str) -> bool:
    """Tell whether a storm has members that wait to be judged: in no roll, or in one that came to nothing yet.

    A hub that is lost right after the roll was called leaves members who stand in it and were never opened: nothing
    else would find them.
    """
    called = enumerate(own.trail.storms.rolls(key), 1)
    return bool(unjudged(own, key)) or any(own.trail.storms.groups(key, number) is None for number, _ in called)


def to_restart(own: Services, opened: Opened) -> tuple[str, Order] | None:
    """Give what has to run for an incident without an end: its muster, its storm's walk or its own.

    None for a member that was not begun when its storm ended: it ends here. A storm of which a step failed has
    stopped, and what it left would be sent at once if each went on alone.
    """
    incident = opened.incident
    member = own.trail.storms.member(incident.id)
    groups = None if member is None else own.trail.storms.groups_of(incident.id)
    if member is not None and groups is None:
        return muster_of(member.storm, own)
    group = None if groups is None else groups.over(incident.id)
    if group is not None:
        storm = group.incident
        if own.trail.ended(storm.id) is None:
            claimed = own.trail.opened(storm.id)
            return storm.id, order_of(storm, own, nonce=None if claimed is None else claimed.nonce)
        part = next(part for part in group.members if part.incident == incident.id)
        if not _has_sent(own, part):
            _end(own, group, part, End.INCONCLUSIVE, f"not begun: storm {storm.id} ended before")
            return None
    return incident.id, _again(own, opened)


# ------------------------------------------------------------------------------------------- the parts


def _step(
    following: Order,
    *,
    judge: Sequence[Order] = (),
    start: Sequence[Order] = (),
    wait_s: float = 0.0,
    over: bool = False,
) -> Order:
    return {"next": following, "judge": [*judge], "start": [*start], "wait_s": wait_s, "over": over}


def _called(own: Services, key: str, number: int, ids: Sequence[str]) -> Roll | None:
    """Call the roll of some members; None if there are none."""
    members = (own.trail.storms.member(one) for one in ids)
    roll = storms.roll_of((one for one in members if one is not None and one.storm == key), own.clock())
    return own.trail.storms.call(key, number, roll) if roll.entries else None


def _to_judge(own: Services, entry: storms.Entry) -> Order | None:
    """Give the walk that judges the newest failure of a resource, with which older ones end; None if it has ended."""
    member = own.trail.storms.member(entry.incident)
    if member is None or own.trail.ended(entry.incident) is not None:
        return None
    opened = own.trail.opened(entry.incident)
    for older in entry.stands_for:
        claimed = own.trail.opened(older)
        if claimed is not None and own.trail.ended(older) is None:  # it was folded
            _superseded(own, claimed.incident, entry.incident)
    nonce = uuid.uuid4().hex if opened is None else opened.nonce
    stands_for: Json = [*entry.stands_for]
    return {**order_of(member.incident, own, nonce=nonce), "until": "judged", "stands_for": stands_for}


def _superseded(own: Services, incident: Incident, by: str) -> None:
    newer = f"a newer failure of the same resource: {by}"
    end, words = own.journal.ended(incident.id, End.SUPERSEDED, newer)
    own.trail.end_incident(Ended(at=own.clock(), end=end, words=words, incident=incident, mode=own.settings.mode))


def _grouped(own: Services, key: str, number: int, roll: Roll) -> Groups:
    kept = own.trail.storms.groups(key, number)
    if kept is not None:
        return kept
    alone: list[str] = []
    judged: list[Judged] = []
    for entry in roll.entries:
        opened = own.trail.opened(entry.incident)
        if opened is None or own.trail.ended(entry.incident) is not None:
            continue  # its walk failed, and the sweep starts it alone; or it is over
        found = _judged(own, opened.incident)
        if found is None:
            alone.append(entry.incident)
        else:
            judged.append(found)
    groups = storms.grouped(judged, key, number, own.clock())
    return own.trail.storms.group(key, number, replace(groups, alone=(*groups.alone, *alone)))


def _judged(own: Services, incident: Incident) -> Judged | None:
    """Give what an incident was judged to, by its own records; None if it was not."""
    last = {record.stage: record.facts for record in own.trail.records(incident.id, ("diagnosis", "plan"))}
    deciding = [
        record.facts
        for record in own.trail.records(incident.id, ("decision",))
        if record.facts.get("when") == "deciding"
    ]
    diagnosed, planned = last.get("diagnosis"), last.get("plan")
    if diagnosed is None or planned is None:
        return None
    action = diagnosed.get("action")
    common = {
        "incident": incident,
        "cause": str(diagnosed["cause"]),
        "action": None if action is None else str(action),
        "evidence": str(diagnosed["evidence"]),
    }
    if "none" in planned:
        return Judged(**common, verdict=str(planned["none"]), words=str(planned["words"]))  # type: ignore[arg-type]
    facts = next((one for one in reversed(deciding) if one.get("plan") == planned["plan"]), None)
    if facts is None:
        return None
    decision = own.evidence.get(Decision, str(facts["decision"]))
    words = str(activities.end_of(decision).get("words", ""))
    return Judged(
        **common,  # type: ignore[arg-type]
        verdict=str(decision.verdict),
        plan=decision.plan.digest,
        decision=str(facts["decision"]),
        words=words,
    )


def _starts(own: Services, groups: Groups) -> list[Order]:
    """Give what is to start, and at whose desk: the storms' walks, and those that go on alone."""
    starts: list[Order] = [
        {"desk": desk.key_of(group.incident.id), "order": order_of(group.incident, own)}
        for group in groups.storms
        if own.trail.opened(group.incident.id) is None
    ]
    for one in groups.alone:
        opened = own.trail.opened(one)
        if opened is not None and own.trail.ended(one) is None:
            incident = opened.incident
            order = order_of(incident, own, nonce=opened.nonce)
            starts.append({"desk": desk.key_of(incident.resource.key), "order": order})
    return [{**start, "now": own.clock().isoformat()} for start in starts]


def _walk(own: Services, part: Part, storm: str) -> dict[str, Json]:
    opened = own.trail.opened(part.incident)
    if opened is None:  # nothing claims it
        msg = f"member {part.incident} of storm {storm} was judged and is not open"
        raise ValueError(msg)
    return {**_again(own, opened), "storm": storm}


def _again(own: Services, opened: Opened) -> dict[str, Json]:
    """Give the order of a walk that goes on under its own nonce, at its next try."""
    incident, tries = activities.resumed(own, opened.incident)
    return {**order_of(incident, own, nonce=opened.nonce), "try": tries + 1}


def _end_of(own: Services, part: Part) -> End | None:
    ended = own.trail.ended(part.incident)
    return None if ended is None else ended.end


def _has_sent(own: Services, part: Part) -> bool:
    """Tell whether a member was begun before the hub was lost: its own walk goes on with that."""
    resource = ResourceId.parse(part.resource)
    return any(effect.incident_id == part.incident for effect, _ in own.trail.effects_on(resource.key))


def _end(own: Services, group: Group, part: Part, end: End, words: str) -> None:
    opened = own.trail.opened(part.incident)
    if opened is None:
        return
    end, words = own.journal.ended(part.incident, end, words)
    own.trail.end_incident(
        Ended(
            at=own.clock(),
            end=end,
            words=words,
            incident=opened.incident,
            cause_id=group.cause,
            action=group.action,
            mode=own.settings.mode,
        )
    )
