"""Loops: where they may stand, over what; and what was made in one is told apart."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.operators import check_kind
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Entry,
    For,
    Index,
    Module,
    Object,
    Output,
    Resource,
    Variable,
    bare,
)


def check_loops(context: Context) -> Iterator[Finding]:
    """Check each loop of a file."""
    for entry in context.file.entries:
        placed = {id(found) for found in _placed(entry.declaration)}
        for expression in entry.expressions:
            if isinstance(expression, For):
                yield from check_kind(context, expression.over, "what a loop goes over", "array")
                if id(expression) not in placed:
                    words = "a loop may not stand here"
                    fix = "It may be a whole var, output, resource or module, or the value of a property of these two."
                    yield Finding(context.file.path, expression.at, words, fix)
        yield from _collections(context, entry)


def _placed(declaration: object) -> Iterator[For]:
    """Give the loops that stand where one may."""
    match declaration:
        case Variable(value=value) | Output(value=value):
            if isinstance(value, For):
                yield value
        case Resource(loop=loop, body=body) | Module(loop=loop, body=body):
            if loop is not None:
                yield loop
            yield from _values(body)


def _values(body: Object) -> Iterator[For]:
    for item in body.properties:
        if isinstance(item.value, For):
            yield item.value
        elif isinstance(item.value, Object):
            yield from _values(item.value)
    for child in body.resources:
        yield from _placed(child)


def _collections(context: Context, entry: Entry) -> Iterator[Finding]:
    """What was made in a loop is read by its index, what was not is not."""
    waits = entry.declaration.body.get("dependsOn") if isinstance(entry.declaration, Resource | Module) else None
    whole = {id(item) for item in waits.items} if isinstance(waits, Array) else set()
    indexed = {id(bare(found.of)) for found in entry.expressions if isinstance(found, Index)}
    for use in entry.names:
        declared = context.file.named(use.name)
        if not isinstance(declared, Resource | Module) or id(use) in whole:
            continue
        if declared.loop is not None and id(use) not in indexed:
            words = f"{use.name!r} is made in a loop: this does not say which one"
            yield Finding(context.file.path, use.at, words, f"Write {use.name}[index].")
        if declared.loop is None and id(use) in indexed:
            words = f"{use.name!r} is not made in a loop: it has no index"
            yield Finding(context.file.path, use.at, words, f"Write {use.name}.")
