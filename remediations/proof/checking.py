"""Verify: a trail, or a copy of one -> what of it holds, and the first record that does not. Reads alone, offline.

Up to the last checkpoint everything is proved: whoever changes, moves, adds or removes a record or a whole incident
would have to sign the checkpoints anew; whoever holds the key and does that is found by one older checkpoint from
outside. What came after the last checkpoint is checked for its chain, and counted apart.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Protocol

from msgspec import Struct

from remediations import codec, rolls
from remediations.errors import NotFound
from remediations.model import Checkpoint
from remediations.proof import chain, checkpoint, merkle
from remediations.proof.checkpoint import Head, Page
from remediations.trail import is_ours

_SKEW = timedelta(minutes=2)  # between the clocks of two instances, and while an append is tried again
_MOST_FINDINGS = 100
_HALF = "its last {} has no end: a writer died in the middle, or the copy was cut; those before it are whole"
_REWRITTEN = "the chain holds, but a checkpoint was taken of other records: from here on they were rewritten"
_AUDIT = re.compile(r"audit/[\w-]{1,200}/\d{4}\.jsonl", re.ASCII)
_CHECKPOINTS = re.compile(r"checkpoints/\d{4}\.jsonl", re.ASCII)


class Kind(StrEnum):
    """What does not hold."""

    CHANGED = "changed"  # a record's bytes are not those of its hash
    BROKEN = "broken"  # a record does not follow the one before it: something was put in, taken out or moved
    CUT = "cut"  # a checkpoint knows of more records
    REMOVED = "removed"  # what has to be there is not: an incident, a file before another, a length
    REWRITTEN = "rewritten"  # the chain holds, and is not the one that a checkpoint was taken of
    HALF_WRITTEN = "half-written"  # the last line has no end
    UNREADABLE = "unreadable"  # what lies there is no record
    FOREIGN = "foreign"  # what Endpoint Medic never writes
    CLOCK = "clock"  # a time before that of the record before, or of a checkpoint that did not know of it
    SIGNATURE = "signature"  # a checkpoint that its key did not sign
    KEY = "key"  # a checkpoint by a key that is not known


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that does not hold.

    Attributes:
        file: Where; None: of a checkpoint from outside.
        record: Number of the record in its incident, or of the checkpoint; None: of no single one.
        words: What it is and what it means.
    """

    what: Kind
    words: str
    file: str | None = None
    incident: str | None = None
    record: int | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """What holds.

    Attributes:
        incidents, records: That were found and read.
        anchored: Records that the last checkpoint proves, and `after_anchor` those that came after.
        first_bad: The first finding, foreign files last; None if everything holds.
        findings: The first hundred, of the `found` that there are.
        checkpoints: That hold, and `last` the last of them; `keys` signed them.
    """

    ok: bool
    incidents: int
    records: int
    anchored: int
    after_anchor: int
    first_bad: Finding | None
    findings: tuple[Finding, ...] = ()
    found: int = 0
    checkpoints: int = 0
    last: Checkpoint | None = None
    keys: tuple[str, ...] = ()


class Copy(Protocol):
    """A trail to read: the store itself, or files that were copied from it."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with a prefix, in lexical order."""

    def read(self, name: str) -> bytes:
        """Return a record as it lies there; raise NotFound if there is none."""


class Heads(Struct, frozen=True):
    """What the checkpoints say of the trail.

    Attributes:
        marks: Of each incident, how many records had which hash, by every head that was ever taken.
        latest: Of each incident, its last head.
        place: Of each incident's last head, its leaf.
        tree: Of all heads.
        pages: How many checkpoints hold, and `last` the last of them.
        keys: That signed them.
        end: Where the next one goes.
        goes_on: Whether the trail goes on from the checkpoint that was kept outside, if one was given.
    """

    marks: dict[str, dict[int, str]]
    latest: dict[str, Head]
    place: dict[str, int]
    tree: merkle.Tree
    pages: int
    last: Checkpoint | None
    keys: tuple[str, ...]
    end: rolls.Place
    goes_on: bool = True


class Chain(Struct, frozen=True):
    """What one incident's records come to.

    Attributes:
        lines: How many there are, and `length` in bytes.
        good: So many of them hold, and `hash` is that of the last of these.
        proved: So many of them a checkpoint proves.
    """

    lines: int
    length: int
    good: int
    hash: str
    proved: int


type Report = Callable[[Finding], None]


def verify(
    copy: Copy,
    *,
    torn: Iterable[tuple[str, int | None, int]] = (),
    keys: Collection[str] = (),
    outside: Checkpoint | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Give what of a trail holds.

    Args:
        torn: Names of files that are not as long as their writer confirmed: that length, if it can be read, and the
            true one.
        keys: Public keys that may have signed; none: any, of which `Verdict.keys` tells.
        outside: A checkpoint that was kept elsewhere: the trail must go on from it.
        tell: Is told how many incidents were read, from time to time.

    Raises:
        StoreError: the trail cannot be read.
    """
    found = _Findings()
    heads = heads_of(copy, found.add, keys=keys, outside=outside)
    incidents = records = anchored = after = 0
    seen: set[str] = set()
    for incident, names in groupby(_audit_names(copy, found.add), key=lambda name: name.split("/")[1]):
        held = chain_of(copy, incident, list(names), heads, found.add)
        seen.add(incident)
        incidents += 1
        records += held.lines
        anchored += held.proved if heads.goes_on else 0
        known = heads.latest.get(incident)
        after += max(0, held.lines - (0 if known is None else known.records))
        if incidents % 100 == 0:
            tell(incidents)
    for incident in sorted(heads.latest.keys() - seen):
        found.add(removed(incident, heads))
    for name, confirmed, true in torn:
        if confirmed is not None or is_ours(name):  # else nothing was to be beside it
            head = heads.latest.get(name.split("/")[1]) if is_audit(name) and rolls.is_first(name) else None
            found.add(_torn(name, confirmed, true, proved=0 if head is None else min(true, head.length)))
    return Verdict(
        ok=found.count == 0,
        incidents=incidents,
        records=records,
        anchored=anchored,
        after_anchor=after,
        first_bad=next(iter(found.kept()), None),
        findings=found.kept(),
        found=found.count,
        checkpoints=heads.pages,
        last=heads.last,
        keys=heads.keys,
    )


def holds(findings: Iterable[Finding]) -> bool:
    """Tell whether the records are what was written, whatever the clocks say."""
    return all(finding.what is Kind.CLOCK for finding in findings)


def is_audit(name: str) -> bool:
    """Tell whether a file of such a name holds audit records."""
    return _AUDIT.fullmatch(name) is not None


def _torn(name: str, confirmed: int | None, length: int, *, proved: int) -> Finding:
    if confirmed is None:
        words = "the hidden file beside it that holds its length is gone, or holds none: nothing can be appended to it"
        return Finding(what=Kind.REMOVED, file=name, words=words)
    if length < confirmed:
        words = f"it has {length} bytes where its writer confirmed {confirmed}: its end was cut"
        return Finding(what=Kind.CUT, file=name, words=words)
    if confirmed < proved:
        words = (
            f"the hidden file beside it says {confirmed} bytes, where a checkpoint knows of {proved}: it was set back"
        )
        return Finding(what=Kind.CHANGED, file=name, words=f"{words}, and who reads by it does not see the others")
    words = f"{length - confirmed} bytes at its end no writer has confirmed: one died in the middle, or they were added"
    return Finding(what=Kind.HALF_WRITTEN, file=name, words=f"{words}; what is before them counts")


class _Findings:
    """The first findings, and how many there are: a copy that is all wrong would have one for each file.

    Foreign files come last: any number of them hides nothing of what is wrong with the trail itself.
    """

    def __init__(self) -> None:
        self._own: list[Finding] = []
        self._foreign: list[Finding] = []
        self.count = 0

    def add(self, finding: Finding) -> None:
        self.count += 1
        kind = self._foreign if finding.what is Kind.FOREIGN else self._own
        if len(kind) < _MOST_FINDINGS:
            kind.append(finding)

    def kept(self) -> tuple[Finding, ...]:
        return (*self._own, *self._foreign)[:_MOST_FINDINGS]


# ------------------------------------------------------------------------------------------ checkpoints


def heads_of(copy: Copy, report: Report, *, keys: Collection[str] = (), outside: Checkpoint | None = None) -> Heads:
    """Give what the checkpoints say, up to the first that does not hold, which is reported."""
    marks: defaultdict[str, dict[int, str]] = defaultdict(dict)
    latest: dict[str, Head] = {}
    place: dict[str, int] = {}
    tree, signed_by, last, count = merkle.Tree(), dict[str, None](), None, 0
    records, passed, end = 0, None, rolls.Place()
    for name, page, after in pages(copy, report):
        note, at_leaf = page.checkpoint, tree.size
        bad = _why_not(note, last, keys)
        if bad is None:
            for head in page.heads:
                tree.add(checkpoint.leaf_of(head))
            bad = _why_not_of(page, tree, latest, records)
        if bad is not None:
            report(Finding(what=bad[0], file=name, record=note.number, words=f"checkpoint {note.number} {bad[1]}"))
            break
        if last is not None and last.at - note.at > _SKEW:
            words = f"checkpoint {note.number} was taken at {_time(note.at)}, before the one it follows"
            report(Finding(what=Kind.CLOCK, file=name, record=note.number, words=f"{words}: a clock was wrong"))
        if outside is not None and note.number == outside.number:
            passed = note
        for number, head in enumerate(page.heads, at_leaf):
            before = latest.get(head.incident)
            records += head.records - (0 if before is None else before.records)
            marks[head.incident][head.records] = head.hash
            latest[head.incident], place[head.incident] = head, number
        last, count, end = note, count + 1, after
        signed_by[note.key] = None
    goes_on = outside is None or _goes_on(outside, passed, count, keys, report)
    return Heads(
        marks=marks,
        latest=latest,
        place=place,
        tree=tree,
        pages=count,
        last=last,
        keys=tuple(signed_by),
        end=end,
        goes_on=goes_on,
    )


def pages(copy: Copy, report: Report) -> Iterator[tuple[str, Page, rolls.Place]]:
    """Give the lines of the checkpoints' files, up to the first that cannot be read, which is reported.

    With each come the name of its file, and where the line after it goes.
    """
    names = [name for name in copy.list(f"{checkpoint.FOLDER}/") if _CHECKPOINTS.fullmatch(name)]
    for number, name in enumerate(names):
        if name != rolls.file_of(checkpoint.FOLDER, number):
            words = f"file {number} of the checkpoints is not there, and a later one is"
            report(Finding(what=Kind.REMOVED, file=name, words=words))
            return
        *lines, rest = copy.read(name).split(b"\n")
        place = rolls.Place(number)
        for line in lines:
            place = rolls.after(place, line, checkpoint.MOST_LINES)
            page = _page(line)
            if page is None:
                report(Finding(what=Kind.UNREADABLE, file=name, words="a line of it is no checkpoint as we write it"))
                return
            yield name, page, place
        if rest:
            report(Finding(what=Kind.HALF_WRITTEN, file=name, words=_HALF.format("checkpoint")))
            return
        why = _why_not_full(len(lines), checkpoint.MOST_LINES, is_last=number == len(names) - 1)
        if why is not None:
            report(Finding(what=Kind.BROKEN, file=name, words=why))
            return


def _page(line: bytes) -> Page | None:
    """Read a line of the checkpoints; None if it is none, or is not written as we write it, byte for byte."""
    try:
        page = codec.decode(Page, line)
    except ValueError:
        return None
    is_utc = page.checkpoint.at.utcoffset() == timedelta()
    return page if is_utc and codec.encode(page) == line else None


def _why_not_full(lines: int, most: int, *, is_last: bool) -> str | None:
    """Give why a file cannot have so many lines: the next one is begun when it is full, and not before."""
    if lines > most:
        return f"it has {lines} lines, where the {most} first are all that is written to a file"
    if lines < most and not is_last:
        return f"it has {lines} lines, and a later file follows that is begun after {most}: nobody reads that one"
    return None


def _why_not(note: Checkpoint, last: Checkpoint | None, keys: Collection[str]) -> tuple[Kind, str] | None:
    """Give why a checkpoint cannot follow the last one, whatever heads it adds."""
    number, previous = (1, checkpoint.FIRST) if last is None else (last.number + 1, checkpoint.digest_of(last))
    if (note.number, note.previous) != (number, previous):
        return Kind.BROKEN, f"stands where checkpoint {number} should, which names another one before it"
    if not checkpoint.is_signed(note):
        return Kind.SIGNATURE, "is not signed by the key that it names: it was changed, or forged"
    if keys and note.key not in keys:
        words = f"is signed by key {note.key}, which is none of those given"
        return Kind.KEY, f"{words}: give the public part of each key that was ever used, or somebody else signed it"
    return None


def _why_not_of(page: Page, tree: merkle.Tree, latest: dict[str, Head], records: int) -> tuple[Kind, str] | None:
    """Give why the heads of a checkpoint are not those that were signed."""
    note, grown = page.checkpoint, dict[str, int]()
    for head in page.heads:
        known = latest.get(head.incident)
        before = grown.get(head.incident, 0 if known is None else known.records)
        if head.records <= before:
            return Kind.REWRITTEN, f"takes back records of {head.incident}: it knows of {head.records} of {before}"
        records += head.records - before
        grown[head.incident] = head.records
    incidents = len(latest) + sum(incident not in latest for incident in grown)
    if (note.leaves, note.root) != (tree.size, tree.root().hex()):
        return Kind.CHANGED, "does not hold the heads that were signed: they were changed"
    if (note.incidents, note.records) != (incidents, records):
        return Kind.CHANGED, f"tells of {note.records} records in {note.incidents} incidents, and its heads of others"
    return None


def _goes_on(outside: Checkpoint, passed: Checkpoint | None, count: int, keys: Collection[str], report: Report) -> bool:
    """Tell whether the trail goes on from a checkpoint that was kept outside; report why not.

    Args:
        passed: The trail's own of that number, and `count` of them hold.
    """
    name = f"checkpoint {outside.number}, which was kept outside,"
    what: Kind | None = None
    if not checkpoint.is_signed(outside):
        what, words = Kind.SIGNATURE, "is not signed by the key that it names: take it from where it was kept once more"
    elif keys and outside.key not in keys:
        what, words = Kind.KEY, f"is signed by key {outside.key}, which is none of those given"
    elif passed is None:
        what = Kind.CUT
        words = f"is not on the trail, of which {count} checkpoints hold: those behind were cut, or do not hold"
    elif passed != outside:
        what = Kind.REWRITTEN
        words = "was taken of another trail: this one was rewritten, and its checkpoints were signed anew"
    if what is not None:
        report(Finding(what=what, record=outside.number, words=f"{name} {words}"))
    return what not in {Kind.CUT, Kind.REWRITTEN}


# ---------------------------------------------------------------------------------------------- records


def chain_of(copy: Copy, incident: str, files: list[str], heads: Heads, report: Report) -> Chain:
    """Give what one incident's records come to, by their chain and by what checkpoints know of them."""
    marks, head, last = heads.marks.get(incident, {}), heads.latest.get(incident), heads.last
    known, since = (0 if head is None else head.records), (None if last is None else last.at)
    lines = length = good = proved = 0
    digest, bad = chain.FIRST, False
    before: datetime | None = None
    for number, name in enumerate(files):
        content = copy.read(name)
        length += len(content)
        *found, rest = content.split(b"\n")
        lines += len(found)
        why: tuple[Kind, str] | None = None
        if name != rolls.file_of(f"audit/{incident}", number):
            why = Kind.REMOVED, f"file {number} of the incident's records is not there, and a later one is"
        for line in () if bad or why else found:
            link, why = _link(line, incident, good, digest, is_new=good >= known)
            if link is None:
                break
            when = _why_late(link.at, before, since if good >= known else None, heads)
            if when is not None:
                report(_clock(name, link, when))
                since = None  # once for an incident
            if link.facts.beside is not None:
                _look_beside(copy, incident, good, link.facts.beside, report)
            good, digest, before = good + 1, link.hash, link.at
            if good in marks:
                if marks[good] != digest:
                    why, good = (Kind.REWRITTEN, _REWRITTEN), proved
                    break
                proved = good
        why = why or _why_not_ended(len(found), rest, is_last=number == len(files) - 1)
        if why is not None and not bad:
            report(Finding(what=why[0], file=name, incident=incident, record=good, words=why[1]))
            bad = True
    if good < known and not bad:
        words = f"checkpoint {_number(heads)} knows of {known} records, and there are {good}: the end was cut"
        report(Finding(what=Kind.CUT, file=name, incident=incident, record=good, words=words))
    return Chain(lines=lines, length=length, good=good, hash=digest, proved=proved)


def _look_beside(copy: Copy, incident: str, record: int, beside: chain.Beside, report: Report) -> None:
    """Report if what a record tells of is not there any more as it was."""
    content: bytes | None = None
    with suppress(NotFound):
        content = copy.read(beside.name) if is_ours(beside.name) else None  # a forged name leads nowhere
    if content is None:
        words = f"record {record} tells of it, and it is not there: it was taken out"
        report(Finding(what=Kind.REMOVED, file=beside.name, incident=incident, record=record, words=words))
    elif codec.digest(content) != beside.sha256:
        words = f"it is not what record {record} tells of: it was changed after it was written"
        report(Finding(what=Kind.CHANGED, file=beside.name, incident=incident, record=record, words=words))


def _link(
    line: bytes, incident: str, seq: int, previous: str, *, is_new: bool
) -> tuple[chain.Link | None, tuple[Kind, str] | None]:
    """Give what links a line, or why it is not the one that comes next.

    Args:
        is_new: No checkpoint knows of it: then its form is looked at too, before one does.
    """
    try:
        link = chain.link(line)
    except ValueError:
        return None, (Kind.UNREADABLE, "it is no audit record")
    if link is None:
        return None, (Kind.CHANGED, "its bytes are not those of its hash: it was changed after it was written")
    if link.incident != incident:
        return None, (Kind.BROKEN, f"it is a record of {link.incident}: it was moved here, or the file was swapped")
    if is_new and not chain.is_canonical(line):
        return None, (Kind.UNREADABLE, "it is not canonical JSON: Endpoint Medic writes no such line")
    if link.seq != seq or link.previous != previous:
        return None, (Kind.BROKEN, "it does not follow the one before it: one was put in, taken out or moved")
    return link, None


def _why_late(at: datetime, before: datetime | None, since: datetime | None, heads: Heads) -> str | None:
    """Give what is wrong with the time of a record: it lies before that of one that came before it.

    Args:
        since: When the last checkpoint was taken, for a record that it does not know of.
    """
    if before is not None and before - at > _SKEW:
        return f"before that of the record before it, {_time(before)}"
    if since is not None and since - at > _SKEW:
        return f"before checkpoint {_number(heads)}, which does not know of it: it was put in later"
    return None


def _why_not_ended(lines: int, rest: bytes, *, is_last: bool) -> tuple[Kind, str] | None:
    """Give why a file of records cannot end as it does."""
    if rest:
        return Kind.HALF_WRITTEN, _HALF.format("record")
    words = _why_not_full(lines, rolls.MOST_LINES, is_last=is_last)
    return None if words is None else (Kind.BROKEN, words)


def _clock(file: str, link: chain.Link, words: str) -> Finding:
    words = f"its time lies {words}, or a clock ran backwards"
    return Finding(what=Kind.CLOCK, file=file, incident=link.incident, record=link.seq, words=words)


def removed(incident: str, heads: Heads) -> Finding:
    """Give the finding of an incident that has no records any more."""
    words = f"checkpoint {_number(heads)} knows of {heads.latest[incident].records} records, and there are none"
    return Finding(what=Kind.REMOVED, incident=incident, words=f"{words}: the incident was taken out")


def _audit_names(copy: Copy, report: Report) -> Iterator[str]:
    """Give the names of all files of audit records, in order; what is none of ours is reported."""
    for name in copy.list(""):
        if _AUDIT.fullmatch(name):
            yield name
        elif not is_ours(name):
            report(Finding(what=Kind.FOREIGN, file=name, words="Endpoint Medic writes no file of such a name here"))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _number(heads: Heads) -> int:
    return 0 if heads.last is None else heads.last.number
