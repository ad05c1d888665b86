"""Answer questions as signed-in people, over the app's own routes: App Service authentication played for the bench.

The app trusts the header of `principal` only while ``WEBSITE_AUTH_ENABLED`` says that a platform sets it; a bench that
plays the platform sets both.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

import httpx

from remediations.approval import token
from remediations.trail import Question

SIGN_IN = {"WEBSITE_AUTH_ENABLED": "true"}
TENANT = "00000000-0000-4000-9000-000000000000"


def somebody(number: int) -> str:
    """Give the object id of one of the people on the bench."""
    return f"00000000-0000-4000-8000-{number:012d}"


def principal(
    oid: str, *, tid: str = TENANT, roles: Sequence[str] = ("Medic.Approver",), **claims: str
) -> dict[str, str]:
    """Give the header with which the platform tells the app who is signed in."""
    typed = [("oid", oid), ("tid", tid), *(("roles", role) for role in roles), *claims.items()]
    plain = {"auth_typ": "aad", "claims": [{"typ": typ, "val": val} for typ, val in typed]}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(plain).encode()).decode()}


def undo(
    http: httpx.Client, incident: str, *, call: int = 1, comment: str = "on the bench", oid: str | None = None
) -> httpx.Response:
    """Open the page of an incident's undo as somebody, and ask there for a call of it to be undone."""
    headers = {**principal(oid or somebody(100)), "Accept": "application/json"}
    link = f"/api/incidents/{incident}/undo"
    shown = http.get(link, headers=headers)
    if not shown.is_success:
        return shown
    body = {"call": call, "comment": comment, "antiforgery": shown.json()["antiforgery"]}
    return http.post(link, json=body, headers=headers)


def link(question: Question, key: str) -> str:
    """Give the link that stands in the card of a question, signed with a key."""
    asked = token.Token(
        incident_id=question.incident_id,
        plan=question.plan,
        policy_version=question.policy_version,
        expires_at=question.expires_at,
    )
    return f"/api/approvals/{token.sign(asked, {'k1': key}, 'k1')}"


def answer(
    http: httpx.Client,
    link: str,
    decision: str,
    *,
    comment: str = "",
    oid: str | None = None,
    roles: Sequence[str] = ("Medic.Approver",),
) -> httpx.Response:
    """Open the page of a question as somebody and answer it there, the names of what will be deleted typed."""
    headers = {**principal(oid or somebody(1), roles=roles), "Accept": "application/json"}
    shown = http.get(link, headers=headers)
    if not shown.is_success:
        return shown
    page: dict[str, Any] = shown.json()
    reason = comment or ("on the bench" if decision == "reject" else "")
    body = {"decision": decision, "comment": reason, "antiforgery": page["antiforgery"], "typed": page["to_type"]}
    return http.post(link, json=body, headers=headers)
