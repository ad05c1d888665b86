"""``medic causes``: the catalogue, as a table, one by one, for programs, and as docs/causes.md."""

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import terminal
from local.commands.texts import CAUSE_OF, labelled
from remediations import advising
from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import is_kubernetes, is_managed
from remediations.catalogue.matchers import Symptoms
from remediations.classification import nominate
from remediations.model import Facts

_NOTHING = Facts()
_LONGEST_EXAMPLE = 400
_COMPUTES = {is_kubernetes: "Kubernetes", is_managed: "managed"}
_PREFACE = """\
# Causes

<!-- Made by `make docs` from remediations/catalogue/. Change it there. -->

What Endpoint Medic can name, by the code of the
[troubleshooting guide](https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints). A text
only nominates a cause; nothing is done before reads of Azure confirm it and every guard agrees, as
[actions.md](actions.md) tells. Any other failure is `unknown`. Names in capital letters are for you to fill in.
"""


def causes(name: str | None, *, as_json: bool, as_markdown: bool) -> int:
    """Tell of every cause that is known, or of one."""
    if as_markdown:
        sys.stdout.write(markdown())
        return terminal.OK
    if name is None:
        if as_json:
            terminal.say_json({"causes": [told(cause) for cause in CAUSES]})
        else:
            _show_all(terminal.out())
        return terminal.OK
    cause = _named(name)
    if as_json:
        terminal.say_json(told(cause))
    else:
        _show_one(terminal.out(), cause)
    return terminal.OK


def _named(name: str) -> Cause:
    wanted = name.strip().lower()
    cause = CAUSE_OF.get(wanted)
    if cause is not None:
        return cause
    under = [one.id for one in CAUSES if wanted in {code.lower() for code in codes(one)}]
    close = get_close_matches(wanted, CAUSE_OF, n=3) or [one for one in CAUSE_OF if len(wanted) > 2 and wanted in one]
    meant = f"Did you mean {' or '.join(close[:3])}?" if close else "`medic causes` lists them all."
    if under:
        meant = f"It is a code, of {', '.join(under)}."
    raise terminal.CommandError(f"there is no cause {name!r}. {meant}")


# ------------------------------------------------------------------------------------------ what is told of one


def codes(cause: Cause) -> tuple[str, ...]:
    """Give the codes under which a cause arises, the guide's first."""
    return tuple(dict.fromkeys((cause.code, *cause.also)))


def compute_of(cause: Cause) -> str | None:
    """Give the compute on which alone a cause arises; None if it does on both."""
    return next((name for check, name in _COMPUTES.items() if check in cause.checks), None)


def named_when(cause: Cause) -> str:
    """Give what it takes for a cause to be named, in a sentence or two."""
    if cause.needs_support:
        words = "Named only if a read of Azure supports it; a text alone does not do."
    elif cause.hints is not None:
        words = "Named by its text; where the text is vaguer, only if a read of Azure supports it."
    else:
        words = "Named by its text, unless a read of Azure speaks against it."
    if cause.is_catch_all:
        words = "Named by its text, where no other cause is."
    compute = compute_of(cause)
    return words if compute is None else f"{words} On {compute} compute alone."


@cache
def rivals(name: str) -> tuple[str, ...]:
    """Give the causes of which an example speaks for both; not those that give way to the other anyway."""
    cause = CAUSE_OF[name]
    settled = {*cause.refines, *_refined_by(cause)}
    others = {other for pair in _pairs() if name in pair for other in pair if other != name}
    if cause.is_catch_all:
        return ()
    return tuple(sorted(other for other in others - settled if not CAUSE_OF[other].is_catch_all))


@cache
def _pairs() -> frozenset[frozenset[str]]:
    pairs: set[frozenset[str]] = set()
    for cause in CAUSES:
        for example in cause.examples:
            names = [other.id for other, _ in nominate(example, CAUSES)]
            pairs |= {frozenset((cause.id, name)) for name in names if name != cause.id}
    return frozenset(pairs)


def advice(cause: Cause) -> str:
    """Give the advice, as commands are: what an incident names stands in capital letters."""
    return re.sub(r"\{(\w+)\}", lambda hole: hole[1].upper(), cause.advice)


def _refined_by(cause: Cause) -> tuple[str, ...]:
    return tuple(other.id for other in CAUSES if cause.id in other.refines)


def told(cause: Cause) -> dict[str, object]:
    """Give a cause for programs."""
    return {
        "id": cause.id,
        "code": cause.code,
        "also": cause.also,
        "what": cause.what,
        "action": cause.action,
        "compute": (compute_of(cause) or "").lower() or None,
        "needs_support": cause.needs_support,
        "is_catch_all": cause.is_catch_all,
        "named_when": named_when(cause),
        "advice": cause.advice,
        "commands": cause.commands,
        "limits": advising.limits(cause),
        "tells": cause.tells,
        "refines": cause.refines,
        "refined_by": _refined_by(cause),
        "rivals": rivals(cause.id),
        "reads": cause.asks,
        "examples": [
            {
                "errors": [{"code": one.code, "message": one.message} for one in example.details],
                "log": example.log,
                "phase": example.phase,
                "statuses": example.statuses,
            }
            for example in cause.examples
        ],
        "source": cause.source,
    }


def example_words(example: Symptoms) -> str:
    """Give an example as it might stand in a terminal, in one paragraph."""
    parts = [f"({one.code}) {one.message}" if one.code else one.message for one in example.details]
    parts += [example.log] if example.log else []
    parts += [f"HTTP {', '.join(example.statuses)}"] if example.statuses else []
    words = " ".join(" ".join(parts).split())
    shown = words if len(words) <= _LONGEST_EXAMPLE else f"{words[: _LONGEST_EXAMPLE - 1]}\N{HORIZONTAL ELLIPSIS}"
    return terminal.plain(shown.strip())


# ------------------------------------------------------------------------------------------------- for people


def _show_all(console: Console) -> None:
    shown = terminal.table("Cause", "What it is, and what is done")
    shown.columns[0].no_wrap = True
    for cause in CAUSES:
        name = Text.assemble((cause.id, "bold"), *((f"\n{code}", "dim") for code in codes(cause)), "\n")
        done = (cause.action, "green") if cause.action else ("advice", "dim")
        shown.add_row(name, Text.assemble(f"{cause.what}\n", done, "\n"))
    console.print(shown)
    acted = sum(cause.action is not None for cause in CAUSES)
    console.print(f"{terminal.counted(len(CAUSES), 'cause')}, {acted} with an action; any other failure is unknown.")
    console.print("`medic causes ID` tells all of one.", style="dim")


def _show_one(console: Console, cause: Cause) -> None:
    console.print(cause.id, style="bold green" if cause.action else "bold", end="")
    console.print(f"  {cause.action or 'advice'}")
    console.print(cause.what)
    console.print()
    rows: list[tuple[str, RenderableType]] = [("code", ", ".join(codes(cause)))]
    rows.append(("named", named_when(cause).removeprefix("Named ")))
    rows.append(("advice", advice(cause)))
    rows += labelled("type", (terminal.Exact(one) for one in advising.commands(cause, None, _NOTHING)))
    rows.append(("medic", advising.limits(cause)))
    rows.append(("read", cause.tells))
    for label, names in (
        ("refines", cause.refines),
        ("refined by", _refined_by(cause)),
        ("rivals", rivals(cause.id)),
    ):
        rows += [(label, ", ".join(names))] if names else []
    rows += labelled("examples", map(example_words, cause.examples))
    terminal.show(console, *rows, ("source", terminal.Exact(cause.source)))


# ---------------------------------------------------------------------------------------------- docs/causes.md


def markdown() -> str:
    """Give docs/causes.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    groups: dict[str, list[Cause]] = {}
    for cause in CAUSES:
        groups.setdefault(cause.code, []).append(cause)
    names = sorted({code for cause in CAUSES for code in codes(cause)}, key=str.lower)
    acted = sum(cause.action is not None for cause in CAUSES)
    yield _PREFACE
    yield f"{len(CAUSES)} causes under {len(names)} codes: {acted} call for an action, the others for a person."
    yield ""
    yield "| code | causes | |"
    yield "|---|---:|---|"
    for name in names:
        under = [cause for cause in CAUSES if name in codes(cause)]
        heading = f"[{name}](#{anchor(name)})" if name in groups else name
        yield f"| {heading} | {len(under)} | {', '.join(_link(cause.id) for cause in under)} |"
    for code in sorted(groups, key=str.lower):
        yield f"\n## {code}"
        for cause in groups[code]:
            yield from _section(cause)
    yield ""


def _section(cause: Cause) -> Iterator[str]:
    yield f"\n### {cause.id}\n"
    yield f"{_safe(cause.what)} {named_when(cause)}"
    if cause.also:
        yield f"Also under {', '.join(cause.also)}."
    if cause.examples and (words := example_words(cause.examples[0])):
        yield f"\n```text\n{words}\n```"
    yield f"\n**Do.** {_safe(advice(cause))}"
    if commands := advising.commands(cause, None, _NOTHING):
        yield "\n```console"
        yield from (f"$ {command}" for command in commands)
        yield "```"
    does = _safe(advising.limits(cause)).removeprefix("Endpoint Medic ")
    yield f"\n**Endpoint Medic{'** ' if does != advising.limits(cause) else '.** '}{does}"
    if cause.refines:
        yield f"\n**Goes before** {', '.join(map(_link, cause.refines))}, where both fit."
    if names := rivals(cause.id):
        yield f"\n**Told apart** from {', '.join(map(_link, names))} by {_safe(cause.tells)}."
    yield f"\n[Source]({cause.source})"


def _link(name: str) -> str:
    return f"[{name}](#{anchor(name)})"


def anchor(heading: str) -> str:
    """Give what GitHub calls a heading in links."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _safe(text: str) -> str:
    """Give a text that reads in Markdown as it stands; what is in backticks is code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
