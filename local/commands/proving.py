"""``medic audit verify|anchor|prove|key``: whether the trail is what was written, and the checkpoints that show it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import RenderableType
from rich.text import Text

from local.commands import terminal
from local.commands.records import incident_named
from remediations import codec
from remediations.adapters.folder import FolderCopy
from remediations.model import Checkpoint
from remediations.proof import anchoring, chain, checking, checkpoint, proving
from remediations.proof.checking import Finding, Verdict
from remediations.proof.proving import Proof
from remediations.settings import Settings

_ROOMS = ("audit", "checkpoints", "intake", "incidents")
_LARGEST_PROOF = 256 * 1024 * 1024  # it holds every record of its incident from the one that it proves on
type Rows = list[tuple[str, RenderableType]]


# ---------------------------------------------------------------------------------------------- verify


def verify(*, store: str | None, against: str | None, keys: list[str], as_json: bool) -> int:
    """Check a trail, or a copy of one, offline.

    Args:
        against: File of a checkpoint that was kept elsewhere.
    """
    own = terminal.own_services(store)
    source, torn = _source(own.settings.store) or (own.trail.store, ())
    outside = None if against is None else _checkpoint(against)
    pinned = _keys(keys, own.settings)
    with terminal.progress("reading checkpoints") as say:
        verdict = checking.verify(
            source,
            torn=torn,
            keys=pinned,
            outside=outside,
            tell=lambda incidents: say(f"{incidents:,} incidents read"),
        )
    if as_json:
        terminal.say_json({**codec.dump(verdict), "pinned": bool(pinned)})
    else:
        _show_verdict(verdict, own.settings.store, is_pinned=bool(pinned), is_compared=outside is not None)
    return terminal.OK if verdict.ok else terminal.DIFFERS


def _source(store: str) -> tuple[FolderCopy, Iterable[tuple[str, int | None, int]]] | None:
    """Give the files of a folder, and which of them are torn; None if the store is no folder."""
    if store.startswith(("http://", "https://")):
        return None
    folder = Path(store)
    root = folder / "trail" if (folder / "trail").is_dir() else folder
    if not root.is_dir() or not any((root / room).is_dir() for room in _ROOMS):
        words = f"no trail lies in {store}. Name the folder that MEDIC_STORE names, or a copy of the container trail."
        raise terminal.CommandError(words)
    copy = FolderCopy(root)
    return copy, copy.torn()


def _keys(given: list[str], settings: Settings) -> tuple[str, ...]:
    """Give the public keys that may have signed: those that are named, else our own; none if neither is known."""
    if not given:
        return () if settings.anchor_key is None else (checkpoint.public_of(settings.anchor_key),)
    found = []
    for one in given:
        text = one if checkpoint.is_key(one) or not Path(one).is_file() else terminal.read_input(one).strip()
        if not checkpoint.is_key(text):
            raise terminal.CommandError(
                f"--key {one!r} is neither a public key (32 bytes in base64) nor a file of one. "
                "`medic audit key` prints yours."
            )
        found.append(text)
    return tuple(found)


def _checkpoint(file: str) -> Checkpoint:
    """Read a checkpoint as it left the house: as it is, in an event, in a log line or as this command printed it."""
    fix = "Give the JSON of one checkpoint: an event's, a log line's, or what `medic audit anchor --json` printed."
    try:
        plain = codec.parse_json(terminal.read_input(file))
    except ValueError as error:
        raise terminal.CommandError(f"{file} is no JSON: {error}. {fix}") from error
    outer = codec.mapping(plain)
    inner = next((codec.mapping(outer[name]) for name in ("checkpoint", "data") if name in outer), outer)
    try:
        return codec.load(Checkpoint, inner)
    except msgspec.ValidationError as error:
        raise terminal.CommandError(f"{file} is no checkpoint: {error}. {fix}") from error


def _show_verdict(verdict: Verdict, store: str, *, is_pinned: bool, is_compared: bool) -> None:
    console = terminal.out()
    head = Text("The trail holds", "bold green") if verdict.ok else Text("The trail does not hold", "bold red")
    console.print(head, Text(f" in {terminal.plain(store)}"), sep="", soft_wrap=True)
    last = verdict.last
    proved = (
        f"none: {'no checkpoint holds' if verdict.found else 'there is no checkpoint'}, and a chain alone can be "
        "rewritten whole"
        if last is None
        else f"{verdict.anchored:,}, by {terminal.counted(verdict.checkpoints, 'checkpoint')}, the last of "
        f"{terminal.moment_words(last.at)}"
    )
    rows: Rows = [
        ("records", f"{verdict.records:,} in {terminal.counted(verdict.incidents, 'incident')}"),
        ("proved", proved),
        ("after it", f"{verdict.after_anchor:,}: chained, and proved by the next checkpoint")
        if verdict.ok
        else ("not proved", f"{verdict.records - verdict.anchored:,}"),
    ]
    for key in verdict.keys:
        rows.append(("signed by", key if is_pinned else f"{key}: no key was given to compare it with"))
    rows += [("outside", "it goes on from the checkpoint that was kept outside")] if is_compared and verdict.ok else []
    terminal.show(console, *rows)
    for finding in verdict.findings:
        _show_finding(finding)
    if verdict.found > len(verdict.findings):
        console.print(f"and {verdict.found - len(verdict.findings):,} more")


def _show_finding(finding: Finding) -> None:
    where = (finding.file or finding.incident or "outside").replace("\n", "\N{REPLACEMENT CHARACTER}")
    record = "" if finding.record is None or finding.incident is None else f", record {finding.record}"
    console = terminal.out()
    console.print()
    head = Text.assemble((finding.what, "bold red"), f"  {terminal.plain(where)}{record}")
    console.print(head, soft_wrap=True)
    console.print(f"  {terminal.plain(finding.words)}.", soft_wrap=True)


# ---------------------------------------------------------------------------------------------- anchor


def anchor(*, as_json: bool) -> int:
    """Write a checkpoint now, if the trail has grown since the last one."""
    own = terminal.own_services()
    if own.settings.anchor_key is None:
        words = "MEDIC_ANCHOR_KEY is not set, so nothing can be signed. `medic audit key --new` makes one."
        raise terminal.CommandError(words)
    anchored = anchoring.anchor(own.trail.store, own.settings.anchor_key, own.clock())
    note = anchored.checkpoint
    told = own.witness.keep(note) if own.witness is not None and note is not None and anchored.is_new else None
    if as_json:
        plain = {"is_new": anchored.is_new, "checkpoint": note, "findings": anchored.findings}
        terminal.say_json(plain | ({} if told is None else {"topic": told}))
    else:
        console = terminal.out()
        if note is None:
            console.print("The trail holds no record that could be signed.")
        else:
            words = "Signed" if anchored.is_new else "Nothing has been added since"
            console.print(f"{words}: checkpoint {note.number} of {terminal.moment_words(note.at)}", style="bold")
            rows: Rows = [
                ("records", f"{note.records:,} in {terminal.counted(note.incidents, 'incident')}"),
                ("root", terminal.Exact(note.root)),
                ("key", terminal.Exact(note.key)),
            ]
            rows += [] if told is None else [("topic", told.words)]
            terminal.show(console, *rows)
            console.print("Keep what --json prints elsewhere: `medic audit verify --checkpoint FILE` compares with it.")
        for finding in anchored.findings:
            _show_finding(finding)
    return terminal.DIFFERS if anchored.findings or (told is not None and not told.taken) else terminal.OK


def key(*, is_new: bool) -> int:
    """Print the public key of the one that is set; or make a new pair and print both."""
    if is_new:
        private = checkpoint.new_key()
        terminal.out().print("MEDIC_ANCHOR_KEY=" + private, soft_wrap=True)
        terminal.out().print("public key       " + checkpoint.public_of(private), soft_wrap=True)
        terminal.err().print("Put the first into a vault. Write down the second: it verifies what the first signs.")
        return terminal.OK
    settings = terminal.own_services().settings
    if settings.anchor_key is None:
        raise terminal.CommandError("MEDIC_ANCHOR_KEY is not set. `medic audit key --new` makes a pair.")
    terminal.out().print(checkpoint.public_of(settings.anchor_key), soft_wrap=True)
    return terminal.OK


# ----------------------------------------------------------------------------------------------- prove


def prove(name: str, *, record: int, output: str | None) -> int:
    """Write the proof that one record stood on the trail when the last checkpoint was taken."""
    own = terminal.own_services()
    found = proving.prove(own.trail.store, incident_named(own.trail, name), record)
    if isinstance(found, str):
        raise terminal.CommandError(f"nothing proves it: {found}.")
    if output is None:
        terminal.say_json(found)
        return terminal.OK
    terminal.write_new(output, msgspec.json.format(codec.encode(found), indent=2) + b"\n")
    return terminal.OK


def verify_proof(file: str, *, keys: list[str], as_json: bool) -> int:
    """Check a proof, without any trail."""
    try:
        proof = codec.decode(Proof, terminal.read_input(file, _LARGEST_PROOF).encode())
    except ValueError as error:
        fix = "Give what `medic audit prove` wrote."
        raise terminal.CommandError(f"{file} is no proof: {error}. {fix}") from error
    pinned = _keys(keys, terminal.own_services().settings)
    why = proving.why_unproved(proof)
    if why is None and pinned and proof.checkpoint.key not in pinned:
        why = f"its checkpoint is signed by key {proof.checkpoint.key}, which is none of those given"
    if as_json:
        plain = {"ok": why is None, "why": why, "incident": proof.head.incident, "checkpoint": proof.checkpoint}
        terminal.say_json(plain)
    elif why is not None:
        terminal.complain(f"{file} proves nothing: {why}.")
    else:
        link, note, record = chain.link(proof.lines[0].encode()), proof.checkpoint, ""
        if link is not None:
            record = f"record {link.seq} of {link.incident}, written {terminal.moment_words(link.at)},"
        console = terminal.out()
        taken = f"was there when checkpoint {note.number} was taken, {terminal.moment_words(note.at)}."
        console.print(f"Proved: {record} {taken}", style="bold", soft_wrap=True)
        whose = note.key if pinned else f"{note.key}: no key was given to compare it with"
        terminal.show(console, ("signed by", whose), ("record", terminal.Exact(proof.lines[0])))
    return terminal.OK if why is None else terminal.DIFFERS
