"""Policies that nobody meant: each is a policy, or is refused with the place; and a stricter one permits no more."""

from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import codec
from remediations.errors import PolicyError
from remediations.guards import COMMON, decide
from remediations.model import Mode, Verdict
from remediations.policy import ActionPolicy, Freeze, Pause, Policy, Rule, Scope, parse, read_yaml
from remediations.situation import under
from tests.builders import NOON, make_plan, make_resource, make_situation
from tests.fuzzing import ANY_JSON, ANY_TEXT, fuzzed, grafted, scratched

TEXT = (Path(__file__).parents[2] / "policy.yaml").read_text()
SHIPPED = read_yaml(TEXT.encode())
FULL: dict[str, Any] = {
    **(SHIPPED if isinstance(SHIPPED, dict) else {}),
    "subscriptions": ["00000000-1111-2222-3333-444444444444"],
    "rules": [
        {
            "scope": {"workspace": "mlw-prod*", "tags": {"tier": "gold"}},
            "actions": ["retry"],
            "mode": "ask",
            "attempts": 1,
            "approvers": {"role": "", "users": ["00000000-0000-4000-8000-000000000001"]},
        }
    ],
    "pauses": [{"until": "2026-12-01T00:00:00Z", "reason": "audit"}],
    "freezes": [{"start": "2026-12-20T00:00:00Z", "end": "2027-01-02T00:00:00Z", "reason": "holidays"}],
    "windows": [{"start": "22:00:00", "end": "04:00:00", "days": [6, 7], "scope": {"endpoint": "fraud"}}],
    "desired_specs": {"containers": ["https://stmlops.blob.core.windows.net/desired"]},
}
WORDS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            "off",
            "auto",
            "PT1H",
            "-PT1H",
            "P400D",
            "PT1E400S",
            "2026-12-01T00:00:00",
            "25:00",
            "24:00:00",
            "*",
            "",
            "[" * 60,
        ),
        *(-1, 0, 1001, 10**400, 1e308, float("nan"), True, None, "\0", "\ud800", "٣", "1e999", "0x10", "1_000"),
    ]
)


def judged(content: bytes) -> Policy | None:
    """Give the policy; None if it is refused as it should be."""
    try:
        return parse(content, "own.yaml")
    except PolicyError as error:
        refused = error
    assert str(refused).startswith("own.yaml: $")
    assert refused.path.startswith("$")
    assert len(str(refused)) < 1_000
    assert str(refused).isprintable()
    return None


def assert_a_policy_or_refused(content: bytes) -> None:
    read = judged(content)
    again = judged(content)
    assert read == again
    if read is None:
        return
    assert codec.decode(Policy, codec.encode(read)) == read  # it survives its wire form
    assert len(read.version) == 12
    for action in ("retry", "delete-idle", "no-such"):
        permission = read.permission(action, make_resource(), {"tier": "gold"})
        assert isinstance(permission, ActionPolicy)
        assert timedelta(0) <= permission.cooldown <= timedelta(days=30)
        assert 0 <= permission.budget_per_hour <= 1000
    assert read.permission("no-such", make_resource(), {}).mode is Mode.OFF or read.rules or "no-such" in read.actions


@fuzzed(80)
@given(st.data())
def test_a_policy_with_something_else_in_it_is_one_or_is_refused_with_its_place(data):
    plain = grafted(deepcopy(FULL), data, ANY_JSON | WORDS)
    try:
        content = yaml.safe_dump(plain, allow_unicode=data.draw(st.booleans())).encode()
    except (UnicodeEncodeError, yaml.YAMLError):
        content = repr(plain).encode(errors="surrogatepass")
    assert_a_policy_or_refused(content)


@fuzzed(80)
@given(st.data())
def test_a_policy_with_a_scratch_is_one_or_is_refused_with_its_place(data):
    text = data.draw(st.sampled_from([TEXT, yaml.safe_dump(FULL), codec.encode(FULL).decode()]))
    for _ in range(data.draw(st.integers(1, 3))):
        text = scratched(text, data)
    assert_a_policy_or_refused(text.encode(errors="surrogatepass"))


@fuzzed(80)
@given(st.binary(max_size=80) | ANY_TEXT.map(lambda text: text.encode("utf-16", "surrogatepass")))
def test_bytes_are_no_policy(content):
    assert_a_policy_or_refused(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a: &a [*a]\nactions: *a", id="an alias of itself"),
        pytest.param(b"actions: &a {retry: *a}", id="a mapping in itself"),
        pytest.param(b"a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\nactions: {retry: *c}", id="aliases of aliases"),
        pytest.param(b"{" * 500, id="braces"),
        pytest.param(b"- " * 500, id="dashes"),
        pytest.param(b"? {a: b}\n: c", id="a mapping for a name"),
        pytest.param(b"? [a]\n: c", id="a list for a name"),
        pytest.param(b"1: 2\nactions: {}", id="a number for a name"),
        pytest.param(b"null: 2\nactions: {}", id="nothing for a name"),
        pytest.param(b"actions: {1: {mode: auto}}", id="a number for an action"),
        pytest.param(b"actions: {2026-01-01: {mode: auto}}", id="a date for an action"),
        pytest.param(b"actions: !!python/object/apply:os.system ['true']", id="a Python object"),
        pytest.param(b"actions: !!set {a}", id="a set"),
        pytest.param(b"actions: !!binary aGVsbG8=", id="bytes"),
        pytest.param(b"actions: !!timestamp 2026-13-45", id="no date"),
        pytest.param(b"actions: {retry: {within: 2026-13-45}}", id="no date in a field"),
        pytest.param(b"actions: {retry: {attempts: !!int 'x'}}", id="no number"),
        pytest.param(b"actions: {retry: {attempts: !!float x}}", id="no fraction"),
        pytest.param(b"actions: {retry: {attempts: !!int ''}}", id="a number of no digits"),
        pytest.param(b"actions: {retry: {attempts: !!bool x}}", id="no truth"),
        pytest.param(b"actions: {retry: {attempts: !!timestamp soon}}", id="no time"),
        pytest.param(b"actions: {retry: {attempts: !!omap x}}", id="no ordered mapping"),
        pytest.param(b"actions: {retry: {attempts: 0b}}", id="half a number"),
        pytest.param(b"actions: {retry: {attempts: 1:99}}", id="a number to the base of 60"),
        pytest.param(b"actions: {retry: {<<: 1}}", id="a merge of nothing"),
        pytest.param(b"actions: {}\n---\nactions: {}", id="two documents"),
        pytest.param(b"actions: {retry: {mode: off}, retry: {mode: auto}}", id="twice the same name"),
        pytest.param(b"actions: {retry: {within: PT999999999999999999999H}}", id="a time without end"),
        pytest.param(b"pauses: [{until: '9999-12-31T23:59:59+00:00', reason: x}]\nactions: {}", id="the last second"),
        pytest.param(b"\xff\xfea\x00", id="UTF-16"),
        pytest.param(b"actions: {retry: {mode: \xed\xa0\x80}}", id="half a pair"),
        pytest.param(b"actions: {" + b"9" * 5_000 + b": {}}", id="a number of 5000 digits"),
        pytest.param(b"actions: {retry: {attempts: " + b"9" * 5_000 + b"}}", id="a count of 5000 digits"),
        pytest.param(b"actions: {retry: {attempts: 0x" + b"f" * 5_000 + b"}}", id="a count of 5000 hex digits"),
        pytest.param(b'actions: "\\uD800"', id="half a pair, escaped"),
        pytest.param(b'actions: {}\nprotected: {medic: "\\uDFFF"}', id="half a pair where a text may stand"),
        pytest.param(b'actions: {"\\uDBFF": {mode: auto}}', id="half a pair in a name"),
        pytest.param(b'"\\x1f": {}\nactions: {}', id="a name that cannot be printed"),
        pytest.param(b"actions: {retry: {mode: " + b"a" * 100_000 + b"}}", id="a value of a hundred thousand letters"),
    ],
)
def test_yaml_that_is_made_to_break_a_reader_is_one_or_is_refused(content):
    assert_a_policy_or_refused(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"actions: {retry: {mode: off}, retry: {mode: auto}}", id="an action"),
        pytest.param(b"actions: {}\nprotected: {medic: off}\nactions: {retry: {mode: auto}}", id="a field"),
        pytest.param(b"actions: {retry: {mode: off, 'mode': auto}}", id="once in quotes"),
        pytest.param(b"actions: {}\nrules: [{mode: off, mode: auto}]", id="in a list"),
    ],
)
def test_a_name_that_stands_twice_is_refused_and_named(content):
    with pytest.raises(PolicyError, match=r"line \d, column \d+: .* stands there twice"):
        parse(content)


def test_a_value_that_is_none_is_refused_with_its_line():
    with pytest.raises(PolicyError, match=r"line 2, column 19: month must be in 1..12"):
        parse(b"actions:\n  retry: {within: 2026-13-45}")


def test_a_value_that_is_merged_and_written_over_stands_once():
    read = parse(b"actions: {retry: &base {mode: ask, attempts: 1}, sync-keys: {<<: *base, mode: off}}")
    assert (read.actions["sync-keys"].mode, read.actions["sync-keys"].attempts) == (Mode.OFF, 1)


# ------------------------------------------------------------------------------------------- stricter

RANKS = {Verdict.REFUSE: 0, Verdict.DRY_RUN: 1, Verdict.ASK: 2, Verdict.RUN: 3}
GLOBS = st.sampled_from(["*", "mlw-*", "mlw-prod", "other", "m?w-prod"])
SCOPES = st.builds(Scope, workspace=GLOBS, endpoint=st.sampled_from(["*", "credit-*", "churn"]))
MODES = st.sampled_from(Mode)
ACTIONS = st.builds(
    ActionPolicy,
    mode=MODES,
    attempts=st.integers(0, 3),
    budget_per_hour=st.integers(0, 3),
    breaker_failures=st.integers(0, 3),
)
RULES = st.builds(
    Rule,
    scope=SCOPES,
    actions=st.sampled_from([("*",), ("retry",), ("sync-keys",)]),
    mode=st.none() | MODES,
    attempts=st.none() | st.integers(0, 3),
    budget_per_hour=st.none() | st.integers(0, 3),
)
POLICIES = st.builds(
    Policy,
    actions=st.fixed_dictionaries({"retry": ACTIONS}),
    rules=st.lists(RULES, max_size=3).map(tuple),
)


def stricter(policy: Policy, data: st.DataObject) -> Policy:
    """Give a policy that says no to more: a lower mode, a smaller number, one more pause, freeze or protected tag."""
    retry, held = policy.actions["retry"], policy.permission("retry", make_resource(), {}).mode
    lower = st.sampled_from([mode for mode in Mode if mode.rank <= held.rank])
    own = st.sampled_from([mode for mode in Mode if mode.rank <= retry.mode.rank])
    pause = Pause(until=NOON + timedelta(hours=1), reason="x", scope=data.draw(SCOPES))
    freeze = Freeze(start=NOON - timedelta(hours=1), end=NOON + timedelta(hours=1), reason="x")
    changes: dict[str, dict[str, Any]] = {
        "mode": {"actions": {"retry": replace(retry, mode=data.draw(own))}},
        "attempts": {"actions": {"retry": replace(retry, attempts=data.draw(st.integers(0, retry.attempts)))}},
        "budget": {"actions": {"retry": replace(retry, budget_per_hour=0)}},
        "rule": {"rules": (Rule(scope=data.draw(SCOPES), mode=data.draw(lower)), *policy.rules)},
        "pause": {"pauses": (pause,)},
        "freeze": {"freezes": (freeze,)},
        "protected": {"protected": {**policy.protected, "tier": "gold"}},
        "gone": {"actions": {}, "rules": ()},
        "off": {"rules": (Rule(mode=Mode.OFF), *policy.rules)},
    }
    return replace(policy, **changes[data.draw(st.sampled_from(sorted(changes)))])


@fuzzed(150)
@given(POLICIES, st.data(), MODES, st.sampled_from([{}, {"tier": "gold"}]))
def test_a_stricter_policy_never_permits_more(policy, data, ceiling, tags):
    plan = make_plan()
    seen = make_situation(ceiling=ceiling, tags=tags, budget_used=data.draw(st.integers(0, 3)))
    verdicts = [
        RANKS[decide(plan, under(one, plan, seen), COMMON, situation_digest="").verdict]
        for one in (policy, stricter(policy, data))
    ]
    assert verdicts[1] <= verdicts[0]
