"""What a Bicep file says, as values: positions count from 1, as editors do."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

# Functions whose lambdas get each item of the array that stands first.
OVER_ITEMS = frozenset({"map", "filter", "toObject", "groupBy"})


class At(Struct, frozen=True, order=True):
    """A place in a file."""

    line: int
    column: int


class Expression(Struct, frozen=True, kw_only=True):
    """Anything that has a value."""

    at: At


class Text(Expression, frozen=True, kw_only=True):
    """A string: what is fixed in it, and what is filled in."""

    parts: tuple["str | Expression", ...]

    @property
    def fixed(self) -> str | None:
        """The whole string if nothing is filled in."""
        if any(isinstance(part, Expression) for part in self.parts):
            return None
        return "".join(map(str, self.parts))


class Number(Expression, frozen=True, kw_only=True):
    """A whole number."""

    value: int


class Boolean(Expression, frozen=True, kw_only=True):
    """True or false."""

    value: bool


class Null(Expression, frozen=True, kw_only=True):
    """The null literal."""


class Name(Expression, frozen=True, kw_only=True):
    """The use of something declared."""

    name: str


class Member(Expression, frozen=True, kw_only=True):
    """`of.name`, `of.?name` (safe) or `of!.name` (asserted)."""

    of: Expression
    name: str
    is_safe: bool = False
    is_asserted: bool = False


class Index(Expression, frozen=True, kw_only=True):
    """`of[index]`, safe as `of[?index]`."""

    of: Expression
    index: Expression
    is_safe: bool = False


class Nested(Expression, frozen=True, kw_only=True):
    """`of::name`: a child declared inside a resource."""

    of: Expression
    name: str


class Call(Expression, frozen=True, kw_only=True):
    """`name(...)`, or on something: `az.name(...)`, `account.listKeys()`."""

    name: str
    arguments: tuple[Expression, ...]
    on: Expression | None = None


class Unary(Expression, frozen=True, kw_only=True):
    """`!x` or `-x`."""

    operator: str
    operand: Expression


class Binary(Expression, frozen=True, kw_only=True):
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


class Ternary(Expression, frozen=True, kw_only=True):
    """`condition ? then : otherwise`."""

    condition: Expression
    then: Expression
    otherwise: Expression


class Group(Expression, frozen=True, kw_only=True):
    """An expression in parentheses."""

    inner: Expression


class Lambda(Expression, frozen=True, kw_only=True):
    """`parameter => body`."""

    parameter: str
    body: Expression


class For(Expression, frozen=True, kw_only=True):
    """`[for item in over: body]`."""

    item: str
    index: str | None
    over: Expression
    body: Expression


class Array(Expression, frozen=True, kw_only=True):
    """`[ ... ]`."""

    items: tuple[Expression, ...]


class Property(Struct, frozen=True, kw_only=True):
    """One line of an object."""

    at: At
    key: Text
    value: Expression
    is_quoted: bool = False


class Object(Expression, frozen=True, kw_only=True):
    """`{ ... }`, with the resources that are declared inside."""

    properties: tuple[Property, ...]
    resources: tuple["Resource", ...] = ()

    def get(self, key: str) -> Expression | None:
        """Give the value of a key; None if it is not there."""
        return next((found.value for found in self.properties if found.key.fixed == key), None)


class Type(Struct, frozen=True, kw_only=True):
    """A declared type: string, int, bool, array or object, or the name of a user's own (kind `named`)."""

    at: At
    kind: str
    name: str | None = None
    item: "Type | None" = None
    fields: tuple[tuple[str, "Type"], ...] | None = None
    is_nullable: bool = False

    @property
    def named(self) -> tuple["Type", ...]:
        """Give the users' own types in it."""
        inside = (*(() if self.item is None else (self.item,)), *(field for _, field in self.fields or ()))
        return (*((self,) if self.kind == "named" else ()), *(found for each in inside for found in each.named))


class Decorator(Struct, frozen=True, kw_only=True):
    """`@name(...)`."""

    at: At
    name: str
    arguments: tuple[Expression, ...]


class Declaration(Struct, frozen=True, kw_only=True):
    """What a file declares under a name."""

    at: At
    name: str
    decorators: tuple[Decorator, ...] = ()

    def decorator(self, name: str) -> Decorator | None:
        """Give the decorator of that name; None if there is none."""
        return next((found for found in self.decorators if found.name == name), None)


class Parameter(Declaration, frozen=True, kw_only=True):
    """`param name type = default`."""

    type: Type
    default: Expression | None

    @property
    def is_required(self) -> bool:
        """Whether a caller has to give it."""
        return self.default is None and not self.type.is_nullable

    @property
    def is_secure(self) -> bool:
        """Whether its value is a secret."""
        return self.decorator("secure") is not None

    @property
    def allowed(self) -> tuple[str | int | bool, ...] | None:
        """The literal values of @allowed; None without one."""
        found = self.decorator("allowed")
        if found is None or not found.arguments or not isinstance(found.arguments[0], Array):
            return None
        values = (literal(item) for item in found.arguments[0].items)
        return tuple(value for value in values if value is not None)


class Variable(Declaration, frozen=True, kw_only=True):
    """`var name = value`."""

    value: Expression


class Output(Declaration, frozen=True, kw_only=True):
    """`output name type = value`."""

    type: Type
    value: Expression


class Resource(Declaration, frozen=True, kw_only=True):
    """`resource name 'type@version' = body`.

    Attributes:
        type: In full, also of a nested one.
        loop: The loop that it stands in; its body is `body`.
    """

    type: str
    type_at: At
    is_existing: bool
    condition: Expression | None
    loop: For | None
    body: Object

    def nested(self) -> Iterator["Resource"]:
        """Give the resources declared inside, and inside those."""
        for child in self.body.resources:
            yield child
            yield from child.nested()


class Module(Declaration, frozen=True, kw_only=True):
    """`module name 'path' = body`."""

    path: str
    path_at: At
    condition: Expression | None
    loop: For | None
    body: Object


class Import(Declaration, frozen=True, kw_only=True):
    """One name of `import { original as name } from 'path'`."""

    path: str
    original: str


class UserType(Declaration, frozen=True, kw_only=True):
    """`type name = type`."""

    type: Type


class UserFunction(Declaration, frozen=True, kw_only=True):
    """`func name(parameters) type => body`."""

    parameters: tuple[tuple[str, Type], ...]
    returns: Type
    body: Expression


_WORDS: dict[type[Declaration], str] = {
    Parameter: "param",
    Variable: "var",
    Resource: "resource",
    Module: "module",
    Output: "output",
    UserType: "type",
    UserFunction: "func",
    Import: "import",
}


def word(declaration: Declaration) -> str:
    """Give the word that a declaration begins with."""
    return _WORDS[type(declaration)]


class Local(Struct, frozen=True, kw_only=True):
    """What a loop, a lambda or a func calls its own.

    Attributes:
        over: What it is an item of; None if that is not known.
        is_index: Whether it counts the turns of a loop.
        type: That of the parameter of a func.
    """

    over: Expression | None = None
    is_index: bool = False
    type: Type | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """A declaration, with all expressions in it and the uses of declared names: found once, as every check asks."""

    declaration: Declaration
    expressions: tuple[Expression, ...]
    names: tuple[Name, ...]


class File(Struct, frozen=True, kw_only=True):
    """A Bicep file.

    Attributes:
        entries: The declarations again, looked through.
        known: What a name stands for in expressions; outputs have names of their own.
        locals: What a name stands for that only a part of an expression knows, by the place where it is used.
    """

    path: str
    target_scope: str
    declarations: tuple[Declaration, ...]
    entries: tuple[Entry, ...]
    known: dict[str, Declaration]
    locals: dict[At, Local]

    def of(self, kind: type) -> tuple[Any, ...]:
        """Give the declarations of one kind, in order."""
        return tuple(found for found in self.declarations if isinstance(found, kind))

    def named(self, name: str) -> Declaration | None:
        """Give what a name stands for in expressions."""
        return self.known.get(name)


def literal(expression: Expression) -> str | int | bool | None:
    """Give the value of a literal; None of anything else."""
    match expression:
        case Text():
            return expression.fixed
        case Number(value=value) | Boolean(value=value):
            return value
        case Group(inner=inner):
            return literal(inner)
    return None


def parts(expression: Expression) -> tuple[Expression, ...]:
    """Give the expressions directly inside one; of declared children, theirs."""
    if isinstance(expression, Name | Number | Boolean | Null):
        return ()
    if isinstance(expression, Text):
        return tuple(part for part in expression.parts if isinstance(part, Expression))
    if isinstance(expression, Object):
        inside = [part for item in expression.properties for part in (item.key, item.value)]
        return (*inside, *(part for child in expression.resources for part in roots(child)))
    fields = (getattr(expression, name) for name in expression.__struct_fields__)
    held = [part for field in fields for part in (field if isinstance(field, tuple) else (field,))]
    return tuple(part for part in held if isinstance(part, Expression))


def walk(expression: Expression) -> Iterator[Expression]:
    """Give an expression and all inside it."""
    yield expression
    for part in parts(expression):
        yield from walk(part)


def bare(expression: Expression) -> Expression:
    """Give an expression without the parentheses around it."""
    while isinstance(expression, Group):
        expression = expression.inner
    return expression


def form(expression: object) -> object:
    """Give an expression in a form that is equal wherever it stands."""
    if isinstance(expression, Expression):
        bared = bare(expression)
        fields = (name for name in bared.__struct_fields__ if name != "at")
        return (type(bared).__name__, *(form(getattr(bared, name)) for name in fields))
    if isinstance(expression, tuple):
        return tuple(form(each) for each in expression)
    return expression


def roots(declaration: Declaration) -> tuple[Expression, ...]:
    """Give the expressions that a declaration holds; of a loop, the loop with its body in it."""
    match declaration:
        case Parameter(default=default):
            own: tuple[Expression | None, ...] = (default,)
        case Variable(value=value) | Output(value=value) | UserFunction(body=value):
            own = (value,)
        case Resource() | Module():
            own = (declaration.condition, declaration.loop or declaration.body)
        case _:
            own = ()
    decorated = (argument for decorator in declaration.decorators for argument in decorator.arguments)
    return (*decorated, *(expression for expression in own if expression is not None))


def file_of(path: str, target_scope: str, declarations: tuple[Declaration, ...]) -> File:
    """Look through declarations."""
    return File(
        path=path,
        target_scope=target_scope,
        declarations=declarations,
        entries=tuple(map(_entry, declarations)),
        known={found.name: found for found in reversed(declarations) if not isinstance(found, Output)},
        locals={at: local for found in declarations for at, local in _locals_of(found)},
    )


def _locals_of(declaration: Declaration) -> Iterator[tuple[At, Local]]:
    own = declaration.parameters if isinstance(declaration, UserFunction) else ()
    bound = {name: Local(type=kind) for name, kind in own}
    for root in roots(declaration):
        yield from _locals(root, bound)


def _locals(expression: Expression, bound: dict[str, Local]) -> Iterator[tuple[At, Local]]:
    match expression:
        case Name(at=at, name=name):
            if name in bound:
                yield at, bound[name]
        case For(item=item, index=index, over=over, body=body):
            yield from _locals(over, bound)
            counted = {index: Local(is_index=True)} if index else {}
            yield from _locals(body, {**bound, item: Local(over=over), **counted})
        case Call(name=name, arguments=(over, *_)):
            local = Local(over=over if name in OVER_ITEMS else None)
            for part in parts(expression):
                if isinstance(part, Lambda):
                    yield from _locals(part.body, {**bound, part.parameter: local})
                else:
                    yield from _locals(part, bound)
        case _:
            for part in parts(expression):
                yield from _locals(part, bound)


def _entry(declaration: Declaration) -> Entry:
    inside = roots(declaration)
    return Entry(
        declaration=declaration,
        expressions=tuple(expression for root in inside for expression in walk(root)),
        names=tuple(use for root in inside for use in free_names(root)),
    )


def free_names(expression: Expression, bound: frozenset[str] = frozenset()) -> Iterator[Name]:
    """Give the uses of names that no loop and no lambda around them binds."""
    match expression:
        case Name(name=name):
            if name not in bound:
                yield expression
        case Lambda(parameter=parameter, body=body):
            yield from free_names(body, bound | {parameter})
        case For(item=item, index=index, over=over, body=body):
            yield from free_names(over, bound)
            yield from free_names(body, bound | {item} | ({index} if index else set()))
        case _:
            for part in parts(expression):
                yield from free_names(part, bound)
