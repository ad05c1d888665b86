"""Play the story of one round: the real function app, several simulated Azures, and everything that breaks.

When it has gone on for a while, what breaks is lifted, and the sweep runs until it changes nothing more. What is then
there is what the checker gets.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, override

import httpx
import msgspec
import yaml
from msgspec import Struct

from local import answering
from local.arm.events import Schema, action_group, post, webhook
from local.arm.faults import Answer, Fault, Request
from local.arm.happenings import AnyHappening
from local.arm.models import World
from local.arm.resources import Json, utc_now
from local.arm.routes import ROUTES
from local.arm.server import Server
from local.backend import Backend
from local.chaos import app, played
from local.chaos.faulty import LIFTED, PLAN, Plan
from local.chaos.played import Delivery
from local.chaos.story import Act, Kill, People, Story, Stray, Trouble
from local.host import Host
from local.nursery import PRELOAD, Nursery
from local.rehearsal import (
    ALERTS,
    EVENT_GRID,
    KillWorker,
    Send,
    Sweep,
    Undo,
    WaitFor,
    environment,
    filled,
    is_read,
    label_of,
    policy_of,
)
from remediations import policy, services
from remediations.adapters.folder import FolderStore
from remediations.trail import Question, Trail

TIME_SCALE = 100.0
SEND_SECONDS = 2.0
LONGEST_S, LONGEST_CALM_S, MOST_SWEEPS = 60.0, 30.0, 12
STEP_PATIENCE_S, UNDO_PATIENCE_S = 5.0, LONGEST_S  # what is undone has to be repaired before
# The sweep takes a failure for untold after ten minutes, as the campaign scales time.
SWEPT_AFTER_S = 600 / TIME_SCALE + 0.5
_SOON = timedelta(seconds=3)
_CALM_S, _LOOK_S = 0.3, 0.1
_QUICK_RETRIES = 6
_KEPT_PAGES = 200
SWEEP = "/admin/functions/sweep"


class Played(Struct, frozen=True, kw_only=True):
    """What a round came to.

    Attributes:
        round: What the checker judges.
        laid: How many faults of each kind were laid; `met` how often each kind was met.
        kills: How often the worker, or a trigger, was killed at each point.
        crashes: How often it ended otherwise than by a kill of ours.
    """

    story: Story
    round: played.Round
    laid: dict[str, int]
    met: dict[str, int]
    kills: dict[str, int]
    crashes: int
    seconds: float


def play(story: Story, folder: Path) -> Played:
    """Play a story in a folder of its own."""
    with Round(story, folder) as stage:
        return stage.play()


def validate(story: Story) -> None:
    """See whether a story can be played at all.

    Raises:
        ValueError: an act is no world, or nothing that happens in one.
        PolicyError: what is laid over the policy is none.
    """
    names = {"subscription": "s", "blobs": "http://127.0.0.1:9/blobs", "planted": "planted"}
    if not story.acts:
        raise ValueError("it has no acts")
    for place, act in enumerate(story.acts):
        try:
            _world_of(act, names, 0)
            for trouble in act.troubles:
                list(_happenings(trouble, names))
        except (ValueError, TypeError, OverflowError) as error:  # a world checks its own fields, no body to the bottom
            raise ValueError(f"act {place}: {error}") from error
    policy.parse(yaml.safe_dump(filled(policy_of(story.policy, {}), names)).encode(), "its policy")


class CallKill(Fault, kw_only=True):
    """Kills the worker at one of our calls, in whichever world: before it has an effect, or before its answer."""

    kill: Kill
    strike: Callable[[Kill], None]
    lock: Any = msgspec.field(default_factory=threading.Lock)
    left: int = 1

    @override
    def hits(self, request: Request) -> bool:
        method, _, name = self.kill.what.partition(" ")
        if request.who != "medic" or request.method != method:
            return False
        if not any(route.name == name and route.match(method, request.path) is not None for route in ROUTES):
            return False
        with self.lock:
            self.left -= 1
            return self.left == 0

    @override
    def before(self) -> Answer | None:
        if self.kill.phase != "before":
            return None
        self.strike(self.kill)
        return Answer(status=0, wire="cut")

    @override
    def spoil(self, answer: Answer) -> Answer:
        if self.kill.phase == "before":  # it has been struck
            return answer
        self.strike(self.kill)
        return msgspec.structs.replace(answer, wire="cut")


class Round:
    """The stage of one round."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story, self.folder = story, folder
        self._chance = random.Random(f"chaos keys {story.seed} {story.number}")
        self._key = self._planted("key") + self._planted("key")
        self._hook = self._planted("hook")
        self._env = self._planted("env")
        self._meetings = folder / "met"
        self._lock = threading.Lock()
        self._sent: list[Delivery] = []
        self._said: list[played.Said] = []
        self._pages: dict[str, bytes] = {}
        self._happened: Counter[str] = Counter()
        self._killed: Counter[str] = Counter()
        self._handed: Counter[str] = Counter()
        self._over = threading.Event()
        self._lifted = threading.Event()
        self._resources = ExitStack()

    def _planted(self, kind: str) -> str:
        return f"planted-{kind}-{self._chance.getrandbits(96):024x}"

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self._meetings.mkdir()
            plan = Plan(faults=self.story.store, kills=self._kills_of_the_store())
            (self._meetings / PLAN).write_bytes(msgspec.json.encode(plan))
            self.server = Server(World.from_dict({"workspaces": []}), doors=len(self.story.acts))
            resources.callback(self.server.close)
            self.server.start()
            self.sink = resources.enter_context(_sink(self.story.channel_fails, self._lifted))
            backend = Backend(twice=self.story.twice, seed=self.story.number, on_hand_out=self._handed_out)
            log = resources.enter_context((self.folder / "worker.log").open("wb"))
            self._write_policy()
            services.use(None)
            resources.callback(services.use, None)
            env, nursery = self._environment(), None
            if sys.platform == "linux":  # a worker that is killed again and again would else import again and again
                nursery = resources.enter_context(Nursery(app.__name__, PRELOAD, env))
            host = Host(app=app.__name__, env=env, timers=False, backend=backend, worker_output=log, nursery=nursery)
            self.host = resources.enter_context(host)
            app.install()
            limits = httpx.Limits(max_connections=64)
            self.http = resources.enter_context(httpx.Client(base_url=self.host.url, timeout=30, limits=limits))
            self.trail = Trail(FolderStore(self.folder / "trail"))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._resources.close()

    def _environment(self) -> dict[str, str]:
        return {
            **environment(self.server),
            "MEDIC_MODE": self.story.mode,
            "MEDIC_STORE": str(self.folder),
            "MEDIC_POLICY": str(self.folder / "policy.yaml"),
            "MEDIC_TIME_SCALE": f"{TIME_SCALE:g}",
            "MEDIC_SEND_SECONDS": f"{SEND_SECONDS:g}",
            "MEDIC_APPROVAL_KEYS": json.dumps({"k1": self._key}),
            "MEDIC_WEBHOOK_URL": f"{self.sink.url}/{self._hook}",
            "PYTHONFAULTHANDLER": "1",
            app.FOLDER: str(self._meetings),
            app.HOST: str(os.getpid()),
        }

    def _names(self, place: int) -> dict[str, str]:
        """What is filled in for the names in braces of one act."""
        act = self.story.acts[place]
        return {
            "subscription": act.subscription,
            "blobs": f"{self.server.doors[place]}/blobs",
            "planted": self._env,
        }

    def _write_policy(self) -> None:
        """Lay the changes over the shipped policy; what names one act's own place is there once for each."""
        plain = policy_of(self.story.policy, {})
        specs = plain.get("desired_specs")
        if specs:
            names = [self._names(place) for place in range(len(self.story.acts))]
            plain["desired_specs"] = {
                kind: [filled(each, one) for each in listed for one in names] for kind, listed in specs.items()
            }
        self.policy = plain
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(plain), "utf-8")

    # --- what breaks ---

    def _handed_out(self, kind: str, name: str, _instance: str) -> None:
        """Strike where work is handed out."""
        if self._lifted.is_set():
            return
        what = f"{kind} {name}"
        with self._lock:
            self._handed[what] += 1
            number = self._handed[what]
        for kill in self.story.kills:
            if (kill.at, kill.what, kill.nth) == ("work", what, number):
                self._strike(kill)
        for loss in self.story.losses:
            if (loss.what, loss.nth) == (what, number):
                self._met("task hub lost")
                self.host.backend.lose_hub()

    def _strike(self, kill: Kill) -> None:
        if not self._lifted.is_set():
            with self._lock:
                self._killed[kill.point] += 1
            self.host.kill_worker()

    def _met(self, kind: str) -> None:
        with self._lock:
            self._happened[kind] += 1

    def _world(self, place: int, kills: list[CallKill]) -> World:
        act = self.story.acts[place]
        names = self._names(place)
        world = _world_of(act, names, self._chance.getrandbits(32))
        world.faults[:0] = kills
        for trouble in act.troubles:
            for happening in _happenings(trouble, names):

                def deed(happening: Any = happening, kind: str = trouble.kind) -> None:
                    self._met(kind)
                    happening.perform(world)

                world.when(happening.when, deed, nth=happening.nth, after=happening.after)
        schema: Schema = "cloud-events" if place % 3 == 1 else "event-grid"
        deliver = webhook(self.host.url + EVENT_GRID, schema=schema, post=self._post)
        world.subscribe(deliver, schema=schema, retries=_QUICK_RETRIES)
        world.subscribe_alerts(action_group(self.host.url + ALERTS, post=self._post))
        return world

    def _post(self, url: str, body: Any, headers: dict[str, str]) -> int:
        """Post an event, and keep what came of it."""
        at, status = datetime.now(UTC), None
        try:
            status = post(url, body, headers)
        finally:
            with self._lock:
                self._sent.append(Delivery(at=at, body=body, answer=status))
        return status

    # --- the round ---

    def play(self) -> Played:
        """Play it to its end."""
        began = time.monotonic()
        strikes = [
            CallKill(kill=kill, strike=self._strike, left=kill.nth) for kill in self.story.kills if kill.at == "call"
        ]
        self.worlds: list[World] = []
        try:
            for place in range(len(self.story.acts)):
                self.worlds.append(self._world(place, strikes))
            drawn = [[fault.times for fault in world.faults] for world in self.worlds]
            self.server.show_all(self.worlds)
            with self._parts() as pool:
                parts = [pool.submit(self._answer_questions, self.story.people)]
                parts += [pool.submit(self._act, place, act) for place, act in enumerate(self.story.acts) if act.steps]
                for place, act in enumerate(self.story.acts):
                    parts += [pool.submit(self._stray, place, stray) for stray in act.strays]
                parts += [pool.submit(self._sweep_at, at) for at in self.story.sweeps_s]
                self._until_calm(LONGEST_S, least_s=3.0)
                self._sweep()  # what was lost with the hub goes on while all of it still breaks
                self._until_calm(LONGEST_CALM_S)
                left = [[fault.times for fault in world.faults] for world in self.worlds]
                self._lift()
                self._settle()
                self._over.set()
                for part in parts:
                    part.result()
            return Played(
                story=self.story,
                round=self._whole(),
                laid=self._laid(),
                met=self._all_met(drawn, left),
                kills=self._all_killed(),
                crashes=len(self._crashes()),
                seconds=time.monotonic() - began,
            )
        finally:
            for world in self.worlds:
                world.close()

    @contextmanager
    def _parts(self) -> Iterator[ThreadPoolExecutor]:
        """Give threads for what goes on beside; it ends with the round, also where an error ends that."""
        with ThreadPoolExecutor(32) as pool:
            try:
                yield pool
            finally:
                self._over.set()  # before the pool is left, which waits for all of them

    def _until_calm(self, longest_s: float, *, least_s: float = 0.0) -> bool:
        """Wait until nothing is at work or soon will be, for a moment; False if that takes longer."""
        began = time.monotonic()
        calm_since: float | None = None
        while (now := time.monotonic()) - began < longest_s:
            if now - began >= least_s and self._is_calm():
                calm_since = calm_since or now
                if now - calm_since >= _CALM_S:
                    return True
            else:
                calm_since = None
            time.sleep(_LOOK_S)
        return False

    def _is_calm(self) -> bool:
        backend = self.host.backend
        if backend.is_at_work() or backend.streams == 0:
            return False
        soon = datetime.now(UTC) + _SOON
        waiting = {question.incident_id for question in self.trail.open_questions()}
        due = (at for name, at in backend.unfinished().items() if name not in waiting)
        if any(at is not None and at < soon for at in due):
            return False
        return all(world.is_quiet_for(_SOON.total_seconds()) for world in self.worlds)

    def _lift(self) -> None:
        """Let nothing break any more: what comes now has to go well."""
        self._lifted.set()
        (self._meetings / LIFTED).touch()
        for world in self.worlds:
            with world.lock:
                world.faults.clear()
                world.hazards[:] = [hazard for hazard in world.hazards if not hasattr(hazard, "lasts")]
            world.end_operations()

    def _settle(self) -> None:
        """Deliver what nobody took, and sweep until that changes nothing."""
        began = time.monotonic()
        self._until_calm(LONGEST_CALM_S)
        for world in self.worlds:
            world.redeliver()
        before = ""
        for _ in range(MOST_SWEEPS):
            self._sweep()
            self.host.backend.hurry("tell-")  # the channel is well again, and would be tried in a minute
            self._until_calm(LONGEST_CALM_S)
            for world in self.worlds:
                world.end_operations()
            seen, left_s = self._state(), began + SWEPT_AFTER_S - time.monotonic()
            if seen == before and left_s <= 0 and seen.endswith("[]"):
                return
            if seen == before:  # what a sweep takes for untold has not yet waited long enough
                time.sleep(max(0.0, left_s))
            before = seen

    def _state(self) -> str:
        """What a sweep could change: the records on the trail but those of the sweep itself, and our writes."""
        names = [name for folder in ("incidents/", "effects/", "approvals/") for name in self.trail.store.list(folder)]
        writes = [sum(not is_read(entry) for entry in list(world.ledger)) for world in self.worlds]
        telling = [name for name in self.host.backend.unfinished() if name.startswith("tell-")]
        return f"{len(names)} {writes} {telling}"

    # --- people, CI and strays ---

    def _act(self, place: int, act: Act) -> None:
        """Do the steps of an act, with patience for each."""
        names = self._names(place)
        for step in act.steps:
            match step:
                case Send():
                    event = filled(step.event, names)
                    for _ in range(step.times):
                        self._submit(event, over=step.over)
                case Sweep():
                    self._sweep()
                case Undo():
                    self._undo(step, act.subscription)
                case WaitFor():
                    self._until(partial(self._has, step, act.subscription))
                case KillWorker():
                    self.host.kill_worker()
                case _:
                    pass  # people answer as those of the round do

    def _submit(self, body: Any, *, over: str = "http") -> None:
        """Send an event as CI or Event Grid does: again, while the app is not well."""
        headers = {"Content-Type": "application/json"}
        if over == "event-grid":
            headers["aeg-event-type"] = "Notification"
            body = [body]
        url = self.host.url + (ALERTS if over == "http" else EVENT_GRID)
        for attempt in range(8):
            with suppress(OSError):
                if self._post(url, body, headers) < 500:
                    return
            if self._over.wait(0.1 * 2**attempt):
                return

    def _has(self, step: WaitFor, subscription: str) -> bool:
        text = f"/subscriptions/{subscription}/"
        with self._lock:
            taken = sum(
                sent.answer is not None and sent.answer < 300 and text in json.dumps(sent.body) for sent in self._sent
            )
        return taken >= step.events and (not step.question or bool(self._questions(subscription)))

    def _questions(self, subscription: str) -> list[Question]:
        found = []
        for question in self.trail.open_questions():
            opened = self.trail.opened(question.incident_id)
            if opened is not None and opened.incident.resource.subscription == subscription:
                found.append(question)
        return found

    def _undo(self, step: Undo, subscription: str) -> None:
        def ended() -> str | None:
            over = (self.trail.opened(incident_id) for incident_id, is_over in self.trail.standing() if is_over)
            ours = (one.incident for one in over if one is not None)
            fitting = (one for one in ours if one.resource.subscription == subscription and label_of(one) == step.of)
            return next((one.id for one in fitting), None)

        if (incident_id := self._until(ended, UNDO_PATIENCE_S)) is not None:
            list(self._answers(partial(answering.undo, self.http, incident_id, call=step.call)))

    def _until[T](self, condition: Callable[[], T | None], patience_s: float = STEP_PATIENCE_S) -> T | None:
        deadline = time.monotonic() + patience_s
        while not (found := condition()) and time.monotonic() < deadline and not self._over.wait(0.2):
            pass
        return found

    def _sweep(self) -> None:
        with suppress(httpx.HTTPError):
            self.http.post(SWEEP, json={})

    def _sweep_at(self, at_s: float) -> None:
        if not self._over.wait(at_s):
            self._sweep()

    def _stray(self, place: int, stray: Stray) -> None:
        if self._over.wait(stray.at_s) or self._lifted.is_set():
            return
        world = self.worlds[place]
        with world.lock:
            known = [event for event in world.raised if "eventType" in event]
        foreign = {
            "id": f"foreign-{stray.which}",
            "topic": f"/subscriptions/{self.story.acts[place].subscription}",
            "subject": "/blobServices/default/containers/x/blobs/y",
            "eventType": "Microsoft.Storage.BlobCreated",
            "eventTime": "2026-01-01T00:00:00Z",
            "data": {},
            "dataVersion": "",
        }
        event: Json = known[stray.which % len(known)] if known else foreign
        if stray.kind == "foreign":
            event = foreign
        elif stray.kind == "ours" and known:
            event = _as_ours(event, world, stray.which)
        self._met(f"stray event: {stray.kind}")
        if stray.kind == "broken":
            self._submit({"hello": stray.which})
        elif stray.kind == "batch":
            self._submit([event, foreign, 7])
        else:
            self._submit(event, over="event-grid")

    def _answer_questions(self, people: People) -> None:
        """Answer every question once, each in another way."""
        seen: dict[str, float] = {}
        with ThreadPoolExecutor(8) as pool:
            answers = []
            while not self._over.wait(0.15):
                for question in self.trail.open_questions():
                    if question.plan not in seen:
                        deed = people.deeds[len(seen) % len(people.deeds)]
                        seen[question.plan] = time.monotonic()
                        answers.append(pool.submit(self._answer, question, deed, people))
            for answer in answers:
                answer.result()

    def _answer(self, question: Question, deed: str, people: People) -> None:
        wait_s = people.delay_s
        if deed == "nothing":
            self._met("approvals missing")
            return
        if deed == "late":
            wait_s = (question.expires_at - datetime.now(UTC)).total_seconds() + 0.2
            wait_s = wait_s if wait_s < 6 else people.delay_s  # nobody waits for hours here
        if self._over.wait(wait_s):
            return
        if people.strangers:
            self._met("approvals by strangers")
            forged = answering.link(question, "forged-" + "0" * 40)
            self._say(question, "approve", oid=answering.somebody(77), roles=())
            self._say(question, "approve", oid=answering.somebody(1), link=forged)
            for caller in question.callers[:1]:
                self._say(question, "approve", oid=caller)
        if deed == "race":
            self._met("approvals racing")
            whose = {"oid": answering.somebody(9)}
            rival = threading.Thread(target=self._say, args=(question, "reject"), kwargs=whose)
            rival.start()
        if deed == "late":
            self._met("approvals late")
        decision = "reject" if deed == "reject" else "approve"
        for number in range(1, 1 + (question.quorum if decision == "approve" else 1)):
            for _ in range(2 if people.is_doubled else 1):
                self._say(question, decision, oid=answering.somebody(number))
        if people.is_doubled:
            self._met("approvals doubled")
        if deed == "race":
            rival.join()

    def _say(
        self,
        question: Question,
        decision: str,
        *,
        oid: str,
        roles: tuple[str, ...] = ("Medic.Approver",),
        link: str | None = None,
    ) -> None:
        """Answer as somebody, and again while the app is not well."""
        link = link or answering.link(question, self._key)
        for answered in self._answers(partial(answering.answer, self.http, link, decision, oid=oid, roles=roles)):
            said = played.Said(plan=question.plan, oid=oid, approves=decision == "approve", status=answered.status_code)
            self._said.append(said)

    def _answers(self, ask: Callable[[], httpx.Response]) -> Iterator[httpx.Response]:
        """Give what a person is answered, who asks again while the app is not well."""
        for attempt in range(5):
            with suppress(httpx.HTTPError):
                answered = ask()
                self._keep(answered)
                yield answered
                if answered.status_code < 500:
                    return
            if self._over.wait(0.1 * 2**attempt):
                return

    def _keep(self, answered: httpx.Response) -> None:
        with self._lock:
            if len(self._pages) < _KEPT_PAGES:
                self._pages[f"page {len(self._pages)}"] = answered.content

    # --- what came of it ---

    def _whole(self) -> played.Round:
        """What there is to judge."""
        backend = self.host.backend
        skews = [sum(trouble.ahead_s for trouble in act.troubles) for act in self.story.acts]
        return played.Round(
            store=self.folder,
            worlds=tuple(
                played.watched(world, offset=timedelta(seconds=skew))
                for world, skew in zip(self.worlds, skews, strict=True)
            ),
            deliveries=tuple(self._sent),
            said=tuple(self._said),
            mode=self.story.mode,
            policy=self.policy,
            now=datetime.now(UTC),
            approvers=frozenset(answering.somebody(number) for number in range(1, 10)),
            timers={name: due for name, due in backend.unfinished().items() if due is not None},
            desks=tuple(_leases(backend.entities())),
            channels=("webhook", "folder"),
            secrets=(self._key, self._hook, self._env),
            crashes=self._crashes(),
            texts=self._texts(),
        )

    def _crashes(self) -> tuple[int, ...]:
        return tuple(code for code in self.host.worker_exits if code != -signal.SIGKILL)

    def _texts(self) -> dict[str, bytes]:
        texts = {f"history {name}": content for name, content in self.host.backend.histories().items()}
        texts |= self._pages
        texts |= {f"message {number}": body for number, body in enumerate(self.sink.bodies)}
        for path in sorted((self.folder / "notices").rglob("*")) if (self.folder / "notices").exists() else ():
            if path.is_file():
                texts[f"card {path.name}"] = path.read_bytes()
        texts["worker.log"] = (self.folder / "worker.log").read_bytes()
        return texts

    def _laid(self) -> dict[str, int]:
        laid: Counter[str] = Counter(trouble.kind for act in self.story.acts for trouble in act.troubles)
        laid.update(f"store {fault.kind}" for fault in self.story.store)
        laid.update(f"stray event: {stray.kind}" for act in self.story.acts for stray in act.strays)
        laid.update(["activities twice"] if self.story.twice else [])
        laid.update("task hub lost" for _ in self.story.losses)
        laid.update(["channel down"] if self.story.channel_fails != 0 else [])
        return dict(laid)

    def _all_met(self, drawn: list[list[int | None]], left: list[list[int | None]]) -> dict[str, int]:
        breaking = {trouble.kind for act in self.story.acts for trouble in act.troubles if _breaks(trouble)}
        met = Counter({kind: count for kind, count in self._happened.items() if kind not in breaking})
        for act, world, before, after in zip(self.story.acts, self.worlds, drawn, left, strict=True):
            met.update(_met_in(act, world, before, after))
        for number, fault in enumerate(self.story.store):
            seen = sum(1 for _ in self._meetings.glob(f"fault-{number}.*"))
            if seen > fault.after:
                met[f"store {fault.kind}"] += min(seen - fault.after, fault.times)
        if self.sink.refused:
            met["channel down"] += self.sink.refused
        if self.story.twice:
            met["activities twice"] += self.host.backend.doubled
        return dict(met)

    def _kills_of_the_store(self) -> tuple[Kill, ...]:
        return tuple(kill for kill in self.story.kills if kill.at in {"store", "trigger"})

    def _all_killed(self) -> dict[str, int]:
        killed = Counter(self._killed)
        for number, kill in enumerate(self._kills_of_the_store()):
            if (self._meetings / f"kill-{number}.{kill.nth - 1}").exists():
                killed[kill.point] += 1
        return dict(killed)


def _world_of(act: Act, names: dict[str, str], seed: int) -> World:
    """Make the world of an act, with its troubles laid over it."""
    plain = {**act.world, "subscription": act.subscription, "seed": seed}
    ahead = timedelta(seconds=sum(trouble.ahead_s for trouble in act.troubles))
    for trouble in act.troubles:
        plain = joined(plain, trouble.world)
    return World.from_dict(filled(plain, names), clock=lambda: utc_now() + ahead)


def _happenings(trouble: Trouble, names: dict[str, str]) -> Iterator[Any]:
    for plain in filled(list(trouble.happens), names):
        yield msgspec.convert(plain, AnyHappening)


def joined(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Give a world file with another laid over it, lists put one after the other."""
    return {**base, **{name: _joined(base.get(name), value) for name, value in changes.items()}}


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return joined(old, new)
    return [*old, *new] if isinstance(old, list | tuple) and isinstance(new, list | tuple) else new


def _met_in(act: Act, world: World, before: list[int | None], after: list[int | None]) -> Iterator[str]:
    """Give the kind of each trouble of a world that was met, once for each time that can be told."""
    place = len(before) - sum(len(trouble.world.get("faults", ())) for trouble in act.troubles)
    hazards = len(world.drawn) - sum(len(trouble.world.get("hazards", ())) for trouble in act.troubles)
    for trouble in act.troubles:
        faults, drawn = trouble.world.get("faults", ()), trouble.world.get("hazards", ())
        spent = sum((before[place + n] or 0) - (after[place + n] or 0) for n in range(len(faults)))
        spent += sum(
            (world.seed.hazards[hazards + n].remaining or 0) - (world.drawn[hazards + n].remaining or 0)
            for n in range(len(drawn))
        )
        if _breaks(trouble):  # what it lets fail stands behind what was there from the beginning
            spent += sum(trouble.happens[0]["fault"]["times"] - (left or 0) for left in after[len(before) :])
        place, hazards = place + len(faults), hazards + len(drawn)
        yield from [trouble.kind] * (spent if faults or drawn or trouble.happens else _met_by_setting(trouble, world))


def _breaks(trouble: Trouble) -> bool:
    """Tell whether all that happens in a trouble is that requests begin to fail."""
    return bool(trouble.happens) and all(happening["do"] == "break" for happening in trouble.happens)


def _met_by_setting(trouble: Trouble, world: World) -> int:
    """Tell how often something met what a trouble sets, by what the world knows of it; 0 if it sets nothing."""
    raised = sum("eventType" in event for event in world.raised)
    is_polled = any(world.reads["GET", route] for route in ("operation", "operation-result"))
    events = trouble.world.get("events")
    met = 0
    if isinstance(events, dict) and "shuffle" in events:
        met = max(0, raised * events["deliveries"] - 1)  # every other one comes late: of two, one does
    elif events is not None:
        met = raised
    elif {"activity_log_delay", "activity_log_missing"} & trouble.world.keys():
        met = world.log.withheld
    elif "role_propagation_seconds" in trouble.world:
        met = world.roles.pending
    elif {"operation_records_missing", "operation_record_seconds"} & trouble.world.keys():
        met = int(is_polled)
    elif trouble.ahead_s:
        met = int(any(who == "medic" for who, _ in world.asked))  # each answer has a date
    return met


def _leases(states: dict[str, str]) -> Iterator[played.Lease]:
    """Give the desks that somebody holds."""
    for name, state in states.items():
        desk = json.loads(state)
        if desk.get("owner") is not None:
            yield played.Lease(desk=name, owner=desk["owner"], until=datetime.fromisoformat(desk["until"]))


def _as_ours(event: Json, world: World, number: int) -> Json:
    """An event by our identity that no write of ours caused."""
    ours = json.loads(json.dumps(event))
    principal = world.principals["medic"]
    claims = ours["data"]["claims"]
    claims["appid"] = principal.appid
    claims["http://schemas.microsoft.com/identity/claims/objectidentifier"] = principal.oid
    ours["id"] = f"{event['id']}-{number}"
    ours["data"]["correlationId"] = world.new_id()
    ours["data"].get("httpRequest", {})["clientRequestId"] = world.new_id()
    return ours  # type: ignore[no-any-return]


class _Sink(ThreadingHTTPServer):
    """A channel on loopback that refuses messages for a while, or until the end.

    Attributes:
        bodies: Everything that was posted.
        refused: How many messages it refused.
    """

    daemon_threads = True

    def __init__(self, fails: int | None, lifted: threading.Event) -> None:
        super().__init__(("127.0.0.1", 0), _Sinking)
        self.fails, self.lifted = fails, lifted
        self.bodies: list[bytes] = []
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Sinking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sink = self.server
        assert isinstance(sink, _Sink)  # noqa: S101 - made there alone
        sink.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        down = not sink.lifted.is_set() and (sink.fails is None or sink.refused < sink.fails)
        sink.refused += down
        self.send_response(503 if down else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _sink(fails: int | None, lifted: threading.Event) -> Iterator[_Sink]:
    with _Sink(fails, lifted) as sink:
        thread = threading.Thread(target=sink.serve_forever, name="sink", daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()
