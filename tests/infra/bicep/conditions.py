"""What is deployed only under a condition is read only under it: by `.?`, or by `!.` where the condition holds."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Binary,
    Expression,
    Member,
    Module,
    Resource,
    Ternary,
    bare,
    form,
    parts,
    roots,
)

_KNOWN_AT_START = frozenset({"id", "name", "type", "apiVersion"})


def check_conditions(context: Context) -> Iterator[Finding]:
    """Check each read of a resource or module that may not be there."""
    for declaration in context.file.declarations:
        holds: tuple[Expression, ...] = ()
        if isinstance(declaration, Resource | Module) and declaration.condition is not None:
            holds = _conjuncts(declaration.condition)
        for root in roots(declaration):
            yield from _reads(context, root, tuple(form(each) for each in holds))


def _reads(context: Context, expression: Expression, holds: tuple[object, ...]) -> Iterator[Finding]:
    match expression:
        case Ternary(condition=condition, then=then, otherwise=otherwise):
            yield from _reads(context, condition, holds)
            yield from _reads(context, then, (*holds, *(form(each) for each in _conjuncts(condition))))
            yield from _reads(context, otherwise, holds)
            return
        case Binary(operator="&&", left=left, right=right):
            yield from _reads(context, left, holds)
            yield from _reads(context, right, (*holds, *(form(each) for each in _conjuncts(left))))
            return
        case Member(of=of, name=name):
            symbol = context.symbol(of)
            if symbol is not None and symbol.condition is not None and name not in _KNOWN_AT_START:
                yield from _read(context, expression, symbol, holds)
    for part in parts(expression):
        yield from _reads(context, part, holds)


def _read(context: Context, member: Member, symbol: Resource | Module, holds: tuple[object, ...]) -> Iterator[Finding]:
    assert symbol.condition is not None, "asked only of what has a condition"
    if member.is_safe:
        return
    if not all(form(each) in holds for each in _conjuncts(symbol.condition)):
        words = f"{symbol.name!r} is deployed only under a condition, and is read here without it"
        read = f"{symbol.name}.?{member.name}... ?? <otherwise>"
        fix = f"Write {read}, or <the same condition> ? {symbol.name}!.{member.name}... : <otherwise>."
        yield Finding(context.file.path, member.at, words, fix)
    elif not member.is_asserted:
        words = f"the compiler warns that {symbol.name!r} may be null here (BCP318)"
        yield Finding(context.file.path, member.at, words, f"Write {symbol.name}!.{member.name}.")


def _conjuncts(expression: Expression) -> tuple[Expression, ...]:
    expression = bare(expression)
    if isinstance(expression, Binary) and expression.operator == "&&":
        return (*_conjuncts(expression.left), *_conjuncts(expression.right))
    return (expression,)
