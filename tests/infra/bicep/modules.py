"""Modules: the file is there, gets what it asks for, at a scope it can be deployed to, and gives what is read."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Call,
    Expression,
    File,
    Import,
    Member,
    Module,
    Name,
    Object,
    Output,
    Parameter,
    Resource,
    Ternary,
    bare,
    free_names,
    literal,
)

_PROPERTIES = frozenset({"name", "scope", "params", "dependsOn"})
_SCOPE_OF_FUNCTION = {
    "resourceGroup": "resourceGroup",
    "subscription": "subscription",
    "managementGroup": "managementGroup",
    "tenant": "tenant",
}


def check_modules(context: Context) -> Iterator[Finding]:
    """Check each module of a file, and each read of an output."""
    for module in context.file.of(Module):
        called = context.project.module(context.file.path, module)
        path = context.project.beside(context.file.path, module.path)
        if path not in context.project.texts:
            known = [other for other in context.project.texts if other.endswith(".bicep")]
            fix = did_you_mean(path, known, "Paths are relative to this file.")
            yield Finding(context.file.path, module.path_at, f"module file not found: {module.path}", fix)
        yield from _body(context, module)
        if called is not None:
            yield from _parameters(context, module, called)
            yield from _scope(context, module, called)
    for entry in context.file.entries:
        if isinstance(entry.declaration, Import):
            yield from _import(context, entry.declaration)
        if isinstance(entry.declaration, Resource | Module):
            yield from _waits(context, entry.declaration)
        for expression in entry.expressions:
            if isinstance(expression, Member):
                yield from _read(context, expression)
    for parameter in context.file.of(Parameter):
        yield from _default(context, parameter)
    for output in context.file.of(Output):
        yield from _kind(context, output.value, output.type.kind, f"output {output.name!r}")


def check_reached(context: Context) -> Iterator[Finding]:
    """A file in modules/ that no file calls is a mistake."""
    path = context.file.path
    unreadable = any(other.endswith(".bicep") and other not in context.project.files for other in context.project.texts)
    if "/modules/" not in path or unreadable:
        return
    called = {
        context.project.beside(file.path, needed.path)
        for file in context.project.files.values()
        for needed in (*file.of(Module), *file.of(Import))
    }
    if path not in called:
        at = context.file.declarations[0].at if context.file.declarations else None
        if at is not None:
            yield Finding(path, at, "no file calls this module", "Call it, or remove it.")


def _import(context: Context, declared: Import) -> Iterator[Finding]:
    path = context.project.beside(context.file.path, declared.path)
    if path not in context.project.texts:
        known = [other for other in context.project.texts if other.endswith(".bicep")]
        words = f"no such file to import from: {declared.path}"
        yield Finding(context.file.path, declared.at, words, did_you_mean(path, known))
        return
    file = context.project.files.get(path)
    if file is None:
        return
    known = [found.name for found in file.declarations if found.decorator("export") is not None]
    if declared.original not in known:
        words = f"{declared.path} exports no {declared.original!r}"
        yield Finding(context.file.path, declared.at, words, did_you_mean(declared.original, known))


def _waits(context: Context, declared: Resource | Module) -> Iterator[Finding]:
    """dependsOn names resources and modules, and only such as are not read anyway."""
    waits = declared.body.get("dependsOn")
    if not isinstance(waits, Array):
        return
    elsewhere = [item.value for item in declared.body.properties if item.value is not waits]
    read = {use.name for value in elsewhere for use in free_names(value)}
    for item in waits.items:
        symbol = context.symbol(item)
        if symbol is None:
            words = "dependsOn takes resources and modules"
            yield Finding(context.file.path, item.at, words, "Name one by its declared name.")
        elif symbol.name in read:
            words = f"dependsOn names {symbol.name!r}, which is read anyway"
            yield Finding(context.file.path, item.at, words, "Remove it: what is read is waited for.")


def _body(context: Context, module: Module) -> Iterator[Finding]:
    for item in module.body.properties:
        if item.key.fixed not in _PROPERTIES:
            words = f"a module has no {item.key.fixed!r}"
            yield Finding(context.file.path, item.at, words, did_you_mean(item.key.fixed or "", _PROPERTIES))
    params = module.body.get("params")
    if params is not None and not isinstance(params, Object):
        yield Finding(context.file.path, params.at, "params must be written out as an object", "Write { ... }.")


def _parameters(context: Context, module: Module, called: File) -> Iterator[Finding]:
    declared: dict[str, Parameter] = {parameter.name: parameter for parameter in called.of(Parameter)}
    params = module.body.get("params")
    given = params.properties if isinstance(params, Object) else ()
    for item in given:
        name = item.key.fixed or ""
        if name not in declared:
            words = f"{module.path} has no param {name!r}"
            yield Finding(context.file.path, item.at, words, did_you_mean(name, declared))
            continue
        yield from fits_parameter(context, item.value, declared[name])
    missing = [
        name for name, found in declared.items() if found.is_required and name not in {i.key.fixed for i in given}
    ]
    for name in missing:
        words = f"{module.path} needs the param {name!r}"
        yield Finding(context.file.path, module.at, words, f"Give {name} in params.")


def fits_parameter(context: Context, value: Expression, parameter: Parameter) -> Iterator[Finding]:
    """Check that a value can be what a parameter takes."""
    what = f"param {parameter.name!r}"
    resolved = context.resolve(value)
    if isinstance(resolved, Ternary):
        for branch in (resolved.then, resolved.otherwise):
            yield from fits_parameter(context, branch, parameter)
        return
    kind = context.kind(value)
    if kind == "null" and not parameter.type.is_nullable:
        yield Finding(
            context.file.path, value.at, f"{what} may not be null", "Give a value, or make its type nullable."
        )
    elif kind not in {"any", "null"}:
        yield from _kind(context, value, parameter.type.kind, what)
    yield from _limits(context, value, resolved, parameter)


def _limits(context: Context, value: Expression, resolved: Expression, parameter: Parameter) -> Iterator[Finding]:
    found = literal(resolved)
    allowed = parameter.allowed
    name, path = parameter.name, context.file.path
    if allowed is not None:
        given = (found,) if found is not None else _allowed_of(context, resolved)
        if given is None and context.kind(value) == "string":
            words = f"param {name!r} allows only {_list(allowed)}; this can be any string"
            yield Finding(path, value.at, words, "Give the param that it comes from the same @allowed.")
        for one in given or ():
            if one not in allowed:
                words = f"param {name!r} does not allow {one!r}"
                yield Finding(path, value.at, words, did_you_mean(str(one), map(str, allowed)))
    size = len(found) if isinstance(found, str) else len(resolved.items) if isinstance(resolved, Array) else None
    for decorator, number, is_wrong in (
        ("minLength", size, lambda n, limit: n < limit),
        ("maxLength", size, lambda n, limit: n > limit),
        ("minValue", found, lambda n, limit: n < limit),
        ("maxValue", found, lambda n, limit: n > limit),
    ):
        limit = _limit(parameter, decorator)
        if limit is not None and isinstance(number, int) and not isinstance(number, bool) and is_wrong(number, limit):
            words = f"param {name!r} has @{decorator}({limit}); this has {number}"
            yield Finding(path, value.at, words, "Change the value or the limit.")


def _limit(parameter: Parameter, decorator: str) -> int | None:
    found = parameter.decorator(decorator)
    value = literal(found.arguments[0]) if found is not None and found.arguments else None
    return value if isinstance(value, int) else None


def _allowed_of(context: Context, expression: Expression) -> tuple[str | int | bool, ...] | None:
    declared = context.file.named(expression.name) if isinstance(expression, Name) else None
    return declared.allowed if isinstance(declared, Parameter) else None


def _list(values: tuple[str | int | bool, ...]) -> str:
    return ", ".join(map(str, values))


def _kind(context: Context, value: Expression, wanted: str, what: str) -> Iterator[Finding]:
    kind = context.kind(value)
    if wanted in {"any", "named"} or kind in {wanted, "any"}:
        return
    yield Finding(
        context.file.path, value.at, f"{what} is of type {wanted}, this is {kind}", f"Give a value of type {wanted}."
    )


def _default(context: Context, parameter: Parameter) -> Iterator[Finding]:
    if parameter.default is None:
        return
    yield from fits_parameter(context, parameter.default, parameter)
    for use in free_names(parameter.default):
        if not isinstance(context.file.named(use.name), Parameter | None):
            words = "a default may read only other params"
            yield Finding(context.file.path, use.at, words, f"{use.name!r} is none; compute the value in a var.")


def _scope(context: Context, module: Module, called: File) -> Iterator[Finding]:
    here, wanted = context.file.target_scope, called.target_scope
    given = module.body.get("scope")
    actual = here if given is None else scope_of(context, given)
    if actual is None or actual == wanted:
        return
    if given is None:
        fix = (
            "Give scope: resourceGroup(...) or a resource group."
            if wanted == "resourceGroup"
            else f"Give scope: {wanted}()."
        )
        words = f"{module.path} has targetScope {wanted}, this file {here}: scope is missing"
        yield Finding(context.file.path, module.at, words, fix)
    else:
        words = f"{module.path} has targetScope {wanted}, this is a {actual}"
        yield Finding(context.file.path, given.at, words, f"Give the scope of a {wanted}.")


def scope_of(context: Context, expression: Expression) -> str | None:
    """Give the kind of scope that an expression names; None if it is not known."""
    expression = bare(expression)
    match expression:
        case Ternary(then=then, otherwise=otherwise):
            kinds = {scope_of(context, then), scope_of(context, otherwise)}
            return kinds.pop() if len(kinds) == 1 else None
        case Call(name=name):
            return _SCOPE_OF_FUNCTION.get(name, "unknown")
    symbol = context.symbol(expression)
    if isinstance(symbol, Resource):
        return "resourceGroup" if symbol.type.startswith("Microsoft.Resources/resourceGroups@") else "resource"
    return "value, no scope"


def _read(context: Context, member: Member) -> Iterator[Finding]:
    match member:
        case Member(of=Member(name="outputs", of=of), name=name):
            module = context.symbol(of)
            called = context.project.module(context.file.path, module) if isinstance(module, Module) else None
            if called is None or context.output(member) is not None:
                return
            outputs = [output.name for output in called.of(Output)]
            words = f"{called.path} has no output {name!r}"
            yield Finding(context.file.path, member.at, words, did_you_mean(name, outputs))
        case Member(of=of, name=name) if name not in {"outputs", "name"}:
            if isinstance(context.symbol(of), Module):
                words = f"a module has outputs and name, not {name!r}"
                yield Finding(context.file.path, member.at, words, f"Read .outputs.{name}.")
