"""Those of the compiler's linter rules that cost little to check here; the names are the linter's."""

import re
from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import Call, Expression, Object, Resource, Text, literal

_HOSTS = (
    "azuredatalakestore.net",
    "core.windows.net",
    "database.windows.net",
    "gallery.azure.com",
    "graph.windows.net",
    "login.microsoftonline.com",
    "management.azure.com",
    "management.core.windows.net",
    "vault.azure.net",
)
_HOST = re.compile(rf"(?<!schema\.)\b({'|'.join(map(re.escape, _HOSTS))})\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_]\w*")


def check_linter(context: Context) -> Iterator[Finding]:
    """Check a file's style."""
    for entry in context.file.entries:
        declaration = entry.declaration
        body = declaration.body if isinstance(declaration, Resource) else None
        location = None if body is None else body.get("location")
        place = None if location is None else literal(context.resolve(location))
        if location is not None and place is not None and str(place).lower() != "global":
            words = f"the location {place!r} is fixed (no-hardcoded-location)"
            yield Finding(context.file.path, location.at, words, "Take it from a param.")
        spared = {id(each) for decorator in declaration.decorators for each in decorator.arguments}
        spared |= {id(item.key) for each in entry.expressions if isinstance(each, Object) for item in each.properties}
        for expression in entry.expressions:
            if id(expression) not in spared:
                yield from _expression(context, expression)


def _expression(context: Context, expression: Expression) -> Iterator[Finding]:
    path = context.file.path
    match expression:
        case Text(parts=parts):
            host = next((found for part in parts if isinstance(part, str) and (found := _HOST.search(part))), None)
            if host is not None:
                words = f"{host[0]} is another host in other clouds (no-hardcoded-env-urls)"
                yield Finding(path, expression.at, words, "Read it from environment(), or from a resource.")
            if len(parts) == 1 and isinstance(parts[0], Expression) and context.kind(parts[0]) == "string":
                words = "a string that only fills in a string (simplify-interpolation)"
                yield Finding(path, expression.at, words, "Write what is filled in alone.")
        case Call(name="concat", arguments=arguments):
            if any(context.kind(argument) == "string" for argument in arguments):
                words = "concat of strings (prefer-interpolation)"
                yield Finding(path, expression.at, words, "Write '${a}${b}'.")
        case Object(properties=properties):
            for item in properties:
                key = item.key.fixed
                if key is not None and _WORD.fullmatch(key) and item.is_quoted:
                    words = f"{key!r} needs no quotes (prefer-unquoted-property-names)"
                    yield Finding(path, item.at, words, f"Write {key}: ...")
