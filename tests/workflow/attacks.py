"""A question to people, the request that answers it rightly, and what must hold after every other one.

An attack is that request with something changed. It is told apart from harm by the store, byte by byte, and by the
simulator's ledger.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from msgspec import Struct
from msgspec.structs import replace

from local import answering
from local.arm.resources import Refusal
from remediations.approval import token
from remediations.trail import Question, Vote
from tests.workflow.theatre import KEY, Story, Theatre, eventually, short_of_cores

OTHER_KEY = "another-approval-key-0123456789abcdef"
RETIRED_KEY = "retired-approval-key-0123456789abcdef"
SIGNED = {"MEDIC_APPROVAL_KEYS": json.dumps({"k1": KEY, "k2": OTHER_KEY}), "MEDIC_APPROVAL_ACTIVE_KID": "k1"}
LINK, FORM = token._LINK, token._FORM
JSON, FIELDS = "application/json", "application/x-www-form-urlencoded"
NO_QUESTION = "the link names no question that this person may answer"
NOT_SHOWN = "the page was not shown to you, or long ago: open it again and answer there"
NOBODY = "nobody is signed in"
ELSEWHERE = "another site sent this answer"
UNREADABLE = "the answer cannot be read: send a form or JSON, each field once"
NEITHER = "the answer is neither a form nor JSON"
BY_THE_HOST = (  # its own words, before any of our code: Azure's host has others
    '{"error":"no function has this route and method"}',
    '{"error":"the body is larger than 2097152 bytes"}',
    "Not Found",
    "Method Not Allowed",
)
SECURE = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}
TWO: dict[str, Any] = {
    "workspaces": [
        {
            "name": "mlw-demo",
            "endpoints": [
                {"name": "credit-scoring", "deployments": [{"name": "blue"}]},
                {"name": "fraud", "deployments": [{"name": "red"}, {"name": "gray"}]},
            ],
        }
    ],
    "failed_update_shows": "new",
    "hazards": [{"kind": "higher-priority", "remaining": 2}],
}
_SMALL = {"properties": {"instanceType": "Standard_DS2_v2"}}
SHORT_OF_CORES = short_of_cores(24, **{"small-a": _SMALL, "small-b": _SMALL})
ROLE = {"approvers": {"role": "Medic.Approver"}}


def signed(payload: object, *, key: str = KEY, kid: str = "k1", salt: str = LINK, ago: timedelta = timedelta(0)) -> str:
    """What somebody who has a key could sign: any payload, at any time."""

    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time() - ago.total_seconds())

    made = URLSafeTimedSerializer(key, salt=salt, signer=Signer, signer_kwargs={"digest_method": hashlib.sha256})
    return f"{kid}.{made.dumps(payload)}"


def flipped(text: str, at: int) -> str:
    """The text with one bit of one character of base64 changed."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:at] + alphabet[alphabet.index(text[at]) ^ 0b100000] + text[at + 1 :]


class Sent(Struct, frozen=True, kw_only=True):
    """A request. `fields` are its body unless `content` is."""

    method: str = "POST"
    token: str
    path: str = "/api/approvals/{token}"
    query: str = ""
    oid: str
    headers: Mapping[str, str] = {}
    fields: Mapping[str, Any] = {}
    content: bytes | None = None

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def saying(self, **fields: Any) -> Self:
        """The same with other fields in its body; without those that are None."""
        merged = {**self.fields, **fields}
        return replace(self, fields={name: value for name, value in merged.items() if value is not None})

    def under(self, headers: Mapping[str, str | None]) -> Self:
        """The same with other headers; without those that are None."""
        merged = {**self.headers, **headers}
        return replace(self, headers={name: value for name, value in merged.items() if value is not None})

    def by(self, oid: str, **claims: Any) -> Self:
        """The same sent by somebody else, with the value of a form that was shown to them."""
        return replace(self, oid=oid).under(answering.principal(oid, **claims))

    @property
    def body(self) -> bytes:
        if self.content is not None:
            return self.content
        if self.headers.get("Content-Type") == FIELDS:
            return urlencode(self.fields, doseq=True).encode()
        return json.dumps(self.fields).encode()


class Scene:
    """Open questions of one story, which all attacks of a table are tried on."""

    def __init__(self, theatre: Theatre, story: Story, asked: list[Question]) -> None:
        self.theatre, self.story = theatre, story
        self.asked, self.others = asked[0], asked[1:]
        self.http = client(theatre)
        self.settle()

    @property
    def other(self) -> Question:
        return self.others[0]

    @property
    def is_whole(self) -> bool:
        trail = self.story.trail
        return all(
            trail.question(one.plan) == one and trail.answered(one.plan) is None for one in (self.asked, *self.others)
        )

    def settle(self) -> None:
        """Wait until the app has put down its pen."""
        seen = [self.kept()]

        def is_quiet() -> bool:
            time.sleep(0.2)
            seen.append(self.kept())
            return seen[-1] == seen[-2]

        eventually(is_quiet, "the store did not come to rest")

    def kept(self) -> dict[str, bytes]:
        """Every file of the store."""
        folders = [self.theatre.folder / name for name in ("trail", "evidence")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        found: dict[str, bytes] = {}
        for path in files:
            with suppress(FileNotFoundError):  # what a writer keeps aside for a moment
                found[str(path.relative_to(self.theatre.folder))] = path.read_bytes()
        return found

    # What is sent

    def payload(self, question: Question | None = None) -> list[Any]:
        one = question or self.asked
        return [one.incident_id, one.plan, one.policy_version, int(one.expires_at.timestamp())]

    def form_value(self, oid: str, plan: str | None = None, *, tid: str = answering.TENANT, **options: Any) -> str:
        return signed([tid, oid, plan or self.asked.plan], salt=FORM, **options)

    def good(self, oid: str | None = None, *, question: Question | None = None, **fields: Any) -> Sent:
        """What an approver's program rightly sends; by somebody who was not seen before, if nobody is named."""
        one, somebody = question or self.asked, oid or str(uuid.uuid4())
        value = self.form_value(somebody, one.plan)
        return Sent(
            token=signed(self.payload(one)),
            oid=somebody,
            headers={**answering.principal(somebody), "Accept": JSON, "Content-Type": JSON},
            fields={"decision": "approve", "comment": "", "antiforgery": value, **fields},
        )

    def browser(self, good: Sent) -> Sent:
        """The same as the page's own form sends it."""
        own = {"Content-Type": FIELDS, "Origin": self.theatre.host.url, "Sec-Fetch-Site": "same-origin"}
        return good.under({**own, "Accept": "text/html"})

    def send(self, sent: Sent) -> httpx.Response:
        path = sent.path.replace("{token}", sent.token) + (f"?{sent.query}" if sent.query else "")
        content = None if sent.method in {"GET", "HEAD"} and sent.content is None else sent.body
        answer = self.http.request(sent.method, path, headers=dict(sent.headers), content=content)
        if answer.text not in BY_THE_HOST:
            shown = {name: answer.headers.get(name) for name in SECURE}
            assert shown == SECURE, answer.status_code
        assert "access-control-allow-origin" not in answer.headers
        return answer

    def page(self, oid: str, question: Question | None = None) -> dict[str, Any]:
        """What an approver is shown."""
        good = self.good(oid, question=question)
        answer = self.send(good.but(method="GET"))
        assert answer.status_code == 200, answer.text
        return answer.json()

    # What must hold

    def strike(self, sent: Sent, status: int, why: str | None, where: str = "asked") -> httpx.Response:
        """Send an attack. It gets this status, its refusal is kept in that place in these words, and nothing else is.

        Args:
            why: What the record says; None for any words.
            where: ``asked`` or ``other``: on the trail of that question's incident; ``refused``: it named no question;
                ``nowhere``: every byte is as it was.
        """
        before, votes = self.kept(), self.votes()
        answer = self.send(sent)
        after = self.kept()
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert self.is_whole, f"it was taken: {answer.status_code} {answer.text[:300]}"
        assert self.votes() == votes
        assert (self.story.effects(), self.story.sends()) == ([], [])
        assert answer.status_code == status, answer.text[:300]
        told = _told(before, after, changed, where, self.asked, *self.others[:1])
        if where == "nowhere":
            assert changed == set()
        else:
            record = json.loads(told)
            facts = record.get("facts", record)
            by = record.get("actor") or record["by"]
            assert facts["why"] == why or (why is None and facts["why"])
            assert len(facts["why"]) < 200
            assert by["oid"] == (None if why == NOBODY else sent.oid)
            for secret in secrets_of(sent):
                assert secret.encode() not in told, secret
        return answer

    def votes(self) -> list[tuple[Vote, ...]]:
        return [self.story.trail.votes(one.plan) for one in (self.asked, *self.others)]


def secrets_of(sent: Sent) -> list[str]:
    """What a request carried that no record may."""
    texts = [sent.token, *sent.token.split("."), sent.headers.get("X-MS-CLIENT-PRINCIPAL", "")]
    texts += [str(value) for value in sent.fields.values()]
    texts += [one for text in texts for one in text.split(".")]
    return [KEY, OTHER_KEY, RETIRED_KEY, *(text for text in texts if len(text) >= 16 and text != sent.oid)]


def _told(
    before: Mapping[str, bytes], after: Mapping[str, bytes], changed: set[str], where: str, *questions: Question
) -> bytes:
    """The one record that is new, after a look that nothing else is."""
    if where == "nowhere":
        return b""
    if where == "refused":
        (name,) = changed
        assert name.startswith("trail/refused/")
        assert name not in before
        return after[name]
    incident = questions[("asked", "other").index(where)].incident_id
    name, length = (f"trail/audit/{incident}/{one}" for one in ("0000.jsonl", ".0000.jsonl.length"))
    assert changed == {name, length}
    assert after[name].startswith(before[name])
    new = after[name][len(before[name]) :]
    assert new.count(b"\n") == 1
    assert json.loads(new)["stage"] == "answer-refused"
    return new


def client(theatre: Theatre) -> httpx.Client:
    """A client that opens a connection for each request: one that is kept waits for delayed acknowledgements."""
    return httpx.Client(
        base_url=theatre.host.url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False
    )


def deploy(story: Story, endpoint: str, deployment: str) -> None:
    """Deploy; a refusal stands in the ledger and raises an event."""
    with suppress(Refusal):
        story.world.put_deployment("ci", endpoint, deployment)


def open_questions(story: Story, count: int) -> list[Question]:
    """So many open questions, by when they were asked, each with its record on the trail."""

    def found() -> list[Question]:
        asked = sorted(story.trail.open_questions(), key=lambda one: one.at)
        told = [one for one in asked if "question" in story.stages(one.incident_id)]
        return told if len(told) == count else []

    return eventually(found, lambda: f"{count} questions were not asked:\n{story.said()}")


type Teller = Callable[..., Story]


def two_questions(theatre: Theatre, tell: Teller, *, wait: str = "PT1S") -> Scene:
    """A scene of two open questions about updates that failed; one person is enough for each.

    Args:
        wait: Between the approval and the repair, before the theatre's scale.
    """
    story = tell(TWO, policy={"approval_window": "PT40H", "actions": {"retry": {**ROLE, "backoff": wait}}})
    deploy(story, "credit-scoring", "blue")
    first = open_questions(story, 1)
    deploy(story, "fraud", "red")
    second = [one for one in open_questions(story, 2) if one not in first]
    return Scene(theatre, story, [*first, *second])


def deletion(theatre: Theatre, tell: Teller) -> Scene:
    """A scene of one open question about two deletions; two people have to approve."""
    story = tell(SHORT_OF_CORES, policy={"approval_window": "PT40H"})
    deploy(story, "credit-scoring", "green")
    return Scene(theatre, story, open_questions(story, 1))
