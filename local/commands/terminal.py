"""What every command shares: how it speaks to people and to programs, how it fails, and how times are written."""

import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from remediations.errors import ArmError, MedicError, StoreUnavailable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from remediations.ports import Reads
    from remediations.services import Services

OK, DIFFERS, MISUSED, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 130
_MOST_BYTES = 4 * 1024 * 1024
_EXISTS = "{} exists. Name a file that does not."

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([wdhms])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


class CommandError(MedicError):
    """What a command cannot go on from: its words say what, which, why and what to do."""

    def __init__(self, words: str, exit_code: int = MISUSED) -> None:
        self.exit_code = exit_code
        super().__init__(words)


class AzureUnreadable(CommandError):
    """Azure did not let us read what the whole answer rests on."""

    def __init__(self, what: str, why: str) -> None:
        why = reason_of(why)
        fix = "Run `medic doctor` to see who you are signed in as and what can be reached."
        if why.startswith("no token"):
            fix = "Sign in with `az login`, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET."
        elif re.search(r"\b401\b", why):
            why = "401: our token is not accepted"
            fix = "Sign in to the tenant that it is of, with `az login --tenant`."
        elif re.search(r"\b403\b", why):
            fix = "Grant it with a role such as Reader at this scope, and sign in again."
        super().__init__(f"{what} cannot be read: {why}. {fix}", UNREADABLE)


def exit_code_of(error: MedicError) -> int:
    """Give the exit code that an error stands for."""
    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, ArmError) or (isinstance(error, StoreUnavailable) and "http" in error.store):
        return UNREADABLE
    return MISUSED


# ---------------------------------------------------------------------------------------- what is said


def out() -> "Console":
    """Give the console of answers: no markup is read, since texts of others stand in them."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that --help and --json do not need

    return Console(markup=False, highlight=False, emoji=False, soft_wrap=False)


def err() -> "Console":
    """Give the console of complaints and progress."""
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def complain(words: str) -> None:
    """Say what is wrong, on stderr and in one paragraph."""
    console = err()
    console.print("medic: ", style="bold red", end="")
    console.print(plain(words), soft_wrap=True)


def say_json(value: object) -> None:
    """Write a value for programs; what steers a terminal stands escaped in it."""
    from remediations import codec  # noqa: PLC0415 - imports the model

    sys.stdout.write(escaped(json.dumps(codec.dump(value), indent=2, ensure_ascii=False)) + "\n")


def escaped(json_text: str) -> str:
    """Give JSON in which what steers a terminal stands escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def plain(text: str) -> str:
    """Give a text without the characters that steer a terminal, or hide in it: error texts are written by anyone."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def table(*columns: str, **options: Any) -> "Table":
    """Give an empty table in the one style that all have; a column named ``>x`` is for numbers."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", **options)
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column[0] == ">" else "left", overflow="fold")
    return made


class Exact(str):
    """What is never folded, so that it can be copied and searched for: calls and links."""

    __slots__ = ()


def show(console: "Console", *rows: "tuple[str, RenderableType]", label_style: str = "dim") -> None:
    """Print labelled lines: the labels in one column, what they say in the other."""
    from itertools import groupby  # noqa: PLC0415 - beside its use

    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    width = max(len(label) for label, _ in rows)
    for is_exact, group in groupby(rows, key=lambda row: isinstance(row[1], Exact)):
        if is_exact:
            for label, words in group:
                line = Text.assemble((f"{label:<{width}}  ", label_style), plain(str(words)))
                console.print(line, soft_wrap=True)
            continue
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style=label_style, width=width, no_wrap=True)
        grid.add_column(overflow="fold")
        for label, said in group:
            grid.add_row(label, said)
        console.print(grid)


def counted(number: int, noun: str) -> str:
    """Give ``1 incident``, ``2 incidents``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def reason_of(words: str) -> str:
    """Give the bare reason of a reading's words: ``unknown (403: …)`` says twice that it is unknown."""
    return words.removeprefix("unknown (").removesuffix(")") if words.startswith("unknown (") else words


def moment_words(moment: datetime) -> str:
    """Give a time for people."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span_words(span: timedelta) -> str:
    """Give a duration for people, in its largest unit: ``3 d``, ``4 h``, ``12 min``, ``30 s``."""
    seconds = max(0, round(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@contextmanager
def progress(words: str) -> Iterator[Callable[[str], None]]:
    """Give what tells on a terminal how far long work has come; elsewhere nothing is told."""
    console = err()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(words) as status:
        yield status.update


# ---------------------------------------------------------------------------------------- what is asked


def read_input(file: str, most: int = _MOST_BYTES) -> str:
    """Give the text of a file, or of stdin for ``-``; raises CommandError if it has more bytes than that."""
    if file == "-":
        if sys.stdin is None:  # its descriptor was closed
            return ""
        if sys.stdin.isatty():
            err().print("reading from the keyboard; end with Ctrl-D", style="dim")
        return sys.stdin.buffer.read(most).decode(errors="replace")
    path = Path(file)
    try:
        with path.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}. Name a file, or - for stdin.") from error
    if len(content) > most:
        raise CommandError(f"{file} is larger than {most} bytes. Cut it to the error.")
    return content.decode(errors="replace")


def write_new(file: str, content: bytes) -> None:
    """Write a file that is not there yet; raises CommandError."""
    with new_file(file) as opened:
        opened.write(content)


@contextmanager
def new_file(file: str) -> Iterator[BinaryIO]:
    """Give a file to write that is not there yet; raises CommandError.

    It is written aside, as ``<name>.<8 digits>.part``, and takes its name when it is whole.
    """
    path = Path(file)
    if not file:
        raise CommandError("--output is empty. Name a file that is not there yet, or - for stdout.")
    if os.path.lexists(path):
        raise CommandError(_EXISTS.format(file))
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with aside.open("xb") as opened:
                yield opened
                opened.flush()
                os.fsync(opened.fileno())
            _name(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except FileExistsError as error:
        raise CommandError(_EXISTS.format(file)) from error
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}. Name a place that can.") from error


def _name(aside: Path, path: Path) -> None:
    """Give a file its name; raises FileExistsError if that is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        if os.path.lexists(path):
            raise FileExistsError from None
        aside.rename(path)


def duration(text: str) -> timedelta:
    """Read ``7d``, ``24h``, ``1h30m``."""
    compact = text.strip().lower()
    if not compact or _SPAN.sub("", compact).strip():
        raise typer.BadParameter(f"{text!r} is no duration. Write 7d, 24h, 30m or 1h30m.")
    try:
        return sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in _SPAN.findall(compact)), timedelta())
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is too long a duration.") from error


def past(text: str, now: datetime) -> datetime:
    """Read a time that lies back: a duration, or a date or time (UTC if it names no zone)."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now - duration(text)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    return _in_utc(moment, text) if moment.tzinfo else moment.replace(tzinfo=UTC)


def future(text: str, now: datetime) -> datetime:
    """Read a time that lies ahead: ``+2h``, or a time with its zone."""
    compact = text.strip()
    try:
        moment = datetime.fromisoformat(compact)
    except ValueError:
        if not compact.startswith("+"):
            raise typer.BadParameter(f"{text!r} is no time. Write +2h, or 2026-11-23T08:00Z.") from None
        try:
            return now + duration(compact[1:])
        except OverflowError as error:
            raise typer.BadParameter(f"{text!r} is too far ahead.") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone. End it with Z, or with an offset such as +01:00.")
    if moment <= now:
        raise typer.BadParameter(f"{text!r} is over: now is {moment_words(now)}.")
    return _in_utc(moment, text)


def _in_utc(moment: datetime, text: str) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} lies outside the years 1 to 9999 of UTC.") from error


# ------------------------------------------------------------------------------------ what is worked with


def own_services(store: str | None = None) -> "Services":
    """Give the services of this environment; warnings go to stderr, and Azure's libraries keep silent.

    Args:
        store: Another store than the one that is set.
    """
    import structlog  # noqa: PLC0415 - most commands need no services

    from remediations import settings  # noqa: PLC0415 - as above
    from remediations.services import Services, services  # noqa: PLC0415 - the stores and the policy

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    if store is not None:
        return Services(settings.load({**os.environ, "MEDIC_STORE": store}))
    return services()


def own_reads(own: "Services") -> "Reads":
    """Give a reader of Azure; raises SettingsError if nothing could sign its requests."""
    from remediations.errors import SettingsError  # noqa: PLC0415 - beside its use

    if own.settings.arm_is_loopback and own.settings.arm_token is None:
        why, fix = "a simulator on loopback takes a fixed token", "Set it, for instance to sim-medic."
        raise SettingsError("MEDIC_ARM_TOKEN", None, why, fix)
    return own.reads()
