"""``medic undo``: what undoing a call of an incident would do, and a person's wish that it be done.

The app judges, through its own API: what can be undone, what guards would refuse it now, who may ask. Nothing here
reads a store or Azure.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import httpx
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from local.commands import api, terminal
from local.commands.approvals import Rows, guard_rows, touch_rows
from remediations import codec
from remediations.model import GuardAnswer, Json, Touch

_ID = re.compile(r"inc-[0-9a-f]{24}")
_BEGINNING = re.compile(r"(?:inc-)?[0-9a-f]{3,24}")
_MOST_PAGES = 20
_DAYS = 93
_STATES = {
    "can": ("can be undone", "green"),
    "cannot": ("not to be undone", "dim"),
    "under-way": ("undo under way", "yellow"),
    "undone": ("undone", "green"),
}
_NOT_NOW = ("not to be undone now", "yellow")


class Wish(Struct, frozen=True, kw_only=True):
    """What somebody wants undone.

    Attributes:
        call: Which call, counted from 1; None: the only one that can be undone.
        comment: Why; asked for on a terminal if it is left out.
        only_shows: Nothing is asked for.
        is_sure: Not to be asked once more on a terminal.
    """

    call: int | None = None
    comment: str = ""
    only_shows: bool = False
    is_sure: bool = False


class Offer(Struct, frozen=True, kw_only=True):
    """One call, as the app offers its undo; what the fields mean stands at `functions.undo.Offer`."""

    number: int
    call: str
    action: str
    at: datetime
    state: Literal["can", "cannot", "under-way", "undone"]
    why_not: str = ""
    undo_action: str | None = None
    undo_incident: str | None = None
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


class Page(Struct, frozen=True, kw_only=True):
    """What of an incident can be undone."""

    incident: str
    resource: str
    mode: str
    calls: tuple[Offer, ...] = ()
    antiforgery: str = ""


class _Found(Struct, frozen=True):
    id: str


class _Listed(Struct, frozen=True):
    incidents: tuple[_Found, ...]
    pages: int = 1


class _Begun(Struct, frozen=True):
    incident: str
    words: str
    page: str


def undo(name: str, wish: Wish, *, to: str, scope: str | None, as_json: bool) -> int:
    """Show what undoing a call would do; unless that is all that is wanted, ask for it."""
    with api.opened(to, scope) as app:
        incident = _named(app, name)
        plain = _got(app, f"/api/incidents/{incident}/undo", incident)
        page = api.read(Page, plain)
        offer = _chosen(page.calls, wish.call)
        _show(terminal.err() if as_json else terminal.out(), page, page.calls if offer is None else (offer,))
        if wish.only_shows or offer is None or offer.state != "can":
            if as_json:
                terminal.say_json(plain)
            return _looked(page, offer)
        if offer.why_not_now is not None:
            terminal.complain(f"it was not asked for: {api.line(offer.why_not_now)}.")
            return terminal.DIFFERS
        if offer.may_ask is not None:
            terminal.complain(f"you may not ask for it: {api.line(offer.may_ask)}.")
            return terminal.DIFFERS
        comment = wish.comment.strip() or _asked_why()
        if not wish.is_sure and not api.is_terminal():
            raise terminal.CommandError("nobody is here to be asked once more: add --yes to ask for the undo.")
        if not wish.is_sure and not api.confirmed("Ask for it?"):
            terminal.complain("nothing was sent.")
            return terminal.DIFFERS
        begun = _ask(app, incident, {"call": offer.number, "comment": comment, "antiforgery": page.antiforgery})
    if as_json:
        terminal.say_json(begun)
        return terminal.OK
    told, console = api.read(_Begun, begun), terminal.out()
    console.print()
    console.print(api.line(told.words), style="bold", soft_wrap=True)
    terminal.show(console, ("look", terminal.Exact(f"{to.rstrip('/')}{api.line(told.page)}")))
    return terminal.OK


def _looked(page: Page, offer: Offer | None) -> int:
    """Give the exit code of looking: 1 if nothing would be done."""
    if offer is None:
        terminal.complain(f"nothing that {api.line(page.incident)} sent can be undone.")
        return terminal.DIFFERS
    if offer.state == "under-way":
        return terminal.OK
    would = offer.state == "can" and offer.effect is not None and offer.why_not_now is None
    if offer.state != "can":
        terminal.complain(f"call {offer.number} cannot be undone: {api.line(offer.why_not)}.")
    return terminal.OK if would else terminal.DIFFERS


def _chosen(offers: Sequence[Offer], number: int | None) -> Offer | None:
    """Give the call that is meant; None if none can be undone and none was named. Raises CommandError."""
    if number is not None:
        found = next((one for one in offers if one.number == number), None)
        if found is None:
            words = f"it has no call {number}; it has {terminal.counted(len(offers), 'call')}"
            raise terminal.CommandError(f"{words}. Leave out --call to see them.")
        return found
    able = [one for one in offers if one.state == "can"] or [one for one in offers if one.state == "under-way"]
    if len(able) > 1:
        listed = "; ".join(f"--call {one.number} for {api.line(one.call)}" for one in able)
        raise terminal.CommandError(f"{len(able)} calls can be undone, one at a time. Name one: {listed}.")
    return able[0] if able else None


# ------------------------------------------------------------------------------------------- the app


def _named(app: api.Api, name: str) -> str:
    """Give the id of the one incident that a name begins, with or without its ``inc-``; raises CommandError."""
    wanted = name.strip().lower()
    if _ID.fullmatch(wanted):
        return wanted
    if not _BEGINNING.fullmatch(wanted):
        words = f"{name!r} is no incident's id, nor at least three characters of one"
        raise terminal.CommandError(f"{words}. `medic audit list` and the app's own list show them.")
    beginning = f"inc-{wanted.removeprefix('inc-')}"
    found: list[str] = []
    for number in range(1, _MOST_PAGES + 1):
        path = f"/api/incidents?days={_DAYS}&page={number}"
        listed = api.read(_Listed, _got(app, path, name, named="/api/incidents"))
        found += [one.id for one in listed.incidents if one.id.startswith(beginning)]
        if number >= listed.pages:
            break
    if len(found) == 1 and _ID.fullmatch(found[0]):
        return found[0]
    if not found:
        raise terminal.CommandError(f"no incident of the last {_DAYS} days begins with {name!r}. Write its whole id.")
    shown = ", ".join(api.line(one) for one in found[:5])
    raise terminal.CommandError(f"{name!r} fits {len(found)} incidents: {shown}. Write more of it.")


def _got(app: api.Api, path: str, name: str, *, named: str = "/api/incidents/<id>/undo") -> Json:
    reply = app.request("GET", path, named=named, look="")
    if reply.status_code == 200:
        return app.json(reply)
    match reply.status_code:
        case 403:
            words = f"{app.base} refused you: {api.said(reply)}. {api.NEEDS_ROLE}"
            raise terminal.CommandError(words, terminal.DIFFERS)
        case 404 if _is_ours(reply):
            words = f"{app.base} has no incident {name!r}. Its list of incidents shows them: {app.base}/api/incidents"
            raise terminal.CommandError(words)
        case 404:
            fix = "Name the base URL of the functions with --to, and use a version of the app that can undo."
            raise terminal.CommandError(f"{app.base} has no {named}. {fix}", terminal.UNREADABLE)
        case 429:
            raise terminal.CommandError(f"{app.base} answered 429: {api.said(reply)}.", terminal.DIFFERS)
        case _:
            raise app.unusable(reply)


def _ask(app: api.Api, incident: str, body: dict[str, Json]) -> Json:
    look = f"It may have been taken all the same: look with `medic undo {incident} --dry-run`."
    path = f"/api/incidents/{incident}/undo"
    reply = app.request("POST", path, codec.encode(body), named=path, look=look)
    if reply.status_code == 200:
        return app.json(reply)
    if reply.status_code == 401 or not 400 <= reply.status_code < 500:
        raise app.unusable(reply)
    raise terminal.CommandError(f"the undo was not asked for: {api.said(reply)}.", terminal.DIFFERS)


def _is_ours(reply: httpx.Response) -> bool:
    """Tell whether the app itself says that there is no such incident, not whatever else answers there."""
    try:
        return bool(codec.text(codec.mapping(codec.parse_json(reply.content)).get("error")).startswith("There is no"))
    except ValueError:
        return False


def _asked_why() -> str:
    if not api.is_terminal():
        raise terminal.CommandError("say why it is to be undone: add --comment TEXT. Whoever approves it reads that.")
    with api.interrupted():
        return str(typer.prompt("Why is it to be undone?", err=True)).strip()


# ------------------------------------------------------------------------------------------- what is shown


def _show(console: Console, page: Page, offers: Sequence[Offer]) -> None:
    console.print(Text(api.line(page.incident), "bold"), soft_wrap=True)
    terminal.show(console, ("resource", terminal.Exact(api.line(page.resource))), ("mode", api.line(page.mode)))
    if not offers:
        console.print("It sent nothing to Azure: there is nothing to undo.")
    for one in offers:
        console.print()
        words, style = _STATES[one.state] if one.why_not_now is None else _NOT_NOW
        console.print(Text.assemble((f"call {one.number}  ", "bold"), (words, style)), soft_wrap=True)
        terminal.show(console, *_rows(one))


def _rows(one: Offer) -> Rows:
    rows: Rows = [("sent", terminal.Exact(api.line(one.call)))]
    rows.append(("by", f"{api.line(one.action)}, at {terminal.moment_words(one.at)}"))
    if one.state != "can":
        rows.append(("why not" if one.undo_incident is None else "undo", api.line(one.why_not)))
        return rows
    if one.why_not:
        rows.append(("before", api.line(one.why_not)))
    if one.effect is None:
        rows.append(("advice", api.line(one.words)))
    else:
        rows.append(("would", api.line(f"{one.undo_action}: {one.effect}")))
        rows += [("call", terminal.Exact(api.line(call))) for call in one.calls]
    for number, name in enumerate(one.environment_names):
        rows.append(("" if number else "supply", terminal.Exact(api.line(name))))
    label = "with" if one.environment_names else "by hand"
    rows += [(label, terminal.Exact(api.line(command))) for command in one.commands]
    rows += touch_rows(one.touches)
    if one.effect is not None:
        rows += guard_rows("now", one.refusals) or [("now", "no guard would refuse it")]
        rows.append(("why", api.line(one.mode_words)))
        rows.append(("undo", terminal.Exact(api.line(one.undo or "unknown"))))
    if one.quorum is not None:
        rows.append(("approval", api.line(f"{one.quorum} needed, by {one.approvers}; not by who asks")))
    if one.why_not_now is not None:
        rows.append(("not now", api.line(one.why_not_now)))
    elif one.comes_to:
        rows.append(("asking", api.line(one.comes_to)))
    if one.read_at is not None:
        rows.append(("read at", terminal.moment_words(one.read_at)))
    rows.append(("you", "may ask for it" if one.may_ask is None else api.line(f"may not ask for it: {one.may_ask}")))
    return rows
