"""Prove: a record of a trail -> `Proof`, which holds without the trail."""

from remediations import rolls
from remediations.ports import Store
from remediations.proof import checking, checkpoint, merkle
from remediations.proof.checking import Finding
from remediations.proof.checkpoint import Proof
from remediations.trail import audit_folder


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
    leaves = [checkpoint.leaf_of(one) for _, page in checking.pages(store, findings.append) for one in page.heads]
    lines, _ = rolls.read(store, audit_folder(incident))
    proof = Proof(
        lines=tuple(line.decode(errors="replace") for line in lines.split(b"\n")[record : head.records]),
        head=head,
        leaf=heads.place[incident],
        path=tuple(step.hex() for step in merkle.path(heads.place[incident], leaves[: heads.last.leaves])),
        checkpoint=heads.last,
    )
    why = checkpoint.why_unproved(proof)
    return proof if why is None else f"the records of {incident} do not hold: {why}"
