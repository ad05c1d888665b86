"""``medic audit export``: audit records for other programs, as JSON Lines or as CSV.

A line of JSON is the very line of the trail, so that anybody can check its hash. A row of CSV is for people with a
spreadsheet: what steers a terminal is taken out of it, and a cell that would be a formula begins with an apostrophe.
"""

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from local.commands import selecting, terminal
from local.commands.selecting import Found, Given, Wanted
from remediations import codec
from remediations.headline import headline
from remediations.model import AuditRecord
from remediations.trail import Trail

COLUMNS = (
    "at",
    "incident",
    "seq",
    "resource",
    "workspace",
    "stage",
    "actor",
    "actor_tenant",
    "mode",
    "policy_version",
    "action",
    "plan",
    "words",
    "hash",
)
# What a spreadsheet takes for the beginning of a formula; the wide ones too, which some read as the narrow ones.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
type Format = Literal["jsonl", "csv"]
type Write = Callable[[bytes], object]


def export(given: Given, *, form: Format, output: str | None) -> int:
    """Write the records that are asked for, incident by incident, the oldest first.

    Args:
        output: A file that is not there yet; None: stdout.
    """
    own = terminal.own_services()
    wanted = given.wanted(own.clock())
    incidents = records = 0
    with _target(output) as (write, say):
        cases = selecting.exported(own.trail, wanted, lambda seen: say(f"{seen:,} incidents looked at"))
        write(_as_csv([COLUMNS]) if form == "csv" else b"")
        for number, case in enumerate(cases):
            if number % 100 == 0:
                say(f"{number:,} of {terminal.counted(len(cases), 'incident')} written")
            lines = _lines(own.trail, wanted, case, form)
            write(b"".join(lines))
            incidents += bool(lines)
            records += len(lines)
    if not records:
        held = f" for {wanted.words}" if wanted.words else ""
        words = f"The trail in {own.settings.store} holds no record{held}."
        terminal.err().print(terminal.plain(words), soft_wrap=True)
    elif output is not None:
        words = f"{records:,} {'record' if records == 1 else 'records'} of {terminal.counted(incidents, 'incident')}"
        terminal.out().print(terminal.plain(f"{words} written to {output}."), soft_wrap=True)
    return terminal.OK


# --------------------------------------------------------------------------------------- one incident


def _lines(trail: Trail, wanted: Wanted, case: Found, form: Format) -> list[bytes]:
    """Give the lines of an incident's records that are asked for, each with its end."""
    lines = [line for line in trail.record_lines(case.id).split(b"\n") if line]
    if form == "jsonl" and not wanted.asks_of_records:
        return [line + b"\n" for line in lines]
    found: list[bytes] = []
    actions: dict[str, str] = {}  # of its plans
    for number, line in enumerate(lines):
        try:
            record = codec.decode(AuditRecord, line)
            whole = _as_csv([_row(case, record, actions)]) if form == "csv" else line + b"\n"
        except (ValueError, RecursionError) as error:
            raise terminal.CommandError(
                f"record {number} of {case.id} cannot be read: {error}. `medic audit verify` tells whether it was "
                "changed; as JSON Lines, without --actor and --stage, it is exported as it lies there."
            ) from error
        if wanted.takes(record):
            found.append(whole)
    return found


def _row(case: Found, record: AuditRecord, actions: dict[str, str]) -> tuple[str, ...]:
    """Give the cells of a record. One that names its plan alone has the action of that plan."""
    plan, action = (_text(record.facts.get(name)) for name in ("plan", "action"))
    if plan and action:
        actions[plan] = action
    actor = record.actor
    return (
        str(codec.dump(record.at)),
        record.incident,
        str(record.seq),
        case.resource,
        case.workspace,
        record.stage,
        selecting.MEDIC if actor.who == selecting.MEDIC else actor.oid or actor.appid or "",
        actor.tid or "",
        record.mode,
        record.policy_version,
        action or actions.get(plan, ""),
        plan,
        headline(record),
        record.hash,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _as_csv(rows: Iterable[tuple[str, ...]]) -> bytes:
    """Give rows by RFC 4180, in UTF-8. Every cell is quoted, so that no other separator in it splits it."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode(errors="replace")


def _cell(text: str) -> str:
    clean = terminal.plain(text)
    seen = clean.replace("\N{REPLACEMENT CHARACTER}", "").lstrip()
    return f"'{clean}" if seen.startswith(_FORMULA) or clean[:1] in {"\t", "\n"} else clean


# ------------------------------------------------------------------------------------------ where it goes


@contextmanager
def _target(output: str | None) -> Iterator[tuple[Write, Callable[[str], None]]]:
    """Give what writes, and what tells on a terminal how far it has come."""
    if output is not None:
        with terminal.new_file(output) as opened, terminal.progress("listing incidents") as say:
            yield opened.write, say
        return
    if sys.stdout.isatty():  # what steers it stands escaped, and no progress between the lines
        yield _show, lambda _: None
        return
    try:
        with terminal.progress("listing incidents") as say:
            yield sys.stdout.buffer.write, say
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever read it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or leaving would try to write the rest


def _show(content: bytes) -> None:
    sys.stdout.write(terminal.escaped(content.decode(errors="replace").replace("\r\n", "\n")))
