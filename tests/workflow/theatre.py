"""The function app and a simulated Azure on this machine, for one story after the other.

Each story has a world and a subscription of its own, an empty hub and an empty store. What came out is told by two
witnesses that know nothing of each other: the simulator's ledger, and the trail.
"""

import atexit
import functools
import json
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from local import answering
from local.arm.models import Entry, World
from local.arm.resources import Refusal
from local.arm.server import Server
from local.backend import Backend
from local.host import Host
from local.nursery import PRELOAD, Nursery
from local.rehearsal import environment
from remediations import policy, services
from remediations.adapters.folder import FolderStore
from remediations.approval import token
from remediations.model import AuditRecord, End
from remediations.proof import checking
from remediations.trail import Ended, Intake, Intent, Opened, Question, Result, Trail

POLICY = Path(__file__).parents[2] / "policy.yaml"
EVENT_GRID = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"
SOON_S = 20.0
KEY = "theatre-approval-key-0123456789abcdef"

WORLD: dict[str, Any] = {
    "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring"}]}],
    "hazards": [{"kind": "higher-priority", "remaining": 1}],
    "operation_seconds": 0.05,
}
UPDATED = {
    "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring", "deployments": [{"name": "blue"}]}]}],
    "failed_update_shows": "new",
}


def short_of_cores(used: int, **idle: dict[str, Any]) -> dict[str, Any]:
    """Give a world in which a new deployment lacks six cores, beside deployments that are idle and opted in.

    Args:
        used: Cores of the family, out of two more.
        idle: Each one's name, and what its body holds besides.
    """
    opted_in = {"tags": {"medic-delete": "allow"}, "properties": {"environmentVariables": None}}
    return {
        "workspaces": [
            {
                "name": "mlw-demo",
                "endpoints": [
                    {"name": "credit-scoring"},
                    {
                        "name": "fraud",
                        "traffic": {"live": 100},
                        "deployments": [
                            {"name": "live", "age": 8_640_000},
                            *({"name": one, "age": 9_640_000, "spec": laid_over(opted_in, idle[one])} for one in idle),
                        ],
                    },
                ],
            }
        ],
        "usages": [
            {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": used, "limit": used + 2},
            {"name": "Total Cluster Dedicated Regional vCPUs", "used": used, "limit": 100},
        ],
        "hazards": [],
    }


QUICK: dict[str, Any] = {"actions": {"retry": {"backoff": "PT1S"}}}


def eventually[T](condition: Callable[[], T], what: str | Callable[[], str], within_s: float = SOON_S) -> T:
    """Give the first true answer."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.02)
    return result


class Clock:
    """The world's clock: real time, and it can be set forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@functools.cache
def nursery_of(app: str) -> Nursery | None:
    """Give what forks the workers of an app, for all theatres of this process: it has imported what stories need."""
    if sys.platform != "linux":
        return None
    nursery = Nursery(app, PRELOAD)
    atexit.register(nursery.close)
    return nursery


class Theatre:
    """The app's processes, which all stories share."""

    def __init__(
        self,
        folder: Path,
        *,
        mode: str = "auto",
        scale: float = 100.0,
        backend: Backend | None = None,
        store: str | None = None,
        app: str = "function_app",
        env: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.store = store
        self.app = app
        self.output = folder / "worker.log"
        self.policy_file = folder / "policy.yaml"
        self.told: set[str] = set()  # the subscriptions of all stories so far
        self._mode, self._scale, self._backend = mode, scale, backend
        self._extra = env or {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.policy_file.write_bytes(POLICY.read_bytes())
            services.use(None)
            resources.callback(services.use, None)
            self.server = Server(World.from_dict({"workspaces": []}))
            resources.callback(self.server.close)
            self.server.start()
            log = resources.enter_context(self.output.open("wb"))
            host = Host(
                app=self.app,
                env=self._environment(),
                timers=False,
                backend=self._backend,
                worker_output=log,
                nursery=nursery_of(self.app),
            )
            self.host = resources.enter_context(host)
            self.http = resources.enter_context(httpx.Client(base_url=self.host.url, timeout=30))
            self.trail = Trail(FolderStore(self.folder / "trail"))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _environment(self) -> dict[str, str]:
        return {
            **environment(self.server),
            "MEDIC_MODE": self._mode,
            "MEDIC_STORE": self.store or str(self.folder),
            "MEDIC_POLICY": str(self.policy_file),
            "MEDIC_TIME_SCALE": f"{self._scale:g}",
            "MEDIC_SEND_SECONDS": "1",
            "MEDIC_APPROVAL_KEYS": json.dumps({"k1": KEY}),
            "MEDIC_NOTICES": "off",
            **self._extra,
        }

    def clear(self) -> None:
        """Forget everything: the hub, the trail, the evidence."""
        self.host.backend.on_hand_out = None
        self.host.backend.lose_hub()
        for name in ("trail", "evidence"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def tell(
        self,
        world: dict[str, Any] | None = None,
        *,
        policy: dict[str, Any] | None = None,
        clock: Clock | None = None,
        schema: Any = "event-grid",
    ) -> "Story":
        """Begin a story: `world` is laid over a plain one, `policy` over the shipped one."""
        self.clear()
        subscription = str(uuid.uuid4())
        self.told.add(subscription)
        self.write_policy(policy or {})
        seed = {**WORLD, **(world or {}), "subscription": subscription}
        made = World.from_dict(seed, clock=clock) if clock is not None else World.from_dict(seed)
        made.subscribe(self.host.url + EVENT_GRID, schema=schema)
        made.subscribe_alerts(f"{self.host.url}/api/events")
        self.server.show(made)
        return Story(self, made, subscription)

    def write_policy(self, changes: dict[str, Any]) -> None:
        shipped = msgspec.to_builtins(policy.load(POLICY))
        aside = self.policy_file.with_suffix(".new")
        aside.write_text(json.dumps(laid_over(laid_over(shipped, QUICK), changes)), "utf-8")  # JSON is YAML
        aside.replace(self.policy_file)


class Story:
    """One world, and what the app made of it."""

    def __init__(self, theatre: Theatre, world: World, subscription: str) -> None:
        self.theatre, self.world, self.subscription = theatre, world, subscription
        self.host, self.http, self.trail = theatre.host, theatre.http, theatre.trail
        self.approver = str(uuid.uuid4())

    # What is done

    def put(self, deployment: str = "green", who: str = "ci", **options: Any) -> None:
        """Deploy; a refusal stands in the ledger and raises an event."""
        with suppress(Refusal):
            self.world.put_deployment(who, None, deployment, **options)

    def failed_before(self, times: int) -> None:
        """Let so many repairs by retry in this subscription not have helped."""
        for number in range(times):
            result = Result(at=datetime.now(UTC), end=End.NOT_REPAIRED, cause_id="canceled-higher-priority")
            self.trail.record_result(self.subscription, "retry", f"inc-{number}-1", result)

    def deliver(self, event: dict[str, Any]) -> None:
        headers = {"aeg-event-type": "Notification"}
        self.http.post(EVENT_GRID, json=[event], headers=headers).raise_for_status()

    def submit(self, event: Any) -> dict[str, Any]:
        answer = self.http.post("/api/events", json=event)
        assert answer.status_code == 202, answer.text
        return answer.json()["events"][0]

    def sweep(self) -> None:
        self.http.post("/admin/functions/sweep", json={}).raise_for_status()

    def link(self, question: Question, key: str = KEY, kid: str = "k1", **changes: Any) -> str:
        asked = {
            "incident_id": question.incident_id,
            "plan": question.plan,
            "policy_version": question.policy_version,
            "expires_at": question.expires_at,
            **changes,
        }
        return f"/api/approvals/{token.sign(token.Token(**asked), {kid: key}, kid)}"

    def answer(
        self, question: Question, decision: str = "approve", *, comment: str = "", oid: str | None = None
    ) -> httpx.Response:
        """Answer a question as somebody; approve it, if nobody is named, as the same people of this story each time."""
        if oid is not None or decision != "approve":
            return answering.answer(self.http, self.link(question), decision, comment=comment, oid=oid or self.approver)
        others = [str(uuid.uuid5(uuid.UUID(self.approver), str(number))) for number in range(1, question.quorum)]
        people = (self.approver, *others)
        return [answering.answer(self.http, self.link(question), decision, oid=one) for one in people][-1]

    def lose_hub_at(self, name: str) -> list[str]:
        """Lose the hub when the first piece of work of that name is handed out; what is given then is not empty."""
        lost: list[str] = []

        def lose(kind: str, handed_out: str, _instance_id: str) -> None:
            if handed_out == name and not lost:
                lost.append(kind)
                self.host.backend.lose_hub()

        self.host.backend.on_hand_out = lose
        return lost

    def kill_at(self, kind: str, name: str, number: int = 1) -> "Killer":
        return Killer(self.host, kind, name, number)

    # What came out

    @property
    def resource(self) -> str:
        workspace = "providers/Microsoft.MachineLearningServices/workspaces/mlw-demo"
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/rg-ml-prod/{workspace}/onlineEndpoints/credit-scoring"
        )

    def incidents(self) -> list[Opened]:
        found = [self.trail.opened(one) for one in self.trail.incidents()]
        # A walk of the story before may still have been on its way when the stage was cleared.
        earlier = self.theatre.told - {self.subscription}
        own = (one for one in found if one is not None and one.incident.resource.subscription not in earlier)
        return sorted(own, key=lambda one: one.at)

    def incident(self) -> str:
        """The id of the only incident, as soon as there is one."""
        found = eventually(self.incidents, "no incident was opened")
        assert len(found) == 1
        return found[0].incident.id

    def endings(self, count: int = 1) -> list[Ended]:
        """How so many incidents ended, oldest first, and no other was opened."""

        def ended() -> list[Ended]:
            found = [self.trail.ended(one.incident.id) for one in self.incidents()]
            over = [one for one in found if one is not None]
            return over if len(over) >= count else []

        over = eventually(ended, lambda: f"{count} incidents did not end:\n{self.said()}")
        assert len(self.incidents()) == count
        return over

    def ending(self) -> tuple[str, str]:
        """How the only incident ended, and in which words."""
        ended = self.endings()[0]
        return str(ended.end), ended.words

    def intakes(self, count: int) -> list[Intake]:
        """The deliveries, once there are so many."""

        def recorded() -> list[Intake]:
            today = datetime.now(UTC)
            found = [one for day in (today - timedelta(days=1), today) for one in self.trail.intakes(day)]
            return found if len(found) >= count else []

        return sorted(eventually(recorded, f"{count} deliveries were not recorded"), key=lambda one: one.at)

    def dispositions(self, count: int) -> list[str]:
        return [str(one.disposition) for one in self.intakes(count)]

    def question(self, after: Sequence[Question] = ()) -> Question:
        """The question that is open, and not one of those."""
        plans = {one.plan for one in after}
        fresh = eventually(
            lambda: [one for one in self.trail.open_questions() if one.plan not in plans],
            lambda: f"nobody was asked:\n{self.said()}",
        )
        assert len(fresh) == 1
        return fresh[0]

    def records(self, incident: str | None = None, stage: str | None = None) -> list[AuditRecord]:
        found = self.trail.records(incident or self.incidents()[0].incident.id)
        return [record for record in found if stage in {None, record.stage}]

    def stages(self, incident: str | None = None) -> list[str]:
        return [record.stage for record in self.records(incident)]

    def intents(self) -> list[tuple[Intent, str | None]]:
        """Intents with what came of them, in order."""
        found = sorted(self.trail.intents(), key=lambda pair: pair[0].at)
        return [(intent, None if outcome is None else str(outcome.status)) for intent, outcome in found]

    def sends(self) -> list[Entry]:
        """Our writes as the simulator received them; reading logs and asking for a diagnosis are none."""
        return [
            entry
            for entry in list(self.world.ledger)
            if entry.principal == "medic" and not entry.path.lower().endswith(("/getlogs", "/diagnose"))
        ]

    def effects(self) -> list[str]:
        """Our writes that took effect."""
        return [f"{entry.method} {entry.path.split('/')[-1]}" for entry in self.sends() if entry.took_effect]

    def state(self, deployment: str = "green") -> str | None:
        body = self.world.deployment(None, deployment)
        return None if body is None else str(body["properties"]["provisioningState"])

    def wait_until_sent(self, outcome: str = "accepted") -> None:
        eventually(lambda: outcome in {status for _, status in self.intents()}, f"no call was {outcome}")

    def slots(self) -> list[str]:
        return list(self.trail.store.list("budget/"))

    def said(self) -> str:
        """The last that the worker said."""
        return self.theatre.output.read_text()[-3000:]

    def bytes_kept(self) -> bytes:
        """Everything that the app has written: store, histories, output."""
        files = [path for path in self.theatre.folder.rglob("*") if path.is_file() and path != self.theatre.policy_file]
        backend = self.host.backend
        with backend._lock:
            instances = [
                (one.input, one.output, one.custom_status, [str(event) for event in one.history])
                for one in backend._instances.values()
            ]
            entities = [entity.serialized_state for entity in backend._entities.values()]
        return b"\n".join([*(path.read_bytes() for path in files), repr((instances, entities)).encode()])

    def check_promises(self) -> None:
        """No send without an earlier intent, none twice; records in order, each once; the trail proves itself."""
        verdict = checking.verify(self.trail.store)
        assert verdict.ok, verdict.first_bad
        requests = [entry.client_request_id for entry in self.sends()]
        assert len(requests) == len(set(requests))
        assert set(requests) <= {intent.request_id for intent, _ in self.intents()}
        for opened in self.incidents():
            records = self.records(opened.incident.id)
            assert [record.seq for record in records] == list(range(len(records)))
            assert max(Counter(record.key for record in records).values()) == 1
            keys = [record.key for record in records]
            for record in records:
                if record.stage == "outcome":
                    assert keys.index(record.key.replace("outcome:", "intent:")) < record.seq


class Killer:
    """Kills the worker when the n-th piece of work of that kind and name is handed out."""

    def __init__(self, host: Host, kind: str, name: str, number: int) -> None:
        self._host, self._wanted, self._left = host, (kind, name), number
        self.victim: int | None = None
        host.backend.on_hand_out = self

    def __call__(self, kind: str, name: str, instance_id: str) -> None:
        if (kind, name) == self._wanted and self.victim is None:
            self._left -= 1
            if not self._left:
                self.victim = self._host.worker_pid
                self._host.kill_worker()


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
