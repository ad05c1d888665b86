"""Resources against Azure's types: what is written into them, and what is read from them."""

import re
from collections.abc import Iterator

from msgspec import Struct

from tests.infra.bicep.builtins import RESOURCE_GROUP, needs_group
from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.modules import SCOPES, scope_of
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    At,
    Binary,
    Call,
    Entry,
    Expression,
    For,
    Index,
    Member,
    Name,
    Null,
    Number,
    Object,
    Parameter,
    Property,
    Resource,
    Ternary,
    Text,
    bare,
    literal,
)
from tests.infra.bicep.types import READ_ONLY, REQUIRED, WRITE_ONLY, Shape, Types
from tests.infra.bicep.values import Value, misfit

_META = frozenset({"scope", "parent", "dependsOn"})
_EXTENSIONS = frozenset(
    {
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Authorization/locks",
        "Microsoft.EventGrid/eventSubscriptions",
        "Microsoft.Insights/diagnosticSettings",
    }
)


class Place(Struct, frozen=True):
    """A declared resource, and whether it stands inside another."""

    resource: Resource
    is_inside: bool

    @property
    def type(self) -> str:
        """Its type and version."""
        return self.resource.type


def places(context: Context) -> Iterator[Place]:
    """Give every resource of a file, nested ones too."""

    for resource in context.file.of(Resource):
        yield Place(resource, is_inside=False)
        yield from (Place(child, is_inside=True) for child in resource.nested())


def check_resources(context: Context, types: Types | None) -> Iterator[Finding]:
    """Check each resource; without types, only what can be told without them."""
    for place in places(context):
        yield from _scope(context, place)
        yield from _parent(context, place)
        yield from _existing(context, place)
        if types is None:
            continue
        shape = types.get(place.type)
        if shape is None:
            yield _unknown_type(context, place, types)
        elif not place.resource.is_existing:
            yield from _Fit(context).body(place, shape)
    if types is not None:
        for entry in context.file.entries:
            yield from _reads(context, entry, types)
            yield from _ids(context, entry, types)


def _unknown_type(context: Context, place: Place, types: Types) -> Finding:
    kind, _, version = place.type.partition("@")
    versions = [name.partition("@")[2] for name in types.data if name.partition("@")[0] == kind]
    at = place.resource.type_at
    if versions:
        words = f"{kind} has no api-version {version or '(none given)'} in the type data"
        return Finding(context.file.path, at, words, f"Known: {', '.join(sorted(versions))}.")
    kinds = {name.partition("@")[0] for name in types.data}
    return Finding(context.file.path, at, f"no such resource type: {kind}", did_you_mean(kind, kinds))


def _scope(context: Context, place: Place) -> Iterator[Finding]:
    """A resource is deployed where the file is: other scopes need a module."""
    kind = place.type.partition("@")[0]
    scope = context.file.target_scope
    if place.is_inside or place.resource.body.get("parent") is not None:
        return
    at = place.resource.at
    given = place.resource.body.get("scope")
    if place.resource.is_existing:
        looked_in = scope if given is None else scope_of(context, given)
        wrong = kind == RESOURCE_GROUP if looked_in == "resourceGroup" else needs_group(kind)
        if wrong and looked_in in SCOPES:
            words = f"{kind} is not found in a {looked_in}"
            fix = "subscription(...)" if kind == RESOURCE_GROUP else "resourceGroup(...), or a resource group"
            yield Finding(context.file.path, at if given is None else given.at, words, f"Give scope: {fix}.")
        return
    if given is not None:
        symbol = context.symbol(given)
        if kind not in _EXTENSIONS or not isinstance(symbol, Resource):
            words = f"{kind} cannot be deployed to another scope from here"
            yield Finding(context.file.path, given.at, words, "Put it into a module, and give the module the scope.")
        elif symbol.type.startswith("Microsoft.Resources/resourceGroups@"):
            words = "a resource of another resource group cannot be declared here"
            yield Finding(context.file.path, given.at, words, "Put it into a module, and give the module the scope.")
        return
    if scope == "subscription" and needs_group(kind):
        words = f"{kind} lives in a resource group, this file deploys to a subscription"
        yield Finding(context.file.path, at, words, "Put it into a module with scope: <resource group>.")
    if scope == "resourceGroup" and kind == RESOURCE_GROUP:
        words = "a resource group lives in a subscription, this file deploys to a resource group"
        yield Finding(context.file.path, at, words, "Declare it in a file with targetScope = 'subscription'.")


def _parent(context: Context, place: Place) -> Iterator[Finding]:
    """A child names its parent, of the type above its own, and no slash in its name."""
    body, kind = place.resource.body, place.type.partition("@")[0]
    parent, name = body.get("parent"), body.get("name")
    path = context.file.path
    if parent is not None:
        symbol = context.symbol(parent)
        if not isinstance(symbol, Resource):
            yield Finding(path, parent.at, "parent must be a resource", "Name the declared resource, not its id.")
        elif symbol.type.partition("@")[0].lower() != kind.rpartition("/")[0].lower():
            words = f"the parent of {kind} is a {kind.rpartition('/')[0]}, not a {symbol.type.partition('@')[0]}"
            yield Finding(path, parent.at, words, "Name the right resource, or correct the type.")
    if name is None:
        yield Finding(path, place.resource.at, f"resource {place.resource.name!r} has no name", "Give name.")
        return
    pieces = name.parts if isinstance(name, Text) else ()
    slashes = sum(piece.count("/") for piece in pieces if isinstance(piece, str))
    has_parent = parent is not None or place.is_inside
    wanted = 0 if has_parent else kind.count("/") - 1
    if isinstance(name, Text) and slashes != wanted:
        words = f"the name of {kind} has {slashes} slashes, it needs {wanted}"
        yield Finding(path, name.at, words, "Give parent: and the last part of the name alone.")
    if not isinstance(name, Text) and wanted:
        words = f"{kind} has no parent"
        yield Finding(path, name.at, words, "Give parent: and the last part of the name alone.")


def _existing(context: Context, place: Place) -> Iterator[Finding]:
    if not place.resource.is_existing:
        return
    for item in place.resource.body.properties:
        if item.key.fixed not in {"name", "parent", "scope"}:
            words = f"an existing resource cannot be given {item.key.fixed!r}"
            yield Finding(context.file.path, item.at, words, "Give only name, parent and scope.")


class _Fit:
    """Checks values against shapes."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.path = context.file.path

    def body(self, place: Place, shape: Shape) -> Iterator[Finding]:
        extra = frozenset({"dependsOn"} if place.is_inside else _META)
        yield from self.object(place.resource.body, shape, place.resource.at, place.type.partition("@")[0], extra)

    def value(self, expression: Expression, shape: Shape, where: str, *, optional: bool = False) -> Iterator[Finding]:
        """Check an expression; where it is made of others, each of them."""
        expression = bare(expression)
        resolved = self.context.resolve(expression)
        match resolved:
            case Ternary(then=left, otherwise=right) | Binary(operator="??", left=left, right=right):
                yield from self.value(left, shape, where, optional=optional or isinstance(resolved, Binary))
                yield from self.value(right, shape, where, optional=optional)
            case Null() if not optional:
                yield Finding(self.path, expression.at, f"{where} may not be null", "Give a value.")
            case Call(name="union", arguments=arguments, on=None):
                for argument in arguments:
                    yield from self.part(argument, shape, where)
            case _:
                yield from self.single(expression, resolved, shape, where, optional=optional)

    def single(
        self, expression: Expression, resolved: Expression, shape: Shape, where: str, *, optional: bool
    ) -> Iterator[Finding]:
        """Check an expression that is one value."""
        if not optional and self.context.may_be_null(expression):
            yield Finding(self.path, expression.at, f"{where} may not be null", "Give a value: ... ?? <otherwise>.")
        wanted = Value(shape.kinds)
        words = misfit(self.context.value(expression), wanted, where)
        if words is not None:
            yield Finding(self.path, expression.at, words, f"Give a value of type {wanted.named}.")
            return
        match resolved:
            case Object():
                yield from self.one_of(resolved, shape, where)
            case Array(items=items):
                yield from self.array(resolved.at, items, shape, where)
            case For(body=body):
                yield from self.array(resolved.at, None, shape, where)
                for member in shape.members:
                    if member.form == "ArrayType":
                        yield from self.value(body, member.at(member.plain["itemType"]), f"{where}[]")
            case _:
                yield from self.simple(expression, resolved, shape, where)

    def part(self, expression: Expression, shape: Shape, where: str) -> Iterator[Finding]:
        """Check an argument of union(): it may lack what another one has."""
        for branch in _branches(self.context, expression):
            if isinstance(branch, Object):
                yield from (
                    found for found in self.one_of(branch, shape, where) if not found.words.endswith("is missing")
                )
            elif isinstance(branch, Array):
                yield from self.array(branch.at, branch.items, shape, where)

    def one_of(self, found: Object, shape: Shape, where: str) -> Iterator[Finding]:
        """Check an object against the member of a union that it comes nearest to."""
        tries = [
            list(self.object(found, member, found.at, where, frozenset()))
            for member in shape.members
            if member.form in {"ObjectType", "DiscriminatedObjectType"}
        ]
        yield from min(tries, key=len, default=[])

    def object(self, found: Object, shape: Shape, at: At, where: str, extra: frozenset[str]) -> Iterator[Finding]:
        if shape.form == "DiscriminatedObjectType":
            key = shape.plain["discriminator"]
            chosen = found.get(key)
            value = None if chosen is None else literal(self.context.resolve(chosen))
            if chosen is None:
                known = ", ".join(sorted(shape.plain["elements"]))
                yield Finding(self.path, at, f"{where}.{key} is missing", f"Give {key}, one of: {known}.")
            elif isinstance(value, str) and value not in shape.plain["elements"]:
                words = f"{where}.{key} cannot be {value!r}"
                yield Finding(self.path, chosen.at, words, did_you_mean(value, shape.plain["elements"]))
            if not isinstance(value, str) or value not in shape.plain["elements"]:
                return
            shape = shape.chosen(value)
        for item in found.properties:
            yield from self.property(item, shape, where, extra)
        given = {item.key.fixed for item in found.properties}
        if None in given:
            return
        for name, held in shape.properties.items():
            if held["flags"] & REQUIRED and not held["flags"] & READ_ONLY and name not in given:
                yield Finding(self.path, at, f"{where}.{name} is missing", f"Give {name}.")

    def property(self, item: Property, shape: Shape, where: str, extra: frozenset[str]) -> Iterator[Finding]:
        name, known, rest = item.key.fixed, shape.properties, shape.rest
        if name is None:
            if rest is not None:
                yield from self.value(item.value, rest, f"{where}.*")
        elif name in known:
            held = known[name]
            if held["flags"] & READ_ONLY:
                yield Finding(self.path, item.at, f"{where}.{name} is read-only", "Remove it; Azure sets it.")
            else:
                optional = not held["flags"] & REQUIRED
                yield from self.value(item.value, shape.at(held["type"]), f"{where}.{name}", optional=optional)
        elif name in extra:
            return
        elif rest is not None:
            yield from self.value(item.value, rest, f"{where}.{name}")
        else:
            writable = [other for other, held in known.items() if not held["flags"] & READ_ONLY]
            yield Finding(self.path, item.at, f"{where} has no property {name!r}", did_you_mean(name, writable))

    def array(self, at: At, items: tuple[Expression, ...] | None, shape: Shape, where: str) -> Iterator[Finding]:
        for member in shape.members:
            if member.form != "ArrayType":
                continue
            for item in items or ():
                yield from self.value(item, member.at(member.plain["itemType"]), f"{where}[]")
            yield from self.size(at, None if items is None else len(items), member, where, "items")

    def size(self, at: At, size: int | None, shape: Shape, where: str, unit: str) -> Iterator[Finding]:
        least, most = shape.plain.get("minLength"), shape.plain.get("maxLength")
        if size is None:
            return
        if least is not None and size < least:
            yield Finding(self.path, at, f"{where} has {size} {unit}, at least {least} are needed", "Make it longer.")
        if most is not None and size > most:
            yield Finding(self.path, at, f"{where} has {size} {unit}, at most {most} are allowed", "Make it shorter.")

    def simple(self, expression: Expression, resolved: Expression, shape: Shape, where: str) -> Iterator[Finding]:
        if shape.texts:
            yield from self.choice(expression, resolved, shape, where)
            return
        value = literal(resolved)
        for member in shape.members:
            if member.form == "StringType" and isinstance(value, str) and len(shape.members) == 1:
                yield from self.size(expression.at, len(value), member, where, "characters")
                pattern = member.plain.get("pattern")
                if pattern is not None and not re.search(pattern, value):
                    words = f"{where} {value!r} does not match {pattern}"
                    yield Finding(self.path, expression.at, words, "Write it in that form.")
            if member.form == "IntegerType" and isinstance(resolved, Number):
                least, most = member.plain.get("minValue"), member.plain.get("maxValue")
                if (least is not None and resolved.value < least) or (most is not None and resolved.value > most):
                    words = f"{where} {resolved.value} is out of range"
                    yield Finding(self.path, expression.at, words, f"It goes from {least} to {most}.")

    def choice(self, expression: Expression, resolved: Expression, shape: Shape, where: str) -> Iterator[Finding]:
        """Check a word out of a list; of an open list, too, though the compiler lets other words pass to Azure."""
        texts, is_open = shape.texts, "StringType" in {member.form for member in shape.members}
        given = self.context.value(expression).words
        if given is None and isinstance(resolved, Name):
            declared = self.context.file.named(resolved.name)
            if isinstance(declared, Parameter) and declared.type.kind == "string" and not is_open:
                words = f"{where} is one of {len(texts)} words, param {declared.name!r} may be any string"
                yield Finding(self.path, expression.at, words, f"Give the param @allowed, out of: {', '.join(texts)}.")
        for one in sorted(given or (), key=str):
            if one not in texts:
                yield Finding(self.path, expression.at, f"{where} cannot be {one!r}", did_you_mean(str(one), texts))


def _branches(context: Context, expression: Expression) -> Iterator[Expression]:
    resolved = context.resolve(expression)
    if isinstance(resolved, Ternary):
        yield from _branches(context, resolved.then)
        yield from _branches(context, resolved.otherwise)
    else:
        yield resolved


def _reads(context: Context, entry: Entry, types: Types) -> Iterator[Finding]:
    """Check each chain of reads from a resource along its type; each chain once, at its longest."""
    inner = {id(part.of) for part in entry.expressions if isinstance(part, Member | Index)}
    for expression in entry.expressions:
        if isinstance(expression, Member) and id(expression) not in inner:
            yield from _chain(context, expression, types)


def _ids(context: Context, entry: Entry, types: Types) -> Iterator[Finding]:
    """Check the type of each resource that is named by resourceId() and its kin."""
    calls = [call for call in entry.expressions if isinstance(call, Call) and call.name.endswith("esourceId")]
    known = {name.partition("@")[0].lower(): name.partition("@")[0] for name in types.data} if calls else {}
    for call in calls:
        for argument in call.arguments[:3]:
            kind = literal(context.resolve(argument))
            if isinstance(kind, str) and re.match(r"[\w.]+/\w", kind) and kind.lower() not in known:
                words = f"no such resource type: {kind}"
                yield Finding(context.file.path, argument.at, words, did_you_mean(kind, known.values()))


def _chain(context: Context, expression: Member, types: Types) -> Iterator[Finding]:
    steps: list[Member | Index] = []
    at: Expression = expression
    while isinstance(at, Member | Index) and not (isinstance(at, Index) and context.symbol(at) is not None):
        steps.insert(0, at)
        at = bare(at.of)
    symbol = context.symbol(at)
    shape = types.get(symbol.type) if isinstance(symbol, Resource) else None
    if not isinstance(symbol, Resource) or shape is None:
        return
    where = symbol.name
    for step in steps:
        if isinstance(step, Index):
            arrays = [member for member in shape.members if member.form == "ArrayType"]
            if not arrays:
                return
            shape = arrays[0].at(arrays[0].plain["itemType"])
            continue
        held = shape.properties.get(step.name)
        if held is None and shape.rest is not None:
            shape = shape.rest
        elif held is None:
            if shape.kinds == {"object"} and shape.properties:
                words = f"{where} has no property {step.name!r} to read"
                yield Finding(context.file.path, step.at, words, did_you_mean(step.name, shape.properties))
            return
        else:
            if held["flags"] & WRITE_ONLY:
                words = f"{where}.{step.name} can be written, not read"
                yield Finding(
                    context.file.path, step.at, words, "Azure never gives it back: take it from where it was set."
                )
                return
            shape = shape.at(held["type"])
        where = f"{where}.{step.name}"
