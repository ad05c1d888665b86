"""Checks look at what Azure itself writes: found, absent and unknown each mean something of their own."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediations.catalogue import checks
from remediations.catalogue.cause import Clue
from remediations.model import (
    Absent,
    Access,
    ErrorDetail,
    Found,
    Identity,
    Image,
    Quota,
    Registry,
    Surroundings,
    Unknown,
)
from tests.builders import (
    FAILED_AT,
    make_endpoint_state,
    make_evidence,
    make_operation,
    make_row,
    make_state,
)

ERRORS = (ErrorDetail(code="Written", message="(ByWhoever) wrote the model", depth=0),)


def around(**changes):
    return make_evidence(surroundings=Surroundings(**changes))


def registry(**changes):
    return around(registry=Found(Registry(**{"path": "r", "login_server": "r.azurecr.io", **changes})))


def image(manifest, in_registry=True, reference="r.azurecr.io/a:1"):
    return around(image=Found(Image(reference=reference, in_registry=in_registry, manifest=manifest)))


def access(*held):
    """One access for each pair of a need and whether it is held."""
    return around(
        access=Found(
            tuple(
                Access(
                    identity=Identity(path="i"),
                    need=need,
                    role="id",
                    role_name={"pull": "AcrPull", "read": "Storage Blob Data Reader"}[need],
                    scope="s",
                    held=is_held,
                )
                for need, is_held in held
            )
        )
    )


def quota(**changes):
    fields = {
        "location": "westeurope",
        "family": "standardDSv2Family",
        "instance_type": "Standard_DS2_v2",
        "cores_each": 2,
        "needed": 4,
        "used": 4,
        "limit": 6,
    }
    return around(quota=Found(Quota(**{**fields, **changes})))


def failed(operation, row):
    """Evidence with the codes in the service's own fields."""
    return make_evidence(
        operation=Unknown()
        if operation is None
        else Found(make_operation(status="Failed", code=operation, errors=ERRORS)),
        activity=Absent() if row is None else Found((make_row(status="Failed", code=row, errors=ERRORS),)),
    )


SILENT = make_evidence(
    resource=Unknown(), endpoint=Unknown(), operation=Unknown(), activity=Unknown(), history=Unknown()
)


@pytest.mark.parametrize(
    "check",
    [
        checks.ended_with("X"),
        checks.did_not_end_with("X"),
        checks.is_managed,
        checks.registry_admin_is_on,
        checks.registry_admin_is_off,
        checks.registry_is_missing,
        checks.registry_is_usable,
        checks.registry_keys_changed,
        checks.network_is_faulty,
        checks.network_is_sound,
        checks.image_is_missing,
        checks.image_is_there,
        checks.image_lies_elsewhere,
        checks.image_is_the_workspace_s,
        checks.model_is_missing,
        checks.model_is_there,
        checks.roles_missing("pull"),
        checks.roles_missing("read"),
        checks.roles_missing("pull", "read"),
        checks.reading_is_granted,
        checks.endpoint_is_user_assigned,
        checks.cores_are_missing,
    ],
)
def test_what_was_not_read_says_nothing(check):
    assert check(SILENT) is None


ON, OFF = "the registry's admin user is on", "the registry's admin user is off"
NONE, THERE = "the workspace has no registry that is there", "the workspace's registry is there"
DNS = "dnsResolutionResults: CustomDNSInUse: custom"


@pytest.mark.parametrize(
    ("check", "evidence", "clue"),
    [
        (checks.registry_admin_is_on, registry(admin_user=True), ("registry", ON, True)),
        (checks.registry_admin_is_on, registry(admin_user=False), ("registry", OFF, False)),
        (checks.registry_admin_is_on, registry(admin_user=None), None),
        (checks.registry_admin_is_on, around(registry=Absent()), ("registry", NONE, False)),
        (checks.registry_admin_is_off, registry(admin_user=True), ("registry", ON, False)),
        (checks.registry_admin_is_off, registry(admin_user=False), ("registry", OFF, True)),
        (checks.registry_admin_is_off, around(registry=Absent()), ("registry", NONE, False)),
        (checks.registry_is_missing, around(registry=Absent()), ("registry", NONE, True)),
        (checks.registry_is_missing, registry(), ("registry", THERE, False)),
        (checks.registry_is_usable, registry(admin_user=True), None),
        (checks.registry_is_usable, registry(admin_user=False), ("registry", OFF, False)),
        (checks.registry_is_usable, around(registry=Absent()), ("registry", NONE, False)),
        (checks.registry_keys_changed, registry(), None),
        (checks.registry_keys_changed, registry(keys_changed_at=FAILED_AT + timedelta(seconds=1)), None),
        (checks.registry_keys_changed, registry(keys_changed_at=FAILED_AT - timedelta(days=8)), None),
        (
            checks.registry_keys_changed,
            registry(keys_changed_at=FAILED_AT - timedelta(days=1)),
            ("registry-keys", "the registry's keys were changed at 2026-11-21T11:55:00+00:00", True),
        ),
        (checks.network_is_faulty, around(network=Found((DNS,))), ("diagnosis", DNS, True)),
        (checks.network_is_faulty, around(network=Found(())), ("diagnosis", "no network fault", False)),
        (
            checks.network_is_faulty,
            around(network=Found(("keyVaultResults: X: y",))),
            ("diagnosis", "no network fault", False),
        ),
        (checks.network_is_sound, around(network=Found((DNS,))), ("diagnosis", DNS, False)),
        (checks.network_is_sound, around(network=Found(())), None),
    ],
)
def test_a_registry_and_the_way_to_it(check, evidence, clue):
    assert said(check(evidence)) == clue


@pytest.mark.parametrize(
    ("check", "evidence", "clue"),
    [
        (checks.image_is_missing, image(Absent()), ("registry-data-plane", True)),
        (checks.image_is_missing, image(Found("sha256:1")), ("registry-data-plane", False)),
        (checks.image_is_missing, image(Unknown()), None),
        (checks.image_is_there, image(Absent()), ("registry-data-plane", False)),
        (checks.image_is_there, image(Found("sha256:1")), ("registry-data-plane", True)),
        (checks.image_is_there, image(Unknown()), None),
        (checks.image_lies_elsewhere, image(Unknown()), ("environment", False)),
        (checks.image_lies_elsewhere, image(Unknown(), in_registry=False), ("environment", True)),
        (
            checks.image_lies_elsewhere,
            image(Unknown(), in_registry=False, reference="mcr.microsoft.com/azureml/x:1"),
            ("environment", False),
        ),
        (checks.image_is_the_workspace_s, image(Unknown()), None),
        (checks.image_is_the_workspace_s, image(Unknown(), in_registry=False), ("environment", False)),
        (checks.model_is_missing, around(model=Absent()), ("model", True)),
        (checks.model_is_missing, around(model=Found("m:1")), ("model", False)),
        (checks.model_is_there, around(model=Absent()), ("model", False)),
        (checks.model_is_there, around(model=Found("m:1")), ("model", True)),
    ],
)
def test_an_image_and_a_model(check, evidence, clue):
    found = check(evidence)
    assert (None if found is None else (found.read, found.supports)) == clue


PULL, READ, BOTH = ("pull",), ("read",), ("pull", "read")


@pytest.mark.parametrize(
    ("held", "supported", "opposed"),
    [
        pytest.param((("pull", False), ("read", True)), {PULL}, {READ, BOTH}, id="pull"),
        pytest.param((("pull", True), ("read", False)), {READ}, {PULL, BOTH}, id="read"),
        pytest.param((("pull", False), ("read", False)), {BOTH}, {PULL, READ}, id="both"),
        pytest.param((("pull", True), ("read", True)), set(), {PULL, READ, BOTH}, id="none"),
        pytest.param((("pull", False),), {PULL}, {READ, BOTH}, id="nothing to read"),
        pytest.param((("pull", False), ("pull", True), ("read", True)), {PULL}, {READ, BOTH}, id="one of two"),
        pytest.param((("pull", None), ("pull", False), ("read", True)), {PULL}, {READ, BOTH}, id="one of two, unclear"),
        pytest.param((("pull", None), ("read", True)), set(), {READ, BOTH}, id="pull unclear"),
        pytest.param((("pull", None), ("read", False)), set(), {PULL}, id="pull unclear, read missing"),
        pytest.param((("pull", False), ("read", None)), set(), {READ}, id="read unclear"),
        pytest.param((("pull", None), ("read", None)), set(), set(), id="both unclear"),
        pytest.param((), set(), set(), id="no identity"),
    ],
)
def test_at_most_one_combination_of_missing_roles_is_supported(held, supported, opposed):
    evidence = access(*held)
    clues = {missing: checks.roles_missing(*missing)(evidence) for missing in (PULL, READ, BOTH)}
    assert {missing for missing, clue in clues.items() if clue is not None and clue.supports} == supported
    assert {missing for missing, clue in clues.items() if clue is not None and not clue.supports} == opposed


def test_missing_roles_are_named():
    evidence = access(("pull", False), ("read", False))
    clue = checks.roles_missing("pull", "read")(evidence)
    assert said(clue) == ("role-assignments", "missing: AcrPull, Storage Blob Data Reader", True)
    assert said(checks.reading_is_granted(evidence)) == (*said(clue)[:2], False)
    assert checks.reading_is_granted(access(("pull", False), ("read", True))) is None


@pytest.mark.parametrize(
    ("identity", "supports"),
    [
        ("UserAssigned", True),
        ("SystemAssigned,UserAssigned", True),
        ("SystemAssigned, UserAssigned", True),
        ("SystemAssigned", False),
        ("None", False),
    ],
)
def test_only_a_user_s_identity_is_granted_roles(identity, supports):
    evidence = make_evidence(endpoint=Found(make_endpoint_state(identity=identity)))
    expected = Clue(read="endpoint", says=f"the endpoint's identity is {identity}", supports=supports)
    assert checks.endpoint_is_user_assigned(evidence) == expected


@pytest.mark.parametrize(
    ("evidence", "says", "supports"),
    [
        (quota(), "4 of 6 used, 4 needed, 2 missing", True),
        (quota(used=0, needed=8), "0 of 6 used, 8 needed, 2 missing", True),
        (quota(limit=None, total_used=9, total_limit=10), "no limit, 4 needed, 3 missing", True),
    ],
)
def test_quota_is_too_small_or_not(evidence, says, supports):
    told = ("quota", f"standardDSv2Family in westeurope: {says}", supports)
    assert said(checks.cores_are_missing(evidence)) == told


@pytest.mark.parametrize("enough", [quota(used=0), quota(limit=None)], ids=["by now", "without a limit"])
def test_cores_that_are_free_by_now_say_nothing_about_the_failure(enough):
    assert checks.cores_are_missing(enough) is None


GIVEN = {"pull": FAILED_AT - timedelta(days=9), "read": FAILED_AT - timedelta(days=9)}


@pytest.mark.parametrize(
    ("held", "since", "is_fresh"),
    [
        pytest.param((True, True), {}, False, id="given long ago"),
        pytest.param((True, True), {"pull": FAILED_AT - timedelta(minutes=12)}, True, id="ten minutes before it began"),
        pytest.param((True, True), {"pull": FAILED_AT - timedelta(minutes=14)}, False, id="a little earlier"),
        pytest.param((True, True), {"read": FAILED_AT}, True, id="after it began"),
        pytest.param((True, True), {"pull": None, "read": None}, False, id="nobody knows when"),
        pytest.param((True, False), {"pull": FAILED_AT}, False, id="another is missing"),
        pytest.param((True, None), {"pull": FAILED_AT}, False, id="another is unclear"),
    ],
)
def test_a_role_that_was_given_lately_may_not_have_been_effective(held, since, is_fresh):
    shown = access(("pull", held[0]), ("read", held[1])).surroundings.access.value
    dated = tuple(replace(one, since=(GIVEN | since)[one.need]) for one in shown)
    clue = checks.role_is_fresh(around(access=Found(dated)))
    assert (clue is not None and clue.supports) is is_fresh
    opposing = checks.no_role_is_fresh(around(access=Found(dated)))
    assert (opposing is not None and not opposing.supports) is is_fresh


@pytest.mark.parametrize(
    ("operation", "row", "ended", "not_ended"),
    [
        pytest.param("X", "X", ("operation", True), ("operation", False), id="both"),
        pytest.param("X", None, ("operation", True), ("operation", False), id="the operation"),
        pytest.param(None, "X", ("activity-log", True), ("activity-log", False), id="the Activity Log"),
        pytest.param("Y", "X", ("operation", False), ("activity-log", False), id="the operation says another"),
        pytest.param("Y", "Y", ("operation", False), None, id="another"),
        pytest.param("Written", None, ("operation", False), None, id="the code in a text"),
        pytest.param(None, None, None, None, id="neither"),
    ],
)
def test_a_failure_is_of_the_code_that_azure_gave_it(operation, row, ended, not_ended):
    evidence = failed(operation, row)
    for check, clue in ((checks.ended_with("X", "ByWhoever"), ended), (checks.did_not_end_with("X"), not_ended)):
        found = check(evidence)
        assert (None if found is None else (found.read, found.supports)) == clue


def test_an_operation_that_runs_has_not_ended():
    running = make_evidence(operation=Found(make_operation(status="InProgress", code="X")), activity=Absent())
    assert checks.ended_with("X")(running) is None


@pytest.mark.parametrize(("kind", "opposes"), [("Managed", False), ("endpoint", False), ("Kubernetes", True)])
def test_kubernetes_is_not_managed(kind, opposes):
    clue = checks.is_managed(make_evidence(resource=Found(make_state(kind=kind))))
    assert (clue is not None and not clue.supports) == opposes


@pytest.mark.parametrize(
    ("first", "then", "counts"),
    [(True, True, True), (False, True, False), (None, True, False), (True, False, False), (None, False, False)],
)
def test_what_only_adds_supports_nothing_alone_and_opposes_always(first, then, counts):
    def fixed(supports):
        return lambda _: None if supports is None else Clue(read="r", says="s", supports=supports)

    clue = checks.given(fixed(first), fixed(then))(SILENT)
    assert (clue is not None and clue.supports) == counts
    assert (clue is not None and not clue.supports) == (then is False)


@pytest.mark.parametrize(
    ("diagnostics", "faults"),
    [
        (Unknown(), None),
        (Absent(), None),
        (Found(()), ()),
        (Found(("storageAccountResults: X: y", DNS)), (DNS,)),
        (Found(("containerRegistryResults: Forbidden: denied",)), ("containerRegistryResults: Forbidden: denied",)),
        (Found(("userDefinedRouteResults: A: b",)), ("userDefinedRouteResults: A: b",)),
        (Found(("networkSecurityRuleResults: C: d",)), ("networkSecurityRuleResults: C: d",)),
    ],
)
def test_faults_are_of_the_way_to_the_registry(diagnostics, faults):
    assert checks.network_faults(around(network=diagnostics)) == faults


def said(clue):
    return None if clue is None else (clue.read, clue.says, clue.supports)
