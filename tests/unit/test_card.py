"""The card says what a person needs for a decision, and no text of others can make it say or do anything else."""

import json
import unicodedata
from datetime import datetime
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft6Validator
from jsonschema.exceptions import best_match
from msgspec import Struct
from msgspec.structs import asdict, replace

from remediations import codec
from remediations.actions import ACTIONS
from remediations.approval.card import MAX_BYTES, message, subject
from remediations.approval.notice import Kind
from remediations.model import Answer, Caller, Finding, GuardAnswer, Operation, Touch
from tests.builders import NOON, SOMEBODY, make_diagnosis, make_incident
from tests.notices import (
    ANNA,
    BERT,
    LINK,
    PAGE,
    benign_notices,
    make_again,
    make_notice,
    make_question,
    make_refusal,
    make_vote,
    plan_for,
)

BANNED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@cache
def schema():
    text = files("adaptive_cards").joinpath("schemas/schema-1.5.json").read_text(encoding="utf-8")
    return Draft6Validator(json.loads(text))


def content(notice):
    """The card itself, in the only envelope that Workflows takes."""
    body: Any = message(notice)
    (attachment,) = body["attachments"]
    assert body == {"type": "message", "attachments": [attachment]}
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (attachment["contentUrl"], attachment["content"]["version"]) == (None, "1.5")
    assert attachment["content"]["msteams"] == {"width": "Full"}
    return attachment["content"]


def complaint(card):
    """What the schema holds against a card; None if it holds. It does not know Teams' own property."""
    error = best_match(schema().iter_errors({name: value for name, value in card.items() if name != "msteams"}))
    return None if error is None else f"{error.json_path}: {error.message[:300]}"


def nodes(value):
    """Everything in a card that has a type."""
    if isinstance(value, dict):
        if "type" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from nodes(each)


def of_type(card, *types):
    return [node for node in nodes(card) if node["type"] in types]


def lines(card):
    """What stands on a card, line by line."""
    return [
        node["text"] if "text" in node else "".join(run["text"] for run in node["inlines"])
        for node in of_type(card, "TextBlock", "RichTextBlock")
    ]


def shown(notice):
    return "\n".join(lines(content(notice)))


@cache
def constants():
    """All that may stand where Teams reads Markdown."""
    cards = [content(notice) for notice in benign_notices()]
    texts = {node["text"] for card in cards for node in of_type(card, "TextBlock")}
    return texts | {card["fallbackText"] for card in cards}


def check(notice):
    """What holds for every card, whatever stands in its notice."""
    card = content(notice)
    assert complaint(card) is None
    assert len(json.dumps(message(notice), ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_BYTES
    known = {"TextBlock", "RichTextBlock", "TextRun", "Container", "AdaptiveCard", "Action.OpenUrl"}
    assert {node["type"] for node in nodes(card)} <= known
    assert {node["text"] for node in of_type(card, "TextBlock")} | {card["fallbackText"]} <= constants()
    assert {node["url"] for node in nodes(card) if "url" in node} <= {notice.link}
    assert {action["type"] for action in card["actions"]} <= {"Action.OpenUrl"}
    assert "selectAction" not in json.dumps(card)
    text = "".join(run["text"] for run in of_type(card, "TextRun"))
    assert not {unicodedata.category(one) for one in {*text, *subject(notice)}} & BANNED
    assert len(subject(notice)) <= 150
    return card


# ------------------------------------------------------------------------------------------------ every kind


@pytest.mark.parametrize("notice", benign_notices(), ids=lambda notice: str(notice.kind))
def test_a_card_is_valid_and_opens_its_notice_s_link_alone(notice):
    card = check(notice)
    assert [action["url"] for action in card["actions"]] == ([] if notice.link is None else [notice.link])
    assert len(codec.encode(message(notice))) < 20_000
    assert "on the page" not in shown(notice)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_tells_by_its_title_what_it_is(kind):
    titles = {lines(content(make_notice(kind)))[0] for kind in Kind}
    assert len(titles) == len(Kind)
    assert subject(make_notice(kind)).startswith(lines(content(make_notice(kind)))[0])


@pytest.mark.parametrize("kind", Kind)
def test_a_button_says_what_is_to_be_done_there(kind):
    (action,) = content(make_notice(kind))["actions"]
    asks = ("Review and decide", LINK)
    assert (action["title"], action["url"]) == (asks if kind is Kind.ASKED else ("Open the incident", PAGE))


# ------------------------------------------------------------------------------------------------ the question


def test_a_question_is_told_in_order():
    notice: Any = make_again("delete-idle", votes=(make_vote("delete-idle"),))
    text, plan = shown(notice), notice.decision.plan
    parts = [
        "Approve a repair that deletes?",
        "mlw-prod/credit-scoring/green",
        "Its creation or update failed at 2026-11-22 11:55 UTC.",
        "An earlier approval is void",
        "An approval of plan ffffffffffff is void, because what it was about has changed since. This asks anew.",
        "state: was Failed, is Canceled",
        "Until 2026-11-22 16:00 UTC.",
        "2 approvals needed, 1 given.",
        "Who started the operation that failed may reject it, and may not approve it.",
        f"✓ approved by {ANNA.oid} at 2026-11-22 12:07 UTC: Agreed with the owner of the endpoint.",
        "quota-cpu (two independent reads)",
        "The region has not enough CPU quota left for the machines that the deployment asks for.",
        "Evidence for it",
        "usages: 24 of 24 cores of standardDSv2Family are used in westeurope",
        "Other causes that were ruled out",
        "No other cause had to be ruled out.",
        plan.effect,
        "It deletes what only a person can create again.",
        f"1. after 30 s: {plan.calls[0]}",
        f"2. {plan.calls[1]}",
        "What it touches",
        "mlw-prod/credit-scoring/old",
        "• It is deleted.",
        "• No request reached it in the last 30 days, by its endpoint's metrics and its own.",
        "Undo",
        "re-create from the receipt, with traffic 0",
        "Try 1",
        "Why a person is asked",
        "policy says ask for delete-idle",
        "Guards",
        "16 of 16 allow it.",
        "✓ allow not-paused: no pause holds",
        f"mode ask · policy {plan.policy_version} · incident {notice.incident.id} · plan {plan.digest[:12]}",
    ]
    at = -1
    for part in parts:
        at = text.find(part, at + 1)
        assert at >= 0, f"{part!r} is missing, or comes too early"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_call_and_all_that_is_touched_is_told(action):
    notice: Any = make_notice(action=action)
    text = shown(notice)
    assert all(str(call) in text for call in notice.decision.plan.calls)
    assert all(words in text for touch in notice.question.touches for words in touch.says)


def test_a_call_s_wait_is_told():
    text = shown(make_notice(action="grant-roles"))
    assert all(f"{number}. after {wait}: PUT" in text for number, wait in ((3, "2 min"), (4, "5 min"), (5, "10 min")))


@pytest.mark.parametrize("words", ["{{DATE(2026-01-01)}}", "{{", "{{{", "{{{{a}}", "a{{b{{c"])
def test_no_run_holds_two_braces_that_teams_would_read_a_function_in(words):
    notice: Any = make_notice()
    card = content(replace(notice, votes=(replace(make_vote("retry"), comment=words),)))
    assert not [run["text"] for run in of_type(card, "TextRun") if "{{" in run["text"]]
    assert any(line.endswith(f"UTC: {words}") for line in lines(card))


@pytest.mark.parametrize(("action", "did"), [("undo-delete", "delete-idle"), ("undo-grant", "grant-roles")])
def test_who_asked_for_an_undo_of_what_and_why_is_told(action, did):
    text = shown(make_notice(action=action))
    assert f"Asked for by {SOMEBODY.oid}, who says: the fraud team needs it" in text
    assert f"{did} did it in inc-0123456789abcdef01234567." in text
    assert "Asked for by" not in shown(make_notice())


def test_evidence_against_and_rivals_are_told():
    text = shown(make_notice(action="grant-roles"))
    assert "role assignments: one was made a minute ago, and may be effective soon" in text
    assert "Rivals that no read ruled out: image-not-found" in text
    assert "No other cause had to be ruled out." not in text


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        pytest.param((), "2 approvals needed, 0 given.", id="none"),
        pytest.param((ANNA,), "2 approvals needed, 1 given.", id="one"),
        pytest.param((ANNA, BERT), "2 approvals needed, 2 given.", id="two"),
        pytest.param((ANNA, ANNA), "2 approvals needed, 1 given.", id="one of them twice"),
        pytest.param((ANNA, SOMEBODY), "2 approvals needed, 1 given.", id="who started the operation"),
    ],
)
def test_approvals_that_count_are_counted(votes, words):
    given = tuple(make_vote("delete-idle", by=by) for by in votes)
    assert words in shown(make_notice(action="delete-idle", votes=given))


def test_a_rejection_and_an_approval_of_another_plan_are_no_approvals():
    votes = (make_vote(approves=False), make_vote(plan="another", by=BERT))
    text = shown(make_notice(votes=votes))
    assert "1 approval needed, 0 given." in text
    assert f"✗ rejected by {ANNA.oid}" in text


def test_a_failure_after_a_failed_repair_tells_both_times():
    incident = make_incident(failed_at=NOON, first_failed_at=make_incident().failed_at, operation=Operation.DELETE)
    text = shown(make_notice(incident=incident))
    assert "Its deletion failed at 2026-11-22 11:55 UTC." in text
    assert "It failed again at 2026-11-22 12:00 UTC." in text


def test_guards_that_refuse_come_first_and_are_not_told_by_color_alone():
    text = shown(make_notice(decision=make_refusal()))
    first = text.index("✗ deny not-protected: tag medic=off protects it")
    second = text.index("? unknown nobody-intervened: the Activity Log of the resource cannot be read")
    assert first < second < text.index("✓ allow")


# ------------------------------------------------------------------------------------------------ the ends


def test_an_end_tells_how_it_came_and_what_was_planned():
    text = shown(make_notice(Kind.APPROVED))
    assert f"approved by {ANNA.oid}: Agreed with the owner of the endpoint." in text
    assert "canceled-higher-priority (two independent reads)" in text
    assert plan_for("retry").effect in text
    assert "What to do" not in text


@pytest.mark.parametrize("kind", [Kind.NOT_REPAIRED, Kind.INCONCLUSIVE, Kind.ADVISED, Kind.REFUSED, Kind.EXPIRED])
def test_where_a_person_has_to_act_the_card_says_what_to_do(kind):
    diagnosis = make_diagnosis(
        what="What it is.", advice="Do this.", commands=("az one", "az two"), notes=("A note.",), limits="Not more."
    )
    card = content(make_notice(kind, diagnosis=diagnosis))
    parts = ("What it is.", "Do this.", "az one", "az two", "• A note.", "Not more.")
    assert [part for part in parts if part not in lines(card)] == []
    runs = {run["text"]: run for run in of_type(card, "TextRun")}
    assert runs["az one"]["fontType"] == "Monospace"


def test_a_refusal_tells_which_guard_said_no():
    text = shown(make_notice(Kind.REFUSED))
    assert "12 of 14 allow it." in text
    assert "✗ deny not-protected: tag medic=off protects it" in text
    assert "✓" not in text


# ------------------------------------------------------------------------------------------------ the length


def long_notice(count=2_000):
    """A deletion with far more of everything than a card can hold."""
    notice: Any = make_again("delete-idle")
    answers = tuple(
        GuardAnswer(guard=f"guard-{number}", answer=Answer.ALLOW, words="it allows " * 9) for number in range(count)
    )
    answers = (*answers, GuardAnswer(guard="guard-no", answer=Answer.DENY, words="it denies"))
    findings = tuple(Finding(read="log", says=f"line {number}: {'x' * 8_000}") for number in range(count))
    diagnosis = replace(notice.diagnosis, supporting=findings, opposing=findings, rivals=("rival",) * count)
    touches = tuple(Touch(path=f"/touched/{number}", says=(f"It is {number}.",) * 9) for number in range(count))
    question = replace(notice.question, touches=touches, differences=("was a, is b",) * count)
    votes = tuple(make_vote("delete-idle", by=Caller(oid=f"o-{number}")) for number in range(count))
    decision = replace(notice.decision, answers=answers)
    return replace(notice, decision=decision, diagnosis=diagnosis, question=question, votes=votes)


def test_what_matters_least_is_shortened_first_and_said_to_stand_on_the_page():
    notice: Any = long_notice()
    check(notice)
    text = shown(notice)
    assert "2000 more, on the page." in text
    assert all(str(call) in text for call in notice.decision.plan.calls)
    assert "/touched/0\n• It is 0." in text
    assert notice.decision.plan.undo in text


def test_a_little_too_much_takes_only_from_the_evidence():
    notice: Any = make_notice(action="delete-idle")
    findings = tuple(Finding(read="log", says=f"line {number} {'x' * 200}") for number in range(50))
    notice = replace(notice, diagnosis=replace(notice.diagnosis, supporting=findings))
    check(notice)
    text = shown(notice)
    assert text.count("on the page.") == 1
    assert "log: line 0 x" in text
    assert "✓ allow desk-is-ours" in text


def test_nothing_is_cut_that_fits():
    notice: Any = make_notice(action="grant-roles")
    assert "…" not in shown(notice)


@pytest.mark.parametrize("one", ["x", '"', "\\", "日", "😀", "\u200b", " ", "\n"])
@pytest.mark.parametrize("kind", Kind)
def test_names_of_any_length_fit(kind, one):
    name = one * 10_000
    check(poisoned(make_notice(kind, action="grant-roles"), lambda _: name))
    check(poisoned(make_again("delete-idle", kind=kind), lambda _: name, grow=50))


# ------------------------------------------------------------------------------------------------ hostile texts


def poisoned(value: Any, text: Any, *, grow: int = 1) -> Any:
    """The same value with other texts in every field that holds one, and longer lists.

    Left alone are the fields that only we write: enumerations, and the link.
    """
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Struct):
        fields = {name: each for name, each in asdict(value).items() if name != "link"}
        return replace(value, **{name: poisoned(each, text, grow=grow) for name, each in fields.items()})
    if isinstance(value, tuple):
        longer = value if not value or isinstance(value[0], Caller) else value * grow
        return tuple(poisoned(each, text, grow=grow) for each in longer)
    if isinstance(value, dict):
        return {text(name): poisoned(each, text, grow=grow) for name, each in value.items()}
    assert value is None or isinstance(value, int | float | datetime) or hasattr(value, "total_seconds"), type(value)
    return value


HOSTILE = (
    "<script>alert(1)</script>",
    "[x](https://evil.example)",
    "**b** _i_ `c` # h",
    "{{DATE(2026-01-01T00:00:00Z)}} {{TIME(2026-01-01T00:00:00Z)}}",
    "${$root.secret}",
    "https://evil.example/approve",
    "\u202eexe.gpj\u202c\u2066\u2067\u2069",
    "one\r\ntwo\n\n- three\u2028four",
    "\x00\x1b[31m\x07\x9b",
    "\ud800 and \udfff",
    "\u200b\u200d\ufeff\u00ad\U000e0041",
    '","url":"https://evil.example","x":"',
    "a" * 10_000,
    "😀" * 10_000,
    "",
)
HOSTILES = st.sampled_from(HOSTILE) | st.text(alphabet=st.characters(exclude_categories=()), max_size=60)
NOTICES = benign_notices()


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=40)
@given(st.sampled_from(range(len(NOTICES))), st.lists(HOSTILES, min_size=1, max_size=6), st.sampled_from([1, 1, 3, 40]))
def test_no_text_of_others_becomes_anything_but_text(number, texts, grow):
    left = iter(texts * 100_000)
    check(poisoned(NOTICES[number], lambda _: next(left), grow=grow))


def test_each_hostile_text_is_shown_as_it_is_written():
    for text in ("[x](https://evil.example)", "{{DATE(2026-01-01T00:00:00Z)}}", "<script>alert(1)</script>"):
        notice = make_notice(incident=replace(make_incident(), id=text), words=text)
        assert text in shown(notice)


def test_texts_of_others_are_in_the_poisoned_notices():
    seen: list[str] = []

    def keep(text: str) -> str:
        seen.append(text)
        return text

    poisoned(make_again("delete-idle"), keep)
    assert {"mlw-prod", "not-paused", "It is deleted.", "state: was Failed, is Canceled", "quota-cpu"} <= set(seen)


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("javascript:alert(1)", id="script"),
        pytest.param("data:text/html,x", id="data"),
        pytest.param("//evil.example/x", id="no scheme"),
        pytest.param("https://medic.example/a b", id="space"),
        pytest.param("https://medic.example/a\nb", id="line break"),
        pytest.param("https://medic.example/\u202e", id="direction"),
        pytest.param("https://medic.example/${x}", id="template"),
        pytest.param(f"https://medic.example/{'x' * 5_000}", id="long"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_link_is_no_button(link):
    assert check(make_notice(link=link))["actions"] == []


def test_a_question_without_touches_or_calls_is_still_one():
    notice: Any = make_notice(question=make_question(touches=(), callers=()))
    notice = replace(notice, decision=replace(notice.decision, plan=replace(notice.decision.plan, steps=(), undo="")))
    check(notice)
