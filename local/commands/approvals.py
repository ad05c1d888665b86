"""``medic approvals``: the questions that wait for a person, and a person's answers, through the app's own API.

The app judges: who is asked, who may answer, what has to be typed, what is still open. Nothing here reads a store or
signs anything.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from shlex import quote

import httpx
import typer
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import api, terminal
from remediations import codec
from remediations.approval.view import Change
from remediations.model import Answer, GuardAnswer, Json, Touch
from remediations.trail import Vote

_SHORTEST = 3
_SIGNED = re.compile(r"[\w.-]+")
_NOT_YOURS = (
    "not yours: policy does not list you as an approver of all that it touches, or the app has no key for links"
)
_MARKS = {
    Answer.ALLOW: ("\N{CHECK MARK} ", "green"),
    Answer.DENY: ("\N{BALLOT X} ", "red"),
    Answer.UNKNOWN: ("? ", "yellow"),
}
type Rows = list[tuple[str, RenderableType]]


class AskedFor(Struct, frozen=True, kw_only=True):
    """Who asked for an undo, when and why, and which call of which incident is to be undone."""

    incident: str
    action: str
    path: str
    comment: str
    at: datetime
    by: str | None = None


class StormMember(Struct, frozen=True, kw_only=True):
    """One of many incidents that one question is about."""

    incident: str
    resource: str
    effect: str | None = None
    calls: tuple[str, ...] = ()


class Storm(Struct, frozen=True, kw_only=True):
    """Many incidents of one cause, and what would be done about each."""

    label: str
    members: tuple[StormMember, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """One open question, as the app lists it.

    Attributes:
        link: Where to answer; None for who may not, and where no key signs links.
    """

    incident: str
    plan: str
    expires_at: datetime
    resource: str | None = None
    cause: str | None = None
    action: str | None = None
    effect: str | None = None
    calls: tuple[str, ...] = ()
    undo: str | None = None
    asked_for: AskedFor | None = None
    storm: Storm | None = None
    quorum: int = 1
    approvals: int = 0
    link: str | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """What of a question people are shown."""

    plan: str
    expires_at: datetime
    quorum: int = 1
    touches: tuple[Touch, ...] = ()
    voids: str | None = None
    differences: tuple[str, ...] = ()


class Page(Struct, frozen=True, kw_only=True):
    """A question's page, as the app gives it to a program; what the fields mean stands at `View`."""

    incident: str
    question: Asked
    state: str
    words: str = ""
    resource: str | None = None
    cause: str | None = None
    action: str | None = None
    effect: str | None = None
    calls: tuple[str, ...] = ()
    undo: str | None = None
    asked_for: AskedFor | None = None
    storm: Storm | None = None
    why: str | None = None
    guards: tuple[GuardAnswer, ...] = ()
    read_at: datetime | None = None
    unread: str | None = None
    changes: tuple[Change, ...] = ()
    refusals: tuple[GuardAnswer, ...] = ()
    votes: tuple[Vote, ...] = ()
    may_approve: str | None = None
    may_reject: str | None = None
    to_type: tuple[str, ...] = ()
    antiforgery: str = ""


class Given(Struct, frozen=True, kw_only=True):
    """A person's answer.

    Attributes:
        comment: Why; a rejection needs it.
        typed: Names of what will be deleted, in the page's order; asked for on a terminal if they are left out.
        is_sure: Not to be asked once more on a terminal.
    """

    approves: bool
    comment: str = ""
    typed: tuple[str, ...] = ()
    is_sure: bool = False


class _Listed(Struct, frozen=True):
    questions: tuple[Summary, ...]


class _Taken(Struct, frozen=True):
    words: str


# --------------------------------------------------------------------------------------------- commands


def listing(*, to: str, scope: str | None, as_json: bool) -> int:
    """List the open questions."""
    with _app(to, scope) as app:
        plain = app.get()
    found = api.read(_Listed, plain).questions
    if as_json:
        terminal.say_json(plain)
        return terminal.OK
    console = terminal.out()
    for one in found:
        _show_summary(console, one, look=_command("show", one.incident, to, scope))
        console.print()
    console.print(f"{terminal.counted(len(found), 'open question')}." if found else "No question is open.")
    return terminal.OK


def show(name: str, *, to: str, scope: str | None, as_json: bool) -> int:
    """Show what a person needs to decide about one question."""
    with _app(to, scope) as app:
        one = _named(api.read(_Listed, app.get()).questions, name)
        if one.link is None:
            if not as_json:
                _show_summary(terminal.out(), one)
            terminal.complain(
                f"the question about {api.line(one.incident)} cannot be shown in full: it is {_NOT_YOURS}."
            )
            return terminal.DIFFERS
        plain = app.get(one.link)
    page = api.read(Page, plain)
    if as_json:
        terminal.say_json(plain)
        return terminal.OK
    console = terminal.out()
    _show_page(console, page)
    if page.state == "open":
        rows: Rows = []
        if page.may_approve is None:
            rows.append(("approve", terminal.Exact(_command("approve", page.incident, to, scope))))
        if page.may_reject is None:
            rejecting = _command("reject", page.incident, to, scope)
            rows.append(("reject", terminal.Exact(f"{rejecting} --reason '…'")))
        if rows:
            console.print()
            terminal.show(console, *rows)
    return terminal.OK


def answer(name: str, given: Given, *, to: str, scope: str | None, as_json: bool) -> int:
    """Show a question, and give a person's answer to it."""
    approves, typed = given.approves, given.typed
    verb = "approve" if approves else "reject"
    with _app(to, scope) as app:
        one = _named(api.read(_Listed, app.get()).questions, name)
        if one.link is None:
            terminal.complain(f"you cannot {verb} what {api.line(one.incident)} asks: it is {_NOT_YOURS}.")
            return terminal.DIFFERS
        page = api.read(Page, app.get(one.link))
        _show_page(terminal.err() if as_json else terminal.out(), page)
        why_not = page.may_approve if approves else page.may_reject
        if page.state != "open":
            why_not = f"it is {page.state}: {page.words}"
        if why_not is not None:
            terminal.complain(f"you cannot {verb} it: {api.line(why_not)}.")
            return terminal.DIFFERS
        if approves and page.to_type and not typed:
            typed = _typed(page.to_type)
        if approves and not given.is_sure and not api.is_terminal():
            raise terminal.CommandError("nobody is here to be asked once more: add --yes to approve it.")
        if not given.is_sure and api.is_terminal() and not api.confirmed(f"{verb.capitalize()} it?"):
            terminal.complain("nothing was sent.")
            return terminal.DIFFERS
        plain = app.answer(
            one.link,
            {"decision": verb, "comment": given.comment, "antiforgery": page.antiforgery, "typed": list(typed)},
        )
    if as_json:
        terminal.say_json(plain)
    else:
        console = terminal.out()
        console.print()
        console.print(
            f"{api.line(page.incident)}: {api.line(api.read(_Taken, plain).words)}", style="bold", soft_wrap=True
        )
    return terminal.OK


# ---------------------------------------------------------------------------------------------- the app


class App:
    """The API of one app, as far as it is about questions."""

    def __init__(self, asked: api.Api) -> None:
        self._api = asked

    def get(self, link: str | None = None) -> Json:
        """Give the open questions, or the page of one of them; raises CommandError."""
        reply = self._asked("GET", link)
        if reply.status_code == 200:
            return self._api.json(reply)
        said, base = api.said(reply), self._api.base
        match reply.status_code:
            case 403:
                raise terminal.CommandError(f"{base} refused you: {said}. {api.NEEDS_ROLE}", terminal.DIFFERS)
            case 404 if link is not None:
                fix = "`medic approvals list` shows what is open."
                words = f"the question was not shown: {said}. It is over, or not yours to answer. {fix}"
                raise terminal.CommandError(words, terminal.DIFFERS)
            case 404:
                fix = "Name the base URL of the functions with --to."
                raise terminal.CommandError(f"{base} has no /api/approvals. {fix}", terminal.UNREADABLE)
            case 429:
                raise terminal.CommandError(f"{base} answered 429: {said}.", terminal.DIFFERS)
            case _:
                raise self._api.unusable(reply)

    def answer(self, link: str, body: Mapping[str, Json]) -> Json:
        """Give a person's answer; raises CommandError if it is not taken."""
        reply = self._asked("POST", link, codec.encode(body))
        if reply.status_code == 200:
            return self._api.json(reply)
        if reply.status_code == 401 or not 400 <= reply.status_code < 500:
            raise self._api.unusable(reply)
        fixes = {
            404: " It is over, or not yours to answer. `medic approvals list` shows what is open.",
            409: " `medic approvals list` shows what is open.",
        }
        words = f"the answer was not taken: {api.said(reply)}.{fixes.get(reply.status_code, '')}"
        raise terminal.CommandError(words, terminal.DIFFERS)

    def _asked(self, method: str, link: str | None, content: bytes | None = None) -> httpx.Response:
        path = "/api/approvals"
        if link is not None:
            signed = link.rpartition("/")[2]
            if not _SIGNED.fullmatch(signed):
                words = f"{self._api.base} gave a link that leads nowhere. Is it this version of Endpoint Medic?"
                raise terminal.CommandError(words, terminal.UNREADABLE)
            path = f"{path}/{signed}"
        look = "It may have been taken all the same: look with `medic approvals list`."
        return self._api.request(method, path, content, named="/api/approvals", look=look)


@contextmanager
def _app(to: str, scope: str | None) -> Iterator[App]:
    with api.opened(to, scope) as asked:
        yield App(asked)


def _named(found: Sequence[Summary], name: str) -> Summary:
    """Give the one question that a name begins: an incident's id, with or without its ``inc-``, or a plan's digest."""
    wanted = name.strip().lower()
    prefixes = (wanted, f"inc-{wanted}")
    exact = [one for one in found if one.incident in prefixes or one.plan == wanted]
    begun = [one for one in found if one.incident.startswith(prefixes) or one.plan.startswith(wanted)]
    if not exact and len(wanted.removeprefix("inc-")) < _SHORTEST:
        raise terminal.CommandError(f"{name!r} could be any incident: write at least {_SHORTEST} characters of its id.")
    fitting = exact or begun
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        words = f"no open question is of an incident or a plan that begins with {name!r}"
        raise terminal.CommandError(f"{words}. `medic approvals list` shows them.")
    shown = ", ".join(f"{api.line(one.incident)} (plan {api.line(one.plan)[:12]})" for one in fitting[:5])
    raise terminal.CommandError(f"{name!r} fits {len(fitting)} open questions: {shown}. Write more of it.")


# -------------------------------------------------------------------------------------------- on a terminal


def _typed(names: Sequence[str]) -> tuple[str, ...]:
    """Ask for the names of what will be deleted; raises CommandError where nobody can be asked."""
    if not api.is_terminal():
        options = " ".join(f"--type {quote(api.line(name))}" for name in names)
        raise terminal.CommandError(f"the names of what will be deleted have to be typed: add {options}.")
    count = len(names)
    with api.interrupted():
        return tuple(
            str(typer.prompt(f"Type the name of what will be deleted, {number} of {count}", err=True))
            for number in range(1, count + 1)
        )


# ---------------------------------------------------------------------------------------------- what is shown


def _command(verb: str, incident: str, to: str, scope: str | None) -> str:
    """Give what to type next."""
    words = ["medic", "approvals", verb, quote(api.line(incident))]
    words += ["--to", quote(to)] if to.rstrip("/") != api.HERE else []
    words += ["--scope", quote(scope)] if scope is not None else []
    return " ".join(words)


def _show_summary(console: Console, one: Summary, look: str | None = None) -> None:
    console.print(Text(api.line(one.incident), "bold"), soft_wrap=True)
    rows = _plan_rows(one)
    rows += [
        ("undo", api.line(one.undo or "unknown")),
        ("until", terminal.moment_words(one.expires_at)),
        ("approvals", f"{one.approvals} of {one.quorum}"),
    ]
    if one.link is None:
        rows.append(("answer", _NOT_YOURS))
    elif look is not None:
        rows.append(("look", terminal.Exact(look)))
    terminal.show(console, *rows)


def _plan_rows(one: Summary | Page) -> Rows:
    """Give what would be done, to what and why: the rows of a list and of a page alike."""
    rows: Rows = [("resource", terminal.Exact(api.line(one.resource)))] if one.resource is not None else []
    rows += _wish_rows(one.asked_for)
    if one.action is None:
        return [*rows, ("would", "what would be done cannot be read any more; do not approve it")]
    if one.storm is not None:
        return [*_storm_rows(one.storm), ("cause", api.line(one.cause or "unknown"))]
    rows += [("cause", api.line(one.cause or "unknown")), ("would", api.line(f"{one.action}: {one.effect}"))]
    return rows + [("call", terminal.Exact(api.line(call))) for call in one.calls]


def _storm_rows(storm: Storm) -> Rows:
    """Give what one answer would be for: every member, and the exact calls."""
    rows: Rows = [("storm", api.line(storm.label))]
    for one in storm.members:
        rows += [("resource", terminal.Exact(api.line(one.resource))), ("would", api.line(one.effect or "unknown"))]
        rows += [("call", terminal.Exact(api.line(call))) for call in one.calls]
    return rows


def _wish_rows(asked: AskedFor | None) -> Rows:
    """Give who asked for an undo and why, and what it undoes; nothing for a repair."""
    if asked is None:
        return []
    return [
        ("asked by", api.line(f"{asked.by or 'nobody known'}, at {terminal.moment_words(asked.at)}")),
        ("because", api.line(asked.comment)),
        ("undoes", terminal.Exact(api.line(f"{asked.action} in {asked.incident}: {asked.path}"))),
    ]


def _show_page(console: Console, page: Page) -> None:
    """Print all that a person needs to decide, or how the question ended."""
    question = page.question
    console.print(Text(api.line(page.incident), "bold"), soft_wrap=True)
    rows = _plan_rows(page)
    rows.append(("digest", terminal.Exact(api.line(question.plan))))
    rows += touch_rows(question.touches)
    if question.voids is not None:
        rows.append(("instead", f"of the approved plan {api.line(question.voids)[:12]}, which is void, since"))
        rows += [("", api.line(words)) for words in question.differences]
    rows += guard_rows("guards", page.guards)
    if page.state == "open":
        rows += _live_rows(page)
    rows += [("why", api.line(page.why or "unknown")), ("until", terminal.moment_words(question.expires_at))]
    rows.append(("approvals", f"{sum(vote.approves for vote in page.votes)} of {question.quorum}"))
    rows += [("", _vote_words(vote)) for vote in page.votes]
    rows.append(("undo", api.line(page.undo or "unknown")))
    rows += [("to type", terminal.Exact(api.line(name))) for name in page.to_type]
    rows.append(("you", _you_words(page)))
    terminal.show(console, *rows)


def touch_rows(touches: Sequence[Touch]) -> Rows:
    """Give what a plan reaches, and what that means for it."""
    rows: Rows = []
    for touch in touches:
        rows.append(("touches", terminal.Exact(api.line(touch.path))))
        rows += [("", api.line(words)) for words in touch.says]
    return rows


def _live_rows(page: Page) -> Rows:
    """Give what has changed since, and what would refuse now."""
    at = "" if page.read_at is None else f", read at {terminal.moment_words(page.read_at)}"
    since = [api.line(f"{one.name}: was {_value_words(one.then)}, is {_value_words(one.now)}") for one in page.changes]
    if page.unread is not None:
        since.append(api.line(page.unread))
    if page.read_at is None and not since:
        since.append("unknown: the target was not read")
    rows: Rows = [("since" if not n else "", words) for n, words in enumerate(since or [f"nothing has changed{at}"])]
    if since and at:
        rows.append(("", at.removeprefix(", ")))
    if page.changes:
        rows.append(("", Text("an approval would be void when it comes to the effect", "yellow")))
    if page.read_at is not None and not page.refusals:
        return [*rows, ("now", "no guard would refuse it")]
    return rows + guard_rows("now", page.refusals)


def guard_rows(label: str, answers: Sequence[GuardAnswer]) -> Rows:
    """Give what guards answered, one a line."""
    rows: Rows = []
    for number, one in enumerate(answers):
        words = Text.assemble(_MARKS[one.answer], f"{api.line(one.guard)}: {api.line(one.words)}")
        rows.append(("" if number else label, words))
    return rows


def _vote_words(vote: Vote) -> str:
    said = f": {vote.comment}" if vote.comment else ""
    verb = "approved" if vote.approves else "rejected"
    return api.line(f"{verb} by {vote.by.oid or 'nobody known'} at {terminal.moment_words(vote.at)}{said}")


def _you_words(page: Page) -> str:
    if page.state != "open":
        return api.line(f"nobody can answer any more: it is {page.state}: {page.words}")
    if page.may_approve is None and page.may_reject is None:
        return "may approve or reject it"
    both = (("approve", page.may_approve), ("reject", page.may_reject))
    said = [f"may {verb} it" if why is None else f"may not {verb} it: {why}" for verb, why in both]
    return api.line("; ".join(said))


def _value_words(value: str | None) -> str:
    return "not there" if value is None else value
