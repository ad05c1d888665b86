"""``medic classify``: what is known of an error text, without Azure."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final, get_args

import msgspec
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import terminal
from remediations import messages
from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Cause
from remediations.catalogue.matchers import Symptoms
from remediations.classification import (
    UNKNOWN_CAUSE,
    TextDiagnosis,
    Verdict,
    classify_text,
    judge_text,
)
from remediations.model import Facts, Level, Phase

CAUSE_OF: Final = {cause.id: cause for cause in CAUSES}
PHASES: Final[tuple[Phase, ...]] = get_args(Phase.__value__)
_MOST_TEXT: Final = 240 * 1024  # so much of a text is read: errors mostly stand at its end
_MOST_LINE: Final = 4 * 1024 * 1024
_BLOCK: Final = 64 * 1024
_LONGEST: Final = 1200  # characters of an error that a person is shown; --json has all of it
_LONGEST_WORDS: Final = 160
_BEFORE: Final = 200
_BOM: Final = "\ufeff"


class Line(Struct, frozen=True, kw_only=True):
    """One line of ``--jsonl``; further fields are allowed and mean nothing."""

    id: str | int
    message: str
    compute: str | None = None
    phase: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What ``--jsonl`` answers to one line."""

    id: str | int
    code: str
    cause: str
    level: Level
    action: str | None


class Nominated(Struct, frozen=True, kw_only=True):
    """A cause that a text speaks for, and the words by which it does."""

    cause: Cause
    words: tuple[str, ...]


# ------------------------------------------------------------------------------------------- judging texts


def diagnose(text: str, compute: str | None = None, phase: Phase | None = None) -> TextDiagnosis:
    """Give what a text alone says, with all that a person should know."""
    return classify_text(symptoms(text, phase), CAUSES, compute=compute)


def judge(text: str, compute: str | None = None, phase: str | None = None) -> Verdict:
    """Give what a text alone says, in short and fast; a phase that is none of ours counts for nothing."""
    known = next((one for one in PHASES if one == phase), None)
    return judge_text(symptoms(text, known), CAUSES, compute=compute)


def symptoms(text: str, phase: Phase | None = None) -> Symptoms:
    """Give the symptoms of a text. It may be an error or a log, so it is taken as both; of a long one both its ends."""
    if len(text) > _MOST_TEXT:
        text = f"{text[: _MOST_TEXT // 2]}\n{text[-_MOST_TEXT // 2 :]}"
    return Symptoms(details=messages.parse(text), log=text, phase=phase)


def classify(
    file: str, *, as_json: bool, is_jsonl: bool, compute: str | None = None, phase: Phase | None = None
) -> int:
    """Name the cause of an error text."""
    if is_jsonl:
        return _classify_lines(file)
    texts = symptoms(_text_in(file), phase)
    found = classify_text(texts, CAUSES, compute=compute)
    names = found.rivals or ((found.cause_id,) if found.cause_id != UNKNOWN_CAUSE else ())
    nominated = tuple(_nominated(CAUSE_OF[name], texts) for name in names)
    if as_json:
        terminal.say_json(_as_json(found, nominated))
    else:
        _show(terminal.out(), found, nominated)
    return terminal.OK


def _nominated(cause: Cause, texts: Symptoms) -> Nominated:
    return Nominated(cause=cause, words=tuple(dict.fromkeys(map(str.strip, cause.matches.words(texts)))))


def _text_in(file: str) -> str:
    text = terminal.read_input(file).removeprefix(_BOM)
    if file == "-" and sys.stdin.buffer.read(1):
        raise terminal.CommandError(f"stdin is larger than {_MOST_LINE} bytes. Cut it to the error.")
    if not text.strip():
        raise terminal.CommandError("there is no text to classify: the input is empty. Give a file, or pipe a text in.")
    if 10 * (text.count("\0") + text.count("\N{REPLACEMENT CHARACTER}")) > len(text):
        raise terminal.CommandError(f"{'stdin' if file == '-' else file} is not a text in UTF-8. Save it as one.")
    return text


def _as_json(found: TextDiagnosis, nominated: tuple[Nominated, ...]) -> dict[str, object]:
    return {
        "code": found.code,
        "cause": found.cause_id,
        "level": found.level,
        "action": found.action,
        "what": found.what,
        "advice": found.advice,
        "commands": found.commands,
        "notes": found.notes,
        "limits": found.limits,
        "source": found.source,
        "message": found.message,
        "facts": found.facts,
        "rivals": found.rivals,
        "speaks_for": [
            {
                "cause": one.cause.id,
                "code": one.cause.code,
                "what": one.cause.what,
                "words": one.words,
                "tells": one.cause.tells,
            }
            for one in nominated
        ],
    }


# ------------------------------------------------------------------------------------------------- showing


def _show(console: Console, found: TextDiagnosis, nominated: tuple[Nominated, ...]) -> None:
    is_known = found.cause_id != UNKNOWN_CAUSE
    console.print(found.cause_id, style="bold green" if is_known else "bold yellow", end="")
    console.print(f"  {found.code}, by the text alone")
    if found.what:
        console.print(found.what)
    console.print()
    rows: list[tuple[str, RenderableType]] = []
    words = tuple(dict.fromkeys(word for one in nominated for word in one.words))
    if found.message:
        told, unseen = marked(found.message, words, is_plain=console.color_system is None)
        rows.append(("error", told))
        rows += labelled("matched", (_short(word) for word in unseen))
    if found.facts.named:
        rows.append(("facts", _facts(found.facts)))
    if found.rivals:
        rows += labelled("rivals", map(_rival, nominated))
    rows.append(("advice", terminal.plain(found.advice)))
    rows += labelled("type", (terminal.Exact(command) for command in found.commands))
    rows += labelled("note", map(terminal.plain, found.notes))
    rows += [("medic", terminal.plain(found.limits))] if found.limits else []
    if is_known:
        rows.append(("read", CAUSE_OF[found.cause_id].tells))
    terminal.show(console, *rows, ("source", terminal.Exact(found.source)))


def _rival(one: Nominated) -> Text:
    told = Text.assemble((one.cause.id, "bold"), f"  {one.cause.code}\n{one.cause.what}\n")
    return told.append(f"To tell, read {one.cause.tells}.", "dim")


def _facts(facts: Facts) -> Text:
    return Text(", ").join(
        Text.assemble((f"{name.replace('_', ' ')} ", "dim"), terminal.plain(str(value)))
        for name, value in facts.named.items()
    )


def labelled(label: str, values: Iterable[RenderableType]) -> list[tuple[str, RenderableType]]:
    """Give rows of which only the first has the label."""
    return [("" if number else label, value) for number, value in enumerate(values)]


def marked(message: str, words: Iterable[str], *, is_plain: bool) -> tuple[Text, tuple[str, ...]]:
    """Give a message with the words marked that matched, and those words that do not stand in it.

    A long one is cut to what stands around the first of them. Without styles the marks are »these«.
    """
    text = terminal.plain(message)
    wanted = [terminal.plain(word) for word in words]
    first = min((at for word in wanted if (at := text.find(word)) >= 0), default=0)
    if len(text) > _LONGEST:
        start = max(0, min(first - _BEFORE, len(text) - _LONGEST))
        before = "\N{HORIZONTAL ELLIPSIS}" if start else ""
        after = "\N{HORIZONTAL ELLIPSIS}" if start + _LONGEST < len(text) else ""
        text = f"{before}{text[start : start + _LONGEST]}{after}"
    spans = [(at, at + len(word)) for word in wanted if (at := text.find(word)) >= 0]
    told = Text()
    done = 0
    for start, end in _joined(spans):
        told.append(text[done:start])
        if is_plain:
            told.append(f"»{text[start:end]}«")
        else:
            told.append(text[start:end], "bold underline")
        done = end
    return told.append(text[done:]), tuple(word for word in wanted if word not in text)


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 1]}\N{HORIZONTAL ELLIPSIS}"


# ------------------------------------------------------------------------------------------------ many texts


def _classify_lines(file: str) -> int:
    decode = msgspec.json.Decoder(Line).decode
    encode = msgspec.json.Encoder().encode
    number = bad = 0
    sys.stdout.flush()
    for lines in blocks_of(file):
        answers: list[bytes] = []
        for content in lines:
            number += 1
            if content is not None and not content.strip():
                continue
            try:
                line = decode(whole(content))
            except (ValueError, RecursionError) as error:
                fix = "Write one JSON object with id and message."
                terminal.complain(f"line {number} is not answered: {error}. {fix}")
                bad += 1
                continue
            found = judge(line.message, line.compute, line.phase)
            answer = Answer(
                id=line.id, code=found.code, cause=found.cause_id, level=Level.TEXT_ONLY, action=found.action
            )
            answers.append(encode(answer) + b"\n")
        sys.stdout.buffer.write(b"".join(answers))
        sys.stdout.buffer.flush()
    return terminal.MISUSED if bad else terminal.OK


def whole(line: bytes | None) -> bytes:
    """Give a line that is not too long; raises ValueError for one that is."""
    if line is None:
        raise ValueError(f"it is longer than {_MOST_LINE} bytes")
    return line


def blocks_of(file: str) -> Iterator[list[bytes | None]]:
    """Give the lines of a file, or of stdin for ``-``, as many at a time as have come; None is one that is too long.

    It waits for more only when all that came is given away: who answers each block before asking for the next never
    keeps a program waiting that sends its next line only after the answer to the last.
    """
    held, is_lost = bytearray(), False
    with _opened(file) as stream:
        begin: bytes = _BOM.encode()
        while chunk := stream.read1(_BLOCK):
            first, *others = chunk.removeprefix(begin).split(b"\n")
            begin = b""
            held += first
            if len(held) > _MOST_LINE:
                held.clear()
                is_lost = True
            if others:
                *between, last = others
                yield [None if is_lost else bytes(held), *between]
                held, is_lost = bytearray(last), False
    if held or is_lost:
        yield [None if is_lost else bytes(held)]


@contextmanager
def _opened(file: str) -> Iterator[BufferedReader]:
    if file == "-":
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    try:
        with Path(file).open("rb") as opened:
            yield opened
    except OSError as error:
        raise terminal.CommandError(f"{file} cannot be read: {error.strerror}. Name a file, or - for stdin.") from error
