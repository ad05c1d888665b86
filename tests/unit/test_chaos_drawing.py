"""What a campaign draws: all of it from the seed, and in the long run everything there is."""

import json
import random
from collections import Counter

import msgspec
import pytest

from local.arm.happenings import AnyHappening
from local.arm.models import World
from local.arm.routes import ROUTES
from local.chaos import drawing, rules
from local.chaos.drawing import draw
from local.chaos.faulty import RECORDS, record_of
from local.chaos.playing import joined
from local.chaos.story import Story, as_json, from_json
from local.rehearsal import filled, policy_of, shipped
from local.worker import load_functions, trigger_of
from remediations import policy
from remediations.model import ResourceId
from remediations.trail import is_ours
from tests.conftest import ROOT

MANY = 40  # rounds: what a campaign of a thousand incidents plays, and some more


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return [draw(11, number) for number in range(MANY)]


def test_a_seed_draws_the_same_stories_each_time(stories):
    assert [draw(11, number) for number in range(MANY)] == stories
    assert draw(12, 0) != stories[0]


def test_a_round_does_not_depend_on_those_before_it(stories):
    assert draw(11, MANY - 1) == stories[-1]


def test_a_story_survives_its_file(stories):
    assert [from_json(as_json(story)) for story in stories] == stories


def test_everything_comes_up(stories):
    kinds = Counter(trouble.kind for story in stories for act in story.acts for trouble in act.troubles)
    assert set(kinds) == {*drawing.TROUBLES, *drawing.KINDS_OF_RACES}
    assert {kill.point for story in stories for kill in story.kills} == {kill.point for kill in drawing.kill_points()}
    drawn = {(fault.kind, (fault.operation, fault.record)) for story in stories for fault in story.store}
    assert drawn == set(drawing.STORE_DECK)
    assert {story.mode for story in stories} == {"auto", "ask", "dry-run"}
    assert {deed for story in stories for deed in story.people.deeds} == {
        "approve",
        "reject",
        "race",
        "late",
        "nothing",
    }
    assert {stray.kind for story in stories for act in story.acts for stray in act.strays} == {
        "again",
        "ours",
        "foreign",
        "broken",
        "batch",
    }
    assert {story.channel_fails for story in stories} >= {0, None}
    assert {0.0, 1.0} <= {story.twice for story in stories}
    assert any(story.losses for story in stories)


def test_every_scenario_and_every_crowd_is_played(stories):
    played = {act.name for story in stories for act in story.acts}
    scenarios = {scenario.name for scenario in drawing._scenarios()}
    assert len(scenarios) == len(shipped())
    assert scenarios <= played
    assert len(played - scenarios) == len(drawing.CROWDS) + len(drawing.RACES) + len(drawing.HELD_CROWDS)


def test_a_dry_run_and_questions_come_early():
    assert [draw(seed, number).mode for seed in (7, 4242) for number in range(4)] == 2 * [
        "auto",
        "auto",
        "dry-run",
        "ask",
    ]


def test_a_worker_dies_where_few_come_by_only_beside_a_crowd_that_does(stories):
    names = {what: {crowd(random.Random(0)).name for crowd in only} for what, only in drawing.ONLY_IN.items()}
    died = [(kill, story) for story in stories for kill in story.kills if kill.what in names and kill.at != "trigger"]
    assert {kill.what for kill, _ in died} == set(names)
    assert all(names[kill.what] & {act.name for act in story.acts} for kill, story in died)
    assert {kill.nth for kill, _ in died} == {1}


def test_the_hub_is_lost_in_a_storm_only_beside_one(stories):
    names = {"a storm of cancellations", "a storm of missing roles"}
    lost = [(loss, story) for story in stories for loss in story.losses if loss.what in drawing.ONLY_IN]
    assert len(lost) > 3
    assert all(names & {act.name for act in story.acts} for _, story in lost)
    assert {loss.nth for loss, _ in lost} == {1}


def test_each_round_has_an_act_that_policy_holds_back(stories):
    for story in stories:
        held = [act.subscription for act in story.acts if act.name.endswith("is held back")]
        scope = {"subscription": held[0]}
        rules = [rule for rule in story.policy["rules"] if rule["scope"] == scope]
        assert next(rule["mode"] for rule in rules if "actions" not in rule) in {"dry-run", "off"}


def test_the_judge_reads_the_rules_that_are_drawn(stories):
    """As the product does, for each act and action."""
    for story in stories[:12]:
        plain = policy_of(story.policy, {"blobs": "http://127.0.0.1:1/blobs"})
        known = policy.parse(json.dumps(plain).encode())
        for act in story.acts:
            path = f"/subscriptions/{act.subscription}/resourceGroups/rg-ml-prod/providers"
            path += "/Microsoft.MachineLearningServices/workspaces/mlw-demo/onlineEndpoints/ep-0/deployments/green"
            resource = ResourceId.parse(path)
            parts = {"subscription": act.subscription, "workspace": "mlw-demo", "endpoint": "ep-0"}
            for action in ("retry", "sync-keys", "grant-roles", "delete-idle"):
                held = known.permission(action, resource, {})
                assert rules.mode(plain, action, parts, "auto") == str(held.mode)
                assert rules.most(plain, action, parts, "budget_per_hour") == held.budget_per_hour


def test_a_race_is_of_one_failure_and_needs_no_person(stories):
    races = [(act, story) for story in stories for act in story.acts if act.name.startswith("right before the effect")]
    assert {act.failures for act, _ in races} == {1}
    for act, story in races:
        assert story.mode != "dry-run"
        assert {"scope": {"subscription": act.subscription}, "mode": "auto"} in story.policy["rules"]


def test_policies_close_and_hold_back_in_many_ways(stories):
    said = Counter(name for story in stories for name in story.policy)
    assert {"pauses", "freezes", "windows", "protected", "storm", "approval_window"} <= set(said)
    modes = {
        (rule["mode"], action)
        for story in stories
        for rule in story.policy["rules"]
        if "mode" in rule
        for action in rule.get("actions", ())
    }
    assert {mode for mode, _ in modes} == {"dry-run", "ask", "off"}
    assert {action for _, action in modes} == {"*", "retry", "sync-keys", "grant-roles", "delete-idle"}
    assert any("breaker_failures" in rule for story in stories for rule in story.policy["rules"])


def test_what_comes_of_a_grant_is_laid_where_roles_are_lacking(stories):
    laid = [act for story in stories for act in story.acts for one in act.troubles if "propagation" in one.kind]
    assert laid
    assert all("role_assignments" in act.world for act in laid)


def test_every_world_can_be_made_with_what_lies_over_it(stories):
    for story in stories:
        for act in story.acts:
            plain = {**act.world, "subscription": act.subscription}
            for trouble in act.troubles:
                plain = joined(plain, trouble.world)
            names = {"subscription": act.subscription, "blobs": "http://127.0.0.1:1/blobs", "planted": "planted"}
            world = World.from_dict(filled(plain, names))
            for trouble in act.troubles:
                for plain_happening in filled(list(trouble.happens), names):
                    happening = msgspec.convert(plain_happening, AnyHappening)
                    assert happening.who in world.principals


def test_no_subscription_is_shared_in_a_round(stories):
    for story in stories:
        named = [World.from_dict(filled(act.world, {"subscription": act.subscription})) for act in story.acts]
        own = [world.subscriptions - {world.seed.subscription} for world in named]
        assert sum(len(each) for each in own) == len(frozenset().union(*own))
        assert len({act.subscription for act in story.acts}) == len(story.acts)


def test_every_policy_is_one(stories, tmp_path):
    for story in stories:
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(policy_of(story.policy, {"blobs": "http://127.0.0.1:1/blobs"})))
        policy.load(file)


def test_the_worker_is_killed_at_all_that_it_does():
    """Every activity, orchestration and entity of the app, and every record that the worker creates."""
    kinds = {"activityTrigger": "activity", "orchestrationTrigger": "orchestration", "entityTrigger": "entity"}
    functions = [
        (kinds.get(str(trigger_of(one).get_binding_name())), str(one.get_function_name()))
        for one in load_functions("function_app")
    ]
    ours = [f"{kind} {name}" for kind, name in functions if kind and not name.startswith("BuiltIn__")]
    assert sorted(ours) == sorted(drawing.WORK)
    routes = {f"{route.method} {route.name}" for route in ROUTES}
    assert set(drawing.CALLS) <= routes
    assert {*drawing.CREATED, *drawing.APPENDED} <= {*RECORDS, "evidence"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("intake/2026-11-23/abc-1", "delivery"),
        ("incidents/inc-1/opened", "claim"),
        ("incidents/inc-1/ended", "end"),
        (f"incidents/inc-1/joined/{'0' * 32}", "joined"),
        ("audit/inc-1/0000.jsonl", "audit"),
        (f"resources/{'0' * 32}/inc-1", "index"),
        ("effects/abc/0/1/intent", "intent"),
        ("effects/abc/0/1/outcome", "outcome"),
        ("effects/abc/0/1/recorded", "recorded"),
        ("effects/abc/0/1/settled", "settled"),
        (f"targets/{'0' * 32}/abc-0-1", "target"),
        ("requests/medic-1", "request"),
        (f"budget/{'0' * 32}/retry/20261123T17/0000", "slot"),
        (f"results/{'0' * 32}/retry/2026-11-23/inc-1-1", "result"),
        ("approvals/abc/asked", "question"),
        ("approvals/abc/decided", "answer"),
        (f"approvals/abc/votes/{'0' * 32}", "vote"),
        ("days/2026-11-23/0000", "register"),
    ],
)
def test_a_record_is_known_by_its_name(name, kind):
    assert is_ours(name)
    assert record_of("trail", name) == kind
    assert record_of("evidence", "ab/abcdef") == "evidence"


def test_the_documented_kinds_are_those_that_are_drawn():
    text = (ROOT / "docs" / "chaos.md").read_text()
    assert [kind for kind in (*drawing.TROUBLES, *drawing.KINDS_OF_RACES) if f"`{kind}`" not in text] == []
