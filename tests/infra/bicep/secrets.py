"""Secrets stay where they are: none in an output, none in a plain parameter, none as a default."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import (
    Call,
    Expression,
    Member,
    Module,
    Name,
    Object,
    Output,
    Parameter,
    Variable,
    literal,
    parts,
)


def check_secrets(context: Context) -> Iterator[Finding]:
    """Check where secrets go."""
    path = context.file.path
    for output in context.file.of(Output):
        found = secret(context, output.value)
        if found is not None:
            words = f"output {output.name!r} would show a secret: {found}"
            yield Finding(path, output.value.at, words, "Outputs are kept in the deployment's history: leave it out.")
    for parameter in context.file.of(Parameter):
        if parameter.is_secure and parameter.default is not None and literal(parameter.default) != "":
            words = f"param {parameter.name!r} is a secret with a default"
            yield Finding(path, parameter.at, words, "Remove the default.")
    for module in context.file.of(Module):
        called = context.project.module(path, module)
        params = module.body.get("params")
        if called is None or not isinstance(params, Object):
            continue
        plain = {found.name for found in called.of(Parameter) if not found.is_secure}
        for item in params.properties:
            found = secret(context, item.value)
            if item.key.fixed in plain and found is not None:
                words = f"param {item.key.fixed!r} would show a secret: {found}"
                yield Finding(path, item.at, words, "Put @secure() on the param.")


def secret(context: Context, expression: Expression) -> str | None:
    """Give what is secret in an expression, through variables; None if nothing is."""
    match expression:
        case Call(name=name) if (name.startswith("list") and name[4:5].isupper()) or name == "getSecret":
            return f"{name}()"
        case Name(name=name):
            declared = context.file.named(name)
            if isinstance(declared, Parameter) and declared.is_secure:
                return f"@secure param {name}"
            if isinstance(declared, Variable):
                return secret(context, declared.value)
            return None
        case Member():
            output = context.output(expression)
            if output is not None and output.decorator("secure") is not None:
                return f"@secure output {output.name}"
    return next((found for part in parts(expression) if (found := secret(context, part)) is not None), None)
