"""The in-memory task hub, made to behave like Azure where it matters.

The hub that durabletask ships for tests loses what a killed worker held, refuses every used instance id, spends a
thread on each timer and gives up on sub-orchestrations after 30 seconds. Azure does none of that, and an app tested on
such a hub is tested on the wrong faults. The subclass uses private methods on purpose: durabletask is pinned exactly.

A few words used below. An *execution* is one life of an instance id: it ends when the id is replaced or continued as
new, and nothing that belonged to it may reach the next. A *lease* is work that a worker holds; it is given back when
the worker's stream ends. *Open work* is an activity that waits for its first completion.
"""

import heapq
import itertools
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, cast, override

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc  # type: ignore[import-untyped]
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from durabletask.testing.in_memory_backend import (
    ActivityWorkItem,
    InMemoryOrchestrationBackend,
    OrchestrationInstance,
)

type Kind = Literal["orchestration", "activity", "entity"]
type HandOutHook = Callable[[Kind, str, str], None]

# A stream and a client that waits for a completion each hold a thread for as long as they last.
SERVER_THREADS = 64
LONGEST_WAIT_S = 3600.0
# What may follow an instance id into its next execution: messages from outside, never results of the earlier one.
CARRIED_OVER = frozenset({"eventRaised", "executionSuspended", "executionResumed", "executionTerminated"})


class Lease(NamedTuple):
    """Work that a worker holds, and the stream it went out on."""

    stream: object
    kind: Kind
    id: str


class OpenActivity(NamedTuple):
    """An activity without a completion, and the execution that asked for it."""

    item: ActivityWorkItem
    execution: int


class ParentTask(NamedTuple):
    """Who waits for a sub-orchestration."""

    instance_id: str
    execution: int
    task_id: int


class AlarmClock:
    """Calls functions when they are due, all of them on one thread."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int, int | None, Callable[[], None]]] = []
        self._owners: dict[int, int] = {}
        self._stale = 0
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many alarms are kept."""
        return len(self._alarms)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="hub-timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Forget all alarms and end the thread."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None:
            thread.join()
        self.clear()

    def clear(self) -> None:
        """Forget all alarms."""
        with self._changed:
            self._alarms.clear()
            self._owners.clear()
            self._stale = 0

    def set(self, due: datetime, owner: int | None, call: Callable[[], None]) -> None:
        """Call it when due; an alarm with an owner is dropped with it."""
        with self._changed:
            heapq.heappush(self._alarms, (due.timestamp(), next(self._numbers), owner, call))
            if owner is not None:
                self._owners[owner] = self._owners.get(owner, 0) + 1
            self._changed.notify()

    def hurry(self, owner: int) -> None:
        """Call what an owner waits for at once."""
        with self._changed:
            now = time.time()
            self._alarms = [
                (min(due, now) if whose == owner else due, number, whose, call)
                for due, number, whose, call in self._alarms
            ]
            heapq.heapify(self._alarms)
            self._changed.notify()

    def drop(self, owner: int) -> None:
        """Forget the alarms of an owner."""
        with self._changed:
            self._stale += self._owners.pop(owner, 0)
            # Sweeping only when half is stale keeps a storm of short-lived owners from costing its square.
            if self._stale * 2 > len(self._alarms):
                self._alarms = [alarm for alarm in self._alarms if alarm[2] is None or alarm[2] in self._owners]
                heapq.heapify(self._alarms)
                self._stale = 0

    def next_of_owners(self) -> dict[int, datetime]:
        """When the next alarm of each owner is due."""
        with self._changed:
            found: dict[int, float] = {}
            for due, _, owner, _ in self._alarms:
                if owner is not None and self._owners.get(owner, 0) > 0:
                    found[owner] = min(due, found.get(owner, due))
        return {owner: datetime.fromtimestamp(due, UTC) for owner, due in found.items()}

    def _run(self) -> None:
        while (call := self._next_due()) is not None:
            call()

    def _next_due(self) -> Callable[[], None] | None:
        with self._changed:
            while self._thread is threading.current_thread():
                wait_s = self._alarms[0][0] - time.time() if self._alarms else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, owner, call = heapq.heappop(self._alarms)
                if owner is None:
                    return call
                if owner in self._owners:
                    self._owners[owner] -= 1
                    return call
                self._stale -= 1
            return None


class Backend(InMemoryOrchestrationBackend):
    """A task hub in memory that behaves like Azure's.

    Args:
        twice: The share of activities that are handed out twice at once; the first completion counts.
        seed: Chooses which.
        on_hand_out: Called with kind, name and instance id just before work goes out, on the stream's thread.

    Attributes:
        doubled: How many activities were handed out twice.
    """

    def __init__(self, *, twice: float = 0.0, seed: int = 0, on_hand_out: HandOutHook | None = None) -> None:
        super().__init__(max_history_size=1_000_000, port=0)
        self.on_hand_out = on_hand_out
        self.doubled = 0
        self._twice = twice
        self._random = random.Random(seed)
        self._logger = logging.getLogger(__name__)
        # The stock hub logs every call, and each ignored completion as a warning.
        self._logger.setLevel(logging.ERROR)
        self._clock = AlarmClock()
        self._threads: ThreadPoolExecutor | None = None
        self._streams: set[object] = set()
        self._leases: dict[str, Lease] = {}
        self._open: dict[str, OpenActivity] = {}
        self._executions: dict[str, int] = {}
        self._execution_numbers = itertools.count(1)
        self._parents: dict[str, ParentTask] = {}
        self._callers: dict[str, tuple[str, int]] = {}
        self._enqueue_later: set[str] = set()

    @property
    def address(self) -> str:
        """Where workers and clients connect: host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def streams(self) -> int:
        """How many workers are connected."""
        return len(self._streams)

    @property
    def timers(self) -> int:
        """How many timers are kept, stale ones included."""
        return len(self._clock)

    @override
    def start(self) -> str:
        """Listen on a free port of the loopback interface and return the address."""
        self._shutdown_event.clear()
        self._threads = ThreadPoolExecutor(SERVER_THREADS, thread_name_prefix="hub")
        server = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
        add_servicer = cast(
            "Callable[[InMemoryOrchestrationBackend, grpc.Server], None]",
            stubs.add_TaskHubSidecarServiceServicer_to_server,
        )
        add_servicer(self, server)
        self._port = server.add_insecure_port("127.0.0.1:0")
        self._server = server
        self._clock.start()
        server.start()
        return self.address

    @override
    def stop(self, grace: float | None = None) -> None:
        """Stop serving; no thread is left."""
        self._clock.stop()
        if self._server is not None:
            self._server.stop(grace)
        self._release_waiters()
        super().stop(grace)
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def lose_hub(self) -> None:
        """Forget everything, as if the storage behind the task hub were gone."""
        with self._lock:
            super().reset()  # type: ignore[no-untyped-call]
            self._clock.clear()
            for kept in (self._leases, self._open, self._executions, self._parents, self._callers):
                kept.clear()
            self._enqueue_later.clear()

    # What it holds, for those who look from outside

    def unfinished(self) -> dict[str, datetime | None]:
        """Give the orchestrations that are not over, and when the next timer of each is due, or of what it waits for.

        One without a timer that has no work either waits for an event from outside.
        """
        with self._lock:
            timers = self._clock.next_of_owners()
            running = {
                instance_id: timers.get(self._executions.get(instance_id, -1))
                for instance_id, instance in self._instances.items()
                if not self._is_terminal_status(instance.status)
            }
            for child in list(running):
                due, parent = running[child], self._parents.get(child)
                while due is not None and parent is not None and parent.instance_id in running:
                    known = running[parent.instance_id]
                    running[parent.instance_id] = due if known is None else min(due, known)
                    parent = self._parents.get(parent.instance_id)
        return running

    def hurry(self, prefix: str) -> None:
        """Let the timers of the orchestrations whose ids begin so fire now."""
        with self._lock:
            for instance_id, execution in self._executions.items():
                if instance_id.startswith(prefix):
                    self._clock.hurry(execution)

    def is_at_work(self) -> bool:
        """Tell whether anything is queued or handed out."""
        with self._lock:
            return bool(
                self._leases
                or self._activity_queue
                or self._orchestration_queue
                or self._entity_queue
                or self._enqueue_later
            )

    def histories(self) -> dict[str, bytes]:
        """Give everything that is kept of each orchestration and entity."""
        with self._lock:
            found = {
                name: repr((one.input, one.output, one.custom_status, [str(event) for event in one.history])).encode()
                for name, one in self._instances.items()
            }
            return found | {name: (one.serialized_state or "").encode() for name, one in self._entities.items()}

    def entities(self) -> dict[str, str]:
        """Give the state of each entity that has one, as it is kept."""
        with self._lock:
            return {
                name: one.serialized_state for name, one in self._entities.items() if one.serialized_state is not None
            }

    def _release_waiters(self) -> None:
        """Let go of clients that wait: a thread each, for up to as long as they asked."""
        with self._lock:
            for waiters in self._state_waiters.values():
                for waiter in waiters:
                    waiter.event.set()
            self._state_waiters.clear()

    @override
    def _wait_for_state(
        self, instance_id: str, predicate: Callable[[OrchestrationInstance], bool], timeout: float | None
    ) -> OrchestrationInstance | None:
        # A call without a deadline has infinity left, which the stock wait cannot take.
        bounded_s = min(timeout or LONGEST_WAIT_S, LONGEST_WAIT_S)
        return super()._wait_for_state(instance_id, predicate, bounded_s)

    @override
    def GetEntity(self, request: pb.GetEntityRequest, context: grpc.ServicerContext) -> pb.GetEntityResponse:
        """Read an entity; as on Azure, one without a state does not exist."""
        with self._lock:
            entity = self._entities.get(request.instanceId)
            if entity is None or entity.serialized_state is None:
                return pb.GetEntityResponse(exists=False)
            return super().GetEntity(request, context)

    # Instances and executions

    @override
    def StartInstance(
        self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext
    ) -> pb.CreateInstanceResponse:
        """Start an instance; a finished one of that id is replaced, a running one stays."""
        with self._lock:
            request.instanceId = request.instanceId or uuid.uuid4().hex
            existing = self._instances.get(request.instanceId)
            chosen = list(request.orchestrationIdReusePolicy.replaceableStatus)
            if existing is not None and not chosen and self._is_terminal_status(existing.status):
                del self._instances[request.instanceId]
            response = super().StartInstance(request, context)
            self._begin_execution(request.instanceId)
        return response

    @override
    def _create_instance_internal(
        self, instance_id: str, name: str, encoded_input: str | None = None, version: str | None = None
    ) -> None:
        super()._create_instance_internal(instance_id, name, encoded_input, version)
        self._begin_execution(instance_id)

    @override
    def _prepare_rewind(self, instance: OrchestrationInstance, reason: str | None = None) -> None:
        super()._prepare_rewind(instance, reason)
        self._begin_execution(instance.instance_id)

    def _begin_execution(self, instance_id: str) -> None:
        self._end_execution(instance_id)
        self._executions[instance_id] = next(self._execution_numbers)
        self._orchestration_in_flight.discard(instance_id)
        self._enqueue_orchestration(instance_id)

    def _end_execution(self, instance_id: str) -> None:
        """Cut off whatever the current execution still waits for."""
        self._enqueue_later.discard(instance_id)
        if (execution := self._executions.pop(instance_id, None)) is not None:
            self._clock.drop(execution)

    @override
    def _enqueue_orchestration(self, instance_id: str) -> None:
        instance = self._instances.get(instance_id)
        if instance is None:
            return
        if self._is_terminal_status(instance.status):
            # The stock hub would run a finished orchestration again for a late result.
            instance.pending_events.clear()
        elif instance_id in self._orchestration_in_flight:
            # In the stock queue it would be skipped, with everything behind it, until the next 0.1 s tick.
            self._enqueue_later.add(instance_id)
        else:
            super()._enqueue_orchestration(instance_id)

    def _enqueue_what_arrived(self, instance_id: str) -> None:
        if instance_id in self._enqueue_later:
            self._enqueue_later.discard(instance_id)
            self._enqueue_orchestration(instance_id)

    # Handing out and taking back

    @override
    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Iterator[pb.WorkItem]:
        """Stream work to a worker; what it has not completed when its stream ends goes to the next one."""
        stream = object()
        with self._lock:
            self._streams.add(stream)
        if not context.add_callback(lambda: self._end_stream(stream)):
            self._end_stream(stream)
            return
        for item in super().GetWorkItems(request, context):
            with self._lock:
                lease, name = self._lease(item, stream)
                if stream not in self._streams:  # it ended while the item was on its way
                    self._give_back(item.completionToken)
                    return
            if self.on_hand_out is not None:
                self.on_hand_out(lease.kind, name, lease.id)
            yield item

    def _lease(self, item: pb.WorkItem, stream: object) -> tuple[Lease, str]:
        if item.HasField("activityRequest"):
            work = item.activityRequest
            lease, name = Lease(stream, "activity", work.orchestrationInstance.instanceId), work.name
            # The stock token is that of the turn, shared by all activities it scheduled.
            item.completionToken = f"{item.completionToken}/{work.taskId}"
        elif item.HasField("orchestratorRequest"):
            lease = Lease(stream, "orchestration", item.orchestratorRequest.instanceId)
            instance = self._instances.get(lease.id)
            name = instance.name if instance is not None else ""
        else:
            lease = Lease(stream, "entity", item.entityRequestV2.instanceId)
            name = EntityInstanceId.parse(lease.id).entity
        self._leases[item.completionToken] = lease
        return lease, name

    def _end_stream(self, stream: object) -> None:
        with self._lock:
            self._streams.discard(stream)
            for token in [token for token, lease in self._leases.items() if lease.stream is stream]:
                self._give_back(token)

    def _give_back(self, token: str) -> None:
        lease = self._leases.pop(token, None)
        if lease is None:
            return
        if lease.kind == "activity":
            if (work := self._open.get(token)) is not None:
                self._activity_queue.append(work.item)
                self._work_available.set()
        elif lease.kind == "orchestration":
            instance = self._instances.get(lease.id)
            if instance is not None and str(instance.completion_token) == token:
                instance.completion_token = self._new_token()  # a late completion must not match
                instance.pending_events[:0] = instance.dispatched_events
                instance.dispatched_events.clear()
                self._orchestration_in_flight.discard(lease.id)
                self._enqueue_later.discard(lease.id)
                self._enqueue_orchestration(lease.id)
        else:
            entity = self._entities.get(lease.id)
            if entity is not None and str(entity.completion_token) == token:
                entity.completion_token = self._new_token()
                entity.pending_operations[:0] = entity.dispatched_operations
                entity.dispatched_operations.clear()
                self._entity_in_flight.discard(lease.id)
                self._enqueue_entity(lease.id)

    def _new_token(self) -> int:
        token = self._next_completion_token
        self._next_completion_token += 1
        return token

    @override
    def AbandonTaskActivityWorkItem(
        self, request: pb.AbandonActivityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonActivityTaskResponse:
        """Take an activity back from a worker that cannot run it."""
        with self._lock:
            self._give_back(request.completionToken)
        return pb.AbandonActivityTaskResponse()

    @override
    def AbandonTaskOrchestratorWorkItem(
        self, request: pb.AbandonOrchestrationTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonOrchestrationTaskResponse:
        """Take a turn back from a worker that cannot run it."""
        with self._lock:
            self._give_back(request.completionToken)
        return pb.AbandonOrchestrationTaskResponse()

    @override
    def AbandonTaskEntityWorkItem(
        self, request: pb.AbandonEntityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonEntityTaskResponse:
        """Take operations back from a worker that cannot run them."""
        with self._lock:
            self._give_back(request.completionToken)
        return pb.AbandonEntityTaskResponse()

    # Completions: each counts once, and only for the execution that asked

    @override
    def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take the result of a turn, unless the turn was given back or its instance replaced."""
        with self._lock:
            self._leases.pop(request.completionToken, None)
            instance = self._instances.get(request.instanceId)
            if instance is None or str(instance.completion_token) != request.completionToken:
                return pb.CompleteTaskResponse()
            response = super().CompleteOrchestratorTask(request, context)
            if self._is_terminal_status(instance.status):
                self._end_execution(request.instanceId)
                self._tell_parent(instance)
            else:
                self._enqueue_what_arrived(request.instanceId)
        return response

    @override
    def CompleteActivityTask(
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take the first result of an activity."""
        with self._lock:
            self._leases.pop(request.completionToken, None)
            work = self._open.pop(request.completionToken, None)
            if work is None or work.execution != self._executions.get(request.instanceId):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    @override
    def CompleteEntityTask(
        self, request: pb.EntityBatchResult, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take the results of an entity's operations, unless they were given back."""
        with self._lock:
            if self._leases.pop(request.completionToken, None) is None:
                return pb.CompleteTaskResponse()
            for operation in request.operationInfos:
                caller = self._callers.pop(operation.requestId, None)
                if caller is not None and self._executions.get(caller[0]) != caller[1]:
                    # The worker fails an orchestration that gets an answer it never asked for.
                    operation.ClearField("responseDestination")
            starts = [action.startNewOrchestration for action in request.actions if _starts(action)]
            signals = [action for action in request.actions if not _starts(action)]
            del request.actions[:]
            request.actions.extend(signals)
            response = super().CompleteEntityTask(request, context)
            for start in starts:
                self._start_quietly(start)
        return response

    def _start_quietly(self, start: pb.StartNewOrchestrationAction) -> None:
        """Start what an entity asked for; as on Azure, one that runs already is nobody's error."""
        existing = self._instances.get(start.instanceId)
        if existing is None or self._is_terminal_status(existing.status):
            self._create_instance_internal(
                start.instanceId or uuid.uuid4().hex,
                start.name,
                start.input.value if start.HasField("input") else None,
                start.version.value if start.HasField("version") else None,
            )

    # What a turn asks for

    @override
    def _process_complete_orchestration_action(
        self, instance: OrchestrationInstance, complete_action: pb.CompleteOrchestrationAction
    ) -> None:
        continues = complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
        if continues:
            instance.pending_events = [
                event for event in instance.pending_events if event.WhichOneof("eventType") in CARRIED_OVER
            ]
        super()._process_complete_orchestration_action(instance, complete_action)
        if continues:
            self._begin_execution(instance.instance_id)

    @override
    def _process_schedule_task_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        super()._process_schedule_task_action(instance, action)
        item = self._activity_queue[-1]
        token = f"{item.completion_token}/{item.task_id}"
        self._open[token] = OpenActivity(item, self._executions[instance.instance_id])
        if self._random.random() < self._twice:
            self.doubled += 1
            self._activity_queue.append(item)

    @override
    def _process_create_timer_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        due = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(action.id, due))
        if instance.status == pb.ORCHESTRATION_STATUS_PENDING:
            instance.status = pb.ORCHESTRATION_STATUS_RUNNING
        instance_id, execution, timer_id = instance.instance_id, self._executions[instance.instance_id], action.id

        def fire() -> None:
            with self._lock:
                if self._executions.get(instance_id) == execution:
                    self._deliver(instance_id, helpers.new_timer_fired_event(timer_id, due))

        self._clock.set(due, execution, fire)

    @override
    def _schedule_delayed_entity_operation(self, entity_id: str, event: pb.HistoryEvent, fire_at: datetime) -> None:
        lifecycle = self._generation

        def fire() -> None:
            with self._lock:
                if self._generation == lifecycle:
                    self._queue_entity_operation(entity_id, event)

        self._clock.set(fire_at, None, fire)

    @override
    def _process_send_entity_message_action(
        self, instance: OrchestrationInstance, action: pb.OrchestratorAction
    ) -> None:
        if action.sendEntityMessage.HasField("entityOperationCalled"):
            request_id = action.sendEntityMessage.entityOperationCalled.requestId
            self._callers[request_id] = (instance.instance_id, self._executions[instance.instance_id])
        super()._process_send_entity_message_action(instance, action)

    @override
    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        execution = self._executions[parent_instance_id]
        self._parents[sub_instance_id] = ParentTask(parent_instance_id, execution, task_id)
        sub_instance = self._instances[sub_instance_id]
        if self._is_terminal_status(sub_instance.status):  # a rewound parent may ask for one that has ended
            self._tell_parent(sub_instance)

    def _tell_parent(self, ended: OrchestrationInstance) -> None:
        parent = self._parents.pop(ended.instance_id, None)
        if parent is None or self._executions.get(parent.instance_id) != parent.execution:
            return
        if ended.status == pb.ORCHESTRATION_STATUS_COMPLETED:
            event = helpers.new_sub_orchestration_completed_event(parent.task_id, ended.output)
        else:
            event = helpers.new_sub_orchestration_failed_event(parent.task_id, Exception("Sub-orchestration failed"))
            if ended.failure_details is not None:
                event.subOrchestrationInstanceFailed.failureDetails.CopyFrom(ended.failure_details)
        self._deliver(parent.instance_id, event)

    def _deliver(self, instance_id: str, event: pb.HistoryEvent) -> None:
        instance = self._instances[instance_id]
        instance.pending_events.append(event)
        instance.last_updated_at = datetime.now(UTC)
        self._enqueue_orchestration(instance_id)


def _starts(action: Any) -> bool:
    return bool(action.HasField("startNewOrchestration"))
