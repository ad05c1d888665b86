"""Parameters and outputs: what is given for them, and their defaults, fit their type and their decorators."""

import operator
from collections.abc import Iterator

from tests.infra.bicep.finding import Finding, did_you_mean
from tests.infra.bicep.project import Context
from tests.infra.bicep.syntax import Array, Expression, Output, Parameter, Ternary, free_names, literal
from tests.infra.bicep.values import Value, misfit


def check_parameters(context: Context) -> Iterator[Finding]:
    """Check the defaults of a file's parameters, and its outputs."""
    path = context.file.path
    for parameter in context.file.of(Parameter):
        if parameter.default is None:
            continue
        yield from fits_parameter(context, parameter.default, parameter, context)
        for use in free_names(parameter.default):
            if not isinstance(context.file.named(use.name), Parameter | None):
                words = "a default may read only other params"
                yield Finding(path, use.at, words, f"{use.name!r} is none; compute the value in a var.")
    for output in context.file.of(Output):
        yield from _fits(context, output.value, context.of_type(output.type), f"output {output.name!r}")
        if context.may_be_null(output.value) and not output.type.is_nullable:
            words = f"output {output.name!r} may not be null"
            yield Finding(path, output.value.at, words, "Give a value: ... ?? <otherwise>.")


def fits_parameter(context: Context, value: Expression, parameter: Parameter, home: Context) -> Iterator[Finding]:
    """Check that a value can be what a parameter takes, which is declared in the file of `home`."""
    what = f"param {parameter.name!r}"
    resolved = context.resolve(value)
    if isinstance(resolved, Ternary):
        for branch in (resolved.then, resolved.otherwise):
            yield from fits_parameter(context, branch, parameter, home)
        return
    if context.may_be_null(value) and not parameter.type.is_nullable:
        yield Finding(context.file.path, value.at, f"{what} may not be null", "Give a value: ... ?? <otherwise>.")
    else:
        yield from _fits(context, value, home.of_type(parameter.type), what)
    yield from _limits(context, value, resolved, parameter)


def _limits(context: Context, value: Expression, resolved: Expression, parameter: Parameter) -> Iterator[Finding]:
    found = context.value(value)
    words_of = sorted(found.words or (), key=str)
    allowed = parameter.allowed
    name, path = parameter.name, context.file.path
    if allowed is not None:
        if found.words is None and found.kind == "string":
            words = f"param {name!r} allows only {_list(allowed)}; this can be any string"
            yield Finding(path, value.at, words, "Give the param that it comes from the same @allowed.")
        for one in words_of:
            if one not in allowed:
                words = f"param {name!r} does not allow {one!r}"
                yield Finding(path, value.at, words, did_you_mean(str(one), map(str, allowed)))
    sizes = (
        [len(resolved.items)] if isinstance(resolved, Array) else [len(one) for one in words_of if isinstance(one, str)]
    )
    numbers = [one for one in words_of if isinstance(one, int) and not isinstance(one, bool)]
    for decorator, measured, is_wrong in (
        ("minLength", sizes, operator.lt),
        ("maxLength", sizes, operator.gt),
        ("minValue", numbers, operator.lt),
        ("maxValue", numbers, operator.gt),
    ):
        limit = _limit(parameter, decorator)
        for number in measured:
            if limit is not None and is_wrong(number, limit):
                words = f"param {name!r} has @{decorator}({limit}); this has {number}"
                yield Finding(path, value.at, words, "Change the value or the limit.")


def _limit(parameter: Parameter, decorator: str) -> int | None:
    found = parameter.decorator(decorator)
    value = literal(found.arguments[0]) if found is not None and found.arguments else None
    return value if isinstance(value, int) else None


def _list(values: tuple[str | int | bool, ...]) -> str:
    return ", ".join(map(str, values))


def _fits(context: Context, value: Expression, wanted: Value, what: str) -> Iterator[Finding]:
    words = misfit(context.value(value), wanted, what)
    if words is not None:
        yield Finding(context.file.path, value.at, words, f"Give a value of type {wanted.named}.")
