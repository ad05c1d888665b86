"""The files of an infra folder together, and what an expression in one of them stands for."""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.infra.bicep.builtins import FUNCTIONS
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
    Unary,
    Variable,
    bare,
    literal,
)

_KINDS: dict[type, str] = {
    Text: "string",
    Number: "int",
    Boolean: "bool",
    Null: "null",
    Array: "array",
    For: "array",
    Object: "object",
}
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
    """Where an expression stands."""

    project: Project
    file: File

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
        """Give string, int, bool, array, object or null; any if it is not known."""
        expression = self.resolve(expression)
        match expression:
            case Unary(operator=operator):
                return "bool" if operator == "!" else "int"
            case Binary(operator="??", left=left, right=right) | Ternary(then=left, otherwise=right):
                kinds = {self.kind(left), self.kind(right)} - {"null"}
                return kinds.pop() if len(kinds) == 1 else "any"
            case Binary(operator=operator):
                return "bool" if operator in _TRUTHS else "int"
            case Call(name=name, on=None) if name in FUNCTIONS:
                return FUNCTIONS[name].gives
            case Name(name=name):
                return _declared_kind(self.file.named(name))
            case Member(is_safe=False):
                return _declared_kind(self.output(expression))
        return _KINDS.get(type(expression), "any")

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
        match expression:
            case Member(name=name, of=Member(name="outputs", of=of)):
                module = self.symbol(of)
                called = self.project.module(self.file.path, module) if isinstance(module, Module) else None
                outputs = () if called is None else called.of(Output)
                return next((found for found in outputs if found.name == name), None)
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


def _declared_kind(declared: Declaration | None) -> str:
    match declared:
        case Parameter(type=kind) | Output(type=kind):
            return "any" if kind.is_nullable or kind.kind == "named" else kind.kind
        case Resource(loop=loop) | Module(loop=loop):
            return "object" if loop is None else "array"
    return "any"


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
