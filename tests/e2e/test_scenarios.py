"""Every shipped story, over HTTP, on the real function app: judged by the simulator's ledger and by the trail."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import msgspec
import pytest
import yaml
from msgspec.structs import replace
from typer.testing import CliRunner

from benchmarks import least
from local import demo, rehearsal
from local.cli import app
from local.recasting.recast import recast
from local.recasting.record import read
from local.recasting.writing import write
from local.rehearsal import Actual, Effect, Expected, Report, Scenario, Stage, differences
from remediations import policy, replay
from remediations.actions import ACTIONS
from remediations.adapters.folder import FolderStore
from remediations.hindsight import TrailThen
from remediations.model import Absent, Decision, Disposition, End, Evidence, Plan
from remediations.rights import RIGHTS
from remediations.services import EvidenceStore
from remediations.situation import Situation, survey
from remediations.trail import Settled, Trail
from tests.workflow.theatre import nursery_of

BUDGET = yaml.safe_load((Path(__file__).parent / "calls.yaml").read_text("utf-8"))
NEEDED = yaml.safe_load((Path(__file__).parent / "rights.yaml").read_text("utf-8"))
DECLARED = frozenset(right.operation.lower() for right in RIGHTS)
READING = frozenset(right.operation.lower() for right in RIGHTS if not right.is_write)


@pytest.fixture(scope="module")
def stage_of(tmp_path_factory) -> Iterator[Callable[[str], Stage]]:
    """Gives the stage of a mode; one at a time in a process, so another mode ends the one before."""
    open_stages: dict[str, Stage] = {}

    def give(mode: str) -> Stage:
        if mode not in open_stages:
            while open_stages:
                open_stages.popitem()[1].__exit__(None, None, None)
            stage = Stage(mode, tmp_path_factory.mktemp(mode), nursery=nursery_of("function_app"))
            open_stages[mode] = stage.__enter__()
        return open_stages[mode]

    yield give
    for stage in open_stages.values():
        stage.__exit__(None, None, None)


class Played(NamedTuple):
    """How a story went, and where its trail is."""

    report: Report
    store: Path
    ruled: policy.Policy

    @property
    def trail(self) -> Trail:
        return Trail(FolderStore(self.store / "trail"))

    @property
    def evidence(self) -> EvidenceStore:
        return EvidenceStore(FolderStore(self.store / "evidence"))

    def exported(self, incident_id: str, folder: Path) -> Scenario:
        """The scenario that an incident of the story is exported as, read from its file again."""
        recorded = read(self.trail, self.evidence, incident_id)
        file = folder / f"{incident_id}.yaml"
        file.write_text(write(recorded, recast(recorded, policy.load(rehearsal.SHIPPED_POLICY))), "utf-8")
        return rehearsal.load(file)


@pytest.fixture(scope="module")
def played(stage_of) -> Callable[[Path], Played]:
    """Gives how a story went; it is played once, and its trail stays where it is."""
    stories: dict[Path, Played] = {}

    def give(file: Path) -> Played:
        if file not in stories:
            scenario = rehearsal.load(file)
            stage = stage_of(scenario.mode)
            report = stage.play(scenario)
            stories[file] = Played(report, stage.store, policy.load(stage.policy_file))
        return stories[file]

    return give


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in rehearsal.shipped()])
def test_the_story_ends_as_expected(file: Path, played):
    story = played(file)
    report = story.report

    assert report.differences == ()
    assert report.as_expected
    assert_replay_gives_the_record(story)
    most = BUDGET[file.stem]
    assert report.calls.write <= most["write"]
    assert report.calls.read <= most["read"]
    assert_only_declared(report, rehearsal.load(file).mode)
    assert {operation.lower() for operation in NEEDED.get(file.stem, ())} <= asked(report)


@pytest.mark.parametrize("action", least.table().repairs)
def test_a_repair_that_succeeds_asks_azure_for_nothing_that_it_does_not_need(action, played):
    repair, needed = least.table().repairs[action], least.table().needed(action)
    report = played(rehearsal.SCENARIOS / f"{repair.story}.yaml").report
    asked, polls = least.without_polls(report.calls.each, needed)
    assert asked == needed
    assert repair.operations <= polls <= 5 * repair.operations  # as long as they take here
    assert {effect.action for effect in report.effects} == {action}


# Their incident has no end: a question is still open.
UNENDED = {"06-update-asks", "19-environment-hidden", "58-variables-ask", "66-built-image-cannot-be-checked"}


@pytest.mark.parametrize(
    "file", [pytest.param(file, id=file.stem) for file in rehearsal.shipped() if file.stem not in UNENDED]
)
def test_each_incident_that_has_ended_is_exported_with_its_cause_end_and_effects(file: Path, played, tmp_path):
    story, said = played(file), rehearsal.load(file).expect
    opened = {one: story.trail.opened(one) for one in story.report.incidents if story.trail.ended(one) is not None}
    of_one = {one for one, claim in opened.items() if claim is not None and claim.incident.storm is None}
    over = [one for one, claim in opened.items() if one in of_one and claim is not None and not claim.incident.is_undo]

    made = [story.exported(one, tmp_path) for one in over]

    ends = {label: end for one in made for label, end in one.expect.ends.items()}
    assert ends == {label: end for label, end in said.ends.items() if not label.startswith(("undo ", "storm "))}
    effects = [effect for one in made for effect in one.expect.effects]
    assert Counter(effects) == Counter(effect for effect in said.effects if not effect.action.startswith("undo-"))
    if said.cause not in {None, "undo-requested"}:
        assert said.cause in {one.expect.cause for one in made}
    for one in made:
        for label in one.expect.states.keys() & said.states.keys() if len(over) == len(opened) else ():
            assert one.expect.states[label] == said.states[label]


# One for each way in which a world is rebuilt; playing all of them takes as long as the stories themselves.
AGAIN = [
    *("03-never-repaired", "04-person-deleted", "05-person-redeployed", "07-update-approved", "08-rejected-at-once"),
    *(
        "09-rejected-with-spec",
        "12-busy-endpoint",
        "22-registry-gone",
        "25-sync-does-not-cure",
        "31-both-roles-missing",
    ),
    *("33-wrong-tag-looks-like-a-role", "39-redeployed-before-approval", "44-idle-not-proved", "50-the-fewest"),
    *("52-traffic-at-the-last-moment", "62-may-not-grant", "64-identity-is-new", "67-role-with-a-condition"),
    *("69-quota-refused-at-once", "70-role-given-a-moment-ago", "71-model-error-alert", "76-one-of-two"),
    *("77-nobody-is-asked-in-vain", "28-dry-run-of-a-sync"),
]
AGAIN_FILES = [
    *(rehearsal.SCENARIOS / f"{name}.yaml" for name in AGAIN),
    *sorted((Path(__file__).parent / "recasting").glob("*.yaml")),
]
# What was done for one of two incidents, or by others, made what was done for this one different.
ALONE = [
    # the sync for the other incident is not there, so it syncs itself
    pytest.param("24-one-sync-for-two", "churn/green", id="24-one-sync-for-two"),
    # who freed the other cores is not on record, so both are deleted
    pytest.param("59-enough-after-the-first", "credit-scoring/green", id="59-enough-after-the-first"),
]
# 26: the sync that was in vain was made for the other incident. 51: so was the deletion.


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in AGAIN_FILES])
def test_an_exported_incident_plays_again_as_it_was_recorded(file: Path, played, stage_of, tmp_path):
    story = played(file)
    assert story.report.differences == ()

    scenario = story.exported(story.report.incidents[0], tmp_path)
    report = stage_of(scenario.mode).play(scenario)

    assert report.differences == ()
    assert_only_declared(report, scenario.mode)


@pytest.mark.parametrize(("name", "label"), ALONE)
def test_an_incident_that_others_had_a_part_in_comes_to_the_same_cause_and_end(
    name: str, label: str, *, played, stage_of, tmp_path, monkeypatch
):
    story = played(rehearsal.SCENARIOS / f"{name}.yaml")
    made = [story.exported(one, tmp_path) for one in story.report.incidents]
    scenario = next(one for one in made if label in one.expect.ends)
    monkeypatch.setattr(rehearsal, "PATIENCE_S", 10.0)

    report = stage_of(scenario.mode).play(scenario)

    assert report.actual["ends"] == report.expected["ends"]
    assert report.actual["cause"] == report.expected["cause"]
    assert [difference.partition(" ")[0] for difference in report.differences] == ["effects"]


RACES = sorted((Path(__file__).parent / "races").glob("*.yaml"))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in RACES])
def test_what_others_do_at_the_worst_moment_leads_to_no_wrong_write(file: Path, stage_of):
    scenario = rehearsal.load(file)

    stage = stage_of(scenario.mode)
    report = stage.play(scenario)

    assert report.differences == ()
    assert_only_declared(report, scenario.mode)
    assert_replay_gives_the_record(Played(report, stage.store, policy.load(stage.policy_file)))


def asked(report: Report) -> set[str]:
    """What a story asked of Azure, by the simulator's account; roles compare without case."""
    return {operation.lower() for operation in report.operations}


def assert_only_declared(report: Report, mode: str) -> None:
    """No call is made that remediations/rights.py does not list; of a dry run, none that only a writing role gives."""
    assert asked(report) - (READING if mode == "dry-run" else DECLARED) == set()


def assert_replay_gives_the_record(story: Played) -> None:
    """The unchanged policy decides what was decided, to the letter; and a survey on the trail as it stood at the time
    of a decision gives the situation that was kept."""
    ruled, evidence, trail, now = story.ruled, story.evidence, story.trail, datetime.now(UTC)
    asked = replay.WhatIf(policy=ruled, actions=ACTIONS, since=now - timedelta(days=1), until=now)
    for incident in story.report.incidents:
        records = trail.records(incident)
        judged = [one for one in records if one.stage == "decision" or (one.stage == "plan" and "none" in one.facts)]
        replayed = replay.replay(incident, asked, trail, evidence)
        opened = trail.opened(incident)
        assert opened is not None
        assert bool(judged) is (opened.incident.storm is None), (
            "what was decided about a storm, its members' records say"
        )
        assert [(one.kind, one.after) for one in replayed] == [(replay.Kind.SAME, one.before) for one in replayed]
        assert [one.at for one in replayed] == [record.at for record in judged]
        for facts in (record.facts for record in judged if record.facts.get("when") == "deciding"):
            kept = evidence.get(Situation, str(facts["situation"]))
            plan = evidence.get(Decision, str(facts["decision"])).plan
            assert_survey_gives_it(trail, plan, replace(kept, preflight=Absent()), evidence, ruled)


_MOMENT = timedelta(milliseconds=500)  # no record takes longer to be written, on a busy machine


def assert_survey_gives_it(
    trail: Trail, plan: Plan, kept: Situation, evidence: EvidenceStore, ruled: policy.Policy
) -> None:
    """A survey on the trail as it stood gives the situation; what others wrote in that moment it may have seen or not.

    A record is stamped before it is written: it may name an earlier time than a survey that did not see it, and a
    survey may see what was stamped while it read.
    """
    own = plan.diagnosis.incident.id
    judged = evidence.get(Evidence, plan.diagnosis.evidence)
    fingerprint = ACTIONS[plan.action].fingerprint(plan.steps, judged)

    def surveyed(at: datetime) -> Situation:
        return survey(
            plan,
            judged,
            fingerprint,
            policy=ruled,
            ceiling=kept.ceiling,
            trail=TrailThen(trail, at, kept.trail_pauses),
            own=kept.own,
            now=kept.now,
        )

    then = surveyed(kept.now)
    others = (record for other in trail.incidents() if other != own for record in trail.records(other))
    if then == kept or not any(abs(record.at - kept.now) <= _MOMENT for record in others):
        assert then == kept
        return
    before, after = surveyed(kept.now - _MOMENT), surveyed(kept.now + _MOMENT)
    assert kept == replace(then, effects=kept.effects, budget_used=kept.budget_used, results=kept.results)
    assert [one for one in kept.effects if one.incident_id == own] == [
        one for one in then.effects if one.incident_id == own
    ]
    assert effects_of(before) <= effects_of(kept) <= effects_of(after)
    assert before.budget_used <= kept.budget_used <= after.budget_used
    assert {*before.results} <= {*kept.results} <= {*after.results}


def effects_of(situation: Situation) -> set[tuple[str, str | None, Settled | None]]:
    """What is known of each effect, one thing after the other: more of it as time goes on."""
    known: set[tuple[str, str | None, Settled | None]] = set()
    for one in situation.effects:
        name = f"{one.plan}/{one.step}/{one.attempt}"
        known.add((name, None, None))
        known |= {(name, one.status, None)} if one.status is not None else set()
        known |= {(name, None, one.settled)} if one.settled is not None else set()
    return known


def test_every_story_has_a_budget_of_calls():
    assert list(BUDGET) == [file.stem for file in rehearsal.shipped()]


def test_some_story_calls_each_operation_that_is_declared_and_each_mode_has_stories():
    """Each story is held to its lines when it is played; here nobody may be missing."""
    named = {operation for operations in NEEDED.values() for operation in operations}
    assert named == {right.operation for right in RIGHTS if right.via not in {"store", "topic"}}
    assert NEEDED.keys() <= BUDGET.keys()
    assert {rehearsal.load(file).mode for file in rehearsal.shipped()} >= {"auto", "dry-run"}


def test_every_shipped_story_fits_the_published_schema():
    schema = rehearsal.schema()

    for file in rehearsal.shipped():
        jsonschema.validate(yaml.safe_load(file.read_text("utf-8")), schema)

    assert len(rehearsal.shipped()) >= 10


def test_a_story_that_ends_otherwise_is_told_apart(stage_of):
    file = rehearsal.SCENARIOS / "13-unknown-error.yaml"
    plain = yaml.safe_load(file.read_text("utf-8"))
    plain["expect"]["ends"] = {"credit-scoring/green": "repaired"}
    rehearsal_patience, rehearsal.PATIENCE_S = rehearsal.PATIENCE_S, 2.0
    try:
        report = stage_of("auto").play(msgspec.convert(plain, rehearsal.Scenario, strict=False))
    finally:
        rehearsal.PATIENCE_S = rehearsal_patience

    assert not report.as_expected
    assert report.differences == (
        "incidents ended credit-scoring/green: advised, expected credit-scoring/green: repaired",
    )


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        pytest.param({"ends": {}}, "incidents ended nothing, expected e/d: repaired", id="an end is missing"),
        pytest.param({"effects": ()}, "effects were none, expected retry PUT e/d", id="an effect is missing"),
        pytest.param(
            {"effects": (Effect(action="not on the trail", call="PUT e/d"),)},
            "effects were not on the trail PUT e/d, expected retry PUT e/d",
            id="a write that no intent explains",
        ),
        pytest.param(
            {"dispositions": {Disposition.INCIDENT: 2}},
            "deliveries ended incident: 2, expected incident: 1",
            id="an incident too many",
        ),
        pytest.param({"states": {}}, "e/d is gone, expected Succeeded", id="the deployment is gone"),
        pytest.param({"trail": ""}, "the trail does not say 'taken'", id="the trail is silent"),
        pytest.param({"questions": 1}, "1 questions are open, expected 0", id="a question too many"),
        pytest.param({"cause": "unknown"}, "the cause was unknown, expected c", id="another cause"),
    ],
)
def test_each_kind_of_difference_is_seen(changes, difference):
    expect = Expected(
        ends={"e/d": End.REPAIRED},
        effects=(Effect(action="retry", call="PUT e/d"),),
        dispositions={Disposition.INCIDENT: 1},
        states={"e/d": "Succeeded"},
        says=("taken",),
        cause="c",
    )
    as_expected: dict[str, Any] = {
        "ends": {"e/d": End.REPAIRED},
        "effects": (Effect(action="retry", call="PUT e/d"),),
        "dispositions": {Disposition.INCIDENT: 1},
        "states": {"e/d": "Succeeded"},
        "questions": 0,
        "cause": "c",
        "trail": "taken",
    }

    assert differences(expect, Actual(**as_expected)) == ()
    assert differences(expect, Actual(**(as_expected | changes))) == (difference,)


def test_a_rehearsal_prints_the_documented_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    exit_code = demo.rehearse([rehearsal.SCENARIOS / "13-unknown-error.yaml"], as_json=True)

    printed = json.loads(capsys.readouterr().out)
    assert exit_code == 0
    assert printed["as_expected"] is True
    assert list(printed["scenarios"][0]) == ["name", "expected", "actual", "as_expected", "effects", "calls", "seconds"]
    assert printed["scenarios"][0]["effects"] == []
    assert printed["scenarios"][0]["actual"]["ends"] == {"credit-scoring/green": "advised"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("name: [", "Write valid YAML", id="no YAML"),
        pytest.param("name: x", "missing required field", id="a field is missing"),
        pytest.param(
            "name: x\nstory: y\nworld: {}\nexpect: {ends: {a: healed}}", "$.expect.ends[...]", id="no such end"
        ),
    ],
)
def test_a_file_that_is_no_story_is_refused_with_its_place(tmp_path, text, words):
    file = tmp_path / "story.yaml"
    file.write_text(text)

    with pytest.raises(rehearsal.ScenarioError, match=words.replace("$", r"\$").replace("[", r"\[")) as error:
        rehearsal.load(file)

    assert str(file) in str(error.value)


def test_the_schema_that_the_error_names_is_printed():
    result = CliRunner().invoke(app, ["rehearse", "--schema"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, json.loads(json.dumps(rehearsal.schema())))
