"""Storms: many failures of one workspace in a short time, judged together. What lies on the trail of it, and the rules.

The first failures of a window take places and go their own way; those that find none are members of the storm of that
workspace and window. Taking them costs the same however many there are: a list of the places, and two or three names.
Once it is calm a roll is called, per resource of its newest failure alone. Each of the roll is an incident of its own,
opened and judged as any other; those of one cause, action and verdict are then one group, and a group of two or more is
asked about, repaired and told of as one further incident, the storm's.

==========================================  =========================================================================
``storms/<scope>/<window>/places/<id>``     an incident that goes its own way
``storms/<scope>/<window>/members/<id>``    the name of one that is judged with others; in its window's list
``storms/<scope>/<window>/begun``           that there is one
``storms/<scope>/<window>/rolls/<nnnn>``    who is judged together, and which older failures each stands for
``storms/<scope>/<window>/groups/<nnnn>``   what that came to: the storms' incidents, and who goes on alone
``members/<id>``                            which storm a failure belongs to: found by its incident's id
==========================================  =========================================================================
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from remediations import codec
from remediations.errors import AlreadyExists, NotFound
from remediations.model import End, Incident, ResourceId, Storm
from remediations.policy import Storms as Limits
from remediations.ports import Store

_NAMES = re.compile(
    r"members/[\w-]{1,200}"
    r"|storms/[0-9a-f]{32}/\d{8}T\d{6}/(?:(?:places|members)/[\w-]{1,200}|begun|(?:rolls|groups)/\d{4})",
    re.ASCII,
)
_HALTS = frozenset({End.NOT_REPAIRED, End.INCONCLUSIVE})
_WELL = frozenset({End.REPAIRED, End.NOTHING_TO_DO, End.SUPERSEDED})
_MOST_NAMED = 5


class Member(Struct, frozen=True, kw_only=True):
    """A failure that is judged with others.

    Attributes:
        storm: The key of the storm: scope and window.
    """

    at: datetime
    storm: str
    incident: Incident


class Entry(Struct, frozen=True, kw_only=True):
    """The newest failure of one resource, by its incident's id, and the older ones that it stands for."""

    incident: str
    stands_for: tuple[str, ...] = ()


class Roll(Struct, frozen=True, kw_only=True):
    """Who is judged together."""

    at: datetime
    entries: tuple[Entry, ...]

    @property
    def everybody(self) -> frozenset[str]:
        return frozenset(one for entry in self.entries for one in (entry.incident, *entry.stands_for))


class Judged(Struct, frozen=True, kw_only=True):
    """What one incident came to when it was judged with others.

    Attributes:
        verdict: Of its decision; or how it ends, where nothing is planned.
        evidence, decision: Their digests in the evidence store.
        words: How it ends, where it ends without an effect.
    """

    incident: Incident
    cause: str
    action: str | None
    verdict: str
    evidence: str
    plan: str | None = None
    decision: str | None = None
    words: str = ""


class Part(Struct, frozen=True, kw_only=True):
    """A member of a group; as in `Judged`."""

    incident: str
    resource: str
    evidence: str
    plan: str | None = None
    decision: str | None = None
    words: str = ""

    @property
    def label(self) -> str:
        return ResourceId.parse(self.resource).label


class Group(Struct, frozen=True, kw_only=True):
    """Members of one cause, action and verdict, and the incident that stands for them."""

    incident: Incident
    cause: str
    action: str | None
    verdict: str
    members: tuple[Part, ...]


class Groups(Struct, frozen=True, kw_only=True):
    """What a roll came to.

    Attributes:
        alone: Incidents that are like no other, and go on by themselves.
    """

    at: datetime
    storms: tuple[Group, ...]
    alone: tuple[str, ...]

    def over(self, incident_id: str) -> Group | None:
        """Give the group that an incident is a member of."""
        found = (group for group in self.storms if any(part.incident == incident_id for part in group.members))
        return next(found, None)


class Storms:
    """What lies on the trail of storms, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def taken(self, incident: Incident, now: datetime, limits: Limits) -> str | None:
        """Give the storm that a new failure belongs to; None if it has a place of its own, which it takes.

        Two that come at once may both take the last place: that is one card more, and no harm.
        """
        if not limits.first:
            return None
        key = _key(incident, now, limits.within)
        placed = self._ids(f"storms/{key}/places/")
        if incident.id in placed:
            return None
        if len(placed) >= limits.first or self.has_begun(_key(incident, now - limits.within, limits.within)):
            return key
        self._create(f"storms/{key}/places/{incident.id}", {"at": now})
        return None

    def enlist(self, key: str, incident: Incident, now: datetime) -> Member:
        """Make a failure a member of a storm; the first storm that took it stands. The list comes before the word
        that counts: what was interrupted in between is nobody's yet, and is delivered again."""
        self._create(f"storms/{key}/members/{incident.id}", {"at": now})
        self._create(f"storms/{key}/begun", {"at": now})
        self._create(f"members/{incident.id}", Member(at=now, storm=key, incident=incident))
        return codec.decode(Member, self._store.read(f"members/{incident.id}"))

    def member(self, incident_id: str) -> Member | None:
        return self._read(Member, f"members/{incident_id}")

    def has_begun(self, key: str) -> bool:
        """Tell whether a storm has a member."""
        return self._read(dict[str, datetime], f"storms/{key}/begun") is not None

    def beside(self, incident: Incident, now: datetime, limits: Limits) -> tuple[int, str | None]:
        """Give how many incidents have places in the window in which this one took its own, itself included, and the
        storm that has begun there since and has called no roll yet."""
        for at in (now, now - limits.within) if limits.first else ():
            key = _key(incident, at, limits.within)
            placed = self._ids(f"storms/{key}/places/")
            if incident.id in placed:
                is_open = self.has_begun(key) and self.roll(key, 1) is None
                return len(placed), key if is_open else None
        return 0, None

    def listed(self, key: str) -> frozenset[str]:
        """Give the ids of all members of a storm."""
        return frozenset(self._ids(f"storms/{key}/members/"))

    def roll(self, key: str, number: int) -> Roll | None:
        return self._read(Roll, f"storms/{key}/rolls/{number:04d}")

    def rolls(self, key: str) -> Iterator[Roll]:
        """Give the rolls of a storm that were called so far, in order."""
        number = 1
        while (roll := self.roll(key, number)) is not None:
            yield roll
            number += 1

    def call(self, key: str, number: int, roll: Roll) -> Roll:
        """Keep a roll; the first one stands and is given back."""
        self._create(f"storms/{key}/rolls/{number:04d}", roll)
        return self.roll(key, number) or roll

    def groups(self, key: str, number: int) -> Groups | None:
        return self._read(Groups, f"storms/{key}/groups/{number:04d}")

    def group(self, key: str, number: int, groups: Groups) -> Groups:
        """Keep what a roll came to; the first word stands and is given back."""
        self._create(f"storms/{key}/groups/{number:04d}", groups)
        return self.groups(key, number) or groups

    def of(self, incident: Incident) -> Group:
        """Give the group that a storm's incident stands for; raises ValueError if the trail has none."""
        groups = None if incident.storm is None else self.groups(incident.storm.key, incident.storm.roll)
        found = [] if groups is None else [one for one in groups.storms if one.incident.id == incident.id]
        if not found:
            msg = f"the trail does not tell of which incidents the storm {incident.id} is made"
            raise ValueError(msg)
        return found[0]

    def over(self, incident_id: str) -> Incident | None:
        """Give the storm's incident that an incident is a member of; None if it stands for itself."""
        groups = self.groups_of(incident_id)
        group = None if groups is None else groups.over(incident_id)
        return None if group is None else group.incident

    def groups_of(self, incident_id: str) -> Groups | None:
        """Give what the roll came to in which a failure stands; None while it is in none, or that is not judged."""
        member = self.member(incident_id)
        for number, roll in enumerate(() if member is None else self.rolls(member.storm), 1):
            if member is not None and incident_id in roll.everybody:
                return self.groups(member.storm, number)
        return None

    def _ids(self, prefix: str) -> list[str]:
        return [name.rpartition("/")[2] for name in self._store.list(prefix)]

    def _create(self, name: str, value: object) -> None:
        with suppress(AlreadyExists):
            self._store.create(name, codec.encode(value))

    def _read[T](self, type_: type[T], name: str) -> T | None:
        try:
            return codec.decode(type_, self._store.read(name))
        except NotFound:
            return None


def is_name(name: str) -> bool:
    """Tell whether a record of such a name can be one of a storm's."""
    return _NAMES.fullmatch(name) is not None


def roll_of(members: Iterable[Member], at: datetime) -> Roll:
    """Give who is to be judged: of each resource the newest failure. Requests that fail are apart: they end nothing."""
    newest: dict[tuple[str, bool], list[Member]] = {}
    for member in sorted(members, key=lambda one: (one.incident.failed_at, one.incident.id)):
        newest.setdefault((member.incident.resource.key, member.incident.is_scoring), []).append(member)
    entries = (
        Entry(incident=found[-1].incident.id, stands_for=tuple(one.incident.id for one in found[:-1]))
        for found in newest.values()
    )
    return Roll(at=at, entries=tuple(entries))


def grouped(judged: Sequence[Judged], key: str, number: int, at: datetime) -> Groups:
    """Put together what is alike: two or more of one cause, action and verdict are a storm's incident."""
    alike: dict[tuple[str, str, str], list[Judged]] = {}
    for one in judged:
        alike.setdefault((one.cause, one.action or "", one.verdict), []).append(one)
    storms, alone = [], []
    for names, found in alike.items():
        if len(found) == 1:
            alone.append(found[0].incident.id)
        else:
            storms.append(_group(found, key, number, names))
    return Groups(at=at, storms=tuple(storms), alone=tuple(alone))


def plan_digest(plans: Iterable[str]) -> str:
    """Give what an approval of a storm names: all of its members' plans, in their order."""
    return codec.digest_of(["storm", *plans])


def halts(end: End | None) -> bool:
    """Tell whether a storm stops at a member that was begun and ended so, or of which no end is known."""
    return end is None or end in _HALTS


def end_of(ends: Sequence[End | None]) -> End:
    """Give how a storm ends whose members were repaired one after the other; None: it is not known."""
    if End.NOT_REPAIRED in ends:
        return End.NOT_REPAIRED
    if any(map(halts, ends)):
        return End.INCONCLUSIVE
    if all(end in _WELL for end in ends):
        return next((end for end in (End.REPAIRED, End.NOTHING_TO_DO) if end in ends), End.SUPERSEDED)
    return End.NOT_REPAIRED if End.REPAIRED in ends else End.REFUSED


def words_of(ends: Sequence[tuple[str, End | None, bool]]) -> str:
    """Give how the members of a storm ended, for people: counts, and the names of those that somebody has to look at.

    Args:
        ends: Of each its label, its end if it is known, and whether it was begun.
    """
    counts: dict[str, list[str]] = {}
    for label, end, was_begun in ends:
        counts.setdefault(str(end or "open") if was_begun else "not begun", []).append(label)
    parts = []
    for what, labels in counts.items():
        names = "" if what in _WELL else f" ({_few(labels)})"
        parts.append(f"{len(labels)} {what}{names}")
    return ", ".join(parts)


def _few(labels: Sequence[str]) -> str:
    rest = len(labels) - _MOST_NAMED
    return ", ".join(labels[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _group(found: Sequence[Judged], key: str, number: int, names: tuple[str, str, str]) -> Group:
    first = found[0].incident
    kinds = {one.incident.resource.deployment is not None for one in found}
    what = "deployments and endpoints" if len(kinds) > 1 else "deployments" if True in kinds else "endpoints"
    storm = Storm(key=key, roll=number, label=f"{len(found)} {what} in {first.resource.workspace}")
    incident = Incident(
        id=f"inc-{codec.digest_of([key, number, *names])[:24]}",
        resource=first.resource,
        operation=first.operation,
        failed_at=min(one.incident.began_at for one in found),
        event_id="",
        source="storm",
        storm=storm,
    )
    parts = tuple(
        Part(
            incident=one.incident.id,
            resource=one.incident.resource.path,
            evidence=one.evidence,
            plan=one.plan,
            decision=one.decision,
            words=one.words,
        )
        for one in found
    )
    return Group(incident=incident, cause=names[0], action=found[0].action, verdict=names[2], members=parts)


def _key(incident: Incident, at: datetime, within: timedelta) -> str:
    scope = codec.digest(incident.resource.workspace_path.lower())[:32]
    begins = int(at.timestamp()) // int(within.total_seconds()) * int(within.total_seconds())
    return f"{scope}/{datetime.fromtimestamp(begins, UTC):%Y%m%dT%H%M%S}"
