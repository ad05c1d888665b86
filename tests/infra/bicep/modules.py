"""Modules: the file is there, gets what it asks for, at a scope it can be deployed to, and gives what is read."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.parameters import fits_parameter
from tests.infra.bicep.project import Context, Project
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
    Text,
    bare,
    form,
    free_names,
    literal,
)

_PROPERTIES = frozenset({"name", "scope", "params", "dependsOn"})
# Of the name of a deployment.
_LONGEST = 64
SCOPES = frozenset({"resourceGroup", "subscription", "managementGroup", "tenant"})


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
        yield from _name(context, module)
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


def check_reached(project: Project) -> Iterator[Finding]:
    """A file in modules/ that no file calls is a mistake, and so is an output of it that no file reads."""
    if any(path.endswith(".bicep") and path not in project.files for path in project.texts):
        return
    callers = [Context(project, file) for file in project.files.values()]
    needed = {path for caller in callers for path in _needed(caller)}
    read = {found for caller in callers for found in _outputs_read(caller)}
    for path, file in project.files.items():
        if "/modules/" not in path or not file.declarations:
            continue
        if path not in needed:
            yield Finding(path, file.declarations[0].at, "no file calls this module", "Call it, or remove it.")
            continue
        for output in file.of(Output):
            if (path, output.name) not in read:
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


def _name(context: Context, module: Module) -> Iterator[Finding]:
    """A module is deployed as a deployment, whose name is short, and by itself in its scope (BCP122)."""
    name = module.body.get("name")
    if name is None:
        return
    least = _least(context, name)
    if least > _LONGEST:
        words = f"the name of a module has at most {_LONGEST} characters, this has {least} or more"
        yield Finding(context.file.path, name.at, words, "Make it shorter.")
    fixed = literal(context.resolve(name))
    scope = module.body.get("scope")
    for other in context.file.of(Module):
        if other is module:
            return
        theirs = other.body.get("name")
        is_same = theirs is not None and literal(context.resolve(theirs)) == fixed is not None
        sometimes = module.condition is not None or other.condition is not None
        if is_same and not sometimes and form(scope) == form(other.body.get("scope")):
            words = f"module {other.name!r} has the name {fixed!r} already, in the same scope"
            yield Finding(context.file.path, name.at, words, "Give each module a name of its own.")


def _least(context: Context, expression: Expression) -> int:
    """Give how many characters a string has at least."""
    match context.resolve(expression):
        case Text(parts=pieces):
            return sum(len(piece) if isinstance(piece, str) else _least(context, piece) for piece in pieces)
        case Call(name="uniqueString"):
            return 13
        case Call(name="guid"):
            return 36
        case Call(name="toLower" | "toUpper", arguments=(inner,)):
            return _least(context, inner)
    return min((len(str(word)) for word in context.value(expression).words or ()), default=0)


def _parameters(context: Context, module: Module, called: File) -> Iterator[Finding]:
    home = Context(context.project, called)
    declared: dict[str, Parameter] = {parameter.name: parameter for parameter in called.of(Parameter)}
    params = module.body.get("params")
    given = params.properties if isinstance(params, Object) else ()
    for item in given:
        name = item.key.fixed or ""
        if name not in declared:
            words = f"{module.path} has no param {name!r}"
            yield Finding(context.file.path, item.at, words, did_you_mean(name, declared))
            continue
        yield from fits_parameter(context, item.value, declared[name], home)
    missing = [
        name for name, found in declared.items() if found.is_required and name not in {i.key.fixed for i in given}
    ]
    for name in missing:
        words = f"{module.path} needs the param {name!r}"
        yield Finding(context.file.path, module.at, words, f"Give {name} in params.")


def _scope(context: Context, module: Module, called: File) -> Iterator[Finding]:
    here, wanted = context.file.target_scope, called.target_scope
    given = module.body.get("scope")
    actual = here if given is None else scope_of(context, given)
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


def scope_of(context: Context, expression: Expression) -> str:
    """Give the kind of scope that an expression is."""
    match bare(expression):
        case Call(name=name):
            return name if name in SCOPES else "value, no scope"
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
