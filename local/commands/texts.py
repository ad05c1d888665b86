"""``medic classify`` and ``medic causes``: what is known of an error text, without Azure."""

import json
import sys
from collections.abc import Iterable

import msgspec
from msgspec import Struct
from rich.text import Text

from local.commands import terminal
from remediations import messages
from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Symptoms
from remediations.classification import UNKNOWN_CAUSE, TextDiagnosis, classify_text


class Line(Struct, frozen=True, kw_only=True):
    """One line of ``--jsonl``; further fields are allowed and mean nothing."""

    id: str | int
    message: str
    compute: str | None = None
    phase: str | None = None


def classify(file: str, *, as_json: bool, is_jsonl: bool) -> int:
    """Name the cause of an error text."""
    if is_jsonl:
        return _classify_lines(file)
    text = terminal.read_input(file)
    if not text.strip():
        raise terminal.CommandError("there is no text to classify: the input is empty. Give a file, or pipe a text in.")
    found = diagnose(text)
    if as_json:
        terminal.say_json(
            {
                "code": found.code,
                "cause": found.cause_id,
                "level": found.level,
                "action": found.action,
                "advice": found.advice,
                "source": found.source,
                "message": found.message,
                "facts": found.facts,
                "rivals": found.rivals,
            }
        )
    else:
        _show(found)
    return terminal.OK


def diagnose(text: str, compute: str | None = None) -> TextDiagnosis:
    """Give what a text alone says; it may be an error or a log, so it is taken as both."""
    return classify_text(Symptoms(details=messages.parse(text), log=text), CAUSES, compute=compute)


def causes(*, as_json: bool) -> int:
    """List every cause that is known."""
    if as_json:
        names = ("id", "code", "action", "advice", "source")
        terminal.say_json({"causes": [{name: getattr(cause, name) for name in names} for cause in CAUSES]})
        return terminal.OK
    shown = terminal.table("Cause", "Action", "What to do", show_lines=True)
    for cause in CAUSES:
        guide, _, anchor = cause.source.partition("#")
        source = Text(f"#{anchor}" if anchor else guide, f"dim link {cause.source}")
        advice = Text.assemble(cause.advice, "\n", source)
        shown.add_row(Text.assemble((cause.id, "bold"), f"\n{cause.code}"), cause.action or "advice", advice)
    console = terminal.out()
    console.print(shown)
    acted = sum(cause.action is not None for cause in CAUSES)
    console.print(f"{terminal.counted(len(CAUSES), 'cause')}, {acted} with an action; any other failure is unknown.")
    for guide in dict.fromkeys(cause.source.partition("#")[0] for cause in CAUSES):
        console.print(f"Source: {guide}", style="dim", soft_wrap=True)
    return terminal.OK


def _show(found: TextDiagnosis) -> None:
    console = terminal.out()
    is_known = found.cause_id != UNKNOWN_CAUSE
    console.print(found.cause_id, style="bold green" if is_known else "bold yellow", end="")
    console.print(f"  {found.code}, by the text alone")
    rows: list[tuple[str, str]] = [("error", terminal.plain(found.message))] if found.message else []
    rows += [(name, terminal.plain(str(value))) for name, value in found.facts.named.items()]
    if found.rivals:
        rows.append(("rivals", ", ".join(found.rivals)))
    rows.append(("advice", terminal.plain(found.advice)))
    if is_known:
        words = (
            f"{found.action}, once reads of Azure confirm the cause" if found.action else "none: a person has to act"
        )
        rows.append(("action", words))
    terminal.show(console, *rows, ("source", terminal.Exact(found.source)))


def _classify_lines(file: str) -> int:
    bad = 0
    for number, content in enumerate(_lines(file), start=1):
        if not content.strip():
            continue
        try:
            line = msgspec.json.decode(content, type=Line)
        except (msgspec.DecodeError, RecursionError) as error:
            terminal.complain(f"line {number} is not answered: {error}. Write one JSON object with id and message.")
            bad += 1
            continue
        found = diagnose(line.message, line.compute)
        answer = {
            "id": line.id,
            "code": found.code,
            "cause": found.cause_id,
            "level": found.level,
            "action": found.action,
        }
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    return terminal.MISUSED if bad else terminal.OK


def _lines(file: str) -> Iterable[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - read line by line
            yield from opened
    except OSError as error:
        raise terminal.CommandError(f"{file} cannot be read: {error.strerror}. Name a file, or - for stdin.") from error
