"""The invariants: each a function from what a round left behind to what breaks it.

They read the simulator's ledger and the trail's bytes, and nothing else: a judge that shared the product's code would
share its mistakes. Times of a world are put on the app's clock by the world's offset.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

from msgspec import Struct

from local.arm.models import Entry
from local.arm.witness import LISTED, Change, Shown
from local.chaos import rules
from local.chaos.book import Book, Noted, Plain, key_of, moment, plan_step
from local.chaos.leaks import leaks
from local.chaos.played import Delivery, Round, Said, Violation, Watched

_DISPOSITIONS = {
    "incident",
    "joined",
    "duplicate",
    "linked",
    "parked",
    "corroborated",
    "ignored",
    "alarm",
    "handshake",
}
_OF_AN_INCIDENT = {"incident", "joined", "duplicate", "linked", "parked", "corroborated"}
_FAILURE = re.compile(r"Microsoft\.Resources\.Resource(Write|Delete|Action)(Failure|Cancel)")
_OURS = {
    "microsoft.machinelearningservices/workspaces/onlineendpoints/write",
    "microsoft.machinelearningservices/workspaces/onlineendpoints/deployments/write",
    "microsoft.machinelearningservices/workspaces/onlineendpoints/deployments/delete",
}
_RESOURCE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
    r"/onlineEndpoints/[^/]+(/deployments/[^/]+)?/?",
    re.IGNORECASE,
)
_NOTHING_DONE = {"busy", "throttled", "unsent", "refused"}
_SENT_ANEW = {"busy", "throttled", "unsent", "not-done", "again"}
_ENDS = {
    "repaired",
    "not-repaired",
    "inconclusive",
    "refused",
    "rejected",
    "expired",
    "superseded",
    "dry-run",
    "advised",
    "nothing-to-do",
}
_ESCALATED = {"not-repaired", "inconclusive"}
_AFTER_THE_END = {"told", "not-told", "linked-event", "undo", "undo-ended", "undo-refused", "intent", "outcome"}
# An activity that was handed out twice may put on the trail what it found when the other's walk is over: no deed.
_AFTER_THE_END |= {"evidence", "diagnosis", "plan", "decision"}
_AFTER_THE_END |= {"answer-refused"}  # whoever answers too late
_FIRST = "0" * 64
_IN_FLIGHT = timedelta(seconds=5)
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"}')
_LINES = 10_000
_DIGESTS = ("evidence", "situation", "decision", "receipt")
_LEAST_SENDS = 2
_DESTROYS = {"delete-idle"}
_NEVER_ALONE = {"undo-delete", "undo-grant"}


class Write(Struct, frozen=True, kw_only=True):
    """One write request of the app, in one world's ledger.

    Attributes:
        name: How it is named where it shows something.
        at: When it came, by the app's clock.
        intent: The one whose request id it carries.
    """

    world: Watched
    entry: Entry
    name: str
    at: datetime
    intent: Noted | None

    @property
    def call(self) -> str:
        return f"{self.entry.method} {self.entry.path}"

    @property
    def incident(self) -> str | None:
        return None if self.intent is None else str(self.intent["incident_id"])

    def breaks(self, invariant: str, words: str, *records: str) -> Violation:
        """Give a violation that this write shows."""
        intent = () if self.intent is None else (self.intent.name,)
        return Violation(
            invariant=invariant, words=words, incident=self.incident, records=(self.name, *intent, *records)
        )


class Scene:
    """A round, with what its store says, as the laws look at it."""

    def __init__(self, played: Round) -> None:
        self.played = played
        self.book = Book(played.store)
        self.worlds = {world.name.lower(): world for world in played.worlds}
        self._versions: dict[str, Mapping[str, list[Change]]] = {}

    @cached_property
    def writes(self) -> tuple[Write, ...]:
        """The app's writes, effective or not; its reading of logs and diagnoses is none."""
        return tuple(
            Write(
                world=world,
                entry=entry,
                name=f"ledger {world.name} {number}",
                at=entry.at - world.offset,
                intent=self.book.by_request.get(entry.client_request_id or ""),
            )
            for world in self.played.worlds
            for number, entry in enumerate(world.ledger)
            if entry.principal == world.medic and not entry.path.lower().endswith(("/getlogs", "/diagnose"))
        )

    @cached_property
    def by_request(self) -> Mapping[str, tuple[Write, ...]]:
        """The writes by their request ids."""
        found: dict[str, list[Write]] = defaultdict(list)
        for write in self.writes:
            found[write.entry.client_request_id or ""].append(write)
        return {request: tuple(writes) for request, writes in found.items()}

    def world_of(self, incident: str) -> Watched | None:
        """Give the world in which an incident's resource is."""
        return self.worlds.get(str(self.book.resource_of(incident).get("subscription")).lower())

    def policy_of(self, incident: str) -> Plain:
        """Give the policy that held for an incident."""
        world = self.world_of(incident)
        return self.played.policy if world is None or world.policy is None else world.policy

    def status_of(self, intent: Noted) -> str | None:
        """Give what came of an intent, by the trail."""
        outcome = self.book.outcomes.get(plan_step(intent))
        return None if outcome is None else str(outcome["status"])

    def took_effect(self, intent: Noted) -> bool:
        """Tell whether a send of an intent changed something, by the ledger."""
        return any(write.entry.took_effect for write in self.by_request.get(str(intent["request_id"]), ()))

    def counts(self, intent: Noted) -> bool:
        """Tell whether an intent is an attempt: not if nothing was done, by the trail and by the ledger."""
        return self.status_of(intent) not in _NOTHING_DONE or self.took_effect(intent)

    @cached_property
    def looks(self) -> Mapping[str, "Looks"]:
        """What each world showed, by its name."""
        return {world.name: Looks(world) for world in self.played.worlds}

    def is_alone(self, incident: str, at: datetime) -> bool:
        """Tell whether no other incident of its workspace was open then: whatever was shown was shown to this one."""
        own = self.book.resource_of(incident)
        places = ("subscription", "resource_group", "workspace")
        for other, opened in self.book.opened.items():
            its = self.book.resource_of(other)
            is_near = all(str(own.get(part)).lower() == str(its.get(part)).lower() for part in places)
            ended = self.book.ended.get(other)
            if (
                other != incident
                and is_near
                and opened.at <= at
                and (ended is None or ended.at >= self.book.opened[incident].at)
            ):
                return False
        return True

    def versions(self, world: Watched) -> Mapping[str, list[Change]]:
        """Give what became of each resource of a world, by key."""
        if world.name not in self._versions:
            found: dict[str, list[Change]] = defaultdict(list)
            for change in world.changes:
                found[change.key].append(change)
            self._versions[world.name] = found
        return self._versions[world.name]

    @cached_property
    def firsts(self) -> Mapping[str, Noted]:
        """The first intent of each plan that counts; of one that never came to anything, its last."""
        found: dict[str, Noted] = {}
        for intent in self.book.intents:
            known = found.get(str(intent["plan"]))
            if known is None or not self.counts(known):
                found[str(intent["plan"])] = intent
        return found


# ------------------------------------------------------------------------------------------- events


def events_accounted(scene: Scene) -> Iterator[Violation]:
    """Every event that was taken is on the trail, with a disposition that holds at the end."""
    name, book = "events-accounted", scene.book
    recorded: dict[str, list[Noted]] = defaultdict(list)
    for intake in book.intakes:
        recorded[str(intake["event_id"])].append(intake)
    sent: dict[str, list[tuple[int, Delivery, Plain]]] = defaultdict(list)
    for number, delivery in enumerate(scene.played.deliveries):
        for event in delivery.body if isinstance(delivery.body, list) else [delivery.body]:
            if isinstance(event, dict):
                sent[_event_id(event)].append((number, delivery, event))
    for event_id, copies in sent.items():
        taken = [number for number, delivery, _ in copies if 200 <= (delivery.answer or 0) < 300]
        if len(taken) > len(recorded[event_id]):
            known = len(recorded[event_id])
            words = f"event {event_id} was taken {len(taken)} times and the trail tells of {known} deliveries"
            yield Violation(invariant=name, words=words, records=tuple(f"delivery {one}" for one in taken))
        if taken and (wrong := _misjudged(scene, copies[0][2], recorded[event_id])) is not None:
            records = tuple(one.name for one in recorded[event_id])
            yield Violation(invariant=name, words=f"event {event_id}: {wrong}", records=records)
    for intake in book.intakes:
        if (wrong := _unfinished(book, intake)) is not None:
            words = f"event {intake['event_id']} ended as {intake['disposition']}, but {wrong}"
            yield Violation(invariant=name, words=words, incident=intake["incident_id"], records=(intake.name,))


def _unfinished(book: Book, intake: Noted) -> str | None:
    """Give why a delivery's disposition does not hold at the end; None if it does."""
    disposition, incident = intake["disposition"], str(intake["incident_id"])
    if disposition not in _DISPOSITIONS:
        return "there is no such disposition"
    if disposition not in _OF_AN_INCIDENT:
        return None if intake["words"] else "nothing says why"
    if (
        incident in book.opened
        or incident in book.stood_for
        or any(str(intake["event_id"]) in joined for joined in book.joined.values())
    ):
        return None
    judged = "it was never judged: " if disposition == "parked" else ""
    return f"{judged}incident {incident} was never opened, and the event joined no other"


def _misjudged(scene: Scene, event: Plain, intakes: list[Noted]) -> str | None:
    """Give why a failure of ours cannot be what all of its deliveries were taken for; None if it can.

    Only events of Resource Manager are looked at: what they are stands in them.
    """
    data = event.get("data")
    kind = str(event.get("type" if "specversion" in event else "eventType"))
    if not isinstance(data, dict) or not _FAILURE.fullmatch(kind) or not intakes:
        return None
    resource = str(data.get("resourceUri") or event.get("subject"))
    subscription = resource.split("/")[2].lower() if resource.count("/") > 2 else ""
    watched = {str(one).lower() for one in scene.played.policy.get("subscriptions") or ()}
    is_ours = str(data.get("operationName")).lower() in _OURS and _RESOURCE.fullmatch(resource)
    if not is_ours or (watched and subscription not in watched):
        return None
    found, world = {str(intake["disposition"]) for intake in intakes}, scene.worlds.get(subscription)
    by_medic = world is not None and _is_by(data.get("claims"), world)
    request = str((data.get("httpRequest") or {}).get("clientRequestId"))
    if by_medic:
        own = request in scene.book.requests or not data.get("httpRequest")
        return "our own write began an incident" if own and found & {"incident", "parked"} else None
    if world is not None and data.get("claims") and request not in scene.book.requests and found == {"linked"}:
        return "the failure of somebody else's write was taken for our own"
    return None if found & (_OF_AN_INCIDENT - {"corroborated"}) else f"a failure was left as {', '.join(sorted(found))}"


def _is_by(claims: object, world: Watched) -> bool:
    medic = world.principals[world.medic]
    values = {str(value).lower() for value in claims.values()} if isinstance(claims, dict) else set()
    return medic.oid.lower() in values or medic.appid.lower() in values


def _event_id(event: Plain) -> str:
    if event.get("schemaId") == "azureMonitorCommonAlertSchema":
        data = event.get("data")
        essentials = data.get("essentials") if isinstance(data, dict) else None
        return str((essentials if isinstance(essentials, dict) else {}).get("alertId") or "")[:200]
    return str(event.get("id") or "")[:200]


# ------------------------------------------------------------------------------------------- writes


def intent_first(scene: Scene) -> Iterator[Violation]:
    """Every write carries the request id of an intent, which lay on the trail and in the audit before it was sent."""
    name = "intent-first"
    audited: dict[str, Noted] = {}
    for _, noted in scene.book.staged.get("intent", ()):
        audited.setdefault(str(noted.facts.get("client_request_id")), noted)
    decided = {str(record.facts.get("plan")) for _, record in scene.book.staged.get("decision", ())}
    for write in scene.writes:
        request, intent = write.entry.client_request_id or "", write.intent
        record = audited.get(request)
        if intent is None:
            yield write.breaks(
                name, f"{write.call} was sent with request id {request or 'none'}, of which no intent tells"
            )
            continue
        if intent.at > write.at:
            late = (intent.at - write.at).total_seconds()
            yield write.breaks(name, f"{write.call} was sent {late:.3f} s before its intent")
        if record is None:
            yield write.breaks(name, f"{write.call} was sent, and no audit record tells of its intent")
        elif record.at > write.at:
            late = (record.at - write.at).total_seconds()
            yield write.breaks(
                name, f"{write.call} was sent {late:.3f} s before the audit record of its intent", record.name
            )
        if str(intent["plan"]) not in decided:
            yield write.breaks(name, f"{write.call} was sent, and no audit record tells of a decision about its plan")
        if _path_of(intent["call"]) != (write.entry.method, write.entry.path.lower().rstrip("/")):
            yield write.breaks(name, f"{write.call} was sent, but its intent is for {intent['call']}")


def one_send(scene: Scene) -> Iterator[Violation]:
    """An intent is sent once at most, and a step anew only when nothing came of the send before."""
    name = "one-send"
    for request, writes in scene.by_request.items():
        if len(writes) > 1 and request:
            others = (write.name for write in writes[1:])
            yield writes[0].breaks(name, f"{writes[0].call} was sent {len(writes)} times for one intent", *others)
    intents = {plan_step(intent): intent for intent in scene.book.intents}
    for step, intent in intents.items():
        base, _, attempt = step.rpartition("/")
        before = intents.get(f"{base}/{int(attempt) - 1}") if attempt.isdigit() and int(attempt) > 1 else None
        if attempt == "1" or not attempt.isdigit():
            continue
        status = None if before is None else scene.status_of(before)
        sent = () if before is None else scene.by_request.get(str(before["request_id"]), ())
        records = (intent.name, *(() if before is None else (before.name,)), *(write.name for write in sent))
        incident = str(intent["incident_id"])
        if status not in _SENT_ANEW:
            words = (
                f"attempt {attempt} of {intent['call']} was begun, though the one before came to {status or 'nothing'}"
            )
            yield Violation(invariant=name, words=words, incident=incident, records=records)
        elif status != "again" and before is not None and scene.took_effect(before):
            words = f"attempt {attempt} of {intent['call']} was begun: the one before took effect, and is {status} here"
            yield Violation(invariant=name, words=words, incident=incident, records=records)


def known_state(scene: Scene) -> Iterator[Violation]:
    """Nothing is deleted or granted but on a state that was just shown whole, and is the one that was planned on."""
    for write in scene.writes:
        method, path = write.entry.method, write.entry.path.lower().rstrip("/")
        is_role = LISTED in path
        if (
            not write.entry.took_effect
            or write.intent is None
            or not (method == "DELETE" or (is_role and method == "PUT"))
        ):
            continue
        seen = scene.looks[write.world.name]
        own = seen.own_change(path, write.entry.client_request_id)
        if own is None:
            continue  # it changed nothing: what was to be granted was there as it is
        for words in _unknown(scene, write, seen, own):
            yield write.breaks("known-state", words)


def _unknown(scene: Scene, write: Write, seen: "Looks", own: Change) -> Iterator[str]:
    """Give what was not known, or known to be otherwise, when something was deleted or granted."""
    path, incident = write.entry.path.lower().rstrip("/"), str(write.incident)
    resource = scene.book.resource_of(incident)
    planned = scene.book.plans.get(str(write.intent["plan"]) if write.intent is not None else "")
    since = (planned.at if planned is not None else write.at) + write.world.offset
    is_alone = scene.is_alone(incident, write.at)
    for key, label in _subjects(write, resource).items():
        last = seen.last(key, before=own.order)
        base = seen.last(key, until=since)
        if last is None or base is None:
            yield f"{write.call}: {label} was never shown whole before it"
        elif own.at - last.at > scene.played.fresh:
            old = (own.at - last.at).total_seconds()
            yield f"{write.call}: {label} was last shown {old:.1f} s before it"
        elif last.order == base.order:
            yield f"{write.call}: {label} was not shown whole again since it was planned"
        elif LISTED in key:
            yield from _grants_known(write, seen, last)
        elif is_alone and (who := seen.changed_between(key, base, last, but=write.world.medic)) is not None:
            yield f"{write.call}: {label} was changed by {who} since it was planned, and that was shown before it"
    if LISTED in path and write.entry.method == "PUT":
        principal = str(_properties(write.entry.body).get("principalId")).lower()
        shown = seen.body(seen.last(key_of({**resource, "deployment": None}), before=own.order))
        if shown is not None and principal not in _principals(shown):
            yield f"{write.call}: the endpoint was last shown without the identity that it is granted to"
    elif path != key_of(resource) and LISTED not in path:
        shown = seen.body(seen.last(path, before=own.order))
        if shown is None:
            yield f"{write.call}: it was last shown as gone"


def _subjects(write: Write, resource: Plain) -> dict[str, str]:
    """Give what has to be known before something is deleted or granted: its key among what is shown, and its name."""
    path = write.entry.path.lower().rstrip("/")
    subjects = {key_of(resource): "the failed resource"}
    if LISTED not in path:
        return {path: _last(path), **subjects}
    scope = path.partition(LISTED)[0]
    if write.entry.method == "PUT":
        subjects[scope + LISTED] = f"the role assignments of {_last(scope)}"
    else:
        subjects[path] = f"the role assignment on {_last(scope)}"
    return {**subjects, key_of({**resource, "deployment": None}): "the endpoint"}


def _grants_known(write: Write, seen: "Looks", last: Shown) -> Iterator[str]:
    """Give what the assignments that were shown said against a grant, or one of them against taking it away."""
    held = seen.assignments(last)
    path = write.entry.path.lower().rstrip("/")
    if write.entry.method == "DELETE":
        if last.number is None or path not in held:
            yield f"{write.call}: it was last shown as gone"
        elif seen.maker(path) != write.world.medic:
            yield f"{write.call}: it was made by {seen.maker(path) or 'nobody known'}, not by us"
        return
    wanted = _properties(write.entry.body)
    scope = path.partition(LISTED)[0]
    for key, body in held.items():
        own = _properties(body)
        is_same = all(
            _last(str(own.get(one))) == _last(str(wanted.get(one))) for one in ("principalId", "roleDefinitionId")
        )
        if (
            is_same
            and f"{scope}/".startswith(f"{key.partition(LISTED)[0]}/")
            and last.is_true
            and not own.get("condition")
        ):
            yield f"{write.call}: the role was shown to be held already, by {_last(key)}"


class Looks:
    """What one world showed to the app, and what changed there, for questions about one moment."""

    def __init__(self, world: Watched) -> None:
        self._medic = world.medic
        self._shown: dict[str, list[Shown]] = defaultdict(list)
        for shown in world.shown:
            if shown.to == world.medic:
                self._shown[shown.key].append(shown)
        self._versions: dict[str, dict[int, Change]] = defaultdict(dict)
        self._roles: list[Change] = []
        self._own: dict[tuple[str, str | None], Change] = {}
        for change in world.changes:
            if LISTED in change.key:
                self._roles.append(change)
            else:
                self._versions[change.key][change.number] = change
            if change.by == world.medic:
                self._own.setdefault((change.key, change.client_request_id), change)

    def own_change(self, key: str, request: str | None) -> Change | None:
        """Give the first change that a request of the app made."""
        return self._own.get((key, request))

    def last(self, key: str, *, before: int | None = None, until: datetime | None = None) -> Shown | None:
        """Give what was last shown of something before a change, or until a time of the world."""
        for shown in reversed(self._shown.get(key, ())):
            if (before is None or shown.order < before) and (until is None or shown.at <= until):
                return shown
        return None

    def body(self, shown: Shown | None) -> Plain | None:
        """Give the body of a version that was shown; None if it was shown that there is none."""
        if shown is None or shown.number is None:
            return None
        change = self._versions[shown.key].get(shown.number)
        return None if change is None else change.body

    def changed_between(self, key: str, base: Shown, last: Shown, *, but: str) -> str | None:
        """Give who else changed something between two versions that were shown; None if nobody did."""
        if base.number == last.number:
            return None
        numbers = [number for number in (base.number, last.number) if number is not None]
        first = min(numbers) + (base.number is not None)
        versions = self._versions.get(key, {})
        end = max(numbers) if len(numbers) == 2 else max(versions, default=first)
        between = (versions[number] for number in range(first, end + 1) if number in versions)
        return next((change.by or "nobody" for change in between if change.by != but), None)

    def assignments(self, shown: Shown) -> dict[str, Plain]:
        """Give the role assignments that there were when a list was shown, by id."""
        held: dict[str, Plain] = {}
        for change in self._roles[: shown.number]:
            if change.body is None:
                held.pop(change.key, None)
            else:
                held[change.key] = change.body
        return held

    def maker(self, key: str) -> str | None:
        """Give who made a role assignment."""
        return next((change.by for change in self._roles if change.key == key and change.body is not None), None)


def raced(scene: Scene) -> tuple[int, float]:
    """Give how many deletions met another state than the last look showed, and the age of the oldest such look.

    ARM has no If-Match here: what changes in the seconds between look and call, nobody can see.
    """
    count, oldest = 0, 0.0
    for write in scene.writes:
        path, seen = write.entry.path.lower().rstrip("/"), scene.looks[write.world.name]
        own = seen.own_change(path, write.entry.client_request_id)
        if own is None or write.entry.method != "DELETE" or LISTED in path:
            continue
        last = seen.last(path, before=own.order)
        if last is not None and last.number is not None and last.number < own.number - 1:
            count, oldest = count + 1, max(oldest, (own.at - last.at).total_seconds())
    return count, oldest


def dry_run(scene: Scene) -> Iterator[Violation]:
    """Where the mode is dry-run or off, for the app or for an action, nothing is written and nothing intended."""
    name, mode = "dry-run", scene.played.mode
    if mode in {"dry-run", "off"}:
        for write in scene.writes:
            yield write.breaks(name, f"{write.call} was sent while MEDIC_MODE was {mode}")
    for intent in scene.book.intents:
        incident, action = str(intent["incident_id"]), str(intent["action"])
        held = rules.mode(scene.policy_of(incident), action, scene.book.resource_of(incident), mode)
        if held in {"dry-run", "off"}:
            words = f"{intent['call']} was intended, and {action} may be {held} at most"
            yield Violation(invariant=name, words=words, incident=incident, records=(intent.name,))


def approved(scene: Scene) -> Iterator[Violation]:
    """Where a person is asked, the answer is yes: of enough who may, in time, about this plan, before it is begun."""
    name, book = "approved", scene.book
    asked = {str(record.facts.get("plan")) for _, record in book.staged.get("decision", ()) if _asks(record)}
    for plan, first in _first_intents(book).items():
        incident, action = str(first["incident_id"]), str(first["action"])
        held = rules.mode(scene.policy_of(incident), action, book.resource_of(incident), scene.played.mode)
        planned = book.plans.get(plan)
        by_plan = planned is not None and planned.facts.get("needs_person") is not None
        if (
            held != "ask"
            and plan not in asked
            and plan not in book.question_of
            and not by_plan
            and action not in _NEVER_ALONE
        ):
            continue
        for words, records in _unapproved(scene, plan, first):
            text = f"plan {plan[:12]} ({action}) was begun: {words}"
            yield Violation(invariant=name, words=text, incident=incident, records=(first.name, *records))
    for said in scene.played.said:
        if said.status < 300 and (wrong := _forgotten(book, said)) is not None:
            words = f"{said.oid} was told that an answer about plan {said.plan[:12]} counts: {wrong}"
            question = book.questions.get(said.plan)
            records = () if question is None else (question.name,)
            yield Violation(invariant=name, words=words, records=records)


def _forgotten(book: Book, said: Said) -> str | None:
    """Give what is wrong on the trail with an answer that its sender was told counts; None if it counts."""
    votes = [vote for vote in book.votes.get(said.plan, ()) if _oid(vote) == said.oid.lower()]
    if not any(vote["approves"] is said.approves for vote in votes):
        return "no vote of theirs says so"
    answer = book.answers.get(said.plan)
    if said.approves or (answer is not None and answer["approved"] is False):
        return None
    return f"it was rejected, and the final answer is {'none' if answer is None else answer['approved']}"


def _asks(record: Noted) -> bool:
    return record.facts.get("when") == "deciding" and record.facts.get("verdict") == "ask"


def _unapproved(scene: Scene, plan: str, first: Noted) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give what is wrong with the approval of a plan whose first intent this is."""
    book, incident = scene.book, str(first["incident_id"])
    question = book.question_of.get(plan)
    if question is None:
        yield "nobody was asked about it", ()
        return
    whole = str(question["plan"])  # of a storm, the digest of all its members' plans
    answer, own = book.answers.get(whole), book.answers.get(plan)  # which are one, but in a storm
    no = next((one for one in (own, answer) if one is not None and one["approved"] is not True), None)
    if answer is None or no is not None:
        said = "nobody has answered" if no is None else f"the answer is {no['approved']}: {no['words']}"
        yield said, (question.name, *(() if no is None else (no.name,)))
        return
    records = (question.name, answer.name)
    expires = moment(question["expires_at"]) or question.at
    about = {(whole, question["incident_id"])}
    about |= {(str(one.get("plan")), one.get("incident")) for one in question["members"] or ()}
    if (plan, incident) not in about or answer["plan"] != whole or (own is not None and own["plan"] != plan):
        yield "question and answer are about another plan or incident", records
    if answer.at > first.at:
        yield f"the answer came {(answer.at - first.at).total_seconds():.3f} s later", records
    if answer.at >= expires:
        yield f"the answer came {(answer.at - expires).total_seconds():.3f} s after the question had expired", records
    votes = book.votes.get(whole, ())
    in_time = [vote for vote in votes if vote.at < expires and vote.at <= answer.at and vote["plan"] == whole]
    if answer.name not in book.proved:
        yield "no audit record names the answer", records
    # Who rejects while the answer is being kept is told that another one came first (`_forgotten`): both were dated
    # before they stood.
    against = [vote for vote in in_time if vote["approves"] is not True and vote.at < answer.at - _IN_FLIGHT]
    if against:
        yield "somebody had rejected it before", (*records, *(vote.name for vote in against))
    callers = {str(one).lower() for one in question["callers"] or ()} | _callers(scene, incident)
    people = {_oid(vote) for vote in in_time if vote["approves"] is True}
    proved = {_oid(vote) for vote in in_time if vote["approves"] is True and vote.name in book.proved}
    able = {one for one in proved if one and one not in callers}
    named = tuple(vote.name for vote in votes)
    if people & callers:
        yield "one who approved had started the operation that failed", (*records, *named)
    allowed = {one.lower() for one in scene.played.approvers}
    if allowed and able - allowed:
        yield f"{', '.join(sorted(able - allowed))} approved and is no approver", (*records, *named)
    able = able & allowed if allowed else able
    needed = _quorum(scene, str(first["action"]), incident, has_callers=bool(question["callers"]))
    needed = max(needed, int(question["quorum"] or 1))
    if len(able) < needed:
        words = f"{len(able)} different people who may approve did so in time, and {needed} were needed"
        yield words, (*records, *named)


def _quorum(scene: Scene, action: str, incident: str, *, has_callers: bool) -> int:
    """Give how many have to approve at least: one more where nobody knows who started the failed operation."""
    usual = 2 if action in _DESTROYS else 1
    said = rules.answers(scene.policy_of(incident), action, scene.book.resource_of(incident), "quorum")
    return min(usual if one is None else int(one) for one in said) + (not has_callers)


def _callers(scene: Scene, incident: str) -> set[str]:
    """Give who started the failed operation by the ledger: the last write of the resource before the failure."""
    world, plain = scene.world_of(incident), scene.book.incident(incident)
    failed_at = moment(plain.get("failed_at"))
    if world is None or failed_at is None or plain.get("undoes"):
        return set()
    key = key_of(scene.book.resource_of(incident))
    last = None
    for entry in world.ledger:
        if entry.path.lower().rstrip("/") == key and entry.took_effect and entry.at <= failed_at:
            last = entry.principal
    if last is None or last == world.medic:
        return set()
    return {world.principals[last].oid.lower(), world.principals[last].appid.lower()}


# ------------------------------------------------------------------------------------------- together


def one_at_a_time(scene: Scene) -> Iterator[Violation]:
    """No deployment is written by two incidents at once: the one is over before the other begins."""
    book = scene.book
    by_target: dict[str, list[Noted]] = defaultdict(list)
    for intent in book.intents:
        path = _path_of(intent["call"])[1]
        if "/deployments/" in path and scene.counts(intent):
            by_target[path].append(intent)
    for path, intents in by_target.items():
        for one, other in pairwise(intents):
            incident, later = str(one["incident_id"]), str(other["incident_id"])
            ended = book.ended.get(incident)
            if incident != later and (ended is None or ended.at > other.at):
                words = f"{later} wrote {_last(path)} while {incident}, which had written it, was not over"
                records = (one.name, other.name, *(() if ended is None else (ended.name,)))
                yield Violation(invariant="one-at-a-time", words=words, incident=later, records=records)


def ramp(scene: Scene) -> Iterator[Violation]:
    """A storm's members are begun one, two, four … at a time, and none once one was in vain."""
    book = scene.book
    first: dict[str, Noted] = {}
    for intent in book.intents:
        if scene.counts(intent):
            first.setdefault(str(intent["incident_id"]), intent)
    for storm, record in book.staged.get("members", ()):
        members = [str(one.get("incident")) for one in record.facts.get("members") or ()]
        for place, member in enumerate(members):
            if (begun := first.get(member)) is None:
                continue
            over = sum(1 for one in members if one in book.ended and book.ended[one].at <= begun.at)
            under_way = 1 + sum(1 for one in members if one in first and one != member and first[one].at < begun.at)
            if under_way > 2 * over + 1:
                words = f"member {place + 1} of storm {storm} was begun as number {under_way}, and {over} were over"
                yield Violation(invariant="ramp", words=words, incident=member, records=(record.name, begun.name))
            # The wave after the first p + 1 members reaches to 2p at most, and past those that were over before.
            skipped = sum(1 for one in members if one in book.ended and one not in first)
            for vain, other in enumerate(members):
                ended = book.ended.get(other)
                if ended is None or other not in first or ended["end"] not in _ESCALATED or ended.at > begun.at:
                    continue
                if place > 2 * vain + skipped:
                    words = f"member {place + 1} of storm {storm} was begun after member {vain + 1} was in vain"
                    records = (record.name, begun.name, ended.name)
                    yield Violation(invariant="ramp", words=words, incident=member, records=records)


def worker_lives(scene: Scene) -> Iterator[Violation]:
    """The worker ends where it is killed, and nowhere else."""
    for code in scene.played.crashes:
        words = f"the worker ended by itself, with exit code {code}"
        yield Violation(invariant="worker-lives", words=words, records=("text worker.log",))


# ------------------------------------------------------------------------------------------- ends


def ends(scene: Scene) -> Iterator[Violation]:
    """Every incident has a known end that is true, or waits for a person or a bounded timer; no effect is forgotten."""
    name, book, now = "ends", scene.book, scene.played.now
    open_questions = [one for plan, one in book.questions.items() if _is_open(book, plan, one, now)]
    asking = {str(one["incident_id"]) for one in open_questions}
    asking |= {str(member.get("incident")) for one in open_questions for member in one["members"] or ()}
    for incident, claim in book.opened.items():
        ended = book.ended.get(incident)
        if ended is not None:
            for words in _end_wrong(scene, incident, ended):
                yield Violation(invariant=name, words=words, incident=incident, records=(ended.name,))
            continue
        due = scene.played.timers.get(incident) or scene.played.timers.get(book.storm_of.get(incident, ""))
        if incident in asking:
            continue
        if due is None:
            words = f"incident {incident} has no end, nobody is asked, and no timer will wake it: it is stuck"
            yield Violation(invariant=name, words=words, incident=incident, records=(claim.name,))
        elif due - now > scene.played.longest:
            words = f"incident {incident} has no end and waits until {due:%Y-%m-%d %H:%M:%S}: its timer has no bound"
            yield Violation(invariant=name, words=words, incident=incident, records=(claim.name,))
    for intent in book.intents:
        incident = str(intent["incident_id"])
        if scene.status_of(intent) is None and incident in book.ended:
            words = (
                f"nobody looked after {intent['call']}: its incident has ended, and what came of it is not on the trail"
            )
            yield Violation(invariant=name, words=words, incident=incident, records=(intent.name,))
        elif scene.status_of(intent) in _NOTHING_DONE and scene.took_effect(intent):
            words = f"{intent['call']} took effect, and is {scene.status_of(intent)} here"
            yield Violation(invariant=name, words=words, incident=incident, records=(intent.name,))


def _is_open(book: Book, plan: str, question: Noted, now: datetime) -> bool:
    expires = moment(question["expires_at"])
    return plan not in book.answers and expires is not None and expires > now


def _end_wrong(scene: Scene, incident: str, ended: Noted) -> Iterator[str]:
    """Give what is wrong with an end."""
    book, end = scene.book, ended["end"]
    if end not in _ENDS:
        yield f"incident {incident} ended as {end}, which is no end"
    records = book.records.get(incident, ())
    told = [(number, record) for number, record in enumerate(records) if record["stage"] == "end"]
    if not told:
        yield f"incident {incident} ended as {end}, and no audit record says so"
        return
    number, record = told[0]
    if record.facts.get("end") != end:
        yield f"incident {incident} ended as {end}, and its audit record says {record.facts.get('end')}"
    if record.facts.get("escalated") is not (record.facts.get("end") in _ESCALATED):
        yield f"the audit record of the end ({end}) says escalated: {record.facts.get('escalated')}"
    more = sorted({str(one["stage"]) for one in records[number + 1 :]} - _AFTER_THE_END)
    if more:
        yield f"incident {incident} went on after its end: {', '.join(more)}"
    late = [intent for intent in book.intents if intent["incident_id"] == incident and intent.at > ended.at]
    if late:
        yield f"incident {incident} sent {late[0]['call']} after its end"
    if end == "repaired" and not _was_repaired(scene, incident, ended):
        yield f"incident {incident} ended as repaired, and its resource was never Succeeded meanwhile"


def _was_repaired(scene: Scene, incident: str, ended: Noted) -> bool:
    """Tell whether the failed resource was Succeeded at any time of its incident; not asked of undos and storms."""
    world, plain = scene.world_of(incident), scene.book.incident(incident)
    if world is None or plain.get("undoes") or plain.get("storm") or plain.get("operation") != "write":
        return True
    since = scene.book.opened[incident].at + world.offset
    key, until = key_of(scene.book.resource_of(incident)), ended.at + world.offset
    states = [change for change in scene.versions(world).get(key, ()) if change.at <= until]
    held = [
        change for change, after in zip(states, [*states, None][1:], strict=True) if after is None or after.at >= since
    ]
    return any(_properties(change.body).get("provisioningState") == "Succeeded" for change in held)


def listed(scene: Scene) -> Iterator[Violation]:
    """The register, by which incidents are listed, knows each one, and how it ended."""
    book = scene.book
    for incident, claim in book.opened.items():
        kinds, ended = book.listed.get(incident, {}), book.ended.get(incident)
        if "opened" not in kinds:
            words = f"incident {incident} is not in the register"
            yield Violation(invariant="listed", words=words, incident=incident, records=(claim.name,))
        said = kinds["ended"]["end"] if "ended" in kinds else None
        if said != (None if ended is None else ended["end"]):
            is_so = "has no end" if ended is None else f"ended as {ended['end']}"
            words = f"incident {incident} {is_so}, and the register says {said or 'that it has none'}"
            records = (claim.name if ended is None else ended.name, *(one.name for one in kinds.values()))
            yield Violation(invariant="listed", words=words, incident=incident, records=records)


# ------------------------------------------------------------------------------------------- the trail


def trail_verifies(scene: Scene) -> Iterator[Violation]:
    """Every record is what its hash says, follows the one before, and names what lies beside it as it lies there."""
    name, book = "trail-verifies", scene.book
    for file in book.torn:
        yield Violation(invariant=name, words=f"{file} is shorter than its writer confirmed", records=(file,))
    for incident, files in book.rolls.items():
        for words, record in _chain_wrong(book, incident, files):
            yield Violation(invariant=name, words=words, incident=incident, records=(record,))
    for digest, content in book.evidence.items():
        if hashlib.sha256(content).hexdigest() != _last(digest):
            words = f"what lies in the evidence under {_last(digest)[:12]} has another digest"
            yield Violation(invariant=name, words=words, records=(f"evidence/{digest}",))
    for words, incident, record in _unaudited(book):
        yield Violation(invariant=name, words=words, incident=incident, records=(record,))
    for file in book.unreadable:
        yield Violation(invariant=name, words=f"{file} is no JSON object", records=(file,))


def _chain_wrong(book: Book, incident: str, files: tuple[tuple[str, bytes], ...]) -> Iterator[tuple[str, str]]:
    """Give what is wrong with the records of an incident, and which shows it."""
    previous, number, keys = _FIRST, 0, set[str]()
    for count, (file, content) in enumerate(files):
        if file != f"audit/{incident}/{count:04d}.jsonl":
            yield f"{file} stands where number {count} should: a file is gone or foreign", file
        lines = content.split(b"\n")
        if lines.pop() != b"":
            yield f"the last line of {file} has no end", file
        if len(lines) > _LINES or (count < len(files) - 1 and len(lines) != _LINES):
            yield f"{file} has {len(lines)} lines, and a file is full at {_LINES}", file
        for line in lines:
            record, tail = f"{file}#{number}", _TAIL.fullmatch(line[-75:])
            digest = hashlib.sha256(line[:-75] + b"}").hexdigest()
            noted = book.line(line)
            if noted is None or tail is None or tail[1].decode() != digest:
                yield f"{record} is not what its hash says", record
                noted = noted or {}
            if noted.get("previous") != previous:
                yield f"{record} does not follow the record before it", record
            if noted.get("seq") != number or noted.get("incident") != incident:
                yield f"{record} says that it is number {noted.get('seq')} of {noted.get('incident')}", record
            if str(noted.get("key")) in keys:
                yield f"{record} is there twice, by its key {noted.get('key')!r}", record
            keys.add(str(noted.get("key")))
            for words in _beside_wrong(book, noted):
                yield f"{record}: {words}", record
            previous, number = digest, number + 1


def _beside_wrong(book: Book, noted: Plain) -> Iterator[str]:
    facts = noted.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    beside = facts.get("beside")
    if isinstance(beside, dict):
        content = book.trail.get(str(beside.get("name")))
        if content is None:
            yield f"{beside.get('name')}, which lay beside it, is gone"
        elif hashlib.sha256(content).hexdigest() != beside.get("sha256"):
            yield f"{beside.get('name')}, which lay beside it, was changed"
    for field in _DIGESTS:
        digest = facts.get(field)
        if isinstance(digest, str) and digest and f"{digest[:2]}/{digest}" not in book.evidence:
            yield f"the {field} that it names ({digest[:12]}) is not in the evidence store"


def _unaudited(book: Book) -> Iterator[tuple[str, str, str]]:
    """Give what lies on the trail and is in no audit record: then nothing proves it."""
    ended = {str(incident) for incident in book.ended}
    things = [(str(one["incident_id"]), one) for one in book.intents]
    things += [(str(one["incident_id"]), one) for one in book.questions.values()]
    things += [(incident, one) for incident, one in book.opened.items()]
    things += [(_incident_of(book, step), one) for step, one in book.outcomes.items()]
    for incident, thing in things:
        if incident in ended and thing.name not in book.proved:
            yield f"{thing.name} is named by no audit record of {incident}: nothing proves it", incident, thing.name


def _incident_of(book: Book, step: str) -> str:
    intent = book.by_step.get(step)
    return "" if intent is None else str(intent["incident_id"])


# ------------------------------------------------------------------------------------------- limits


def budget(scene: Scene) -> Iterator[Violation]:
    """No hour sees more repairs by an action in a subscription than policy permits, by slots and by intents."""
    name, book = "budget", scene.book
    limits, taken = _Limits(scene), defaultdict[tuple[str, str, str], list[Noted]](list)
    for scope, action, hour, number, slot in book.slots:
        taken[scope, action, hour].append(slot)
        limit = limits.of(scope, action)
        if number >= limit:
            words = f"slot {number + 1} of {action} in {hour} was taken, and policy permits {limit}"
            yield Violation(invariant=name, words=words, incident=slot["incident_id"], records=(slot.name,))
    begun: dict[tuple[str, str, str], list[Noted]] = defaultdict(list)
    for intent in scene.firsts.values():
        if not scene.counts(intent):
            continue
        incident = str(intent["incident_id"])
        scope = _short(str(book.resource_of(incident).get("subscription")))
        at = scope, str(intent["action"]), f"{intent.at:%Y%m%dT%H}"
        begun[at].append(intent)
        if not any(slot["plan"] == intent["plan"] for slot in taken.get(at, ())):
            words = (
                f"plan {str(intent['plan'])[:12]} ({intent['action']}) was begun without a slot of its hour's budget"
            )
            yield Violation(invariant=name, words=words, incident=incident, records=(intent.name,))
    for (scope, action, hour), intents in begun.items():
        limit = limits.of(scope, action)
        if len(intents) > limit:
            words = f"{len(intents)} repairs by {action} were begun in {hour}, and policy permits {limit}"
            yield Violation(invariant=name, words=words, records=tuple(intent.name for intent in intents))


class _Limits:
    """What policy permits in a subscription in any hour, for the resource that it permits most."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._incidents: dict[str, list[str]] = defaultdict(list)
        for incident in scene.book.opened:
            self._incidents[_short(str(scene.book.resource_of(incident).get("subscription")))].append(incident)
        self._known: dict[tuple[str, str], int] = {}

    def of(self, scope: str, action: str) -> int:
        """Give the limit; 0 where no incident is known that could draw on it."""
        if (scope, action) not in self._known:
            found = (
                rules.most(self._scene.policy_of(one), action, self._scene.book.resource_of(one), "budget_per_hour")
                for one in self._incidents.get(scope, ())
            )
            self._known[scope, action] = max(found, default=0)
        return self._known[scope, action]


def no_secret(scene: Scene) -> Iterator[Violation]:
    """No planted secret stands anywhere, in whatever dress: trail, evidence, histories, logs, cards, pages."""
    book = scene.book
    texts = {f"trail/{name}": content for name, content in book.trail.items()}
    texts |= {f"evidence/{name}": content for name, content in book.evidence.items()}
    texts |= {f"text {name}": content for name, content in scene.played.texts.items()}
    for leak in leaks(texts, scene.played.secrets):
        words = f"planted secret {leak.secret + 1} stands in {leak.name}, {leak.dress}"
        yield Violation(invariant="no-secret", words=words, records=(leak.name,))


def no_lease(scene: Scene) -> Iterator[Violation]:
    """No desk is held at the end by an incident that is over, or by nobody known."""
    for lease in scene.played.desks:
        if lease.owner is None or lease.until is None or lease.until <= scene.played.now:
            continue
        if lease.owner in scene.book.ended or lease.owner not in scene.book.opened:
            why = "has ended" if lease.owner in scene.book.ended else "was never opened"
            words = f"desk {lease.desk} is held until {lease.until:%H:%M:%S} by {lease.owner}, which {why}"
            yield Violation(invariant="no-lease", words=words, incident=lease.owner, records=(f"desk {lease.desk}",))


def attempts_and_told(scene: Scene) -> Iterator[Violation]:
    """No resource is repaired more often for a cause than policy permits, and every escalated end was told."""
    yield from _too_often(scene)
    name, book = "attempts-and-told", scene.book
    for incident, ended in book.ended.items():
        if ended["end"] not in _ESCALATED:
            continue
        done = {str(one.facts.get("channel")) for one in book.records.get(incident, ()) if _is_told(one, ended["end"])}
        storm = book.records.get(book.storm_of.get(incident, ""), ())  # its members' ends are told of together
        done |= {str(one.facts.get("channel")) for one in storm if _is_told(one, None)}
        for channel in scene.played.channels:
            if channel not in done:
                words = f"incident {incident} ended as {ended['end']}, and {channel} was never told"
                yield Violation(invariant=name, words=words, incident=incident, records=(ended.name,))


def _is_told(record: Noted, end: str | None) -> bool:
    """Tell whether a channel took the message of an end, or never will; without an end, of any."""
    kind = record.facts.get("kind")
    is_of_it = kind not in {"asked", "approved"} if end is None else kind == end
    return is_of_it and (record["stage"] == "told" or record.facts.get("is_tried_again") is False)


def _too_often(scene: Scene) -> Iterator[Violation]:
    name, book = "attempts-and-told", scene.book
    causes = {
        str(record.facts.get("plan")): str(record.facts.get("cause")) for _, record in book.staged.get("decision", ())
    }
    groups: dict[tuple[str, str, str], list[Noted]] = defaultdict(list)
    for plan, intent in scene.firsts.items():
        if scene.counts(intent):
            resource = key_of(book.resource_of(str(intent["incident_id"])))
            groups[resource, causes.get(plan, ""), str(intent["action"])].append(intent)
    for (resource, cause, action), intents in groups.items():
        ordered = sorted(intents, key=lambda intent: intent.at)
        for number, intent in enumerate(ordered):
            incident = str(intent["incident_id"])
            policy, parts = scene.policy_of(incident), book.resource_of(incident)
            limit = rules.most(policy, action, parts, "attempts")
            since = intent.at - rules.shortest(policy, action, parts, "within")
            recent = [other for other in ordered[:number] if other.at > since]
            if len(recent) + 1 > limit:
                words = f"repair {len(recent) + 1} of {_last(resource)} by {action} for {cause}: policy permits {limit}"
                records = tuple(one.name for one in (*recent, intent))
                yield Violation(invariant=name, words=words, incident=incident, records=records)
    sends = Counter((str(one["plan"]), one["step"]) for one in book.intents if scene.counts(one))
    for (plan, step), count in sends.items():
        intent = scene.firsts[plan]
        incident = str(intent["incident_id"])
        limit = rules.most(scene.policy_of(incident), str(intent["action"]), book.resource_of(incident), "attempts")
        if count > max(limit, _LEAST_SENDS):
            words = (
                f"call {step} of plan {plan[:12]} was sent {count} times, and {max(limit, _LEAST_SENDS)} is the most"
            )
            yield Violation(invariant=name, words=words, incident=incident, records=(intent.name,))


# ------------------------------------------------------------------------------------------- the parts


def _first_intents(book: Book) -> dict[str, Noted]:
    """Give the first intent of each plan."""
    found: dict[str, Noted] = {}
    for intent in book.intents:
        found.setdefault(str(intent["plan"]), intent)
    return found


def _path_of(call: object) -> tuple[str, str]:
    method, _, path = str(call).partition(" ")
    return method, path.partition("?")[0].lower().rstrip("/")


def _oid(vote: Noted) -> str:
    by = vote["by"]
    return str(by.get("oid") or "").lower() if isinstance(by, dict) else ""


def _properties(body: object) -> Plain:
    properties = body.get("properties") if isinstance(body, dict) else None
    return properties if isinstance(properties, dict) else {}


def _principals(endpoint: Plain) -> set[str]:
    """Give the object ids of the user-assigned identities in an endpoint's body."""
    identity = endpoint.get("identity")
    users = identity.get("userAssignedIdentities") if isinstance(identity, dict) else None
    return {str(one.get("principalId")).lower() for one in (users or {}).values() if isinstance(one, dict)}


def _short(text: str) -> str:
    """Give how the trail's names hold a text that no name could hold."""
    return hashlib.sha256(text.lower().encode()).hexdigest()[:32]


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1].lower()
