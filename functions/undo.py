"""Route: which calls of an incident can be undone, and somebody's wish that one be.

GET and HEAD show, judged live, and change nothing, however often they are asked. A POST asks: only a person who could
approve the undo may, and then somebody else has to. It begins an incident of its own, which walks like a repair: what
is shown here is judged again there, and once more right before the call.
"""

import uuid
from datetime import datetime

import azure.durable_functions as df
import azure.functions as func
import grpc  # type: ignore[import-untyped]
import structlog
from msgspec import Struct
from msgspec.structs import replace

from functions import activities, forms, incidents, pages, signin
from functions.activities import Foreseen
from functions.events import order_of, schedule
from functions.forms import Fields, Refused
from functions.limits import Limit
from functions.logs import in_thread
from functions.recent import Recent
from remediations import codec, undoing
from remediations.actions import undo_delete, undo_grant
from remediations.approval import rules, token
from remediations.errors import MedicError
from remediations.literal import literal
from remediations.model import (
    Absent,
    Caller,
    Evidence,
    Found,
    GuardAnswer,
    Incident,
    Json,
    Mode,
    NoPlan,
    Person,
    Risk,
    Touch,
    Unknown,
    Verdict,
)
from remediations.policy import Approvers
from remediations.services import Services, services
from remediations.situation import known_tags
from remediations.trail import Refusal
from remediations.undoing import Sent

log = structlog.get_logger()

_JUDGED_FOR_S = 10.0
_JUDGED_MOST = 100
_LOOKS, _ASKS, _FOREIGN, _STRANGERS = Limit(120), Limit(20), Limit(10), Limit(10)
_NO_INCIDENT = ("There is no such incident", "The trail of this app has no incident of that id.")
_NEEDS_ROLE = f"The app role {signin.READER} or {signin.APPROVER} is needed to see incidents."
_TOO_OFTEN = "That was too often. Try again in a minute."
_NOT_NOW = "The trail cannot be read, or a setting cannot be used. The app's log says which. Try again later."


class Offer(Struct, frozen=True, kw_only=True):
    """One call of an incident, and what undoing it would be by what was read now.

    Attributes:
        sent: The call, and whether it can be undone at all.
        effect, calls: What would be done; nothing where `words` say why there is no plan.
        verdict: What would be decided: ``ask``, ``refuse`` or ``dry-run``.
        refusals: What guards would refuse it now.
        environment_names: Environment variables whose values a person has to supply afterwards.
        commands: What a person types: for those, or in place of the undo.
        undo: How the undo itself would be undone.
        may_ask: Why this person may not ask for it; None if they may.
        why_not_now: Why nobody can ask for it as things stand; None if one can, and then `comes_to` what that leads to.
        approvers: Who may approve it by policy, in words, and `quorum` how many of them have to.
    """

    sent: Sent
    read_at: datetime | None = None
    effect: str | None = None
    calls: tuple[str, ...] = ()
    words: str = ""
    verdict: str | None = None
    mode_words: str = ""
    refusals: tuple[GuardAnswer, ...] = ()
    touches: tuple[Touch, ...] = ()
    environment_names: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    undo: str | None = None
    may_ask: str | None = None
    why_not_now: str | None = None
    comes_to: str = ""
    approvers: str = ""
    quorum: int | None = None


class Begun(Struct, frozen=True, kw_only=True):
    """The undo that a request began, or found under way; with no nonce there is nothing to schedule."""

    incident: Incident
    words: str
    nonce: str | None = None


async def undo(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Show what can be undone, or take somebody's wish."""
    try:
        own = await in_thread(services)
        if req.method != "POST":
            return await in_thread(_show, own, req)
        reply, begun = await in_thread(_take, own, req)
    except MedicError as error:
        log.error("undo.failed", error=str(error))  # noqa: TRY400 - the text says where
        return pages.plain(req, 503, "This cannot be done now", _NOT_NOW)
    if begun is not None and begun.nonce is not None:
        try:
            await schedule(client, begun.incident.id, order_of(begun.incident, own, nonce=begun.nonce))
        except grpc.RpcError as error:  # it is claimed on the trail, and the sweep starts it
            log.warning("undo.unscheduled", incident_id=begun.incident.id, why=type(error).__name__)
    return reply


# ------------------------------------------------------------------------------------------------ to show


def _show(own: Services, req: func.HttpRequest) -> func.HttpResponse:
    person = signin.person(req, own.settings)
    if not _LOOKS.permits("" if person is None else person.oid):
        return pages.plain(req, 429, _TOO_OFTEN)
    if person is None:
        return pages.plain(req, 401, "You are not signed in", "Sign in, then open this page again.")
    if not signin.may_read(person, own.policy):
        return pages.plain(req, 403, "You may not see this", _NEEDS_ROLE)
    told = incidents.find(own, req.route_params.get("id", ""))
    if told is None:
        return pages.plain(req, 404, *_NO_INCIDENT)
    return _page(own, req, 200, told, person)


def _page(
    own: Services,
    req: func.HttpRequest,
    status: int,
    told: incidents.Told,
    person: Person,
    *,
    error: str | None = None,
    typed: Fields | None = None,
) -> func.HttpResponse:
    offers = tuple(_offer(own, one, person) for one in _sent(own, told))
    incident, active = told.opened.incident, own.settings.approval_active_kid
    keys = own.settings.approval_keys
    value = "" if active is None else token.form_value(person, _purpose(incident.id), keys, active)
    if pages.wants_json(req):
        plain = {
            "incident": incident.id,
            "resource": incident.resource.path,
            "mode": own.settings.mode,
            "person": person.oid,
            "calls": [_offer_json(offer) for offer in offers],
            "antiforgery": value,
        }
        return pages.json(req, status, plain if error is None else {**plain, "error": error})
    values = {
        "incident": incident,
        "person": person,
        "offers": offers,
        "antiforgery": value,
        "error": error,
        "typed_call": "" if typed is None else str(typed.plain.get("call", "")),
        "comment": "" if typed is None else typed.text("comment"),
        "mode": own.settings.mode,
        "most": forms.LONGEST_COMMENT,
    }
    return pages.html(req, status, pages.render("undo.html", **values))


class Unreadable(MedicError):
    """What an undo rests on cannot be read: it was changed, or written by another version."""


def _sent(own: Services, told: incidents.Told) -> tuple[Sent, ...]:
    """Give the calls of an incident; raises Unreadable."""
    original = told.opened.incident
    try:
        return undoing.sent(
            own.trail,
            original,
            told.records,
            own.evidence.reading,
        )
    except ValueError as error:
        raise Unreadable(f"a record about {original.id} or its undo cannot be read: {error}") from error


def _offer(own: Services, sent: Sent, person: Person) -> Offer:
    """Give what undoing a call would be, judged now."""
    if sent.state != "can":
        return Offer(sent=sent)
    judged = _judged(own, sent)
    evidence, plan, decision = judged.evidence, judged.plan, judged.decision
    prospect = _prospect(own, sent, judged, person)
    offer = Offer(
        sent=sent,
        read_at=judged.at,
        commands=_commands(evidence),
        may_ask=_why_not_asker(own, sent, evidence, person),
        why_not_now=prospect.why_not,
        comes_to=prospect.comes_to,
        approvers=prospect.approvers,
        quorum=prospect.quorum,
    )
    if isinstance(plan, NoPlan) or decision is None:
        return replace(offer, words=plan.words if isinstance(plan, NoPlan) else "")
    undone = evidence.undone
    receipt = undone.receipt if undone is not None else Unknown()
    return replace(
        offer,
        effect=plan.effect,
        calls=tuple(str(call) for call in plan.calls),
        verdict=str(decision.verdict),
        mode_words=decision.mode_words,
        refusals=decision.refusals,
        touches=judged.touches,
        environment_names=receipt.value.environment_names if isinstance(receipt, Found) else (),
        undo=plan.undo,
    )


class _Prospect(Struct, frozen=True, kw_only=True):
    """What asking for an undo leads to as things stand, or why nobody can; the rest as for an `Offer`."""

    approvers: str
    quorum: int
    comes_to: str = ""
    why_not: str | None = None


def _prospect(own: Services, sent: Sent, judged: Foreseen, person: Person) -> _Prospect:
    """Give what asking for an undo leads to. Nobody is to wait for an approval that would come to nothing."""
    plan, decision = judged.plan, judged.decision
    resource = judged.evidence.incident.resource
    permission = own.policy.permission(sent.undo_action or "", resource, known_tags(judged.evidence))
    quorum = rules.quorum_of(Risk.REVERSIBLE, (permission.quorum,), (person.oid,))
    found = _Prospect(approvers=_approvers_words(permission.approvers), quorum=quorum)
    if own.settings.mode is Mode.OFF:
        return replace(found, why_not="MEDIC_MODE is off: Endpoint Medic does nothing, and asks nobody")
    if permission.mode is Mode.OFF:
        return replace(found, why_not=f"policy says off for {sent.undo_action} there")
    if isinstance(plan, NoPlan) or decision is None:
        words = plan.words if isinstance(plan, NoPlan) else "nothing is planned"
        is_grant = judged.evidence.undone is not None and isinstance(judged.evidence.undone.grant, Found)
        if is_grant and isinstance(plan, NoPlan) and plan.end == "advised":
            return replace(found, comes_to="it ends as advice, with the command for a person")
        return replace(found, why_not=f"nothing would be done: {words}")
    match decision.verdict:
        case Verdict.ASK:
            needed = f"{quorum} approval{' is' if quorum == 1 else 's are'} needed, by {found.approvers}"
            return replace(found, comes_to=f"somebody else has to approve it: {needed}")
        case Verdict.DRY_RUN:
            return replace(found, comes_to="it ends as a dry run, and changes nothing")
        case _:
            refusals = "; ".join(f"{one.guard}: {one.words}" for one in decision.refusals)
            return replace(found, why_not=f"it would be refused: {refusals or decision.mode_words}")


def _approvers_words(approvers: Approvers) -> str:
    """Give who may approve by policy."""
    named = [f"whoever has the app role {approvers.role}"] if approvers.role else []
    named += [
        f"{kind} {', '.join(ids)}" for kind, ids in (("user", approvers.users), ("group", approvers.groups)) if ids
    ]
    return " or ".join(named) or "nobody, by policy"


_recent = Recent[Foreseen](_JUDGED_MOST)


def _judged(own: Services, sent: Sent) -> Foreseen:
    """Give what would be planned and decided now; a page that is asked for often reads once."""
    incident = undoing.incident_of(sent, by=Caller(), comment="", at=own.clock())
    key = f"{own.settings.store} {own.policy.version} {sent.undo}"
    return _recent.get(key, lambda: activities.foresee(own, incident), within_s=_JUDGED_FOR_S)


def _commands(evidence: Evidence) -> tuple[str, ...]:
    """Give what a person types: for the environment variables that are missing, or to remove a role by hand."""
    undone = evidence.undone
    if undone is None:
        return ()
    if isinstance(undone.grant, Found):
        shown = undone.assignment
        is_another = isinstance(shown, Found) and undo_grant.why_another(undone.grant.value, shown.value) is not None
        if isinstance(shown, Absent) or is_another:
            return ()  # what somebody changed is to be looked at first: the words of the advice say so
        return (undo_grant.by_hand(undone.grant.value),)
    if isinstance(undone.receipt, Found):
        return undo_delete.commands(evidence.incident.resource, undone.receipt.value.environment_names)
    return ()


def _why_not_asker(own: Services, sent: Sent, evidence: Evidence, person: Person) -> str | None:
    """Give why somebody may not ask for an undo: only a person who could approve it may."""
    if own.settings.approval_active_kid is None:
        return "the app has no key for forms: set MEDIC_APPROVAL_KEYS"
    if person.is_app:
        return "an application asks for nothing: sign in as a person"
    unread = [reading.reason for reading in (evidence.resource, evidence.endpoint) if isinstance(reading, Unknown)]
    if unread:
        return f"who may approve it cannot be told, since its tags cannot be read now: {unread[0]}"
    return undoing.why_not_approver(own.policy, sent, person, known_tags(evidence))


def _offer_json(offer: Offer) -> dict[str, Json]:
    sent = offer.sent
    own_fields = ("read_at", "effect", "calls", "words", "verdict", "mode_words", "refusals", "touches")
    more = ("environment_names", "commands", "undo", "may_ask", "why_not_now", "comes_to", "approvers", "quorum")
    return {
        **{name: codec.dump(getattr(sent, name)) for name in ("number", "call", "action", "at", "state")},
        "why_not": sent.words,
        "undo_action": sent.undo_action,
        "undo_incident": sent.undo if sent.state in {"under-way", "undone"} else None,
        "resource": None if sent.resource is None else sent.resource.path,
        **{name: codec.dump(getattr(offer, name)) for name in (*own_fields, *more)},
    }


# ------------------------------------------------------------------------------------------------- to ask


def _take(own: Services, req: func.HttpRequest) -> tuple[func.HttpResponse, Begun | None]:
    """Take somebody's wish; gives the undo that it began, if any. Whatever is refused is on the trail."""
    person = signin.person(req, own.settings)
    if person is None:
        if not _STRANGERS.permits(""):
            return pages.plain(req, 429, _TOO_OFTEN), None
        _refuse(own, None, "an undo was asked for, and nobody is signed in", None)
        return pages.plain(req, 401, "You are not signed in", "Sign in, then open this page again."), None
    # Another site's page uses up nobody's wishes.
    limit = _FOREIGN if forms.is_foreign(own.settings, req) else _ASKS
    if not limit.permits(person.oid):
        return pages.plain(req, 429, _TOO_OFTEN), None
    told = _told(own, req, person)
    if isinstance(told, func.HttpResponse):
        return told, None
    fields: Fields | None = None
    try:
        fields = forms.read(req)
        forms.check_origin(own.settings, req, is_json=fields.is_json)
        begun = _ask(own, told, person, fields)
    except Refused as refused:
        _refuse(own, told, refused.words, person)
        if pages.wants_json(req):
            return pages.json(req, refused.status, {"error": refused.words}), None
        return _page(own, req, refused.status, told, person, error=refused.words, typed=fields), None
    place = f"/api/incidents/{begun.incident.id}"
    if fields.is_json:
        body = {"incident": begun.incident.id, "of": told.opened.incident.id, "words": begun.words, "page": place}
        return pages.json(req, 200, {**body, "is_new": begun.nonce is not None}), begun
    return func.HttpResponse(status_code=303, headers={**pages.HEADERS, "Location": place}), begun


def _told(own: Services, req: func.HttpRequest, person: Person) -> incidents.Told | func.HttpResponse:
    """Give the incident that a wish is about, for who may see it; else the answer to everybody else."""
    if not signin.may_read(person, own.policy):
        _refuse(own, None, "an undo was asked for by somebody who may not see incidents", person)
        return pages.plain(req, 403, "You may not see this", _NEEDS_ROLE)
    told = incidents.find(own, req.route_params.get("id", ""))
    if told is None:
        _refuse(own, None, "an undo was asked for of an incident that there is not", person)
        return pages.plain(req, 404, *_NO_INCIDENT)
    return told


def _ask(own: Services, told: incidents.Told, person: Person, fields: Fields) -> Begun:
    """Claim the incident of an undo, once; raises Refused."""
    original = told.opened.incident
    keys = own.settings.approval_keys
    if not token.is_form_value(fields.text("antiforgery"), person, _purpose(original.id), keys):
        raise Refused(403, "the page was not shown to you, or long ago: open it again and ask there")
    written = fields.text("comment").replace("\r\n", "\n").strip()
    if len(written) > forms.LONGEST_COMMENT:
        raise Refused(400, f"the comment has {len(written)} characters: say it in {forms.LONGEST_COMMENT} at most")
    comment = literal(written, most=forms.LONGEST_COMMENT).strip()
    if not comment:
        raise Refused(400, "say why it is to be undone: whoever approves it reads that")
    number = str(fields.plain.get("call", ""))
    sent = next((one for one in _sent(own, told) if str(one.number) == number), None)
    if sent is None:
        raise Refused(400, f"this incident has no call {literal(number, most=20)!r}: name one by its number")
    if sent.state == "under-way" and sent.undo is not None:
        return _found(own, sent.undo, sent.call)  # whoever sees incidents may see which one it is
    if sent.state != "can":
        raise Refused(409, f"call {sent.number} cannot be undone: {sent.words}")
    judged = _judged(own, sent)
    why = _why_not_asker(own, sent, judged.evidence, person)
    if why is not None:
        raise Refused(403, why)
    prospect = _prospect(own, sent, judged, person)
    if prospect.why_not is not None:
        raise Refused(409, f"the undo of call {sent.number} is not asked for: {prospect.why_not}")
    now = own.clock()
    incident, nonce = undoing.incident_of(sent, by=person.caller, comment=comment, at=now), uuid.uuid4().hex
    if not own.trail.open_incident(incident, nonce, now, mode=own.settings.mode):
        return _found(own, incident.id, sent.call)  # somebody else asked at the same time
    own.journal.undo_asked(incident, sent.call)
    log.info("undo.asked", incident_id=incident.id, of=original.id, call=sent.number)
    words = f"the undo of call {sent.number} is asked for as {incident.id}: {prospect.comes_to}"
    return Begun(incident=incident, words=words, nonce=nonce)


def _found(own: Services, undo: str, call: str) -> Begun:
    """Give the undo that is under way; whoever began it may have died before it was on the original's trail."""
    opened = own.trail.opened(undo)
    if opened is None:
        raise Refused(409, "it was asked for a moment ago, and cannot be read: try again")
    own.journal.undo_asked(opened.incident, call)
    return Begun(incident=opened.incident, words=f"its undo is under way in {undo}")


def _purpose(incident_id: str) -> str:
    """Give what the value of a form is for: no plan has such a digest."""
    return f"undo {incident_id}"


def _refuse(own: Services, told: incidents.Told | None, why: str, person: Person | None) -> None:
    """Put a wish that is not taken on the trail."""
    by, nonce = Caller() if person is None else person.caller, uuid.uuid4().hex[:12]
    if told is None:
        own.trail.record_refusal(Refusal(at=own.clock(), why=why, by=by), nonce)
    else:
        own.journal.undo_refused(told.opened.incident.id, why, by, nonce)
    log.warning("undo.refused", incident_id=None if told is None else told.opened.incident.id, why=why)
