"""Names: declared once, declared if used, used if declared, and not hidden."""

from collections.abc import Iterator

from tests.infra.bicep.builtins import (
    NAMESPACES,
)
from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Call,
    Declaration,
    For,
    Import,
    Lambda,
    Object,
    Output,
    Parameter,
    Resource,
    Type,
    UserFunction,
    UserType,
    Variable,
    word,
)


def check_names(context: Context) -> Iterator[Finding]:
    """Check all names of a file."""
    yield from _duplicates(context)
    yield from _undeclared(context)
    yield from _unused(context)
    for entry in context.file.entries:
        for expression in entry.expressions:
            if isinstance(expression, Object):
                yield from _repeated_keys(context, expression)
            elif isinstance(expression, For | Lambda):
                yield from _shadowing(context, expression)


def _duplicates(context: Context) -> Iterator[Finding]:
    seen: dict[tuple[bool, str], Declaration] = {}
    for declaration in context.file.declarations:
        key = (isinstance(declaration, Output), declaration.name)
        if key in seen:
            words = f"{declaration.name!r} is declared twice, first in line {seen[key].at.line}"
            yield Finding(context.file.path, declaration.at, words, "Rename one of them.")
        seen.setdefault(key, declaration)


def _undeclared(context: Context) -> Iterator[Finding]:
    for entry in context.file.entries:
        declared = NAMESPACES | context.file.known.keys()
        match entry.declaration:
            case UserFunction(parameters=parameters):
                declared |= {name for name, _ in parameters}
            case Resource() as resource:
                declared |= {child.name for child in resource.nested()}
        for use in entry.names:
            if use.name not in declared:
                fix = did_you_mean(use.name, declared - NAMESPACES, "Declare it, or remove the use.")
                yield Finding(context.file.path, use.at, f"{use.name!r} is not declared", fix)
    types = {item.name for item in context.file.declarations if isinstance(item, UserType | Import)}
    for declaration in context.file.declarations:
        for named in _named_types(declaration):
            if named.name not in types:
                known = types | {"string", "int", "bool", "object", "array"}
                words = f"no such type: {named.name}"
                yield Finding(context.file.path, named.at, words, did_you_mean(named.name or "", known))


def _named_types(declaration: Declaration) -> tuple[Type, ...]:
    match declaration:
        case Parameter(type=kind) | Output(type=kind) | UserType(type=kind):
            return kind.named
        case UserFunction(parameters=parameters, returns=returns):
            return (*returns.named, *(named for _, kind in parameters for named in kind.named))
    return ()


def _unused(context: Context) -> Iterator[Finding]:
    used: set[str | None] = set()
    for entry in context.file.entries:
        used.update(use.name for use in entry.names)
        used.update(call.name for call in entry.expressions if isinstance(call, Call))
        used.update(named.name for named in _named_types(entry.declaration))
    for declaration in context.file.declarations:
        is_read_only = isinstance(declaration, Resource) and declaration.is_existing
        is_exported = declaration.decorator("export") is not None
        if not isinstance(declaration, Parameter | Variable | Import | UserType | UserFunction) and not is_read_only:
            continue
        if declaration.name not in used and not is_exported:
            what = "existing resource" if is_read_only else word(declaration)
            words = f"{what} {declaration.name!r} is never used"
            yield Finding(context.file.path, declaration.at, words, "Use it, or remove it.")


def check_circles(context: Context) -> Iterator[Finding]:
    """What depends on itself has no value: no other check can follow it."""
    reads = {
        entry.declaration.name: {use.name for use in entry.names}
        for entry in context.file.entries
        if not isinstance(entry.declaration, Output)
    }

    def reaches(start: str) -> bool:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for name in reads.get(todo.pop(), ()):
                if name == start:
                    return True
                if name not in seen:
                    seen.add(name)
                    todo.append(name)
        return False

    for item in context.file.declarations:
        if not isinstance(item, Output) and reaches(item.name):
            words = f"{item.name!r} depends on itself"
            yield Finding(context.file.path, item.at, words, "Break the circle: one side must not read the other.")


def _shadowing(context: Context, expression: For | Lambda) -> Iterator[Finding]:
    inner = (expression.parameter,) if isinstance(expression, Lambda) else (expression.item, expression.index)
    for name in inner:
        if name in context.file.known:
            words = f"{name!r} of a loop or lambda hides a declared name"
            yield Finding(context.file.path, expression.at, words, "Rename it.")


def _repeated_keys(context: Context, found: Object) -> Iterator[Finding]:
    seen: set[str] = set()
    for item in found.properties:
        key = item.key.fixed
        if key in seen:
            yield Finding(context.file.path, item.at, f"{key!r} is given twice", "Remove one.")
        if key is not None:
            seen.add(key)
