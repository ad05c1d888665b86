"""``medic events replay``: dead letters, as Event Grid wrote them, to the app's own intake once more.

Nothing is lost by sending one twice: the app answers what it knows as a duplicate, and judges what is old by what Azure
shows now. So a replay that was broken off is simply run again.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from local.commands import api, terminal
from remediations import codec, intake
from remediations.model import Json
from remediations.settings import is_loopback

_INTAKE = "/api/events"
_MOST_BYTES = 8 * 1024 * 1024  # of one file: far more than Event Grid writes into one
_NEVER = datetime.max.replace(tzinfo=UTC)
_TRIES = 3
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 30.0
NOT_TAKEN = "not taken"


class Given(Struct, frozen=True, kw_only=True):
    """What of a source is to be sent.

    Attributes:
        since, until: Of the time that an event itself says, from the one and before the other.
        rate: The most events a second.
    """

    source: str
    since: datetime | None = None
    until: datetime | None = None
    rate: float = 5.0
    only_shows: bool = False


class Named(Struct, frozen=True, kw_only=True):
    """What tells one event of a source from others, and why Event Grid gave it up, where it says so.

    Attributes:
        file: Where it lies in the source, and `number` which it is there.
        at: When it happened; None if it does not say.
    """

    file: str
    number: int
    id: str
    type: str
    subject: str
    at: datetime | None
    reason: str


class Letter(Named, frozen=True, kw_only=True):
    """One event of a source."""

    event: Json


class Sent(Named, frozen=True, kw_only=True):
    """What became of one event.

    Attributes:
        disposition: The app's own word; ``not taken``, or ``would be sent`` where nothing is.
    """

    disposition: str
    words: str = ""
    incident: str | None = None


class Unread(Struct, frozen=True, kw_only=True):
    """A file, or an item of one, that is no event."""

    file: str
    words: str


def replay(given: Given, *, to: str, scope: str | None, as_json: bool) -> int:
    """Send what a source holds, in the order in which it happened; exit 1 if something was not taken."""
    letters, unread = _read(given.source)
    chosen = [letter for letter in sorted(letters, key=_when) if _is_chosen(letter, given)]
    console, sent = terminal.out(), []
    for one in _sent(chosen, given, to=to, scope=scope) if chosen else ():
        sent.append(one)
        if not as_json:
            console.print(_line(one, len(sent), len(chosen)), soft_wrap=True, markup=False, highlight=False)
    counted = dict(Counter(one.disposition for one in sent).most_common())
    if as_json:
        passed_over = len(letters) - len(chosen)
        terminal.say_json({"events": sent, "unread": unread, "passed_over": passed_over, "counts": counted})
    else:
        for lost in unread:
            words = f"no event: {terminal.plain(lost.file)}: {terminal.plain(lost.words)}"
            console.print(words, style="red", soft_wrap=True, markup=False, highlight=False)
        told = ", ".join(f"{count} {disposition}" for disposition, count in counted.items()) or "nothing to send"
        aside = f"; {len(letters) - len(chosen)} outside that time" if len(letters) > len(chosen) else ""
        console.print(f"{terminal.counted(len(sent), 'event')}: {told}{aside}.", soft_wrap=True)
    is_whole = not unread and all(one.disposition != NOT_TAKEN for one in sent)
    return terminal.OK if is_whole else terminal.DIFFERS


# ---------------------------------------------------------------------------------------------- the source


def _read(source: str) -> tuple[list[Letter], list[Unread]]:
    letters: list[Letter] = []
    unread: list[Unread] = []
    for name, read in _files(source):
        try:
            content = read()
            items = intake.split(_unwrapped(codec.parse_json(content)))
        except (OSError, ValueError) as error:
            unread.append(Unread(file=name, words=str(error)))
            continue
        if not items:
            unread.append(Unread(file=name, words="it holds no event"))
        for number, item in enumerate(items, 1):
            if isinstance(item, dict):
                letters.append(_letter(name, number, item))
            else:
                unread.append(Unread(file=name, words=f"item {number} is no JSON object"))
    return letters, unread


def _files(source: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Give the files of a source with what reads each: a file, a folder's ``.json``, or a container's blobs."""
    if "://" in source:
        yield from _blobs(source)
        return
    place = Path(source)
    if not place.exists():
        raise terminal.CommandError(f"{source} does not exist. Name a file or folder of dead letters, or a container.")
    if place.is_file():
        yield place.name, partial(_bounded, place)
        return
    found = sorted(path for path in place.rglob("*.json") if path.is_file())
    if not found:
        raise terminal.CommandError(f"{source} holds no .json file. Event Grid writes dead letters as such.")
    for path in found:
        yield str(path.relative_to(place)), partial(_bounded, path)


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > _MOST_BYTES:
        msg = f"it has more than {_MOST_BYTES} bytes"
        raise ValueError(msg)
    return path.read_bytes()


def _blobs(url: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Give the blobs of a container, below a folder if the URL names one, read as whoever is signed in here."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - for a container alone
    from azure.storage.blob import ContainerClient  # noqa: PLC0415 - as above

    from remediations.adapters.wire import wire  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    container, _, folder = parts.path.strip("/").partition("/")
    if parts.query or parts.fragment or parts.username is not None:
        words = (
            "a container's URL has no query, fragment or user: secrets stand there. Sign in instead, with `az login`."
        )
        raise terminal.CommandError(words)
    if parts.scheme != "https" and not is_loopback(url):
        raise terminal.CommandError(f"{url} is not https.")
    base = f"{parts.scheme}://{parts.netloc}"
    if is_loopback(url):  # an emulator has the account before the container
        account, _, rest = parts.path.strip("/").partition("/")
        container, _, folder = rest.partition("/")
        base = f"{base}/{account}"
    if not container:
        words = f"{url} names no container. Write https://<account>.blob.core.windows.net/deadletters."
        raise terminal.CommandError(words)
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    try:
        carrier = wire(base, connection_timeout=20, read_timeout=60)
        with ContainerClient(base, container, credential=_credential(url), transport=carrier) as client:
            blobs = [(blob.name, blob.size) for blob in client.list_blobs(name_starts_with=prefix or None)]
            for name, size in sorted(blobs):
                if name.endswith(".json"):
                    yield name, partial(_blob, client, name, size)
    except AzureError as error:
        why = terminal.plain(str(error).strip().split("\n", 1)[0])[:300].rstrip(".")
        fix = "Sign in with `az login`; it takes Storage Blob Data Reader on the container."
        raise terminal.CommandError(f"{url} cannot be read: {why}. {fix}", terminal.UNREADABLE) from error


def _blob(client: Any, name: str, size: int) -> bytes:
    if size > _MOST_BYTES:
        msg = f"it has more than {_MOST_BYTES} bytes"
        raise ValueError(msg)
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - for a container alone

    try:
        content: bytes = client.download_blob(name).readall()
    except AzureError as error:
        msg = f"it cannot be read: {str(error).strip().split('\n', 1)[0][:300]}"
        raise ValueError(msg) from error
    return content


def _credential(url: str) -> Any:
    if is_loopback(url):
        from remediations.services import emulator_credential  # noqa: PLC0415 - for an emulator alone

        return emulator_credential("SOURCE", url)
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - 30 MB

    return DefaultAzureCredential()


def _unwrapped(plain: Json) -> Json:
    """Give what would be delivered of a file that says what it is of: ``{"note": …, "payload": …}``."""
    return plain["payload"] if isinstance(plain, dict) and plain.keys() == {"note", "payload"} else plain


def _letter(file: str, number: int, event: dict[str, Json]) -> Letter:
    """Give an event by the fields of either schema; an alert has its time and its name further in."""
    essentials = codec.mapping(codec.mapping(event.get("data")).get("essentials"))
    at = event.get("time") or event.get("eventTime") or essentials.get("firedDateTime")
    return Letter(
        file=file,
        number=number,
        id=codec.text(event.get("id") or essentials.get("alertId"))[:200],
        type=codec.text(event.get("type") or event.get("eventType") or event.get("schemaId"))[:200],
        subject=codec.text(event.get("subject"))[:1024],
        at=codec.moment(at),
        reason=codec.text(event.get("deadLetterReason") or event.get("deadletterreason"))[:200],
        event=event,
    )


def _when(letter: Letter) -> tuple[datetime, str, int]:
    return letter.at or _NEVER, letter.file, letter.number


def _is_chosen(letter: Letter, given: Given) -> bool:
    """Tell whether an event is of the time that was asked for; one that tells no time is of any."""
    if letter.at is None:
        return True
    return (given.since is None or letter.at >= given.since) and (given.until is None or letter.at < given.until)


# ------------------------------------------------------------------------------------------------ to the app


def _sent(letters: list[Letter], given: Given, *, to: str, scope: str | None) -> Iterator[Sent]:
    """Send events one by one, never faster than asked; what could not be delivered does not stop the others."""
    if given.only_shows:
        yield from (_result(letter, "would be sent") for letter in letters)
        return
    with api.opened(to, scope) as app:
        for number, letter in enumerate(letters):
            if number:
                time.sleep(1 / given.rate)
            try:
                sent = _deliver(app, letter)
            except terminal.CommandError as error:  # it concerns all that is left as well
                if not number:
                    raise
                yield _result(letter, NOT_TAKEN, str(error))
                yield from (_result(one, NOT_TAKEN, "not sent") for one in letters[number + 1 :])
                return
            yield sent


def _deliver(app: api.Api, letter: Letter) -> Sent:
    content = codec.encode(letter.event)
    look = "Look whether --to is right and it runs, then repeat the command: what was taken is a duplicate then."
    for left in reversed(range(_TRIES)):
        reply = app.request("POST", _INTAKE, content, named=_INTAKE, look=look)
        if reply.status_code not in _PASSING or left == 0:
            break
        asked = reply.headers.get("Retry-After", "")
        time.sleep(min(float(asked) if asked.isdigit() else 1.0, _LONGEST_WAIT_S))
    if reply.status_code == 403:
        fix = "Have the app role Medic.Submit assigned to you."
        raise terminal.CommandError(f"{app.base} does not let you submit events: {api.said(reply)}. {fix}", 3)
    if reply.status_code == 401 or reply.is_redirect:
        raise app.unusable(reply)
    if not reply.is_success:
        return _result(letter, NOT_TAKEN, f"{reply.status_code}: {api.said(reply)}")
    answered = codec.mapping(app.json(reply))
    if "validationResponse" in answered:
        return _result(letter, "handshake", "subscription handshake answered")
    events = answered.get("events")
    told = codec.mapping(events[0]) if isinstance(events, list) and len(events) == 1 else {}
    disposition = codec.text(told.get("disposition"))
    if not disposition:
        return _result(letter, NOT_TAKEN, "the app did not say what became of it")
    return _result(letter, disposition, codec.text(told.get("words")), codec.text(told.get("incident")) or None)


def _result(letter: Letter, disposition: str, words: str = "", incident: str | None = None) -> Sent:
    return Sent(
        file=letter.file,
        number=letter.number,
        id=letter.id,
        type=letter.type,
        subject=letter.subject,
        at=letter.at,
        reason=letter.reason,
        disposition=disposition,
        words=words,
        incident=incident,
    )


def _line(one: Sent, number: int, count: int) -> str:
    at = terminal.moment_words(one.at) if one.at is not None else "at no time"
    where = f"{one.file}" + (f", event {one.number}" if one.number > 1 else "")
    became = " ".join(filter(None, (one.disposition, one.incident)))
    words = f": {one.words}" if one.words else ""
    what = one.subject.rpartition("/providers/")[2] or one.type or "an event without a type"
    return terminal.plain(f"{number}/{count} {at} {what} ({where}): {became}{words}").replace("\n", " ")
