"""Text -> `File`. Three readers must accept it: tree-sitter-bicep, pycep-parser, and ours, which builds the tree.

Neither of the two gives a tree to build on: tree-sitter reads `a == b.c` as `(a == b).c` and `[f().x]` as two items,
pycep keeps no positions. Ours is strict where both are lenient: items on one line need a comma or a line break between.
"""

import bisect
import functools
import re
from collections.abc import Callable, Iterator
from typing import NoReturn

import tree_sitter_bicep
from lark.exceptions import LarkError, UnexpectedInput
from msgspec.structs import replace
from pycep import BicepParser
from tree_sitter import Language, Node, Parser

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.subset import forbidden
from tests.infra.bicep.syntax import (
    Array,
    At,
    Binary,
    Boolean,
    Call,
    Declaration,
    Decorator,
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
    file_of,
)

_TREE_SITTER = Parser(Language(tree_sitter_bicep.language()))
_PYCEP = BicepParser()
_SCOPES = ("resourceGroup", "subscription", "managementGroup", "tenant")
_OPERATORS = (("??",), ("||",), ("&&",), ("==", "!=", "=~", "!~"), ("<=", ">=", "<", ">"), ("+", "-"), ("*", "/", "%"))
_SPACE = re.compile(r"(?:[ \t]|//[^\n]*|/\*.*?\*/|\\\r?\n)*", re.DOTALL)
_LINES = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/|\#(?:disable|restore)[^\n]*)*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LAMBDA = re.compile(r"(?:\(\s*)?([A-Za-z_]\w*)(?:\s*\))?\s*=>")
_FIX = "Compare the line with its neighbours: a bracket, quote, colon, comma or line break is missing or too much."


class Unreadable(Exception):
    """A place that cannot be read."""

    def __init__(self, at: At, words: str) -> None:
        self.at, self.words = at, words
        super().__init__(f"{at.line}:{at.column}: {words}")


@functools.lru_cache(maxsize=512)
def parse(path: str, text: str) -> tuple[File | None, tuple[Finding, ...]]:
    """Give the file and what is wrong with its form; no file if ours cannot read it.

    The two grammars are asked last: on a string without end pycep's patterns try for minutes.
    """
    found = tuple(forbidden(path, text))
    if not text.strip():
        found = (Finding(path, At(1, 1), "this file is empty", "Remove it."),)
    if found:
        return None, found
    try:
        file = _Reader(text).file(path)
    except Unreadable as error:
        return None, (Finding(path, error.at, error.words, _FIX),)
    return file, tuple(_refused(path, text))


def _refused(path: str, text: str) -> Iterator[Finding]:
    root = _TREE_SITTER.parse(text.encode()).root_node
    if root.has_error:
        start = _first_error(root).start_point
        yield Finding(path, At(start.row + 1, start.column + 1), "tree-sitter-bicep cannot read this", _FIX)
    try:
        _PYCEP.parse(text=text)
    except UnexpectedInput as error:
        yield Finding(path, At(max(error.line, 1), max(error.column, 1)), "pycep-parser cannot read this", _FIX)
    except (LarkError, ValueError) as error:
        yield Finding(path, At(1, 1), f"pycep-parser cannot read this: {str(error).splitlines()[0]}", _FIX)


def _first_error(node: Node) -> Node:
    for child in node.children:
        if child.is_error or child.is_missing:
            return child
        if child.has_error:
            return _first_error(child)
    return node


def _qualified(resource: Resource) -> Resource:
    """Give a resource whose nested ones have their type in full."""
    base, _, version = resource.type.partition("@")
    children = []
    for child in resource.body.resources:
        kind, _, own = child.type.partition("@")
        children.append(_qualified(replace(child, type=f"{base}/{kind}@{own or version}")))
    body = replace(resource.body, resources=tuple(children))
    loop = None if resource.loop is None else replace(resource.loop, body=body)
    return replace(resource, body=body, loop=loop)


class _Reader:
    """Reads one text from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at_offset = 0
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]

    # Characters

    def at(self, offset: int | None = None) -> At:
        offset = self.at_offset if offset is None else offset
        line = bisect.bisect_right(self.lines, offset)
        return At(line, offset - self.lines[line - 1] + 1)

    def fail(self, words: str) -> NoReturn:
        raise Unreadable(self.at(), words)

    def space(self, *, lines: bool = False) -> None:
        found = (_LINES if lines else _SPACE).match(self.text, self.at_offset)
        assert found is not None, "the pattern matches nothing too"
        self.at_offset = found.end()

    def sees(self, *tokens: str) -> str | None:
        self.space()
        return next((token for token in tokens if self.text.startswith(token, self.at_offset)), None)

    def take(self, *tokens: str) -> str | None:
        token = self.sees(*tokens)
        self.at_offset += len(token or "")
        return token

    def need(self, token: str, after: str) -> None:
        if self.take(token) is None:
            self.fail(f"{token!r} is missing {after}")

    def peek_word(self) -> str:
        self.space()
        found = _WORD.match(self.text, self.at_offset)
        return "" if found is None else found[0]

    def word(self, what: str) -> tuple[str, At]:
        name, at = self.peek_word(), self.at()
        if not name:
            self.fail(f"{what} is missing")
        self.at_offset += len(name)
        return name, at

    def keyword(self, word: str) -> bool:
        if self.peek_word() != word:
            return False
        self.at_offset += len(word)
        return True

    def end_of_line(self, after: str) -> None:
        self.space()
        if self.at_offset < len(self.text) and self.text[self.at_offset] not in "\r\n":
            self.fail(f"a line break is missing after {after}")

    # Declarations

    def file(self, path: str) -> File:
        scope = "resourceGroup"
        found: list[Declaration] = []
        self.space(lines=True)
        while self.at_offset < len(self.text):
            decorators = self.decorators()
            start = self.at()
            word, _ = self.word("a declaration")
            if word == "targetScope":
                self.need("=", "after targetScope")
                scope = str(self.fixed("the targetScope"))
                if scope not in _SCOPES:
                    raise Unreadable(start, f"no such targetScope: {scope}; known: {', '.join(_SCOPES)}")
            elif word == "metadata":
                self.word("a name")
                self.need("=", "after the name")
                self.expression()
            else:
                found += self.declaration(word, start, decorators)
            self.end_of_line(f"this {word}")
            self.space(lines=True)
        return file_of(path, scope, tuple(found))

    def decorators(self) -> tuple[Decorator, ...]:
        found: list[Decorator] = []
        while self.sees("@"):
            at = self.at()
            self.take("@")
            call = self.postfix()
            if not isinstance(call, Call):
                raise Unreadable(at, "a decorator is written @name(...)")
            found.append(Decorator(at=at, name=call.name, arguments=call.arguments))
            self.space(lines=True)
        return tuple(found)

    def declaration(self, word: str, start: At, decorators: tuple[Decorator, ...]) -> list[Declaration]:
        if word == "import":
            return list(self.imports(decorators))
        readers: dict[str, Callable[[str, At, tuple[Decorator, ...]], Declaration]] = {
            "param": self.parameter,
            "var": self.variable,
            "output": self.output,
            "resource": self.resource,
            "module": self.module,
            "type": self.user_type,
            "func": self.function,
        }
        if word not in readers:
            raise Unreadable(start, f"no declaration begins with {word!r}; known: {', '.join(readers)}, import")
        name, at = self.word(f"the name of the {word}")
        found = readers[word](name, at, decorators)
        return [_qualified(found) if isinstance(found, Resource) else found]

    def parameter(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> Parameter:
        kind = self.type()
        default = self.expression() if self.take("=") else None
        return Parameter(at=at, name=name, decorators=decorators, type=kind, default=default)

    def variable(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> Variable:
        self.need("=", "after the name")
        return Variable(at=at, name=name, decorators=decorators, value=self.expression())

    def output(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> Output:
        kind = self.type()
        self.need("=", "after the type")
        return Output(at=at, name=name, decorators=decorators, type=kind, value=self.expression())

    def resource(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> Resource:
        self.space()
        kind_at, kind = self.at(), self.fixed("the type of the resource")
        existing = self.keyword("existing")
        condition, loop, body = self.body()
        return Resource(
            at=at,
            name=name,
            decorators=decorators,
            type=kind,
            type_at=kind_at,
            is_existing=existing,
            condition=condition,
            loop=loop,
            body=body,
        )

    def module(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> Module:
        self.space()
        path_at, path = self.at(), self.fixed("the path of the module")
        condition, loop, body = self.body()
        return Module(
            at=at,
            name=name,
            decorators=decorators,
            path=path,
            path_at=path_at,
            condition=condition,
            loop=loop,
            body=body,
        )

    def body(self) -> tuple[Expression | None, For | None, Object]:
        self.need("=", "before the body")
        condition = None
        if self.keyword("if"):
            self.need("(", "after if")
            condition = self.expression()
            self.need(")", "after the condition")
        self.space()
        at = self.at()
        value = self.primary()
        if isinstance(value, For) and isinstance(value.body, Object):
            return condition, value, value.body
        if not isinstance(value, Object):
            raise Unreadable(at, "the body of a resource or module is an object")
        return condition, None, value

    def user_type(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> UserType:
        self.need("=", "after the name")
        return UserType(at=at, name=name, decorators=decorators, type=self.type())

    def function(self, name: str, at: At, decorators: tuple[Decorator, ...]) -> UserFunction:
        self.need("(", "after the name")
        parameters: list[tuple[str, Type]] = []
        self.space(lines=True)
        while not self.take(")"):
            parameters.append((self.word("the name of a parameter")[0], self.type()))
            self.space(lines=True)
            if not self.take(",") and not self.sees(")"):
                self.fail("a comma is missing between parameters")
            self.space(lines=True)
        returns = self.type()
        self.need("=>", "after the type")
        self.space(lines=True)
        return UserFunction(
            at=at,
            name=name,
            decorators=decorators,
            parameters=tuple(parameters),
            returns=returns,
            body=self.expression(),
        )

    def imports(self, decorators: tuple[Decorator, ...]) -> Iterator[Import]:
        names: list[tuple[str, str, At]] = []
        self.need("{", "after import")
        self.space(lines=True)
        while not self.take("}"):
            original, at = self.word("the name to import")
            name, at = self.word("the new name") if self.keyword("as") else (original, at)
            names.append((original, name, at))
            self.take(",")
            self.space(lines=True)
        if not self.keyword("from"):
            self.fail("'from' is missing")
        path = self.fixed("the path")
        for original, name, at in names:
            yield Import(at=at, name=name, decorators=decorators, path=path, original=original)

    def type(self) -> Type:
        self.space()
        at = self.at()
        fields: list[tuple[str, Type]] = []
        if self.take("("):
            found = self.type()
            self.need(")", "after the type")
        elif self.take("{"):
            self.space(lines=True)
            while not self.take("}"):
                key = self.fixed("a field") if self.sees("'") else self.word("a field")[0]
                self.need(":", "after the field")
                fields.append((key, self.type()))
                self.separator("}")
            found = Type(at=at, kind="object", fields=tuple(fields))
        else:
            name, _ = self.word("a type")
            known = name in {"string", "int", "bool", "object", "array", "any"}
            found = Type(at=at, kind=name if known else "named", name=None if known else name)
        while True:
            if self.text.startswith("[]", self.at_offset):
                self.at_offset += 2
                found = Type(at=at, kind="array", item=found)
            elif self.text.startswith("?", self.at_offset):
                self.at_offset += 1
                found = Type(
                    at=at, kind=found.kind, name=found.name, item=found.item, fields=found.fields, is_nullable=True
                )
            else:
                return found

    # Expressions

    def expression(self) -> Expression:
        condition = self.binary(0)
        if not self.continues("?"):
            return condition
        self.space(lines=True)
        then = self.expression()
        if not self.continues(":"):
            self.fail("':' is missing after what holds if the condition does")
        self.space(lines=True)
        return Ternary(at=condition.at, condition=condition, then=then, otherwise=self.expression())

    def continues(self, token: str) -> bool:
        """Take a token that may stand on the next line."""
        before = self.at_offset
        self.space(lines=True)
        if self.take(token):
            return True
        self.at_offset = before
        return False

    def binary(self, level: int) -> Expression:
        if level == len(_OPERATORS):
            return self.unary()
        left = self.binary(level + 1)
        while operator := self.sees(*_OPERATORS[level]):
            if operator == "/" and self.sees("//", "/*"):
                break
            self.take(operator)
            left = Binary(at=left.at, operator=operator, left=left, right=self.binary(level + 1))
        return left

    def unary(self) -> Expression:
        self.space()
        at = self.at()
        operator = self.take("!", "-")
        if operator is None:
            return self.postfix()
        operand = self.unary()
        if operator == "-" and isinstance(operand, Number):
            return Number(at=at, value=-operand.value)
        return Unary(at=at, operator=operator, operand=operand)

    def postfix(self) -> Expression:
        found = self.primary()
        while True:
            asserted = self.text.startswith(("!.", "![", "!:"), self.at_offset)
            self.at_offset += asserted
            start = self.at_offset
            if token := self.take("::", ".?", "."):
                name, at = self.word(f"a name after {token!r}")
                if token == "::":
                    found = Nested(at=at, of=found, name=name)
                elif self.text.startswith("(", self.at_offset):
                    found = Call(at=at, name=name, on=found, arguments=self.arguments())
                else:
                    found = Member(at=at, of=found, name=name, is_safe=token == ".?", is_asserted=asserted)
            elif self.text.startswith("[", self.at_offset):
                self.take("[")
                safe = self.take("?") is not None
                index = self.expression()
                self.need("]", "after the index")
                found = Index(at=index.at, of=found, index=index, is_safe=safe)
            else:
                self.at_offset = start
                return found

    def primary(self) -> Expression:
        self.space()
        at = self.at()
        if found := _LAMBDA.match(self.text, self.at_offset):
            self.at_offset = found.end()
            self.space(lines=True)
            return Lambda(at=at, parameter=found[1], body=self.expression())
        readers = {"'": self.string, "(": self.group, "[": self.array, "{": self.object}
        reader = readers.get(self.text[self.at_offset : self.at_offset + 1])
        if reader is not None:
            return reader()
        if number := re.compile(r"\d+").match(self.text, self.at_offset):
            self.at_offset = number.end()
            return Number(at=at, value=int(number[0]))
        if self.sees('"'):
            self.fail("strings stand between single quotes")
        name, _ = self.word("an expression")
        if name in {"true", "false"}:
            return Boolean(at=at, value=name == "true")
        if name == "null":
            return Null(at=at)
        if self.text.startswith("(", self.at_offset):
            return Call(at=at, name=name, arguments=self.arguments())
        return Name(at=at, name=name)

    def group(self) -> Group:
        at = self.at()
        self.need("(", "before the expression")
        self.space(lines=True)
        inner = self.expression()
        self.space(lines=True)
        self.need(")", "after the expression")
        return Group(at=at, inner=inner)

    def arguments(self) -> tuple[Expression, ...]:
        found: list[Expression] = []
        self.need("(", "after the name")
        self.space(lines=True)
        while not self.take(")"):
            found.append(self.expression())
            self.space(lines=True)
            if not self.take(",") and not self.sees(")"):
                self.fail("a comma is missing between arguments")
            self.space(lines=True)
        return tuple(found)

    def array(self) -> Expression:
        at = self.at()
        self.need("[", "before the items")
        self.space(lines=True)
        if self.keyword("for"):
            return self.loop(at)
        items: list[Expression] = []
        while not self.take("]"):
            items.append(self.expression())
            self.separator("]")
        return Array(at=at, items=tuple(items))

    def loop(self, at: At) -> For:
        index = None
        if self.take("("):
            item, _ = self.word("the item of the loop")
            self.need(",", "between item and index")
            index, _ = self.word("the index of the loop")
            self.need(")", "after the index")
        else:
            item, _ = self.word("the item of the loop")
        if not self.keyword("in"):
            self.fail("'in' is missing")
        over = self.expression()
        self.need(":", "after what the loop goes over")
        self.space(lines=True)
        body = self.expression()
        self.space(lines=True)
        self.need("]", "after the body of the loop")
        return For(at=at, item=item, index=index, over=over, body=body)

    def separator(self, end: str) -> None:
        """Pass a comma, or line breaks, unless the end follows."""
        self.space()
        before = self.at_offset
        self.take(",")
        self.space(lines=True)
        passed = self.text[before : self.at_offset]
        if "," not in passed and "\n" not in passed and not self.sees(end):
            self.fail("a comma or a line break is missing")

    def object(self) -> Object:
        at = self.at()
        properties: list[Property] = []
        resources: list[Resource] = []
        self.need("{", "before the properties")
        self.space(lines=True)
        while not self.take("}"):
            decorators = self.decorators()
            if decorators or re.compile(r"resource\s+\w+\s+'").match(self.text, self.at_offset):
                self.word("resource")
                name, name_at = self.word("the name of the resource")
                resources.append(self.resource(name, name_at, decorators))
            else:
                properties.append(self.property())
            self.separator("}")
        return Object(at=at, properties=tuple(properties), resources=tuple(resources))

    def property(self) -> Property:
        self.space()
        at = self.at()
        quoted = self.sees("'") is not None
        key = self.string() if quoted else Text(at=at, parts=(self.word("the name of a property")[0],))
        self.need(":", "after the name of a property")
        return Property(at=at, key=key, value=self.expression(), is_quoted=quoted)

    def fixed(self, what: str) -> str:
        at = self.at()
        if not self.sees("'"):
            self.fail(f"{what} is missing")
        found = self.string().fixed
        if found is None:
            raise Unreadable(at, f"{what} must be a fixed string")
        return found

    def string(self) -> Text:
        at = self.at()
        self.at_offset += 1
        parts: list[str | Expression] = []
        fixed = ""
        while not self.text.startswith("'", self.at_offset):
            rest = self.text[self.at_offset : self.at_offset + 2]
            if not rest or rest[0] in "\r\n":
                raise Unreadable(at, "this string has no end")
            if rest == "${":
                self.at_offset += 2
                parts += [fixed, self.expression()]
                fixed = ""
                self.need("}", "after what is filled in")
            elif rest[0] == "\\":
                fixed += self.escape()
            else:
                fixed += rest[0]
                self.at_offset += 1
        self.at_offset += 1
        return Text(at=at, parts=tuple(part for part in (*parts, fixed) if part != ""))

    def escape(self) -> str:
        found = re.compile(r"\\(?:u\{([0-9A-Fa-f]+)\}|([\\'nrt$]))").match(self.text, self.at_offset)
        if found is None:
            self.fail("no such escape in a string; known: \\\\ \\' \\n \\r \\t \\$ \\u{...}")
        self.at_offset = found.end()
        return chr(int(found[1], 16)) if found[1] else {"n": "\n", "r": "\r", "t": "\t"}.get(found[2], found[2])
