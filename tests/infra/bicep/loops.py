"""Loops: where they may stand, over what, what they read from their item; and what was made in one is told apart."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.operators import check_kind
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Call,
    Entry,
    Expression,
    For,
    Index,
    Lambda,
    Member,
    Module,
    Name,
    Object,
    Output,
    Resource,
    Variable,
    bare,
    walk,
)


def check_loops(context: Context) -> Iterator[Finding]:
    """Check each loop of a file."""
    for entry in context.file.entries:
        placed = {id(found) for found in _placed(entry.declaration)}
        for expression in entry.expressions:
            yield from _turns(context, expression)
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


def _turns(context: Context, expression: Expression) -> Iterator[Finding]:
    """Check what a loop or a lambda reads from its item, where the items are written out."""
    match expression:
        case For(item=item, over=over, body=body):
            pass
        case Call(
            name="map" | "filter" | "toObject" | "groupBy", arguments=(over, Lambda(parameter=item, body=body), *_)
        ):
            pass
        case _:
            return
    items = _items(context, over)
    if items is None or any(context.kind(each) == "any" for each in items):
        return
    each_keys = [_keys(context.resolve(each)) for each in items]
    for read in walk(body):
        if isinstance(read, Member) and isinstance(read.of, Name) and read.of.name == item and not read.is_safe:
            lacking = [keys for keys in each_keys if read.name not in keys]
            if lacking:
                words = f"an item of this loop has no {read.name!r}"
                yield Finding(context.file.path, read.at, words, did_you_mean(read.name, lacking[0]))


def _items(context: Context, over: Expression) -> tuple[Expression, ...] | None:
    """Give what items look like, as far as they are written out: in an array, or as the body of a map()."""
    match context.resolve(over):
        case Array(items=items):
            return items
        case Call(name="map", arguments=(_, Lambda(body=body))):
            return (body,)
        case Call(name="filter", arguments=(inner, _)):
            return _items(context, inner)
        case Call(name="concat", arguments=arguments):
            each = [_items(context, argument) for argument in arguments]
            return None if None in each else tuple(item for items in each for item in items or ())
    return None


def _keys(expression: Expression) -> frozenset[str]:
    properties = expression.properties if isinstance(expression, Object) else ()
    return frozenset(item.key.fixed for item in properties if item.key.fixed is not None)
