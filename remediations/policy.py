"""policy.yaml -> frozen `Policy`, and its JSON Schema.

The order of modes is off < dry-run < ask < auto. For one action on one resource each field comes from the first
rule that matches and sets it, else from the action's own settings; ``MEDIC_MODE`` is a ceiling over it all. Nothing is
permitted that is not written: an action without settings is off.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from remediations import codec
from remediations.errors import PolicyError
from remediations.model import Json, Mode, Person, ResourceId, tags_match

type Count = Annotated[int, Meta(ge=0, le=1000)]
type ObjectId = Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
type Quorum = Annotated[int, Meta(ge=1, le=5)]
type Wait = Annotated[timedelta, Meta(description="ISO 8601 duration, such as PT30S, PT10M or P1D")]


class Scope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which resources are meant: shell-style globs, compared without case; all must match."""

    subscription: str = "*"
    resource_group: str = "*"
    workspace: str = "*"
    endpoint: str = "*"
    tags: dict[str, str] = {}

    def covers(self, resource: ResourceId, tags: dict[str, str]) -> bool:
        """Tell whether a resource with these tags is meant."""
        pairs = (
            (resource.subscription, self.subscription),
            (resource.resource_group, self.resource_group),
            (resource.workspace, self.workspace),
            (resource.endpoint, self.endpoint),
        )
        return all(fnmatchcase(name.lower(), glob.lower()) for name, glob in pairs) and tags_match(tags, self.tags)

    def __str__(self) -> str:
        parts = {name: getattr(self, name) for name in ("subscription", "resource_group", "workspace", "endpoint")}
        named = [f"{name} {glob}" for name, glob in parts.items() if glob != "*"]
        return ", ".join([*named, *(f"tag {name}={value}" for name, value in self.tags.items())]) or "everything"


class Approvers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may approve: whoever holds the app role, is named, or is in one of the groups.

    Attributes:
        role: App role of the function app's sign-in; empty: nobody by role.
        users: Object ids in Entra ID.
        groups: Object ids of groups. The tokens of who is in more than 200 leave them out: prefer the role.
    """

    role: str = "Medic.Approver"
    users: tuple[ObjectId, ...] = ()
    groups: tuple[ObjectId, ...] = ()

    def include(self, person: Person) -> bool:
        """Tell whether a person may approve by these."""
        ids = {one.lower() for one in self.users}
        groups = {one.lower() for one in self.groups}
        by_role = bool(self.role) and self.role in person.roles
        return by_role or person.oid.lower() in ids or not groups.isdisjoint(one.lower() for one in person.groups)


class ActionPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one action may do.

    Attributes:
        attempts: Repairs of one resource for one cause inside `within`.
        cooldown: Time between two repairs of one resource by this action.
        budget_per_hour: Repairs (plans) by this action in one subscription and hour.
        backoff: Wait before the first repair; doubles with each further one up to `backoff_most`.
        ceiling: Time from the failure after which nothing is tried any more.
        breaker_failures: So many repairs that did not help inside `breaker_within` turn auto into ask.
        quorum: How many people have to approve; None: two for what destroys something, else one.
    """

    mode: Mode = Mode.OFF
    attempts: Count = 3
    within: Wait = timedelta(hours=6)
    cooldown: Wait = timedelta(0)
    budget_per_hour: Count = 20
    backoff: Wait = timedelta(seconds=30)
    backoff_most: Wait = timedelta(minutes=10)
    ceiling: Wait = timedelta(hours=2)
    breaker_failures: Count = 5
    breaker_within: Wait = timedelta(hours=6)
    approvers: Approvers = Approvers()
    quorum: Quorum | None = None


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other settings for some resources. What it leaves out is left to later rules and to the action's own settings.

    Attributes:
        actions: The actions it is about; ``*`` is all of them.
    """

    scope: Scope = Scope()
    actions: tuple[str, ...] = ("*",)
    mode: Mode | None = None
    attempts: Count | None = None
    within: Wait | None = None
    cooldown: Wait | None = None
    budget_per_hour: Count | None = None
    backoff: Wait | None = None
    backoff_most: Wait | None = None
    ceiling: Wait | None = None
    breaker_failures: Count | None = None
    breaker_within: Wait | None = None
    approvers: Approvers | None = None
    quorum: Quorum | None = None


class Pause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until a time nothing is done in a scope. Also what ``medic pause`` writes to the trail."""

    until: datetime
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    scope: Scope = Scope()


class Freeze(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between two times nothing is done in a scope."""

    start: datetime
    end: datetime
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    scope: Scope = Scope()


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A maintenance window, in UTC. A scope that has any is acted on only inside them.

    Attributes:
        days: 1 is Monday, 7 Sunday: the day on which the window starts.
        end: Not after `start` means the next day.
    """

    start: time
    end: time
    days: tuple[Annotated[int, Meta(ge=1, le=7)], ...] = (1, 2, 3, 4, 5, 6, 7)
    scope: Scope = Scope()

    def is_open(self, now: datetime) -> bool:
        """Tell whether `now` (aware UTC) lies inside."""
        clock, overnight = now.time(), self.end <= self.start
        if not overnight:
            return now.isoweekday() in self.days and self.start <= clock < self.end
        yesterday = (now - timedelta(days=1)).isoweekday()
        return (now.isoweekday() in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)


class DesiredSpecs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where CI keeps the bodies that it deploys.

    Attributes:
        containers: URLs of containers; a spec is fetched only from below one of them.
        trusted: Containers whose specs may be deployed without a person.
    """

    containers: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()


class Grants(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom ``grant-roles`` may give a role.

    Attributes:
        identities: Resource IDs of the user-assigned identities that may be granted without a person. Who may create
            endpoints could otherwise gain read of a whole storage account.
        repository_reader: Grant Container Registry Repository Reader on a registry in ABAC mode, which ignores AcrPull.
    """

    identities: tuple[str, ...] = ()
    repository_reader: bool = False

    def lists(self, identity: str) -> bool:
        """Tell whether an identity may be granted without a person."""
        return identity.lower() in {listed.lower() for listed in self.identities}


class Idle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deployments ``delete-idle`` may delete.

    Attributes:
        window: How long nothing may have reached or changed a deployment. Metrics are kept for 93 days; one question
            covers 30.
        tag: A deployment is opted in by this tag, on itself or on its endpoint,
        scopes: or by lying in one of these scopes.
        most: Deletions in one plan.
    """

    window: Wait = timedelta(days=30)
    tag: dict[str, str] = msgspec.field(default_factory=lambda: {"medic-delete": "allow"})
    scopes: tuple[Scope, ...] = ()
    most: Annotated[int, Meta(ge=1, le=3)] = 3


class Storms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"first": "from"}):
    """When failures of one workspace are judged together instead of one by one.

    Attributes:
        first: So many failures inside `within` go their own way, and those after them are judged together; 0: all do.
        within: The time that is counted; after a window with a storm, the next begins as one.
        calm: They are judged once no further one has come for so long.
    """

    first: Count = 5
    within: Wait = timedelta(minutes=10)
    calm: Wait = timedelta(seconds=30)


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What may be done where, and by whom.

    Attributes:
        subscriptions: Subscriptions that are watched; none means every one whose events arrive.
        protected: Tags that keep a resource from every action: name -> value.
        approval_window: How long a question to a person stays open.
    """

    actions: dict[str, ActionPolicy]
    rules: tuple[Rule, ...] = ()
    subscriptions: tuple[str, ...] = ()
    protected: dict[str, str] = msgspec.field(default_factory=lambda: {"medic": "off"})
    pauses: tuple[Pause, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    windows: tuple[Window, ...] = ()
    desired_specs: DesiredSpecs = DesiredSpecs()
    grants: Grants = Grants()
    idle: Idle = Idle()
    storm: Storms = Storms()
    approval_window: Wait = timedelta(hours=4)

    @cached_property
    def version(self) -> str:
        """Twelve hex digits of the policy's digest: equal for equal policies, on every record."""
        return codec.digest_of(self)[:12]

    def permission(self, action: str, resource: ResourceId, tags: dict[str, str]) -> ActionPolicy:
        """Give what holds for one action on one resource: each field from the first rule that matches and sets it.

        A rule hides nothing of the next but what it says itself: one that only limits attempts leaves a later
        ``mode: ask`` in force.
        """
        permission = self.actions.get(action, ActionPolicy())
        for rule in reversed(self.rules):
            if ("*" in rule.actions or action in rule.actions) and rule.scope.covers(resource, tags):
                fields = {name: getattr(rule, name) for name in ActionPolicy.__struct_fields__}
                written = {name: value for name, value in fields.items() if value is not None}
                permission = msgspec.structs.replace(permission, **written)
        return permission

    @property
    def longest_ceiling(self) -> timedelta:
        """The time from any failure after which no action does anything any more."""
        ceilings = [action.ceiling for action in self.actions.values()]
        ceilings += [rule.ceiling for rule in self.rules if rule.ceiling is not None]
        return max(ceilings, default=ActionPolicy().ceiling)

    def all_approvers(self) -> Iterator[Approvers]:
        """Give who may approve anything, anywhere."""
        yield from (action.approvers for action in self.actions.values())
        yield from (rule.approvers for rule in self.rules if rule.approvers is not None)

    def trusts_spec(self, url: str) -> bool:
        """Tell whether a desired spec from there may be deployed without a person."""
        return self.lists_spec(url) and _below(url, self.desired_specs.trusted)

    def lists_spec(self, url: str) -> bool:
        """Tell whether a desired spec may be fetched from there at all."""
        return _below(url, self.desired_specs.containers)


_LONGEST_WAIT = timedelta(days=30)
_SHORTEST_IDLE = timedelta(days=7)
_SHORTEST_STORM, _LONGEST_STORM, _LONGEST_CALM = timedelta(minutes=1), timedelta(days=1), timedelta(minutes=5)
_CONTAINER = re.compile(r"https://[^/?#@]+/[^/?#]+/?|http://127\.0\.0\.1:\d+/[^?#]+")


# What PyYAML lets through of a value that is none: a month 13, a number of 5,000 digits, `!!timestamp soon`.
_IN_A_VALUE = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


@cache
def _yaml_1_2_loader() -> Any:
    """Give a safe loader in which ``off`` is a word, as in YAML 1.2; by PyYAML's 1.1 it is false, and no mode."""
    import yaml  # noqa: PLC0415

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - as its base has it
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            """Say where a value stands that is none: PyYAML's own errors say it, Python's do not."""
            try:
                return super().construct_object(node, deep)
            except _IN_A_VALUE as error:
                raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """Refuse a name that stands twice: the last would hold, and the first be overlooked."""
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else ("", "")
                if name in seen and name != ("", ""):
                    words = f"{key.value[:100]!r} stands there twice"
                    raise yaml.constructor.ConstructorError("in a mapping", node.start_mark, words, key.start_mark)
                seen.add(name)
            return super().construct_mapping(node, deep)

        def construct_scalar(self, node: Any) -> Any:
            """Refuse half of a surrogate pair: a policy that holds one could be loaded, and never be kept."""
            value = super().construct_scalar(node)
            if isinstance(value, str) and re.search(r"[\ud800-\udfff]", value):
                words = f"{value[:100]!r} is no Unicode"
                raise yaml.constructor.ConstructorError("in a text", node.start_mark, words, node.start_mark)
            return value

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false"), list("tf"))
    return Loader


_AT = re.compile(r"^(?P<words>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def parse(content: bytes, file: str = "policy.yaml") -> Policy:
    """Give the policy in some YAML.

    Raises:
        PolicyError: naming file, path, value and what to write instead.
    """
    plain = read_yaml(content, file)
    try:
        policy = codec.load(Policy, plain, strict=False)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        words, path = (match["words"], match["path"] or "$") if match else (str(error), "$")
        path = _named(plain, path)
        raise PolicyError(file, path, _at(plain, path), _fix(words, path)) from error
    _check(policy, file)
    return policy


def read_yaml(content: bytes, file: str = "policy.yaml") -> Json:
    """Give the plain data of some YAML, read as a policy is; raises PolicyError if it is no YAML."""
    import yaml  # noqa: PLC0415 - 9 ms that the functions' cold start does not need

    try:
        plain: Json = yaml.load(content, Loader=_yaml_1_2_loader())  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, *_IN_A_VALUE, RecursionError) as error:
        words = str(error).replace("\n", " ")[:300]
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            mark = error.problem_mark
            words = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
        raise PolicyError(file, "$", words, "Write valid YAML.") from error
    return plain


def load(path: Path, fix: str = "Name a readable file in MEDIC_POLICY.") -> Policy:
    """Give the policy in a file; raises PolicyError, also if the file cannot be read.

    Args:
        fix: What to do if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(str(path), "$", error.strerror, fix) from error
    return parse(content, str(path))


def refuse_unknown_actions(policy: Policy, known: Collection[str], file: str) -> None:
    """Raise PolicyError if a rule or a setting names an action that there is not: it would hold nothing back."""
    named = [(f"$.actions.{name}", name) for name in policy.actions]
    for number, rule in enumerate(policy.rules):
        named += [(f"$.rules[{number}].actions", name) for name in rule.actions if name != "*"]
    for path, name in named:
        if name not in known:
            raise PolicyError(file, path, name, f"There is no such action. Use one of {', '.join(sorted(known))}.")


def schema() -> dict[str, object]:
    """Give the JSON Schema of policy.yaml (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Endpoint Medic policy",
        **msgspec.json.schema(Policy),
    }


type _Mistake = tuple[str, object, str]


def _check(policy: Policy, file: str) -> None:
    """Refuse what is well formed and cannot be meant."""
    mistakes = (*_wrong_places(policy), *_wrong_times(policy), *_wrong_waits(policy), *_wrong_people(policy))
    for path, value, fix in mistakes:
        raise PolicyError(file, path, value, fix)


def _wrong_places(policy: Policy) -> Iterator[_Mistake]:
    specs = policy.desired_specs
    for name, containers in (("containers", specs.containers), ("trusted", specs.trusted)):
        for number, container in enumerate(containers):
            if not _CONTAINER.fullmatch(container):
                fix = "Name a container: https://<account>.blob.core.windows.net/<container>."
                yield f"$.desired_specs.{name}[{number}]", container, fix


def _wrong_times(policy: Policy) -> Iterator[_Mistake]:
    moments = [(f"$.pauses[{number}].until", pause.until) for number, pause in enumerate(policy.pauses)]
    for number, freeze in enumerate(policy.freezes):
        start, end = freeze.start, freeze.end
        moments += [(f"$.freezes[{number}].start", start), (f"$.freezes[{number}].end", end)]
        if start.tzinfo and end.tzinfo and end <= start:
            yield f"$.freezes[{number}].end", end.isoformat(), "Write a time after its start."
    for path, moment in moments:
        if moment.tzinfo is None:
            yield path, moment.isoformat(), "Write the time zone: end it with Z."
    for number, window in enumerate(policy.windows):
        for name, clock in (("start", window.start), ("end", window.end)):
            if clock.tzinfo is not None:
                yield f"$.windows[{number}].{name}", clock.isoformat(), "Write it without a time zone: it is in UTC."


def _wrong_waits(policy: Policy) -> Iterator[_Mistake]:
    actions = [(f"$.actions.{name}", action) for name, action in policy.actions.items()]
    rules = [(f"$.rules[{number}]", rule) for number, rule in enumerate(policy.rules)]
    for path, holder in (*actions, *rules):
        for name in holder.__struct_fields__:
            if isinstance(wait := getattr(holder, name), timedelta) and not timedelta(0) <= wait <= _LONGEST_WAIT:
                yield f"{path}.{name}", str(wait), "Write a duration from PT0S to P30D."
    if not _SHORTEST_IDLE <= policy.idle.window <= _LONGEST_WAIT:
        yield "$.idle.window", str(policy.idle.window), "Write a duration from P7D to P30D."
    if not _SHORTEST_STORM <= policy.storm.within <= _LONGEST_STORM:
        yield "$.storm.within", str(policy.storm.within), "Write a duration from PT1M to P1D."
    if not timedelta(seconds=1) <= policy.storm.calm <= _LONGEST_CALM:
        yield "$.storm.calm", str(policy.storm.calm), "Write a duration from PT1S to PT5M."
    if not timedelta(0) < policy.approval_window <= _LONGEST_WAIT:
        yield "$.approval_window", str(policy.approval_window), "Write a duration up to P30D."


def _wrong_people(policy: Policy) -> Iterator[_Mistake]:
    actions = [(f"$.actions.{name}", action.approvers, action.quorum) for name, action in policy.actions.items()]
    rules = [(f"$.rules[{number}]", rule.approvers, rule.quorum) for number, rule in enumerate(policy.rules)]
    for path, approvers, quorum in (*actions, *rules):
        if approvers is None or approvers.role or approvers.groups:
            continue
        listed = len({one.lower() for one in approvers.users})
        if listed < (quorum or 1):
            fix = f"Name a role, a group or more users: {listed} could approve, and {quorum or 1} would be needed."
            yield f"{path}.approvers", codec.dump(approvers), fix


_EXAMPLES = (
    ("enum value", f"Use one of {', '.join(Mode)}."),
    ("`time`", 'Write it in quotes, with seconds: "22:00:00".'),
    ("duration", "Write an ISO 8601 duration, such as PT30S, PT10M or P1D."),
    ("regex", "Write an object id, as `az ad user show` and `az ad group show` give it under id."),
    ("datetime", "Write a time with its zone, such as 2026-12-01T00:00:00Z."),
)
_WORDS = {"int": "a whole number", "str": "a text", "array": "a list", "object": "a mapping"}


def _fix(words: str, path: str) -> str:
    """Give what to write instead, from msgspec's words about what is wrong."""
    if path == "$" and (words.startswith("Expected `object`") or "required field" in words):
        return "Write a mapping with actions: `actions: {retry: {mode: ask}}`."
    for part, fix in _EXAMPLES:
        if part in words:
            return fix
    if match := re.search(r"missing required field `(.*)`", words):
        return f"Add the field `{match[1]}`."
    if match := re.search(r"unknown field `(.*)`", words):
        near = difflib.get_close_matches(match[1], _field_names(), n=1, cutoff=0.8)
        there_is_none = f"Remove `{match[1]}`: there is no such field."
        return f"Write `{near[0]}` in place of `{match[1]}`." if near else there_is_none
    if match := re.match(r"Expected `(\w+)(?: \| null)?`(.*?)(?:, got .*)?$", words, re.DOTALL):
        return f"Write {_WORDS.get(match[1], match[1])}{match[2]}."
    return f"{words}."


def _field_names() -> list[str]:
    structs = (Policy, ActionPolicy, Approvers, Rule, Scope, Pause, Freeze, Window, DesiredSpecs, Grants, Idle, Storms)
    return [name for struct in structs for name in struct.__struct_encode_fields__]


def _below(url: str, containers: tuple[str, ...]) -> bool:
    """Tell whether `url` names something inside one of the containers: no user, query, fragment or dot segment."""
    if re.search(r"[?#@\\%]|/\.{1,2}(/|$)|[\x00-\x20]", url):
        return False
    return any(url.startswith(container.rstrip("/") + "/") for container in containers)


def _named(plain: Json, path: str) -> str:
    """Give the path with the name that msgspec leaves out: ``$.actions[...].mode`` is ``$.actions.retry.mode``."""
    head, mark, rest = path.partition("[...]")
    holder = _at(plain, head)
    if not mark or not isinstance(holder, dict):
        return path
    items = dict(holder)
    for name, value in items.items():
        holder.clear()
        holder[name] = value
        try:
            codec.load(Policy, plain, strict=False)
        except msgspec.ValidationError:
            path = f"{head}.{name}{rest}"
            break
    holder.clear()
    holder.update(items)
    return path


def _at(plain: Json, path: str) -> Json:
    """Give what stands at a path such as ``$.rules[0].mode``, for an error's words."""
    found: Json = plain
    for name, index in re.findall(r"\.([A-Za-z_][\w-]*)|\[(\d+|\.\.\.)\]", path):
        if name and isinstance(found, dict):
            found = found.get(name)
        elif index.isdigit() and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
    return found
