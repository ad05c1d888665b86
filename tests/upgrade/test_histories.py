"""Instances that began before an upgrade go on after it: today's code replays what earlier versions recorded.

A changed walk asks `order["walk"]` which way it goes, and keeps the old way for as long as instances have it.
"""

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from functions import events, orchestrators
from local.worker import load_functions, trigger_of
from tests.upgrade import replaying
from tests.upgrade.replaying import History, changed, differences, walk_of

RECORDED = {version: list(replaying.read(version)) for version in replaying.versions()}
ALL = [one for histories in RECORDED.values() for one in histories]


def test_each_version_of_the_walk_up_to_todays_has_histories_of_all_its_orchestrators():
    assert list(RECORDED) == list(range(1, events.WALK + 1))
    for histories in RECORDED.values():
        assert {one.orchestrator for one in histories} == set(replaying.WALKERS)


@pytest.mark.parametrize("version", RECORDED)
def test_the_histories_are_of_their_version_and_small(version):
    assert {one.input["walk"] for one in RECORDED[version] if "walk" in one.input} == {version}
    assert {one.orchestrator for one in RECORDED[version] if "walk" not in one.input} == {"notify"}
    assert sum(file.stat().st_size for file in (replaying.HISTORIES / str(version)).iterdir()) < 500_000
    assert max(Counter(one.shape for one in RECORDED[version]).values()) == 1


@pytest.mark.parametrize("version", RECORDED)
@pytest.mark.parametrize("name", replaying.WALKERS)
def test_todays_code_asks_at_every_turn_for_what_was_asked_for(version, name):
    walk = walk_of()
    found = [differences(walk, one) for one in RECORDED[version] if one.orchestrator == name]
    assert list(chain.from_iterable(found)) == []


def test_the_histories_go_through_every_line_of_the_walk():
    """A line that no history reaches could change without a test that fails."""
    functions = [
        each
        for each in vars(orchestrators).values()
        if isinstance(each, FunctionType) and inspect.isgeneratorfunction(each)
    ]
    assert {each.__name__ for each in functions if not each.__name__.startswith("_")} == set(replaying.WALKERS)
    reached: set[tuple[CodeType, int]] = set()
    tool = sys.monitoring.COVERAGE_ID
    sys.monitoring.use_tool_id(tool, "histories")
    sys.monitoring.register_callback(tool, sys.monitoring.events.LINE, lambda code, line: reached.add((code, line)))
    try:
        for each in functions:
            sys.monitoring.set_local_events(tool, each.__code__, sys.monitoring.events.LINE)
        walk = walk_of()
        for one in RECORDED[events.WALK]:
            replaying.actions_of(walk, one, one.turns[-1])
    finally:
        for each in functions:
            sys.monitoring.set_local_events(tool, each.__code__, 0)
        sys.monitoring.free_tool_id(tool)
    for each in functions:
        lines = {line for _, _, line in each.__code__.co_lines() if line is not None} - {each.__code__.co_firstlineno}
        missed = lines - {line for code, line in reached if code is each.__code__}
        assert not missed, f"{each.__name__}: no history reaches line {sorted(missed)} of orchestrators.py"


def test_every_name_in_the_histories_is_registered():
    registered = {
        (kind, str(getattr(trigger, "entity_name", None) or function.get_function_name()))
        for function in load_functions("function_app")
        for trigger in (trigger_of(function),)
        for kind in (trigger.get_binding_name(),)
    }
    asked: set[tuple[str, str]] = set()
    for one in ALL:
        asked.add(("orchestrationTrigger", one.orchestrator))
        for action in (action for turn in one.turns for action in turn.actions):
            for key, kind in (("scheduleTask", "activityTrigger"), ("createSubOrchestration", "orchestrationTrigger")):
                if key in action:
                    asked.add((kind, action[key]["name"]))
            for message in action.get("sendEntityMessage", {}).values():
                if isinstance(message, dict) and "targetInstanceId" in message:
                    asked.add(("entityTrigger", message["targetInstanceId"].split("@")[1]))
    assert len(asked) > 15
    assert asked - registered == set()


@pytest.mark.parametrize("words", ["/tmp/", "/home/", str(Path(__file__).parents[2]), "Traceback", "stackTrace"])
def test_the_histories_hold_nothing_of_the_machine_they_were_recorded_on(words):
    for one in ALL:
        assert words not in json.dumps([one.events, [turn.actions for turn in one.turns]])


# ------------------------------------------------------------------------------------------ what a change would do

NEW = 'order["walk"] >= 2'
ASKED = """        step = yield ctx.call_activity("ask", input=order, retry_policy=_retries(order))
"""
TOLD = """    _tell(ctx, step)
"""
JUDGED = """    step = yield ctx.call_activity("judge", input=step, retry_policy=_retries(order))
"""
WAITING = """    if step["verdict"] != "ask":
        return step
    deadline = ctx.create_timer(timedelta(seconds=step["question_s"]))
"""
TURN = """    \"\"\"Wait for the plan's turn, and repair; or run the walks of a storm's members.\"\"\"
"""
TELLING = "    if {}:\n        _tell(ctx, step)\n"
SIGNAL = 'ctx.signal_entity(EntityInstanceId("desk", key), "release", {"owner": order["incident"]["id"]})'
CALL = SIGNAL.replace("ctx.signal_entity", "yield ctx.call_entity")

# What is changed, what it is changed to, and how it is done rightly: the old way stays for those who began on it.
CHANGES = {
    "a step inserted": (
        JUDGED,
        f"{JUDGED}    yield AGAIN\n",
        f"{JUDGED}    if {NEW}:\n        yield AGAIN\n",
    ),
    "a step removed": (
        ASKED,
        "        step = order\n",
        f"        step = order\n        if not {NEW}:\n    {ASKED}",
    ),
    "steps reordered": (
        TOLD + WAITING,
        WAITING + TOLD,
        f"{TELLING.format(f'not {NEW}')}{WAITING}{TELLING.format(NEW)}",
    ),
    "an activity renamed": ('"settle"', '"answered"', f'"answered" if {NEW} else "settle"'),
    "an orchestrator renamed": ('"gather"', '"collect_all"', f'"collect_all" if {NEW} else "gather"'),
    "another input": (
        '"gather", input={**order, "polls": 0}',
        '"gather", input={**order, "polls": 1}',
        f'"gather", input={{**order, "polls": 1 if {NEW} else 0}}',
    ),
    "another timer": (
        'seconds=step["question_s"]',
        'seconds=60 + step["question_s"]',
        f'seconds=60 * ({NEW}) + step["question_s"]',
    ),
    "a timer that was not there": (
        f'{TURN}    if step["wait_s"] > 0:\n',
        f'{TURN}    if step["wait_s"] >= 0:\n',
        f'{TURN}    if step["wait_s"] > 0 or step["walk"] >= 2:\n',
    ),
    "another event": ('event(step["bell"])', 'event("decided")', f'event("decided" if {NEW} else step["bell"])'),
    "another id of a sub-orchestration": (
        "f\"tell-{order['key']}\"",
        "f\"told-{order['key']}\"",
        "f\"{'told' if order.get('walk', 1) >= 2 else 'tell'}-{order['key']}\"",
    ),
    "an id where the engine gave one": (
        '"repair", input={**step, "number": 0, "attempt": 1}',
        '"repair", instance_id="repair", input={**step, "number": 0, "attempt": 1}',
        '"repair", instance_id="repair" if step["walk"] >= 2 else None, input={**step, "number": 0, "attempt": 1}',
    ),
    "another operation of an entity": (
        'desk, "claim", claim',
        'desk, "take", claim',
        'desk, "take" if step["walk"] >= 2 else "claim", claim',
    ),
    "a call where a signal was": (
        SIGNAL,
        CALL,
        f"if {NEW}:\n                {CALL}\n            else:\n                {SIGNAL}",
    ),
    "other pauses between polls": (
        "wait_s / step[",
        "2 * wait_s / step[",
        '(1 + (step["walk"] >= 2)) * wait_s / step[',
    ),
    "earlier retries": ("max(5.0 / ", "max(50.0 / ", 'max((50.0 if order.get("walk", 1) >= 2 else 5.0) / '),
    "fewer retries": ("attempts=6", "attempts=1", 'attempts=1 if order.get("walk", 1) >= 2 else 6'),
    "an end that is not told": (
        "    elif (telling := _tell(ctx, step)) is not None:\n",
        "    elif (telling := None) is not None:\n",
        f"    elif (telling := None if {NEW} else _tell(ctx, step)) is not None:\n",
    ),
    "another next generation": (
        'ctx.continue_as_new({**order, "polls": order["polls"] + 1})',
        'ctx.continue_as_new({**order, "polls": order["polls"] + 2})',
        f'ctx.continue_as_new({{**order, "polls": order["polls"] + 1 + ({NEW})}})',
    ),
    "another answer": (
        'return {"end": step["end"]}',
        'return {"ended": step["end"]}',
        f'return {{"ended" if {NEW} else "end": step["end"]}}',
    ),
}
AGAIN = ("AGAIN", 'ctx.call_activity("judge", input=step, retry_policy=_retries(order))')


@pytest.fixture(scope="module")
def first() -> list[History]:
    return RECORDED[1]


def found(first: list[History], old: str, new: str) -> Iterator[str]:
    """Say where the walk, with one text replaced by another, is not what the first histories recorded."""
    walk = walk_of(changed((old, new.replace(*AGAIN))))
    return (words for one in first for words in differences(walk, one))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_a_version_is_caught_and_the_same_with_one_is_not(first, change):
    old, new, guarded = CHANGES[change]
    assert any(found(first, old, new))
    assert list(found(first, old, guarded)) == []


def test_the_walk_as_it_is_differs_in_nothing(first):
    assert list(found(first, JUDGED, JUDGED)) == []


def test_a_replay_that_breaks_off_is_told_by_its_name(first):
    old, new, _ = CHANGES["a step inserted"]
    assert any("NonDeterminismError" in words for words in found(first, old, new))
