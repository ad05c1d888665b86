"""The register of incidents: what a list and its figures need, in a few files a day instead of a blob per incident.

One line of JSON per happening, in ``days/<yyyy-mm-dd>/<nnnn>``, the UTC day on which it was written. The trail stays
what counts: a line repeats what stands there, may stand twice, and readers take the first of each.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from remediations import codec
from remediations.errors import AppendConflict, NotFound
from remediations.model import End, Mode, Operation, ResourceId
from remediations.ports import Store

log = structlog.get_logger()

type Moment = Annotated[datetime, Meta(tz=True)]

_TRIES = 20
_TRIES_A_FILE = 5  # then the next file: writers that keep meeting part ways
# An append blob ends at 50,000 blocks: of the shortest lines (100 bytes) this many bytes are 20,000.
_LARGEST = 2_000_000
_SETTLED_AFTER = timedelta(minutes=10)  # clocks differ, and a last line may be on its way
_READERS = 8
_NEVER = datetime.min.replace(tzinfo=UTC)
_KEPT_FILES = 256
_KEPT_LINES = 200_000  # some 130 MB


class Kind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    ASKED = "asked"
    ANSWERED = "answered"
    ENDED = "ended"


_OPENED, _ASKED, _ENDED = Kind.OPENED, Kind.ASKED, Kind.ENDED


class State(StrEnum):
    """How an incident stands."""

    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One happening. The lines of one day are enough to list an incident.

    Attributes:
        resource: Resource ID of what failed; left out, with what follows up to `opened_at`, behind the line of the same
            day that opened the incident.
        failed_at: When the trouble began.
        expires_at: Until when the question about `plan` can be answered.
        approved: None where the answer is that it was superseded or expired.
        effects: Calls that count.
        storm: What it stands for, where it is the incident of a storm; empty for all others.
    """

    at: Moment
    kind: Kind
    incident: str
    resource: str = ""
    operation: Operation | None = None
    failed_at: Moment | None = None
    opened_at: Moment | None = None
    diagnosed_at: Moment | None = None
    mode: Mode | None = None
    cause_id: str | None = None
    action: str | None = None
    plan: str | None = None
    expires_at: Moment | None = None
    approved: bool | None = None
    end: End | None = None
    effects: int = 0
    storm: str = ""


class Case(Struct, frozen=True, kw_only=True, gc=False):
    """One incident, by all its lines.

    Attributes:
        path: Resource ID of what failed.
        plan, expires_at: Of the question that waits for a person; None if none does.
        approved: What the last question was answered with.
        storm: What it stands for, where it is the incident of a storm.
    """

    id: str
    path: str
    operation: Operation
    failed_at: datetime
    opened_at: datetime
    state: State
    mode: Mode | None = None
    cause: str | None = None
    action: str | None = None
    diagnosed_at: datetime | None = None
    plan: str | None = None
    expires_at: datetime | None = None
    approved: bool | None = None
    end: End | None = None
    ended_at: datetime | None = None
    effects: int = 0
    storm: str = ""

    @property
    def resource(self) -> ResourceId:
        return _resource(self.path)


class Listing(Struct, frozen=True, kw_only=True):
    """The incidents of some time, newest first.

    Attributes:
        unreadable: Lines that cannot be read, and incidents of which no line tells the resource.
    """

    cases: tuple[Case, ...]
    unreadable: int = 0


class Register:
    """The register over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing = threading.Lock()
        self._ends: dict[str, tuple[int, int]] = {}  # day -> its last file and how long that is, as far as we know
        self._reading = threading.Lock()
        self._read: OrderedDict[str, _File] = OrderedDict()

    def note(self, line: Line, now: datetime | None = None) -> None:
        """Add a line to the file of the day; a line that stands there already does no harm.

        Args:
            now: When it is written, where that is not when it happened: files of days that are over do not change.

        Raises:
            StoreError: the line is not there.
        """
        today = (now or line.at).astimezone(UTC).date()
        day, content = _day(today), codec.encode(_short(line, today)) + b"\n"
        with self._writing:  # writers of one process do not race each other
            number, length = self._ends.get(day, (0, 0))
            tries = 0
            while True:
                if length and length + len(content) > _LARGEST:
                    number, length = number + 1, 0
                try:
                    self._store.append(f"days/{day}/{number:04d}", content, length)
                except AppendConflict as conflict:
                    tries += conflict.length <= _LARGEST - len(content)  # a full file says where it goes on
                    if tries >= _TRIES:
                        raise
                    length = conflict.length
                    if tries and tries % _TRIES_A_FILE == 0:
                        number, length = number + 1, 0
                    continue
                self._ends = {day: (number, length + len(content))}
                return

    def cases(self, since: datetime, until: datetime) -> tuple[Case, ...]:
        """Give the incidents to which something happened from `since` to `until`, as they stood then, newest first.

        `until` is not in the future: what is over by then is read once and kept.
        """
        return self.listing(since, until).cases

    def listing(self, since: datetime, until: datetime) -> Listing:
        """Give the incidents of a time, and how many lines could not be read; raises StoreError."""
        files = self._files(since.astimezone(UTC).date(), until)
        lost = sum(file.unreadable for file in files)
        told: dict[str, tuple[list[Line], _File | None]] = {}
        for file in files:
            for incident, lines in file.told.items():
                before = told.get(incident)
                told[incident] = (lines, file) if before is None else ([*before[0], *lines], None)
        found: list[Case] = []
        for incident, (lines, alone) in told.items():
            seen = None if alone is None else alone.over.get(incident)
            if seen is None or seen.last > until:
                seen = _seen(incident, lines, until)
                if alone is not None and seen.is_over:
                    alone.over[incident] = seen
            if seen.last < since:
                continue
            if seen.case is None:
                lost += 1
            else:
                found.append(seen.case)
        found.sort(key=_newest, reverse=True)
        return Listing(cases=tuple(found), unreadable=lost)

    def _files(self, first: date, until: datetime) -> list["_File"]:
        last = until.astimezone(UTC).date()
        days = [_day(first + timedelta(days=number)) for number in range((last - first).days + 1)]
        wanted = set(days)
        with ThreadPoolExecutor(_READERS, "register") as readers:
            months = dict.fromkeys(day[:7] for day in days)
            listed = readers.map(lambda month: list(self._store.list(f"days/{month}-")), months)
            names = [name for part in listed for name in part if name.split("/")[1] in wanted]
            with self._reading:
                known = {name: self._read[name] for name in names if name in self._read}
            closed = until - _SETTLED_AFTER
            missing = [name for name in names if name not in known or not known[name].is_settled]
            contents = readers.map(self._content, missing)
            for name, content in zip(missing, contents, strict=True):  # read while the next ones are on their way
                before = known.get(name)
                if before is None or before.length != len(content):
                    known[name] = _parsed(name, content, is_settled=_is_over(name, closed))
                elif _is_over(name, closed):
                    known[name] = before.settled()
        self._keep(known)
        return [known[name] for name in names]

    def _content(self, name: str) -> bytes:
        try:
            return self._store.read(name)
        except NotFound:
            return b""

    def _keep(self, files: dict[str, "_File"]) -> None:
        """Keep what was read, the latest most: a file that only grows is the same while it is as long."""
        with self._reading:
            for name, file in files.items():
                self._read[name] = file
                self._read.move_to_end(name)
            lines = sum(file.lines for file in self._read.values())
            while len(self._read) > 1 and (len(self._read) > _KEPT_FILES or lines > _KEPT_LINES):
                _, oldest = self._read.popitem(last=False)
                lines -= oldest.lines


class _Seen(Struct, frozen=True, gc=False):
    """What the lines of one incident come to.

    Attributes:
        case: None if no line tells what failed, or nothing had happened yet.
        last: When the last thing happened.
        is_over: Whether no later time shows it otherwise.
    """

    case: Case | None
    last: datetime
    is_over: bool


class _File(Struct, frozen=True):
    """What one file says.

    Attributes:
        is_settled: Whether nobody writes to it any more.
        over: Incidents that are over by this file alone, as they were given before.
    """

    told: dict[str, list[Line]]
    lines: int
    length: int
    unreadable: int
    is_settled: bool
    over: dict[str, _Seen] = {}

    def settled(self) -> "_File":
        return replace(self, is_settled=True)


_LINES = codec.decoder(Line)


def _parsed(name: str, content: bytes, *, is_settled: bool) -> _File:
    told: dict[str, list[Line]] = {}
    count = unreadable = 0
    for line in _decoded(content):
        count += 1
        if line is None:
            unreadable += 1
        else:
            told.setdefault(line.incident, []).append(line)
    if unreadable:
        log.warning("register.unreadable", name=name, lines=unreadable)
    return _File(told=told, lines=count, length=len(content), unreadable=unreadable, is_settled=is_settled)


def _decoded(content: bytes) -> Iterable[Line | None]:
    """Give the lines of a file; None for each that cannot be read."""
    try:
        return _LINES.decode_lines(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _one_by_one(content)


def _one_by_one(content: bytes) -> Iterator[Line | None]:
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield _LINES.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield None


def _seen(incident: str, lines: list[Line], until: datetime) -> _Seen:
    """Give an incident as it stood at a time: of each kind, and of each plan for questions, the first line counts."""
    opened: Line | None = None
    ended: Line | None = None
    asked: dict[str | None, Line] = {}
    answered: dict[str | None, Line] = {}
    last, is_whole = _NEVER, True
    for line in lines:
        if line.at > until:
            is_whole = False
            continue
        last = line.at if line.at > last else last  # noqa: FURB136 - ten thousand incidents pass here
        kind = line.kind
        if kind is _OPENED:
            opened = line if opened is None or line.at < opened.at else opened
        elif kind is _ENDED:
            ended = line if ended is None or line.at < ended.at else ended
        else:
            kept = asked if kind is _ASKED else answered
            before = kept.get(line.plan)
            kept[line.plan] = line if before is None or line.at < before.at else before
    base = opened or next((line for line in lines if line.resource and line.at <= until), None)
    if base is None or base.failed_at is None:
        return _Seen(None, last, is_over=False)
    questions = sorted(asked.values(), key=_at) if len(asked) > 1 else list(asked.values())
    waits: Line | None = None
    mode = cause = action = diagnosed_at = None
    for line in (base, *questions, *(() if ended is None else (ended,))):  # the last word
        mode = line.mode or mode
        cause = line.cause_id or cause
        action = line.action or action
        diagnosed_at = line.diagnosed_at or diagnosed_at
    if ended is None:
        for line in questions:
            is_open = line.plan not in answered and line.expires_at is not None and line.expires_at > until
            waits = line if is_open else waits
    found = Case(
        id=incident,
        path=base.resource,
        operation=base.operation or Operation.WRITE,
        failed_at=base.failed_at,
        opened_at=base.at if opened is not None else base.opened_at or base.failed_at,
        state=State.ENDED if ended is not None else State.RUNNING if waits is None else State.WAITING,
        mode=mode,
        cause=cause,
        action=action,
        diagnosed_at=diagnosed_at,
        plan=None if waits is None else waits.plan,
        expires_at=None if waits is None else waits.expires_at,
        approved=max(answered.values(), key=_at).approved if answered else None,
        end=None if ended is None else ended.end,
        ended_at=None if ended is None else ended.at,
        effects=0 if ended is None else ended.effects,
        storm=base.storm,
    )
    return _Seen(found, last, is_over=ended is not None and is_whole)


def _short(line: Line, today: date) -> Line:
    """Leave out what the line of the same day says that opened the incident."""
    if line.opened_at is None or line.opened_at.astimezone(UTC).date() != today:
        return line
    return replace(line, resource="", operation=None, failed_at=None, opened_at=None, storm="")


def _at(line: Line) -> tuple[datetime, str]:
    return line.at, line.plan or ""


def _newest(case: Case) -> tuple[datetime, str]:
    return case.opened_at, case.id


def _day(day: date) -> str:
    return f"{day:%Y-%m-%d}"


def _is_over(name: str, closed: datetime) -> bool:
    """Tell whether the day of a file was over at a time."""
    day = date.fromisoformat(name.split("/")[1])
    return datetime.combine(day + timedelta(days=1), time(), UTC) <= closed


@lru_cache(maxsize=4096)
def _resource(path: str) -> ResourceId:
    return ResourceId.parse(path)
