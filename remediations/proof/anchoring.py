"""Anchor: the trail -> the next checkpoint, if a head has moved since the last one.

What is signed is checked first: the checkpoints so far, and the whole chain of every incident that has moved. An
incident that does not hold is left out and told of; a broken line of checkpoints is not gone on with.
"""

from collections import defaultdict
from datetime import datetime

from msgspec import Struct

from remediations import codec, rolls
from remediations.errors import AppendConflict, StoreUnavailable
from remediations.model import Checkpoint
from remediations.ports import Store
from remediations.proof import checking, checkpoint, merkle
from remediations.proof.checking import Finding, Heads, Report
from remediations.proof.checkpoint import Head, Page

_TRIES = 12  # each that is lost is a checkpoint of somebody else's
_MOST_HEADS = 5_000  # of one line: about 1 MB, where an append takes 4 MiB


class Anchored(Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        checkpoint: The last one; None if there is none yet.
        is_new: Whether it was written now: a head had moved.
        findings: What does not hold, and is not in it.
    """

    checkpoint: Checkpoint | None
    is_new: bool
    findings: tuple[Finding, ...] = ()


def anchor(store: Store, key: str, now: datetime) -> Anchored:
    """Write the next checkpoint, if there is something new to be signed.

    Args:
        key: The private key, base64.

    Raises:
        StoreError: the store does not answer; nothing is half written.
        ValueError: the key is none.
    """
    left = _TRIES
    while True:
        try:
            return _anchor(store, key, now)
        except AppendConflict:  # somebody else has just anchored
            left -= 1
            if left == 0:
                raise


def _anchor(store: Store, key: str, now: datetime) -> Anchored:
    findings: list[Finding] = []
    heads = checking.heads_of(store, findings.append)
    if not checking.holds(findings):
        return Anchored(checkpoint=heads.last, is_new=False, findings=tuple(findings))
    findings.clear()  # of clocks that once ran backwards verify tells; here each later anchor would, for ever
    moved = _moved(store, heads, findings.append)
    last, tree, place = heads.last, heads.tree, heads.end
    known, records = set(heads.latest), 0 if last is None else last.records
    for begin in range(0, len(moved), _MOST_HEADS):
        part = tuple(moved[begin : begin + _MOST_HEADS])
        for head in part:
            before = heads.latest.get(head.incident)
            records += head.records - (0 if before is None else before.records)
            known.add(head.incident)
            tree.add(checkpoint.leaf_of(head))
        last = checkpoint.sign(_following(last, tree, len(known), records, now), key)
        line = codec.encode(Page(checkpoint=last, heads=part)) + b"\n"
        place = rolls.append(store, checkpoint.FOLDER, line, place, checkpoint.MOST_LINES)
    return Anchored(checkpoint=last, is_new=bool(moved), findings=tuple(findings))


def _moved(store: Store, heads: Heads, report: Report) -> list[Head]:
    """Give the heads of the incidents whose records have grown since the last checkpoint, as far as they hold."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    lengths: defaultdict[str, int] = defaultdict(int)
    for name, length in store.lengths("audit/"):
        if not checking.is_audit(name):
            continue  # verify tells of it
        incident = name.split("/")[1]
        files[incident].append(name)
        lengths[incident] += length
    moved: list[Head] = []
    for incident, names in files.items():
        before = heads.latest.get(incident)
        if before is not None and before.length == lengths[incident]:
            continue
        found: list[Finding] = []
        try:
            held = checking.chain_of(store, incident, names, heads, found.append)
        except StoreUnavailable as error:  # the others are not to wait for it
            report(Finding(what=checking.Kind.UNREADABLE, file=names[-1], incident=incident, words=str(error)))
            continue
        for finding in found:
            report(finding)
        if checking.holds(found) and held.good > (0 if before is None else before.records):
            moved.append(Head(incident=incident, records=held.good, length=held.length, hash=held.hash))
    for incident in sorted(heads.latest.keys() - files.keys()):
        report(checking.removed(incident, heads))
    return moved


def _following(last: Checkpoint | None, tree: merkle.Tree, incidents: int, records: int, now: datetime) -> Checkpoint:
    return Checkpoint(
        number=1 if last is None else last.number + 1,
        at=now,
        leaves=tree.size,
        root=tree.root().hex(),
        incidents=incidents,
        records=records,
        previous=checkpoint.FIRST if last is None else checkpoint.digest_of(last),
        key="",
    )
