"""What a Bicep file would deploy for given parameters, computed here: no Azure, no compiler.

Modules are followed, loops unrolled and conditions decided. What only Azure knows while it deploys, as an identity's
`properties.principalId`, stands as a text in angle brackets. Covers what infra/ uses, and raises on anything else.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from tests.infra.bicep.project import Project, load, read_folder
from tests.infra.bicep.syntax import (
    Array,
    Binary,
    Boolean,
    Call,
    Declaration,
    Expression,
    File,
    For,
    Group,
    Index,
    Lambda,
    Member,
    Module,
    Name,
    Null,
    Number,
    Object,
    Output,
    Parameter,
    Resource,
    Ternary,
    Text,
    Unary,
    Variable,
    free_names,
    roots,
)

HOME = "00000000-0000-0000-0000-00000000000a"
TENANT = "00000000-0000-0000-0000-0000000000ff"
_AZURE = {
    "resourceManager": "https://management.azure.com/",
    "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
}


class Scope(Struct, frozen=True):
    """A subscription, or a resource group in it."""

    subscription: str
    group: str | None = None

    @property
    def id(self) -> str:
        """The resource id."""
        return f"/subscriptions/{self.subscription}" + (f"/resourceGroups/{self.group}" if self.group else "")


_AT_HOME = Scope(HOME)


class Deployed(Struct, frozen=True):
    """One resource that would be there.

    Attributes:
        on: What an extension resource, as a role assignment, stands on.
        by: The symbols of the modules that lead to it, and its own.
    """

    type: str
    id: str
    on: str
    body: Mapping[str, Any]
    by: tuple[str, ...]

    @property
    def properties(self) -> Mapping[str, Any]:
        """What it is like."""
        properties: Mapping[str, Any] = self.body["properties"]
        return properties


class Deployment(Struct):
    """All that one call of `deploy` makes.

    Attributes:
        deployments: Scope and name of each module's own deployment: Azure runs no two of the same at once.
        called: How each of these is called, as `Deployed.by`, and its scope.
        waits: What each resource and module waits for, of its own file: all that it reads or names in `dependsOn`.
    """

    resources: list[Deployed] = field(default_factory=list)
    deployments: list[tuple[str, str]] = field(default_factory=list)
    called: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    waits: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[Deployed]:
        """Give the resources of a type."""
        return [found for found in self.resources if found.type == kind]

    def is_after(self, later: tuple[str, ...], earlier: tuple[str, ...]) -> bool:
        """Tell whether what is made by one way is begun only after what is made by another is there."""
        level = next((at for at, (one, other) in enumerate(zip(later, earlier, strict=False)) if one != other), None)
        return level is not None and earlier[level] in set(self._awaited(later[: level + 1]))

    def _awaited(self, by: tuple[str, ...]) -> Iterator[str]:
        for name in self.waits[by]:
            yield name
            yield from self._awaited((*by[:-1], name))


def deploy(
    root: Path,
    path: str,
    parameters: Mapping[str, str],
    scope: Scope = _AT_HOME,
    texts: Mapping[str, str] | None = None,
) -> Deployment:
    """Give what a file under a folder would deploy; `texts` stand for what the folder holds."""
    project = load(read_folder(root) if texts is None else texts)
    assert not project.findings, project.findings
    made = Deployment()
    file = _File(project, (root / path).as_posix(), scope, parameters, made)
    made.outputs.update(file.outputs())
    return made


class _File:
    """One Bicep file with its parameters: a deployment of its own."""

    def __init__(
        self,
        project: Project,
        path: str,
        scope: Scope,
        parameters: Mapping[str, Any],
        made: Deployment,
        *,
        by: tuple[str, ...] = (),
    ) -> None:
        self.project, self.scope, self.made, self.by = project, scope, made, by
        self.file: File = project.files[path]
        self.values: dict[str, Any] = {}
        for parameter in self.file.of(Parameter):
            self.values[parameter.name] = self._parameter(parameter, parameters)
        for variable in self.file.of(Variable):
            self.values[variable.name] = self.value(variable.value, {})
        for declared in self.file.declarations:
            if isinstance(declared, Resource | Module):
                make = self._resource if isinstance(declared, Resource) else self._module
                self.made.waits[*by, declared.name] = frozenset(self._reads(declared))
                self.values[declared.name] = self._looped(declared, make)

    def outputs(self) -> dict[str, Any]:
        return {output.name: self.value(output.value, {}) for output in self.file.of(Output)}

    def _reads(self, declared: Declaration) -> Iterator[str]:
        """Give the resources and modules that a declaration names, also by way of variables."""
        for use in (use for root in roots(declared) for use in free_names(root)):
            named = self.file.named(use.name)
            if isinstance(named, Resource | Module):
                yield named.name
            elif isinstance(named, Variable):
                yield from self._reads(named)

    def _parameter(self, parameter: Parameter, given: Mapping[str, Any]) -> Any:
        if parameter.name not in given:
            assert parameter.default is not None, f"{self.file.path}: {parameter.name} is not given"
            return self.value(parameter.default, {})
        value = given[parameter.name]
        assert parameter.allowed is None or value in parameter.allowed, f"{parameter.name} must not be {value!r}"
        return value

    def _looped(self, declared: Resource | Module, make: Any) -> Any:
        if declared.condition is not None and not self.value(declared.condition, {}):
            return None
        if declared.loop is None:
            return make(declared, {})
        return [make(declared, local) for local in self._turns(declared.loop, {})]

    def _turns(self, loop: For, local: Mapping[str, Any]) -> list[dict[str, Any]]:
        over = self.value(loop.over, local)
        index = loop.index or "(no index)"
        return [{**local, loop.item: item, index: number} for number, item in enumerate(over)]

    def _resource(self, declared: Resource, local: Mapping[str, Any]) -> dict[str, Any]:
        kind = declared.type.split("@")[0]
        keys = ("parent", "scope")
        body = {
            item.key.fixed or self.value(item.key, local): self.value(item.value, local)
            for item in declared.body.properties
            if item.key.fixed not in keys
        }
        parent, on = (declared.body.get(key) for key in keys)
        if parent is not None:
            base = f"{self.value(parent, local)['id']}/{kind.split('/')[-1]}/{body['name']}"
        elif kind == "Microsoft.Resources/resourceGroups":
            base = f"{self.scope.id}/resourceGroups/{body['name']}"
        else:
            base = f"{self.scope.id if on is None else self.value(on, local)['id']}/providers/{kind}/{body['name']}"
        where = self.scope.id if on is None else self.value(on, local)["id"]
        if not declared.is_existing:
            self.made.resources.append(Deployed(kind, base, where, body, (*self.by, declared.name)))
        group = Scope(self.scope.subscription, body["name"]) if kind == "Microsoft.Resources/resourceGroups" else None
        return {"id": base, "name": body["name"], "(scope)": group, "(symbol)": declared.name}

    def _module(self, declared: Module, local: Mapping[str, Any]) -> dict[str, Any]:
        given = declared.body.get("scope")
        scope = self.scope if given is None else self._scope(self.value(given, local))
        name, given = declared.body.get("name"), declared.body.get("params")
        assert name is not None, f"{declared.name} has no name"
        by = (*self.by, declared.name)
        self.made.deployments.append((scope.id.lower(), self.value(name, local)))
        self.made.called.append((by, scope.id))
        path = self.project.beside(self.file.path, declared.path)
        parameters = {} if given is None else self.value(given, local)
        called = _File(self.project, path, scope, parameters, self.made, by=by)
        assert called.file.target_scope == ("subscription" if scope.group is None else "resourceGroup"), declared.name
        return {"outputs": called.outputs()}

    @staticmethod
    def _scope(value: Any) -> Scope:
        scope = value if isinstance(value, Scope) else value["(scope)"]
        assert isinstance(scope, Scope)
        return scope

    # ------------------------------------------------------------------------------------------ expressions

    def value(self, expression: Expression, local: Mapping[str, Any]) -> Any:  # noqa: C901, PLR0911, PLR0912 - a table
        """Give what an expression comes to; `local` holds what loops and lambdas bind."""
        match expression:
            case Text(parts=parts):
                return "".join(part if isinstance(part, str) else str(self.value(part, local)) for part in parts)
            case Number(value=value) | Boolean(value=value):
                return value
            case Null():
                return None
            case Group(inner=inner):
                return self.value(inner, local)
            case Name(name=name):
                return local[name] if name in local else self.values[name]
            case Member(of=of, name=name):
                return self._member(self.value(of, local), name)
            case Index(of=of, index=index):
                return self.value(of, local)[self.value(index, local)]
            case Array(items=items):
                return [self.value(item, local) for item in items]
            case Object(properties=properties):
                return {self.value(item.key, local): self.value(item.value, local) for item in properties}
            case For(body=body):
                return [self.value(body, turn) for turn in self._turns(expression, local)]
            case Ternary(condition=condition, then=then, otherwise=otherwise):
                return self.value(then if self.value(condition, local) else otherwise, local)
            case Unary(operator="!", operand=operand):
                return not self.value(operand, local)
            case Binary(operator=operator, left=left, right=right):
                return self._binary(operator, left, right, local)
            case Call(name=name, arguments=arguments, on=None):
                return self._call(name, arguments, local)
        raise NotImplementedError(f"{self.file.path}: {expression}")

    @staticmethod
    def _member(of: Any, name: str) -> Any:
        if isinstance(of, str):
            return f"{of[:-1]}.{name}>"
        if isinstance(of, Scope):
            known = {"id": of.id, "subscriptionId": of.subscription, "tenantId": TENANT, "name": of.group}
            return known[name]
        return of[name] if name in of or "(symbol)" not in of else f"<{of['id']}.{name}>"

    def _binary(self, operator: str, left: Expression, right: Expression, local: Mapping[str, Any]) -> Any:
        first = self.value(left, local)
        if operator in {"&&", "||"}:
            return self.value(right, local) if bool(first) == (operator == "&&") else first
        second = self.value(right, local)
        match operator:
            case "==":
                return first == second
            case "!=":
                return first != second
            case ">":
                return first > second
        raise NotImplementedError(operator)

    def _call(self, name: str, arguments: tuple[Expression, ...], local: Mapping[str, Any]) -> Any:
        if name in {"map", "filter"}:
            over, each = self.value(arguments[0], local), arguments[1]
            assert isinstance(each, Lambda)
            given = [(item, self.value(each.body, {**local, each.parameter: item})) for item in over]
            return [came for _, came in given] if name == "map" else [item for item, came in given if came]
        return self._function(name, [self.value(argument, local) for argument in arguments])

    def _function(self, name: str, given: list[Any]) -> Any:  # noqa: PLR0911 - a table
        match name, given:
            case "subscription", []:
                return Scope(self.scope.subscription)
            case "subscription", [subscription]:
                return Scope(subscription)
            case "resourceGroup", []:
                return self.scope
            case "resourceGroup", [subscription, group]:
                return Scope(subscription, group)
            case "environment", []:
                return _AZURE
            case "subscriptionResourceId", [kind, resource]:
                return f"/subscriptions/{self.scope.subscription}/providers/{kind}/{resource}"
            case "guid", _:
                return str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(given)))
            case "uniqueString", _:
                return hashlib.sha256("\n".join(given).encode()).hexdigest()[:13]
            case (("loadJsonContent" | "loadTextContent"), [relative]):
                text = self.project.texts[self.project.beside(self.file.path, relative)]
                return json.loads(text) if name == "loadJsonContent" else text
        return _PLAIN[name](*given)


def _union(*given: Any) -> Any:
    if isinstance(given[0], dict):
        return {key: value for each in given for key, value in each.items()}
    return list(dict.fromkeys(item for each in given for item in each))


_PLAIN: dict[str, Any] = {
    "concat": lambda *given: [item for each in given for item in each],
    "contains": lambda holder, item: item in holder,
    "empty": lambda value: not value,
    "join": lambda items, between: between.join(items),
    "last": lambda items: items[-1],
    "length": len,
    "replace": lambda text, old, new: text.replace(old, new),
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),  # case-insensitive, as Bicep's
    "split": lambda text, between: text.split(between),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")),
    "toLower": lambda text: text.lower(),
    "trim": lambda text: text.strip(),
    "union": _union,
}
