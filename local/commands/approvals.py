"""``medic approvals``: the questions that wait for a person, and a person's answers, through the app's own API.

The app judges: who is asked, who may answer, what has to be typed, what is still open. Nothing here reads a store or
signs anything.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from shlex import quote
from urllib.parse import urlsplit

import httpx
import typer
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import terminal
from local.commands.sending import checked
from remediations import codec
from remediations.approval.view import Change
from remediations.model import Answer, GuardAnswer, Json, Touch
from remediations.settings import is_loopback
from remediations.trail import Vote

HERE = "http://127.0.0.1:7071"
_SHORTEST = 3
_SCOPE = "api://<client id of the app's registration>/.default"
_TIMEOUT_S = 30.0
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
    found = _read(_Listed, plain).questions
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
        one = _named(_read(_Listed, app.get()).questions, name)
        if one.link is None:
            if not as_json:
                _show_summary(terminal.out(), one)
            terminal.complain(f"the question about {_line(one.incident)} cannot be shown in full: it is {_NOT_YOURS}.")
            return terminal.DIFFERS
        plain = app.get(one.link)
    page = _read(Page, plain)
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
        one = _named(_read(_Listed, app.get()).questions, name)
        if one.link is None:
            terminal.complain(f"you cannot {verb} what {_line(one.incident)} asks: it is {_NOT_YOURS}.")
            return terminal.DIFFERS
        page = _read(Page, app.get(one.link))
        _show_page(terminal.err() if as_json else terminal.out(), page)
        why_not = page.may_approve if approves else page.may_reject
        if page.state != "open":
            why_not = f"it is {page.state}: {page.words}"
        if why_not is not None:
            terminal.complain(f"you cannot {verb} it: {_line(why_not)}.")
            return terminal.DIFFERS
        if approves and page.to_type and not typed:
            typed = _typed(page.to_type)
        if approves and not given.is_sure and not _is_terminal():
            raise terminal.CommandError("nobody is here to be asked once more: add --yes to approve it.")
        if not given.is_sure and _is_terminal() and not _confirmed(f"{verb.capitalize()} it?"):
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
        console.print(f"{_line(page.incident)}: {_line(_read(_Taken, plain).words)}", style="bold", soft_wrap=True)
    return terminal.OK


# ---------------------------------------------------------------------------------------------- the app


class App:
    """The API of one app. Whatever host a link names, only the address that the user named is asked."""

    def __init__(self, base: str, scope: str | None, client: httpx.Client) -> None:
        self._base = base
        self._scope = scope
        self._client = client

    def get(self, link: str | None = None) -> Json:
        """Give the open questions, or the page of one of them; raises CommandError."""
        reply = self._asked("GET", link)
        if reply.status_code == 200:
            return self._json(reply)
        said = _said(reply)
        match reply.status_code:
            case 403:
                fix = "Have the app role Medic.Reader or Medic.Approver assigned to you, or be listed in the policy."
                raise terminal.CommandError(f"{self._base} refused you: {said}. {fix}", terminal.DIFFERS)
            case 404 if link is not None:
                fix = "`medic approvals list` shows what is open."
                words = f"the question was not shown: {said}. It is over, or not yours to answer. {fix}"
                raise terminal.CommandError(words, terminal.DIFFERS)
            case 404:
                fix = "Name the base URL of the functions with --to."
                raise terminal.CommandError(f"{self._base} has no /api/approvals. {fix}", terminal.UNREADABLE)
            case 429:
                raise terminal.CommandError(f"{self._base} answered 429: {said}.", terminal.DIFFERS)
            case _:
                raise self._unusable(reply)

    def answer(self, link: str, body: Mapping[str, Json]) -> Json:
        """Give a person's answer; raises CommandError if it is not taken."""
        reply = self._asked("POST", link, codec.encode(body))
        if reply.status_code == 200:
            return self._json(reply)
        if reply.status_code == 401 or not 400 <= reply.status_code < 500:
            raise self._unusable(reply)
        fixes = {
            404: " It is over, or not yours to answer. `medic approvals list` shows what is open.",
            409: " `medic approvals list` shows what is open.",
        }
        words = f"the answer was not taken: {_said(reply)}.{fixes.get(reply.status_code, '')}"
        raise terminal.CommandError(words, terminal.DIFFERS)

    def _asked(self, method: str, link: str | None, content: bytes | None = None) -> httpx.Response:
        url = f"{self._base}/api/approvals"
        if link is not None:
            signed = link.rpartition("/")[2]
            if not _SIGNED.fullmatch(signed):
                words = f"{self._base} gave a link that leads nowhere. Is it this version of Endpoint Medic?"
                raise terminal.CommandError(words, terminal.UNREADABLE)
            url = f"{url}/{signed}"
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            return self._client.request(method, url, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = (str(error) or type(error).__name__).rstrip(".")
            fix = "Start it with `medic serve`, or name another place with --to."
            if content is not None:
                fix = "It may have been taken all the same: look with `medic approvals list`."
            words = f"{method} {self._base}/api/approvals got no answer: {why}. {fix}"
            raise terminal.CommandError(words, terminal.UNREADABLE) from error

    def _json(self, reply: httpx.Response) -> Json:
        try:
            return codec.parse_json(reply.content)
        except ValueError as error:
            raise self._unusable(reply) from error

    def _unusable(self, reply: httpx.Response) -> terminal.CommandError:
        """Give what is told of a sign-in that is missing, and of an answer that is not the app's."""
        is_page = "html" in reply.headers.get("Content-Type", "").lower()
        if reply.status_code == 401 or reply.is_redirect or (is_page and reply.status_code < 500):
            what = str(reply.status_code)
            if reply.next_request is not None:
                what = f"{what}, to {reply.next_request.url.host}"
            elif is_page:
                what = f"{what} and a page for people"
            fix = f"Name the app's scope: --scope '{_SCOPE}'"
            if self._scope is not None:
                fix = f"--scope has to be '{_SCOPE}', and `az login` in the app's tenant"
            elif is_loopback(self._base):
                fix = "Start it with `medic serve`, which takes you as signed in, or set MEDIC_DEV_SIGN_IN for it"
            words = f"{self._base} takes nobody as signed in; it answered {what}. {fix}."
        else:
            kind = reply.headers.get("Content-Type") or "without a type"
            said = "" if reply.is_success else f": {_said(reply)}"
            fix = "Look whether --to is right, and at the app's log."
            words = f"{self._base} answered {reply.status_code} ({kind}){said}. {fix}"
        return terminal.CommandError(words, terminal.UNREADABLE)


@contextmanager
def _app(to: str, scope: str | None) -> Iterator[App]:
    base = checked(to).rstrip("/")
    parts = urlsplit(base)
    if parts.query or parts.fragment or parts.username is not None:
        raise terminal.CommandError(f"--to {to!r} is no base URL. Write {HERE}.")
    if scope is None and not is_loopback(base):
        raise terminal.CommandError(f"--to {to!r} needs a sign-in. Name the app's scope: --scope '{_SCOPE}'.")
    headers = {"Accept": "application/json"}
    if scope is not None:
        headers["Authorization"] = f"Bearer {_token(scope)}"
    trusts = not is_loopback(base)  # a proxy stands between us and others, never between us and this machine
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=trusts, headers=headers, follow_redirects=False) as client:
        yield App(base, scope, client)


def _token(scope: str) -> str:
    """Give a token of whoever is signed in here; App Service authentication takes it in place of its own cookie."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - only for an app in Azure
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - 30 MB

    logging.getLogger("azure").setLevel(logging.CRITICAL)
    try:
        with DefaultAzureCredential() as credential:
            return credential.get_token(scope).token
    except (AzureError, ValueError) as error:
        why = str(error).strip().split("\n", 1)[0][:300].rstrip(".")
        words = f"no token for {scope!r}: {why}. Sign in with `az login --scope {quote(scope)}`."
        raise terminal.CommandError(words, terminal.UNREADABLE) from error


def _read[T](type_: type[T], plain: Json) -> T:
    try:
        return codec.load(type_, plain)
    except ValueError as error:
        words = (
            f"the app's answer cannot be read: {_line(str(error))}. Use the `medic` of the version that the app has."
        )
        raise terminal.CommandError(words, terminal.UNREADABLE) from error


def _said(reply: httpx.Response) -> str:
    """Give the app's own words for a refusal, without the full stop at their end."""
    try:
        said = codec.text(codec.mapping(codec.parse_json(reply.content)).get("error"))
    except ValueError:
        said = ""
    return _line(said or reply.reason_phrase or str(reply.status_code)).strip().rstrip(".")[:500]


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
    shown = ", ".join(f"{_line(one.incident)} (plan {_line(one.plan)[:12]})" for one in fitting[:5])
    raise terminal.CommandError(f"{name!r} fits {len(fitting)} open questions: {shown}. Write more of it.")


# -------------------------------------------------------------------------------------------- on a terminal


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _typed(names: Sequence[str]) -> tuple[str, ...]:
    """Ask for the names of what will be deleted; raises CommandError where nobody can be asked."""
    if not _is_terminal():
        options = " ".join(f"--type {quote(_line(name))}" for name in names)
        raise terminal.CommandError(f"the names of what will be deleted have to be typed: add {options}.")
    count = len(names)
    with _interrupted():
        return tuple(
            str(typer.prompt(f"Type the name of what will be deleted, {number} of {count}", err=True))
            for number in range(1, count + 1)
        )


def _confirmed(words: str) -> bool:
    with _interrupted():
        return typer.confirm(words, err=True)


@contextmanager
def _interrupted() -> Iterator[None]:
    try:
        yield
    except typer.Abort as error:
        raise typer.Exit(terminal.INTERRUPTED) from error


# ---------------------------------------------------------------------------------------------- what is shown


def _command(verb: str, incident: str, to: str, scope: str | None) -> str:
    """Give what to type next."""
    words = ["medic", "approvals", verb, quote(_line(incident))]
    words += ["--to", quote(to)] if to.rstrip("/") != HERE else []
    words += ["--scope", quote(scope)] if scope is not None else []
    return " ".join(words)


def _line(text: str) -> str:
    """Give a text of others in one line: what stands at a line's beginning is ours."""
    return terminal.plain(text).replace("\n", " ")


def _show_summary(console: Console, one: Summary, look: str | None = None) -> None:
    console.print(Text(_line(one.incident), "bold"), soft_wrap=True)
    rows = _plan_rows(one)
    rows += [
        ("undo", _line(one.undo or "unknown")),
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
    rows: Rows = [("resource", terminal.Exact(_line(one.resource)))] if one.resource is not None else []
    if one.action is None:
        return [*rows, ("would", "what would be done cannot be read any more; do not approve it")]
    rows += [("cause", _line(one.cause or "unknown")), ("would", _line(f"{one.action}: {one.effect}"))]
    return rows + [("call", terminal.Exact(_line(call))) for call in one.calls]


def _show_page(console: Console, page: Page) -> None:
    """Print all that a person needs to decide, or how the question ended."""
    question = page.question
    console.print(Text(_line(page.incident), "bold"), soft_wrap=True)
    rows = _plan_rows(page)
    rows.append(("digest", terminal.Exact(_line(question.plan))))
    for touch in question.touches:
        rows.append(("touches", terminal.Exact(_line(touch.path))))
        rows += [("", _line(words)) for words in touch.says]
    if question.voids is not None:
        rows.append(("instead", f"of the approved plan {_line(question.voids)[:12]}, which is void, since"))
        rows += [("", _line(words)) for words in question.differences]
    rows += _guards("guards", page.guards)
    if page.state == "open":
        rows += _live_rows(page)
    rows += [("why", _line(page.why or "unknown")), ("until", terminal.moment_words(question.expires_at))]
    rows.append(("approvals", f"{sum(vote.approves for vote in page.votes)} of {question.quorum}"))
    rows += [("", _vote_words(vote)) for vote in page.votes]
    rows.append(("undo", _line(page.undo or "unknown")))
    rows += [("to type", terminal.Exact(_line(name))) for name in page.to_type]
    rows.append(("you", _you_words(page)))
    terminal.show(console, *rows)


def _live_rows(page: Page) -> Rows:
    """Give what has changed since, and what would refuse now."""
    at = "" if page.read_at is None else f", read at {terminal.moment_words(page.read_at)}"
    since = [_line(f"{one.name}: was {_value_words(one.then)}, is {_value_words(one.now)}") for one in page.changes]
    if page.unread is not None:
        since.append(_line(page.unread))
    if page.read_at is None and not since:
        since.append("unknown: the target was not read")
    rows: Rows = [("since" if not n else "", words) for n, words in enumerate(since or [f"nothing has changed{at}"])]
    if since and at:
        rows.append(("", at.removeprefix(", ")))
    if page.changes:
        rows.append(("", Text("an approval would be void when it comes to the effect", "yellow")))
    if page.read_at is not None and not page.refusals:
        return [*rows, ("now", "no guard would refuse it")]
    return rows + _guards("now", page.refusals)


def _guards(label: str, answers: Sequence[GuardAnswer]) -> Rows:
    rows: Rows = []
    for number, one in enumerate(answers):
        words = Text.assemble(_MARKS[one.answer], f"{_line(one.guard)}: {_line(one.words)}")
        rows.append(("" if number else label, words))
    return rows


def _vote_words(vote: Vote) -> str:
    said = f": {vote.comment}" if vote.comment else ""
    verb = "approved" if vote.approves else "rejected"
    return _line(f"{verb} by {vote.by.oid or 'nobody known'} at {terminal.moment_words(vote.at)}{said}")


def _you_words(page: Page) -> str:
    if page.state != "open":
        return _line(f"nobody can answer any more: it is {page.state}: {page.words}")
    if page.may_approve is None and page.may_reject is None:
        return "may approve or reject it"
    both = (("approve", page.may_approve), ("reject", page.may_reject))
    said = [f"may {verb} it" if why is None else f"may not {verb} it: {why}" for verb, why in both]
    return _line("; ".join(said))


def _value_words(value: str | None) -> str:
    return "not there" if value is None else value
