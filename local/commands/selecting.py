"""Select: what a person asks of the audit trail -> the incidents, and of these the records, that it is about.

Filters of an incident look at when it opened, where, and how it ended; those of a record at who made it and at its
stage. Each filter that is given must hold; one that is given several times holds if any of its values does.
What costs most is asked last: names, then what was opened, then the end, and records if nothing else can tell.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import batched
from operator import attrgetter

from msgspec import Struct

from local.commands import terminal
from local.report import OPEN
from remediations.actions import ACTIONS
from remediations.audit import STAGES
from remediations.catalogue import CAUSES
from remediations.classification import UNKNOWN_CAUSE
from remediations.model import AuditRecord, End
from remediations.trail import Ended, Opened, Trail

MEDIC = "medic"
_READERS = 8
_BATCH = 64  # incidents that are looked at ahead of who reads them
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Wanted(Struct, frozen=True, kw_only=True):
    """What is asked for; nothing means everything.

    Attributes:
        since, until: When the incident opened: the first is inside, the second is not.
        incidents: Beginnings of ids.
        workspaces: Globs of names, without case.
        ends: Of `End`, and ``open``.
        actors: Object ids and client ids, in lower case, and ``medic`` for ourselves.
    """

    since: datetime | None = None
    until: datetime | None = None
    incidents: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()

    @property
    def asks_how_it_went(self) -> bool:
        return bool(self.actions or self.ends or self.causes)

    @property
    def asks_of_records(self) -> bool:
        return bool(self.actors or self.stages)

    @property
    def words(self) -> str:
        """What is asked for, as it is typed."""
        times = [("since", self.since), ("until", self.until)]
        said = [f"--{name} {terminal.moment_words(moment)}" for name, moment in times if moment is not None]
        lists = ("incident", "workspace", "action", "end", "cause", "actor", "stage")
        said += [f"--{name} {value}" for name in lists for value in getattr(self, f"{name}s")]
        return ", ".join(said)

    def is_named(self, incident_id: str) -> bool:
        return not self.incidents or incident_id.startswith(self.incidents)

    def is_opened(self, opened: Opened) -> bool:
        workspace = opened.incident.resource.workspace.lower()
        return (
            (self.since is None or opened.at >= self.since)
            and (self.until is None or opened.at < self.until)
            and (not self.workspaces or any(fnmatchcase(workspace, glob.lower()) for glob in self.workspaces))
        )

    def went(self, end: str, cause: str | None, action: str | None) -> bool:
        """Tell whether an incident went as is asked for; `end` is ``open`` as long as it has none."""
        return (
            (not self.ends or end in self.ends)
            and (not self.causes or cause in self.causes)
            and (not self.actions or action in self.actions)
        )

    def takes(self, record: AuditRecord) -> bool:
        """Tell whether a record is by an actor, and of a stage, that is asked for."""
        if self.stages and record.stage not in self.stages:
            return False
        actor = record.actor
        ids = {one.lower() for one in (actor.oid, actor.appid) if one} | ({MEDIC} if actor.who == MEDIC else set())
        return not self.actors or not ids.isdisjoint(self.actors)


class Case(Struct, frozen=True, kw_only=True):
    """An incident that is asked for. `ended` is None if it has no end, or nobody asked for it."""

    opened: Opened
    ended: Ended | None = None


class Found(Struct, frozen=True):
    """An incident to be exported."""

    opened_at: datetime
    id: str
    resource: str
    workspace: str


# --------------------------------------------------------------------------------------- what was typed


class Given(Struct, frozen=True, kw_only=True):
    """The filters as they were typed."""

    since: str | None = None
    until: str | None = None
    incident: Collection[str] | None = None
    workspace: Collection[str] | None = None
    action: Collection[str] | None = None
    end: Collection[str] | None = None
    cause: Collection[str] | None = None
    actor: Collection[str] | None = None
    stage: Collection[str] | None = None

    def wanted(self, now: datetime) -> Wanted:
        """Read them; raises CommandError."""
        since = None if self.since is None else terminal.past(self.since, now)
        until = None if self.until is None else terminal.past(self.until, now)
        if since is not None and until is not None and until <= since:
            told = f"--until {terminal.moment_words(until)} is not after --since {terminal.moment_words(since)}"
            raise terminal.CommandError(f"{told}: nothing lies between them.")
        return Wanted(
            since=since,
            until=until,
            incidents=tuple(map(_beginning, self.incident or ())),
            workspaces=tuple(map(_glob, self.workspace or ())),
            actions=_chosen("action", self.action, ACTIONS),
            ends=_chosen("end", self.end, (*End, OPEN)),
            causes=_chosen("cause", self.cause, (*(cause.id for cause in CAUSES), UNKNOWN_CAUSE), "`medic causes`"),
            actors=tuple(map(_actor, self.actor or ())),
            stages=_chosen("stage", self.stage, STAGES),
        )


def _beginning(name: str) -> str:
    wanted = beginning(name)
    if wanted == "inc-":
        raise terminal.CommandError("--incident is empty. Give an id, or its beginning: `medic audit list` shows them.")
    return wanted


def beginning(name: str) -> str:
    """Give the beginning of an incident's id as it stands on the trail."""
    wanted = name.strip().lower()
    return wanted if wanted.startswith("inc-") else f"inc-{wanted}"


def _glob(name: str) -> str:
    if not name.strip():
        raise terminal.CommandError("--workspace is empty. Give a workspace's name; * stands for anything in it.")
    return name.strip()


def _actor(name: str) -> str:
    wanted = name.strip().lower()
    if wanted == MEDIC or _GUID.fullmatch(wanted):
        return wanted
    raise terminal.CommandError(
        f"--actor {name!r} is neither an object id nor a client id, nor {MEDIC}. The trail keeps no names: "
        "`az ad user show --id <address> --query id` tells somebody's."
    )


def _chosen(option: str, given: Iterable[str] | None, known: Iterable[str], shown_by: str = "") -> tuple[str, ...]:
    """Give what was typed, if there is such a thing. `shown_by` is what lists them, where they are many."""
    names, wanted = [str(name) for name in known], [one.strip().lower() for one in given or ()]
    for one in wanted:
        if one not in names:
            near = difflib.get_close_matches(one, names) if shown_by else names
            there = f" {'Near it' if shown_by else 'There are'}: {', '.join(near)}." if near else ""
            there += f" {shown_by} lists them." if shown_by else ""
            raise terminal.CommandError(f"--{option} {one!r} is not known.{there}")
    return tuple(wanted)


# ---------------------------------------------------------------------------------------- what is found


def listed(trail: Trail, wanted: Wanted, tell: Callable[[int], None]) -> Iterator[Case]:
    """Give the incidents with their ends. Of filters of records, it is enough that one record of it passes them.

    Args:
        tell: Is told how many incidents were looked at.

    Raises:
        CommandError: no incident begins with what was asked for.
    """

    def look(incident_id: str, has_ended: bool) -> Case | None:
        case = _look(trail, wanted, incident_id, has_ended=has_ended, reads_end=True)
        if case is None or not wanted.asks_of_records:
            return case
        return case if any(map(wanted.takes, trail.records(incident_id))) else None

    return _looked(trail, wanted, look, tell)


def exported(trail: Trail, wanted: Wanted, tell: Callable[[int], None]) -> list[Found]:
    """Give the incidents in the order of their opening, the oldest first; `Wanted.takes` chooses among their records.

    Args:
        tell: Is told how many incidents were looked at.

    Raises:
        CommandError: no incident begins with what was asked for.
    """

    def look(incident_id: str, has_ended: bool) -> Found | None:
        case = _look(trail, wanted, incident_id, has_ended=has_ended, reads_end=wanted.asks_how_it_went)
        if case is None:
            return None
        resource = case.opened.incident.resource
        return Found(case.opened.at, incident_id, resource.path, resource.workspace)

    return sorted(_looked(trail, wanted, look, tell), key=attrgetter("opened_at", "id"))


def _look(trail: Trail, wanted: Wanted, incident_id: str, *, has_ended: bool, reads_end: bool) -> Case | None:
    opened = trail.opened(incident_id)
    if opened is None or not wanted.is_opened(opened):
        return None
    ended = trail.ended(incident_id) if has_ended and reads_end else None
    if wanted.asks_how_it_went:
        cause, action = None, None
        if ended is not None:
            cause, action = ended.cause_id, ended.action
        elif (wanted.causes or wanted.actions) and OPEN in (wanted.ends or (OPEN,)):
            cause, action = _diagnosed(trail, incident_id)
        if not wanted.went(OPEN if ended is None else ended.end, cause, action):
            return None
    return Case(opened=opened, ended=ended)


def _diagnosed(trail: Trail, incident_id: str) -> tuple[str | None, str | None]:
    """Give the cause and the action of an incident without an end, as it was last diagnosed."""
    facts = [record.facts for record in trail.records(incident_id) if record.stage == "diagnosis"]
    cause, action = (facts[-1].get("cause"), facts[-1].get("action")) if facts else (None, None)
    return (cause if isinstance(cause, str) else None), (action if isinstance(action, str) else None)


def _looked[T](
    trail: Trail, wanted: Wanted, look: Callable[[str, bool], T | None], tell: Callable[[int], None]
) -> Iterator[T]:
    """Give what looking at each incident gives, in the order of their names; several are read at once."""
    names = list(trail.standing())
    for one in wanted.incidents:
        if not any(incident_id.startswith(one) for incident_id, _ in names):
            words = f"no incident on the trail begins with {one!r}. `medic audit list` shows them."
            raise terminal.CommandError(words)
    names = [(incident_id, has_ended) for incident_id, has_ended in names if wanted.is_named(incident_id)]
    seen = 0
    with ThreadPoolExecutor(_READERS) as pool:
        for batch in batched(names, _BATCH):  # noqa: B911 - the last one is shorter
            for found in pool.map(lambda pair: look(*pair), batch):
                if found is not None:
                    yield found
            seen += len(batch)
            tell(seen)
