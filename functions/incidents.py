"""Routes to read: the overview, the list of incidents, one incident with its records. Nothing here writes.

Whoever reads is signed in and may read (`signin`); what they see is the trail, its register, and the evidence while it
is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, wraps
from itertools import groupby
from urllib.parse import urlencode, urlsplit

import azure.functions as func
import msgspec
import structlog
from msgspec import Struct

from functions import pages, signin
from functions.pages import figures, timeline
from remediations import codec, guards, telling, undoing
from remediations.actions import ACTIONS
from remediations.approval import rules
from remediations.errors import MedicError, NotFound
from remediations.model import AuditRecord, End, Evidence, Found, Json, Mode, Person, ResourceId, Unknown
from remediations.policy import ActionPolicy, Pause, Policy
from remediations.register import Case, State
from remediations.services import Services, services
from remediations.situation import Situation
from remediations.trail import Ended, Opened, Question, Result, asked_about

log = structlog.get_logger()

type Route = Callable[[func.HttpRequest], func.HttpResponse]
type Body = Callable[[Services, func.HttpRequest, Person], func.HttpResponse]

_DAYS = 30
_MOST_DAYS = 93
_ROWS = 50
_LATER = timedelta(days=31)  # a question may be open for 30 days: an incident of before `until` ends inside this
_EVIDENCE_KEPT = timedelta(days=90)
_READERS = 8
_MOST_SUBSCRIPTIONS = 20
_MOST_SHOWN = 50
_YEAR = 31_536_000
_NEEDS_ROLE = f"The app role {signin.READER} or {signin.APPROVER} is needed to see incidents."


def _route(body: Body) -> Route:
    """Give a route of a body: it looks who is signed in, and turns what goes wrong into a page."""

    @wraps(body)
    def route(req: func.HttpRequest) -> func.HttpResponse:
        try:
            own = services()
            person = signin.person(req, own.settings)
            if person is None:
                return pages.plain(
                    req, 401, "You are not signed in", "Sign in to see incidents, then open this page again."
                )
            if not signin.may_read(person, own.policy):
                return pages.plain(req, 403, "You may not see this", _NEEDS_ROLE)
            return body(own, req, person)
        except MedicError as error:
            log.error("page.failed", error=str(error))  # noqa: TRY400 - the text says where
            words = "The trail cannot be read, or a setting cannot be used. The app's log says which. Try again later."
            return pages.plain(req, 503, "This cannot be shown now", words)

    return route


# ---------------------------------------------------------------------------------------------- overview


class Held(Struct, frozen=True, kw_only=True):
    """What holds for one action in one subscription.

    Attributes:
        limits: Repairs an hour that policy permits there: the smallest and the largest over what was seen there.
        is_open: Whether the breaker holds it: the last repairs did not help, so a person is asked.
    """

    subscription: str
    action: str
    mode: Mode
    limits: tuple[int, int]
    used: int
    failures: int
    results: int
    is_open: bool


class Stop(Struct, frozen=True, kw_only=True):
    """A pause or a freeze that holds."""

    kind: str
    scope: str
    until: datetime
    reason: str


def _overview(own: Services, req: func.HttpRequest, person: Person) -> func.HttpResponse:  # noqa: ARG001 - a body's form
    now, policy = own.clock(), own.policy
    days = figures.days_until(now, _DAYS)
    with pages.ready("overview.html"):
        listing = own.trail.register.listing(datetime.combine(days[0], time(), UTC), now)
    cases = listing.cases
    single = tuple(case for case in cases if not case.storm)  # whose members are counted
    waiting = sorted((case for case in cases if case.state is State.WAITING), key=_expiry)
    running = [case for case in cases if case.state is State.RUNNING]
    with ThreadPoolExecutor(_READERS, "overview") as readers:
        pauses = readers.submit(own.trail.pauses, now)
        held = _held(own, policy, cases, now, readers)
        stops = _stops(policy, pauses.result(), now)
    if pages.wants_json(req):
        plain = {
            "at": now,
            "mode": own.settings.mode,
            "policy": policy.version,
            "waiting": [_case_json(case) for case in waiting],
            "running": [_case_json(case) for case in running],
            "stops": stops,
            "held": held,
            "unreadable": listing.unreadable,
        }
        return pages.json(req, 200, plain)
    values = {
        "now": now,
        "mode": own.settings.mode,
        "policy_version": policy.version,
        "waiting": waiting[:_MOST_SHOWN],
        "waiting_count": len(waiting),
        "running": running[:_MOST_SHOWN],
        "running_count": len(running),
        "stops": stops,
        "held": [(name, list(actions)) for name, actions in groupby(held, key=_subscription)],
        "broken": [one for one in held if one.is_open],
        "bars": figures.ends(single, days),
        "groups": figures.GROUPS,
        "spans": figures.spans(single, days),
        "unreadable": listing.unreadable,
    }
    return pages.html(req, 200, pages.render("overview.html", **values))


def _subscription(held: Held) -> str:
    return held.subscription


def _expiry(case: Case) -> datetime:
    return case.expires_at or case.opened_at


def _stops(policy: Policy, paused: Iterable[Pause], now: datetime) -> list[Stop]:
    found = [
        Stop(kind="paused", scope=str(pause.scope), until=pause.until, reason=pause.reason)
        for pause in (*policy.pauses, *paused)
        if pause.until > now
    ]
    found += [
        Stop(kind="frozen", scope=str(freeze.scope), until=freeze.end, reason=freeze.reason)
        for freeze in policy.freezes
        if freeze.start <= now < freeze.end
    ]
    return sorted(found, key=lambda stop: stop.until)


def _held(
    own: Services, policy: Policy, cases: Iterable[Case], now: datetime, readers: ThreadPoolExecutor
) -> tuple[Held, ...]:
    """Give budgets and breakers of each action, in the subscriptions that policy watches or that were seen of late."""
    seen: dict[str, dict[str, ResourceId]] = {name.lower(): {} for name in policy.subscriptions}
    for case in cases:
        if now - (case.ended_at or case.opened_at) < timedelta(days=1) or case.state is not State.ENDED:
            subscription = case.path.split("/")[2].lower()
            if subscription in seen or len(seen) < _MOST_SUBSCRIPTIONS:
                resources = seen.setdefault(subscription, {})
                if len(resources) < _MOST_SHOWN:
                    resources[case.path.lower()] = case.resource
    asked = [
        (subscription, action, tuple(found.values())) for subscription, found in seen.items() for action in ACTIONS
    ]
    return tuple(readers.map(lambda one: _held_by(own, policy, *one, now=now), asked))


def _held_by(
    own: Services, policy: Policy, subscription: str, action: str, resources: tuple[ResourceId, ...], *, now: datetime
) -> Held:
    anywhere = ResourceId(subscription=subscription, resource_group="-", workspace="-", endpoint="-")
    permissions = [policy.permission(action, resource, {}) for resource in (resources or (anywhere,))]
    strictest = min(permissions, key=lambda one: one.mode.rank)
    within = max(one.breaker_within for one in permissions)
    results = own.trail.results(subscription, action, now - within, now)
    return Held(
        subscription=subscription,
        action=action,
        mode=strictest.mode,
        limits=(min(one.budget_per_hour for one in permissions), max(one.budget_per_hour for one in permissions)),
        used=own.trail.budget_used(subscription, action, now, ""),
        failures=strictest.breaker_failures,
        results=len(results),
        is_open=any(guards.breaker_is_open(_situation(one, results, now)) for one in permissions),
    )


def _situation(permission: ActionPolicy, results: tuple[Result, ...], now: datetime) -> Situation:
    """Give as much of a situation as the breaker looks at."""
    inside = tuple(result for result in results if result.at >= now - permission.breaker_within)
    return Situation(
        now=now,
        ceiling=Mode.AUTO,
        permission=permission,
        tags={},
        protected={},
        fingerprint={},
        resource=Unknown(),
        results=inside,
    )


# -------------------------------------------------------------------------------------------------- list


class Filters(Struct, frozen=True, kw_only=True):
    """Which incidents are wanted. Empty: all."""

    since: datetime
    until: datetime
    state: str = ""
    end: str = ""
    cause: str = ""
    workspace: str = ""
    mode: str = ""
    page: int = 1

    @property
    def narrows(self) -> bool:
        """Whether anything but the time is asked for."""
        return any((self.state, self.end, self.cause, self.workspace, self.mode))

    def keep(self, case: Case) -> bool:
        return (
            (not self.state or case.state == self.state)
            and (not self.end or case.end == self.end)
            and (not self.cause or (case.cause or "") == self.cause)
            and (not self.mode or case.mode == self.mode)
            and (not self.workspace or _workspace(case).lower() == self.workspace.lower())
        )


class BadFilter(ValueError):
    """A filter that cannot be used; its text says what to write instead."""


def _listed(own: Services, req: func.HttpRequest, person: Person) -> func.HttpResponse:  # noqa: ARG001 - a body's form
    now = own.clock()
    typed = {name: req.params.get(name, "").strip() for name in ("state", "end", "cause", "workspace", "mode")}
    typed |= {name: req.params.get(name, "").strip() for name in ("since", "until", "days", "page")}
    choices = {"states": [*State], "ends": [*End], "modes": [*Mode], "most_days": _MOST_DAYS, "days": _DAYS}
    try:
        wanted = _filters(typed, now)
    except BadFilter as error:
        if pages.wants_json(req):
            return pages.json(req, 400, {"error": str(error)})
        nothing = {"cases": (), "count": 0, "page": 1, "pages": 1, "causes": (), "workspaces": (), "counts": {}}
        values = {**choices, **nothing, "typed": typed, "error": str(error), "links": {}, "unreadable": 0, "span": None}
        return pages.html(req, 400, pages.render("incidents.html", **values))
    with pages.ready("incidents.html"):
        listing = own.trail.register.listing(wanted.since, min(wanted.until + _LATER, now))
    inside = [
        case for case in listing.cases if wanted.since <= case.opened_at < wanted.until or _is_later(case, wanted)
    ]
    found = [case for case in inside if wanted.keep(case)] if wanted.narrows else inside
    last = max(1, -(-len(found) // _ROWS))
    page = min(wanted.page, last)
    rows = found[(page - 1) * _ROWS : page * _ROWS]
    links = {
        name: f"?{urlencode({**{key: text for key, text in typed.items() if text}, 'page': number})}"
        for name, number in (("previous", page - 1), ("next", page + 1))
        if 1 <= number <= last
    }
    counted = Counter(case.state for case in found)
    counts = {state: counted[state] for state in State}
    if pages.wants_json(req):
        plain = {
            "since": wanted.since,
            "until": wanted.until,
            "count": len(found),
            "counts": counts,
            "page": page,
            "pages": last,
            "incidents": [_case_json(case) for case in rows],
            "unreadable": listing.unreadable,
        }
        return pages.json(req, 200, plain)
    values = {
        **choices,
        "cases": rows,
        "count": len(found),
        "counts": counts,
        "page": page,
        "pages": last,
        "causes": sorted({case.cause for case in inside if case.cause}),
        "workspaces": sorted({_workspace(case) for case in inside}),
        "typed": typed,
        "error": "",
        "links": links,
        "unreadable": listing.unreadable,
        "span": (wanted.since, wanted.until),
    }
    return pages.html(req, 200, pages.render("incidents.html", **values))


def _is_later(case: Case, wanted: Filters) -> bool:
    """Tell whether an incident that was opened before the time had something happen to it inside."""
    return case.opened_at < wanted.since and (case.ended_at is None or case.ended_at >= wanted.since)


def _filters(typed: Mapping[str, str], now: datetime) -> Filters:
    """Give the filters that somebody typed; raises BadFilter."""
    for name, known in (("state", State), ("end", End), ("mode", Mode)):
        if typed[name] and typed[name] not in {str(one) for one in known}:
            raise BadFilter(f"There is no {name} {typed[name]!r}. Use one of {', '.join(known)}.")
    if typed["days"] and (typed["since"] or typed["until"]):
        raise BadFilter("Give either the last days, or a first and a last day, not both.")
    days = _number("days", typed["days"] or str(_DAYS), _MOST_DAYS)
    page = _number("page", typed["page"] or "1", 1_000_000)
    last = _day("until", typed["until"]) if typed["until"] else now.astimezone(UTC).date()
    first = _day("since", typed["since"]) if typed["since"] else last - timedelta(days=days - 1)
    if first > last:
        raise BadFilter(f"The first day, {first}, lies behind the last one, {last}.")
    if (last - first).days >= _MOST_DAYS:
        raise BadFilter(
            f"From {first} to {last} are {(last - first).days + 1} days; at most {_MOST_DAYS} are shown at once."
        )
    names = ("state", "end", "cause", "workspace", "mode")
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    since = datetime.combine(first, time(), UTC)
    return Filters(since=since, until=end, page=page, **{name: typed[name] for name in names})


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= most):
        raise BadFilter(f"{name} is to be a whole number from 1 to {most}; it is {text[:40]!r}.")
    return int(text)


def _day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadFilter(f"{name} is to be a day such as 2026-11-22; it is {text[:40]!r}.") from None
    if not 2000 <= day.year <= 9000:
        raise BadFilter(f"{name} is to be a day from the year 2000 on; it is {text[:40]!r}.")
    return day


def _workspace(case: Case) -> str:
    parts = case.path.split("/", 9)
    return parts[8] if len(parts) > 8 else ""


# ------------------------------------------------------------------------------------------ one incident


class Told(Struct, frozen=True, kw_only=True):
    """What the trail tells of one incident. `unreadable` counts records that cannot be read."""

    opened: Opened
    ended: Ended | None
    records: tuple[AuditRecord, ...]
    unreadable: int


def _shown(own: Services, req: func.HttpRequest, person: Person) -> func.HttpResponse:
    told = find(own, req.route_params.get("id", ""))
    if told is None:
        return pages.plain(req, 404, "There is no such incident", "The trail of this app has no incident of that id.")
    incident, ended = told.opened.incident, told.ended
    portal = pages.portal_link(urlsplit(own.settings.arm_url).hostname, incident.resource.path)
    if pages.wants_json(req):
        plain = {
            "incident": incident,
            "resource": incident.resource.path,
            "opened_at": told.opened.at,
            "ended": None if ended is None else {name: getattr(ended, name) for name in _ENDED_FIELDS},
            "records": told.records,
            "unreadable": told.unreadable,
            "portal": portal,
        }
        return pages.json(req, 200, plain)
    question = None if ended is not None else _open_question(own, told.records)
    is_over = own.clock() - told.opened.at > _EVIDENCE_KEPT
    lend = cache(lambda digest: _lent(own, digest, is_over=is_over))
    values = {
        "incident": incident,
        "opened": told.opened,
        "ended": ended,
        "blocks": timeline.blocks(told.records, incident.began_at, lend, lambda plan: _question(own, plan)),
        "unreadable": told.unreadable,
        "portal": portal,
        "question": question,
        "answer_link": None if question is None else _answer_link(own, question, person),
        "members": telling.members(own, incident),
        "storm": own.trail.storms.over(incident.id),
        "undos": _undos(own, told.records),
        "may_undo": ended is not None and _may_undo(own, told, person),
        "mode": own.settings.mode,
    }
    return pages.html(req, 200, pages.render("incident.html", **values), script=ended is None)


_ENDED_FIELDS = ("at", "end", "words", "cause_id", "action", "effects", "mode", "diagnosed_at")


def find(own: Services, incident_id: str) -> Told | None:
    """Give what the trail tells of an incident; None for an id that it does not know."""
    if not (incident_id.startswith("inc-") and incident_id.isascii() and incident_id.replace("-", "").isalnum()):
        return None
    if len(incident_id) > 64:
        return None
    try:
        opened = own.trail.opened(incident_id)
    except ValueError:
        log.error("incident.unreadable", incident_id=incident_id)  # noqa: TRY400 - the claim itself, not a fault of ours
        return None
    if opened is None:
        return None
    records: list[AuditRecord] = []
    unreadable = 0
    for line in own.trail.record_lines(incident_id).splitlines():
        try:
            records.append(codec.decode(AuditRecord, line))
        except ValueError:
            unreadable += 1
    try:
        ended = own.trail.ended(incident_id)
    except ValueError:
        ended, unreadable = None, unreadable + 1
    return Told(opened=opened, ended=ended, records=tuple(records), unreadable=unreadable)


def _lent(own: Services, digest: str, *, is_over: bool) -> Evidence | str:
    """Give the evidence of a digest, or why it cannot be shown."""
    if not (len(digest) == 64 and digest.isalnum() and digest.isascii()):
        return "Its record names no digest."
    try:
        return own.evidence.get(Evidence, digest)
    except NotFound:
        return timeline.EVIDENCE_OVER if is_over else timeline.EVIDENCE_GONE
    except msgspec.DecodeError:
        return "It was written by a version of Endpoint Medic whose evidence this one cannot read."
    except ValueError:
        return "What lies under this digest is not what was read then: it has been changed."


def _question(own: Services, plan: str) -> Question | None:
    try:
        return own.trail.question(plan)
    except ValueError:
        return None


def _open_question(own: Services, records: Iterable[AuditRecord]) -> Question | None:
    """Give the question that waits for a person, by the records of its incident."""
    asked = asked_about(records)
    question = _question(own, asked[-1]) if asked else None
    if question is None or question.expires_at <= own.clock() or own.trail.answered(question.plan) is not None:
        return None
    return question


def _answer_link(own: Services, question: Question, person: Person) -> str | None:
    """Give where somebody may answer a question, for its approvers."""
    from remediations import telling  # noqa: PLC0415 - with the cards and tokens, for pages of open questions alone

    link = telling.link(own, question) if rules.is_approver(person, question) else None
    return None if link is None else urlsplit(link).path


class UndoOf(Struct, frozen=True, kw_only=True):
    """An undo of a call of an incident. `end` is None while it is under way."""

    id: str
    call: str
    end: End | None


def _undos(own: Services, records: Iterable[AuditRecord]) -> tuple[UndoOf, ...]:
    """Give the undos that were asked for, by the records of the incident whose calls they are about."""
    found: list[UndoOf] = []
    for record in records:
        undo, call = record.facts.get("undo"), record.facts.get("call")
        if record.stage == "undo" and isinstance(undo, str) and isinstance(call, str):
            ended = own.trail.ended(undo)
            found.append(UndoOf(id=undo, call=call, end=None if ended is None else ended.end))
    return tuple(found)


def _may_undo(own: Services, told: Told, person: Person) -> bool:
    """Tell whether somebody may ask for an undo of something here, as far as the trail and policy tell."""
    sends = (record.facts.get("action") for record in told.records if record.stage == "intent")
    if person.is_app or not any(action in undoing.ACTION_FOR for action in sends):
        return False  # without a further read: most incidents have nothing to undo
    try:
        sent = undoing.sent(own.trail, told.opened.incident, told.records, lambda _: Found({}))
    except ValueError:
        return False  # what cannot be read is told on the page of the undo
    return any(one.state == "can" and undoing.why_not_approver(own.policy, one, person, {}) is None for one in sent)


def _records(own: Services, req: func.HttpRequest, person: Person) -> func.HttpResponse:  # noqa: ARG001 - a body's form
    told = find(own, req.route_params.get("id", ""))
    if told is None:
        return pages.plain(req, 404, "There is no such incident", "The trail of this app has no incident of that id.")
    incident_id = told.opened.incident.id
    headers = {**pages.HEADERS, "Content-Disposition": f'attachment; filename="{incident_id}.jsonl"'}
    body = b"" if req.method == "HEAD" else own.trail.record_lines(incident_id)
    return func.HttpResponse(body, status_code=200, mimetype="application/x-ndjson", headers=headers)


def asset(req: func.HttpRequest) -> func.HttpResponse:
    """Give the style sheet or the script. Nobody has to be signed in: the page that says so needs it, too."""
    name = req.route_params.get("name", "")
    content = pages.asset(name) if name in pages.ASSETS else None
    if content is None:
        return pages.plain(req, 404, "There is no such file", "The pages need no other files than two.")
    is_current = req.params.get("v") == pages.asset_version(name)
    kept = f"public, max-age={_YEAR}, immutable" if is_current else "no-cache"
    headers = {**pages.HEADERS, "Cache-Control": kept}
    body = b"" if req.method == "HEAD" else content
    return func.HttpResponse(body, status_code=200, mimetype=pages.ASSETS[name], charset="utf-8", headers=headers)


overview = _route(_overview)
listed = _route(_listed)
shown = _route(_shown)
records = _route(_records)


# ---------------------------------------------------------------------------------------------- the parts


def _case_json(case: Case) -> dict[str, Json]:
    plain: dict[str, Json] = codec.dump(case)
    return {**plain, "resource": plain.pop("path")}
