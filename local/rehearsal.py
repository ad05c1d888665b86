"""Rehearse scenarios: a world that breaks, the real function app, and what must come out.

A scenario is a YAML file (`Scenario` says what it may hold, ``medic rehearse --schema`` prints its JSON Schema). It is
judged by two witnesses that know nothing of each other: the simulator's own ledger of writes, and the trail.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

import httpx
import msgspec
import yaml
from msgspec import Struct

from local import answering
from local.arm.models import Entry, World
from local.arm.resources import parse_id
from local.arm.server import Server
from local.host import Host
from remediations import policy, services
from remediations.adapters.folder import FolderStore
from remediations.errors import MedicError
from remediations.model import Disposition, End, Incident, ResourceId
from remediations.trail import Intake, Question, Trail

SCENARIOS = Path(__file__).parent / "scenarios"
SHIPPED_POLICY = Path(__file__).parent.parent / "policy.yaml"
TIME_SCALE = 100.0
SEND_SECONDS = 1.0
EVENT_GRID = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"
ALERTS = "/api/events"
PATIENCE_S = 30.0
_QUIET_S = 0.25
_LOOK_S = 0.05


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="send"):
    """Send an event, as CI does over HTTP or as Event Grid does; ``{subscription}`` and ``{blobs}`` are filled in."""

    event: dict[str, Any]
    over: Literal["http", "event-grid"] = "http"
    times: int = 1


class Sweep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="sweep"):
    """Run the sweep now."""


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="answer"):
    """Answer the open question, over its signed link, as so many people one after the other.

    Attributes:
        people: How many; left out: as many as have to.
    """

    decision: Literal["approve", "reject"]
    people: int | None = None


class Undo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="undo"):
    """Wait until an incident has ended, then ask for the undo of one of its calls, as somebody who answers nothing.

    Attributes:
        of: ``endpoint/deployment`` of the incident, as under ``ends``.
        call: Which of its calls, counted from 1.
    """

    of: str
    call: int = 1


class KillWorker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="kill-worker"):
    """Kill the worker process; the host starts another."""


class WaitFor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="wait"):
    """Wait until a question is open, or until so many events were handled."""

    question: bool = False
    events: int = 0


type Step = Send | Sweep | Answer | Undo | KillWorker | WaitFor


class Effect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """One write by us that took effect."""

    action: str
    call: str


class Expected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must come out.

    Attributes:
        ends: ``endpoint/deployment`` -> how its incident ended; each incident there must end, and none elsewhere.
            A storm is named ``storm 12 deployments in <workspace>``.
            ``score endpoint/deployment`` is the incident of requests that it fails to answer; ``undo …`` is an undo.
        effects: The writes by us that took effect, in order.
        dispositions: How many deliveries ended how; a number left out is zero, ``null`` leaves it open.
        states: ``endpoint/deployment`` -> provisioning state in the world at the end, or ``gone``.
        says: Sentences (parts) that the trail must hold.
        questions: How many questions are left open.
        cause: The cause that was diagnosed last.
    """

    ends: dict[str, End] = {}
    effects: tuple[Effect, ...] = ()
    dispositions: dict[Disposition, int | None] = {}
    states: dict[str, str] = {}
    says: tuple[str, ...] = ()
    questions: int = 0
    cause: str | None = None

    def shown(self) -> dict[str, Any]:
        """Give what is asked for, for a report: fields that ask for nothing are left out."""
        always = {"ends", "effects"}
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in plain.items() if name in always or value}


class Actual(Struct, frozen=True, kw_only=True):
    """What came out: by the ledger and the resources of the world, and by the trail."""

    ends: dict[str, End]
    effects: tuple[Effect, ...]
    dispositions: dict[Disposition, int]
    states: dict[str, str]
    questions: int
    cause: str | None
    trail: str

    def shown(self, expect: Expected) -> dict[str, Any]:
        """Give what answers an expectation, for a report."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain["says"] = [part for part in expect.says if part in self.trail]
        return {name: plain[name] for name in expect.shown()}


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One story.

    Attributes:
        mode: ``MEDIC_MODE`` of the app.
        policy: Laid over the shipped policy, key by key.
        world: The simulator's world file; its subscription is replaced by one of the scenario's own.
        steps: What is done from outside, one after the other.
    """

    name: str
    story: str
    mode: Literal["auto", "dry-run"] = "auto"
    policy: dict[str, Any] = {}
    world: dict[str, Any]
    steps: tuple[Step, ...] = ()
    expect: Expected


class Calls(Struct, frozen=True, kw_only=True):
    """How often we called Azure: to read (getLogs and diagnose included), and to write.

    Attributes:
        each: The same by method and kind of what was asked for, as the simulator names it.
    """

    read: int
    write: int
    each: dict[str, int] = {}


class Report(Struct, frozen=True, kw_only=True):
    """How one rehearsal went.

    Attributes:
        operations: What we asked of Azure, as roles name it.
    """

    name: str
    story: str
    expected: dict[str, Any]
    actual: dict[str, Any]
    as_expected: bool
    effects: tuple[Effect, ...]
    calls: Calls
    seconds: float
    differences: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


class ScenarioError(MedicError):
    """A scenario file that cannot be used; the text names file, place and fix."""


def load(path: Path) -> Scenario:
    """Give the scenario in a file; raises ScenarioError."""
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
        scenario = msgspec.convert(plain, Scenario, strict=False)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}. Name a readable YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}. Write valid YAML.") from error
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{path}: {error}. `medic rehearse --schema` prints what a scenario may hold.") from error
    return scenario


def shipped() -> list[Path]:
    """Give the scenario files that come with the project, in order of their names."""
    return sorted(SCENARIOS.glob("*.yaml"))


def schema() -> dict[str, Any]:
    """Give the JSON Schema of scenario files."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Scenario)}


class Stage:
    """The function app and a simulated Azure, on this machine, for one scenario after the other.

    All scenarios share the processes; each has a world and a subscription of its own, so that none sees another's
    effects. The stage writes to a folder of its own and leaves nothing running.
    """

    def __init__(self, mode: str, store: Path, *, time_scale: float = TIME_SCALE, **host_options: Any) -> None:
        self.store = store
        self._time_scale = time_scale
        self.policy_file = store / "policy.yaml"
        self._mode = mode
        self._host_options = host_options
        self._key = uuid.uuid4().hex * 2
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self.store.mkdir(parents=True, exist_ok=True)
            self.policy_file.write_bytes(SHIPPED_POLICY.read_bytes())
            services.use(None)  # the host's own process may have served another stage before
            self.server = Server(World.from_dict({"workspaces": []}))
            resources.callback(self.server.close)
            self.server.start()
            self.host = resources.enter_context(Host(env=self._environment(), timers=False, **self._host_options))
            self.http = resources.enter_context(httpx.Client(base_url=self.host.url, timeout=30))
            self.trail = Trail(FolderStore(self.store / "trail"))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def play(self, scenario: Scenario) -> Report:
        """Play one scenario, and give how it went."""
        began = time.monotonic()
        subscription = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scenario.name} {uuid.uuid4()}"))
        names = {"subscription": subscription, "blobs": f"{self.server.url}/blobs"}
        self.policy_file.write_text(yaml.safe_dump(policy_of(scenario.policy, names)), "utf-8")
        world = World.from_dict({**filled(scenario.world, names), "subscription": subscription})
        world.subscribe(self.host.url + EVENT_GRID)
        world.subscribe_alerts(self.host.url + ALERTS)
        self.server.show(world)
        try:
            for step in scenario.steps:
                self._do(step, subscription, names)
            actual = self._outcome(scenario.expect, world, subscription)
        finally:
            world.close()
        found = differences(scenario.expect, actual)
        return Report(
            name=scenario.name,
            story=scenario.story,
            expected=scenario.expect.shown(),
            actual=actual.shown(scenario.expect),
            as_expected=not found,
            effects=actual.effects,
            calls=_calls(world),
            seconds=round(time.monotonic() - began, 2),
            differences=found,
            incidents=tuple(one for one in self.trail.incidents() if self._is_of(one, subscription)),
            operations=_operations(world),
        )

    # --- the steps ---

    def _do(self, step: Step, subscription: str, names: dict[str, str]) -> None:
        match step:
            case Send():
                event = filled(step.event, names)
                for _ in range(step.times):
                    if step.over == "http":
                        self.http.post(ALERTS, json=event).raise_for_status()
                    else:
                        headers = {"aeg-event-type": "Notification"}
                        self.http.post(EVENT_GRID, json=[event], headers=headers).raise_for_status()
            case Sweep():
                self.http.post("/admin/functions/sweep", json={}).raise_for_status()
            case KillWorker():
                self.host.kill_worker()
            case Answer():
                self._answer(step, subscription)
            case Undo():
                self._undo(step, subscription)
            case WaitFor():
                _until(lambda: len(self.intakes(subscription)) >= step.events, PATIENCE_S)
                if step.question:
                    _until(lambda: bool(self.questions(subscription)), PATIENCE_S)

    def _answer(self, step: Answer, subscription: str) -> None:
        if not _until(lambda: bool(self.questions(subscription)), PATIENCE_S):
            return  # nobody was asked: what then comes out shows as a difference
        question = self.questions(subscription)[0]
        needed = question.quorum if step.decision == "approve" else 1
        for number in range(1, (step.people or needed) + 1):
            link = answering.link(question, self._key)
            given = answering.answer(self.http, link, step.decision, oid=answering.somebody(number))
            given.raise_for_status()

    def _undo(self, step: Undo, subscription: str) -> None:
        ended = self._ended(step.of, subscription)
        if ended is not None:  # else what then comes out shows as a difference
            answering.undo(self.http, ended, call=step.call).raise_for_status()

    # --- the witnesses ---

    def intakes(self, subscription: str) -> list[Intake]:
        """Give the deliveries about one subscription, by the trail."""
        today = datetime.now(UTC)
        records = [record for day in (today - timedelta(days=1), today) for record in self.trail.intakes(day)]
        return [record for record in records if f"/subscriptions/{subscription}/" in (record.resource or "").lower()]

    def questions(self, subscription: str) -> list[Question]:
        """Give the open questions about one subscription."""
        found = []
        for question in self.trail.open_questions():
            opened = self.trail.opened(question.incident_id)
            if opened is not None and opened.incident.resource.subscription == subscription:
                found.append(question)
        return found

    def _outcome(self, expect: Expected, world: World, subscription: str) -> "Actual":
        """Wait until what is expected is there and nothing more comes, or until patience is over."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            world.wait_until_quiet(1.0)
            seen = self._actual(world, subscription)
            is_late = time.monotonic() > deadline
            if not differences(expect, seen) or is_late:
                time.sleep(_QUIET_S)
                world.wait_until_quiet(1.0)
                if is_late or self._actual(world, subscription) == seen:
                    return seen
            time.sleep(_LOOK_S)

    def _actual(self, world: World, subscription: str) -> "Actual":
        incidents = [one for one in self.trail.incidents() if self._is_of(one, subscription)]
        records = [record for incident in incidents for record in self.trail.records(incident)]
        causes = [str(record.facts["cause"]) for record in records if record.stage == "diagnosis"]
        actions = {intent.request_id: intent.action for intent, _ in self.trail.intents()}
        ended = {self._label(one): end.end for one in incidents if (end := self.trail.ended(one)) is not None}
        return Actual(
            ends=ended,
            effects=tuple(_effects(world, actions)),
            dispositions=dict(Counter(record.disposition for record in self.intakes(subscription))),
            states=dict(_states(world, subscription)),
            questions=len(self.questions(subscription)),
            cause=causes[-1] if causes else None,
            trail="\n".join(json.dumps(record.facts, default=str) for record in records),
        )

    def _ended(self, label: str, subscription: str) -> str | None:
        """Give the incident of a label, as soon as it has ended."""

        def found() -> str | None:
            ours = (one for one in self.trail.incidents() if self._is_of(one, subscription))
            named = [one for one in ours if self._label(one) == label]
            return next((one for one in named if self.trail.ended(one) is not None), None)

        _until(lambda: found() is not None, PATIENCE_S)
        return found()

    def _is_of(self, incident_id: str, subscription: str) -> bool:
        opened = self.trail.opened(incident_id)
        return opened is not None and opened.incident.resource.subscription == subscription

    def _label(self, incident_id: str) -> str:
        opened = self.trail.opened(incident_id)
        return "" if opened is None else label_of(opened.incident)

    def _environment(self) -> dict[str, str]:
        return {
            **environment(self.server),
            "MEDIC_MODE": self._mode,
            "MEDIC_STORE": str(self.store),
            "MEDIC_POLICY": str(self.policy_file),
            "MEDIC_TIME_SCALE": f"{self._time_scale:g}",
            "MEDIC_SEND_SECONDS": f"{SEND_SECONDS:g}",
            "MEDIC_APPROVAL_KEYS": json.dumps({"k1": self._key}),
        }


def environment(server: Server) -> dict[str, str]:
    """Give the settings of an app that repairs a simulated Azure, and whose people are told apart without a sign-in."""
    principal = server.world.principals["medic"]
    return {
        "MEDIC_ARM_URL": server.url,
        "MEDIC_ARM_TOKEN": "sim-medic",
        "MEDIC_CLIENT_ID": principal.appid,
        "MEDIC_PRINCIPAL_ID": principal.oid,
        **answering.SIGN_IN,
    }


def differences(expect: Expected, actual: Actual) -> tuple[str, ...]:
    """Give where what came out is not what was expected, in words; nothing means that it is."""
    found: list[str] = []
    if actual.ends != expect.ends:
        found.append(f"incidents ended {_pairs(actual.ends)}, expected {_pairs(expect.ends)}")
    if actual.effects != expect.effects:
        found.append(f"effects were {_lines(actual.effects)}, expected {_lines(expect.effects)}")
    if expect.dispositions:
        wanted = {name: count for name, count in expect.dispositions.items() if count is not None}
        got = {
            name: count for name, count in actual.dispositions.items() if expect.dispositions.get(name, 0) is not None
        }
        if got != wanted:
            found.append(f"deliveries ended {_pairs(got)}, expected {_pairs(wanted)}")
    for label, state in expect.states.items():
        if actual.states.get(label, "gone") != state:
            found.append(f"{label} is {actual.states.get(label, 'gone')}, expected {state}")
    found.extend(f"the trail does not say {part!r}" for part in expect.says if part not in actual.trail)
    if actual.questions != expect.questions:
        found.append(f"{actual.questions} questions are open, expected {expect.questions}")
    if expect.cause is not None and actual.cause != expect.cause:
        found.append(f"the cause was {actual.cause}, expected {expect.cause}")
    return tuple(found)


def filled(value: Any, names: dict[str, str]) -> Any:
    """Give some data with the names in braces filled in."""
    if isinstance(value, dict):
        return {filled(name, names): filled(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value


def label_of(incident: Incident) -> str:
    """Give an incident's endpoint and deployment, as scenario files name them."""
    if incident.storm is not None:
        return f"storm {incident.label}"
    kind = "score " if incident.is_scoring else "undo " if incident.is_undo else ""
    return f"{kind}{name_of(incident.resource)}"


def name_of(resource: ResourceId) -> str:
    """Give endpoint and deployment of a resource, as scenario files name them."""
    return "/".join(part for part in (resource.endpoint, resource.deployment) if part)


def policy_of(changes: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Give the shipped policy with changes laid over it."""
    shipped_policy = policy.read_yaml(SHIPPED_POLICY.read_bytes())
    assert isinstance(shipped_policy, dict)  # noqa: S101 - our own file
    return laid_over(shipped_policy, filled(changes, names))


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Give some data with other data laid over it, key by key."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _effects(world: World, actions: dict[str, str]) -> Iterator[Effect]:
    """Give our writes that took effect, by the ledger; one that no intent on the trail explains is named so."""
    for entry in list(world.ledger):
        if entry.principal == "medic" and entry.took_effect and not is_read(entry):
            action = actions.get(entry.client_request_id or "", "not on the trail")
            yield Effect(action=action, call=call_of(entry.method, entry.path))


def _calls(world: World) -> Calls:
    """Count our calls; nobody but us reads over HTTP."""
    posted = [entry for entry in list(world.ledger) if entry.principal == "medic"]
    asked = sum(is_read(entry) for entry in posted)
    each = Counter({f"{method} {route}": times for (method, route), times in world.reads.items()})
    each.update(f"{entry.method} {_kind_of(entry)}" for entry in posted)
    return Calls(read=world.reads.total() + asked, write=len(posted) - asked, each=dict(sorted(each.items())))


def _kind_of(entry: Entry) -> str:
    """Give what a POST does, or of which type of resource the rest is: the last part of the path, or that before it."""
    *_, kind, last = entry.path.split("/")
    return last if entry.method == "POST" else kind


def _operations(world: World) -> tuple[str, ...]:
    """Give what we asked of Azure; a container of specs is asked without a name on this machine."""
    with world.lock:
        return tuple(sorted({operation for who, operation in world.asked if who in {"medic", ""} and operation}))


def is_read(entry: Entry) -> bool:
    """Tell whether a POST in the ledger changes nothing."""
    return entry.path.lower().endswith(("/getlogs", "/diagnose"))


def call_of(method: str, path: str) -> str:
    """Give a call as scenario files name it: ``PUT credit-scoring/green``, ``POST mlw-demo/resyncKeys``, ``PUT stprod
    role``."""
    scope, is_role, _ = path.partition("/providers/Microsoft.Authorization/roleAssignments/")
    if is_role:
        return f"{method} {scope.rsplit('/', 1)[-1]} role"
    _, _, inside = path.partition("/workspaces/")
    _, is_deployment, resource = inside.partition("/onlineEndpoints/")
    return f"{method} {resource.replace('/deployments/', '/') if is_deployment else inside}"


def _states(world: World, subscription: str) -> Iterator[tuple[str, str]]:
    for workspace in world.workspaces(subscription):
        for endpoint in world.children(parse_id(workspace["id"])):
            yield endpoint["name"], endpoint["properties"]["provisioningState"]
            for deployment in world.children(parse_id(endpoint["id"])):
                yield f"{endpoint['name']}/{deployment['name']}", deployment["properties"]["provisioningState"]


def _pairs(counts: Mapping[Any, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(counts.items())) or "nothing"


def _lines(effects: Sequence[Effect]) -> str:
    return ", ".join(f"{effect.action} {effect.call}" for effect in effects) or "none"


def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Wait until something holds, or patience is over: what is missing then shows as a difference."""
    deadline = time.monotonic() + patience_s
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds
