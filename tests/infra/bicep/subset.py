"""Constructs that one of the two grammars cannot read, though the compiler can: named, so that nobody has to guess."""

import re
from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.syntax import At

_TOKENS = re.compile(r"'''.*?'''(?!')|'(?:\\.|\$\{|[^'\\\n])*'|//[^\n]*|/\*.*?\*/", re.DOTALL)
_FORBIDDEN = (
    (r"\.\.\.", "spread (`...x`)", "Write union(a, b), or the lines themselves."),
    (r"(?<!\|)\|(?!\|)", "a union of types (`'a' | 'b'`)", "Use string and @allowed."),
    (r"\(\s*\w+\s*,\s*\w+\s*\)\s*=>", "a lambda of two arguments", "Use a loop: [for (item, index) in ...]."),
    (
        r":\s*if\s*\(",
        "a condition inside a loop (`for ...: if (...)`)",
        "Filter what is looped over: filter(all, ...).",
    ),
    (r"\$'''", "an interpolated multi-line string (`$'''`)", "Use format() or a plain string."),
    (r"\[\s*\^", "an index from the end (`[^1]`)", "Use last(), or length() - 1."),
    (r"\bresource(?:Input|Output|DerivedType)?<", "a type derived from a resource", "Declare the fields you need."),
    (r"\busing\s+'", "a parameters file (`.bicepparam`)", "Use main.parameters.json, which azd fills in."),
)


def forbidden(path: str, text: str) -> Iterator[Finding]:
    """Give each construct that this project avoids."""
    masked = mask(text)
    for pattern, what, fix in _FORBIDDEN:
        for found in re.finditer(pattern, masked):
            yield Finding(path, _at(text, found.start()), f"{what} is outside the subset that both grammars read", fix)
    for found in re.finditer(r"'''.*?'''", text, re.DOTALL):
        if "${" in found[0] and masked.startswith("'''", found.start()):
            words = "${ in a multi-line string is not filled in"
            yield Finding(path, _at(text, found.start()), words, "Use format() or a plain string.")
    yield from _inside_braces(path, text, masked)


def _inside_braces(path: str, text: str, masked: str) -> Iterator[Finding]:
    for found in re.finditer(r"^[ \t]+(@\w+|resource\s+\w+\s+'[^']*'\s*=\s*if\b)", masked, re.MULTILINE):
        before = masked[: found.start()]
        if before.count("{") <= before.count("}"):
            continue
        if found[1].startswith("@"):
            what, fix = (
                "a decorator inside braces",
                "Put it on the declaration, or describe the field in its description.",
            )
        else:
            what, fix = "a condition on a nested resource (`= if`)", "Declare it at the top with `parent:`."
        yield Finding(path, _at(text, found.start(1)), f"{what} is outside the subset that both grammars read", fix)


def mask(text: str) -> str:
    """Give a text with what strings and comments hold blanked out, of the same length."""

    def blank(found: re.Match[str]) -> str:
        quote = "'''" if found[0].startswith("'''") else "'" if found[0].startswith("'") else ""
        inner = found[0][len(quote) : len(found[0]) - len(quote)]
        return quote + re.sub(r"[^\n]", " ", inner) + quote

    return _TOKENS.sub(blank, text)


def _at(text: str, offset: int) -> At:
    before = text[:offset]
    return At(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
