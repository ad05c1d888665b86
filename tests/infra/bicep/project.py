"""The files of an infra folder together, and what an expression in one of them stands for."""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from tests.infra.bicep.builtins import FUNCTIONS, NAMESPACES
from tests.infra.bicep.finding import Finding
from tests.infra.bicep.parsing import parse
from tests.infra.bicep.syntax import (
    Array,
    At,
    Binary,
    Boolean,
    Call,
    Declaration,
    Expression,
    File,
    For,
    Group,
    Import,
    Index,
    Lambda,
    Member,
    Module,
    Name,
    Nested,
    Null,
    Number,
    Object,
    Output,
    Parameter,
    Property,
    Resource,
    Ternary,
    Text,
    Type,
    Unary,
    UserFunction,
    UserType,
    Variable,
    bare,
    literal,
)
from tests.infra.bicep.types import Shape, Types
from tests.infra.bicep.values import UNKNOWN, Value, array_of, called, joined, object_of, of_kind

_KINDS: dict[type, str] = {Text: "string", Number: "int", Boolean: "bool"}
# What is a string of every resource, and of what a function gives.
_ALWAYS_STRINGS = frozenset({"id", "name", "type", "apiVersion"})
_STRINGS_OF = {
    "subscription": frozenset({"id", "subscriptionId", "tenantId", "displayName"}),
    "resourceGroup": frozenset({"id", "name", "location", "type"}),
    "tenant": frozenset({"tenantId"}),
    "deployment": frozenset({"name"}),
    "deployer": frozenset({"objectId", "tenantId", "userPrincipalName"}),
    "environment": frozenset({"name", "portal", "resourceManager"}),
}
# A type may have itself inside: so far it is followed.
_DEEPEST = 4
_TRUTHS = frozenset({"==", "!=", "=~", "!~", "<", "<=", ">", ">=", "&&", "||"})


def read_folder(root: Path) -> dict[str, str]:
    """Give the texts under a folder by path, as Bicep files name them."""
    found = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.as_posix(): path.read_text(encoding="utf-8") for path in found}


class Project(Struct, frozen=True):
    """All texts of a folder.

    Attributes:
        files: The Bicep files whose form is right.
        findings: What is wrong with the form of the others.
    """

    texts: Mapping[str, str]
    files: Mapping[str, File]
    findings: tuple[Finding, ...]

    def beside(self, path: str, relative: str) -> str:
        """Give the path that a file means by a relative one."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))

    def module(self, path: str, module: Module) -> File | None:
        """Give the file that a module calls; None if it is not there or unreadable."""
        return self.files.get(self.beside(path, module.path))


def load(texts: Mapping[str, str]) -> Project:
    """Read all texts of a folder."""
    parsed = {path: parse(path, text) for path, text in texts.items() if path.endswith(".bicep")}
    return Project(
        texts=texts,
        files={path: file for path, (file, _) in parsed.items() if file is not None},
        findings=tuple(finding for _, findings in parsed.values() for finding in findings),
    )


class Context(Struct, frozen=True):
    """Where an expression stands.

    Attributes:
        types: Azure's, where they are known.
        known: What was found out, by the identity of the expression, which is held so that no other takes its place.
    """

    project: Project
    file: File
    types: Types | None = None
    known: dict[int, tuple[Expression, Value]] = field(default_factory=dict)

    def resolve(self, expression: Expression) -> Expression:
        """Follow variables, loaded JSON and members of literal objects to what they hold, as far as is known."""
        match expression:
            case Group(inner=inner):
                return self.resolve(inner)
            case Name(name=name):
                declared = self.file.named(name)
                return self.resolve(declared.value) if isinstance(declared, Variable) else expression
            case Member(of=of, name=name):
                holder = self.resolve(of)
                held = holder.get(name) if isinstance(holder, Object) else None
                return expression if held is None else self.resolve(held)
            case Call(name="loadJsonContent", arguments=arguments) if len(arguments) == 1:
                loaded = self.loaded(expression)
                return expression if loaded is None else loaded
        return expression

    def loaded(self, call: Call) -> Expression | None:
        """Give what a JSON file holds; None if it is not there or is no JSON."""
        relative = literal(call.arguments[0])
        text = self.project.texts.get(self.project.beside(self.file.path, str(relative)))
        if text is None:
            return None
        try:
            return _expression(json.loads(text), call.at)
        except json.JSONDecodeError:
            return None

    def kind(self, expression: Expression) -> str:
        """Give string, int, bool, array, object or null; any if it is not known, or there are several."""
        return self.value(expression).kind

    def value(self, expression: Expression) -> Value:
        """Give what is known of what an expression comes to."""
        if id(expression) not in self.known:
            self.known[id(expression)] = expression, self._value(expression)
        return self.known[id(expression)][1]

    def _value(self, expression: Expression) -> Value:  # noqa: C901, PLR0911, PLR0912 - one for each form
        match expression:
            case Group(inner=inner):
                return self.value(inner)
            case Text() | Number() | Boolean():
                fixed = literal(expression)
                words = None if fixed is None else frozenset({fixed})
                return Value(frozenset({_KINDS[type(expression)]}), words=words)
            case Null():
                return of_kind("null")
            case Array(items=items):
                return array_of(joined(map(self.value, items)))
            case For(body=body):
                return array_of(self.value(body))
            case Object(properties=properties):
                keys = [item.key.fixed for item in properties]
                fields = {item.key.fixed: self.value(item.value) for item in properties if item.key.fixed is not None}
                return object_of(fields, is_closed=None not in keys)
            case Unary(operator=operator):
                return of_kind("bool" if operator == "!" else "int")
            case Binary(operator="??", left=left, right=right) | Ternary(then=left, otherwise=right):
                return joined((self.value(left), self.value(right)), is_choice=True)
            case Binary(operator=operator):
                return of_kind("bool" if operator in _TRUTHS else "int")
            case Name():
                return self._named(expression)
            case Member():
                return self._member(expression)
            case Index(of=of):
                return self._item(expression) if self.symbol(of) is None else of_kind("object")
            case Call(on=on) if on is None or (isinstance(on, Name) and on.name in NAMESPACES):
                return self._called(expression)
        return UNKNOWN

    def _named(self, use: Name) -> Value:
        local = self.file.locals.get(use.at)
        if local is not None:
            if local.type is not None:
                return self.of_type(local.type)
            if local.is_index:
                return of_kind("int")
            over = UNKNOWN if local.over is None else self.value(local.over)
            return _held(over.item)
        match self.file.named(use.name):
            case Variable(value=value):
                return self.value(value)
            case Parameter() as parameter:
                found = self.of_type(parameter.type)
                allowed = parameter.allowed
                return found if allowed is None else replace(found, words=frozenset(allowed))
            case Resource(loop=loop) | Module(loop=loop):
                return of_kind("object" if loop is None else "object[]")
        return UNKNOWN

    def _member(self, member: Member) -> Value:
        found = self._of_module(member)
        if found is not None:
            file, output = found
            return Context(self.project, file).of_type(output.type)
        if isinstance(self.symbol(member.of), Resource) and member.name in _ALWAYS_STRINGS:
            return of_kind("string")
        if isinstance(member.of, Call) and member.name in _STRINGS_OF.get(member.of.name, ()):
            return of_kind("string")
        shape = self.shape(member)
        if shape is not None:
            return Value(shape.kinds)
        return _held(self.value(member.of).fields.get(member.name))

    def _item(self, index: Index) -> Value:
        of, at = self.value(index.of), self.value(index.index)
        if of.kind == "array":
            return _held(of.item)
        words = at.words or ()
        return _held(of.fields.get(str(next(iter(words))))) if of.kind == "object" and len(words) == 1 else UNKNOWN

    def _called(self, call: Call) -> Value:
        own = self.file.named(call.name)
        if isinstance(own, Import):
            own = self.imported(own)
        if isinstance(own, UserFunction):
            return self.of_type(own.returns)
        match call:
            case Call(name="loadJsonContent", arguments=(_,)):
                loaded = self.loaded(call)
                return UNKNOWN if loaded is None else self.value(loaded)
            case Call(name="map", arguments=(_, Lambda(body=body))):
                return array_of(self.value(body))
        if call.name not in FUNCTIONS:
            return UNKNOWN
        return called(call.name, tuple(map(self.value, call.arguments)), of_kind(FUNCTIONS[call.name].gives))

    def of_type(self, declared: Type, depth: int = 0) -> Value:
        """Give what a declared type says of its values."""
        if declared.kind == "named":
            found = self.file.named(declared.name or "")
            home = self
            if isinstance(found, Import):
                path = self.project.beside(self.file.path, found.path)
                if path in self.project.files:
                    home, found = Context(self.project, self.project.files[path]), self.imported(found)
            known = isinstance(found, UserType) and depth < _DEEPEST
            return home.of_type(found.type, depth + 1) if known and isinstance(found, UserType) else UNKNOWN
        if declared.kind == "array":
            return array_of(None if declared.item is None else self.of_type(declared.item, depth))
        if declared.kind == "object":
            fields = {name: self.of_type(kind, depth) for name, kind in declared.fields or ()}
            return object_of(fields, is_closed=False)
        return of_kind(declared.kind)

    def shape(self, expression: Expression) -> Shape | None:
        """Give the type of what is read from a resource, where that is one."""
        match expression:
            case Group(inner=inner):
                return self.shape(inner)
            case Member(of=of, name=name):
                symbol = self.symbol(of)
                if isinstance(symbol, Resource):
                    holder = None if self.types is None else self.types.get(symbol.type)
                else:
                    holder = self.shape(of)
                if holder is None or holder.form != "ObjectType":
                    return None
                held = holder.properties.get(name)
                return holder.rest if held is None else holder.at(held["type"])
            case Index(of=of):
                holder = self.shape(of)
                if holder is not None and holder.form == "ArrayType":
                    return holder.at(holder.plain["itemType"])
        return None

    def may_be_null(self, expression: Expression) -> bool:
        """Tell whether an expression is known to be null sometimes: by `.?`, by its type, by a branch."""
        expression = self.resolve(expression)
        match expression:
            case Null():
                return True
            case Ternary(then=left, otherwise=right):
                return self.may_be_null(left) or self.may_be_null(right)
            case Binary(operator="??", right=right):
                return self.may_be_null(right)
            case Name(name=name):
                declared = self.file.named(name)
                return isinstance(declared, Parameter) and declared.type.is_nullable
        while isinstance(expression, Member | Index):
            if expression.is_safe:
                return True
            if isinstance(expression, Member) and expression.is_asserted:
                return False
            expression = bare(expression.of)
        return False

    def output(self, expression: Expression) -> Output | None:
        """Give the output that `module.outputs.name` reads."""
        found = self._of_module(expression)
        return None if found is None else found[1]

    def _of_module(self, expression: Expression) -> tuple[File, Output] | None:
        match expression:
            case Member(name=name, of=Member(name="outputs", of=of)):
                module = self.symbol(of)
                called = self.project.module(self.file.path, module) if isinstance(module, Module) else None
                if called is not None:
                    return next(((called, output) for output in called.of(Output) if output.name == name), None)
        return None

    def imported(self, declared: Import) -> Declaration | None:
        """Give what an import brings in; None if it is not there."""
        file = self.project.files.get(self.project.beside(self.file.path, declared.path))
        return None if file is None else file.named(declared.original)

    def symbol(self, expression: Expression) -> Resource | Module | None:
        """Give the resource or module that an expression names, also as one of a loop."""
        match expression:
            case Group(inner=of) | Index(of=of):
                return self.symbol(of)
            case Nested(of=of, name=name):
                parent = self.symbol(of)
                children = parent.body.resources if isinstance(parent, Resource) else ()
                return next((child for child in children if child.name == name), None)
            case Name(name=name):
                declared = self.file.named(name)
                return declared if isinstance(declared, Resource | Module) else None
        return None


def _held(found: Value | None) -> Value:
    """Give what is read from an array or an object; of an empty one nothing is known."""
    return UNKNOWN if found is None or not found.kinds else found


def _expression(value: Any, at: At) -> Expression:
    match value:
        case bool():
            return Boolean(at=at, value=value)
        case int():
            return Number(at=at, value=value)
        case str():
            return Text(at=at, parts=(value,) if value else ())
        case list():
            return Array(at=at, items=tuple(_expression(item, at) for item in value))
        case dict():
            pairs = ((Text(at=at, parts=(key,)), _expression(item, at)) for key, item in value.items())
            return Object(at=at, properties=tuple(Property(at=at, key=key, value=item) for key, item in pairs))
    return Null(at=at)
