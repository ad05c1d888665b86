"""The judge of a round: on one that is true it finds nothing, and every seeded breach it finds and names.

The round is played: four stories on the real function app. Each breach is an edit of what they left behind.
"""

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from msgspec.structs import replace

from local import rehearsal
from local.answering import somebody
from local.arm.events import webhook
from local.arm.models import World
from local.arm.witness import LISTED, Change
from local.chaos import leaks, rules
from local.chaos.checking import INVARIANTS, Delivery, Lease, Round, Said, Violation, Watched, check, watched
from local.rehearsal import Stage
from remediations.model import End

STORIES = ("02-canceled-by-lock-third-try", "11-answer-lost", "38-unlisted-identity-approved", "41-quota-asks")
RETRIED, LOST, GRANTED, DELETED = range(4)
READ = (
    "approvals",
    "audit",
    "budget",
    "days",
    "effects",
    "incidents",
    "intake",
    "requests",
)  # of the trail, by the judge
SECRET = 'Zq7/pWn3+xT9"vLk2'
LATER = timedelta(minutes=1)


# ------------------------------------------------------------------------------------------- the true round


class RecordingStage(Stage):
    """A stage that keeps what its worlds know, and what was delivered."""

    def perform(self, name: str, deliveries: list[Delivery]) -> Watched:
        scenario = rehearsal.load(rehearsal.SCENARIOS / f"{name}.yaml")
        subscription = f"00000000-0000-4000-a000-{int(name[:2]):012d}"
        world = World.from_dict({**scenario.world, "subscription": subscription})
        post = webhook(
            f"{self.host.url}/runtime/webhooks/eventgrid?functionName=on_deployment_failure", schema="event-grid"
        )

        def deliver(event: Any) -> None:
            at = datetime.now(UTC)
            post(event)
            deliveries.append(Delivery(at=at, body=event, answer=202))

        world.subscribe(deliver)
        self.server.show(world)
        try:
            for step in scenario.steps:
                self._do(step, subscription, {})
            actual = self._outcome(scenario.expect, world, subscription)
            assert rehearsal.differences(scenario.expect, actual) == ()
            return watched(world)
        finally:
            world.close()


@pytest.fixture(scope="module")
def true_round(tmp_path_factory) -> Round:
    deliveries: list[Delivery] = []
    with RecordingStage("auto", tmp_path_factory.mktemp("round")) as stage:
        worlds = tuple(stage.perform(name, deliveries) for name in STORIES)
        return Round(
            store=stage.store,
            worlds=worlds,
            deliveries=tuple(deliveries),
            mode="auto",
            policy=yaml.safe_load(stage.policy_file.read_text()),
            now=datetime.now(UTC),
            approvers=frozenset({somebody(1), somebody(2)}),
            channels=("folder",),
            secrets=(SECRET,),
            texts={"worker.log": b"event.handled disposition=incident", "history": b"{}"},
        )


def test_a_true_round_has_no_violation_and_there_was_something_to_judge(true_round):
    checked = check(true_round)

    assert checked.violations == ()
    figures = checked.figures
    assert (figures["incidents"], figures["ended"], figures["deletions"], figures["grants"]) == (4, 4, 1, 1)
    assert figures["sends"] == figures["intents"] >= 8
    assert figures["deliveries"] == figures["intakes"] >= 6
    assert figures["questions"] == 2
    assert figures["shown"] > 50
    assert figures["looks_raced"] == 0


# ------------------------------------------------------------------------------------------- edits


class Edited:
    """A copy of the round, to be broken; files are shared with the original until they are written."""

    def __init__(self, played: Round, folder: Path) -> None:
        for part in ("evidence", *(f"trail/{name}" for name in READ)):
            shutil.copytree(played.store / part, folder / part, copy_function=os.link)
        self.played = replace(played, store=folder)
        self.trail = folder / "trail"

    def set(self, **changes: Any) -> None:
        self.played = replace(self.played, **changes)

    def world(self, number: int, **changes: Any) -> None:
        worlds = list(self.played.worlds)
        worlds[number] = replace(worlds[number], **changes)
        self.set(worlds=tuple(worlds))

    def entry(self, number: int, verb: str, **changes: Any) -> None:
        """Change the app's first write of a method in a world's ledger."""
        ledger = list(self.played.worlds[number].ledger)
        place = next(at for at, one in enumerate(ledger) if (one.principal, one.method) == ("medic", verb))
        ledger[place] = replace(ledger[place], **changes)
        self.world(number, ledger=tuple(ledger))

    def sent(self, number: int, method: str) -> Any:
        ledger = self.played.worlds[number].ledger
        return next(one for one in ledger if (one.principal, one.method) == ("medic", method))

    def incident(self, number: int) -> str:
        """Give the incident of a story."""
        subscription = self.played.worlds[number].name
        for file in self.trail.glob("incidents/*/opened"):
            if json.loads(file.read_bytes())["incident"]["resource"]["subscription"] == subscription:
                return file.parent.name
        raise AssertionError("no such incident")

    def find(self, pattern: str, number: int | None = None, **fields: Any) -> Path:
        """Give the first file of a pattern, that is about a story's incident and has these fields."""
        wanted = fields if number is None else {"incident_id": self.incident(number), **fields}
        for file in sorted(self.trail.glob(pattern)):
            plain = json.loads(file.read_bytes())
            if all(plain.get(name) == value for name, value in wanted.items()):
                return file
        raise AssertionError(f"no {pattern} with {wanted}")

    def write(self, file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content)

    def rewrite(self, file: Path, **changes: Any) -> None:
        self.write(file, json.dumps({**json.loads(file.read_bytes()), **changes}).encode())

    def roll(self, number: int) -> tuple[Path, list[dict[str, Any]]]:
        file = self.trail / "audit" / self.incident(number) / "0000.jsonl"
        return file, [json.loads(line) for line in file.read_bytes().splitlines()]

    def reseal(self, number: int, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Change an incident's records, and chain them anew, as who knows of the chain would."""
        file, records = self.roll(number)
        change(records)
        previous, lines = "0" * 64, []
        for seq, record in enumerate(records):
            plain = {**record, "seq": seq, "previous": previous}
            del plain["hash"]
            body = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
            previous = hashlib.sha256(body).hexdigest()
            lines.append(body[:-1] + b',"hash":"%b"}\n' % previous.encode())
        self.put_roll(file, b"".join(lines))

    def record(self, number: int, stage: str, **facts: Any) -> None:
        """Change what an incident's first record of a stage says; None takes a fact away."""

        def change(records: list[dict[str, Any]]) -> None:
            found = next(one for one in records if one["stage"] == stage)
            changed = {**found["facts"], **facts}
            found["facts"] = {name: value for name, value in changed.items() if value is not None}

        self.reseal(number, change)

    def put_roll(self, file: Path, content: bytes) -> None:
        self.write(file, content)
        self.write(file.with_name(f".{file.name}.length"), b"%020d" % len(content))

    def found(self) -> tuple[Violation, ...]:
        return check(self.played).violations


@pytest.fixture
def edited(true_round, tmp_path) -> Edited:
    return Edited(true_round, tmp_path / "store")


def later(text: str, by: timedelta = LATER) -> str:
    return (datetime.fromisoformat(text) + by).isoformat()


def moment_of(file: Path, field: str = "at") -> datetime:
    return datetime.fromisoformat(json.loads(file.read_bytes())[field])


def claim_of(edited: Edited, number: int) -> Path:
    return Path(edited.trail / "incidents" / edited.incident(number) / "opened")


def end_of(edited: Edited, number: int) -> Path:
    return Path(edited.trail / "incidents" / edited.incident(number) / "ended")


def permit(edited: Edited, action: str, **changes: Any) -> dict[str, Any]:
    """Give the round's policy, changed for one action."""
    actions = edited.played.policy["actions"]
    return {**edited.played.policy, "actions": {**actions, action: {**actions[action], **changes}}}


def in_a_storm(edited: Edited, *numbers: int, **told: Any) -> None:
    """Make incidents the members of a storm, which was perhaps told of."""
    incidents = [{"incident": edited.incident(number)} for number in numbers]
    members = {"stage": "members", "facts": {"members": incidents}}
    records = [members, {"stage": "told", "facts": {"channel": "folder", **told}}]
    lines = (json.dumps(record).encode() + b"\n" for record in (records if told else records[:1]))
    edited.put_roll(edited.trail / "audit" / "inc-storm" / "0000.jsonl", b"".join(lines))


def plan_of(edited: Edited, number: int) -> str:
    return str(json.loads(edited.find("approvals/*/asked", number).read_bytes())["plan"])


def votes_of(edited: Edited, number: int) -> list[Path]:
    return sorted((edited.trail / "approvals" / plan_of(edited, number) / "votes").iterdir())


# --- together


def two_wrote_the_same(edited):
    intents = {moment_of(file): file for file in edited.trail.glob("effects/*/*/*/intent")}
    own = [file for _, file in sorted(intents.items()) if edited.incident(RETRIED) in file.read_text()]
    edited.rewrite(own[-1], incident_id=edited.incident(LOST))


def one_wrote_what_another_had_never_left(edited):
    two_wrote_the_same(edited)
    end_of(edited, RETRIED).unlink()


def too_many_are_begun(edited):
    in_a_storm(edited, RETRIED, LOST)
    end_of(edited, RETRIED).unlink()


def begun_after_one_in_vain(edited):
    in_a_storm(edited, RETRIED, LOST)
    edited.rewrite(end_of(edited, RETRIED), end="not-repaired")


def begun_after_one_of_which_nothing_is_known(edited):
    in_a_storm(edited, GRANTED, RETRIED, LOST, DELETED)
    edited.rewrite(end_of(edited, RETRIED), end="inconclusive")


def the_worker_crashed(edited):
    edited.set(crashes=(-11,))


# --- the register


def _lines_of(edited: Edited, number: int, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change or take out the register's lines of an incident."""
    for file in edited.trail.glob("days/*/[0-9]*"):
        lines = [json.loads(line) for line in file.read_bytes().splitlines()]
        kept = [change(line) if line["incident"] == edited.incident(number) else line for line in lines]
        edited.put_roll(file, b"".join(json.dumps(line).encode() + b"\n" for line in kept if line is not None))


def the_register_does_not_know_it(edited):
    _lines_of(edited, LOST, lambda _: None)


def the_register_does_not_know_its_end(edited):
    _lines_of(edited, LOST, lambda line: None if line["kind"] == "ended" else line)


def the_register_knows_another_end(edited):
    _lines_of(edited, RETRIED, lambda line: {**line, "end": "advised"} if line["kind"] == "ended" else line)


def the_register_knows_an_end_of_what_goes_on(edited):
    end_of(edited, RETRIED).unlink()


def the_register_tells_an_end_twice(edited):
    end = json.loads(end_of(edited, LOST).read_bytes())
    again = {"kind": "ended", "incident": edited.incident(LOST), "at": later(end["at"]), "end": "advised"}
    file = min(edited.trail.glob("days/*/[0-9]*"))
    edited.put_roll(file, json.dumps(again).encode() + b"\n" + file.read_bytes())


# --- events


def an_intake_is_gone(edited):
    edited.find("intake/*/*", DELETED).unlink()


def a_parked_one_was_never_judged(edited):
    edited.rewrite(edited.find("intake/*/*", GRANTED), disposition="parked", incident_id="inc-0", incident=None)


def a_failure_is_ignored(edited):
    edited.rewrite(edited.find("intake/*/*", DELETED), disposition="ignored", words="not ours")


def somebodys_failure_is_linked(edited):
    edited.rewrite(edited.find("intake/*/*", GRANTED), disposition="linked")


def our_own_failure_begins_an_incident(edited):
    edited.rewrite(edited.find("intake/*/*", RETRIED, disposition="linked"), disposition="incident")


def a_second_delivery_left_no_record(edited):
    edited.set(deliveries=(*edited.played.deliveries, edited.played.deliveries[0]))


def an_unknown_disposition(edited):
    edited.rewrite(edited.find("intake/*/*", LOST), disposition="lost")


def nothing_says_why_it_is_ignored(edited):
    edited.rewrite(edited.find("intake/*/*", LOST), disposition="ignored", words="")


def _alert(edited, *, is_recorded: bool) -> None:
    alert = {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": "/alerts/1"}}}
    taken = Delivery(at=edited.played.now, body=alert, answer=202)
    edited.set(deliveries=(*edited.played.deliveries, taken))
    if is_recorded:
        intake = {"event_id": "/alerts/1", "disposition": "ignored", "words": "not fired", "incident_id": None}
        edited.write(edited.trail / "intake" / "2026-01-01" / "a", json.dumps(intake).encode())


def an_alert_left_no_record(edited):
    _alert(edited, is_recorded=False)


# --- writes


def an_intent_is_gone(edited):
    edited.find("effects/*/0/1/intent", DELETED).unlink()


def an_intent_is_dated_later(edited):
    file = edited.find("effects/*/0/1/intent", DELETED)
    edited.rewrite(file, at=later(json.loads(file.read_bytes())["at"]))


def the_audit_of_an_intent_is_dated_later(edited):
    def change(records):
        record = next(one for one in records if one["stage"] == "intent")
        record["at"] = later(record["at"])

    edited.reseal(DELETED, change)


def the_audit_has_no_intent(edited):
    edited.reseal(GRANTED, lambda records: records.remove(next(one for one in records if one["stage"] == "intent")))


def the_audit_has_no_decision(edited):
    edited.reseal(
        LOST, lambda records: records.__setitem__(slice(None), [one for one in records if one["stage"] != "decision"])
    )


def a_write_without_a_request_id(edited):
    edited.entry(LOST, "PUT", client_request_id=None)


def a_write_to_something_else(edited):
    edited.entry(DELETED, "DELETE", path=edited.sent(DELETED, "DELETE").path.replace("/old", "/live"))


def the_worlds_clock_is_not_the_one_that_was_said(edited):
    edited.world(DELETED, offset=timedelta(minutes=10))


def sent_twice(edited):
    ledger = edited.played.worlds[LOST].ledger
    edited.world(LOST, ledger=(*ledger, next(one for one in ledger if one.principal == "medic")))


def begun_anew_after_it_was_taken(edited):
    file = edited.find("effects/*/0/1/intent", DELETED)
    intent = json.loads(file.read_bytes())
    again = {**intent, "attempt": 2, "request_id": "medic-0", "at": later(intent["at"], timedelta(seconds=1))}
    edited.write(file.parent.parent / "2" / "intent", json.dumps(again).encode())


def said_to_be_not_done_and_begun_anew(edited):
    begun_anew_after_it_was_taken(edited)
    edited.rewrite(edited.find("effects/*/0/1/intent", DELETED).with_name("outcome"), status="not-done")


def begun_anew_while_nothing_was_known(edited):
    begun_anew_after_it_was_taken(edited)
    edited.find("effects/*/0/1/intent", DELETED).with_name("outcome").unlink()


# --- state


def _victim(edited) -> str:
    return str(edited.sent(DELETED, "DELETE").path).lower()


def _unseen(edited, number: int, key: str) -> None:
    shown = edited.played.worlds[number].shown
    edited.world(number, shown=tuple(one for one in shown if one.key != key))


def the_victim_was_never_shown(edited):
    _unseen(edited, DELETED, _victim(edited))


def the_victim_was_shown_to_somebody_else(edited):
    shown = edited.played.worlds[DELETED].shown
    edited.world(DELETED, shown=tuple(replace(one, to="person") for one in shown))


def the_victim_was_shown_long_ago(edited):
    shown, key = edited.played.worlds[DELETED].shown, _victim(edited)
    old = tuple(replace(one, at=one.at - LATER) if one.key == key else one for one in shown)
    edited.world(DELETED, shown=old)


def the_victim_was_not_looked_at_again(edited):
    world, key = edited.played.worlds[DELETED], _victim(edited)
    planned = next(one for one in edited.roll(DELETED)[1] if one["stage"] == "plan")
    since = datetime.fromisoformat(planned["at"])
    edited.world(DELETED, shown=tuple(one for one in world.shown if one.key != key or one.at <= since))


def the_victim_was_changed_and_that_was_seen(edited):
    world, key = edited.played.worlds[DELETED], _victim(edited)
    planned = edited.roll(DELETED)[1]
    since = datetime.fromisoformat(next(one["at"] for one in planned if one["stage"] == "plan"))
    own = next(one for one in world.changes if one.key == key and one.by == "medic")
    body = {"properties": {"provisioningState": "Succeeded"}, "tags": {"medic-delete": "no"}}
    changed = Change(
        order=own.order, at=own.at, key=key, number=own.number, by="person", client_request_id=None, body=body
    )
    after = tuple(
        replace(one, number=one.number + 1) if one.key == key and one.number >= own.number else one
        for one in world.changes
    )
    shown = tuple(
        replace(one, number=own.number) if one.key == key and one.at > since and one.order < own.order else one
        for one in world.shown
    )
    edited.world(DELETED, changes=(*after, changed), shown=shown)


def the_victim_was_deleted_and_that_was_seen(edited):
    the_victim_was_changed_and_that_was_seen(edited)
    the_victim_was_last_shown_as_gone(edited)


def the_victim_was_last_shown_as_gone(edited):
    world, key = edited.played.worlds[DELETED], _victim(edited)
    own = next(one for one in world.changes if one.key == key and one.by == "medic")
    place = max(at for at, one in enumerate(world.shown) if one.key == key and one.order < own.order)
    shown = list(world.shown)
    shown[place] = replace(shown[place], number=None)
    edited.world(DELETED, shown=tuple(shown))


def the_assignments_were_never_shown(edited):
    _unseen(edited, GRANTED, edited.sent(GRANTED, "PUT").path.lower().partition(LISTED)[0] + LISTED)


def the_role_was_shown_to_be_held(edited):
    world, sent = edited.played.worlds[GRANTED], edited.sent(GRANTED, "PUT")
    held = Change(
        order=-1,
        at=sent.at,
        key=sent.path.lower()[:-1] + "x",
        number=0,
        by="person",
        client_request_id=None,
        body=sent.body,
    )
    shown = tuple(replace(one, number=one.number + 1) if one.key.endswith(LISTED) else one for one in world.shown)
    edited.world(GRANTED, changes=(held, *world.changes), shown=shown)


def the_role_was_shown_to_be_held_in_capitals(edited):
    the_role_was_shown_to_be_held(edited)
    world = edited.played.worlds[GRANTED]
    held = world.changes[0].body["properties"]
    body = {"properties": {**held, "principalId": held["principalId"].upper()}}
    edited.world(GRANTED, changes=(replace(world.changes[0], body=body), *world.changes[1:]))


def the_endpoint_has_another_identity(edited):
    world = edited.played.worlds[GRANTED]
    edited.world(
        GRANTED,
        changes=tuple(
            replace(one, body={**one.body, "identity": {"type": "None"}})
            if one.body and one.key.endswith("/onlineendpoints/credit-scoring")
            else one
            for one in world.changes
        ),
    )


def _deleted(edited: Edited, *, shown_at: Sequence[int | None] = (1, 1), by: str = "medic") -> None:
    """Let a call delete what it granted, as if another one had, the assignment having been shown twice before."""
    world, sent = edited.played.worlds[GRANTED], edited.sent(GRANTED, "PUT")
    key = sent.path.lower()
    made = next(one for one in world.changes if one.key == key)
    before = replace(made, by=by, client_request_id=None)
    changes = tuple(before if one is made else one for one in world.changes)
    first, *_, last = (one for one in world.shown if one.key == key.partition(LISTED)[0] + LISTED)
    taken = replace(made, order=made.order + 0.5, number=made.number + 1, body=None)
    places = [(first.order, first.at), (taken.order - 0.25, made.at)][2 - len(shown_at) :]
    looks = [
        replace(last, key=key, order=order, at=at, number=None if number is None else made.number + number)
        for (order, at), number in zip(places, shown_at, strict=True)
    ]
    edited.world(GRANTED, changes=(*changes, taken), shown=(*world.shown, *looks))
    edited.entry(GRANTED, "PUT", method="DELETE")


def somebody_elses_assignment_is_deleted(edited):
    _deleted(edited, by="person")


def an_assignment_that_was_shown_as_gone_is_deleted(edited):
    _deleted(edited, shown_at=(1, None))


def an_assignment_that_was_not_shown_again_is_deleted(edited):
    _deleted(edited, shown_at=(1,))


def our_own_assignment_is_deleted(edited):
    _deleted(edited)


# --- dry run


def the_mode_was_dry_run(edited):
    edited.set(mode="dry-run")


def the_mode_was_off(edited):
    edited.set(mode="off")


def the_action_may_only_be_rehearsed(edited):
    actions = {**edited.played.policy["actions"], "retry": {"mode": "dry-run"}}
    edited.set(policy={**edited.played.policy, "actions": actions})


def a_rule_turns_it_off(edited):
    rule = {"scope": {"workspace": "mlw-*"}, "actions": ["delete-idle"], "mode": "off"}
    edited.set(policy={**edited.played.policy, "rules": [rule]})


# --- approvals


def nobody_answered(edited):
    (edited.trail / "approvals" / plan_of(edited, DELETED) / "decided").unlink()


def nobody_was_asked(edited):
    edited.find("approvals/*/asked", DELETED).unlink()


def the_answer_was_no(edited):
    edited.rewrite(edited.find("approvals/*/decided", plan=plan_of(edited, DELETED)), approved=False)


def the_answer_came_late(edited):
    file = edited.find("approvals/*/decided", plan=plan_of(edited, DELETED))
    edited.rewrite(file, at=later(json.loads(file.read_bytes())["at"]))


def the_question_had_expired(edited):
    file = edited.find("approvals/*/asked", DELETED)
    edited.rewrite(file, expires_at=json.loads(file.read_bytes())["at"])


def the_caller_approved(edited):
    file = edited.find("approvals/*/asked", GRANTED)
    edited.rewrite(file, callers=[somebody(1).upper()])
    vote = votes_of(edited, GRANTED)[0]
    edited.rewrite(vote, by={**json.loads(vote.read_bytes())["by"], "oid": somebody(1)})


def the_ledgers_caller_approved(edited):
    oid = edited.played.worlds[GRANTED].principals["ci"].oid
    edited.rewrite(edited.find("approvals/*/asked", GRANTED), callers=["another"])
    vote = votes_of(edited, GRANTED)[0]
    edited.rewrite(vote, by={"oid": oid.upper(), "tid": "t", "appid": None})


def one_person_answered_twice(edited):
    one, two = votes_of(edited, DELETED)
    edited.rewrite(two, by={**json.loads(one.read_bytes())["by"], "tid": "another"})


def somebody_approved_who_may_not(edited):
    edited.set(approvers=frozenset({somebody(1)}))


def the_answer_is_about_another_incident(edited):
    edited.rewrite(edited.find("approvals/*/asked", DELETED), incident_id=edited.incident(GRANTED))


def a_vote_is_missing(edited):
    votes_of(edited, DELETED)[0].unlink()


def somebody_had_rejected_it(edited):
    vote = votes_of(edited, DELETED)[0]
    asked = json.loads(edited.find("approvals/*/asked", DELETED).read_bytes())["at"]
    edited.rewrite(vote, approves=False, at=later(asked, -timedelta(seconds=10)))


def _told(edited, number: int, *, approves: bool, status: int = 200) -> None:
    plan = plan_of(edited, DELETED)
    edited.set(said=(Said(plan=plan, oid=somebody(number), approves=approves, status=status),))


def somebody_was_told_that_it_is_rejected(edited):
    edited.rewrite(votes_of(edited, DELETED)[0], approves=False)
    oid = json.loads(votes_of(edited, DELETED)[0].read_bytes())["by"]["oid"]
    edited.set(said=(Said(plan=plan_of(edited, DELETED), oid=oid, approves=False, status=200),))


def somebody_was_told_that_it_is_rejected_and_nothing_was_decided(edited):
    somebody_was_told_that_it_is_rejected(edited)
    nobody_answered(edited)


def a_vote_that_counts_was_never_kept(edited):
    _told(edited, 7, approves=True)


def a_vote_that_counts_was_kept_the_other_way_round(edited):
    _told(edited, 1, approves=False)


def the_plan_wanted_a_person(edited):
    def change(records):
        next(one for one in records if one["stage"] == "plan")["facts"]["needs_person"] = "somebody has to look"

    edited.reseal(LOST, change)


def asked_in_a_storm(edited, *, about: str | None = None) -> None:
    """Make the question one about a storm: about several plans, under a digest of its own."""
    plan, whole = plan_of(edited, DELETED), "e" * 64
    folder = edited.trail / "approvals" / whole
    (edited.trail / "approvals" / plan).rename(folder)
    member = {"incident": edited.incident(DELETED), "plan": about or plan, "decision": "d"}
    others = {"incident": "inc-x", "plan": "a" * 64, "decision": "d"}
    edited.rewrite(folder / "asked", plan=whole, incident_id="inc-storm", members=[others, member])
    for file in (folder / "decided", *(folder / "votes").iterdir()):
        edited.rewrite(file, plan=whole)

    def change(records):
        for record in records:
            if beside := record["facts"].get("beside"):
                beside["name"] = beside["name"].replace(f"approvals/{plan}/", f"approvals/{whole}/")

    edited.reseal(DELETED, change)


def a_storms_approval_is_passed_on(edited):
    """Each member's plan has the answer too, so that whatever runs it finds it."""
    plan = plan_of(edited, DELETED)
    asked_in_a_storm(edited)
    answer = edited.find("approvals/*/decided", plan="e" * 64)
    passed_on = {**json.loads(answer.read_bytes()), "plan": plan, "words": "with storm inc-storm"}
    own = edited.trail / "approvals" / plan / "decided"
    edited.write(own, json.dumps(passed_on).encode())
    beside = {"name": own.relative_to(edited.trail).as_posix(), "sha256": hashlib.sha256(own.read_bytes()).hexdigest()}
    edited.reseal(
        DELETED,
        lambda records: records.append(
            {**records[-1], "stage": "answer", "key": "answer:own", "facts": {"beside": beside}}
        ),
    )


def what_is_passed_on_was_never_said(edited):
    a_storms_approval_is_passed_on(edited)
    edited.find("approvals/*/decided", plan="e" * 64).unlink()


def the_storms_question_is_about_other_plans(edited):
    asked_in_a_storm(edited, about="b" * 64)


def one_of_a_storm_was_superseded(edited):
    plan = plan_of(edited, DELETED)
    asked_in_a_storm(edited)
    answer = {"at": edited.played.now.isoformat(), "plan": plan, "approved": None, "words": "a newer failure"}
    edited.write(edited.trail / "approvals" / plan / "decided", json.dumps(answer).encode())


def a_storm_that_ramps(edited):
    in_a_storm(edited, RETRIED, LOST, GRANTED, DELETED)


def a_storm_whose_last_wave_was_in_vain(edited):
    in_a_storm(edited, RETRIED, LOST, GRANTED)
    edited.rewrite(end_of(edited, LOST), end="not-repaired")


def a_yes_about_another_plan_was_passed_on(edited):
    plan = plan_of(edited, DELETED)
    a_storms_approval_is_passed_on(edited)
    edited.rewrite(edited.trail / "approvals" / plan / "decided", plan="f" * 64)


def the_question_wanted_more(edited):
    edited.rewrite(edited.find("approvals/*/asked", DELETED), quorum=3)


def the_question_wanted_fewer_than_policy(edited):
    edited.rewrite(edited.find("approvals/*/asked", DELETED), quorum=1)
    a_vote_is_missing(edited)


def one_approved_long_before_the_other(edited):
    vote = votes_of(edited, DELETED)[0]
    edited.rewrite(vote, at=later(moment_of(vote).isoformat(), -LATER))


def nobody_said_who_may_approve(edited):
    edited.set(approvers=frozenset())


def the_answer_says_another_plan(edited):
    edited.rewrite(edited.find("approvals/*/decided", plan=plan_of(edited, DELETED)), plan="f" * 64)


def the_answer_came_as_the_question_expired(edited):
    answered = edited.find("approvals/*/decided", plan=plan_of(edited, DELETED))
    edited.rewrite(edited.find("approvals/*/asked", DELETED), expires_at=moment_of(answered).isoformat())


def a_vote_came_after_the_answer(edited):
    answered = edited.find("approvals/*/decided", plan=plan_of(edited, DELETED))
    edited.rewrite(votes_of(edited, DELETED)[0], at=later(moment_of(answered).isoformat(), timedelta(seconds=1)))


def one_of_two_said_no_at_the_last_moment(edited):
    answered = edited.find("approvals/*/decided", plan=plan_of(edited, DELETED))
    edited.rewrite(votes_of(edited, DELETED)[0], approves=False, at=moment_of(answered).isoformat())


def a_caller_said_no_at_the_last_moment(edited):
    """Who rejects while the answer is being kept changes nothing, and who says no is not one who approved."""
    answered = edited.find("approvals/*/decided", plan=plan_of(edited, DELETED))
    caller = json.loads(edited.find("approvals/*/asked", DELETED).read_bytes())["callers"][0]
    vote = votes_of(edited, DELETED)[0]
    at = later(moment_of(answered).isoformat(), -timedelta(seconds=1))
    no = {"by": {"oid": caller, "tid": "t", "appid": None}, "approves": False, "at": at}
    edited.write(vote.with_name("no"), json.dumps({**json.loads(vote.read_bytes()), **no}).encode())


def the_votes_are_about_another_plan(edited):
    for vote in votes_of(edited, DELETED):
        edited.rewrite(vote, plan="f" * 64)


def the_decision_was_to_ask(edited):
    def change(records):
        next(one for one in records if one["stage"] == "decision")["facts"]["verdict"] = "ask"

    edited.reseal(LOST, change)


def an_undo_without_a_person(edited):
    for file in (edited.trail / "effects").glob("*/*/*/intent"):
        if json.loads(file.read_bytes())["incident_id"] == edited.incident(LOST):
            edited.rewrite(file, action="undo-delete")
    edited.set(policy={**edited.played.policy, "rules": [{"actions": ["undo-delete"], "mode": "auto"}]})


def _leave_out(edited, stage: str) -> None:
    """Take an incident's records of a stage out of its audit."""

    def change(records):
        records[:] = [one for one in records if one["stage"] != stage]

    edited.reseal(DELETED, change)


def no_audit_record_tells_of_the_votes(edited):
    _leave_out(edited, "vote")


def no_audit_record_tells_of_the_answer(edited):
    _leave_out(edited, "answer")


def policy_asks_now(edited):
    actions = {**edited.played.policy["actions"], "retry": {"mode": "ask", "attempts": 3}}
    edited.set(policy={**edited.played.policy, "actions": actions})


# --- ends


def an_end_is_gone(edited):
    (edited.trail / "incidents" / edited.incident(LOST) / "ended").unlink()


def an_end_that_is_none(edited):
    edited.rewrite(edited.trail / "incidents" / edited.incident(LOST) / "ended", end="vanished")


def a_repair_that_was_none(edited):
    changes = edited.played.worlds[LOST].changes
    edited.world(
        LOST,
        changes=tuple(
            replace(one, body={"properties": {"provisioningState": "Failed"}}) if one.body and one.by else one
            for one in changes
        ),
    )


def an_outcome_is_gone(edited):
    edited.find("effects/*/0/1/intent", LOST).with_name("outcome").unlink()


def what_took_effect_is_said_to_be_refused(edited):
    edited.rewrite(edited.find("effects/*/0/1/intent", LOST).with_name("outcome"), status="refused")


def it_went_on_after_its_end(edited):
    def change(records):
        decided = next(one for one in records if one["stage"] == "decision")
        records.append({**decided, "stage": "question", "key": "question:later"})

    edited.reseal(LOST, change)


def it_waits_for_ever(edited):
    an_end_is_gone(edited)
    edited.set(timers={edited.incident(LOST): edited.played.now + timedelta(days=30)})


def a_question_that_has_expired_holds_nothing(edited):
    end_of(edited, DELETED).unlink()
    nobody_answered(edited)
    edited.set(now=moment_of(edited.find("approvals/*/asked", DELETED), "expires_at"))


def a_question_that_is_answered_holds_nothing(edited):
    end_of(edited, DELETED).unlink()


def a_question_without_an_end_holds_nothing(edited):
    end_of(edited, DELETED).unlink()
    nobody_answered(edited)
    edited.rewrite(edited.find("approvals/*/asked", DELETED), expires_at="at noon")


def the_audit_knows_of_another_end(edited):
    edited.record(LOST, "end", end="refused")


def a_repair_is_said_to_be_escalated(edited):
    edited.record(LOST, "end", escalated=True)


def an_escalation_is_said_to_be_none(edited):
    edited.rewrite(end_of(edited, LOST), end="not-repaired")
    edited.record(LOST, "end", end="not-repaired")


def it_ended_twice(edited):
    def change(records):
        place, ended = next((at, one) for at, one in enumerate(records) if one["stage"] == "end")
        records.insert(place + 1, {**ended, "key": "end:2"})

    edited.reseal(LOST, change)


def something_was_begun_after_its_end(edited):
    edited.rewrite(edited.find("effects/*/0/1/intent", LOST), at=later(moment_of(end_of(edited, LOST)).isoformat()))


def _was(edited, *states: tuple[str, datetime]) -> None:
    """Let these be all states of a story's deployment, at these times of the app, in a world that is ahead of it."""
    ahead = timedelta(minutes=7)
    world, key = edited.played.worlds[LOST], edited.sent(LOST, "PUT").path.lower()
    changes = tuple(
        Change(
            order=number,
            at=at + ahead,
            key=key,
            number=number,
            by="person",
            client_request_id=None,
            body={"properties": {"provisioningState": state}},
        )
        for number, (state, at) in enumerate(states)
    )
    others = tuple(one for one in world.changes if one.key != key)
    edited.world(LOST, changes=(*others, *changes), offset=ahead)


def it_was_up_only_before_it_failed(edited):
    began = moment_of(claim_of(edited, LOST))
    _was(edited, ("Succeeded", began - 3 * LATER), ("Failed", began - LATER))


def it_never_was(edited):
    _was(edited)


def it_came_up_only_after_its_end(edited):
    over = moment_of(end_of(edited, LOST))
    _was(edited, ("Failed", over - 9 * LATER), ("Succeeded", over + timedelta(milliseconds=1)))


def the_audit_does_not_know_of_the_end(edited):
    edited.reseal(LOST, lambda records: records.remove(next(one for one in records if one["stage"] == "end")))


# --- the trail


def a_bit_is_flipped(edited):
    file = edited.roll(DELETED)[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    edited.put_roll(file, bytes(content))


def a_record_is_gone(edited):
    file = edited.roll(DELETED)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    edited.put_roll(file, b"".join(lines[:5] + lines[6:]))


def records_are_swapped(edited):
    file = edited.roll(DELETED)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    edited.put_roll(file, b"".join(lines))


def a_record_is_there_twice(edited):
    edited.reseal(DELETED, lambda records: records.insert(3, records[2]))


def a_vote_was_changed(edited):
    edited.rewrite(votes_of(edited, DELETED)[0], comment="I never said that")


def a_claim_is_gone(edited):
    edited.find("effects/*/0/1/intent", GRANTED).with_name("outcome").unlink()


def evidence_was_changed(edited):
    file = next((edited.trail.parent / "evidence").rglob("[0-9a-f]" * 64))
    edited.write(file, file.read_bytes() + b" ")


def evidence_is_gone(edited):
    for record in edited.roll(DELETED)[1]:
        if digest := record["facts"].get("evidence"):
            (edited.trail.parent / "evidence" / digest[:2] / digest).unlink(missing_ok=True)


def _evidence_is_gone(edited, field: str) -> None:
    digest = next(one["facts"][field] for one in edited.roll(DELETED)[1] if one["facts"].get(field))
    (edited.trail.parent / "evidence" / digest[:2] / digest).unlink()


def the_situation_is_gone(edited):
    _evidence_is_gone(edited, "situation")


def the_decision_is_gone(edited):
    _evidence_is_gone(edited, "decision")


def a_receipt_is_gone(edited):
    edited.record(LOST, "intent", receipt="e" * 64)


def _unproved(edited, number: int, stage: str) -> None:
    edited.record(number, stage, beside=None)


def nothing_proves_a_question(edited):
    _unproved(edited, DELETED, "question")


def nothing_proves_a_claim(edited):
    _unproved(edited, LOST, "incident")


def nothing_proves_an_outcome(edited):
    _unproved(edited, LOST, "outcome")


def a_record_is_of_another_incident(edited):
    def change(records):
        records[3]["incident"] = edited.incident(GRANTED)

    edited.reseal(DELETED, change)


def _line(edited, line: bytes) -> None:
    file = edited.roll(DELETED)[0]
    lines = file.read_bytes().splitlines()
    lines[5] = line
    edited.put_roll(file, b"\n".join(lines) + b"\n")


def a_line_has_no_hash(edited):
    _line(edited, b"{}")


def a_line_that_is_no_json_has_its_hash(edited):
    words = b"no JSON"
    _line(edited, words + b',"hash":"%b"}' % hashlib.sha256(words + b"}").hexdigest().encode())


def a_line_has_no_end(edited):
    file = edited.roll(DELETED)[0]
    edited.put_roll(file, file.read_bytes()[:-1])


def a_file_of_records_is_gone(edited):
    file = edited.roll(DELETED)[0]
    edited.put_roll(file.with_name("0001.jsonl"), file.read_bytes())
    file.unlink()


def _told_often(edited, first: int, rest: int) -> None:
    """Let an incident have so many records in its first file, and in its second."""

    def change(records):
        more = ({**records[-1], "key": f"told:{number}", "facts": {}} for number in range(first + rest - len(records)))
        records.extend([*more])

    edited.reseal(LOST, change)
    file = edited.roll(LOST)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    edited.put_roll(file, b"".join(lines[:first]))
    if rest:
        edited.put_roll(file.with_name("0001.jsonl"), b"".join(lines[first:]))


def a_file_has_a_line_too_few(edited):
    _told_often(edited, 9_999, 2)


def a_file_has_a_line_too_many(edited):
    _told_often(edited, 10_001, 0)


def a_slot_is_no_json(edited):
    edited.write(next(edited.trail.glob("budget/*/delete-idle/*/0000")), b"[]")


def a_length_is_no_number(edited):
    edited.write(edited.roll(DELETED)[0].with_name(".0000.jsonl.length"), b"many")


def the_end_of_a_file_is_cut(edited):
    file = edited.roll(DELETED)[0]
    edited.write(file, file.read_bytes()[:-10])


def nothing_proves_an_intent(edited):
    file = edited.find("effects/*/0/1/intent", LOST)
    intent = json.loads(file.read_bytes())
    more = {**intent, "plan": "f" * 64, "request_id": "medic-1"}
    edited.write(edited.trail / "effects" / ("f" * 64) / "0" / "1" / "intent", json.dumps(more).encode())


# --- limits


def a_slot_too_many(edited):
    file = next(edited.trail.glob("budget/*/delete-idle/*/0000"))
    for number in (1, 2):
        edited.write(file.with_name(f"{number:04d}"), file.read_bytes())


def no_slot_was_taken(edited):
    next(edited.trail.glob("budget/*/grant-roles/*/0000")).unlink()


def policy_permits_fewer(edited):
    actions = {**edited.played.policy["actions"], "retry": {"mode": "auto", "attempts": 3, "budget_per_hour": 2}}
    edited.set(policy={**edited.played.policy, "actions": actions})


def the_slot_is_of_another_hour(edited):
    file = next(edited.trail.glob("budget/*/delete-idle/*/0000"))
    edited.write(file.parent.parent / "20200101T00" / "0000", file.read_bytes())
    file.unlink()


def a_slot_that_no_incident_could_take(edited):
    slot = {"plan": "a" * 64, "incident_id": "inc-0"}
    edited.write(edited.trail / "budget" / ("a" * 32) / "retry" / "20260101T00" / "0000", json.dumps(slot).encode())


def _begun_anew(edited, *, status: str | None, moved: timedelta) -> None:
    """Let a repair's first call be sent twice; the first time an hour before it was, or the second an hour later."""
    file = edited.find("effects/*/0/1/intent", GRANTED)
    intent = json.loads(file.read_bytes())
    first, second = intent["at"], later(intent["at"], abs(moved))
    if moved < timedelta():
        first, second = later(first, moved), first
    edited.rewrite(file, at=first)
    if status is not None:
        edited.rewrite(file.with_name("outcome"), status=status)
    again = {**intent, "attempt": 2, "request_id": "medic-0", "at": second}
    edited.write(file.parent.parent / "2" / "intent", json.dumps(again).encode())


def it_took_effect_without_a_slot(edited):
    plan = json.loads(edited.find("effects/*/0/1/intent", LOST).read_bytes())["plan"]
    edited.find("budget/*/retry/*/*", plan=plan).unlink()
    edited.rewrite(edited.find("effects/*/0/1/intent", LOST).with_name("outcome"), status="busy")


def begun_anew_without_a_slot(edited):
    _without_effect(edited, GRANTED)
    _begun_anew(edited, status="busy", moved=timedelta(hours=-1))
    no_slot_was_taken(edited)


def _said(edited, name: str, content: bytes) -> None:
    edited.set(texts={**edited.played.texts, name: content})


def a_secret_in_a_log(edited):
    _said(edited, "worker.log", f"PASSWORD={SECRET} was set".encode())


def a_secret_in_base64(edited):
    for shift in range(3):
        _said(edited, f"history {shift}", b'"' + base64.b64encode(b"x" * shift + f"key={SECRET};".encode()) + b'"')


def a_secret_in_a_link(edited):
    _said(edited, "card", f"https://host/?sig={quote(SECRET, safe='')}".encode())


def a_secret_in_json_in_json(edited):
    _said(edited, "history", json.dumps(json.dumps({"message": SECRET})).encode())


def a_secret_that_is_packed(edited):
    _said(edited, "history", gzip.compress(json.dumps(SECRET).encode()))


def a_secret_in_the_evidence(edited):
    edited.write(edited.trail.parent / "evidence" / "00" / "x", json.dumps({"log": [SECRET]}).encode())


def a_secret_on_the_trail(edited):
    edited.rewrite(edited.find("intake/*/*", LOST), words=SECRET)


def a_lease_of_one_that_has_ended(edited):
    until = edited.played.now + LATER
    edited.set(desks=(Lease(desk="d", owner=edited.incident(LOST), until=until),))


def a_lease_of_nobody_known(edited):
    edited.set(desks=(Lease(desk="d", owner="inc-0", until=edited.played.now + LATER),))


def two_leases_one_of_them_over(edited):
    now, owner = edited.played.now, edited.incident(DELETED)
    edited.set(desks=(Lease(desk="a", owner=owner, until=now), Lease(desk="b", owner=owner, until=now + LATER)))


def policy_permits_fewer_attempts(edited):
    actions = {**edited.played.policy["actions"], "retry": {"mode": "auto", "attempts": 1}}
    edited.set(policy={**edited.played.policy, "actions": actions})


def the_worlds_own_policy_permits_fewer_attempts(edited):
    edited.world(RETRIED, policy=permit(edited, "retry", attempts=1))


def _sent(edited, times: int, status: str | None = None) -> None:
    """Let a call be sent so often; what came of all but the last is in the outcomes, if anything is."""
    file = edited.find("effects/*/0/1/intent", LOST)
    intent, outcome = json.loads(file.read_bytes()), json.loads(file.with_name("outcome").read_bytes())
    for attempt in range(1, times + 1):
        folder = file.parent.parent / str(attempt)
        again = {**intent, "attempt": attempt, "request_id": f"medic-{attempt}"}
        edited.write(folder / "intent", json.dumps(again).encode())
        if status is not None and attempt < times:
            edited.write(folder / "outcome", json.dumps({**outcome, "attempt": attempt, "status": status}).encode())


def a_call_was_sent_five_times(edited):
    _sent(edited, 5)


def a_call_was_sent_three_times_where_policy_permits_one(edited):
    _sent(edited, 3)
    edited.set(policy=permit(edited, "retry", attempts=1))


def a_channel_was_never_told(edited):
    edited.set(channels=("folder", "pager"))
    edited.rewrite(edited.trail / "incidents" / edited.incident(LOST) / "ended", end="not-repaired")


def an_escalation_nobody_heard_of(edited):
    edited.rewrite(edited.trail / "incidents" / edited.incident(GRANTED) / "ended", end="inconclusive")


def _told_of_a_failure(edited, stage: str = "told", **facts: Any) -> None:
    """Let an incident end as not repaired, and its message have come to what these facts say."""

    def change(records):
        record = next(one for one in records if one["stage"] == "told")
        record.update(stage=stage, facts={**record["facts"], "kind": "not-repaired", **facts})

    edited.rewrite(end_of(edited, LOST), end="not-repaired")
    edited.record(LOST, "end", end="not-repaired", escalated=True)
    edited.reseal(LOST, change)


def a_channel_that_took_nothing_is_tried_no_more(edited):
    _told_of_a_failure(edited, "not-told", is_tried_again=True)


def a_storm_was_only_asked_about(edited):
    _told_of_a_failure(edited, kind="repaired")
    in_a_storm(edited, LOST, kind="asked")


def a_storm_was_only_approved(edited):
    _told_of_a_failure(edited, kind="repaired")
    in_a_storm(edited, LOST, kind="approved")


BREACHES: dict[str, list[tuple[Callable[[Edited], None], str]]] = {
    "events-accounted": [
        (an_intake_is_gone, "was taken 1 times and the trail tells of 0 deliveries"),
        (a_parked_one_was_never_judged, "ended as parked, but it was never judged: incident inc-0 was never opened"),
        (a_failure_is_ignored, "a failure was left as ignored"),
        (somebodys_failure_is_linked, "somebody else's write was taken for our own"),
        (our_own_failure_begins_an_incident, "our own write began an incident"),
        (a_second_delivery_left_no_record, "was taken 2 times and the trail tells of 1"),
        (an_unknown_disposition, "ended as lost, but there is no such disposition"),
        (nothing_says_why_it_is_ignored, "nothing says why"),
        (an_alert_left_no_record, "event /alerts/1 was taken 1 times and the trail tells of 0"),
    ],
    "intent-first": [
        (an_intent_is_gone, "DELETE .*/old was sent with request id medic-.*, of which no intent tells"),
        (an_intent_is_dated_later, r"was sent 5\d\.\d+ s before its intent"),
        (the_audit_of_an_intent_is_dated_later, r"was sent 5\d\.\d+ s before the audit record of its intent"),
        (the_audit_has_no_intent, "no audit record tells of its intent"),
        (the_audit_has_no_decision, "no audit record tells of a decision about its plan"),
        (a_write_without_a_request_id, "was sent with request id none"),
        (a_write_to_something_else, "/live was sent, but its intent is for DELETE .*/old"),
        (the_worlds_clock_is_not_the_one_that_was_said, "s before its intent"),
    ],
    "one-send": [
        (sent_twice, "was sent 2 times for one intent"),
        (begun_anew_after_it_was_taken, "attempt 2 of DELETE .* was begun, though the one before came to accepted"),
        (said_to_be_not_done_and_begun_anew, "the one before took effect, and is not-done here"),
        (begun_anew_while_nothing_was_known, "though the one before came to nothing"),
    ],
    "known-state": [
        (the_victim_was_never_shown, "DELETE .*: old was never shown whole before it"),
        (the_victim_was_shown_to_somebody_else, "the failed resource was never shown whole"),
        (the_victim_was_shown_long_ago, r"old was last shown 60\.\d s before it"),
        (the_victim_was_not_looked_at_again, "old was not shown whole again since it was planned"),
        (the_victim_was_changed_and_that_was_seen, "old was changed by person since it was planned"),
        (the_victim_was_last_shown_as_gone, "it was last shown as gone"),
        (the_victim_was_deleted_and_that_was_seen, "old was changed by person since it was planned"),
        (the_assignments_were_never_shown, "the role assignments of .* was never shown whole"),
        (the_role_was_shown_to_be_held, "the role was shown to be held already"),
        (the_role_was_shown_to_be_held_in_capitals, "the role was shown to be held already"),
        (the_endpoint_has_another_identity, "last shown without the identity that it is granted to"),
        (somebody_elses_assignment_is_deleted, "was made by person, not by us"),
        (an_assignment_that_was_shown_as_gone_is_deleted, "it was last shown as gone"),
        (an_assignment_that_was_not_shown_again_is_deleted, "the role assignment on .* was never shown whole before"),
    ],
    "dry-run": [
        (the_mode_was_dry_run, "DELETE .* was sent while MEDIC_MODE was dry-run"),
        (the_mode_was_off, "was sent while MEDIC_MODE was off"),
        (the_action_may_only_be_rehearsed, "was intended, and retry may be dry-run at most"),
        (a_rule_turns_it_off, "was intended, and delete-idle may be off at most"),
    ],
    "approved": [
        (nobody_answered, "delete-idle.* was begun: nobody has answered"),
        (nobody_was_asked, "delete-idle.* was begun: nobody was asked about it"),
        (the_answer_was_no, "the answer is False"),
        (the_answer_came_late, r"the answer came 5\d\.\d+ s later"),
        (the_question_had_expired, "s after the question had expired"),
        (the_caller_approved, "one who approved had started the operation that failed"),
        (the_ledgers_caller_approved, "one who approved had started the operation that failed"),
        (one_person_answered_twice, "1 different people .* and 2 were needed"),
        (somebody_approved_who_may_not, "000002 approved and is no approver"),
        (the_answer_is_about_another_incident, "are about another plan or incident"),
        (a_vote_is_missing, "1 different people .* and 2 were needed"),
        (somebody_had_rejected_it, "somebody had rejected it before"),
        (somebody_was_told_that_it_is_rejected, "counts: it was rejected, and the final answer is True"),
        (somebody_was_told_that_it_is_rejected_and_nothing_was_decided, "rejected, and the final answer is none"),
        (a_vote_that_counts_was_never_kept, "000007 was told that .* counts: no vote of theirs says so"),
        (a_vote_that_counts_was_kept_the_other_way_round, "counts: no vote of theirs says so"),
        (the_plan_wanted_a_person, "retry.* was begun: nobody was asked about it"),
        (policy_asks_now, "retry.* was begun: nobody was asked about it"),
        (the_votes_are_about_another_plan, "0 different people .* and 2 were needed"),
        (the_decision_was_to_ask, "retry.* was begun: nobody was asked about it"),
        (an_undo_without_a_person, "undo-delete.* was begun: nobody was asked about it"),
        (the_storms_question_is_about_other_plans, "delete-idle.* was begun: nobody was asked about it"),
        (a_yes_about_another_plan_was_passed_on, "question and answer are about another plan or incident"),
        (one_of_a_storm_was_superseded, "delete-idle.* was begun: the answer is None: a newer failure"),
        (the_caller_approved, "0 different people .* and 1 were needed"),
        (somebody_approved_who_may_not, "1 different people .* and 2 were needed"),
        (the_question_wanted_more, "2 different people .* and 3 were needed"),
        (the_question_wanted_fewer_than_policy, "1 different people .* and 2 were needed"),
        (the_answer_says_another_plan, "question and answer are about another plan"),
        (the_answer_came_as_the_question_expired, r"the answer came 0\.000 s after the question had expired"),
        (a_vote_came_after_the_answer, "1 different people .* and 2 were needed"),
        (one_of_two_said_no_at_the_last_moment, "1 different people .* and 2 were needed"),
        (what_is_passed_on_was_never_said, "delete-idle.* was begun: nobody has answered"),
        (no_audit_record_tells_of_the_votes, "0 different people .* and 2 were needed"),
        (no_audit_record_tells_of_the_answer, "delete-idle.* was begun: no audit record names the answer"),
    ],
    "one-at-a-time": [
        (two_wrote_the_same, "inc-.* wrote green while inc-.*, which had written it, was not over"),
        (one_wrote_what_another_had_never_left, "inc-.* wrote green while inc-.* was not over|which had written it"),
    ],
    "ramp": [
        (too_many_are_begun, "member 2 of storm inc-storm was begun as number 2, and 0 were over"),
        (begun_after_one_in_vain, "member 2 of storm inc-storm was begun after member 1 was in vain"),
        (begun_after_one_of_which_nothing_is_known, "member 4 of storm inc-storm was begun after member 2 was in vain"),
    ],
    "worker-lives": [(the_worker_crashed, "the worker ended by itself, with exit code -11")],
    "ends": [
        (an_end_is_gone, "has no end, nobody is asked, and no timer will wake it: it is stuck"),
        (an_end_that_is_none, "ended as vanished, which is no end"),
        (a_repair_that_was_none, "ended as repaired, and its resource was never Succeeded meanwhile"),
        (an_outcome_is_gone, "nobody looked after PUT"),
        (what_took_effect_is_said_to_be_refused, "PUT .* took effect, and is refused here"),
        (it_went_on_after_its_end, "went on after its end: question"),
        (it_waits_for_ever, "its timer has no bound"),
        (a_question_that_has_expired_holds_nothing, "it is stuck"),
        (a_question_that_is_answered_holds_nothing, "it is stuck"),
        (a_question_without_an_end_holds_nothing, "it is stuck"),
        (the_audit_does_not_know_of_the_end, "no audit record says so"),
        (the_audit_knows_of_another_end, "ended as repaired, and its audit record says refused"),
        (a_repair_is_said_to_be_escalated, r"the end \(repaired\) says escalated: True"),
        (an_escalation_is_said_to_be_none, r"the end \(not-repaired\) says escalated: False"),
        (it_ended_twice, "went on after its end: end"),
        (something_was_begun_after_its_end, "sent PUT .*/green.* after its end"),
        (it_was_up_only_before_it_failed, "its resource was never Succeeded meanwhile"),
        (it_never_was, "its resource was never Succeeded meanwhile"),
        (it_came_up_only_after_its_end, "its resource was never Succeeded meanwhile"),
    ],
    "trail-verifies": [
        (a_bit_is_flipped, "is not what its hash says"),
        (a_record_is_gone, "#5 does not follow the record before it"),
        (records_are_swapped, "#3 says that it is number 4"),
        (a_record_is_there_twice, "is there twice, by its key"),
        (a_vote_was_changed, "votes/.*, which lay beside it, was changed"),
        (a_claim_is_gone, "outcome, which lay beside it, is gone"),
        (evidence_was_changed, "has another digest"),
        (evidence_is_gone, "the evidence that it names .* is not in the evidence store"),
        (the_end_of_a_file_is_cut, "is shorter than its writer confirmed"),
        (nothing_proves_an_intent, "intent is named by no audit record"),
        (nothing_proves_a_question, "asked is named by no audit record"),
        (nothing_proves_a_claim, "opened is named by no audit record"),
        (nothing_proves_an_outcome, "outcome is named by no audit record"),
        (an_intent_is_gone, "intent, which lay beside it, is gone"),
        (the_situation_is_gone, "the situation that it names .* is not in the evidence store"),
        (the_decision_is_gone, "the decision that it names .* is not in the evidence store"),
        (a_receipt_is_gone, "the receipt that it names .* is not in the evidence store"),
        (a_record_is_of_another_incident, "#3 says that it is number 3 of inc-"),
        (a_line_has_no_hash, "#5 is not what its hash says"),
        (a_line_that_is_no_json_has_its_hash, "#5 is not what its hash says"),
        (a_line_has_no_end, "the last line of .* has no end"),
        (a_file_of_records_is_gone, "0001.jsonl stands where number 0 should"),
        (a_file_has_a_line_too_few, "0000.jsonl has 9999 lines, and a file is full at 10000"),
        (a_file_has_a_line_too_many, "0000.jsonl has 10001 lines, and a file is full at 10000"),
        (a_slot_is_no_json, "budget/.*/0000 is no JSON object"),
        (a_length_is_no_number, "is shorter than its writer confirmed"),
    ],
    "budget": [
        (a_slot_too_many, "slot 3 of delete-idle in .* was taken, and policy permits 2"),
        (no_slot_was_taken, "grant-roles.* was begun without a slot"),
        (policy_permits_fewer, "3 repairs by retry were begun in .*, and policy permits 2"),
        (the_slot_is_of_another_hour, "was begun without a slot of its hour's budget"),
        (a_slot_that_no_incident_could_take, "slot 1 of retry in 20260101T00 was taken, and policy permits 0$"),
        (begun_anew_without_a_slot, "grant-roles.* was begun without a slot"),
        (it_took_effect_without_a_slot, "retry.* was begun without a slot"),
    ],
    "listed": [
        (the_register_does_not_know_it, "incident inc-.* is not in the register"),
        (the_register_does_not_know_it, "ended as .*, and the register says that it has none"),
        (the_register_does_not_know_its_end, "ended as .*, and the register says that it has none"),
        (the_register_knows_another_end, "ended as repaired, and the register says advised"),
        (the_register_knows_an_end_of_what_goes_on, "has no end, and the register says repaired"),
    ],
    "no-secret": [
        (a_secret_in_a_log, "planted secret 1 stands in text worker.log, as it is"),
        (a_secret_in_base64, "stands in text history 2, base64, 2 bytes in|stands in text history 2, base64"),
        (a_secret_in_a_link, "stands in text card, in a URL"),
        (a_secret_in_json_in_json, "stands in text history, in JSON in JSON"),
        (a_secret_that_is_packed, r"stands in text history \(unpacked\), in JSON"),
        (a_secret_in_the_evidence, "stands in evidence/00/x, in JSON"),
        (a_secret_on_the_trail, "stands in trail/intake/.*, in JSON"),
    ],
    "no-lease": [
        (a_lease_of_one_that_has_ended, "desk d is held until .* by inc-.*, which has ended"),
        (a_lease_of_nobody_known, "desk d is held until .* by inc-0, which was never opened"),
        (two_leases_one_of_them_over, "desk b is held"),
    ],
    "attempts-and-told": [
        (policy_permits_fewer_attempts, "repair 2 of green by retry for canceled-.*: policy permits 1"),
        (a_call_was_sent_five_times, "was sent 5 times, and 3 is the most"),
        (a_call_was_sent_three_times_where_policy_permits_one, "was sent 3 times, and 2 is the most"),
        (the_worlds_own_policy_permits_fewer_attempts, "repair 2 of green by retry for canceled-.*: policy permits 1"),
        (a_channel_was_never_told, "ended as not-repaired, and pager was never told"),
        (an_escalation_nobody_heard_of, "ended as inconclusive, and folder was never told"),
        (a_channel_that_took_nothing_is_tried_no_more, "ended as not-repaired, and folder was never told"),
        (a_storm_was_only_asked_about, "ended as not-repaired, and folder was never told"),
        (a_storm_was_only_approved, "ended as not-repaired, and folder was never told"),
    ],
}


def cases() -> Iterator[Any]:
    for invariant, breaches in BREACHES.items():
        for breach, words in breaches:
            yield pytest.param(invariant, breach, words, id=f"{invariant}: {breach.__name__.replace('_', ' ')}")


@pytest.mark.parametrize(("invariant", "breach", "words"), tuple(cases()))
def test_a_breach_is_found_and_named(invariant, breach, words, edited):
    breach(edited)

    found = [one for one in edited.found() if one.invariant == invariant]
    assert any(re.search(words, one.words) for one in found), [one.words for one in edited.found()]
    assert all(one.records for one in found)


def test_every_invariant_has_breaches_to_find():
    assert set(BREACHES) == set(INVARIANTS)
    assert all(BREACHES.values())


# ------------------------------------------------------------------------------------------- no breach


def bytes_that_a_killed_writer_left(edited):
    file = edited.roll(LOST)[0]
    edited.write(file, file.read_bytes() + b'{"actor":{"app')


def a_writer_that_was_killed_before_it_confirmed_anything(edited):
    file = edited.trail / "audit" / "inc-x" / "0000.jsonl"
    edited.write(file, b'{"actor":{"app')
    edited.write(file.with_name(".0000.jsonl.length"), b"")


def a_delivery_that_nobody_answered(edited):
    event = {**edited.played.deliveries[0].body, "id": "never-taken"}
    edited.set(deliveries=(*edited.played.deliveries, Delivery(at=edited.played.now, body=event, answer=None)))


def a_clock_that_is_known_to_be_wrong(edited):
    ahead = timedelta(minutes=7)
    world = edited.played.worlds[DELETED]
    edited.world(
        DELETED,
        offset=ahead,
        ledger=tuple(replace(one, at=one.at + ahead) for one in world.ledger),
        shown=tuple(replace(one, at=one.at + ahead) for one in world.shown),
        changes=tuple(replace(one, at=one.at + ahead) for one in world.changes),
    )


def an_open_question(edited):
    (edited.trail / "incidents" / edited.incident(DELETED) / "ended").unlink()
    shutil.rmtree(edited.trail / "effects" / plan_of(edited, DELETED))
    nobody_answered(edited)
    edited.set(now=datetime.fromisoformat(json.loads(edited.find("approvals/*/asked", DELETED).read_bytes())["at"]))


def an_open_question_about_a_storm(edited):
    asked_in_a_storm(edited)
    end_of(edited, DELETED).unlink()
    shutil.rmtree(
        edited.trail / "effects" / json.loads(edited.find("effects/*/0/1/intent", DELETED).read_bytes())["plan"]
    )
    asked = edited.find("approvals/*/asked", incident_id="inc-storm")
    asked.with_name("decided").unlink()
    edited.set(now=moment_of(asked))


def a_question_of_before_storms(edited):
    an_open_question(edited)
    edited.rewrite(edited.find("approvals/*/asked", DELETED), members=None)


def a_walk_that_is_under_way(edited):
    an_end_is_gone(edited)
    an_outcome_is_gone(edited)
    edited.set(timers={edited.incident(LOST): edited.played.now + edited.played.longest})


def a_member_whose_storm_is_under_way(edited):
    an_end_is_gone(edited)
    in_a_storm(edited, LOST)
    edited.set(timers={"inc-storm": edited.played.now + LATER})


def what_is_not_repaired_need_not_be_up(edited):
    a_repair_that_was_none(edited)
    _told_of_a_failure(edited)


def nobody_watched_it(edited):
    edited.set(worlds=())


def _of_another_kind(edited, **changes: Any) -> None:
    a_repair_that_was_none(edited)
    claim = claim_of(edited, LOST)
    edited.rewrite(claim, incident={**json.loads(claim.read_bytes())["incident"], **changes})


def an_undo_repairs_something_else(edited):
    _of_another_kind(edited, undoes={"plan": "p"})


def a_storm_repairs_its_members(edited):
    _of_another_kind(edited, storm={"key": "k"})


def what_failed_was_no_write(edited):
    _of_another_kind(edited, operation="delete")


def it_was_up_when_it_began(edited):
    began = moment_of(claim_of(edited, LOST))
    _was(edited, ("Succeeded", began - LATER), ("Failed", began))


def it_came_up_as_it_ended(edited):
    over = moment_of(end_of(edited, LOST))
    _was(edited, ("Failed", over - LATER), ("Succeeded", over))


def what_may_follow_an_end(edited):
    stages = ["told", "not-told", "linked-event", "undo", "undo-ended", "undo-refused", "intent", "outcome"]
    stages += ["evidence", "diagnosis", "plan", "decision", "answer-refused"]

    def change(records):
        last = records[-1]
        records.extend({**last, "stage": stage, "key": f"{stage}:later", "facts": {}} for stage in stages)

    edited.reseal(LOST, change)


def what_was_not_begun_yet_needs_no_proof(edited):
    nothing_proves_an_intent(edited)
    an_end_is_gone(edited)


def a_file_that_is_full(edited):
    _told_often(edited, 10_000, 2)


def as_many_as_policy_permits(edited):
    edited.set(policy=permit(edited, "retry", budget_per_hour=3))


def begun_anew_in_the_next_hour(edited):
    _begun_anew(edited, status=None, moved=timedelta(hours=1))


def _without_effect(edited, number: int) -> None:
    ledger = edited.played.worlds[number].ledger
    edited.world(number, ledger=tuple(replace(one, took_effect=False) for one in ledger))


def _came_to_nothing(edited, status: str) -> None:
    no_slot_was_taken(edited)
    _without_effect(edited, GRANTED)
    for file in edited.trail.glob("effects/*/*/*/intent"):
        if json.loads(file.read_bytes())["incident_id"] == edited.incident(GRANTED):
            edited.rewrite(file.with_name("outcome"), status=status)


def azure_was_busy(edited):
    _came_to_nothing(edited, "busy")


def azure_throttled(edited):
    _came_to_nothing(edited, "throttled")


def azure_was_not_reached(edited):
    _came_to_nothing(edited, "unsent")


def azure_refused(edited):
    _came_to_nothing(edited, "refused")


def a_neighbor_has_no_budget(edited):
    claim = json.loads(claim_of(edited, DELETED).read_bytes())["incident"]
    other = {**claim, "resource": {**claim["resource"], "endpoint": "other"}}
    edited.write(edited.trail / "incidents" / "inc-x" / "opened", json.dumps({"incident": other}).encode())
    rule = {"scope": {"endpoint": "other"}, "actions": ["delete-idle"], "budget_per_hour": 0}
    edited.set(policy={**edited.played.policy, "rules": [rule]})


def a_subscription_in_capitals(edited):
    claim = claim_of(edited, DELETED)
    incident = json.loads(claim.read_bytes())["incident"]
    resource = {**incident["resource"], "subscription": incident["resource"]["subscription"].upper()}
    edited.rewrite(claim, incident={**incident, "resource": resource})
    edited.set(policy=permit(edited, "delete-idle", mode="off"))
    edited.world(DELETED, policy=permit(edited, "delete-idle", mode="ask"))


def desks_that_nobody_holds_too_long(edited):
    an_end_is_gone(edited)
    now, later_on = edited.played.now, edited.played.now + LATER
    desks = (
        Lease(desk="free", owner=None, until=later_on),
        Lease(desk="waits", owner=edited.incident(DELETED), until=None),
        Lease(desk="over", owner=edited.incident(DELETED), until=now),
        Lease(desk="at work", owner=edited.incident(LOST), until=later_on),
    )
    edited.set(desks=desks)


def a_repair_that_a_channel_was_not_told_of(edited):
    edited.set(channels=("folder", "pager"))


def an_escalation_was_told(edited):
    _told_of_a_failure(edited)


def a_channel_will_never_take_it(edited):
    _told_of_a_failure(edited, "not-told", is_tried_again=False)


def a_storm_was_told_of(edited):
    _told_of_a_failure(edited, kind="repaired")
    in_a_storm(edited, LOST, kind="advised")


def repairs_that_are_far_apart(edited):
    edited.set(policy=permit(edited, "retry", attempts=1, within="PT0S"))


def a_repair_came_to_nothing(edited):
    _without_effect(edited, RETRIED)
    edited.rewrite(edited.find("effects/*/0/1/intent", RETRIED).with_name("outcome"), status="refused")
    edited.set(policy=permit(edited, "retry", attempts=2))


def sent_as_often_as_policy_permits(edited):
    _sent(edited, 3)


def sent_twice_where_policy_permits_one(edited):
    _sent(edited, 2)
    edited.world(LOST, policy=permit(edited, "retry", attempts=1))


def throttled_again_and_again(edited):
    _sent(edited, 7, "throttled")


def the_worlds_own_policy_permits_more(edited):
    edited.world(RETRIED, policy=edited.played.policy)
    edited.set(policy=permit(edited, "retry", attempts=1))


def an_identity_in_capitals(edited):
    world = edited.played.worlds[GRANTED]

    def shouted(body: dict[str, Any]) -> dict[str, Any]:
        users = body["identity"]["userAssignedIdentities"]
        louder = {name: {**one, "principalId": one["principalId"].upper()} for name, one in users.items()}
        return {**body, "identity": {**body["identity"], "userAssignedIdentities": louder}}

    is_it = "/onlineendpoints/credit-scoring"
    changes = (replace(one, body=shouted(one.body)) if one.key.endswith(is_it) else one for one in world.changes)
    edited.world(GRANTED, changes=tuple(changes))


def others_may_have_seen_it(edited):
    """Another incident of the workspace was open: what was shown may have been shown to its walk alone."""
    the_victim_was_changed_and_that_was_seen(edited)
    claim = edited.trail / "incidents" / edited.incident(DELETED) / "opened"
    edited.write(edited.trail / "incidents" / "inc-x" / "opened", claim.read_bytes())


def one_stands_for_an_older_failure(edited):
    a_parked_one_was_never_judged(edited)

    def change(records):
        records.insert(2, {**records[1], "stage": "stands-for", "key": "stands-for", "facts": {"incidents": ["inc-0"]}})

    edited.reseal(GRANTED, change)


def what_is_parked_may_join(edited):
    a_parked_one_was_never_judged(edited)
    intake = json.loads(edited.find("intake/*/*", incident_id="inc-0").read_bytes())
    joined = {"event_id": intake["event_id"], "source": "event-grid"}
    folder = edited.trail / "incidents" / edited.incident(LOST) / "joined"
    edited.write(folder / ("0" * 32), json.dumps(joined).encode())


def events_that_are_none_of_ours(edited):
    event = edited.played.deliveries[0].body
    bodies = [
        {**event, "id": "n0", "eventType": "Microsoft.Resources.ResourceWriteSuccess"},
        {**event, "id": "n1", "data": None},
        {**event, "id": "n2", "data": {**event["data"], "resourceUri": "/subscriptions/s/resourceGroups/g"}},
        {**event, "id": "n3", "data": {**event["data"], "operationName": "Microsoft.Storage/storageAccounts/write"}},
    ]
    for number in range(len(bodies)):
        intake = {"event_id": f"n{number}", "disposition": "ignored", "words": "not ours", "incident_id": None}
        edited.write(edited.trail / "intake" / "2026-01-01" / f"n{number}", json.dumps(intake).encode())
    taken = Delivery(at=edited.played.now, body=["no event", *bodies], answer=202)
    edited.set(deliveries=(*edited.played.deliveries, taken))


def an_alert_that_is_recorded(edited):
    _alert(edited, is_recorded=True)


def a_subscription_that_nobody_watches(edited):
    a_failure_is_ignored(edited)
    edited.set(policy={**edited.played.policy, "subscriptions": ["another"]})


def sent_again_where_that_does_no_harm(edited):
    said_to_be_not_done_and_begun_anew(edited)
    edited.rewrite(edited.find("effects/*/0/1/intent", DELETED).with_name("outcome"), status="again")


def sent_anew_after_azure_was_busy(edited):
    said_to_be_not_done_and_begun_anew(edited)
    edited.rewrite(edited.find("effects/*/0/1/intent", DELETED).with_name("outcome"), status="busy")
    edited.entry(DELETED, "DELETE", took_effect=False, status=409)


def a_deletion_that_was_refused(edited):
    the_victim_was_never_shown(edited)
    edited.entry(DELETED, "DELETE", took_effect=False, status=409)


def _held(edited, *, is_true: bool = True, **body: Any) -> None:
    the_role_was_shown_to_be_held(edited)
    world = edited.played.worlds[GRANTED]
    first = replace(world.changes[0], body={"properties": {**world.changes[0].body["properties"], **body}})
    shown = tuple(replace(one, is_true=is_true) for one in world.shown)
    edited.world(GRANTED, changes=(first, *world.changes[1:]), shown=shown)


def the_role_is_held_on_a_condition(edited):
    _held(edited, condition="@Resource[x] == 1")


def another_role_is_held(edited):
    _held(edited, roleDefinitionId="/x/roleDefinitions/another")


def somebody_else_holds_the_role(edited):
    _held(edited, principalId="another")


def the_list_that_looked_whole_was_not(edited):
    _held(edited, is_true=False)


def the_role_is_held_elsewhere(edited):
    _held(edited)
    world = edited.played.worlds[GRANTED]
    first = replace(world.changes[0], key=world.changes[0].key.replace("/registries/", "/registries/x"))
    edited.world(GRANTED, changes=(first, *world.changes[1:]))


@pytest.mark.parametrize(
    ("edit", "invariants"),
    [
        pytest.param(an_alert_that_is_recorded, None, id="an alert"),
        pytest.param(a_subscription_that_nobody_watches, {"events-accounted"}, id="a subscription that is not watched"),
        pytest.param(sent_again_where_that_does_no_harm, {"one-send"}, id="sent again where that does no harm"),
        pytest.param(sent_anew_after_azure_was_busy, {"one-send"}, id="sent anew after Azure was busy"),
        pytest.param(a_deletion_that_was_refused, {"known-state"}, id="a deletion that Azure refused"),
        pytest.param(the_role_is_held_on_a_condition, {"known-state"}, id="a role that is held on a condition"),
        pytest.param(another_role_is_held, {"known-state"}, id="another role"),
        pytest.param(somebody_else_holds_the_role, {"known-state"}, id="somebody else's role"),
        pytest.param(the_list_that_looked_whole_was_not, {"known-state"}, id="a list that only looked whole"),
        pytest.param(the_role_is_held_elsewhere, {"known-state"}, id="a role on something else"),
        pytest.param(a_storm_that_ramps, {"ramp"}, id="members one after the other"),
        pytest.param(a_storm_whose_last_wave_was_in_vain, {"ramp"}, id="one in vain beside others of its wave"),
        pytest.param(asked_in_a_storm, {"approved"}, id="one question about several plans"),
        pytest.param(a_caller_said_no_at_the_last_moment, {"approved"}, id="a caller said no at the last moment"),
        pytest.param(one_approved_long_before_the_other, {"approved"}, id="one approved long before the other"),
        pytest.param(nobody_said_who_may_approve, {"approved"}, id="whoever votes may"),
        pytest.param(a_storms_approval_is_passed_on, {"approved"}, id="the approval of several plans is one of each"),
        pytest.param(others_may_have_seen_it, {"known-state"}, id="somebody else may have been shown it"),
        pytest.param(one_stands_for_an_older_failure, {"events-accounted"}, id="an incident stands for an older one"),
        pytest.param(what_is_parked_may_join, {"events-accounted"}, id="a parked event joined"),
        pytest.param(events_that_are_none_of_ours, None, id="events that are none of ours"),
        pytest.param(bytes_that_a_killed_writer_left, None, id="bytes beyond what was confirmed"),
        pytest.param(
            a_writer_that_was_killed_before_it_confirmed_anything, None, id="bytes of which none were confirmed"
        ),
        pytest.param(a_delivery_that_nobody_answered, None, id="a delivery without an answer"),
        pytest.param(a_clock_that_is_known_to_be_wrong, None, id="a clock that is off by what is known"),
        pytest.param(an_open_question, {"ends"}, id="a question waits for a person"),
        pytest.param(an_open_question_about_a_storm, {"ends"}, id="a question about a storm waits for a person"),
        pytest.param(a_question_of_before_storms, {"ends"}, id="a question that knows of no storms"),
        pytest.param(a_walk_that_is_under_way, {"ends"}, id="a walk is under way"),
        pytest.param(a_member_whose_storm_is_under_way, {"ends"}, id="a storm is under way"),
        pytest.param(what_is_not_repaired_need_not_be_up, {"ends"}, id="not repaired, and not up"),
        pytest.param(nobody_watched_it, {"ends", "budget"}, id="a repair in a world that nobody watched"),
        pytest.param(an_undo_repairs_something_else, {"ends"}, id="an undo"),
        pytest.param(a_storm_repairs_its_members, {"ends"}, id="a storm"),
        pytest.param(what_failed_was_no_write, {"ends"}, id="a deletion that failed"),
        pytest.param(it_was_up_when_it_began, {"ends"}, id="it was up when it began"),
        pytest.param(it_came_up_as_it_ended, {"ends"}, id="it came up as it ended"),
        pytest.param(what_may_follow_an_end, {"ends"}, id="what may follow an end"),
        pytest.param(what_was_not_begun_yet_needs_no_proof, {"trail-verifies"}, id="an intent of a walk under way"),
        pytest.param(a_file_that_is_full, {"trail-verifies"}, id="a full file of records"),
        pytest.param(as_many_as_policy_permits, {"budget"}, id="as many repairs as policy permits"),
        pytest.param(begun_anew_in_the_next_hour, {"budget"}, id="begun anew in the next hour"),
        pytest.param(azure_was_busy, {"budget"}, id="a repair that met a busy Azure"),
        pytest.param(azure_throttled, {"budget"}, id="a repair that was throttled"),
        pytest.param(azure_was_not_reached, {"budget"}, id="a repair that was never sent"),
        pytest.param(azure_refused, {"budget", "ends"}, id="a repair that Azure refused"),
        pytest.param(a_neighbor_has_no_budget, {"budget"}, id="policy permits another resource less"),
        pytest.param(a_subscription_in_capitals, {"budget", "dry-run"}, id="a subscription in capitals"),
        pytest.param(desks_that_nobody_holds_too_long, {"no-lease"}, id="desks that nobody holds too long"),
        pytest.param(a_repair_that_a_channel_was_not_told_of, None, id="a repair need not be told of"),
        pytest.param(an_escalation_was_told, {"ends", "attempts-and-told"}, id="an escalation that was told"),
        pytest.param(a_channel_will_never_take_it, {"attempts-and-told"}, id="a channel that will never take it"),
        pytest.param(a_storm_was_told_of, {"attempts-and-told"}, id="a storm was told of"),
        pytest.param(repairs_that_are_far_apart, {"attempts-and-told"}, id="repairs that are far apart"),
        pytest.param(a_repair_came_to_nothing, {"attempts-and-told"}, id="a repair that came to nothing"),
        pytest.param(sent_as_often_as_policy_permits, {"attempts-and-told"}, id="sent as often as policy permits"),
        pytest.param(sent_twice_where_policy_permits_one, {"attempts-and-told"}, id="sent twice for one answer"),
        pytest.param(throttled_again_and_again, {"attempts-and-told"}, id="throttled again and again"),
        pytest.param(the_worlds_own_policy_permits_more, {"attempts-and-told"}, id="a world with its own policy"),
        pytest.param(our_own_assignment_is_deleted, {"known-state"}, id="our own assignment is deleted"),
        pytest.param(an_identity_in_capitals, {"known-state"}, id="an identity in capitals"),
        pytest.param(the_register_tells_an_end_twice, None, id="a second line of the register"),
    ],
)
def test_what_is_no_breach_is_not_taken_for_one(edit, invariants, edited):
    edit(edited)

    assert [one for one in edited.found() if invariants is None or one.invariant in invariants] == []


@pytest.mark.parametrize("end", [*End])
def test_every_end_of_the_product_is_known_to_the_judge(end, edited):
    edited.rewrite(end_of(edited, LOST), end=str(end))
    edited.record(LOST, "end", end=str(end), escalated=end.is_escalated)

    assert [one for one in edited.found() if one.invariant == "ends"] == []


def test_a_change_between_look_and_call_is_counted_and_no_breach(edited):
    """Nobody can see it: Resource Manager has no If-Match here."""
    world, key = edited.played.worlds[DELETED], _victim(edited)
    own = next(one for one in world.changes if one.key == key and one.by == "medic")
    late = replace(own, by="person", client_request_id=None, order=own.order - 0.5)
    after = tuple(
        replace(one, number=one.number + 1) if one.key == key and one.number >= own.number else one
        for one in world.changes
    )
    edited.world(DELETED, changes=(*after, late))

    checked = check(edited.played)
    assert checked.violations == ()
    assert checked.figures["looks_raced"] == 1
    assert 0 < checked.figures["oldest_raced_look_s"] < 30


# ------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        pytest.param({"mode": "ask"}, ("ask",), id="any action, any place"),
        pytest.param({"actions": ["retry"], "mode": "ask"}, ("ask",), id="this action"),
        pytest.param({"actions": ["sync-keys"], "mode": "ask"}, ("auto",), id="another action"),
        pytest.param({"scope": {"workspace": "MLW-*"}, "mode": "ask"}, ("ask",), id="a glob, without case"),
        pytest.param({"scope": {"endpoint": "fraud"}, "mode": "ask"}, ("auto",), id="another endpoint"),
        pytest.param({"scope": {"workspace": "fraud"}, "mode": "ask"}, ("auto",), id="another workspace"),
        pytest.param({"scope": {"resource_group": "fraud"}, "mode": "ask"}, ("auto",), id="another resource group"),
        pytest.param({"scope": {"subscription": "fraud"}, "mode": "ask"}, ("auto",), id="another subscription"),
        pytest.param(
            {"scope": {"tags": {"a": "b"}}, "mode": "ask"}, ("ask", "auto"), id="tags, which nobody knows here"
        ),
        pytest.param({"attempts": 1}, ("auto",), id="a rule that says nothing of it"),
    ],
)
def test_a_policy_is_read_as_it_is_written(rule, answers):
    policy = {"actions": {"retry": {"mode": "auto"}}, "rules": [rule]}

    assert rules.answers(policy, "retry", {"workspace": "Mlw-Demo", "endpoint": "churn"}, "mode") == answers


def test_the_policy_is_the_strictest_by_the_mode_of_the_app_and_off_if_it_says_nothing():
    policy = {"actions": {"retry": {"mode": "auto"}}}

    assert rules.mode(policy, "retry", {}, "ask") == "ask"
    assert rules.mode(policy, "retry", {}, "auto") == "auto"
    assert rules.mode(policy, "delete-idle", {}, "auto") == "off"
    assert rules.mode({"actions": {"retry": None}}, "retry", {}, "auto") == "off"


def test_where_several_answers_may_hold_the_judge_takes_the_one_that_permits_most():
    tagged = {"scope": {"tags": {"a": "b"}}}
    looser = {
        "actions": {"retry": {"mode": "ask"}},
        "rules": [{**tagged, "mode": "auto", "attempts": 9, "within": "PT1M"}],
    }
    stricter = {
        "actions": {"retry": {"mode": "ask"}},
        "rules": [{**tagged, "mode": "off", "attempts": 1, "within": "P1D"}],
    }

    found = [
        (
            rules.mode(one, "retry", {}, "auto"),
            rules.most(one, "retry", {}, "attempts"),
            rules.shortest(one, "retry", {}, "within"),
        )
        for one in (looser, stricter)
    ]
    assert found == [("auto", 9, timedelta(minutes=1)), ("ask", 3, timedelta(hours=6))]
    assert rules.most(stricter, "retry", {}, "budget_per_hour") == 20


@pytest.mark.parametrize(("text", "seconds"), [("PT30S", 30), ("PT6H", 21600), ("P1DT1M", 86460), ("PT0.5S", 0.5)])
def test_a_duration_is_read(text, seconds):
    assert rules.duration(text) == timedelta(seconds=seconds)


def test_what_is_no_duration_is_not_guessed_at():
    with pytest.raises(ValueError, match="'an hour' is no duration"):
        rules.duration("an hour")


def test_a_needle_is_as_long_as_the_secret_and_each_dress_is_looked_for_once():
    dresses = leaks.dresses(SECRET)

    assert len(set(dresses.values())) == len(dresses)
    assert all(len(needle) >= len(SECRET) for needle in dresses.values())
    assert list(leaks.leaks({"a": b"nothing"}, (SECRET,))) == []
