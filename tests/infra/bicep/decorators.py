"""Decorators: they exist, where they belong, with fixed values that fit; and each param and output is described."""

from collections import Counter
from collections.abc import Iterator

from tests.infra.bicep.builtins import DECORATORS
from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Declaration,
    Decorator,
    Module,
    Output,
    Parameter,
    Resource,
    UserType,
    free_names,
    literal,
    word,
)


def check_decorators(context: Context) -> Iterator[Finding]:
    """Check the decorators of each declaration."""
    for declaration in context.file.declarations:
        yield from _decorators(context, declaration)
        yield from _described(context, declaration)


def _decorators(context: Context, declaration: Declaration) -> Iterator[Finding]:
    keyword = word(declaration)
    path = context.file.path
    for name, count in Counter(decorator.name for decorator in declaration.decorators).items():
        if count > 1:
            yield Finding(path, declaration.at, f"@{name} stands {count} times on {declaration.name!r}", "Keep one.")
    for decorator in declaration.decorators:
        rule = DECORATORS.get(decorator.name)
        if rule is None:
            words = f"no such decorator: @{decorator.name}"
            yield Finding(path, decorator.at, words, did_you_mean(decorator.name, DECORATORS))
            continue
        if keyword not in rule.on:
            words = f"@{decorator.name} may not stand on a {keyword}"
            yield Finding(path, decorator.at, words, f"It belongs on: {', '.join(sorted(rule.on))}.")
        if len(decorator.arguments) != rule.arguments:
            words = f"@{decorator.name} takes {rule.arguments} arguments, not {len(decorator.arguments)}"
            yield Finding(path, decorator.at, words, "Give what it asks for.")
        kind = declaration.type.kind if isinstance(declaration, Parameter | Output | UserType) else "any"
        if rule.kinds and kind not in {*rule.kinds, "any", "named"}:
            words = f"@{decorator.name} does not fit the type {kind}"
            yield Finding(path, decorator.at, words, f"It is for: {', '.join(sorted(rule.kinds))}.")
        yield from _values(context, declaration, decorator)
        if decorator.name == "batchSize" and not (isinstance(declaration, Resource | Module) and declaration.loop):
            yield Finding(path, decorator.at, "@batchSize is for loops", "Remove it.")


def _described(context: Context, declaration: Declaration) -> Iterator[Finding]:
    if not isinstance(declaration, Parameter | Output):
        return
    found = declaration.decorator("description")
    text = literal(found.arguments[0]) if found is not None and found.arguments else None
    if not isinstance(text, str) or not text.strip():
        words = f"{word(declaration)} {declaration.name!r} has no description"
        yield Finding(context.file.path, declaration.at, words, "Say in @description('...') what it is.")


def _values(context: Context, declaration: Declaration, decorator: Decorator) -> Iterator[Finding]:
    path = context.file.path
    for argument in decorator.arguments:
        for use in free_names(argument):
            words = f"@{decorator.name} takes fixed values, {use.name!r} is none"
            yield Finding(path, use.at, words, "Write the value out.")
        if decorator.name == "allowed" and isinstance(declaration, Parameter) and isinstance(argument, Array):
            for item in argument.items:
                kind = context.kind(item)
                if kind not in {"any", declaration.type.kind}:
                    words = f"@allowed of a param of type {declaration.type.kind} has a value of type {kind}"
                    yield Finding(path, item.at, words, f"Give values of type {declaration.type.kind}.")
