"""What keeps a deployment, and that the fewest are chosen: never one too many, never the last of its endpoint."""

from datetime import timedelta
from itertools import combinations
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.idle import emptied, smallest, why_kept, why_not_idle
from remediations.model import Absent, Candidate, Found, ResourceId, Unknown
from remediations.policy import Idle, Scope
from tests.builders import DEPLOYMENT, NOON, WORKSPACE, make_endpoint_state, make_resource, make_state

DAY = timedelta(days=1)
PROTECTED = {"medic": "off"}
OPTED_IN = {"medic-delete": "allow"}


def make_candidate(path="old-scoring/blue", *, cores=4, days=60, siblings=("live",), **changes):
    """A deployment that nothing keeps, unless a test changes it; `state` and `endpoint` change what they show."""
    endpoint, _, name = path.partition("/")
    resource = make_resource(f"{WORKSPACE}/onlineEndpoints/{endpoint}/deployments/{name}")
    written = NOON - days * DAY
    state = {
        "path": resource.path,
        "provisioning_state": "Succeeded",
        "created_at": written,
        "last_modified_at": written,
        "tags": OPTED_IN,
        **changes.pop("state", {}),
    }
    above = {"path": resource.endpoint_path, "traffic": {"live": 100}, **changes.pop("endpoint", {})}
    fields = {"requests": Found(False), "alive": Found(True), **changes}
    return Candidate(
        resource=resource,
        state=make_state(**state),
        endpoint=make_endpoint_state(**above),
        cores=cores,
        siblings=siblings,
        **fields,
    )


def kept(candidate, rules=None, protected=PROTECTED, failed=DEPLOYMENT):
    return why_kept(candidate, rules or Idle(), protected, NOON, failed=ResourceId.parse(failed))


# ------------------------------------------------------------------------------------------------ why it is kept


def test_what_is_opted_in_old_and_without_traffic_is_left_to_its_metrics():
    assert kept(make_candidate()) is None
    assert why_not_idle(make_candidate()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"state": {"kind": "Kubernetes"}}, "it is Kubernetes, not Managed", id="Kubernetes"),
        pytest.param({"state": {"kind": ""}}, "it is of an unknown kind, not Managed", id="no kind"),
        pytest.param(
            {"state": {"provisioning_state": "Updating"}}, "it is Updating, neither Succeeded nor Failed", id="updating"
        ),
        pytest.param(
            {"state": {"provisioning_state": "Deleting"}}, "it is Deleting, neither Succeeded nor Failed", id="deleting"
        ),
        pytest.param(
            {"state": {"provisioning_state": "Unknown"}},
            "it is Unknown, neither Succeeded nor Failed",
            id="unknown state",
        ),
        pytest.param(
            {"endpoint": {"traffic": {"blue": 1, "live": 99}}}, "1 % of its endpoint's traffic goes to it", id="traffic"
        ),
        pytest.param(
            {"endpoint": {"traffic": {"BLUE": 100}}},
            "100 % of its endpoint's traffic goes to it",
            id="traffic, its name in capitals",
        ),
        pytest.param(
            {"endpoint": {"mirror_traffic": {"Blue": 10}}},
            "10 % of its endpoint's traffic is mirrored to it",
            id="mirrored traffic",
        ),
        pytest.param({"endpoint": {"provisioning_state": "Updating"}}, "its endpoint is Updating", id="endpoint busy"),
        pytest.param({"endpoint": {"provisioning_state": "Failed"}}, "its endpoint is Failed", id="endpoint failed"),
        pytest.param(
            {"state": {"created_at": NOON - 29 * DAY}},
            "it was created on 2026-10-24, inside the last 30 days",
            id="young",
        ),
        pytest.param(
            {"state": {"last_modified_at": NOON - DAY}},
            "it was written on 2026-11-21, inside the last 30 days",
            id="written yesterday",
        ),
        pytest.param(
            {"state": {"last_modified_at": NOON + DAY}},
            "it was written on 2026-11-23, inside the last 30 days",
            id="written tomorrow, by another clock",
        ),
        pytest.param({"state": {"created_at": None}}, "when it was created is not known", id="unknown creation"),
        pytest.param({"state": {"last_modified_at": None}}, "when it was written is not known", id="unknown write"),
        pytest.param({"siblings": ()}, "its endpoint has no other deployment that is Succeeded", id="the last good"),
        pytest.param(
            {"siblings": ("BLUE",)}, "its endpoint has no other deployment that is Succeeded", id="its own sibling"
        ),
        pytest.param(
            {"siblings": (), "state": {"provisioning_state": "Failed"}},
            "its endpoint has no other deployment that is Succeeded",
            id="failed, of an endpoint without a good one",
        ),
    ],
)
def test_each_fact_alone_keeps_it(changes, reason):
    assert kept(make_candidate(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": {"provisioning_state": "Failed"}}, id="it failed long ago"),
        pytest.param({"days": 30}, id="the window has just passed"),
        pytest.param({"endpoint": {"traffic": {"blue": 0, "live": 100}}}, id="weight 0"),
        pytest.param({"endpoint": {"traffic": {}}}, id="not named"),
    ],
)
def test_what_proves_nothing_against_it_does_not_keep_it(changes):
    assert kept(make_candidate(**changes)) is None


def test_the_failed_deployment_is_kept_in_any_spelling():
    candidate = make_candidate("credit-scoring/green")
    assert kept(candidate, failed=DEPLOYMENT.upper()) == "it is the deployment that failed"


@pytest.mark.parametrize(
    ("own", "above", "rules", "reason"),
    [
        pytest.param(
            {},
            {},
            Idle(),
            "it is not opted in: no tag medic-delete=allow, and no scope of the policy covers it",
            id="no tag",
        ),
        pytest.param(
            {"medic-delete": "Allow"},
            {},
            Idle(),
            "it is not opted in: its tag medic-delete is not allow",
            id="another value",
        ),
        pytest.param(
            {"medic-delete": "never"},
            OPTED_IN,
            Idle(),
            "it is not opted in: its tag medic-delete is not allow",
            id="its own word against its endpoint's",
        ),
        pytest.param(
            {"Medic-Delete": "never"},
            {},
            Idle(scopes=(Scope(),)),
            "it is not opted in: its tag medic-delete is not allow",
            id="its own word against the policy's scope",
        ),
        pytest.param(
            {},
            {},
            Idle(tag={}),
            "it is not opted in: no scope of the policy covers it",
            id="no tag is asked for, so none opts in",
        ),
        pytest.param(
            OPTED_IN,
            {},
            Idle(tag={"medic-delete": "allow", "tier": "test"}),
            "it is not opted in: no tag medic-delete=allow, tier=test, and no scope of the policy covers it",
            id="one tag of two",
        ),
        pytest.param(
            {},
            {},
            Idle(scopes=(Scope(workspace="mlw-dev"),)),
            "it is not opted in: no tag medic-delete=allow, and no scope of the policy covers it",
            id="another workspace's scope",
        ),
        pytest.param({}, OPTED_IN, Idle(), None, id="the endpoint's tag"),
        pytest.param({"MEDIC-delete": "allow"}, {}, Idle(), None, id="the tag's name in capitals"),
        pytest.param({}, {}, Idle(scopes=(Scope(workspace="MLW-*"),)), None, id="a scope"),
        pytest.param({}, {"tier": "test"}, Idle(scopes=(Scope(tags={"tier": "test"}),)), None, id="a scope by tag"),
        pytest.param(
            {"tier": "test"},
            {"tier": "prod"},
            Idle(scopes=(Scope(tags={"tier": "test"}),)),
            "it is not opted in: no tag medic-delete=allow, and no scope of the policy covers it",
            id="no deployment leaves its endpoint's rules",
        ),
    ],
)
def test_only_what_is_opted_in_may_go(own, above, rules, reason):
    assert kept(make_candidate(state={"tags": own}, endpoint={"tags": above}), rules) == reason


@pytest.mark.parametrize("where", ["state", "endpoint"])
def test_a_protected_tag_keeps_it_whatever_opts_it_in(where):
    tags = {"MEDIC": "off", **OPTED_IN}
    assert kept(make_candidate(**{where: {"tags": tags}})) == "tag medic=off protects it"
    assert kept(make_candidate(**{where: {"tags": {"medic": "on", **OPTED_IN}}})) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"requests": Found(True)}, "requests reached it inside the window", id="by header only"),
        pytest.param(
            {"requests": Unknown("throttled")}, "whether requests reached it is unknown (throttled)", id="unknown"
        ),
        pytest.param({"requests": Absent()}, "whether requests reached it is absent", id="no series"),
        pytest.param(
            {"alive": Unknown("throttled")}, "whether its metrics are alive is unknown (throttled)", id="unknown life"
        ),
        pytest.param({"alive": Absent()}, "its metrics have gaps: no requests there proves nothing", id="gaps"),
        pytest.param({"alive": Found(False)}, "its metrics have gaps: no requests there proves nothing", id="dead"),
    ],
)
def test_only_live_metrics_without_a_request_prove_it_idle(changes, reason):
    assert why_not_idle(make_candidate(**changes)) == reason


# ---------------------------------------------------------------------------------------------- the fewest


def names(chosen):
    return None if chosen is None else [f"{one.resource.endpoint}/{one.resource.deployment}" for one in chosen]


@pytest.mark.parametrize(
    ("sizes", "missing", "most", "chosen"),
    [
        pytest.param([("a/x", 4, 60)], 0, 3, [], id="nothing is missing"),
        pytest.param([], 4, 3, None, id="nothing to choose from"),
        pytest.param([("a/x", 4, 60)], 4, 3, ["a/x"], id="one is enough"),
        pytest.param([("a/x", 4, 60), ("b/x", 8, 60)], 8, 3, ["b/x"], id="one large one before two small ones"),
        pytest.param([("a/x", 8, 60), ("b/x", 4, 60), ("c/x", 4, 60)], 8, 3, ["a/x"], id="fewest, not smallest"),
        pytest.param([("a/x", 16, 90), ("b/x", 8, 60)], 7, 3, ["b/x"], id="least freed, though the other is older"),
        pytest.param([("a/x", 8, 60), ("b/x", 8, 90)], 8, 3, ["b/x"], id="longest untouched"),
        pytest.param([("b/x", 8, 60), ("a/x", 8, 60)], 8, 3, ["a/x"], id="by name at last"),
        pytest.param([("a/x", 4, 60), ("b/x", 4, 60)], 8, 1, None, id="two would do, one is allowed"),
        pytest.param([("a/x", 4, 60), ("b/x", 4, 60)], 9, 3, None, id="all together are too little"),
        pytest.param([("a/x", 4, 60), ("a/x", 4, 60)], 8, 3, None, id="the same one is not counted twice"),
        pytest.param([("a/x", 0, 60)], 1, 3, None, id="no cores free none"),
    ],
)
def test_the_smallest_set_is_chosen(sizes, missing, most, chosen):
    candidates = [make_candidate(path, cores=cores, days=days) for path, cores, days in sizes]
    assert names(smallest(candidates, missing, most)) == chosen
    assert names(smallest(candidates[::-1], missing, most)) == chosen


def test_two_victims_never_empty_their_endpoint():
    both = [make_candidate("a/x", siblings=("y",)), make_candidate("a/y", siblings=("x",))]
    assert smallest(both, 8, 3) is None
    assert names(smallest(both, 4, 3)) == ["a/x"]
    other = make_candidate("b/x", days=31)
    assert names(smallest([*both, other], 8, 3)) == ["a/x", "b/x"]
    assert emptied(both) == both[0]
    assert emptied([both[0], other]) is None


def test_a_failed_one_beside_two_good_ones_may_go_with_one_of_them():
    good = [make_candidate("a/x", siblings=("y",)), make_candidate("a/y", siblings=("x",))]
    failed = make_candidate("a/z", siblings=("x", "y"), days=31, state={"provisioning_state": "Failed"})
    assert names(smallest([*good, failed], 8, 3)) == ["a/x", "a/z"]
    assert smallest([*good, failed], 12, 3) is None


def test_a_longer_untouched_one_is_passed_over_where_a_larger_one_needs_its_endpoint():
    large = make_candidate("a/large", cores=8, siblings=("small",))
    small = make_candidate("a/small", cores=4, days=900, siblings=("large",))
    others = [make_candidate(f"b{number}/x", cores=4, days=60 + number) for number in range(9)]
    assert names(smallest([large, small, *others], 12, 3)) == ["b8/x", "a/large"]


def test_readings_that_contradict_each_other_empty_no_endpoint():
    stale = make_candidate("a/x", siblings=("y", "gone"))
    fresh = make_candidate("a/y", siblings=("x",))
    assert smallest([stale, fresh], 8, 3) is None


@pytest.mark.parametrize("is_tight", [False, True], ids=["each beside a live one", "in pairs"])
@pytest.mark.parametrize("missing", [20, 399, 4 * 96 + 95, 100_000], ids=str)
def test_hundreds_are_chosen_from_at_once(missing, is_tight):
    sizes = (2, 4, 6, 8, 12, 16, 24, 32, 64, 96)
    candidates = [
        make_candidate(
            f"e{number // 2 if is_tight else number}/d{number % 2}",
            cores=sizes[number % 10],
            days=31 + number * 7 % 400,
            siblings=(f"d{1 - number % 2}",) if is_tight else ("live",),
        )
        for number in range(500)
    ]
    begin = perf_counter()
    chosen = smallest(candidates, missing, 5)
    assert perf_counter() - begin < 5
    sums = {20: [24], 399: [96, 96, 96, 96, 16], 479: [96, 96, 96, 96, 96]}
    assert sum(one.cores for one in chosen or ()) == sum(sums.get(missing, []))
    assert (chosen is None) == (missing == 100_000)


# -------------------------------------------------------------------------------------------------- the laws


@st.composite
def neighbourhoods(draw):
    """Some endpoints with some deployments each, good and failed ones, of which some may be deleted."""
    found = []
    for endpoint in range(draw(st.integers(1, 4))):
        deployments = draw(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 9)), max_size=4))
        good = [f"d{number}" for number, (is_good, _, _) in enumerate(deployments) if is_good]
        found += [
            make_candidate(
                f"e{endpoint}/d{number}",
                cores=cores,
                days=draw(st.integers(31, 34)),
                siblings=tuple(name for name in good if name != f"d{number}"),
                state={"provisioning_state": "Succeeded" if is_good else "Failed"},
            )
            for number, (is_good, is_candidate, cores) in enumerate(deployments)
            if is_candidate
        ]
    return draw(st.permutations(found))


def by_trying_all(candidates, missing, most):
    oldest_first = sorted(candidates, key=lambda one: (one.state.last_modified_at, one.resource.key))
    for count in range(1, most + 1):
        sets = [
            (sum(one.cores for one in chosen), ranks, chosen)
            for ranks in combinations(range(len(oldest_first)), count)
            if emptied(chosen := [oldest_first[rank] for rank in ranks]) is None
        ]
        enough = [found for found in sets if found[0] >= missing]
        if enough:
            return tuple(min(enough, key=lambda found: found[:2])[2])
    return None


@given(neighbourhoods(), st.integers(1, 40), st.integers(1, 5))
def test_what_is_chosen_is_what_trying_all_gives(candidates, missing, most):
    assert smallest(candidates, missing, most) == by_trying_all(candidates, missing, most)


@given(neighbourhoods(), st.integers(1, 40), st.integers(1, 5))
def test_a_chosen_set_is_enough_has_none_too_many_and_empties_no_endpoint(candidates, missing, most):
    chosen = smallest(candidates, missing, most)
    if chosen is None:
        return
    assert 1 <= len(chosen) <= most
    assert sum(one.cores for one in chosen) >= missing
    assert all(sum(one.cores for one in chosen if one is not spared) < missing for spared in chosen)
    assert emptied(chosen) is None


@given(neighbourhoods(), st.integers(1, 40), st.integers(1, 4))
def test_to_allow_fewer_never_takes_more(candidates, missing, most):
    strict, lax = smallest(candidates, missing, most), smallest(candidates, missing, most + 1)
    assert strict is None or strict == lax


TAGS = st.dictionaries(st.sampled_from(["medic-delete", "medic", "tier"]), st.sampled_from(["allow", "off", "test"]))


@given(
    own=TAGS,
    above=TAGS,
    days=st.integers(0, 60),
    weight=st.integers(0, 1),
    windows=st.tuples(st.integers(7, 30), st.integers(7, 30)).map(sorted),
)
def test_a_stricter_rule_keeps_all_that_was_kept(own, above, days, weight, windows):
    traffic = {"blue": weight}
    candidate = make_candidate(days=days, state={"tags": own}, endpoint={"tags": above, "traffic": traffic})
    window, longer = windows
    scopes = (Scope(tags={"tier": "test"}),)
    lax = Idle(window=window * DAY, scopes=scopes)
    stricter = (
        (Idle(window=longer * DAY, scopes=scopes), PROTECTED),
        (Idle(window=window * DAY), PROTECTED),
        (Idle(window=window * DAY, scopes=scopes), {**PROTECTED, "tier": "off"}),
    )
    if kept(candidate, lax) is not None:
        assert all(kept(candidate, rules, protected) is not None for rules, protected in stricter)
