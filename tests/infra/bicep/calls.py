"""Functions, operators and members: they exist, and get the kinds of value that they can take."""

from collections.abc import Iterator

from tests.infra.bicep.builtins import (
    FUNCTIONS,
    LIST_FUNCTION,
    LOADERS,
    MANY,
    MEMBERS,
    NAMESPACES,
    ONLY_IN_DEFAULTS,
    Function,
)
from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Binary,
    Call,
    Declaration,
    Expression,
    For,
    Import,
    Index,
    Lambda,
    Member,
    Module,
    Name,
    Object,
    Parameter,
    Resource,
    Ternary,
    Unary,
    UserFunction,
    literal,
    walk,
)

_NUMBERS = frozenset({"+", "-", "*", "/", "%"})
_ORDERED = frozenset({"<", "<=", ">", ">="})


def check_calls(context: Context) -> Iterator[Finding]:
    """Check what each expression of a file does."""
    for entry in context.file.entries:
        declaration = entry.declaration
        if isinstance(declaration, Resource | Module) and declaration.condition is not None:
            yield from _kind(context, declaration.condition, "a condition", "bool")
        for expression in entry.expressions:
            yield from _turns(context, expression)
            match expression:
                case Call():
                    yield from _call(context, declaration, expression)
                case Member():
                    yield from _member(context, expression)
                case _:
                    yield from _operands(context, expression)


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
    items = context.resolve(over)
    if not isinstance(items, Array) or any(context.kind(each) == "any" for each in items.items):
        return
    each_keys = [_keys(context.resolve(each)) for each in items.items]
    for read in walk(body):
        if isinstance(read, Member) and isinstance(read.of, Name) and read.of.name == item and not read.is_safe:
            lacking = [keys for keys in each_keys if read.name not in keys]
            if lacking:
                words = f"an item of this loop has no {read.name!r}"
                yield Finding(context.file.path, read.at, words, did_you_mean(read.name, lacking[0]))


def _keys(expression: Expression) -> frozenset[str]:
    properties = expression.properties if isinstance(expression, Object) else ()
    return frozenset(item.key.fixed for item in properties if item.key.fixed is not None)


def _operands(context: Context, expression: Expression) -> Iterator[Finding]:
    match expression:
        case Ternary(condition=condition):
            yield from _kind(context, condition, "a condition", "bool")
        case For(over=over):
            yield from _kind(context, over, "what a loop goes over", "array")
        case Index(of=of, index=index):
            yield from _kind(context, of, "what has an index", "array", "object")
            yield from _kind(context, index, "an index", "int", "string")
        case Unary(operator=operator, operand=operand):
            yield from _kind(context, operand, repr(operator), "bool" if operator == "!" else "int")
        case Binary(operator=operator, left=left, right=right):
            for side in (left, right):
                if operator in {"&&", "||"}:
                    yield from _kind(context, side, repr(operator), "bool")
                elif operator in _NUMBERS:
                    yield from _kind(context, side, repr(operator), "int")
                elif operator in _ORDERED:
                    yield from _kind(context, side, repr(operator), "int", "string")


def _kind(context: Context, expression: Expression, what: str, *wanted: str) -> Iterator[Finding]:
    kind = context.kind(expression)
    if kind not in {"any", *wanted}:
        words = f"{what} takes {' or '.join(wanted)}, this is {kind}"
        yield Finding(context.file.path, expression.at, words, f"Give {' or '.join(wanted)}.")


def _call(context: Context, declaration: Declaration, call: Call) -> Iterator[Finding]:
    path = context.file.path
    if call.on is not None and not (isinstance(call.on, Name) and call.on.name in NAMESPACES):
        symbol = context.symbol(call.on)
        if not (isinstance(symbol, Resource) and (call.name.startswith("list") or call.name == "getSecret")):
            words = f"{call.name!r} cannot be called on this"
            yield Finding(path, call.at, words, "Only list...() and getSecret() are called on resources.")
        return
    function = _function(context, call)
    if function is None:
        words = f"no such function: {call.name}"
        yield Finding(path, call.at, words, did_you_mean(call.name, FUNCTIONS, "See builtins.py for what is known."))
        return
    least, most, given = function.least, function.most, len(call.arguments)
    if not least <= given <= most:
        wants = f"{least} or more" if most == MANY else f"{least}" if least == most else f"{least} to {most}"
        yield Finding(path, call.at, f"{call.name} takes {wants} arguments, not {given}", "Give what it asks for.")
        return
    for number, argument in enumerate(call.arguments):
        kinds = function.takes[min(number, len(function.takes) - 1)]
        if "any" not in kinds:
            yield from _kind(context, argument, call.name, *sorted(kinds))
    if call.name in ONLY_IN_DEFAULTS and not isinstance(declaration, Parameter):
        words = f"{call.name} may only stand in the default of a param"
        yield Finding(path, call.at, words, "Declare a param for it.")
    if call.name in LOADERS and call.arguments:
        yield from _file(context, call)


def _file(context: Context, call: Call) -> Iterator[Finding]:
    relative = literal(call.arguments[0])
    if not isinstance(relative, str):
        words = f"the path of {call.name} must be fixed"
        yield Finding(context.file.path, call.at, words, "Write the path out.")
        return
    path = context.project.beside(context.file.path, relative)
    if path not in context.project.texts:
        words = f"{call.name} names no file: {relative}"
        fix = did_you_mean(path, context.project.texts, "Paths are relative to this file.")
        yield Finding(context.file.path, call.arguments[0].at, words, fix)
    elif call.name == "loadJsonContent" and len(call.arguments) == 1 and context.loaded(call) is None:
        yield Finding(context.file.path, call.arguments[0].at, f"{relative} is no JSON", "Correct that file.")


def _function(context: Context, call: Call) -> Function | None:
    own = context.file.named(call.name)
    if isinstance(own, Import):
        own = context.imported(own)
    if isinstance(own, UserFunction):
        kinds = ("any" if kind.kind == "named" or kind.is_nullable else kind.kind for _, kind in own.parameters)
        count = len(own.parameters)
        return Function(takes=tuple(frozenset({kind}) for kind in kinds), least=count, most=count, gives="any")
    if call.name in FUNCTIONS:
        return FUNCTIONS[call.name]
    return LIST_FUNCTION if call.name.startswith("list") and call.name[4:5].isupper() else None


def _member(context: Context, member: Member) -> Iterator[Finding]:
    holder = context.resolve(member.of)
    if isinstance(holder, Object) and not member.is_safe:
        keys = {item.key.fixed for item in holder.properties if item.key.fixed is not None}
        is_open = any(item.key.fixed is None for item in holder.properties)
        if member.name not in keys and not is_open:
            words = f"there is no {member.name!r} in what this stands for"
            yield Finding(context.file.path, member.at, words, did_you_mean(member.name, keys))
    known = MEMBERS.get(_called(member.of))
    if known is not None and member.name not in known:
        words = f"{_called(member.of)}() has no {member.name!r}"
        yield Finding(context.file.path, member.at, words, did_you_mean(member.name, known))


def _called(expression: Expression) -> str:
    match expression:
        case Call(name=name):
            return name
        case Member(of=Call(name=name), name=member):
            return f"{name}.{member}"
    return ""
