"""Parameters and outputs: what is given for them, and their defaults, fit their type and their decorators."""

from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import Array, Expression, Name, Output, Parameter, Ternary, free_names, literal


def check_parameters(context: Context) -> Iterator[Finding]:
    """Check the defaults of a file's parameters, and its outputs."""
    path = context.file.path
    for parameter in context.file.of(Parameter):
        if parameter.default is None:
            continue
        yield from fits_parameter(context, parameter.default, parameter)
        for use in free_names(parameter.default):
            if not isinstance(context.file.named(use.name), Parameter | None):
                words = "a default may read only other params"
                yield Finding(path, use.at, words, f"{use.name!r} is none; compute the value in a var.")
    for output in context.file.of(Output):
        yield from _kind(context, output.value, output.type.kind, f"output {output.name!r}")
        if context.may_be_null(output.value) and not output.type.is_nullable:
            words = f"output {output.name!r} may not be null"
            yield Finding(path, output.value.at, words, "Give a value: ... ?? <otherwise>.")


def fits_parameter(context: Context, value: Expression, parameter: Parameter) -> Iterator[Finding]:
    """Check that a value can be what a parameter takes."""
    what = f"param {parameter.name!r}"
    resolved = context.resolve(value)
    if isinstance(resolved, Ternary):
        for branch in (resolved.then, resolved.otherwise):
            yield from fits_parameter(context, branch, parameter)
        return
    kind = context.kind(value)
    if context.may_be_null(value) and not parameter.type.is_nullable:
        yield Finding(context.file.path, value.at, f"{what} may not be null", "Give a value: ... ?? <otherwise>.")
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
    words = f"{what} is of type {wanted}, this is {kind}"
    yield Finding(context.file.path, value.at, words, f"Give a value of type {wanted}.")
