"""Routes: a person's answer to a question. Off Azure a plain signed POST; in Azure refused until people can sign in."""

import asyncio
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import structlog

from functions import signin
from functions.events import ring
from remediations import codec
from remediations.approval import token
from remediations.model import Json
from remediations.services import Services, services
from remediations.trail import Answered

log = structlog.get_logger()


async def decide(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Answer one question: ``{"decision": "approve" | "reject", "comment": "…"}`` to its signed link."""
    own = await asyncio.to_thread(services)
    if own.settings.is_azure:
        return _answer(403, "approval in Azure needs a signed-in person, which this version cannot tell")
    if not signin.may(req, "Medic.Approver", is_azure=False):
        return _answer(403, "approval off Azure is for this machine alone")
    status, words, answered = await asyncio.to_thread(_decide, own, req.route_params.get("token", ""), req.get_body())
    if answered is not None:
        question = await asyncio.to_thread(own.trail.question, answered.plan)
        if question is not None:
            await ring(client, question.incident_id, answered.plan)
    return _answer(status, words)


def _decide(own: Services, text: str, body: bytes) -> tuple[int, str, Answered | None]:
    asked = token.read(text, own.settings.approval_keys, own.policy.approval_window)
    question = None if asked is None else own.trail.question(asked.plan)
    if (
        asked is None
        or question is None
        or own.trail.answered(asked.plan) is not None
        or own.trail.ended(question.incident_id) is not None
    ):
        return 404, "no open question has this link", None
    if asked.policy_version != own.policy.version:
        return 409, "the policy has changed since the question was asked", None
    if own.clock() >= question.expires_at:
        return 404, "no open question has this link", None
    decision, comment = _parsed(body)
    if decision not in {"approve", "reject"}:
        return 400, 'the body is to be {"decision": "approve" or "reject", "comment": "…"}', None
    words = f"{decision}d on this machine" if decision == "approve" else "rejected on this machine"
    own_answer = Answered(
        at=own.clock(),
        plan=asked.plan,
        approved=decision == "approve",
        words=words if not comment else f"{words}: {comment}",
    )
    kept = own.trail.answer(own_answer)
    log.info("approval.decided", incident_id=question.incident_id, approved=kept.approved)
    return 200, kept.words, kept


def _parsed(body: bytes) -> tuple[str, str]:
    try:
        plain: Any = codec.parse_json(body)
    except ValueError:
        return "", ""
    asked: dict[str, Json] = plain if isinstance(plain, dict) else {}
    decision, comment = asked.get("decision"), asked.get("comment")
    return (decision if isinstance(decision, str) else "", comment[:500] if isinstance(comment, str) else "")


def _answer(status: int, words: str) -> func.HttpResponse:
    return func.HttpResponse(codec.encode({"words": words}), status_code=status, mimetype="application/json")
