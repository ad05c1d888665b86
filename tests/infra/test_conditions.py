"""What the two conditions in infra/rbac let through, and that no part of them could be left out."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations import surroundings
from tests.infra.conditions import Attempt, NotUnderstoodError, parse

FOLDER = Path(__file__).parents[2] / "infra" / "rbac"
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
WRITE, DELETE, READ = (f"{ASSIGNMENTS}/{verb}" for verb in ("write", "delete", "read"))
ROLE, TYPE, PRINCIPAL = (f"{ASSIGNMENTS}:{name}" for name in ("RoleDefinitionId", "PrincipalType", "PrincipalId"))

PERMITTED = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Container Registry Repository Reader": "b93aa761-3e63-49ed-ac28-beffa264f7ac",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
}
OTHERS = {
    "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "User Access Administrator": "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "Role Based Access Control Administrator": "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "AcrDelete": "c2f4ef07-c644-48eb-af81-4b1b4947fb11",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Managed Identity Operator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "none": "00000000-0000-0000-0000-000000000000",
}
TYPES = ("User", "Group", "ForeignGroup", "Device", "Application", "", "ServicePrincipals", "Service Principal")
LISTED = ("11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002")
STRANGER = "22222222-0000-4000-8000-000000000001"

GRANTER = (FOLDER / "granter.condition.txt").read_text("utf-8")
UNDO_TEMPLATE = (FOLDER / "undo.condition.txt").read_text("utf-8")
UNDO = UNDO_TEMPLATE.replace("<principal-ids>", ", ".join(LISTED))


def granting(role: str | None, kind: str | None = "ServicePrincipal", *, principal: str = STRANGER) -> Attempt:
    known = {ROLE: role, TYPE: kind, PRINCIPAL: principal}
    return Attempt(WRITE, request={name: value for name, value in known.items() if value is not None})


def deleting(role: str | None, kind: str | None = "ServicePrincipal", principal: str | None = LISTED[0]) -> Attempt:
    known = {ROLE: role, TYPE: kind, PRINCIPAL: principal}
    return Attempt(DELETE, resource={name: value for name, value in known.items() if value is not None})


may_grant, may_delete = parse(GRANTER), parse(UNDO)


# ------------------------------------------------------------------------------------------------- granting


@pytest.mark.parametrize("role", PERMITTED.values(), ids=PERMITTED.keys())
def test_a_service_principal_may_be_given_each_of_three_roles(role):
    assert may_grant(granting(role))
    assert may_grant(granting(role.upper(), "serviceprincipal"))


@pytest.mark.parametrize("role", OTHERS.values(), ids=OTHERS.keys())
def test_no_other_role_may_be_given_to_anybody(role):
    for kind in ("ServicePrincipal", *TYPES):
        assert not may_grant(granting(role, kind))


@given(st.uuids(allow_nil=True).map(str))
def test_whatever_the_role_only_the_three_may_be_given(role):
    assert may_grant(granting(role)) is (role in PERMITTED.values())


@given(st.text())
def test_what_is_no_role_may_not_be_given(text):
    assert not may_grant(granting(text))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("role", PERMITTED.values(), ids=PERMITTED.keys())
def test_nobody_else_may_be_given_any(role, kind):
    assert not may_grant(granting(role, kind))


@pytest.mark.parametrize("role", PERMITTED.values(), ids=PERMITTED.keys())
def test_what_a_request_leaves_out_is_denied(role):
    assert not may_grant(granting(role, None))
    assert not may_grant(granting(None))
    assert not may_grant(Attempt(WRITE))
    assert not may_grant(Attempt(WRITE, resource={ROLE: role, TYPE: "ServicePrincipal"}))  # not what is asked for


def test_the_condition_of_granting_says_nothing_of_reading():
    assert may_grant(Attempt(READ))


# --------------------------------------------------------------------------------------------- taking back


@pytest.mark.parametrize("principal", LISTED)
@pytest.mark.parametrize("role", PERMITTED.values(), ids=PERMITTED.keys())
def test_an_assignment_of_a_listed_principal_may_be_deleted(role, principal):
    assert may_delete(deleting(role, principal=principal))


@given(st.uuids().map(str))
def test_an_assignment_of_anybody_else_may_not(principal):
    assert not may_delete(deleting(PERMITTED["AcrPull"], principal=principal))


@given(st.uuids(allow_nil=True).map(str))
def test_nor_one_of_another_role(role):
    assert may_delete(deleting(role)) is (role in PERMITTED.values())


@pytest.mark.parametrize("kind", TYPES)
def test_nor_one_of_somebody_who_is_no_service_principal(kind):
    assert not may_delete(deleting(PERMITTED["AcrPull"], kind))


@pytest.mark.parametrize("left_out", [{"role": None}, {"kind": None}, {"principal": None}])
def test_nor_one_of_which_something_is_not_known(left_out):
    assert not may_delete(deleting(**({"role": PERMITTED["AcrPull"]} | left_out)))


def test_nor_one_that_only_the_request_describes():
    known = {ROLE: PERMITTED["AcrPull"], TYPE: "ServicePrincipal", PRINCIPAL: LISTED[0]}
    assert not may_delete(Attempt(DELETE, request=known))


def test_the_condition_of_deleting_says_nothing_of_reading():
    assert may_delete(Attempt(READ))


def test_without_principals_the_template_is_no_condition():
    assert UNDO_TEMPLATE.count("<principal-ids>") == 1
    with pytest.raises(NotUnderstoodError):
        parse(UNDO_TEMPLATE)
    with pytest.raises(NotUnderstoodError):
        parse(UNDO_TEMPLATE.replace("<principal-ids>", ""))


# ------------------------------------------------------------------------------------- the same as in the code


GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "action", "principals"),
    [pytest.param(GRANTER, WRITE, (), id="granter"), pytest.param(UNDO, DELETE, LISTED, id="undo")],
)
def test_a_condition_names_what_the_code_grants_and_nothing_else(text, action, principals):
    granted = {surroundings.ACR_PULL, surroundings.REPOSITORY_READER, surroundings.BLOB_READER}
    assert granted == set(PERMITTED.values())
    assert sorted(GUID.findall(text)) == sorted([*granted, *principals])
    assert sorted(re.findall(r"'([^']*)'", text)) == sorted([action, "ServicePrincipal"])


# ----------------------------------------------------------------------------------------------- mutations

ATTEMPTS = (
    *(
        granting(role, kind)
        for role in (*PERMITTED.values(), *OTHERS.values(), None)
        for kind in ("ServicePrincipal", *TYPES, None)
    ),
    *(
        deleting(role, kind, principal)
        for role in (*PERMITTED.values(), *OTHERS.values(), None)
        for kind in ("ServicePrincipal", *TYPES, None)
        for principal in (*LISTED, STRANGER, None)
    ),
    Attempt(READ),
    Attempt(WRITE),
    Attempt(DELETE),
)
EXPECTED = {text: [parse(text)(attempt) for attempt in ATTEMPTS] for text in (GRANTER, UNDO)}


def mutations(text: str) -> list[tuple[str, str]]:
    """Give slips of the pen: each line left out, and each word taken for another."""
    lines = text.splitlines()
    found = [
        (f"without line {number + 1}: {line.strip()}", "\n".join(lines[:number] + lines[number + 1 :]))
        for number, line in enumerate(lines)
    ]
    for old, new in (
        ("AND", "OR"),
        ("OR", "AND"),
        ("!", ""),
        ("@Request", "@Resource"),
        ("@Resource", "@Request"),
        ("roleAssignments/write", "roleAssignments/delete"),
        ("roleAssignments/delete", "roleAssignments/write"),
        ("roleAssignments/write", "roleAssignments/*"),
        (":RoleDefinitionId", ":PrincipalId"),
        (":PrincipalType", ":PrincipalId"),
        (":PrincipalId", ":RoleDefinitionId"),
        ("GuidEquals", "GuidNotEquals"),
        ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
        ("StringEqualsIgnoreCase", "StringLikeIgnoreCase"),
        ("ForAnyOfAnyValues", "ForAnyOfAllValues"),
        ("'ServicePrincipal'", "'User'"),
        ("'ServicePrincipal'", "'ServicePrincipal', 'User'"),
        ("'ServicePrincipal'", "'ServicePrincipal', 'Group'"),
        *((role, OTHERS["Owner"]) for role in PERMITTED.values()),
        *((role, f"{role}, {OTHERS['Contributor']}") for role in PERMITTED.values()),
        (LISTED[1], STRANGER),
        (f", {LISTED[1]}", ""),
    ):
        at = -1
        while (at := text.find(old, at + 1)) >= 0:
            found.append((f"{old} -> {new} at {at}", text[:at] + new + text[at + len(old) :]))
    return found


@pytest.mark.parametrize("text", [pytest.param(GRANTER, id="granter"), pytest.param(UNDO, id="undo")])
def test_each_slip_of_the_pen_is_caught(text):
    survived = []
    for name, changed in mutations(text):
        try:
            answers = [parse(changed)(attempt) for attempt in ATTEMPTS]
        except NotUnderstoodError:
            continue
        if answers == EXPECTED[text]:
            survived.append(name)
    assert survived == []
    assert len(mutations(text)) >= 30


# ----------------------------------------------------------------------------------------------- the grammar

A, B = "ActionMatches{'a'}", "ActionMatches{'b'}"
IS = "ForAnyOfAnyValues:StringEqualsIgnoreCase"


@pytest.mark.parametrize(
    ("condition", "action", "answer"),
    [
        pytest.param(A, "a", True, id="the action"),
        pytest.param(A, "A", True, id="in another casing"),
        pytest.param(A, "b", False, id="another action"),
        pytest.param(f"!({A})", "a", False, id="not"),
        pytest.param(f"!!{A}", "a", True, id="not not"),
        pytest.param(f"{A} OR {B}", "b", True, id="or"),
        pytest.param(f"{A} AND {B}", "a", False, id="and"),
        pytest.param(f"{A} OR {B} AND {B}", "a", True, id="and binds before or"),
        pytest.param(f"({A} OR {B}) AND {B}", "a", False, id="but not before parentheses"),
        pytest.param(f"!{A} AND {B}", "b", True, id="not binds before and"),
        pytest.param(f"({A}\n)", "a", True, id="over lines"),
    ],
)
def test_conditions_are_read_as_azure_reads_them(condition, action, answer):
    assert parse(condition)(Attempt(action)) is answer


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "(",
        f"({A}",
        f"{A})",
        f"{A} {B}",
        f"{A} AND",
        f"AND {A}",
        f"{A} XOR {B}",
        "ActionMatches{a}",
        "ActionMatches{'a'",
        "SubOperationMatches{'a'}",
        "true",
        f"@Environment[x:Y] {IS} {{'a'}}",
        f"@Principal[x:Y] {IS} {{'a'}}",
        f"Exists @Request[x:Y] {IS} {{'a'}}",
        f"@Request[x:Y] {IS} {{}}",
        f"@Request[x:Y] {IS} 'a'",
        f"@Request[x:Y] {IS} {{'a',}}",
        f"@Request[x:Y] {IS} {{7f951dda-4ed3-4680-a7ca-43fe172d538d}}",
        "@Request[x:Y] ForAnyOfAnyValues:GuidEquals {'a'}",
        "@Request[x:Y] ForAnyOfAnyValues:GuidEquals {7f951dda-4ed3-4680-a7ca}",
        "@Request[x:Y] ForAllOfAnyValues:GuidEquals {7f951dda-4ed3-4680-a7ca-43fe172d538d}",
        "@Request[x] StringEquals {'a'}",
        f"{A} // a comment",
    ],
)
def test_what_is_not_understood_is_refused(condition):
    with pytest.raises(NotUnderstoodError):
        parse(condition)
