"""Operators and conditions: they get the kinds of value that they take, and what is compared can be equal."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Binary,
    Call,
    Expression,
    Index,
    Module,
    Name,
    Parameter,
    Resource,
    Ternary,
    Unary,
    literal,
)

_NUMBERS = frozenset({"+", "-", "*", "/", "%"})
_ORDERED = frozenset({"<", "<=", ">", ">="})
_INDEX = {"array": ("int",), "object": ("string",)}
_EQUAL = frozenset({"==", "!=", "=~", "!~"})


def check_operators(context: Context) -> Iterator[Finding]:
    """Check the operands of each expression of a file."""
    for entry in context.file.entries:
        declaration = entry.declaration
        if isinstance(declaration, Resource | Module) and declaration.condition is not None:
            yield from check_kind(context, declaration.condition, "a condition", "bool")
        for expression in entry.expressions:
            yield from _operands(context, expression)
            yield from _words(context, expression)


def check_kind(context: Context, expression: Expression, what: str, *wanted: str) -> Iterator[Finding]:
    """Check that an expression is of one of some kinds, as far as its kind is known."""
    value = context.value(expression)
    if value.is_certainly_not(*wanted):
        words = f"{what} takes {' or '.join(wanted)}, this is {value.named}"
        yield Finding(context.file.path, expression.at, words, f"Give {' or '.join(wanted)}.")


def _operands(context: Context, expression: Expression) -> Iterator[Finding]:
    match expression:
        case Ternary(condition=condition):
            yield from check_kind(context, condition, "a condition", "bool")
        case Index(of=of, index=index):
            yield from check_kind(context, of, "what has an index", "array", "object")
            holder = context.kind(of)
            yield from check_kind(context, index, f"an index of {holder}", *_INDEX.get(holder, ("int", "string")))
        case Unary(operator=operator, operand=operand):
            yield from check_kind(context, operand, repr(operator), "bool" if operator == "!" else "int")
        case Binary(operator=operator, left=left, right=right):
            for side in (left, right):
                if operator in {"&&", "||"}:
                    yield from check_kind(context, side, repr(operator), "bool")
                elif operator in _NUMBERS:
                    yield from check_kind(context, side, repr(operator), "int")
                elif operator in _ORDERED:
                    yield from check_kind(context, side, repr(operator), "int", "string")
            kinds = {context.kind(left), context.kind(right)}
            if operator in _EQUAL | _ORDERED and len(kinds) > 1 and not kinds & {"any", "null"}:
                never = "are never equal" if operator in _EQUAL else f"cannot be compared by {operator!r}"
                words = f"{' and '.join(sorted(kinds))} {never}"
                yield Finding(context.file.path, left.at, words, "Compare values of one kind.")


def _words(context: Context, expression: Expression) -> Iterator[Finding]:
    """Check that a param with @allowed is compared with words that it can be."""
    match expression:
        case Binary(operator="==" | "!=", left=left, right=right):
            pairs = [(left, right), (right, left)]
        case Call(name="contains", arguments=(Array(items=items), looked_for)):
            pairs = [(looked_for, item) for item in items]
        case _:
            return
    for named, compared in pairs:
        declared = context.file.named(named.name) if isinstance(named, Name) else None
        if not isinstance(declared, Parameter) or declared.allowed is None:
            continue
        allowed, value = declared.allowed, literal(context.resolve(compared))
        if value is not None and value not in allowed:
            words = f"param {declared.name!r} is never {value!r}"
            yield Finding(context.file.path, compared.at, words, did_you_mean(str(value), map(str, allowed)))
