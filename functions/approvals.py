"""Routes: the page of a question, and people's answers to it.

GET and HEAD show and change nothing, however often a scanner or a preview asks. A POST decides, and only for somebody
who is signed in and whom policy lists: the token of a link selects a question, it authorizes nobody. Whoever is no
approver of a question gets one and the same answer, whatever the link is worth.
"""

import uuid
from datetime import datetime
from typing import Any
from urllib.parse import quote

import azure.durable_functions as df
import azure.functions as func
import grpc  # type: ignore[import-untyped]
import structlog
from msgspec import Struct

from functions import activities, forms, pages, signin
from functions.events import ring
from functions.forms import Refused
from functions.limits import Limit
from functions.logs import in_thread
from functions.recent import Recent
from remediations import codec, planning, storms, telling
from remediations.approval import rules, token
from remediations.approval.notice import Kind, Notice
from remediations.approval.token import Token
from remediations.approval.view import Change, View
from remediations.literal import literal
from remediations.model import Absent, Caller, Found, Incident, Json, Person, Plan, ResourceId, reading_words
from remediations.services import Services, services
from remediations.situation import Situation
from remediations.trail import Answered, Question, Refusal, Vote

log = structlog.get_logger()

_LIVE_FOR_S = 10.0
_LIVE_MOST = 100
_LOOKS, _ANSWERS, _FOREIGN, _STRANGERS = Limit(300), Limit(20), Limit(10), Limit(10)
UNREADABLE = "what would be done cannot be read any more: nobody is to approve it"
_NO_QUESTION = "No open question for you has this link."
_SIGNED_OUT = "Sign in, then open this link again."
_TOO_OFTEN = "That was too often. Try again in a minute."


class Form(Struct, frozen=True, kw_only=True):
    """What somebody sent: as a form or as JSON."""

    decision: str = ""
    comment: str = ""
    antiforgery: str = ""
    typed: tuple[str, ...] = ()
    is_json: bool = False


async def approval(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Show a question to who may answer it, or take their answer."""
    own = await in_thread(services)
    if req.method != "POST":
        return await in_thread(_show, own, req)
    reply, answered = await in_thread(_take, own, req)
    if answered is not None:
        try:
            await ring(client, answered.incident_id, answered.plan)
        except grpc.RpcError as error:  # the answer stands, and the sweep rings again
            log.warning("bell.unheard", incident_id=answered.incident_id, why=type(error).__name__)
    return reply


def questions(req: func.HttpRequest) -> func.HttpResponse:
    """List the open questions, for programs; people are sent to the overview."""
    own = services()
    person = signin.person(req, own.settings)
    if person is None:
        return pages.plain(req, 401, _SIGNED_OUT)
    if not _LOOKS.permits(person.oid):
        return pages.plain(req, 429, _TOO_OFTEN)
    if not signin.may_read(person, own.policy):
        return pages.plain(req, 403, f"The app role {signin.READER} or {signin.APPROVER} is needed.")
    if not pages.wants_json(req):
        return func.HttpResponse(status_code=303, headers={**pages.HEADERS, "Location": "/api/overview"})
    now = own.clock()
    found: list[Json] = [
        _summary(own, question, person)
        for question in sorted(own.trail.open_questions(), key=lambda question: question.at)
        if question.expires_at > now and own.trail.ended(question.incident_id) is None
    ]
    return pages.json(req, 200, {"questions": found})


# ------------------------------------------------------------------------------------------------ to show


def _show(own: Services, req: func.HttpRequest) -> func.HttpResponse:
    person = signin.person(req, own.settings)
    if not _LOOKS.permits("" if person is None else person.oid):
        return pages.plain(req, 429, _TOO_OFTEN)
    if person is None:
        return pages.plain(req, 401, _SIGNED_OUT)
    question = _question(own, req, person)
    if question is None:
        return pages.plain(req, 404, _NO_QUESTION)
    return _page(req, 200, _view(own, req, question, person))


def _question(own: Services, req: func.HttpRequest, person: Person) -> Question | None:
    """Give the question of a link, for an approver of it; None for everybody else, and for every other link."""
    asked = token.read(req.route_params.get("token", ""), own.settings.approval_keys)
    question = None if asked is None else own.trail.question(asked.plan)
    if asked is None or question is None or not _is_of(asked, question) or not rules.is_approver(person, question):
        return None
    return question


def _is_of(asked: Token, question: Question) -> bool:
    """Tell whether a link is about this very question, as it was asked."""
    named = (asked.incident_id, asked.plan, asked.policy_version, int(asked.expires_at.timestamp()))
    expires_at = int(question.expires_at.timestamp())
    return named == (question.incident_id, question.plan, question.policy_version, expires_at)


def _view(
    own: Services,
    req: func.HttpRequest,
    question: Question,
    person: Person,
    *,
    error: str | None = None,
    comment: str = "",
) -> View:
    notice = telling.notice(own, question.incident_id, Kind.ASKED, plan=question.plan)
    if notice is None:
        msg = f"incident {question.incident_id} was asked about and is not on the trail"
        raise ValueError(msg)
    state, words = _state(own, question)
    votes = notice.votes
    fields: dict[str, Any] = {
        "notice": notice,
        "person": person,
        "state": state,
        "words": words,
        "token": req.route_params.get("token", ""),
        "error": error,
        "comment": comment,
    }
    if state != "open":
        return View(**fields)
    plans = _plans_of(notice)
    may_approve: str | None = UNREADABLE
    if plans:
        may_approve = rules.why_not(person, question, votes, approves=True)
        fields |= _live(own, plans[0])
        fields["to_type"] = to_type(*plans)
    keys, active = own.settings.approval_keys, own.settings.approval_active_kid
    return View(
        **fields,
        may_approve=may_approve,
        may_reject=rules.why_not(person, question, votes, approves=False),
        antiforgery="" if active is None else token.form_value(person, question.plan, keys, active),
    )


def _state(own: Services, question: Question) -> tuple[str, str]:
    """Give whether a question is open, or how it ended: who, what, when."""
    answered = own.trail.answered(question.plan)
    if answered is not None:
        at = f"{answered.at:%Y-%m-%d %H:%M:%S} UTC"
        if answered.approved is not None:
            return ("approved" if answered.approved else "rejected"), f"{answered.words}, at {at}"
        return ("expired" if rules.is_expired(answered, question) else "superseded"), f"{answered.words}, at {at}"
    if own.clock() >= question.expires_at:
        return "expired", f"its time ended at {question.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    ended = own.trail.ended(question.incident_id)
    if ended is not None:
        return "superseded", f"its incident ended: {ended.words}, at {ended.at:%Y-%m-%d %H:%M:%S} UTC"
    return "open", ""


def to_type(*plans: Plan) -> tuple[str, ...]:
    """Give the names that somebody has to type before anything is deleted, each once."""
    calls = [call for plan in plans for call in plan.calls if call.method == "DELETE" and call.via == "arm"]
    deleted = [ResourceId.parse(call.path) for call in calls]
    return tuple(dict.fromkeys(f"{one.endpoint}/{one.deployment}" for one in deleted))


_looks = Recent[tuple[datetime, Situation]](_LIVE_MOST)


def _live(own: Services, plan: Plan) -> dict[str, Any]:
    """Give what differs from what the plan was made on, read now."""
    read_at, seen = _looks.get(plan.digest, lambda: (own.clock(), activities.look(own, plan)), within_s=_LIVE_FOR_S)
    unread = None
    if not isinstance(seen.resource, Found | Absent):
        unread = f"the target is {reading_words(seen.resource)}"
    names = sorted({*plan.fingerprint, *seen.fingerprint})
    changes = [
        Change(name=name, then=plan.fingerprint.get(name), now=seen.fingerprint.get(name))
        for name in names
        if plan.fingerprint.get(name) != seen.fingerprint.get(name)
    ]
    if plan.policy_version != own.policy.version:
        changes.append(Change(name="policy", then=plan.policy_version, now=own.policy.version))
    refusals = activities.decided(plan, seen).refusals
    return {"read_at": read_at, "unread": unread, "changes": tuple(changes), "refusals": refusals}


# ---------------------------------------------------------------------------------------------- to answer


def _take(own: Services, req: func.HttpRequest) -> tuple[func.HttpResponse, Question | None]:
    """Take an answer; gives the question whose walk has to be woken, if any. Whatever is refused is on the trail."""
    person = signin.person(req, own.settings)
    if person is None:
        if not _STRANGERS.permits(""):
            return pages.plain(req, 429, _TOO_OFTEN), None
        _refuse(own, None, "nobody is signed in", None)
        return pages.plain(req, 401, _SIGNED_OUT), None
    # Another site's page uses up nobody's answers.
    limit = _FOREIGN if forms.is_foreign(own.settings, req) else _ANSWERS
    if not limit.permits(person.oid):
        return pages.plain(req, 429, _TOO_OFTEN), None
    question = _question(own, req, person)
    if question is None:
        _refuse(own, None, "the link names no question that this person may answer", person)
        return pages.plain(req, 404, _NO_QUESTION), None
    form = Form()
    try:
        form = _form(req)
        forms.check_origin(own.settings, req, is_json=form.is_json)
        words = _decide(own, question, person, form)
    except Refused as refused:
        _refuse(own, question, refused.words, person)
        if pages.wants_json(req):
            return pages.json(req, refused.status, {"error": refused.words}), None
        shown = _view(own, req, question, person, error=refused.words, comment=form.comment)
        return _page(req, refused.status, shown), None
    if form.is_json:
        return pages.json(req, 200, {"words": words, "state": _state(own, question)[0]}), question
    headers = {**pages.HEADERS, "Location": f"/api/approvals/{quote(req.route_params.get('token', ''), safe='')}"}
    return func.HttpResponse(status_code=303, headers=headers), question


def _decide(own: Services, question: Question, person: Person, form: Form) -> str:
    """Keep one person's answer, and the final one if it is reached; raises Refused."""
    state, how = _state(own, question)
    if state != "open":
        raise Refused(409, f"the question is {state}: {how}")
    if not token.is_form_value(form.antiforgery, person, question.plan, own.settings.approval_keys):
        raise Refused(403, "the page was not shown to you, or long ago: open it again and answer there")
    approves = form.decision == "approve"
    if form.decision not in {"approve", "reject"}:
        raise Refused(400, "say approve or reject")
    comment = literal(form.comment.strip(), most=forms.LONGEST_COMMENT)
    if not approves and not comment:
        raise Refused(400, "say why you reject it: whoever is on call reads it next")
    votes = own.trail.votes(question.plan)
    earlier = rules.vote_of(person, question, votes)
    why = rules.why_not(person, question, votes, approves=approves)
    if earlier is not None and earlier.approves == approves and (final := _completed(own, question, earlier)):
        return _said(final, approves=approves)  # the store had taken only half of it
    if why is not None:
        raise Refused(403, why)
    if approves:
        _check_plan(own, question, form)
    vote = Vote(at=own.clock(), plan=question.plan, by=person.caller, approves=approves, comment=comment)
    kept = own.trail.vote(vote)
    if kept != vote:
        raise Refused(409, f"you {'approved' if kept.approves else 'rejected'} it at {kept.at:%H:%M:%S} UTC")
    final = _completed(own, question, vote)
    log.info(
        "approval.answered",
        incident_id=question.incident_id,
        plan=question.plan[:12],
        approves=approves,
        is_final=final is not None,
    )
    if final is None:
        missing = question.quorum - len(rules.approvals(question, own.trail.votes(question.plan)))
        return f"your approval counts; {missing} more {'is' if missing == 1 else 'are'} needed"
    return _said(final, approves=approves)


def _said(final: Answered, *, approves: bool) -> str:
    """Give the words of the final answer; raises Refused if another one came first."""
    if final.approved is not approves:
        raise Refused(409, f"another answer came first: {final.words}")
    return final.words


def _completed(own: Services, question: Question, vote: Vote) -> Answered | None:
    """Put a kept vote on the incident's trail, and keep the final answer if the votes come to one."""
    own.journal.voted(question.incident_id, vote)
    reached = rules.outcome(question, own.trail.votes(question.plan), own.clock())
    return None if reached is None else own.trail.answer(reached)


def _check_plan(own: Services, question: Question, form: Form) -> None:
    """Refuse an approval of what cannot be read, and of deletions whose names were not typed."""
    notice = telling.notice(own, question.incident_id, Kind.ASKED, plan=question.plan)
    plans = () if notice is None else _plans_of(notice)
    if not plans:
        raise Refused(409, UNREADABLE)
    wanted = to_type(*plans)
    if tuple(text.strip() for text in form.typed) != wanted:
        why = f"type the name of what will be deleted: {', '.join(wanted)}" if wanted else "nothing is to be typed here"
        raise Refused(400, why)


def _plans_of(notice: Notice) -> tuple[Plan, ...]:
    """Give the plans that a question is about; none if one cannot be read, or they are not what its digest names."""
    question = notice.question
    if question is None:
        return ()
    named = [(question.plan, None if notice.decision is None else notice.decision.plan)]
    if question.members:
        shown = {share.incident: share.plan for share in notice.members}
        named = [(one.plan, shown.get(one.incident)) for one in question.members]
        if storms.plan_digest(one.plan for one in question.members) != question.plan:
            return ()
    plans = tuple(plan for digest, plan in named if plan is not None and _is_named(plan, digest))
    return plans if len(plans) == len(named) else ()


def _is_named(plan: Plan, digest: str) -> bool:
    return plan.digest == digest and planning.plan_digest(plan) == digest


def _form(req: func.HttpRequest) -> Form:
    fields = forms.read(req, several=("typed",))
    return Form(
        decision=fields.text("decision"),
        comment=fields.text("comment"),
        antiforgery=fields.text("antiforgery"),
        typed=fields.texts("typed"),
        is_json=fields.is_json,
    )


def _refuse(own: Services, question: Question | None, why: str, person: Person | None) -> None:
    """Put an answer that is not taken on the trail."""
    by = Caller() if person is None else person.caller
    nonce = uuid.uuid4().hex[:12]
    if question is None:
        own.trail.record_refusal(Refusal(at=own.clock(), why=why, by=by), nonce)
    else:
        own.journal.answer_refused(question.incident_id, question.plan, why, by, nonce)
    log.warning("approval.refused", incident_id=None if question is None else question.incident_id, why=why)


# ---------------------------------------------------------------------------------------------- the parts


def _summary(own: Services, question: Question, person: Person) -> dict[str, Json]:
    notice = telling.notice(own, question.incident_id, Kind.ASKED, plan=question.plan)
    plan = None if notice is None or notice.decision is None else notice.decision.plan
    link = telling.link(own, question) if rules.is_approver(person, question) else None
    return {
        "incident": question.incident_id,
        "resource": None if notice is None else notice.incident.resource.path,
        "asked_at": codec.dump(question.at),
        "expires_at": codec.dump(question.expires_at),
        "plan": question.plan,
        "cause": None if plan is None else plan.diagnosis.cause_id,
        "action": None if plan is None else plan.action,
        "effect": None if plan is None else plan.effect,
        "calls": [] if plan is None else [str(call) for call in plan.calls],
        "undo": None if plan is None else plan.undo,
        "asked_for": None if notice is None else _asked_for(notice.incident),
        "storm": None if notice is None else _storm(notice),
        "quorum": question.quorum,
        "approvals": 0 if notice is None else notice.approvals,
        "link": link,
    }


def _storm(notice: Notice) -> Json:
    """Give what a storm is made of, and what would be done about each; None for a question about one incident."""
    if notice.incident.storm is None:
        return None
    members: list[Json] = [
        {
            "incident": one.incident,
            "resource": one.path,
            "effect": None if one.plan is None else one.plan.effect,
            "calls": [] if one.plan is None else [str(call) for call in one.plan.calls],
        }
        for one in notice.members
    ]
    return {"label": notice.incident.label, "members": members}


def _asked_for(incident: Incident) -> Json:
    """Give who asked for an undo, why, and of what; None for a repair, which nobody asked for."""
    undoes = incident.undoes
    if undoes is None:
        return None
    named = {name: getattr(undoes, name) for name in ("incident", "action", "path", "comment")}
    return {**named, "by": incident.caller.oid, "at": codec.dump(incident.began_at)}


def _view_json(own_view: View) -> dict[str, Json]:
    question, decision = own_view.notice.question, own_view.notice.decision
    fields = ("state", "words", "read_at", "unread", "changes", "refusals", "may_approve", "may_reject", "to_type")
    plan = None if decision is None else decision.plan
    return {
        **{name: codec.dump(getattr(own_view, name)) for name in (*fields, "antiforgery")},
        "person": own_view.person.oid,
        "incident": own_view.notice.incident.id,
        "resource": own_view.notice.incident.resource.path,
        "cause": None if plan is None else plan.diagnosis.cause_id,
        "action": None if plan is None else plan.action,
        "effect": None if plan is None else plan.effect,
        "calls": [] if plan is None else [str(call) for call in plan.calls],
        "undo": None if plan is None else plan.undo,
        "asked_for": _asked_for(own_view.notice.incident),
        "storm": _storm(own_view.notice),
        "why": None if decision is None else decision.mode_words,
        "guards": [] if decision is None else codec.dump(decision.answers),
        "question": codec.dump(question),
        "votes": codec.dump(own_view.notice.votes),
    }


def _page(req: func.HttpRequest, status: int, view: View) -> func.HttpResponse:
    if pages.wants_json(req):
        return pages.json(req, status, _view_json(view))
    return pages.html(req, status, pages.render("approval.html", view=view))
