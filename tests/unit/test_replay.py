"""Another policy is laid over what was recorded, exactly; and what cannot be told is said."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediations import codec, planning
from remediations.actions import ACTIONS
from remediations.guards import decide
from remediations.model import AuditRecord, DesiredSpec, End, Found, Mode, NoPlan, Plan, Surroundings
from remediations.policy import (
    ActionPolicy,
    Approvers,
    DesiredSpecs,
    Freeze,
    Idle,
    Pause,
    Policy,
    Rule,
    Scope,
    Window,
)
from remediations.proof import chain
from remediations.replay import Kind, Side, WhatIf, replay, totals
from remediations.services import EvidenceStore
from remediations.situation import Declined, survey
from remediations.trail import Result, Slot
from tests.builders import (
    ENDPOINT,
    NOON,
    SUBSCRIPTION,
    US,
    MemoryStore,
    make_candidate,
    make_diagnosis,
    make_effect,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_quota,
    make_state,
    make_trail,
    store_of,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AUTO = ActionPolicy(mode=Mode.AUTO, backoff=timedelta())
POLICY = Policy(actions={"retry": AUTO, "delete-idle": AUTO})
OTHER_TAG = replace(POLICY, idle=Idle(tag={"other": "tag"}))
SPECS = "https://stmlops.blob.core.windows.net/desired"


class Past:
    """A trail and its evidence, and what the app does when it judges an incident."""

    def __init__(self):
        self.trail = make_trail()
        self.store = MemoryStore()
        self.evidence = EvidenceStore(self.store)
        self.incident = make_incident().id

    def judge(self, policy=POLICY, *, evidence=None, ceiling=Mode.AUTO, now=NOON, **diagnosed):
        """Judge once, as the app does; give the plan."""
        evidence = evidence or make_evidence()
        digest = self.evidence.put(evidence)
        journal = make_journal(self.trail, lambda: now)
        diagnosis = make_diagnosis(incident=evidence.incident, evidence=digest, **diagnosed)
        journal.opened(evidence.incident)
        journal.diagnosed(diagnosis)
        plan = planning.propose(diagnosis, evidence, ACTIONS, policy)
        if isinstance(plan, NoPlan):
            pauses = self.trail.pauses(now)
            declined = Declined(no_plan=plan, now=now, try_number=1, own=US, trail_pauses=pauses)
            journal.planned(plan, declined=self.evidence.put(declined) if diagnosis.action else None)
            return plan
        journal.planned(plan)
        seen = self.survey(plan, evidence, policy, ceiling, now)
        decision = decide(plan, seen, ACTIONS[plan.action].guards, situation_digest=self.evidence.put(seen))
        kept = self.evidence.put(decision)
        journal.decided(decision, when="deciding", kept=kept)
        later = self.survey(plan, evidence, policy, ceiling, now + MINUTE)
        again = decide(plan, later, ACTIONS[plan.action].guards, situation_digest=self.evidence.put(later))
        journal.decided(again, when="before call 1, attempt 1", kept=kept)
        return plan

    def survey(self, plan, evidence, policy, ceiling, now):
        return survey(
            plan,
            evidence,
            ACTIONS[plan.action].fingerprint(plan.steps, evidence),
            policy=policy,
            ceiling=ceiling,
            trail=self.trail,
            own=US,
            now=now,
        )

    def replay(self, policy=POLICY, *, mode=None, since=NOON - DAY, until=NOON + DAY):
        asked = WhatIf(policy=policy, actions=ACTIONS, since=since, until=until, mode=mode)
        return replay(self.incident, asked, self.trail, self.evidence)

    def forget(self, digest):
        """Let a value expire."""
        del self.store._records[f"{digest[:2]}/{digest}"]


@pytest.fixture
def past():
    return Past()


def retry(**changes):
    return replace(POLICY, actions={**POLICY.actions, "retry": replace(AUTO, **changes)})


def quota_evidence(**changes):
    around = Surroundings(quota=Found(make_quota()), candidates=Found((make_candidate(**changes),)))
    return make_evidence(surroundings=around)


QUOTA = {"cause_id": "quota-cpu", "action": "delete-idle"}

# ------------------------------------------------------------------------------------------------- the same


def test_the_unchanged_policy_decides_what_was_decided_to_the_letter(past):
    past.judge()
    replayed = past.replay()
    assert [(one.when, one.kind) for one in replayed] == [("deciding", "same"), ("before call 1, attempt 1", "same")]
    assert all(one.before == one.after for one in replayed)
    assert replayed[0].after == Side(
        verdict="run",
        would="run",
        mode="auto",
        mode_words="policy says auto for retry",
        plan=replayed[0].before.plan,
    )


def test_a_policy_that_says_the_same_of_this_incident_changes_nothing(past):
    past.judge()
    elsewhere = Rule(scope=Scope(workspace="other"), mode=Mode.OFF)
    (deciding, _) = past.replay(replace(POLICY, rules=(elsewhere,)))
    assert (deciding.kind, deciding.plan, deciding.guards) == (Kind.SAME, (), ())
    assert deciding.after.plan != deciding.before.plan  # a plan's digest names its policy


def test_advice_that_no_policy_could_change_needs_no_evidence(past):
    digest = past.judge(evidence=None, cause_id="unknown", action=None).diagnosis.evidence
    past.forget(digest)
    (advised,) = past.replay(replace(POLICY, actions={}))
    assert (advised.kind, advised.before.verdict, advised.cause) == (Kind.SAME, "advised", "unknown")


def test_only_what_was_decided_in_that_time_is_replayed(past):
    past.judge()
    assert past.replay(since=NOON + MINUTE) == ()
    assert len(past.replay(since=NOON, until=NOON + MINUTE)) == 2
    assert past.replay(until=NOON) == ()


def test_nothing_is_written(past):
    past.judge()
    past.trail.pause(Pause(until=NOON + DAY, reason="migration"), "n1")
    store_of(past.trail).fails = past.store.fails = lambda _: True
    before = (len(store_of(past.trail).calls), len(past.store.calls))
    assert [one.kind for one in past.replay(retry(mode=Mode.OFF))] == [Kind.CHANGED, Kind.CHANGED]
    assert (len(store_of(past.trail).calls), len(past.store.calls)) == before


# ------------------------------------------------------------------------------------------------- what changes


@pytest.mark.parametrize(
    ("policy", "guard", "words"),
    [
        pytest.param(
            retry(ceiling=MINUTE), "in-time", "the failure is 5 min old; the ceiling is 1 min", id="the ceiling of age"
        ),
        pytest.param(
            retry(attempts=0), "attempts-left", "tried 0 of 0 times for canceled-higher-priority in 6 h", id="attempts"
        ),
        pytest.param(
            retry(budget_per_hour=0), "budget-left", "0 of 0 repairs by retry are begun in this hour", id="budget"
        ),
        pytest.param(
            replace(POLICY, pauses=(Pause(until=NOON + DAY, reason="migration"),)),
            "not-paused",
            "everything is paused until 2026-11-23 12:00 UTC: migration",
            id="a pause",
        ),
        pytest.param(
            replace(POLICY, freezes=(Freeze(start=NOON - DAY, end=NOON + DAY, reason="release"),)),
            "not-frozen",
            "everything is frozen until 2026-11-23 12:00 UTC: release",
            id="a freeze",
        ),
        pytest.param(
            replace(POLICY, windows=(Window(start=(NOON + HOUR).time(), end=(NOON + 2 * HOUR).time()),)),
            "inside-window",
            "no maintenance window is open",
            id="a window",
        ),
    ],
)
def test_a_guard_of_another_policy_says_so_with_its_words(past, policy, guard, words):
    past.judge()
    (deciding, _) = past.replay(policy)
    assert (deciding.kind, deciding.by) == (Kind.CHANGED, (guard,))
    assert (deciding.before.verdict, deciding.after.verdict) == ("run", "refuse")
    (change,) = (one for one in deciding.guards if one.is_another)
    assert (change.before.answer, change.after.answer, change.after.words) == ("allow", "deny", words)


def test_a_protected_tag_of_another_policy_refuses(past):
    past.judge(evidence=make_evidence(endpoint=Found(make_endpoint_state(tags={"owner": "audit"}))))
    (deciding, _) = past.replay(replace(POLICY, protected={"owner": "audit"}))
    assert (deciding.after.verdict, deciding.by) == ("refuse", ("not-protected",))


def test_what_the_trail_paused_stays_paused_under_any_policy(past):
    past.trail.pause(Pause(until=NOON + HOUR, reason="by hand"), "n1")
    past.judge(replace(POLICY, pauses=(Pause(until=NOON + DAY, reason="by policy"),)))
    (deciding, _) = past.replay(POLICY)
    assert deciding.after.verdict == "refuse"
    assert deciding.kind is Kind.REWORDED
    assert [change.after.words for change in deciding.guards] == [
        "everything is paused until 2026-11-22 13:00 UTC: by hand"
    ]


def test_another_mode_changes_the_verdict_by_mode(past):
    past.judge()
    (deciding, _) = past.replay(retry(mode=Mode.ASK))
    assert (deciding.by, deciding.after.verdict, deciding.after.mode_words) == (
        ("mode",),
        "ask",
        "policy says ask for retry",
    )


def test_another_ceiling_tells_what_it_would_have_done(past):
    past.judge(ceiling=Mode.DRY_RUN)
    (as_it_was, _) = past.replay()
    assert (as_it_was.kind, as_it_was.after.verdict, as_it_was.after.would) == (Kind.SAME, "dry-run", "run")
    (deciding, _) = past.replay(mode=Mode.AUTO)
    assert (deciding.kind, deciding.after.verdict, deciding.by) == (Kind.CHANGED, "run", ("mode",))


def test_the_same_answer_in_other_words_is_no_change(past):
    past.judge()
    (deciding, _) = past.replay(retry(ceiling=3 * HOUR))
    assert (deciding.kind, deciding.by) == (Kind.REWORDED, ())
    assert [(change.guard, change.after.words) for change in deciding.guards] == [
        ("in-time", "the failure is 5 min old; the ceiling is 3 h")
    ]


def test_a_longer_wait_is_a_change_of_the_plan(past):
    past.judge()
    (deciding, _) = past.replay(retry(backoff=timedelta(seconds=100), backoff_most=timedelta(seconds=100)))
    (difference,) = deciding.plan
    assert difference.startswith("waits ")
    assert difference.endswith(" s first, not 0 s")
    assert (deciding.kind, deciding.by, deciding.after.verdict) == (Kind.CHANGED, ("plan",), "run")


# ------------------------------------------------------------------------------------------------- who is asked

ANNA, BEN = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
LISTED = Approvers(role="", users=(ANNA, BEN))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        pytest.param({"quorum": 2}, {"quorum": 3}, ("asks 3 people where 2 were asked",), id="more people"),
        pytest.param({"quorum": 2}, {"quorum": 1}, ("asks 1 person where 2 were asked",), id="fewer people"),
        pytest.param({}, {"approvers": LISTED}, ("asks other approvers",), id="other people"),
        pytest.param(
            {},
            {"quorum": 2, "approvers": LISTED},
            ("asks 2 people where 1 was asked", "asks other approvers"),
            id="more and others",
        ),
    ],
)
def test_a_policy_that_asks_other_people_changes_the_decision(past, before, after, words):
    past.judge(retry(mode=Mode.ASK, **before))
    (deciding, _) = past.replay(retry(mode=Mode.ASK, **after))
    assert (deciding.before.verdict, deciding.after.verdict) == ("ask", "ask")
    assert (deciding.kind, deciding.asks, deciding.by) == (Kind.CHANGED, words, ("people",))


@pytest.mark.parametrize(
    "after", [{"quorum": 1}, {"approvers": Approvers(role="Medic.Approver", users=()), "quorum": None}]
)
def test_a_policy_that_asks_the_same_people_in_other_words_changes_nothing(past, after):
    past.judge(retry(mode=Mode.ASK))
    assert past.replay(retry(mode=Mode.ASK, **after))[0].kind is Kind.SAME


def test_the_order_and_case_of_approvers_make_no_difference(past):
    past.judge(retry(mode=Mode.ASK, approvers=LISTED))
    turned = replace(LISTED, users=(BEN.upper(), ANNA))
    assert past.replay(retry(mode=Mode.ASK, approvers=turned))[0].kind is Kind.SAME


def test_whom_a_dry_run_would_ask_counts_too(past):
    past.judge(retry(mode=Mode.ASK), ceiling=Mode.DRY_RUN)
    (deciding, _) = past.replay(retry(mode=Mode.ASK, quorum=2))
    assert (deciding.after.verdict, deciding.asks) == ("dry-run", ("asks 2 people where 1 was asked",))


def test_who_would_be_asked_makes_no_difference_where_nobody_is(past):
    past.judge()
    assert past.replay(retry(quorum=2, approvers=LISTED))[0].kind is Kind.SAME


# ------------------------------------------------------------------------------------------------- the breaker


def failed(past, *ages):
    for number, age in enumerate(ages):
        result = Result(at=NOON - age, end=End.NOT_REPAIRED, cause_id="canceled-higher-priority")
        past.trail.record_result(SUBSCRIPTION, "retry", f"r{number}", result)


def test_a_longer_window_of_the_breaker_is_read_from_the_trail(past):
    failed(past, HOUR, 10 * HOUR)
    past.judge()
    longer = retry(breaker_failures=2, breaker_within=12 * HOUR)
    assert [one.after.verdict for one in past.replay(longer)] == ["ask", "ask"]
    assert [one.after.verdict for one in past.replay(retry(breaker_failures=2))] == ["run", "run"]


def test_a_shorter_window_of_the_breaker_forgets_what_lies_before_it(past):
    failed(past, HOUR, 4 * HOUR)
    past.judge(retry(breaker_failures=2))
    assert past.replay(retry(breaker_failures=2))[0].after.verdict == "ask"
    assert past.replay(retry(breaker_failures=2, breaker_within=2 * HOUR))[0].after.verdict == "run"


def test_results_that_came_later_open_no_breaker(past):
    past.judge()
    failed(past, HOUR, -HOUR)
    longer = retry(breaker_failures=2, breaker_within=12 * HOUR)
    assert past.replay(longer)[0].after.verdict == "run"


# ------------------------------------------------------------------------------------------------- the plan


def test_advice_becomes_a_plan_and_is_decided_on_the_trail_of_that_time(past):
    past.judge(
        evidence=quota_evidence(window=30 * DAY), policy=replace(POLICY, idle=Idle(tag={"other": "tag"})), **QUOTA
    )
    (declined,) = past.replay(POLICY)
    assert (declined.before.verdict, declined.after.verdict, declined.by) == ("advised", "run", ("plan",))
    assert declined.plan == (
        f"new: DELETE {ENDPOINT}/deployments/old?api-version=2024-10-01",
        f"new: PUT {ENDPOINT}/deployments/green?api-version=2024-10-01",
    )


def test_what_came_later_does_not_count_against_a_plan_that_was_not_made(past):
    past.judge(evidence=quota_evidence(window=30 * DAY), policy=OTHER_TAG, **QUOTA)
    key = f"{ENDPOINT}/deployments/old".lower()
    effect = make_effect(at=NOON + MINUTE, incident_id="inc-later", action="delete-idle")
    past.trail.open_intent(effect, make_intent(at=NOON + MINUTE, incident_id="inc-later"), (key,))
    make_journal(past.trail, lambda: NOON + MINUTE).record("inc-later", "intent", "i", plan="p" * 64)
    past.trail.take_budget(SUBSCRIPTION, "delete-idle", NOON, Slot(plan="p" * 64, incident_id="inc-later"), 5)
    past.trail.pause(Pause(until=NOON + DAY, reason="made later"), "n1")
    once = replace(POLICY, actions={"delete-idle": replace(AUTO, budget_per_hour=1)})
    (declined,) = past.replay(once)
    assert (declined.after.verdict, declined.guards) == ("run", tuple(g for g in declined.guards if not g.is_another))


def test_an_open_effect_of_that_time_counts_though_it_has_its_outcome_now(past):
    past.judge(evidence=quota_evidence(window=30 * DAY), policy=OTHER_TAG, **QUOTA)
    effect = make_effect(incident_id="inc-before", action="retry")
    key = make_incident().resource.key
    past.trail.open_intent(effect, make_intent(incident_id="inc-before"), (key,))
    past.trail.close_intent("p" * 64, 0, 1, make_outcome())
    journal = make_journal(past.trail, lambda: NOON + HOUR)
    journal.record("inc-before", "outcome", "o", plan="p" * 64, step=0, attempt=1)
    (declined,) = past.replay(POLICY)
    assert (declined.after.verdict, declined.by) == ("refuse", ("no-open-intent", "plan"))


def test_a_plan_that_another_policy_does_not_make_becomes_advice(past):
    past.judge(evidence=quota_evidence(window=30 * DAY), **QUOTA)
    deciding, before_call = past.replay(OTHER_TAG)
    assert (deciding.kind, deciding.after.verdict, deciding.by) == (Kind.CHANGED, "advised", ("plan",))
    assert deciding.plan[0].startswith("nothing is planned: ")
    assert before_call.after.verdict == "advised"


def test_metrics_of_a_shorter_window_prove_nothing_for_a_longer_one(past):
    week = replace(POLICY, idle=Idle(window=7 * DAY))
    past.judge(week, evidence=quota_evidence(window=7 * DAY), **QUOTA)
    assert past.replay(week)[0].kind is Kind.SAME
    (deciding, _) = past.replay(POLICY)
    assert deciding.after.verdict == "advised"
    assert "unknown (read for 7 days alone)" in deciding.after.words


def test_a_spec_from_where_the_policy_does_not_list_is_not_used(past):
    listing = replace(POLICY, desired_specs=DesiredSpecs(containers=(SPECS,), trusted=(SPECS,)))
    incident = make_incident(desired_spec_url=f"{SPECS}/green.json")
    spec = DesiredSpec(url=f"{SPECS}/green.json", digest="spec-7")
    seen = make_evidence(
        incident=incident, desired=Found(spec), resource=Found(make_state(spec_digest=None, not_rebuildable="masked"))
    )
    past.judge(listing, evidence=seen)
    assert past.replay(listing)[0].after.verdict == "run"
    assert past.replay(replace(listing, desired_specs=DesiredSpecs(containers=(SPECS,))))[0].plan == (
        "a person decides: the body comes from CI, from a container that policy lists but does not trust",
    )
    assert past.replay(POLICY)[0].after.verdict == "advised"


def test_the_call_of_a_plan_that_is_not_made_is_not_reached(past):
    two = Surroundings(
        quota=Found(make_quota()),
        candidates=Found(
            (
                make_candidate(window=30 * DAY),
                make_candidate(
                    window=30 * DAY,
                    resource=replace(make_candidate().resource, deployment="older"),
                    state=replace(make_candidate().state, tags={"other": "tag"}),
                ),
            )
        ),
    )
    past.judge(evidence=make_evidence(surroundings=two), **QUOTA)
    deciding, before_call = past.replay(OTHER_TAG)
    assert deciding.after.verdict == "run"
    assert deciding.plan[:2] == (
        f"no more: DELETE {ENDPOINT}/deployments/old?api-version=2024-10-01",
        f"new: DELETE {ENDPOINT}/deployments/older?api-version=2024-10-01",
    )
    assert (before_call.after.verdict, before_call.after.words) == ("not-reached", "another plan is made")


# ------------------------------------------------------------------------------------------------- what cannot be told


@pytest.mark.parametrize("what", ["the evidence", "the decision", "the situation"])
def test_what_has_expired_is_said(past, what):
    past.judge()
    facts = next(record.facts for record in past.trail.records(past.incident) if record.stage == "decision")
    plan_evidence = next(
        record.facts["evidence"] for record in past.trail.records(past.incident) if record.stage == "diagnosis"
    )
    digest = {"the evidence": plan_evidence, **{f"the {name}": facts[name] for name in ("decision", "situation")}}[what]
    past.forget(digest)
    (deciding, _) = past.replay()
    assert (deciding.kind, deciding.words) == (Kind.EXPIRED, f"{what} ({digest[:12]}) has expired")
    assert (deciding.before.verdict, deciding.after) == ("run", None)


def test_what_was_changed_in_the_evidence_store_is_not_believed(past):
    past.judge()
    facts = next(record.facts for record in past.trail.records(past.incident) if record.stage == "decision")
    place = f"{facts['situation'][:2]}/{facts['situation']}"
    past.store._records[place] = past.store._records[place].replace(b'"ceiling":"auto"', b'"ceiling":"off"')
    (deciding, before_call) = past.replay()
    assert deciding.kind is Kind.UNREADABLE
    assert deciding.words.startswith("the situation cannot be read: what lies under ")
    assert before_call.kind is Kind.SAME


def test_a_record_that_does_not_name_its_decision_is_told_as_older(past):
    plan = planning.propose(make_diagnosis(evidence="e" * 64), make_evidence(), ACTIONS, POLICY)
    assert isinstance(plan, Plan)
    facts = {"verdict": "run", "would": "run", "held_mode": "auto", "mode_words": "", "plan": plan.digest}
    journal = make_journal(past.trail)
    journal.record(past.incident, "decision", "k", when="deciding", guards=(), situation="s" * 64, **facts)
    (deciding,) = past.replay()
    assert deciding.kind is Kind.OLDER
    assert deciding.words == "its record does not name the decision: an older version wrote it"


def test_records_that_cannot_be_read_are_told_and_stop_nothing(past):
    store_of(past.trail)._records[f"audit/{past.incident}/0000.jsonl"] = b'{"stage":"decision"}\n'
    (lost,) = past.replay()
    assert lost.kind is Kind.UNREADABLE
    assert lost.words == (
        f"record 0 of {past.incident} cannot be read (Object missing required field `seq`): "
        "`medic audit verify` tells what else was changed"
    )


def lines_of(past, incident=None):
    return past.trail.record_lines(incident or past.incident).splitlines(keepends=True)


def write_lines(past, lines, incident=None):
    store_of(past.trail)._records[f"audit/{incident or past.incident}/0000.jsonl"] = b"".join(lines)


def changed(lines, number, old, new):
    assert old in lines[number]
    return [line.replace(old, new) if place == number else line for place, line in enumerate(lines)]


def test_a_record_that_was_changed_is_not_believed(past):
    past.judge()
    lines = lines_of(past)
    write_lines(past, changed(lines, len(lines) - 1, b'"verdict":"run"', b'"verdict":"ask"'))
    (lost,) = past.replay()
    assert (lost.kind, lost.words) == (
        Kind.UNREADABLE,
        f"record 4 of {past.incident} was changed: `medic audit verify` tells what else was changed",
    )


def test_a_record_that_was_sealed_anew_does_not_fit_the_next(past):
    past.judge()
    lines = lines_of(past)
    (before,) = (number for number, line in enumerate(lines) if b'"deciding"' in line)
    forged = replace(codec.decode(AuditRecord, lines[before]), mode=Mode.OFF)
    write_lines(past, [*lines[:before], chain.seal(forged, forged.previous)[0], *lines[before + 1 :]])
    (lost,) = past.replay()
    assert lost.words.startswith(f"record {before + 1} of {past.incident} was changed")


def test_a_record_in_another_place_or_incident_is_not_believed(past):
    past.judge()
    lines = lines_of(past)
    write_lines(past, lines[1:])
    assert past.replay()[0].words.startswith(f"record 0 of {past.incident} was changed")
    write_lines(past, lines, "inc-other")
    asked = WhatIf(policy=POLICY, actions=ACTIONS, since=NOON - DAY, until=NOON + DAY)
    (lost,) = replay("inc-other", asked, past.trail, past.evidence)
    assert lost.words.startswith("record 0 of inc-other was changed")


def test_a_verdict_that_does_not_follow_from_its_record_gets_no_invented_cause(past):
    past.judge()
    *others, last = lines_of(past)
    record = codec.decode(AuditRecord, last)
    forged = replace(record, facts={**record.facts, "verdict": "ask", "would": "ask"})
    write_lines(past, [*others, chain.seal(forged, forged.previous)[0]])
    _, before_call = past.replay()
    assert (before_call.kind, before_call.by) == (Kind.CHANGED, ("the record does not say why",))


def test_what_only_the_ceiling_holds_back_changes_by_mode(past):
    past.judge(ceiling=Mode.DRY_RUN)
    (deciding, _) = past.replay(retry(mode=Mode.ASK))
    assert (deciding.before.would, deciding.after.would, deciding.by) == ("run", "ask", ("mode",))


def test_a_changed_record_of_another_incident_stops_only_what_rests_on_it(past):
    past.judge(evidence=quota_evidence(window=30 * DAY), policy=OTHER_TAG, **QUOTA)
    key = make_incident().resource.key
    past.trail.open_intent(make_effect(incident_id="inc-before"), make_intent(incident_id="inc-before"), (key,))
    journal = make_journal(past.trail, lambda: NOON + HOUR)
    journal.record("inc-before", "outcome", "o", plan="p" * 64, step=0, attempt=1)
    write_lines(past, changed(lines_of(past, "inc-before"), 0, b'"attempt":1', b'"attempt":2'), "inc-before")
    (lost,) = past.replay(POLICY)
    assert (lost.kind, lost.cause) == (Kind.UNREADABLE, "quota-cpu")
    assert lost.words.startswith("record 0 of inc-before was changed")


def test_the_totals_count_decisions_by_kind_and_by_what_makes_the_difference(past):
    past.judge()
    assert codec.dump(totals(past.replay(retry(ceiling=MINUTE, mode=Mode.ASK)))) == {
        "incidents": 1,
        "decisions": 2,
        "kinds": {"same": 0, "reworded": 0, "changed": 2, "expired": 0, "older": 0, "unreadable": 0},
        "by": {"in-time": 2, "mode": 2},
    }
