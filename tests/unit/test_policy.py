"""A policy says what it means, or is refused with the place, the value and the fix."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from remediations import policy
from remediations.errors import PolicyError
from remediations.model import Mode
from remediations.policy import ActionPolicy, Grants, Idle, Policy, Scope, Window, load, parse, schema
from tests.builders import make_resource

ROOT = Path(__file__).parents[2]

IDS = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))


def parsed(text):
    return parse(text.encode())


def test_the_shipped_policy_is_safe():
    shipped = load(ROOT / "policy.yaml")
    assert shipped.protected == {"medic": "off"}
    assert shipped.actions["retry"] == ActionPolicy(mode=Mode.AUTO)
    assert (shipped.rules, shipped.desired_specs.containers) == ((), ())
    modes = {name: action.mode for name, action in shipped.actions.items()}
    assert modes == {
        "retry": Mode.AUTO,
        "sync-keys": Mode.AUTO,
        "grant-roles": Mode.ASK,
        "delete-idle": Mode.ASK,
        "undo-delete": Mode.ASK,
        "undo-grant": Mode.ASK,
    }
    assert (shipped.grants, shipped.idle) == (Grants(), Idle())
    assert (shipped.idle.window, shipped.idle.tag, shipped.idle.scopes) == (
        timedelta(days=30),
        {"medic-delete": "allow"},
        (),
    )


def test_a_person_s_answer_comes_before_the_ceiling():
    shipped = load(ROOT / "policy.yaml")
    for action in shipped.actions.values():
        assert action.mode is not Mode.ASK or action.ceiling >= shipped.approval_window + timedelta(hours=1)


@pytest.mark.parametrize(
    ("listed", "asked", "answer"),
    [
        pytest.param((), "/x", False, id="nobody is listed"),
        pytest.param(("/X/Y",), "/x/y", True, id="in any casing"),
        pytest.param(("/x/y",), "/x/y2", False, id="another"),
        pytest.param(("/x/*",), "/x/y", False, id="no globs: each is named"),
    ],
)
def test_an_identity_is_granted_without_a_person_only_by_name(listed, asked, answer):
    assert Grants(identities=listed).lists(asked) is answer


def test_the_shipped_policy_keeps_to_the_published_schema():
    jsonschema.Draft202012Validator.check_schema(schema())
    plain = yaml.load((ROOT / "policy.yaml").read_text(), Loader=policy._yaml_1_2_loader())
    jsonschema.validate(plain, schema())


@pytest.mark.parametrize("word", ["off", "no", "on", "yes", "'off'"])
def test_the_words_that_older_yaml_takes_for_a_boolean_stay_words(word):
    read = parsed(f"actions: {{retry: {{mode: off}}}}\nprotected: {{medic: {word}}}")
    assert read.protected == {"medic": word.strip("'")}
    assert read.actions["retry"].mode is Mode.OFF


def test_what_is_not_written_is_off():
    assert parsed("actions: {}").permission("retry", make_resource(), {}) == ActionPolicy(mode=Mode.OFF)
    assert parsed("actions: {retry: {}}").permission("retry", make_resource(), {}).mode is Mode.OFF


@pytest.mark.parametrize(
    ("text", "path", "value", "fix"),
    [
        pytest.param("actions: [", "$", None, "Write valid YAML.", id="no YAML"),
        pytest.param("\x00", "$", None, "Write valid YAML.", id="no text"),
        pytest.param("", "$", None, "Write a mapping with actions: `actions: {retry: {mode: ask}}`.", id="empty"),
        pytest.param("rules: []", "$", {"rules": []}, "Write a mapping with actions: ", id="no actions"),
        pytest.param(
            "actions: {retry: {mode: automatic}}",
            "$.actions.retry.mode",
            "automatic",
            "Use one of off, dry-run, ask, auto.",
            id="a mode",
        ),
        pytest.param("actions: {}\nprotcted: {}", "$", None, "Write `protected` in place of `protcted`.", id="a typo"),
        pytest.param(
            "actions: {retry: {attempt: 3}}",
            "$.actions.retry",
            {"attempt": 3},
            "Write `attempts` in place of `attempt`.",
            id="a typo inside",
        ),
        pytest.param(
            "actions: {retry: {attempts: -1}}",
            "$.actions.retry.attempts",
            -1,
            "Write a whole number >= 0.",
            id="a negative count",
        ),
        pytest.param(
            "actions: {retry: {attempts: 1001}}",
            "$.actions.retry.attempts",
            1001,
            "Write a whole number <= 1000.",
            id="a huge count",
        ),
        pytest.param(
            "actions: {retry: {within: soon}}",
            "$.actions.retry.within",
            "soon",
            "Write an ISO 8601 duration",
            id="no duration",
        ),
        pytest.param(
            "actions: {retry: {within: -PT1H}}", "$.actions.retry.within", None, "PT0S to P30D", id="negative"
        ),
        pytest.param(
            "actions: {retry: {breaker_within: P9999D}}", "$.actions.retry.breaker_within", None, "P30D", id="endless"
        ),
        pytest.param(
            "actions: {}\nrules: [{ceiling: P31D}]", "$.rules[0].ceiling", None, "P30D", id="endless in a rule"
        ),
        pytest.param(
            "actions: {}\napproval_window: PT0S", "$.approval_window", None, "up to P30D", id="no time to answer"
        ),
        pytest.param(
            "actions: {}\nrules: [{mode: ask}, {scope: {region: x}}]",
            "$.rules[1].scope",
            None,
            "Remove `region`: there is no such field.",
            id="a scope",
        ),
        pytest.param(
            'actions: {}\npauses: [{until: "2026-12-01T00:00:00", reason: x}]',
            "$.pauses[0].until",
            "2026-12-01T00:00:00",
            "end it with Z",
            id="a pause without a zone",
        ),
        pytest.param(
            'actions: {}\npauses: [{until: "2026-12-01T00:00:00Z", reason: ""}]',
            "$.pauses[0].reason",
            "",
            "Write a text of length >= 1.",
            id="no reason",
        ),
        pytest.param(
            'actions: {}\nfreezes: [{start: "2026-12-01T00:00:00", end: "2026-12-02T00:00:00Z", reason: x}]',
            "$.freezes[0].start",
            "2026-12-01T00:00:00",
            "end it with Z",
            id="a freeze's start without a zone",
        ),
        pytest.param(
            'actions: {}\nfreezes: [{start: "2026-12-01T00:00:00Z", end: "2026-12-02T00:00:00", reason: x}]',
            "$.freezes[0].end",
            "2026-12-02T00:00:00",
            "end it with Z",
            id="a freeze's end without a zone",
        ),
        pytest.param(
            'actions: {}\nfreezes: [{start: "2026-12-02T00:00:00Z", end: "2026-12-01T00:00:00Z", reason: x}]',
            "$.freezes[0].end",
            "2026-12-01T00:00:00+00:00",
            "after its start",
            id="a freeze that ends before it starts",
        ),
        pytest.param(
            "actions: {}\nwindows: [{start: 22:00, end: 23:00}]",
            "$.windows[0].start",
            1320,
            'Write it in quotes, with seconds: "22:00:00".',
            id="a time that YAML reads as a number",
        ),
        pytest.param(
            'actions: {}\nwindows: [{start: "22:00:00Z", end: "23:00:00"}]',
            "$.windows[0].start",
            "22:00:00+00:00",
            "without a time zone",
            id="a window with a zone",
        ),
        pytest.param(
            'actions: {}\nwindows: [{start: "22:00:00", end: "23:00:00", days: [0]}]',
            "$.windows[0].days[0]",
            None,
            "Write a whole number >= 1.",
            id="a day",
        ),
        pytest.param(
            "actions: {}\npauses: [{reason: x}]", "$.pauses[0]", {"reason": "x"}, "Add the field `until`.", id="no end"
        ),
        pytest.param(
            "actions: {}\npauses: [{until: soon, reason: x}]",
            "$.pauses[0].until",
            "soon",
            "Write a time with its zone, such as 2026-12-01T00:00:00Z.",
            id="no time",
        ),
        pytest.param(
            "actions: {}\nidle: {window: P1D}",
            "$.idle.window",
            "1 day, 0:00:00",
            "Write a duration from P7D to P30D.",
            id="a day is not idle",
        ),
        pytest.param(
            "actions: {}\nidle: {window: P90D}",
            "$.idle.window",
            "90 days, 0:00:00",
            "Write a duration from P7D to P30D.",
            id="longer than one question to the metrics covers",
        ),
        pytest.param(
            "actions: {}\nidle: {most: 4}", "$.idle.most", 4, "Write a whole number <= 3.", id="four deletions"
        ),
        pytest.param("actions: {}\nrules: {}", "$.rules", {}, "Write a list.", id="a mapping in place of a list"),
        pytest.param(
            "actions: {retry: {approvers: {users: [me]}}}",
            "$.actions.retry.approvers.users[0]",
            "me",
            "Write an object id, as `az ad user show`",
            id="a name in place of an object id",
        ),
        pytest.param(
            "actions: {retry: {approvers: {role: ''}}}",
            "$.actions.retry.approvers",
            None,
            "0 could approve, and 1 would be needed.",
            id="nobody could approve",
        ),
        pytest.param(
            f"actions: {{}}\nrules: [{{quorum: 3, approvers: {{role: '', users: [{IDS[0]}, {IDS[1]}, {IDS[0]}]}}}}]",
            "$.rules[0].approvers",
            None,
            "2 could approve, and 3 would be needed.",
            id="too few could approve",
        ),
        pytest.param("- 1", "$", [1], "Write a mapping with actions: ", id="a list in place of it all"),
        pytest.param(
            "actions: {}\ndesired_specs: {containers: [https://a.blob.core.windows.net]}",
            "$.desired_specs.containers[0]",
            "https://a.blob.core.windows.net",
            "Name a container",
            id="an account",
        ),
        pytest.param(
            "actions: {}\ndesired_specs: {containers: [http://a.blob.core.windows.net/c]}",
            "$.desired_specs.containers[0]",
            "http://a.blob.core.windows.net/c",
            "Name a container",
            id="no https",
        ),
        pytest.param(
            "actions: {}\ndesired_specs: {trusted: ['https://a.blob.core.windows.net/c?sig=x']}",
            "$.desired_specs.trusted[0]",
            "https://a.blob.core.windows.net/c?sig=x",
            "Name a container",
            id="a signature",
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_place_value_and_fix(text, path, value, fix):
    with pytest.raises(PolicyError) as refusal:
        parse(text.encode(), "my/policy.yaml")
    assert (refusal.value.file, refusal.value.path) == ("my/policy.yaml", path)
    assert fix in str(refusal.value)
    if value is not None:
        assert refusal.value.value == value
    assert str(refusal.value).startswith(f"my/policy.yaml: {path} is ")


def test_a_file_that_cannot_be_read_names_the_setting(tmp_path):
    with pytest.raises(PolicyError, match="Name a readable file in MEDIC_POLICY"):
        load(tmp_path / "none.yaml")


def test_yaml_that_would_run_code_is_refused():
    with pytest.raises(PolicyError):
        parsed("!!python/object/apply:os.system ['true']")


# ------------------------------------------------------------------------------------------------------ scopes


@pytest.mark.parametrize(
    ("scope", "tags", "covers"),
    [
        pytest.param(Scope(), {}, True, id="everything"),
        pytest.param(Scope(workspace="mlw-*"), {}, True, id="a glob"),
        pytest.param(Scope(workspace="MLW-PROD"), {}, True, id="in capitals"),
        pytest.param(Scope(workspace="mlw"), {}, False, id="no part of a name"),
        pytest.param(Scope(endpoint="credit-?coring"), {}, True, id="one letter"),
        pytest.param(Scope(resource_group="rg-[mn]l-*"), {}, True, id="a set"),
        pytest.param(Scope(resource_group="rg-ml-prod", endpoint="other"), {}, False, id="all must match"),
        pytest.param(Scope(subscription="99999999-*"), {}, False, id="another subscription"),
        pytest.param(Scope(tags={"env": "prod"}), {"ENV": "prod", "x": "y"}, True, id="a tag"),
        pytest.param(Scope(tags={"env": "prod"}), {"env": "test"}, False, id="another value"),
        pytest.param(Scope(tags={"env": "prod"}), {}, False, id="no tag"),
    ],
)
def test_a_scope_covers_by_glob_and_tag(scope, tags, covers):
    assert scope.covers(make_resource(), tags) is covers


def test_a_scope_names_itself_for_people():
    assert str(Scope()) == "everything"
    assert str(Scope(workspace="mlw-*", tags={"env": "prod"})) == "workspace mlw-*, tag env=prod"


RULED = """
actions: {retry: {mode: auto, attempts: 5}}
rules:
  - {scope: {tags: {env: prod}}, mode: ask}
  - {scope: {workspace: "mlw-*"}, actions: [retry], mode: dry-run, attempts: 1}
  - {mode: "off"}
"""


@pytest.mark.parametrize(
    ("action", "path", "tags", "mode", "attempts"),
    [
        pytest.param("retry", "mlw-prod", {"env": "prod"}, Mode.ASK, 1, id="what the first leaves to the second"),
        pytest.param("retry", "mlw-prod", {}, Mode.DRY_RUN, 1, id="the next that matches"),
        pytest.param("other", "mlw-prod", {}, Mode.OFF, 3, id="a rule for another action does not hold"),
        pytest.param("retry", "elsewhere", {}, Mode.OFF, 5, id="the last, field by field"),
    ],
)
def test_of_each_field_the_first_rule_that_matches_and_sets_it_holds(action, path, tags, mode, attempts):
    resource = make_resource(make_resource().path.replace("mlw-prod", path))
    permission = parsed(RULED).permission(action, resource, tags)
    assert (permission.mode, permission.attempts) == (mode, attempts)


def test_a_rule_that_only_limits_does_not_hide_a_later_one_that_asks():
    asks = "  - {scope: {workspace: mlw-*}, mode: ask, budget_per_hour: 2}"
    limits = "  - {scope: {tags: {team: fraud}}, attempts: 1}"
    base = "actions: {retry: {mode: auto, attempts: 5}}\nrules:\n"
    alone = parsed(f"{base}{asks}").permission("retry", make_resource(), {"team": "fraud"})
    both = parsed(f"{base}{limits}\n{asks}").permission("retry", make_resource(), {"team": "fraud"})
    assert (alone.mode, alone.attempts, alone.budget_per_hour) == (Mode.ASK, 5, 2)
    assert (both.mode, both.attempts, both.budget_per_hour) == (Mode.ASK, 1, 2)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        pytest.param("actions: {retry: {ceiling: PT1H}, sync-keys: {ceiling: PT3H}}", 3, id="an action's"),
        pytest.param(
            "actions: {retry: {ceiling: PT1H}}\nrules: [{scope: {workspace: a}, ceiling: PT9H}]", 9, id="a rule's"
        ),
        pytest.param(
            "actions: {retry: {ceiling: PT4H}}\nrules: [{scope: {workspace: a}, ceiling: PT2H}]", 4, id="not a rule's"
        ),
        pytest.param(
            "actions: {retry: {ceiling: PT4H}}\nrules: [{scope: {workspace: a}, mode: ask}]", 4, id="a rule without"
        ),
    ],
)
def test_no_action_does_anything_after_the_longest_ceiling_of_any_action_or_rule(text, hours):
    assert parsed(text).longest_ceiling == timedelta(hours=hours)


# ----------------------------------------------------------------------------------------------------- windows

SUNDAY = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "days", "at", "is_open"),
    [
        pytest.param(9, 17, (7,), timedelta(hours=9), True, id="at its start"),
        pytest.param(9, 17, (7,), timedelta(hours=17), False, id="at its end"),
        pytest.param(9, 17, (6,), timedelta(hours=12), False, id="another day"),
        pytest.param(22, 4, (7,), timedelta(hours=23), True, id="overnight, before midnight"),
        pytest.param(22, 4, (7,), timedelta(hours=26), True, id="overnight, after midnight"),
        pytest.param(22, 4, (7,), timedelta(hours=2), False, id="the night before is another day's"),
        pytest.param(22, 4, (7,), timedelta(hours=28), False, id="overnight, over"),
        pytest.param(22, 4, (7,), timedelta(hours=46), False, id="the next evening"),
        pytest.param(0, 0, (7,), timedelta(hours=12), True, id="a whole day"),
        pytest.param(0, 0, (7,), timedelta(hours=24), False, id="the day after"),
    ],
)
def test_a_window_is_open_between_its_times_on_its_days(start, end, days, at, is_open):
    clock = [SUNDAY.replace(hour=hour).time() for hour in (start, end)]
    assert Window(start=clock[0], end=clock[1], days=days).is_open(SUNDAY + at) is is_open


# -------------------------------------------------------------------------------------------------- CI's specs

LISTED = parsed(
    "actions: {}\n"
    "desired_specs:\n"
    "  containers: [https://acct.blob.core.windows.net/desired, https://acct.blob.core.windows.net/trusted/]\n"
    "  trusted: [https://acct.blob.core.windows.net/trusted, https://acct.blob.core.windows.net/unlisted]\n"
)


@pytest.mark.parametrize(
    ("url", "lists", "trusts"),
    [
        pytest.param("https://acct.blob.core.windows.net/desired/a/b.json", True, False, id="inside"),
        pytest.param("https://acct.blob.core.windows.net/trusted/b.json", True, True, id="trusted"),
        pytest.param("https://acct.blob.core.windows.net/unlisted/b.json", False, False, id="trusted but not listed"),
        pytest.param("https://acct.blob.core.windows.net/desired", False, False, id="the container itself"),
        pytest.param(
            "https://acct.blob.core.windows.net/desired2/b.json", False, False, id="another that starts alike"
        ),
        pytest.param("https://acct.blob.core.windows.net/desired/../secret/b.json", False, False, id="dots"),
        pytest.param("https://acct.blob.core.windows.net/desired/./b.json", False, False, id="one dot"),
        pytest.param("https://acct.blob.core.windows.net/desired/..", False, False, id="dots at the end"),
        pytest.param("https://acct.blob.core.windows.net/desired/%2e%2e/secret", False, False, id="encoded dots"),
        pytest.param("https://acct.blob.core.windows.net/desired/..%5csecret", False, False, id="encoded backslash"),
        pytest.param("https://acct.blob.core.windows.net/desired\\..\\secret", False, False, id="backslashes"),
        pytest.param("https://acct.blob.core.windows.net/desired/b.json?sv=1&sig=x", False, False, id="a signature"),
        pytest.param("https://acct.blob.core.windows.net/desired/b.json#x", False, False, id="a fragment"),
        pytest.param("https://acct.blob.core.windows.net@evil.example/desired/b.json", False, False, id="a user"),
        pytest.param(
            "https://acct.blob.core.windows.net.evil.example/desired/b.json", False, False, id="a longer host"
        ),
        pytest.param("https://acct.blob.core.windows.net:8443/desired/b.json", False, False, id="a port"),
        pytest.param("http://acct.blob.core.windows.net/desired/b.json", False, False, id="no https"),
        pytest.param("HTTPS://ACCT.blob.core.windows.net/desired/b.json", False, False, id="another spelling"),
        pytest.param(" https://acct.blob.core.windows.net/desired/b.json", False, False, id="a space"),
        pytest.param("https://acct.blob.core.windows.net/desired/b\n.json", False, False, id="a line break"),
        pytest.param("/desired/b.json", False, False, id="a path"),
        pytest.param("", False, False, id="nothing"),
    ],
)
def test_a_spec_is_fetched_only_from_below_a_listed_container(url, lists, trusts):
    assert (LISTED.lists_spec(url), LISTED.trusts_spec(url)) == (lists, trusts)


def test_nothing_is_listed_by_default():
    assert not parsed("actions: {}").lists_spec("https://acct.blob.core.windows.net/desired/b.json")


# ------------------------------------------------------------------------------------------------------ version


def test_a_version_is_the_policy_s_meaning_not_its_spelling():
    one, same, other = (
        parsed("actions: {retry: {mode: auto, within: PT6H}}"),
        parsed('# why\nactions:\n  retry:\n    within: "PT360M"\n    mode: "auto"'),
        parsed("actions: {retry: {mode: ask, within: PT6H}}"),
    )
    assert one.version == same.version != other.version
    assert len(one.version) == 12


def test_a_policy_is_a_value():
    assert Policy(actions={}) == parsed("actions: {}")
