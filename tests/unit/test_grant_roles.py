"""Who is granted what, where, when a person has to say so, and above all what is never granted."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediations import codec
from remediations.actions import grant_roles
from remediations.actions.action import Body, Changed, Go, Proposal, Stop, Unneeded
from remediations.actions.grant_roles import GRANT_ROLES, assignment_name
from remediations.model import (
    Absent,
    Access,
    Answer,
    End,
    ErrorDetail,
    Found,
    Identity,
    Image,
    Mode,
    NoPlan,
    Plan,
    Registry,
    Status,
    Surroundings,
    Unknown,
    Workspace,
)
from remediations.planning import propose
from remediations.policy import ActionPolicy, Grants, Policy
from remediations.ports import Reply
from remediations.situation import PastEffect
from remediations.surroundings import REPOSITORY_READER
from tests.builders import (
    DEPLOYMENT,
    NOON,
    SUBSCRIPTION,
    WORKSPACE,
    FakeReads,
    make_diagnosis,
    make_evidence,
    make_operation,
    make_situation,
    make_state,
)

ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
OTHER_SUBSCRIPTION = "22222222-1111-2222-3333-444444444444"
STORAGE = (
    f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/stprod"
)
REGISTRY = Registry(
    path=f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/crprod",
    login_server="crprod.azurecr.io",
    role_mode="LegacyRegistryPermissions",
)
ABAC = replace(REGISTRY, role_mode="AbacRepositoryPermissions")
WHO = Identity(
    path=f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-scoring",
    principal_id="abababab-1111-4222-8333-cdcdcdcdcdcd",
)
ACR_PULL, BLOB_READER = "7f951dda-4ed3-4680-a7ca-43fe172d538d", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
PULL = Access(
    identity=WHO, need="pull", role=ACR_PULL, role_name="AcrPull", scope=REGISTRY.path, held=False, words="nothing"
)
READ = Access(
    identity=WHO, need="read", role=BLOB_READER, role_name="Storage Blob Data Reader", scope=STORAGE, held=False
)
IMAGE = Image(reference="crprod.azurecr.io/credit:7", in_registry=True, manifest=Found("sha256:abc"))
LISTED = Grants(identities=(WHO.path.upper(),))


def around(*accesses: Access, **changes: Any) -> Surroundings:
    fields: dict[str, Any] = {
        "workspace": Found(
            Workspace(path=WORKSPACE, location="westeurope", registry=REGISTRY.path.upper(), storage=STORAGE)
        ),
        "registry": Found(REGISTRY),
        "image": Found(IMAGE),
        "access": Found(accesses or (PULL, replace(READ, held=True))),
    }
    return Surroundings(**{**fields, **changes})


def policy(grants: Grants = LISTED) -> Policy:
    return Policy(actions={"grant-roles": ActionPolicy(mode=Mode.AUTO)}, grants=grants)


def proposed(surroundings: Surroundings, grants: Grants = LISTED, **changes: Any) -> Proposal | NoPlan:
    evidence = make_evidence(surroundings=surroundings, **changes)
    return grant_roles.propose(make_diagnosis(action="grant-roles"), evidence, policy(grants))


def planned(surroundings: Surroundings | None = None, grants: Grants = LISTED) -> Plan:
    evidence = make_evidence(surroundings=surroundings or around())
    diagnosis = make_diagnosis(cause_id="identity-missing-acrpull", action="grant-roles")
    plan = propose(diagnosis, evidence, {"grant-roles": GRANT_ROLES}, policy(grants))
    assert isinstance(plan, Plan)
    return plan


def seen(surroundings: Surroundings, step: int = 0) -> Any:
    return make_situation(surroundings=surroundings, step=step)


# ------------------------------------------------------------------------------------------------- the grant


def test_the_missing_role_alone_is_granted_and_the_re_run_comes_after_2_5_and_10_minutes():
    plan = planned()
    assert [(step.call.method, step.is_rerun, step.wait / timedelta(minutes=1)) for step in plan.steps] == [
        ("PUT", False, 0),
        ("PUT", True, 2),
        ("PUT", True, 5),
        ("PUT", True, 10),
    ]
    name = assignment_name(REGISTRY.path, WHO.principal_id or "", ACR_PULL)
    assert str(plan.calls[0]) == (
        f"PUT {REGISTRY.path}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=2022-04-01"
    )
    assert plan.effect.startswith(
        "grant AcrPull on crprod to identity id-scoring; then, until it is effective, after 2, 5 and 10 more minutes"
    )
    assert plan.undo.startswith(f"az role assignment delete --ids {REGISTRY.path}/providers")
    assert plan.needs_person is None
    assert grant_roles.prepare(plan, 0, FakeReads()) == Body(
        {
            "properties": {
                "roleDefinitionId": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization"
                f"/roleDefinitions/{ACR_PULL}",
                "principalId": WHO.principal_id,
                "principalType": "ServicePrincipal",
            }
        }
    )


def test_a_role_in_another_subscription_is_named_by_that_subscription():
    plan = planned(around(replace(PULL, held=True), READ))
    body = grant_roles.prepare(plan, 0, FakeReads())
    assert isinstance(body, Body)
    assert f"/subscriptions/{OTHER_SUBSCRIPTION}/providers/" in codec.encode(body.content).decode()
    assert plan.calls[0].path.startswith(STORAGE)
    assert [step.is_rerun for step in plan.steps] == [False, True, True, True]


def test_both_roles_of_every_identity_are_granted_where_they_are_missing():
    other = replace(WHO, path=WHO.path + "-2", principal_id="abababab-1111-4222-8333-cdcdcdcdcdce")
    plan = planned(around(PULL, READ, replace(PULL, identity=other), replace(READ, identity=other, held=True)))
    assert len([step for step in plan.steps if not step.is_rerun]) == 3
    assert len({step.call.path for step in plan.steps if not step.is_rerun}) == 3


def test_the_name_of_an_assignment_is_the_same_whatever_the_casing_and_another_for_another():
    name = assignment_name(REGISTRY.path, "P", ACR_PULL)
    assert uuid.UUID(name).version == 5
    assert name == assignment_name(REGISTRY.path.upper(), "p", ACR_PULL.upper())
    others = {assignment_name(STORAGE, "P", ACR_PULL), assignment_name(REGISTRY.path, "Q", ACR_PULL)}
    assert len({name, *others, assignment_name(REGISTRY.path, "P", BLOB_READER)}) == 4


# ------------------------------------------------------------------------------------------------- no grant


@pytest.mark.parametrize(
    ("surroundings", "words"),
    [
        pytest.param(around(access=Unknown("429")), "is unknown (429)", id="assignments unknown"),
        pytest.param(around(access=Absent()), "is absent", id="no assignments to read"),
        pytest.param(
            around(replace(PULL, held=None, words="the assignment has a condition")),
            "whether identity id-scoring may pull is unclear: the assignment has a condition",
            id="unclear",
        ),
        pytest.param(around(replace(PULL, held=True)), "no role is missing", id="it has it"),
        pytest.param(around(access=Found(())), "no role is missing", id="no user-assigned identity"),
        pytest.param(
            around(replace(PULL, role_name="Container Registry Repository Reader"), registry=Found(ABAC)),
            "policy (grants.repository_reader) does not allow Container Registry Repository Reader",
            id="ABAC registry, policy silent",
        ),
    ],
)
def test_what_is_unclear_or_not_ours_to_give_is_not_granted(surroundings, words):
    plan = proposed(surroundings)
    assert isinstance(plan, NoPlan)
    assert (plan.end, words in plan.words) == ("advised", True), plan.words


def test_an_unclear_right_beside_a_missing_one_grants_neither():
    assert isinstance(proposed(around(PULL, replace(READ, held=None, words="a condition"))), NoPlan)


def test_on_an_abac_registry_policy_can_allow_the_role_that_works_there():
    reader = replace(
        PULL, role="b93aa761-3e63-49ed-ac28-beffa264f7ac", role_name="Container Registry Repository Reader"
    )
    grants = Grants(identities=LISTED.identities, repository_reader=True)
    proposal = proposed(around(reader, registry=Found(ABAC)), grants)
    assert isinstance(proposal, Proposal)
    assert "b93aa761-3e63-49ed-ac28-beffa264f7ac" in "".join(proposal.parameters.values())


def test_nothing_is_granted_where_nothing_can_be_run_again():
    plan = proposed(around(), resource=Absent(), operation=Unknown())
    assert isinstance(plan, NoPlan)
    assert "rejected at once" in plan.words


def test_a_role_that_is_not_effective_yet_is_waited_for_and_not_granted_again():
    lately = around(replace(PULL, held=True, since=NOON), replace(READ, held=True))
    plan = planned(lately, Grants())
    assert [(step.is_rerun, step.wait / timedelta(minutes=1)) for step in plan.steps] == [
        (True, 2),
        (True, 5),
        (True, 10),
    ]
    assert plan.effect.startswith("AcrPull was given at 12:00:00 UTC, and may not have been effective; then, until")
    assert plan.needs_person is None
    assert grant_roles.role_is_missing(plan, seen(lately)).answer is ALLOW
    assert grant_roles.within_identity(plan, seen(lately)).answer is ALLOW
    assert grant_roles.image_is_there(plan, seen(lately)).answer is ALLOW


def test_what_we_gave_and_somebody_took_away_is_not_given_again():
    plan = planned()
    given = PastEffect(
        at=NOON,
        incident_id="inc-other",
        action="grant-roles",
        cause_id="identity-missing-acrpull",
        plan="another",
        counts=True,
        is_open=False,
        targets=(plan.steps[0].call.path.lower(),),
        status=Status.ACCEPTED,
    )
    taken = make_situation(surroundings=around(), effects=(given,))
    assert grant_roles.role_is_missing(plan, taken).answer is DENY
    own = make_situation(surroundings=around(), effects=(replace(given, plan=plan.digest),))
    assert grant_roles.role_is_missing(plan, own).answer is ALLOW


@pytest.mark.parametrize(
    ("surroundings", "grants", "words"),
    [
        pytest.param(around(), Grants(), "policy does not list identity id-scoring", id="not listed"),
        pytest.param(around(), Grants(identities=(WHO.path + "-2",)), "policy does not list", id="another is listed"),
        pytest.param(
            around(image=Unknown("no image is named")), LISTED, "whether the image is there", id="image unknown"
        ),
        pytest.param(
            around(image=Found(replace(IMAGE, manifest=Unknown("401")))), LISTED, "unknown (401)", id="manifest unknown"
        ),
        pytest.param(around(), LISTED, None, id="listed, and the image is there"),
        pytest.param(
            around(replace(PULL, held=True), READ, image=Unknown()), LISTED, None, id="no right to pull is granted"
        ),
    ],
)
def test_a_person_decides_unless_policy_lists_the_identity_and_the_image_is_there(surroundings, grants, words):
    person = planned(surroundings, grants).needs_person
    assert person is None if words is None else words in (person or "")


# ------------------------------------------------------------------------------------------------ the guards


@pytest.mark.parametrize(
    ("surroundings", "answer"),
    [
        pytest.param(around(), ALLOW, id="as it was"),
        pytest.param(around(access=Unknown()), UNKNOWN, id="unknown by now"),
        pytest.param(around(replace(PULL, held=None, words="a condition")), UNKNOWN, id="unclear by now"),
        pytest.param(around(replace(PULL, identity=replace(WHO, principal_id="x"))), DENY, id="identity made anew"),
        pytest.param(around(access=Found(())), DENY, id="the endpoint has it no more"),
        pytest.param(around(replace(PULL, scope=STORAGE)), DENY, id="another registry"),
    ],
)
def test_what_is_granted_must_be_missing_still(surroundings, answer):
    assert grant_roles.role_is_missing(planned(), seen(surroundings)).answer is answer


def test_once_granted_the_re_run_does_not_ask_whether_it_is_missing():
    granted = around(replace(PULL, held=True))
    assert grant_roles.role_is_missing(planned(), seen(granted, step=1)).answer is ALLOW


@pytest.mark.parametrize(
    ("image", "answer"),
    [
        pytest.param(Found(IMAGE), ALLOW, id="there"),
        pytest.param(Found(replace(IMAGE, manifest=Absent())), DENY, id="a wrong tag"),
        pytest.param(Found(replace(IMAGE, in_registry=False)), DENY, id="in another registry"),
        pytest.param(
            Found(replace(IMAGE, manifest=Unknown("401"))), UNKNOWN, id="unknown by now, and nobody was asked"
        ),
        pytest.param(Unknown(), UNKNOWN, id="no image named, and nobody was asked"),
    ],
)
def test_no_role_makes_an_image_appear(image, answer):
    assert grant_roles.image_is_there(planned(), seen(around(image=image))).answer is answer


def test_an_image_that_cannot_be_looked_up_is_what_a_person_was_asked_about():
    unread = around(image=Found(replace(IMAGE, manifest=Unknown("401"))))
    assert grant_roles.image_is_there(planned(unread), seen(unread)).answer is ALLOW


@pytest.mark.parametrize(
    ("planned_under", "now", "answer"),
    [
        pytest.param(LISTED, LISTED, ALLOW, id="listed still"),
        pytest.param(LISTED, Grants(), DENY, id="listed no more, and nobody was asked"),
        pytest.param(Grants(), Grants(), ALLOW, id="never listed: a person decides"),
    ],
)
def test_what_policy_lists_is_looked_up_again(planned_under, now, answer):
    situation = make_situation(surroundings=around(), grants=now)
    assert grant_roles.permitted_by_policy(planned(grants=planned_under), situation).answer is answer


def test_a_role_that_policy_allowed_is_not_granted_once_it_does_not():
    allowed = Grants(identities=LISTED.identities, repository_reader=True)
    reader = replace(PULL, role=REPOSITORY_READER, role_name="Container Registry Repository Reader")
    abac = around(reader, registry=Found(ABAC))
    plan = planned(abac, allowed)
    assert grant_roles.permitted_by_policy(plan, make_situation(surroundings=abac, grants=allowed)).answer is ALLOW
    assert grant_roles.permitted_by_policy(plan, make_situation(surroundings=abac, grants=LISTED)).answer is DENY
    assert grant_roles.permitted_by_policy(plan, make_situation(grants=allowed)).answer is UNKNOWN


def test_a_role_that_somebody_took_away_meanwhile_ends_the_re_runs():
    assert isinstance(grant_roles.turn(planned(), 1, seen(around(), step=1)), Stop)
    assert grant_roles.turn(planned(), 1, seen(around(replace(PULL, held=True)), step=1)) == Go()
    assert grant_roles.turn(planned(), 1, seen(around(access=Unknown()), step=1)) == Go()


@pytest.mark.parametrize(
    ("number", "change", "answer"),
    [
        pytest.param(0, {}, ALLOW, id="as planned"),
        pytest.param(0, {"path": f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/x"}, DENY, id="group"),
        pytest.param(
            0, {"path": f"{REGISTRY.path}2/providers/Microsoft.Authorization/roleAssignments/x"}, DENY, id="r2"
        ),
        pytest.param(0, {"method": "DELETE"}, DENY, id="a removal"),
        pytest.param(1, {"path": DEPLOYMENT + "x"}, DENY, id="another deployment"),
        pytest.param(
            1, {"path": f"{STORAGE}/providers/Microsoft.Authorization/roleAssignments/x"}, DENY, id="no rerun"
        ),
    ],
)
def test_the_blast_radius_is_the_workspace_s_registry_and_account(number, change, answer):
    plan = planned()
    steps = list(plan.steps)
    steps[number] = replace(steps[number], call=replace(steps[number].call, **change))
    assert grant_roles.within_identity(replace(plan, steps=tuple(steps)), seen(around())).answer is answer


def test_without_the_workspace_the_blast_radius_is_not_known():
    assert grant_roles.within_identity(planned(), seen(around(workspace=Unknown()))).answer is UNKNOWN


# --------------------------------------------------------------------------------------- before and after it


def test_a_role_that_is_there_by_now_is_not_granted_again():
    held = replace(PULL, held=True, words="AcrPull on crprod")
    assert grant_roles.turn(planned(), 0, seen(around(held))) == Unneeded(
        "identity id-scoring has it: AcrPull on crprod"
    )
    assert grant_roles.turn(planned(), 0, seen(around())) == Go()
    assert grant_roles.turn(planned(), 1, seen(around(held))) == Go()


def test_an_assignment_that_was_changed_in_the_plan_is_not_sent():
    plan = planned()
    name = plan.calls[0].path.rsplit("/", 1)[-1]
    forged = plan.parameters | {name: plan.parameters[name].replace(str(WHO.principal_id), "attacker")}
    words = Changed("the assignment is not the one that was planned")
    assert grant_roles.prepare(replace(plan, parameters=forged), 0, FakeReads()) == words
    assert grant_roles.prepare(replace(plan, parameters={}), 0, FakeReads()) == words


@pytest.mark.parametrize(
    ("code", "status", "answer"),
    [
        ("RoleAssignmentExists", 409, Status.ACCEPTED),
        ("PrincipalNotFound", 400, Status.BUSY),
        ("RoleAssignmentLimitExceeded", 400, Status.REJECTED),
        ("RoleAssignmentUpdateNotPermitted", 400, None),
        ("AuthorizationFailed", 403, None),
    ],
)
def test_what_azure_answers_to_a_grant(code, status, answer):
    reply = Reply(status=status, errors=(ErrorDetail(code=code, message="x", depth=0),))
    step, rerun = planned().steps[0], planned().steps[1]
    meaning = grant_roles.answer(step, reply)
    assert (None if meaning is None else meaning[0]) is answer
    assert grant_roles.answer(rerun, reply) is None
    assert grant_roles.answer(step, Reply(status=201)) is None


def test_after_a_lost_answer_the_assignments_tell():
    assert grant_roles.landed(planned(), 0, make_evidence(surroundings=around())) is Status.UNCLEAR
    held = around(replace(PULL, held=True))
    assert grant_roles.landed(planned(), 0, make_evidence(surroundings=held)) is Status.ACCEPTED


REFUSED = ErrorDetail(
    code="BadArgument", message="Endpoint identity does not have pull permission on the registry.", depth=0
)
CRASHED = ErrorDetail(code="ResourceNotReady", message="User container has crashed or terminated.", depth=0)


@pytest.mark.parametrize(
    ("number", "error", "end"),
    [
        pytest.param(0, REFUSED, None, id="a grant"),
        pytest.param(1, REFUSED, None, id="the role may not be effective yet"),
        pytest.param(2, REFUSED, None, id="nor now"),
        pytest.param(3, REFUSED, End.NOT_REPAIRED, id="after 17 minutes it is"),
        pytest.param(1, CRASHED, End.NOT_REPAIRED, id="it failed of something else"),
    ],
)
def test_a_re_run_that_is_refused_as_before_comes_again(number, error, end):
    failed = make_state(provisioning_state="Failed", modified_by_us=True)
    operation = make_operation(status="Failed", errors=(error,))
    after = make_evidence(resource=Found(failed), operation=Found(operation), surroundings=around())
    assert grant_roles.verify(planned(), number, after)[0] is end


def test_a_re_run_that_nobody_can_explain_does_not_come_again():
    failed = Found(make_state(provisioning_state="Failed", modified_by_us=True))
    after = make_evidence(resource=failed, operation=Unknown("404"))
    assert grant_roles.verify(planned(), 1, after)[0] is End.NOT_REPAIRED


def test_what_must_not_change_is_also_who_the_identities_are_and_the_role_mode():
    plan = planned()
    evidence = make_evidence(surroundings=around())
    same = grant_roles.fingerprint(plan.steps, evidence)
    assert same == plan.fingerprint
    for other in (around(registry=Found(ABAC)), around(replace(PULL, identity=replace(WHO, principal_id="x")))):
        assert grant_roles.fingerprint(plan.steps, make_evidence(surroundings=other)) != same
