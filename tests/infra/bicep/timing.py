"""What must be known when a deployment starts: names, scopes, conditions, what loops go over. The compiler's BCP120,
BCP177, BCP178, BCP179 and BCP182.
"""

from collections.abc import Iterator

from tests.infra.bicep.builtins import RUNTIME
from tests.infra.bicep.finding import Finding
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Call,
    Expression,
    For,
    Index,
    Member,
    Module,
    Name,
    Resource,
    Variable,
    bare,
    free_names,
    parts,
)

_KNOWN_AT_START = frozenset({"id", "name", "type", "apiVersion"})
_FIX = "Use params, variables, or id, name, type and apiVersion of a resource."


def check_timing(context: Context) -> Iterator[Finding]:
    """Check everything that must be known at the start."""
    for entry in context.file.entries:
        for expression in entry.expressions:
            if isinstance(expression, For):
                yield from _known(context, expression.over, "what a loop goes over")
                if isinstance(entry.declaration, Variable):
                    yield from _known(context, expression.body, "the body of a loop in a var")
        if isinstance(entry.declaration, Resource | Module):
            yield from _declared(context, entry.declaration)


def _declared(context: Context, declaration: Resource | Module) -> Iterator[Finding]:
    if declaration.condition is not None:
        yield from _known(context, declaration.condition, "a condition")
    for key in ("name", "scope", "parent"):
        value = declaration.body.get(key)
        if value is not None and not (key != "name" and context.symbol(value) is not None):
            yield from _known(context, value, key)
    yield from _unique(context, declaration)
    if isinstance(declaration, Resource):
        for child in declaration.body.resources:
            yield from _declared(context, child)


def _unique(context: Context, declaration: Resource | Module) -> Iterator[Finding]:
    if declaration.loop is None:
        return
    bound = {declaration.loop.item, declaration.loop.index}
    given = [value for key in ("name", "scope", "parent") if (value := declaration.body.get(key)) is not None]
    if isinstance(declaration, Module) and declaration.body.get("name") is None:
        return
    if not any(use.name in bound for value in given for use in free_names(value)):
        words = f"each turn of this loop gives {declaration.name!r} the same name"
        yield Finding(context.file.path, declaration.at, words, "Use the loop's item or index in name.")


def _known(context: Context, expression: Expression, what: str) -> Iterator[Finding]:
    found = runtime_read(context, expression)
    if found is not None:
        words = f"{what} must be known when the deployment starts, this is known only when it runs"
        yield Finding(context.file.path, found.at, words, _FIX)


def runtime_read(context: Context, expression: Expression) -> Expression | None:
    """Give the first part of an expression that Azure has to answer while deploying; None if there is none."""
    match expression:
        case Member(of=of, name=name) if name in _KNOWN_AT_START and context.symbol(of) is not None:
            return _index(context, of)
        case Call(on=on, name=name) if name in RUNTIME or (name.startswith("list") and name[4:5].isupper()):
            return expression if on is None or context.symbol(on) is not None else None
        case Name(name=name):
            declared = context.file.named(name)
            if isinstance(declared, Resource | Module):
                return expression
            if isinstance(declared, Variable):
                return expression if runtime_read(context, declared.value) is not None else None
            return None
    return next((found for part in parts(expression) if (found := runtime_read(context, part)) is not None), None)


def _index(context: Context, of: Expression) -> Expression | None:
    of = bare(of)
    return runtime_read(context, of.index) if isinstance(of, Index) else None
