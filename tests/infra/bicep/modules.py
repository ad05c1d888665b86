"""Modules: the file is there, gets what it asks for, at a scope it can be deployed to, and gives what is read."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.parameters import fits_parameter
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Array,
    Call,
    Expression,
    File,
    Import,
    Member,
    Module,
    Object,
    Output,
    Parameter,
    Resource,
    bare,
    free_names,
)

_PROPERTIES = frozenset({"name", "scope", "params", "dependsOn"})
_SCOPES = frozenset({"resourceGroup", "subscription", "managementGroup", "tenant"})


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


def check_reached(context: Context) -> Iterator[Finding]:
    """A file in modules/ that no file calls is a mistake, and so is an output of it that no file reads."""
    path, project = context.file.path, context.project
    unreadable = any(other.endswith(".bicep") and other not in project.files for other in project.texts)
    if "/modules/" not in path or unreadable or not context.file.declarations:
        return
    callers = [Context(project, file) for file in project.files.values()]
    if not any(path in _needed(caller) for caller in callers):
        yield Finding(path, context.file.declarations[0].at, "no file calls this module", "Call it, or remove it.")
        return
    read = {name for caller in callers for needed, name in _outputs_read(caller) if needed == path}
    for output in context.file.of(Output):
        if output.name not in read:
            yield Finding(path, output.at, f"output {output.name!r} is never read", "Read it, or remove it.")


def _needed(context: Context) -> set[str]:
    needed = (*context.file.of(Module), *context.file.of(Import))
    return {context.project.beside(context.file.path, found.path) for found in needed}


def _outputs_read(context: Context) -> Iterator[tuple[str, str]]:
    for entry in context.file.entries:
        for expression in entry.expressions:
            match expression:
                case Member(name=name, of=Member(name="outputs", of=of)):
                    module = context.symbol(of)
                    if isinstance(module, Module):
                        yield context.project.beside(context.file.path, module.path), name


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


def _scope(context: Context, module: Module, called: File) -> Iterator[Finding]:
    here, wanted = context.file.target_scope, called.target_scope
    given = module.body.get("scope")
    actual = here if given is None else _kind_of_scope(context, given)
    if actual == wanted:
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


def _kind_of_scope(context: Context, expression: Expression) -> str:
    match bare(expression):
        case Call(name=name):
            return name if name in _SCOPES else "value, no scope"
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
