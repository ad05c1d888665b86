"""Constructs that one of the two grammars cannot read, though the compiler can: named, so that nobody has to guess."""

import re
from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.syntax import At

_STRING_OR_COMMENT = re.compile(r"'''.*?'''|'(?:\\.|[^'\\\n])*'|//[^\n]*|/\*.*?\*/", re.DOTALL)
_FORBIDDEN = (
    (r"\.\.\.", "spread (`...x`)", "Write union(a, b), or the lines themselves."),
    (r"(?<!\|)\|(?!\|)", "a union of types (`'a' | 'b'`)", "Use string and @allowed."),
    (r"\(\s*\w+\s*,\s*\w+\s*\)\s*=>", "a lambda of two arguments", "Use a loop: [for (item, index) in ...]."),
    (
        r":\s*if\s*\(",
        "a condition inside a loop (`for ...: if (...)`)",
        "Filter what is looped over: filter(all, ...).",
    ),
    (r"\$?'''", "a multi-line string (`'''`)", "Use loadTextContent, or \\n: pycep can take minutes over one."),
    (r"\[\s*\^", "an index from the end (`[^1]`)", "Use last(), or length() - 1."),
    (r"\bresource(?:Input|Output|DerivedType)?<", "a type derived from a resource", "Declare the fields you need."),
    (r"\busing\s+'", "a parameters file (`.bicepparam`)", "Use main.parameters.json, which azd fills in."),
)


def forbidden(path: str, text: str) -> Iterator[Finding]:
    """Give each construct that this project avoids."""
    masked = _STRING_OR_COMMENT.sub(_blank, text)
    found = [(at.start(), what, fix) for pattern, what, fix in _FORBIDDEN for at in re.finditer(pattern, masked)]
    for offset, what, fix in (*found, *_inside_braces(masked)):
        before = text[:offset]
        at = At(before.count("\n") + 1, offset - before.rfind("\n"))
        yield Finding(path, at, f"{what} is outside the subset that both grammars read", fix)


def _inside_braces(masked: str) -> Iterator[tuple[int, str, str]]:
    for found in re.finditer(r"^[ \t]+(@\w+|resource\s+\w+\s+'[^']*'\s*=\s*if\b)", masked, re.MULTILINE):
        before = masked[: found.start()]
        if before.count("{") <= before.count("}"):
            continue
        if found[1].startswith("@"):
            fix = "Put it on the declaration, or say it in the description of that."
            yield found.start(1), "a decorator inside braces", fix
        else:
            yield found.start(1), "a condition on a nested resource (`= if`)", "Declare it at the top with `parent:`."


def _blank(found: re.Match[str]) -> str:
    """Blank out what a string or a comment holds, so that lengths stay and patterns see no words."""
    quote = "'''" if found[0].startswith("'''") else "'" if found[0].startswith("'") else ""
    inner = found[0][len(quote) : len(found[0]) - len(quote)]
    return quote + re.sub(r"[^\n]", " ", inner) + quote
