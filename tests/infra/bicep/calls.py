"""Functions and members: they exist, and get as many arguments as they take, of kinds that they take."""

import re
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
    needs_group,
)
from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.operators import check_kind
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Call,
    Declaration,
    Expression,
    Import,
    Lambda,
    Member,
    Name,
    Parameter,
    Resource,
    UserFunction,
    literal,
)

# What the lambdas of some functions must give, by their place.
_LAMBDAS = {("filter", 1): "bool", ("groupBy", 1): "string", ("toObject", 1): "string"}

# How many arguments may stand before the type of the resource, and how many characters a file may have.
_BEFORE_TYPE = {
    "extensionResourceId": (1, 1),
    "managementGroupResourceId": (0, 1),
    "resourceId": (0, 2),
    "subscriptionResourceId": (0, 1),
    "tenantResourceId": (0, 0),
}
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LARGEST = {"loadTextContent": 131_072, "loadJsonContent": 1_048_576}


def check_calls(context: Context) -> Iterator[Finding]:
    """Check each call, and each read of a member."""
    for entry in context.file.entries:
        for expression in entry.expressions:
            match expression:
                case Call():
                    yield from _call(context, entry.declaration, expression)
                case Member():
                    yield from _member(context, expression)


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
    yield from _together(context, call)
    for number, argument in enumerate(call.arguments):
        kinds = function.takes[min(number, len(function.takes) - 1)]
        if "any" not in kinds:
            yield from check_kind(context, argument, call.name, *sorted(kinds))
        if isinstance(argument, Lambda) and (call.name, number) in _LAMBDAS:
            what = f"what {call.name} is given by its lambda"
            yield from check_kind(context, argument.body, what, _LAMBDAS[call.name, number])
    yield from _segments(context, call)
    if call.name == "resourceGroup" and not call.arguments and context.file.target_scope != "resourceGroup":
        words = f"this file deploys to a {context.file.target_scope}: there is no resourceGroup() here"
        yield Finding(path, call.at, words, "Name the group: resourceGroup(name), or the declared one.")
    if call.name in ONLY_IN_DEFAULTS and not isinstance(declaration, Parameter):
        words = f"{call.name} may only stand in the default of a param"
        yield Finding(path, call.at, words, "Declare a param for it.")
    if call.name in LOADERS and call.arguments:
        yield from _file(context, call)


def _together(context: Context, call: Call) -> Iterator[Finding]:
    """Check what must be of kinds that go together."""
    kinds = [context.kind(argument) for argument in call.arguments]
    known = set(kinds) - {"any", "null"}
    if call.name in {"union", "intersection"}:
        wrong, fix = known == {"array", "object"}, "Give arrays only, or objects only."
    elif call.name == "concat":
        wrong, fix = "array" in known and len(known) > 1, "Give arrays only, or strings only."
    elif call.name == "contains":
        wrong, fix = _asks_strangely(*kinds), "It looks in the first for the second: a string in a string or an object."
    elif call.name in {"indexOf", "lastIndexOf"}:
        wrong, fix = kinds[0] == "string" and _asks_strangely(*kinds), "Look for a string in a string."
    else:
        return
    if wrong:
        words = f"{call.name} takes no {' and '.join(kind for kind in kinds if kind != 'any')} together"
        yield Finding(context.file.path, call.at, words, fix)


def _asks_strangely(holder: str, sought: str) -> bool:
    return holder in {"string", "object"} and sought not in {"string", "any", "null"}


def _segments(context: Context, call: Call) -> Iterator[Finding]:
    """Check that a resource id gets a name for each part of its type."""
    if call.name not in _BEFORE_TYPE:
        return
    least, most = _BEFORE_TYPE[call.name]
    for number, argument in enumerate(call.arguments[: most + 1]):
        kind = literal(context.resolve(argument))
        if number >= least and isinstance(kind, str) and "/" in kind:
            wanted, given = kind.count("/"), len(call.arguments) - number - 1
            is_homeless = call.name == "resourceId" and number == 0 and context.file.target_scope != "resourceGroup"
            if is_homeless and needs_group(kind):
                words = f"resourceId of {kind} lacks a resource group: this file deploys to none"
                yield Finding(context.file.path, call.at, words, "Give the name of the group first.")
            if given != wanted:
                words = f"{call.name} of {kind} takes {wanted} names, not {given}"
                yield Finding(context.file.path, call.at, words, "Give a name for each part of the type.")
            name = literal(context.resolve(call.arguments[-1]))
            if kind.endswith("/roleDefinitions") and isinstance(name, str) and not _GUID.fullmatch(name):
                words = f"the name of a role definition is a GUID, not {name!r}"
                yield Finding(context.file.path, call.arguments[-1].at, words, "Copy it from Azure's list of roles.")
            return


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
    elif len(context.project.texts[path]) > _LARGEST.get(call.name, 131_072):
        words = f"{relative} is longer than {_LARGEST[call.name]} characters, which {call.name} takes at most"
        yield Finding(context.file.path, call.arguments[0].at, words, "Make it shorter.")
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
    holder = context.value(member.of)
    if holder.is_certainly_not("object", "null") and context.symbol(member.of) is None:
        words = f"{holder.named} has no members, so no {member.name!r}"
        yield Finding(context.file.path, member.at, words, "Read members of objects only.")
    elif holder.is_closed and member.name not in holder.fields and not member.is_safe:
        words = f"there is no {member.name!r} in what this stands for"
        if member.name in holder.sometimes:
            words = f"not all that this stands for has {member.name!r}"
        fix = did_you_mean(member.name, (holder.fields.keys() | holder.sometimes) - {member.name})
        yield Finding(context.file.path, member.at, words, fix)
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
