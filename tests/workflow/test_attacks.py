"""Every way we know to get an answer taken that is none: each is refused, is on the trail, and changes nothing else.

A row says what is changed in a request that is right. That it would be taken without the change shows at the end of
each table.
"""

import base64
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import azure.functions as func
import httpx
import pytest
from durabletask.client import OrchestrationStatus
from msgspec.structs import replace

from functions import approvals
from functions.limits import Limit
from local import answering
from remediations import codec, storms
from remediations.approval.notice import Share
from remediations.errors import StoreUnavailable
from remediations.model import Caller, Decision
from remediations.services import EvidenceStore, Services, services
from remediations.settings import Settings
from remediations.trail import Asked, Question, Trail, Vote
from tests.builders import NOON, MemoryStore
from tests.notices import decision_for, make_incident_of, make_notice, make_question
from tests.workflow import attacks
from tests.workflow.attacks import (
    ELSEWHERE,
    FORM,
    JSON,
    NEITHER,
    NO_QUESTION,
    NOBODY,
    NOT_SHOWN,
    OTHER_KEY,
    RETIRED_KEY,
    ROLE,
    SIGNED,
    TWO,
    UNREADABLE,
    Scene,
    Sent,
    client,
    deploy,
    flipped,
    open_questions,
    signed,
)
from tests.workflow.theatre import KEY, POLICY, UPDATED, Theatre, eventually

pytestmark = pytest.mark.attack

ENOUGH = Limit(100_000)
CI = "cccccccc-1111-4222-8333-dddddddddddd"
CI_CLIENT = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"
EVIL = "https://evil.example"
SIGNED_OUT = "Sign in, then open this link again."
NO_OPEN = "No open question for you has this link."
OWN = "you started the operation that failed; somebody else has to approve its repair"


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("attacks"), env=SIGNED) as opened:
        yield opened


@pytest.fixture(scope="module")
def stage(theatre) -> Iterator[dict[str, Scene]]:
    """Scenes by name: one that is no longer whole, or whose stage was cleared, is set up anew."""
    scenes: dict[str, Scene] = {}
    yield scenes
    for scene in scenes.values():
        scene.http.close()
        scene.story.world.close()


def scene_of(stage: dict[str, Scene], theatre: Theatre, name: str) -> Scene:
    made = {"updates": attacks.two_questions, "deletion": attacks.deletion}[name]
    if name not in stage or not stage[name].is_whole:
        stage[name] = made(theatre, theatre.tell)
    return stage[name]


@pytest.fixture
def updates(stage, theatre) -> Scene:
    return scene_of(stage, theatre, "updates")


@pytest.fixture
def deletion(stage, theatre) -> Scene:
    return scene_of(stage, theatre, "deletion")


@pytest.fixture(autouse=True)
def many_strangers(monkeypatch):
    """A table has more rows than strangers have tries in a minute; the limit has tests of its own."""
    monkeypatch.setattr(approvals, "_STRANGERS", ENOUGH)


type Change = Callable[[Scene, Sent], Sent]


def row(name: str, change: Change, status: int = 404, why: str | None = NO_QUESTION, where: str = "refused"):
    return pytest.param(change, status, why, where, id=name)


def resigned(scene: Scene, **changes: Any) -> str:
    """A link with something else in it, rightly signed: what only a lost key could make."""
    names = ("incident_id", "plan", "policy_version", "expires_at")
    return signed([changes.get(name, value) for name, value in zip(names, scene.payload(), strict=True)])


def still_answerable(scene: Scene) -> None:
    """The rightful approver finds the question as it was, and may approve it."""
    page = scene.page(str(uuid.uuid4()))
    assert (page["state"], page["may_approve"], page["may_reject"]) == ("open", None, None)
    assert page["question"]["plan"] == scene.asked.plan


# -------------------------------------------------------------------------------------------------- the link

LINKS = [
    row("no token", lambda scene, good: good.but(token=""), why=None, where="nowhere"),
    row("garbage", lambda scene, good: good.but(token="nothing")),
    row("a key's id and garbage", lambda scene, good: good.but(token="k1.nothing")),
    row("dots", lambda scene, good: good.but(token="....")),
    row("nothing but the key's id", lambda scene, good: good.but(token="k1")),
    row("no key's id", lambda scene, good: good.but(token=good.token.removeprefix("k1."))),
    row("an empty key's id", lambda scene, good: good.but(token=good.token.removeprefix("k1"))),
    row("a character less", lambda scene, good: good.but(token=good.token[:-1])),
    row("half of it", lambda scene, good: good.but(token=good.token[: len(good.token) // 2])),
    row("no signature", lambda scene, good: good.but(token=good.token.rpartition(".")[0])),
    row("an empty signature", lambda scene, good: good.but(token=good.token.rpartition(".")[0] + ".")),
    row("a bit changed in the payload", lambda scene, good: good.but(token=flipped(good.token, 10))),
    row(
        "a bit changed in the time",
        lambda scene, good: good.but(token=flipped(good.token, good.token.rindex(".") - 3)),
    ),
    row("a bit changed in the signature", lambda scene, good: good.but(token=flipped(good.token, -5))),
    row("twice itself", lambda scene, good: good.but(token=good.token + good.token)),
    row("too long", lambda scene, good: good.but(token="k1." + "A" * 20_000)),
    row("a zero byte", lambda scene, good: good.but(token="k1.%00")),
    row("line breaks", lambda scene, good: good.but(token="k1.%0d%0aSet-Cookie:%20a=b"), why=None, where="nowhere"),
    row("no text", lambda scene, good: good.but(token="k1.%ff%fe%ed%a0%80")),
    row("a way up", lambda scene, good: good.but(token="%2e%2e%5c%2e%2e")),
    row("the token in the query", lambda scene, good: good.but(token="k1.x", query=f"token={good.token}")),
    row("another purpose", lambda scene, good: good.but(token=signed(scene.payload(), salt="something else"))),
    row("the value of a form", lambda scene, good: good.but(token=str(good.fields["antiforgery"]))),
    row("a key that nobody has", lambda scene, good: good.but(token=signed(scene.payload(), key="x" * 40))),
    row(
        "a retired key by its own id",
        lambda scene, good: good.but(token=signed(scene.payload(), key=RETIRED_KEY, kid="k0")),
    ),
    row(
        "a retired key by a good id",
        lambda scene, good: good.but(token=signed(scene.payload(), key=RETIRED_KEY, kid="k1")),
    ),
    row("an unknown key's id", lambda scene, good: good.but(token=signed(scene.payload(), kid="k9"))),
    row("the other key's id", lambda scene, good: good.but(token=good.token.replace("k1.", "k2.", 1))),
    row(
        "five minutes from now", lambda scene, good: good.but(token=signed(scene.payload(), ago=-timedelta(minutes=5)))
    ),
    row("a year from now", lambda scene, good: good.but(token=signed(scene.payload(), ago=-timedelta(days=365)))),
    row("months old", lambda scene, good: good.but(token=signed(scene.payload(), ago=timedelta(days=94)))),
    row(
        "another incident and this plan",
        lambda scene, good: good.but(token=resigned(scene, incident_id=scene.other.incident_id)),
    ),
    row(
        "this incident and another open plan",
        lambda scene, good: good.but(token=resigned(scene, plan=scene.other.plan)),
    ),
    row("a plan that is none", lambda scene, good: good.but(token=resigned(scene, plan="0" * 64))),
    row("the plan in upper case", lambda scene, good: good.but(token=resigned(scene, plan=scene.asked.plan.upper()))),
    row("a path for a plan", lambda scene, good: good.but(token=resigned(scene, plan="../../approvals/x"))),
    row("an empty plan", lambda scene, good: good.but(token=resigned(scene, plan=""))),
    row("another policy", lambda scene, good: good.but(token=resigned(scene, policy_version="0123456789ab"))),
    row(
        "a later end",
        lambda scene, good: good.but(
            token=resigned(scene, expires_at=int((scene.asked.expires_at + timedelta(days=1)).timestamp()))
        ),
    ),
    row("an earlier end", lambda scene, good: good.but(token=resigned(scene, expires_at=scene.payload()[3] - 1))),
    row("a text for its end", lambda scene, good: good.but(token=resigned(scene, expires_at=str(scene.payload()[3])))),
    row("one more field", lambda scene, good: good.but(token=signed([*scene.payload(), "approve"]))),
    row("fields by name", lambda scene, good: good.but(token=signed({"plan": scene.asked.plan, "approved": True}))),
]

# --------------------------------------------------------------------------------------- the value of the form

FORMS = [
    row(name, change, 403, NOT_SHOWN, "asked")
    for name, change in {
        "none": lambda scene, good: good.saying(antiforgery=None),
        "an empty one": lambda scene, good: good.saying(antiforgery=""),
        "garbage as one": lambda scene, good: good.saying(antiforgery="k1.nothing"),
        "that of another person": lambda scene, good: good.saying(antiforgery=scene.form_value(str(uuid.uuid4()))),
        "that of the same person elsewhere": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, tid=str(uuid.uuid4()))
        ),
        "that of another plan": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, scene.other.plan)
        ),
        "one of no plan": lambda scene, good: good.saying(antiforgery=scene.form_value(good.oid, "*")),
        "the link": lambda scene, good: good.saying(antiforgery=good.token),
        "one of another purpose": lambda scene, good: good.saying(
            antiforgery=signed([answering.TENANT, good.oid, scene.asked.plan], salt="something else")
        ),
        "one of nine hours ago": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, ago=timedelta(hours=9))
        ),
        "one from the future": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, ago=-timedelta(minutes=5))
        ),
        "one of a retired key": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, key=RETIRED_KEY)
        ),
        "one of the other key's id": lambda scene, good: good.saying(
            antiforgery=scene.form_value(good.oid, key=OTHER_KEY)
        ),
        "a bit changed": lambda scene, good: good.saying(antiforgery=flipped(str(good.fields["antiforgery"]), -5)),
        "a character less": lambda scene, good: good.saying(antiforgery=str(good.fields["antiforgery"])[:-1]),
        "a list": lambda scene, good: good.saying(antiforgery=[good.fields["antiforgery"]]),
        "a number": lambda scene, good: good.saying(antiforgery=1),
        "in a header": lambda scene, good: good.saying(antiforgery=None).under(
            {"X-CSRF-Token": good.fields["antiforgery"], "antiforgery": good.fields["antiforgery"]}
        ),
        "in the query": lambda scene, good: good.saying(antiforgery=None).but(
            query=f"antiforgery={good.fields['antiforgery']}&decision=approve"
        ),
    }.items()
] + [
    row(
        "the link of another question with the value of this one",
        lambda scene, good: good.but(token=signed(scene.payload(scene.other))),
        403,
        NOT_SHOWN,
        "other",
    ),
]

# --------------------------------------------------------------------------------------------- who sends it


def claimed(plain: object) -> dict[str, str]:
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(plain).encode()).decode()}


def claims(*pairs: tuple[str, str], auth_typ: str | None = "aad") -> dict[str, str]:
    kind = {} if auth_typ is None else {"auth_typ": auth_typ}
    return claimed({**kind, "claims": [{"typ": typ, "val": val} for typ, val in pairs]})


def of_approver(good: Sent) -> list[tuple[str, str]]:
    return [("oid", good.oid), ("tid", answering.TENANT), ("roles", "Medic.Approver")]


NAME = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
PEOPLE = [
    row(name, change, 401, NOBODY)
    for name, change in {
        "nobody": lambda scene, good: good.under({"X-MS-CLIENT-PRINCIPAL": None}),
        "an empty principal": lambda scene, good: good.under({"X-MS-CLIENT-PRINCIPAL": ""}),
        "broken base64": lambda scene, good: good.under({"X-MS-CLIENT-PRINCIPAL": "%%%"}),
        "a principal cut short": lambda scene, good: good.under(
            {"X-MS-CLIENT-PRINCIPAL": good.headers["X-MS-CLIENT-PRINCIPAL"][:-7]}
        ),
        "two principals": lambda scene, good: good.under(
            {"X-MS-CLIENT-PRINCIPAL": ", ".join([good.headers["X-MS-CLIENT-PRINCIPAL"]] * 2)}
        ),
        "a principal that is a list": lambda scene, good: good.under(claimed([["oid", good.oid]])),
        "claims that are a text": lambda scene, good: good.under(claimed({"auth_typ": "aad", "claims": "oid"})),
        "another provider": lambda scene, good: good.under(claims(*of_approver(good), auth_typ="google")),
        "no provider": lambda scene, good: good.under(claims(*of_approver(good), auth_typ=None)),
        "a name alone": lambda scene, good: good.under(claims((NAME, good.oid), ("name", "Medic.Approver"))),
        "a role alone": lambda scene, good: good.under(claims(("roles", "Medic.Approver"))),
        "no tenant": lambda scene, good: good.under(claims(("oid", good.oid), ("roles", "Medic.Approver"))),
        "no object id": lambda scene, good: good.under(claims(*of_approver(good)[1:])),
        "an id in other headers": lambda scene, good: good.under(
            {
                "X-MS-CLIENT-PRINCIPAL": None,
                "X-MS-CLIENT-PRINCIPAL-ID": good.oid,
                "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
                "X-MS-CLIENT-PRINCIPAL-NAME": "anna@example.com",
            }
        ),
        "a bearer token": lambda scene, good: good.under(
            {"X-MS-CLIENT-PRINCIPAL": None, "Authorization": "Bearer e30.e30.", "Cookie": "AppServiceAuthSession=x"}
        ),
        "the principal in the query": lambda scene, good: good.under({"X-MS-CLIENT-PRINCIPAL": None}).but(
            query=f"X-MS-CLIENT-PRINCIPAL={good.headers['X-MS-CLIENT-PRINCIPAL']}"
        ),
    }.items()
] + [
    row(name, change)
    for name, change in {
        "an application by its token's kind": lambda scene, good: good.under(
            claims(*of_approver(good), ("idtyp", "app"))
        ),
        "an application by its subject": lambda scene, good: good.under(claims(*of_approver(good), ("sub", good.oid))),
        "a reader": lambda scene, good: good.by(good.oid, roles=["Medic.Reader"]),
        "somebody who may submit": lambda scene, good: good.by(good.oid, roles=["Medic.Submit"]),
        "nobody's role": lambda scene, good: good.by(good.oid, roles=[]),
        "a role in another casing": lambda scene, good: good.by(good.oid, roles=["medic.approver"]),
        "a role with a blank": lambda scene, good: good.by(good.oid, roles=["Medic.Approver "]),
        "roles in one text": lambda scene, good: good.by(good.oid, roles=["Medic.Reader,Medic.Approver"]),
        "a name like the role": lambda scene, good: good.by(good.oid, roles=[], name="Medic.Approver"),
        "a group like the role": lambda scene, good: good.by(good.oid, roles=[], groups="Medic.Approver"),
        "a role of another claim": lambda scene, good: good.by(good.oid, roles=[], role="Medic.Approver"),
    }.items()
]


def started_it(oid: str) -> Change:
    return lambda scene, good: good.by(oid).saying(antiforgery=scene.form_value(oid))


PEOPLE += [
    row("who started the failed operation", started_it(CI), 403, OWN, "asked"),
    row("who started it in upper case", started_it(CI.upper()), 403, OWN, "asked"),
    row("who started it by their client id", started_it(CI_CLIENT), 403, OWN, "asked"),
]

# -------------------------------------------------------------------------------------------- from elsewhere

SILENT = "the browser does not say where this answer comes from"


def elsewhere(headers: dict[str, str | None], *, is_form: bool = False) -> Change:
    return lambda scene, good: (scene.browser(good) if is_form else good).under(headers)


def near(prefix: str = "", suffix: str = "", scheme: str = "http") -> Change:
    """An origin that looks like ours."""
    return lambda scene, good: good.under(
        {"Origin": f"{scheme}://{prefix}{scene.theatre.host.url.removeprefix('http://')}{suffix}"}
    )


ORIGINS = [
    row(name, change, 403, ELSEWHERE, "asked")
    for name, change in {
        "another origin": elsewhere({"Origin": EVIL}),
        "a form of another origin": elsewhere({"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, is_form=True),
        "a form of another origin in an old browser": elsewhere({"Origin": EVIL, "Sec-Fetch-Site": None}, is_form=True),
        "another origin that claims to be the same": elsewhere({"Origin": EVIL, "Sec-Fetch-Site": "same-origin"}),
        "another site": elsewhere({"Sec-Fetch-Site": "cross-site"}),
        "another site in capitals": elsewhere({"Sec-Fetch-Site": "Cross-Site"}),
        "a neighbor on the same site": elsewhere({"Sec-Fetch-Site": "same-site"}),
        "no site at all": elsewhere({"Sec-Fetch-Site": "none"}, is_form=True),
        "an empty site": elsewhere({"Sec-Fetch-Site": ""}),
        "two sites": elsewhere({"Sec-Fetch-Site": "same-origin, cross-site"}),
        "an opaque origin": elsewhere({"Origin": "null"}),
        "a form of an opaque origin": elsewhere({"Origin": "null", "Sec-Fetch-Site": None}, is_form=True),
        "an opaque origin on another site": elsewhere({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, is_form=True),
        "an empty origin": elsewhere({"Origin": ""}),
        "an origin that begins like ours": near(suffix=".evil.example"),
        "an origin that ends like ours": near(prefix="evil.example@"),
        "our host by another scheme": near(scheme="https"),
        "our host at another port": near(suffix="1"),
        "two origins": lambda scene, good: good.under({"Origin": f"{scene.theatre.host.url}, {EVIL}"}),
        "an origin vouched for by a forwarded host": elsewhere(
            {"Origin": EVIL, "X-Forwarded-Host": "evil.example", "X-Original-Host": "evil.example"}
        ),
    }.items()
] + [
    row(
        "a form that does not say where it comes from",
        elsewhere({"Origin": None, "Sec-Fetch-Site": None}, is_form=True),
        403,
        SILENT,
        "asked",
    ),
    row(
        "a form with nothing but a referrer",
        lambda scene, good: scene.browser(good).under(
            {"Origin": None, "Sec-Fetch-Site": None, "Referer": scene.theatre.host.url}
        ),
        403,
        SILENT,
        "asked",
    ),
]

# ------------------------------------------------------------------------------------------------- the body


def typed_as(kind: str | None) -> Change:
    return lambda scene, good: good.under({"Content-Type": kind})


def with_body(content: bytes) -> Change:
    return lambda scene, good: good.but(content=content)


def saying(**fields: Any) -> Change:
    return lambda scene, good: good.saying(**fields)


def form(fields: Callable[[Sent], str]) -> Change:
    return lambda scene, good: scene.browser(good).but(content=fields(good).encode())


def doubled(first: str, second: str) -> Change:
    """A form with one field twice; ``*`` stands for the right value of the form."""
    return form(lambda good: f"{first}&{second}".replace("*", str(good.fields["antiforgery"])))


def twice_in_json(first: str, second: str) -> Change:
    def change(scene: Scene, good: Sent) -> Sent:
        value = json.dumps(good.fields["antiforgery"])
        plain = f'{{"decision": "{first}", "comment": "no", "antiforgery": {value}, "decision": "{second}"}}'
        return good.but(content=plain.encode())

    return change


BODIES = [
    *(
        row(name, typed_as(kind), 415, NEITHER, "asked")
        for name, kind in {
            "JSON as plain text, which another site may send": "text/plain",
            "JSON as plain text that names JSON": "text/plain; application/json",
            "JSON as a file": "application/octet-stream",
            "JSON with a suffix": "application/csp-report+json",
            "JSON of two kinds": "application/json, text/plain",
            "no kind": None,
            "an empty kind": "",
            "XML": "application/xml",
        }.items()
    ),
    row(
        "a form in parts",
        lambda scene, good: (
            scene.browser(good)
            .under({"Content-Type": "multipart/form-data; boundary=b"})
            .but(content=b'--b\r\nContent-Disposition: form-data; name="decision"\r\n\r\napprove\r\n--b--\r\n')
        ),
        415,
        NEITHER,
        "asked",
    ),
    row(
        "too long a body",
        lambda scene, good: good.but(content=good.body + b" " * (16_385 - len(good.body))),
        413,
        "an answer has at most 16384 bytes; this has 16385",
        "asked",
    ),
    row("a body of megabytes", lambda scene, good: good.but(content=b" " * 3_000_000), 413, None, "nowhere"),
    *(
        row(name, with_body(content), 400, UNREADABLE, "asked")
        for name, content in {
            "no JSON": b"approve",
            "half of the JSON": b'{"decision": "approve"',
            "JSON in another encoding": '{"decision": "approve"}'.encode("utf-16"),
            "JSON that is too deep": b"[" * 5000,
            "JSON that is no text": b'{"decision": "\xff"}',
        }.items()
    ),
    row("a form that is no text", form(lambda good: ""), 403, NOT_SHOWN, "asked"),
    row(
        "a form of other bytes",
        lambda scene, good: scene.browser(good).but(content=b"decision=approve&antiforgery=\xff\xfe"),
        400,
        UNREADABLE,
        "asked",
    ),
    row("too many fields", form(lambda good: "&".join(["a=b"] * 21)), 400, UNREADABLE, "asked"),
    row("a list for a body", lambda scene, good: good.but(content=b'["approve"]'), 403, NOT_SHOWN, "asked"),
    *(
        row(
            name,
            saying(decision=decision),
            400,
            "say approve or reject",
            "asked",
        )
        for name, decision in {
            "no decision": None,
            "an empty decision": "",
            "another word": "yes",
            "capitals": "APPROVE",
            "a blank behind it": "approve ",
            "both in one": "approve,reject",
            "true": True,
            "a list of it": ["approve"],
            "a list of both": ["approve", "reject"],
            "an object": {"approve": True},
            "another alphabet": "аpprove",  # noqa: RUF001 - that is the attack
        }.items()
    ),
    row(
        "approve and reject in one form",
        doubled("decision=approve&antiforgery=*", "decision=reject"),
        400,
        None,
        "asked",
    ),
    row(
        "reject and approve in one form",
        doubled("decision=reject&antiforgery=*&comment=no", "decision=approve"),
        400,
        None,
        "asked",
    ),
    row(
        "two values of the form, the right one first",
        doubled("decision=approve&antiforgery=*", "antiforgery=x"),
        400,
        None,
        "asked",
    ),
    row(
        "two values of the form, the right one last",
        doubled("decision=approve&antiforgery=x", "antiforgery=*"),
        400,
        None,
        "asked",
    ),
    row("reject and approve in one JSON", twice_in_json("reject", "approve"), 400, None, "asked"),
    row("approve and reject in one JSON", twice_in_json("approve", "reject"), 400, None, "asked"),
    row(
        "the decision in the query",
        lambda scene, good: good.saying(decision=None).but(query="decision=approve"),
        400,
        "say approve or reject",
        "asked",
    ),
    *(
        row(
            f"a rejection with {name}",
            saying(decision="reject", comment=comment),
            400,
            "say why you reject it: whoever is on call reads it next",
            "asked",
        )
        for name, comment in {
            "no reason": None,
            "blanks for a reason": " \t\n ",
            "a reason that cannot be seen": "\u202e\u200b\u2066\ufeff\x00\x1b",
            "a list for a reason": ["no"],
        }.items()
    ),
]

# ------------------------------------------------------------------------------------------------- the method


def method(name: str, **headers: str) -> Change:
    return lambda scene, good: good.but(method=name).under(headers)


APPROVING = "decision=approve&comment=&antiforgery={value}"
METHODS = [
    *(row(name, method(name), 404, None, "nowhere") for name in ("PUT", "DELETE", "PATCH", "OPTIONS")),
    row("TRACE", method("TRACE"), 405, None, "nowhere"),
    row(
        "a preflight of another site",
        lambda scene, good: good.but(method="OPTIONS").under(
            {
                "Origin": EVIL,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            }
        ),
        404,
        None,
        "nowhere",
    ),
    row(
        "a path below the link",
        lambda scene, good: good.but(path="/api/approvals/{token}/approve"),
        404,
        None,
        "nowhere",
    ),
    row("a POST to the list", lambda scene, good: good.but(path="/api/approvals"), 404, None, "nowhere"),
    *(
        row(name, change, 200, None, "nowhere")
        for name, change in {
            "GET": method("GET"),
            "HEAD": method("HEAD"),
            "GET with a body": lambda scene, good: good.but(method="GET", content=good.body),
            "GET with the answer in the query": lambda scene, good: good.but(
                method="GET", query=APPROVING.format(value=good.fields["antiforgery"])
            ),
            "HEAD with the answer in the query": lambda scene, good: good.but(
                method="HEAD", query=APPROVING.format(value=good.fields["antiforgery"])
            ),
            "GET that calls itself POST": method(
                "GET", **{"X-HTTP-Method-Override": "POST", "X-HTTP-Method": "POST", "X-Method-Override": "POST"}
            ),
            "GET that calls itself POST in the query": lambda scene, good: good.but(
                method="GET", query="_method=POST&decision=approve"
            ),
            "GET of a page by a person": lambda scene, good: scene.browser(good).but(method="GET"),
        }.items()
    ),
]


@pytest.mark.parametrize(("change", "status", "why", "where"), [*LINKS, *FORMS, *PEOPLE, *ORIGINS, *BODIES, *METHODS])
def test_it_is_refused_and_changes_nothing(updates, change, status, why, where):
    updates.strike(change(updates, updates.good()), status, why, where)
    still_answerable(updates)


@pytest.mark.parametrize("enabled", [None, "false", "0", "", "yes"])
def test_a_principal_that_no_platform_vouches_for_is_nobody(updates, monkeypatch, enabled):
    with monkeypatch.context() as off:
        off.delenv("WEBSITE_AUTH_ENABLED") if enabled is None else off.setenv("WEBSITE_AUTH_ENABLED", enabled)
        answer = updates.strike(updates.good(), 401, NOBODY, "refused")
    assert answer.json() == {"error": SIGNED_OUT}
    still_answerable(updates)


def test_a_link_of_a_key_that_is_retired_is_none_from_then_on(updates, monkeypatch):
    own = services()
    link = updates.good().but(token=signed(updates.payload(), key=RETIRED_KEY, kid="k0"))
    with monkeypatch.context() as before:
        keys = {**own.settings.approval_keys, "k0": RETIRED_KEY}
        before.setattr(own, "settings", replace(own.settings, approval_keys=keys))
        assert updates.send(link.but(method="GET")).status_code == 200
    assert updates.send(link.but(method="GET")).status_code == 404
    updates.strike(link, 404, NO_QUESTION, "refused")
    still_answerable(updates)


def test_a_hundred_prefetches_change_nothing(updates):
    good = updates.browser(updates.good())
    agents = ["Slackbot-LinkExpanding 1.0", "SkypeUriPreview Preview/0.5", "Mozilla/5.0 (compatible; SafeLinks)"]
    before = updates.kept()
    for number in range(100):
        seen = {"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "User-Agent": agents[number % 3]}
        answer = updates.send(good.but(method=("GET", "HEAD")[number % 2]).under(seen))
        assert answer.status_code == 200
    assert updates.kept() == before
    assert updates.votes() == [(), ()]
    still_answerable(updates)


def test_a_bell_that_somebody_rings_answers_nothing(updates):
    asked, host = updates.asked, updates.theatre.host
    before = updates.kept()
    for data in (None, {"approved": True}, "approve"):
        host.client.raise_orchestration_event(asked.incident_id, asked.bell, data=data)
    updates.settle()
    assert updates.kept() == before
    state = host.client.get_orchestration_state(asked.incident_id)
    assert state is not None
    assert state.runtime_status == OrchestrationStatus.RUNNING
    assert (updates.story.effects(), updates.story.sends()) == ([], [])
    still_answerable(updates)


# --------------------------------------------------------------------------------------------------- the limits


def test_who_answers_too_often_is_put_off_and_fills_no_trail(updates, monkeypatch):
    monkeypatch.setattr(approvals, "_ANSWERS", Limit(3))
    wrong = updates.good().saying(decision="perhaps")
    for _ in range(3):
        updates.strike(wrong, 400, "say approve or reject", "asked")
    for _ in range(5):
        answer = updates.strike(wrong, 429, None, "nowhere")
        assert answer.json() == {"error": "That was too often. Try again in a minute."}
    updates.strike(updates.good(wrong.oid), 429, None, "nowhere")
    updates.strike(updates.good().saying(decision="perhaps"), 400, "say approve or reject", "asked")


def test_who_tries_links_too_often_is_put_off(updates, monkeypatch):
    monkeypatch.setattr(approvals, "_ANSWERS", Limit(3))
    guess = updates.good()
    for number in range(6):
        expected = (404, NO_QUESTION, "refused") if number < 3 else (429, None, "nowhere")
        updates.strike(guess.but(token=f"k1.guess-{number}"), *expected)
    still_answerable(updates)


def test_strangers_share_a_limit_of_their_own(updates, monkeypatch):
    monkeypatch.setattr(approvals, "_STRANGERS", Limit(2))
    stranger = updates.good().under({"X-MS-CLIENT-PRINCIPAL": None})
    for number in range(5):
        expected = (401, NOBODY, "refused") if number < 2 else (429, None, "nowhere")
        updates.strike(stranger.under({"X-Forwarded-For": f"203.0.113.{number}"}), *expected)
    updates.strike(updates.good().saying(decision="perhaps"), 400, "say approve or reject", "asked")


def test_who_looks_too_often_is_put_off_and_others_are_not(updates, monkeypatch):
    monkeypatch.setattr(approvals, "_LOOKS", Limit(4))
    anna, bert = updates.good().but(method="GET"), updates.good().but(method="GET")
    stranger = anna.under({"X-MS-CLIENT-PRINCIPAL": None})
    assert [updates.send(anna).status_code for _ in range(6)] == [200] * 4 + [429] * 2
    assert [updates.send(stranger).status_code for _ in range(6)] == [401] * 4 + [429] * 2
    assert updates.send(bert).status_code == 200


@pytest.mark.parametrize(
    ("name", "most"), [("_LOOKS", 300), ("_ANSWERS", 20), ("_STRANGERS", 10)], ids=["looks", "answers", "strangers"]
)
def test_the_limits_are_what_the_tables_take_them_for(monkeypatch, name, most):
    monkeypatch.undo()
    limit: Limit = getattr(approvals, name)
    key = str(uuid.uuid4())
    assert [limit.permits(key, now=0.0) for _ in range(most + 1)] == [True] * most + [False]
    assert limit.permits(key, now=60.0)


# ------------------------------------------------------------------------------------------ the control of the table


def test_the_request_that_every_row_changes_is_taken(updates):
    assert updates.send(updates.good()).status_code == 200
    answer = updates.send(updates.browser(updates.good(question=updates.other)))
    assert answer.status_code == 303
    story = updates.story
    assert [str(one.end) for one in story.endings(2)] == ["repaired", "repaired"]
    assert sorted(story.effects()) == ["PUT blue", "PUT red"]
    story.check_promises()


# ----------------------------------------------------------------------------------- deletions, and two people


def typing(*names: str) -> Change:
    return lambda scene, good: good.saying(typed=list(names))


TYPED = "type the name of what will be deleted: fraud/small-a, fraud/small-b"
DELETIONS = [
    row(name, change, 400, TYPED, "asked")
    for name, change in {
        "no name": lambda scene, good: good.saying(typed=None),
        "one of two": typing("fraud/small-a"),
        "the other order": typing("fraud/small-b", "fraud/small-a"),
        "capitals": typing("fraud/Small-A", "fraud/Small-B"),
        "the same twice": typing("fraud/small-a", "fraud/small-a"),
        "one too many": typing("fraud/small-a", "fraud/small-b", "fraud/live"),
        "the name of another": typing("fraud/live", "fraud/small-b"),
        "the endpoint": typing("fraud", "fraud"),
        "without the endpoint": typing("small-a", "small-b"),
        "another endpoint": typing("credit-scoring/small-a", "fraud/small-b"),
        "a star": typing("*", "*"),
        "a part of it": typing("fraud/small", "fraud/small"),
        "a look-alike": typing("fraud/small-а", "fraud/small-b"),  # noqa: RUF001 - that is the attack
        "what cannot be seen": typing("fraud/small-a\u200b", "fraud/small-b"),
        "one text": lambda scene, good: good.saying(typed="fraud/small-a,fraud/small-b"),
        "lists": lambda scene, good: good.saying(typed=[["fraud/small-a"], ["fraud/small-b"]]),
        "other fields": lambda scene, good: good.saying(typed=None, to_type=["fraud/small-a", "fraud/small-b"]),
        "one field for both": lambda scene, good: scene.browser(good.saying(typed=["fraud/small-a fraud/small-b"])),
    }.items()
]


@pytest.mark.parametrize(("change", "status", "why", "where"), DELETIONS)
def test_a_deletion_needs_the_typed_names(deletion, change, status, why, where):
    deletion.strike(change(deletion, deletion.good()), status, why, where)
    still_answerable(deletion)


ANNA, BERT, CARLA = (f"{name * 8}-0000-4000-8000-00000000000{name}" for name in "abc")
NAMES = {"typed": ["fraud/small-a", "fraud/small-b"]}


def test_where_two_are_needed_one_person_is_one_however_they_are_spelled_and_whatever_they_add(deletion):
    story, trail, plan = deletion.story, deletion.story.trail, deletion.asked.plan
    wider: dict[str, Any] = {
        "plan": deletion.asked.incident_id,
        "calls": ["DELETE live"],
        "decision_digest": "0" * 64,
        "quorum": 1,
        "approvers": [ANNA],
        "approved": True,
        "by": {"oid": BERT, "tid": answering.TENANT},
        "at": "2020-01-01T00:00:00Z",
    }
    first = deletion.send(deletion.good(ANNA).saying(**NAMES, **wider))
    assert first.status_code == 200
    assert first.json() == {"words": "your approval counts; 1 more is needed", "state": "open"}
    (vote,) = trail.votes(plan)
    assert (vote.plan, vote.by) == (plan, Caller(oid=ANNA, tid=answering.TENANT))
    assert vote.at > deletion.asked.at
    deletion.settle()
    said = f"you approved it at {vote.at:%Y-%m-%d %H:%M:%S} UTC"
    for oid in (ANNA, ANNA.upper(), ANNA.title()):
        again = deletion.good(oid).saying(**NAMES)
        deletion.strike(again, 403, said, "asked")
        deletion.strike(again.saying(decision="reject", comment="no"), 403, said, "asked")
    deletion.strike(deletion.good(CI).saying(**NAMES), 403, OWN, "asked")
    deletion.theatre.host.client.raise_orchestration_event(deletion.asked.incident_id, deletion.asked.bell)
    deletion.settle()
    assert trail.answered(plan) is None
    assert story.sends() == []

    second = deletion.send(deletion.good(BERT).saying(**NAMES))
    assert second.status_code == 200
    assert second.json() == {"words": f"approved by {ANNA} and {BERT}", "state": "approved"}
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["DELETE small-a", "DELETE small-b", "PUT green"]
    story.check_promises()


FORGED_VOTES: dict[str, Callable[[Question], dict[str, Any]]] = {
    "about another plan": lambda asked: {"plan": "0" * 64},
    "too late": lambda asked: {"at": asked.expires_at},
    "by who started it": lambda asked: {"by": Caller(oid=CI, tid=answering.TENANT)},
    "by who started it in upper case": lambda asked: {"by": Caller(oid=CI.upper(), tid=answering.TENANT)},
    "by the same person again": lambda asked: {"by": Caller(oid=ANNA.upper(), tid=answering.TENANT.upper())},
}


@pytest.mark.parametrize("forged", FORGED_VOTES.values(), ids=FORGED_VOTES)
def test_a_vote_that_does_not_count_is_not_counted_however_it_came_to_the_trail(theatre, tell, forged):
    scene = attacks.deletion(theatre, tell)
    story, trail, plan = scene.story, scene.story.trail, scene.asked.plan
    somebody = Caller(oid=str(uuid.uuid4()), tid=answering.TENANT)
    vote = replace(Vote(at=scene.asked.at, plan=plan, by=somebody, approves=True), **forged(scene.asked))
    trail.store.create(f"approvals/{plan}/votes/0123456789abcdef", codec.encode(vote))
    if vote.by.oid != ANNA.upper():
        answer = scene.send(scene.good(ANNA).saying(**NAMES))
        assert answer.status_code == 200
        assert answer.json() == {"words": "your approval counts; 1 more is needed", "state": "open"}
    else:
        trail.vote(Vote(at=scene.asked.at, plan=plan, by=Caller(oid=ANNA, tid=answering.TENANT), approves=True))
    theatre.host.client.raise_orchestration_event(scene.asked.incident_id, scene.asked.bell)
    scene.settle()
    assert trail.answered(plan) is None
    assert (story.effects(), story.sends()) == ([], [])
    still_answerable(scene)


# ------------------------------------------------------------------------------------------------ who is listed


def test_only_who_policy_lists_may_answer_and_no_role_helps(theatre, tell):
    listed, group = str(uuid.uuid4()), str(uuid.uuid4())
    lists = {"retry": {"approvers": {"role": "", "users": [listed], "groups": [group.upper()]}}}
    story = tell(UPDATED, policy={"actions": lists})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    for sent in (
        scene.good(),
        scene.good().by(str(uuid.uuid4()), roles=["Medic.Approver", "Medic.Reader", "Medic.Submit", ""]),
        scene.good().by(str(uuid.uuid4()), groups=str(uuid.uuid4())),
        scene.good().by(str(uuid.uuid4()), groups=listed),
        scene.good().by(group),
        scene.good().by(str(uuid.uuid4()), name=listed, preferred_username=listed),
        scene.good(listed).under(claims(*of_approver(scene.good(listed)), ("idtyp", "app"))),
    ):
        scene.strike(sent, 404, NO_QUESTION, "refused")
        assert scene.send(sent.but(method="GET")).status_code == 404
    in_group = str(uuid.uuid4())
    assert scene.send(scene.good(in_group).by(in_group, roles=[], groups=group).but(method="GET")).status_code == 200
    assert scene.send(scene.good(listed.upper()).by(listed.upper(), roles=[])).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]


# ----------------------------------------------------------------------------------------- replays, and strangers


def seen(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    return answer.status_code, answer.content, sorted(one for one in answer.headers.items() if one[0] != "date")


class Past(Scene):
    """Three questions: one that is open, one that was rejected a moment ago, one that nobody answered in time."""

    expired: Question
    used: Question
    taken: Sent


def past(theatre: Theatre, tell: attacks.Teller) -> Past:
    hazards = [{"kind": "higher-priority", "remaining": 3}]
    story = tell({**TWO, "hazards": hazards}, policy={"approval_window": "PT20S", "actions": {"retry": ROLE}})
    deploy(story, "fraud", "gray")
    story.endings(1)
    (name,) = [name for name in story.trail.store.list("approvals/") if name.endswith("/asked")]
    expired = codec.decode(Question, story.trail.store.read(name))
    theatre.write_policy({"approval_window": "PT40H", "actions": {"retry": ROLE}})
    deploy(story, "credit-scoring", "blue")
    (used,) = open_questions(story, 1)
    deploy(story, "fraud", "red")
    scene = Past(theatre, story, [one for one in open_questions(story, 2) if one != used])
    scene.expired, scene.used = expired, used
    scene.taken = scene.good(question=used).saying(decision="reject", comment="we roll back")
    assert scene.send(scene.taken).status_code == 200
    eventually(lambda: story.trail.ended(used.incident_id), "it did not end")
    scene.settle()
    return scene


def test_to_strangers_every_link_looks_the_same(theatre, tell):
    scene = past(theatre, tell)
    good = scene.good()
    links = {
        "open": good.token,
        "used": scene.taken.token,
        "expired": signed(scene.payload(scene.expired)),
        "unknown": resigned(scene, plan="0" * 64),
        "forged": flipped(good.token, -5),
        "garbage": "nothing",
    }
    strangers = {
        "nobody": good.under({"X-MS-CLIENT-PRINCIPAL": None}),
        "reader": good.by(str(uuid.uuid4()), roles=["Medic.Reader"]),
        "application": good.under(claims(*of_approver(good), ("idtyp", "app"))),
    }
    for who, sent in strangers.items():
        status, words = (401, SIGNED_OUT) if who == "nobody" else (404, NO_OPEN)
        for accept in (JSON, "text/html"):
            for verb in ("GET", "HEAD", "POST"):
                asked = sent.but(method=verb).under({"Accept": accept})
                answers = {name: seen(scene.send(asked.but(token=link))) for name, link in links.items()}
                assert {name for name, one in answers.items() if one != answers["garbage"]} == set()
                assert answers["open"][0] == status
                if verb != "HEAD":
                    assert words.encode() in answers["open"][1]
                    assert (json.loads(answers["open"][1]) == {"error": words}) if accept == JSON else True


def test_an_approver_is_told_who_decided_and_when_and_a_replay_is_refused(theatre, tell):
    scene = past(theatre, tell)
    story, used, expired, taken = scene.story, scene.used, scene.expired, scene.taken
    decided, ended = story.trail.answered(used.plan), story.trail.answered(expired.plan)
    assert decided is not None
    assert ended is not None
    told = f"rejected by {taken.oid}: we roll back, at {decided.at:%Y-%m-%d %H:%M:%S} UTC"
    late = f"nobody answered in time, at {ended.at:%Y-%m-%d %H:%M:%S} UTC"
    for question, state, words in ((used, "rejected", told), (expired, "expired", late)):
        page = scene.page(str(uuid.uuid4()), question)
        assert (page["state"], page["words"], page["antiforgery"]) == (state, words, "")
    html = scene.send(scene.browser(scene.good(question=used)).but(method="GET"))
    assert html.status_code == 200
    assert all(text in html.text for text in (taken.oid, "we roll back", f"{decided.at:%Y-%m-%d %H:%M:%S} UTC"))
    assert "<form" not in html.text

    by_another = scene.good(question=used)
    replays = [taken, taken.saying(decision="approve"), by_another, by_another.saying(decision="reject", comment="no")]
    tries = [(used, f"the question is rejected: {told}", sent) for sent in replays]
    tries.append((expired, f"the question is expired: {late}", scene.good(question=expired)))
    for question, words, sent in tries:
        before = scene.kept()
        answer = scene.send(sent)
        assert (answer.status_code, answer.json()) == (409, {"error": words})
        changed = {name for name, content in scene.kept().items() if before.get(name) != content}
        assert {name.split("/")[2] for name in changed} == {question.incident_id}
        record = story.records(question.incident_id)[-1]
        assert (record.stage, record.facts["why"]) == ("answer-refused", words)
    assert (story.trail.answered(used.plan), story.trail.answered(expired.plan)) == (decided, ended)
    assert story.sends() == []
    still_answerable(scene)
    assert scene.send(scene.good()).status_code == 200
    eventually(lambda: story.trail.ended(scene.asked.incident_id), "it did not end")
    assert story.effects() == ["PUT red"]


def test_the_list_gives_links_to_approvers_alone(updates):
    asked = updates.good().but(method="GET", path="/api/approvals")
    listed = updates.send(asked).json()["questions"]
    assert [one["plan"] for one in listed] == [updates.asked.plan, updates.other.plan]
    assert all("/api/approvals/k1." in one["link"] for one in listed)
    reader = updates.send(asked.by(asked.oid, roles=["Medic.Reader"])).json()["questions"]
    assert [one["link"] for one in reader] == [None, None]
    assert updates.send(asked.by(asked.oid, roles=["Medic.Submit"])).status_code == 403
    assert updates.send(asked.under({"X-MS-CLIENT-PRINCIPAL": None})).status_code == 401


# ----------------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize("kind", ["program", "browser"])
def test_a_comment_is_kept_short_and_clean(theatre, tell, kind):
    story = tell(UPDATED, policy={"actions": {"retry": ROLE}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    evil = "no\r\nSet-Cookie: a=b\x00\x1b[31m\u202e\u2066\u200b<script>alert(1)</script>{{7*7}}" + "x" * 10_000
    good = scene.good().saying(decision="reject", comment=evil)
    answer = scene.send(scene.browser(good) if kind == "browser" else good)
    assert answer.status_code == (303 if kind == "browser" else 200)
    if kind == "browser":
        assert answer.headers["location"] == f"/api/approvals/{good.token}"
    (vote,) = story.trail.votes(scene.asked.plan)
    clean = "no  Set-Cookie: a=b[31m<script>alert(1)</script>{{7*7}}"
    assert vote.comment.startswith(clean)
    assert vote.comment.endswith("x…")
    assert len(vote.comment) == 500
    assert vote.comment.isprintable()
    end, words = story.ending()
    assert (end, words) == ("rejected", f"rejected by {good.oid}: {vote.comment}")
    visitor = scene.good(question=scene.asked)
    named = scene.browser(visitor.by(visitor.oid, name="<script>alert(2)</script>\u202e"))
    shown = scene.send(named.but(method="GET")).text
    assert "<script>" not in shown
    assert "{{7*7}}" in shown
    assert not {"\x00", "\x1b", "\u202e", "\u2066", "\u200b"} & set(shown)
    assert story.effects() == []


def test_an_approval_approves_what_was_asked_whatever_else_is_sent_with_it(theatre, tell):
    story = tell(UPDATED, policy={"actions": {"retry": ROLE}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    (planned,) = scene.page(str(uuid.uuid4()))["calls"]
    wider: dict[str, Any] = {
        "plan": "0" * 64,
        "calls": [f"DELETE {story.resource}"],
        "effect": "everything",
        "action": "delete-idle",
        "parameters": {"endpoint": "fraud"},
        "incident": "inc-0",
        "__proto__": {"approved": True},
    }
    assert scene.send(scene.good().saying(**wider)).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
    assert [intent.call for intent, _ in story.intents()] == [planned]
    assert [intent.plan for intent, _ in story.intents()] == [scene.asked.plan]


# ------------------------------------------------------------------------------------------------ from the hub


def orders(scene: Scene) -> tuple[dict[str, Any], dict[str, Any]]:
    """The input of the walk that asks, as the hub keeps it, and the same dressed up as approved."""
    known = scene.theatre.host.client.get_orchestration_state(scene.asked.incident_id)
    assert known is not None
    order = json.loads(known.serialized_input or "null")
    forged = {
        "verdict": "run",
        "approved": True,
        "answered": {"approved": True, "plan": scene.asked.plan},
        "decision": scene.asked.decision,
        "plan": scene.asked.plan,
        "action": "retry",
        "cause": "canceled-higher-priority",
        "desks": [],
        "wait_s": 0,
        "number": 0,
        "attempt": 1,
    }
    return order, {**order, **forged}


def ran(scene: Scene, name: str, orchestrator: str, order: dict[str, Any]) -> dict[str, Any]:
    """Put an order into the hub, and give what came of it."""
    hub = scene.theatre.host.client
    hub.schedule_new_orchestration(orchestrator, input=order, instance_id=name)
    over = hub.wait_for_orchestration_completion(name, timeout=20)
    assert over is not None
    return json.loads(over.serialized_output or "null")


@pytest.mark.parametrize(
    ("attempt", "words"), [(1, ": nobody approved it"), (9, "nothing on the trail permits attempt 9")]
)
def test_an_order_to_repair_that_somebody_puts_into_the_hub_writes_nothing_that_nobody_approved(
    updates, attempt, words
):
    _, forged = orders(updates)
    output = ran(updates, f"forged-{attempt}", "repair", {**forged, "attempt": attempt})
    assert (output["verdict"], output["end"]) == ("end", "refused")
    assert output["words"].endswith(words)
    story = updates.story
    assert (story.effects(), story.sends(), story.intents()) == ([], [], [])
    assert updates.is_whole
    assert updates.votes() == [(), ()]
    assert story.trail.ended(updates.asked.incident_id) is None
    still_answerable(updates)


def test_an_order_to_walk_an_incident_that_another_walk_holds_does_nothing(updates):
    _, forged = orders(updates)
    before = updates.kept()
    assert ran(updates, "forged-walk", "remediate", {**forged, "nonce": uuid.uuid4().hex}) == {"end": "duplicate"}
    assert updates.kept() == before
    still_answerable(updates)


def test_a_second_walk_with_the_claim_of_the_first_waits_for_the_same_answer_and_sends_nothing_more(theatre, tell):
    story = tell(UPDATED, policy={"actions": {"retry": ROLE}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    hub = theatre.host.client
    order, _ = orders(scene)
    hub.schedule_new_orchestration(
        "remediate", input={**order, "verdict": "run", "approved": True, "question_s": 0}, instance_id="second"
    )
    scene.settle()
    assert (scene.is_whole, scene.votes(), story.sends()) == (True, [()], [])
    assert scene.send(scene.good()).status_code == 200
    assert story.ending()[0] == "repaired"
    hub.raise_orchestration_event("second", scene.asked.bell)
    hub.wait_for_orchestration_completion("second", timeout=20)
    assert story.effects() == ["PUT blue"]
    story.check_promises()


@pytest.mark.parametrize("attempt", [1, 2, 9])
def test_an_approval_that_was_used_carries_no_further_send(theatre, tell, attempt):
    story = tell(UPDATED, policy={"actions": {"retry": ROLE}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    _, forged = orders(scene)
    assert scene.send(scene.good()).status_code == 200
    assert story.ending()[0] == "repaired"
    ran(scene, f"late-{attempt}", "repair", {**forged, "attempt": attempt})
    assert story.effects() == ["PUT blue"]
    assert len(story.sends()) == 1
    story.check_promises()


def copied(scene: Scene, digest: str) -> str:
    """The other question's decision, put beside the evidence under the plan digest of the first."""
    evidence = services().evidence
    decision = evidence.get(Decision, scene.other.decision)
    return evidence.put(replace(decision, plan=replace(decision.plan, digest=digest)))


def test_an_approval_carries_no_other_plan_that_is_given_its_digest(theatre, tell):
    scene = attacks.two_questions(theatre, tell, wait="PT5M")
    _, forged = orders(scene)
    decision = copied(scene, scene.asked.plan)
    assert scene.send(scene.good()).status_code == 200
    ran(scene, "retargeted", "repair", {**forged, "decision": decision})  # while the approved one waits for its turn
    story = scene.story
    eventually(lambda: story.trail.ended(scene.asked.incident_id), "it did not end")
    assert story.trail.answered(scene.other.plan) is None
    assert "PUT red" not in story.effects()
    assert {intent.incident_id for intent, _ in story.intents()} <= {scene.asked.incident_id}


def test_a_final_answer_that_is_copied_from_another_question_approves_nothing(theatre, tell):
    scene = attacks.two_questions(theatre, tell)
    story, store = scene.story, scene.story.trail.store
    assert scene.send(scene.good()).status_code == 200
    eventually(lambda: story.trail.ended(scene.asked.incident_id), "it did not end")
    store.create(f"approvals/{scene.other.plan}/decided", store.read(f"approvals/{scene.asked.plan}/decided"))
    theatre.host.client.raise_orchestration_event(scene.other.incident_id, scene.other.bell)
    scene.settle()
    time.sleep(0.5)
    assert story.effects() == ["PUT blue"]


def test_who_was_struck_off_the_list_after_the_question_was_asked_approves_nothing(theatre, tell):
    former, present = str(uuid.uuid4()), str(uuid.uuid4())
    story = tell(UPDATED, policy={"actions": {"retry": {"approvers": {"role": "", "users": [former]}}}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    theatre.write_policy({"actions": {"retry": {"approvers": {"role": "", "users": [present]}}}})
    scene.send(scene.good(former))
    again = Scene(theatre, story, [story.question(after=[scene.asked])])
    assert again.asked.voids == scene.asked.plan
    again.strike(again.good(former), 404, NO_QUESTION, "refused")
    assert again.send(again.good(present)).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]


# ------------------------------------------------------------------------------------------------------ races


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Do things in threads that begin together."""
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(number: int) -> None:
        barrier.wait()
        results[number] = jobs[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Room:
    """The page of one question, without a host: answers go to the route's own function, and the store is slow."""

    def __init__(self, folder: Any, seed: int) -> None:
        policy = folder / "policy.yaml"
        policy.write_bytes(POLICY.read_bytes())
        fixed: dict[str, Any] = {"arm_url": "http://127.0.0.1:9", "arm_token": "t", "policy": str(policy)}
        keys: dict[str, Any] = {"approval_keys": {"k1": KEY}, "approval_active_kid": "k1"}
        self.own = Services(Settings(store=str(folder / "store"), **fixed, **keys), clock=self._clock)
        self.store = MemoryStore()
        self.own.trail, self.own.evidence = Trail(self.store), EvidenceStore(MemoryStore())
        decision = self.own.evidence.put(decision_for("retry"))
        self.question = make_question("retry", decision=decision)
        self.own.trail.open_incident(make_incident_of("retry"), "n", NOON)
        self.own.trail.ask(self.question)
        self._random, self._lock, self._ticks = random.Random(seed), threading.Lock(), 0
        self.store.fails = self._pause

    def _clock(self):
        with self._lock:
            self._ticks += 1
            return NOON + timedelta(minutes=5, milliseconds=self._ticks)

    def _pause(self, name: str) -> bool:
        time.sleep(self._random.choice((0, 0, 0.0005, 0.002)))
        return False

    def answer(self, oid: str, decision: str) -> Callable[[], tuple[int, dict[str, Any]]]:
        question = self.question
        payload = [question.incident_id, question.plan, question.policy_version, int(question.expires_at.timestamp())]
        value = signed([answering.TENANT, oid, question.plan], salt=FORM)
        body = {"decision": decision, "comment": "because", "antiforgery": value}
        req = func.HttpRequest(
            "POST",
            "http://127.0.0.1:7071/api/approvals/x",
            headers={**answering.principal(oid), "Accept": JSON, "Content-Type": JSON},
            route_params={"token": signed(payload)},
            body=json.dumps(body).encode(),
        )

        def take() -> tuple[int, dict[str, Any]]:
            reply, _ = approvals._take(self.own, req)
            return reply.status_code, json.loads(reply.get_body())

        return take


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([(ANNA, "approve"), (BERT, "approve")], id="two approve"),
        pytest.param([(ANNA, "approve"), (BERT, "reject")], id="one approves and one rejects"),
        pytest.param([(ANNA, "reject"), (BERT, "approve"), (CARLA, "approve")], id="three"),
        pytest.param([(ANNA, "approve"), (ANNA, "reject")], id="one person says both"),
        pytest.param([(ANNA, "approve"), (ANNA.upper(), "approve"), (ANNA, "approve")], id="one person says it thrice"),
    ],
)
def test_of_people_who_answer_at_once_one_is_heard_and_all_are_told_the_same(tmp_path, monkeypatch, answers):
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "true")
    monkeypatch.setattr(approvals, "_ANSWERS", ENOUGH)
    for seed in range(20):
        room = Room(tmp_path, seed)
        replies = at_once(*(room.answer(oid, decision) for oid, decision in answers))
        trail, plan = room.own.trail, room.question.plan
        final, votes = trail.answered(plan), trail.votes(plan)
        assert final is not None
        assert final.approved is not None
        assert room.store.calls.count(f"create approvals/{plan}/decided") <= len(answers)
        assert {status for status, _ in replies} <= {200, 403, 409}
        said = {(body["state"], body["words"]) for status, body in replies if status == 200}
        assert said == {("approved" if final.approved else "rejected", final.words)}
        (by,) = [one for one in votes if one.by == final.by and one.at == final.at]
        assert by.approves is final.approved
        assert len({str(one.by.oid).lower() for one in votes}) == len(votes)
        records = trail.records(room.question.incident_id)
        told = [record for record in records if record.stage == "vote"]
        assert {(record.actor.oid, record.actor.tid) for record in told} == {(one.by.oid, one.by.tid) for one in votes}
        refused = [record for record in records if record.stage == "answer-refused"]
        assert len(refused) == sum(status != 200 for status, _ in replies)
        # Whoever comes later, with whatever, finds it so.
        assert room.answer(str(uuid.uuid4()), "reject")()[0] == 409
        assert trail.answered(plan) == final


@pytest.mark.parametrize(
    "decisions", [("approve", "approve"), ("approve", "reject"), ("reject", "approve", "approve")], ids=" and ".join
)
def test_a_race_over_http_ends_as_its_one_final_answer_says(theatre, tell, decisions):
    story = tell(UPDATED, policy={"actions": {"retry": ROLE}})
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    people = [client(theatre) for _ in decisions]

    def job(number: int, decision: str) -> Callable[[], httpx.Response]:
        sent = scene.good().saying(decision=decision, comment="because")
        path = sent.path.replace("{token}", sent.token)
        return lambda: people[number].post(path, headers=dict(sent.headers), content=sent.body)

    replies = at_once(*(job(number, decision) for number, decision in enumerate(decisions)))
    for one in people:
        one.close()
    final = story.trail.answered(scene.asked.plan)
    assert final is not None
    assert {one.status_code for one in replies} <= {200, 409}
    assert {one.json()["words"] for one in replies if one.status_code == 200} == {final.words}
    end, words = story.ending()
    (record,) = story.records(stage="answer")
    assert (record.facts["approved"], record.facts["words"]) == (final.approved, final.words)
    if final.approved:
        assert (end, story.effects()) == ("repaired", ["PUT blue"])
    else:
        assert (end, words, story.effects()) == ("rejected", final.words, [])
    story.check_promises()


@pytest.mark.parametrize("lost", ["0000.jsonl", "/decided"])
def test_an_answer_that_the_store_lost_half_of_is_whole_once_it_is_sent_again(tmp_path, monkeypatch, lost):
    monkeypatch.setattr(approvals, "_ANSWERS", ENOUGH)
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "true")
    room = Room(tmp_path, 0)
    room.store.fails = lambda name: name.endswith(lost)
    with pytest.raises(StoreUnavailable):
        room.answer(ANNA, "approve")()
    room.store.fails = lambda _: False
    room.answer(ANNA, "approve")()
    final = room.own.trail.answered(room.question.plan)
    assert final is not None
    assert (final.approved, final.by.oid) == (True, ANNA)
    stages = [record.stage for record in room.own.trail.records(room.question.incident_id)]
    assert stages.count("vote") == 1


# ------------------------------------------------------------------------------------- what only looks may not do


def test_a_look_at_a_link_that_names_nothing_leaves_no_trace(updates):
    before = updates.kept()
    for token in ("k1.nothing", updates.good().token[:-2], "x"):
        for method in ("GET", "HEAD"):
            assert (
                updates.story.http.request(
                    method, f"/api/approvals/{token}", headers=answering.principal(str(uuid.uuid4()))
                ).status_code
                == 404
            )
    assert updates.kept() == before


def test_a_question_whose_time_is_over_takes_no_answer_before_the_timer_says_so(theatre, tell, monkeypatch):
    story = tell(UPDATED)
    story.put("blue")
    scene = Scene(theatre, story, open_questions(story, 1))
    good = scene.good()
    late = scene.asked.expires_at
    monkeypatch.setattr(services(), "clock", lambda: late)
    answer = scene.send(good)
    monkeypatch.undo()
    assert answer.status_code == 409
    assert "the question is expired: its time ended at " in answer.text
    assert story.trail.votes(scene.asked.plan) == ()


def test_a_plan_that_is_not_the_one_its_digest_names_is_approved_by_nobody():
    notice = make_notice()
    assert notice.decision is not None
    assert approvals._plans_of(notice) == (notice.decision.plan,)
    other = replace(notice.decision.plan, parameters={"body": "another"})
    assert approvals._plans_of(replace(notice, decision=replace(notice.decision, plan=other))) == ()
    assert approvals._plans_of(replace(notice, decision=None)) == ()


def test_a_storm_of_which_one_plan_is_not_the_one_that_is_named_is_approved_by_nobody():
    notice = make_notice()
    assert notice.decision is not None
    assert notice.question is not None
    plan = notice.decision.plan
    asked = (Asked(incident="inc-a", plan=plan.digest, decision="d"),) * 2
    question = replace(notice.question, members=asked, plan=storms.plan_digest(one.plan for one in asked))
    share = Share(incident="inc-a", path=notice.incident.resource.path, plan=plan)
    whole = replace(notice, question=question, members=(share,))
    other = replace(share, plan=replace(plan, parameters={"body": "another"}))
    assert approvals._plans_of(whole) == (plan, plan)
    assert approvals._plans_of(replace(whole, members=(other,))) == ()
    assert approvals._plans_of(replace(whole, members=(replace(share, plan=None),))) == ()
    assert approvals._plans_of(replace(whole, members=())) == ()
    assert approvals._plans_of(replace(whole, question=replace(question, members=asked[:1]))) == ()
    assert approvals._plans_of(replace(whole, question=replace(question, plan=plan.digest))) == ()
