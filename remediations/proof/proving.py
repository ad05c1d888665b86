"""Prove: a record of a trail -> `Proof`, which holds without the trail."""

from msgspec import Struct

from remediations import rolls
from remediations.model import Checkpoint
from remediations.ports import Store
from remediations.proof import chain, checking, checkpoint, merkle
from remediations.proof.checking import Finding
from remediations.proof.checkpoint import Head
from remediations.trail import audit_folder


class Proof(Struct, frozen=True, kw_only=True):
    """That one record stood on the trail when a checkpoint was taken.

    Attributes:
        lines: The record and all that followed it, up to the head.
        leaf: Place of the head in the tree, and `path` its audit path, in hex.
    """

    lines: tuple[str, ...]
    head: Head
    leaf: int
    path: tuple[str, ...]
    checkpoint: Checkpoint


def prove(store: Store, incident: str, record: int) -> Proof | str:
    """Give the proof that a record stood on the trail at the last checkpoint, or why there is none, in words.

    Raises:
        StoreError: the trail cannot be read.
    """
    findings: list[Finding] = []
    heads = checking.heads_of(store, findings.append)
    head = heads.latest.get(incident)
    if not checking.holds(findings):
        return f"the checkpoints do not hold: {findings[0].words}"
    if heads.last is None or head is None:
        return f"no checkpoint knows of {incident} yet: `medic audit anchor` takes one"
    if not 0 <= record < head.records:
        known = f"checkpoint {heads.last.number} knows of records 0 to {head.records - 1} of {incident} alone"
        return f"{known}; `medic audit anchor` takes the next one"
    leaves = [checkpoint.leaf_of(one) for _, page, _ in checking.pages(store, findings.append) for one in page.heads]
    lines, _ = rolls.read(store, audit_folder(incident))
    proof = Proof(
        lines=tuple(line.decode(errors="replace") for line in lines.split(b"\n")[record : head.records]),
        head=head,
        leaf=heads.place[incident],
        path=tuple(step.hex() for step in merkle.path(heads.place[incident], leaves[: heads.last.leaves])),
        checkpoint=heads.last,
    )
    why = why_unproved(proof)
    return proof if why is None else f"the records of {incident} do not hold: {why}"


def why_unproved(proof: Proof) -> str | None:
    """Give why a proof does not hold, in words; None if it does.

    It holds if each line names the hash of the one before, the last is the head, the head is in the tree, and the
    checkpoint of that tree is signed. Whether by the right key is for who knows it.
    """
    if not checkpoint.is_signed(proof.checkpoint):
        return "the signature of its checkpoint is not that of the key which it names"
    if not proof.lines:
        return "it holds no record"
    previous: chain.Link | None = None
    for number, line in enumerate(proof.lines, 1):
        try:
            found = chain.link(line.encode())
        except ValueError:
            return f"line {number} is no audit record"
        if found is None:
            return f"line {number} was changed: its hash is another"
        if previous is not None and (found.previous, found.seq) != (previous.hash, previous.seq + 1):
            return f"line {number} does not follow the one before it"
        previous = found
    head = proof.head
    if previous is None or (previous.incident, previous.seq + 1, previous.hash) != (
        head.incident,
        head.records,
        head.hash,
    ):
        return "its last line is not the head that the checkpoint holds"
    try:
        steps = [bytes.fromhex(step) for step in proof.path]
    except ValueError:
        return "its path holds what is no hash"
    root = merkle.root_from(checkpoint.leaf_of(head), proof.leaf, proof.checkpoint.leaves, steps)
    return None if root is not None and root.hex() == proof.checkpoint.root else "its head is not below the checkpoint"
