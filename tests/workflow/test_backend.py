"""The task hub of one machine: what it does with work whose worker was killed, and with results that come too late."""

import asyncio
import base64
import json
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from durabletask import history
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from google.protobuf import timestamp_pb2, wrappers_pb2  # type: ignore[import-untyped]

from local.backend import AlarmClock, Backend
from local.host import Host
from local.worker import Worker, client_config, load_functions
from tests.workflow.theatre import Killer

APP = "tests.workflow.sample_app"
SOON_S = 10.0
SUB_COMPLETED = history.SubOrchestrationInstanceCompletedEvent


# Said once a process by the codec that Azure's own worker uses, too.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


def eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SOON_S
    while not (result := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return result


# A hub with a worker process, to be killed


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host(app=APP, timers=False) as running:
        yield running


@pytest.fixture(autouse=True)
def no_killer(request):
    yield
    if "host" in request.fixturenames:
        request.getfixturevalue("host").backend.on_hand_out = None


def finish(host: Host, instance_id: str) -> Any:
    state = host.client.wait_for_orchestration_completion(instance_id, timeout=15)
    assert state is not None
    assert state.runtime_status == OrchestrationStatus.COMPLETED, state
    return json.loads(state.serialized_output or "null")


def events_of(host: Host, instance_id: str) -> Counter[type]:
    return Counter(type(event) for event in host.client.get_orchestration_history(instance_id))


@pytest.mark.parametrize(
    ("orchestrator", "killed_at", "once"),
    [
        pytest.param("steps", ("orchestration", "steps", 1), history.ExecutionStartedEvent, id="first-turn"),
        pytest.param("steps", ("orchestration", "steps", 2), history.ExecutionStartedEvent, id="second-turn"),
        pytest.param("steps", ("activity", "note", 1), history.ExecutionStartedEvent, id="activity"),
        pytest.param("call_counter", ("entity", "counter", 1), history.EntityOperationCompletedEvent, id="entity-call"),
        pytest.param("signal_counter", ("entity", "counter", 1), history.TimerFiredEvent, id="entity-signal"),
        pytest.param("nap", ("orchestration", "nap", 2), history.TimerFiredEvent, id="timer"),
        pytest.param("wait_for_bell", ("orchestration", "wait_for_bell", 2), history.EventRaisedEvent, id="event"),
        pytest.param("parent", ("orchestration", "nap", 1), SUB_COMPLETED, id="sub-orchestration"),
        pytest.param("parent", ("orchestration", "parent", 2), SUB_COMPLETED, id="sub-orchestration-ended"),
    ],
)
def test_work_of_a_killed_worker_completes_exactly_once(host, tmp_path, orchestrator, killed_at, once):
    key = tmp_path.name  # differs from test to test
    given = {"steps": {"file": str(tmp_path / "notes")}, "nap": 1, "parent": "nap"}.get(orchestrator, key)
    expected = {
        "steps": {"text": "HELLO", "known": False},
        "call_counter": 1,
        "signal_counter": key,
        "nap": "rested",
        "wait_for_bell": 7,
        "parent": "child rested",
    }
    killer = Killer(host, *killed_at)
    instance_id = host.client.schedule_new_orchestration(orchestrator, input=given)
    if orchestrator == "wait_for_bell":
        host.client.wait_for_orchestration_start(instance_id, timeout=15)
        host.client.raise_orchestration_event(instance_id, "bell", data=7)

    assert finish(host, instance_id) == expected[orchestrator]
    if killed_at[0] == "entity":
        counter = EntityInstanceId("Counter", key)
        eventually(
            lambda: (state := host.client.get_entity(counter)) and state.get_state() == "1", "the operation is lost"
        )
    assert killer.victim not in {None, host.worker_pid}
    seen = events_of(host, instance_id)
    assert seen[once] == 1
    assert seen[history.ExecutionCompletedEvent] == 1
    assert seen[history.TaskScheduledEvent] == seen[history.TaskCompletedEvent]


def test_an_activity_killed_while_it_runs_is_run_again_and_counts_once(host, tmp_path):
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    instance_id = host.client.schedule_new_orchestration("steps", input={"file": str(notes), "wait_for": str(gate)})
    eventually(notes.exists, "the activity never ran")
    host.kill_worker()
    eventually(lambda: len(notes.read_text().splitlines()) == 2, "the activity was not handed out again")
    gate.touch()

    assert finish(host, instance_id)["text"] == "HELLO"
    assert events_of(host, instance_id)[history.TaskCompletedEvent] == 2  # one for each of two activities


def test_a_running_id_is_refused_and_a_finished_one_replaced(host):
    host.client.schedule_new_orchestration("wait_for_bell", instance_id="one")
    with pytest.raises(grpc.RpcError) as refusal:
        host.client.schedule_new_orchestration("nap", input=0, instance_id="one")
    assert refusal.value.code() == grpc.StatusCode.ALREADY_EXISTS

    host.client.raise_orchestration_event("one", "bell")
    finish(host, "one")
    host.client.schedule_new_orchestration("nap", input=0, instance_id="one")
    assert finish(host, "one") == "rested"


def test_a_purged_id_starts_again(host):
    host.client.schedule_new_orchestration("nap", input=0, instance_id="gone")
    finish(host, "gone")
    assert host.client.purge_orchestration("gone").deleted_instance_count == 1
    host.client.schedule_new_orchestration("nap", input=0, instance_id="gone")
    assert finish(host, "gone") == "rested"


def test_an_entity_starts_what_is_not_running(host, caplog):
    starter = EntityInstanceId("Starter", "s")
    host.client.schedule_new_orchestration("wait_for_bell", instance_id="by-entity")
    host.client.signal_entity(starter, "start", input="by-entity")
    host.client.signal_entity(EntityInstanceId("Counter", "after"), "add", input=1)
    eventually(lambda: host.client.get_entity(EntityInstanceId("Counter", "after")), "no entity ran")
    assert host.client.get_orchestration_state("by-entity").name == "wait_for_bell"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    host.client.raise_orchestration_event("by-entity", "bell")
    finish(host, "by-entity")
    host.client.signal_entity(starter, "start", input="by-entity")
    eventually(lambda: host.client.get_orchestration_state("by-entity").name == "nap", "the finished id was kept")


def test_an_entity_without_a_state_does_not_exist(host):
    ended = EntityInstanceId("Counter", "ended")
    host.client.signal_entity(ended, "add", input=1)
    eventually(lambda: host.client.get_entity(ended), "no entity ran")
    host.client.signal_entity(ended, "end")
    eventually(lambda: host.client.get_entity(ended) is None, "the entity is still there")


def test_five_thousand_timers_live_on_one_thread_and_end_with_their_instance(host):
    host.client.schedule_new_orchestration("nap", input=0, instance_id="warm")
    finish(host, "warm")
    before = psutil.Process().num_threads()
    host.client.schedule_new_orchestration("many_timers", input=5000, instance_id="timers")
    eventually(lambda: host.backend.timers == 5000, "the timers were not set")
    # The server's pool and gRPC may grow by a few, not by one a timer.
    assert psutil.Process().num_threads() < before + 20
    host.client.raise_orchestration_event("timers", "bell")
    finish(host, "timers")
    assert host.backend.timers == 0


def test_an_idle_sub_orchestration_costs_no_thread(host):
    before = threading.active_count()
    for number in range(30):
        host.client.schedule_new_orchestration("parent", input="wait_for_bell", instance_id=f"parent{number}")
    eventually(
        lambda: all(host.client.get_orchestration_state(f"parent{number}:0001") for number in range(30)), "no children"
    )
    assert threading.active_count() < before + 20
    for number in range(30):
        host.client.raise_orchestration_event(f"parent{number}:0001", "bell", data="rang")
    assert {finish(host, f"parent{number}") for number in range(30)} == {"child rang"}


# A hub with a worker driven by hand, for the order of things


class Hand:
    """A worker that does what the test says."""

    def __init__(self, backend: Backend) -> None:
        self._channel = grpc.insecure_channel(backend.address)
        self.stub: Any = stubs.TaskHubSidecarServiceStub(self._channel)
        self._stream = self.stub.GetWorkItems(pb.GetWorkItemsRequest())
        self._items: queue.Queue[pb.WorkItem] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            for item in self._stream:
                self._items.put(item)
        except grpc.RpcError:
            pass

    def drop(self) -> None:
        """End the stream, as a killed worker does; calls still work, as those of a worker that only seems dead do."""
        self._stream.cancel()
        self._reader.join()

    def close(self) -> None:
        self.drop()
        self._channel.close()

    def take(self) -> pb.WorkItem:
        return self._items.get(timeout=SOON_S)

    def gets_nothing(self) -> bool:
        try:
            self._items.get(timeout=0.4)
        except queue.Empty:
            return True
        return False

    def start(self, instance_id: str = "one") -> None:
        self.stub.StartInstance(pb.CreateInstanceRequest(instanceId=instance_id, name="any"))

    def end_turn(self, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        turn = pb.OrchestratorResponse(
            instanceId=item.orchestratorRequest.instanceId, actions=actions, completionToken=item.completionToken
        )
        self.stub.CompleteOrchestratorTask(turn)

    def end_activity(self, item: pb.WorkItem, result: str = "1") -> None:
        work = item.activityRequest
        done = pb.ActivityResponse(
            instanceId=work.orchestrationInstance.instanceId,
            taskId=work.taskId,
            result=wrappers_pb2.StringValue(value=result),
            completionToken=item.completionToken,
        )
        self.stub.CompleteActivityTask(done)


@pytest.fixture
def backend() -> Iterator[Backend]:
    hub = Backend()
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def hand(backend) -> Iterator[Hand]:
    worker = Hand(backend)
    yield worker
    worker.close()


def schedule(number: int = 1) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=number, scheduleTask=pb.ScheduleTaskAction(name="work"))


def timer(seconds: float, number: int = 2) -> pb.OrchestratorAction:
    due = timestamp_pb2.Timestamp()
    due.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return pb.OrchestratorAction(id=number, createTimer=pb.CreateTimerAction(fireAt=due))


def complete(status: Any = pb.ORCHESTRATION_STATUS_COMPLETED) -> pb.OrchestratorAction:
    return helpers.new_complete_orchestration_action(99, status, '"end"', None)


def renew() -> pb.OrchestratorAction:
    return complete(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW)


def new_events(item: pb.WorkItem) -> list[str | None]:
    return [event.WhichOneof("eventType") for event in item.orchestratorRequest.newEvents]


def test_an_activity_completed_by_two_workers_counts_once(backend, hand):
    other = Hand(backend)
    hand.start()
    first = {"hand": hand, "other": other}
    turn = backend_takes(first)
    turn[0].end_turn(turn[1], schedule())
    holder, work = backend_takes(first)
    heir = other if holder is hand else hand
    holder.drop()
    again = heir.take()
    assert again.completionToken == work.completionToken

    holder.end_activity(work, '"stale"')
    heir.end_activity(again, '"fresh"')

    turn_two = heir.take()
    assert new_events(turn_two) == ["orchestratorStarted", "taskCompleted"]
    heir.end_turn(turn_two)
    assert heir.gets_nothing()
    other.close()


def backend_takes(hands: dict[str, Hand]) -> tuple[Hand, pb.WorkItem]:
    """The worker that got the next piece of work, and the work."""

    def poll() -> tuple[Hand, pb.WorkItem] | None:
        for worker in hands.values():
            if not worker._items.empty():
                return worker, worker._items.get()
        return None

    result: tuple[Hand, pb.WorkItem] = eventually(poll, "nobody got work")
    return result


def test_a_turn_given_back_counts_only_for_the_worker_that_has_it_now(backend, hand):
    hand.start()
    turn = hand.take()
    hand.drop()
    heir = Hand(backend)
    again = heir.take()
    hand.end_turn(turn, complete())
    assert backend._instances["one"].status != pb.ORCHESTRATION_STATUS_COMPLETED
    heir.end_turn(again, complete())
    assert backend._instances["one"].status == pb.ORCHESTRATION_STATUS_COMPLETED
    assert sum(event.HasField("executionCompleted") for event in backend._instances["one"].history) == 1
    heir.close()


@pytest.mark.parametrize("ends", [pytest.param(renew, id="continued as new"), pytest.param(complete, id="replaced")])
def test_nothing_of_an_earlier_execution_reaches_a_later_one(backend, hand, ends):
    hand.start()
    hand.end_turn(hand.take(), schedule(), timer(0.3))
    work = hand.take()
    hand.stub.RaiseEvent(pb.RaiseEventRequest(instanceId="one", name="bell"))
    hand.end_turn(hand.take(), ends())
    if ends is complete:
        hand.start()
    later = hand.take()
    hand.end_activity(work)
    hand.end_turn(later)

    assert new_events(later) == ["orchestratorStarted", "executionStarted"]
    assert hand.gets_nothing()
    assert backend.timers == 0


def test_what_arrives_during_the_last_turn_follows_only_if_it_came_from_outside(backend, hand):
    hand.start()
    hand.end_turn(hand.take(), schedule(1), schedule(3), timer(0.1))
    one, three = hand.take(), hand.take()
    hand.end_activity(one)
    turn = hand.take()
    hand.end_activity(three)
    hand.stub.RaiseEvent(pb.RaiseEventRequest(instanceId="one", name="bell"))
    eventually(lambda: len(backend._instances["one"].pending_events) == 3, "the timer did not fire")
    hand.end_turn(turn, renew())
    assert new_events(hand.take()) == ["orchestratorStarted", "executionStarted", "eventRaised"]


def test_an_entity_does_not_answer_an_execution_that_is_over(backend, hand):
    call = pb.EntityOperationCalledEvent(
        requestId="r1",
        operation="get",
        parentInstanceId=wrappers_pb2.StringValue(value="one"),
        targetInstanceId=wrappers_pb2.StringValue(value="@counter@a"),
    )
    hand.start()
    asked = pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction(entityOperationCalled=call))
    hand.end_turn(hand.take(), asked, renew())
    items = [hand.take(), hand.take()]
    (turn,) = [item for item in items if item.HasField("orchestratorRequest")]
    (work,) = [item for item in items if item.HasField("entityRequestV2")]
    hand.end_turn(turn)
    info = pb.OperationInfo(requestId="r1", responseDestination=pb.OrchestrationInstance(instanceId="one"))
    result = pb.OperationResult(success=pb.OperationResultSuccess())
    hand.stub.CompleteEntityTask(
        pb.EntityBatchResult(results=[result], operationInfos=[info], completionToken=work.completionToken)
    )
    assert hand.gets_nothing()


def test_a_sub_orchestration_ends_its_parents_wait_whenever_it_ends(backend, hand):
    hand.start("parent")
    create = pb.CreateSubOrchestrationAction(instanceId="child", name="any")
    hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createSubOrchestration=create))
    child = hand.take()
    hand.end_turn(child, renew())
    threads = {thread.name for thread in threading.enumerate()}
    # Only the parent's entry waits, not a thread with a deadline: nothing here can time out.
    assert not [name for name in threads if "watch" in name]
    assert backend._parents["child"].instance_id == "parent"
    assert backend._state_waiters == {}
    hand.end_turn(hand.take(), complete())
    parent = hand.take()
    assert new_events(parent) == ["orchestratorStarted", "subOrchestrationInstanceCompleted"]


def test_a_sub_orchestration_does_not_answer_an_execution_that_is_over(backend, hand):
    hand.start("parent")
    create = pb.CreateSubOrchestrationAction(instanceId="child", name="any")
    hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createSubOrchestration=create), renew())
    turns = {item.orchestratorRequest.instanceId: item for item in (hand.take(), hand.take())}
    hand.end_turn(turns["parent"])
    hand.end_turn(turns["child"], complete())
    assert hand.gets_nothing()


def test_operations_given_back_have_no_effect_through_the_worker_that_lost_them(backend, hand):
    signal = pb.SignalEntityRequest(instanceId="@counter@a", name="add", requestId="r")
    hand.stub.SignalEntity(signal)
    lost = hand.take()
    hand.drop()
    heir = Hand(backend)
    again = heir.take()
    start = pb.OperationAction(startNewOrchestration=pb.StartNewOrchestrationAction(instanceId="new", name="any"))
    state = wrappers_pb2.StringValue(value="1")
    for item in (lost, again, again):
        done = pb.EntityBatchResult(actions=[start], entityState=state, completionToken=item.completionToken)
        hand.stub.CompleteEntityTask(done)
        assert ("new" in backend._instances) == (item is again)
    assert heir.take().orchestratorRequest.instanceId == "new"
    assert heir.gets_nothing()
    heir.close()


def test_a_failed_sub_orchestration_tells_its_parent_why(backend, hand):
    hand.start("parent")
    create = pb.CreateSubOrchestrationAction(instanceId="child", name="any")
    hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createSubOrchestration=create))
    details = pb.TaskFailureDetails(errorType="ValueError", errorMessage="no")
    failed = helpers.new_complete_orchestration_action(99, pb.ORCHESTRATION_STATUS_FAILED, None, details)
    hand.end_turn(hand.take(), failed)
    event = hand.take().orchestratorRequest.newEvents[1].subOrchestrationInstanceFailed
    assert (event.failureDetails.errorType, event.failureDetails.errorMessage) == ("ValueError", "no")


def test_what_is_unfinished_says_when_it_wakes_also_through_what_it_waits_for(backend, hand):
    hand.start("parent")
    create = pb.CreateSubOrchestrationAction(instanceId="child", name="any")
    hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createSubOrchestration=create))
    assert backend.is_at_work()
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(due)
    hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction(fireAt=at)))
    hand.start("waits")
    hand.end_turn(hand.take())
    assert backend.unfinished() == {"parent": due, "child": due, "waits": None}
    assert not backend.is_at_work()
    assert set(backend.histories()) == {"parent", "child", "waits"}
    assert b"timerCreated" in backend.histories()["child"]
    assert backend.entities() == {}


def test_a_timer_can_be_hurried_that_of_another_stays(backend, hand):
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    for name in ("tell-one", "other"):
        hand.start(name)
        hand.end_turn(hand.take(), pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction(fireAt=at)))
    backend.hurry("tell-")
    turn = hand.take()
    assert (turn.orchestratorRequest.instanceId, new_events(turn)) == (
        "tell-one",
        ["orchestratorStarted", "timerFired"],
    )
    hand.end_turn(turn)
    assert hand.gets_nothing()


def test_some_activities_are_handed_out_twice_at_once_and_count_once():
    backend = Backend(twice=1.0)
    backend.start()
    hand = Hand(backend)
    hand.start()
    hand.end_turn(hand.take(), schedule())
    one, same = hand.take(), hand.take()
    assert one == same
    assert backend.doubled == 1
    hand.end_activity(one)
    hand.end_activity(same)
    turn = hand.take()
    assert new_events(turn) == ["orchestratorStarted", "taskCompleted"]
    hand.end_turn(turn)
    assert hand.gets_nothing()
    hand.close()
    backend.stop()


def test_a_seed_chooses_the_same_doubles_again():
    def doubled() -> list[int]:
        backend = Backend(twice=0.5, seed=7)
        backend.start()
        hand = Hand(backend)
        hand.start()
        hand.end_turn(hand.take(), *(schedule(number) for number in range(10)), schedule(10))
        taken: list[int] = []
        while 10 not in taken or not hand.gets_nothing():
            taken.append(hand.take().activityRequest.taskId) if not hand._items.empty() else None
        hand.close()
        backend.stop()
        return taken

    first = doubled()
    assert first == doubled()
    assert 11 < len(first) < 22


def test_a_late_result_does_not_run_a_finished_instance_again(backend, hand):
    hand.start()
    hand.end_turn(hand.take(), schedule(), complete())
    hand.end_activity(hand.take())
    hand.stub.RaiseEvent(pb.RaiseEventRequest(instanceId="one", name="bell"))
    hand.stub.SuspendInstance(pb.SuspendRequest(instanceId="one"))
    assert hand.gets_nothing()


def test_a_lost_hub_knows_nothing_and_starts_afresh(backend, hand):
    hand.start()
    turn = hand.take()
    backend.lose_hub()
    hand.end_turn(turn, schedule(), timer(0))
    assert not hand.stub.GetInstance(pb.GetInstanceRequest(instanceId="one")).exists
    hand.start()
    again = hand.take()
    hand.end_turn(turn, complete())  # the old worker still does not count
    hand.end_turn(again)
    assert hand.gets_nothing()


def test_a_delayed_signal_waits_on_the_clock(backend, hand):
    due = timestamp_pb2.Timestamp()
    due.FromDatetime(datetime.now(UTC) + timedelta(seconds=0.5))
    signal = pb.SignalEntityRequest(instanceId="@counter@a", name="add", requestId="r", scheduledTime=due)
    hand.stub.SignalEntity(signal)
    assert backend.timers == 1
    assert hand.take().entityRequestV2.instanceId == "@counter@a"
    assert time.time() >= due.ToDatetime(UTC).timestamp()


def test_a_suspended_instance_goes_on_when_resumed_within_a_turn(backend, hand):
    hand.start()
    turn = hand.take()
    hand.stub.SuspendInstance(pb.SuspendRequest(instanceId="one"))
    hand.end_turn(turn)
    suspended = hand.take()
    hand.stub.ResumeInstance(pb.ResumeRequest(instanceId="one"))
    hand.end_turn(suspended)
    assert "executionResumed" in new_events(hand.take())


def test_a_client_may_wait_without_a_deadline(backend, hand):
    hand.start()
    answer = hand.stub.WaitForInstanceCompletion.future(pb.GetInstanceRequest(instanceId="one"))
    eventually(lambda: backend._state_waiters, "the client does not wait")
    hand.end_turn(hand.take(), complete())
    assert answer.result(timeout=SOON_S).orchestrationState.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED


def test_stop_leaves_no_thread_even_with_clients_that_wait():
    before = set(threading.enumerate())
    backend = Backend()
    backend.start()
    hand = Hand(backend)
    hand.start()
    answer = hand.stub.WaitForInstanceCompletion.future(pb.GetInstanceRequest(instanceId="one"), timeout=20)
    eventually(lambda: backend._state_waiters, "the client does not wait")
    started = time.monotonic()
    backend.stop()
    assert time.monotonic() - started < 5
    assert answer.exception() is not None
    hand.close()
    eventually(lambda: set(threading.enumerate()) <= before, "a thread is left")


def test_the_clock_calls_all_in_order_on_one_thread_and_drops_what_is_stale():
    clock = AlarmClock()
    clock.start()
    called: list[tuple[int, int]] = []
    due = datetime.now(UTC) + timedelta(seconds=1)

    def note(number: int) -> None:
        called.append((number, threading.get_ident()))

    for number in reversed(range(5000)):
        clock.set(due + timedelta(microseconds=number), number % 2, partial(note, number))
    clock.drop(1)
    eventually(lambda: len(called) == 2500, "not all were called")
    assert [number for number, _ in called] == list(range(0, 5000, 2))
    assert len({thread for _, thread in called}) == 1
    clock.stop()


# The path that the Functions host takes


def test_the_host_path_and_the_worker_decide_the_same_at_every_turn(backend, hand, tmp_path):
    functions = {str(function.get_function_name()): function for function in load_functions(APP)}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    worker = Worker(backend.address)
    worker.register(load_functions(APP), client_config(backend.address), loop)

    plain = wrappers_pb2.StringValue(value=f'{{"file": "{tmp_path / "notes"}"}}')
    hand.stub.StartInstance(pb.CreateInstanceRequest(instanceId="one", name="steps", input=plain))
    turns = 0
    while backend._instances["one"].status != pb.ORCHESTRATION_STATUS_COMPLETED:
        item = hand.take()
        if item.HasField("activityRequest"):
            worker._execute_activity(item.activityRequest, hand.stub, item.completionToken)
            continue
        request = item.orchestratorRequest
        encoded = base64.b64encode(request.SerializeToString()).decode()
        handle = functions["steps"].get_user_function()
        answer = pb.OrchestratorResponse.FromString(
            base64.b64decode(asyncio.run(handle(func.OrchestrationContext(encoded))))
        )
        ours: list[pb.OrchestratorResponse] = []
        worker._execute_orchestrator(request, SimpleNamespace(CompleteOrchestratorTask=ours.append), "")
        assert list(ours[0].actions) == list(answer.actions)
        hand.end_turn(item, *answer.actions)
        turns += 1

    assert turns == 3
    assert backend._instances["one"].output == '{"text": "HELLO", "known": false}'
    assert Path(tmp_path / "notes").read_text() == "ran\n"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
