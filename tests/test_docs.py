"""docs/actions.md says of each action what the code does: causes, guards, settings and rights."""

import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from remediations import planning, policy
from remediations.actions import ACTIONS
from remediations.catalogue import CAUSES
from remediations.guards import COMMON, decide
from remediations.model import Evidence, Found, Image, Operation, Plan, Surroundings
from remediations.policy import Grants, Idle, Policy
from remediations.rights import RIGHTS, Role
from remediations.surroundings import BLOB_READER
from tests.builders import (
    ENDPOINT,
    FAILED_AT,
    STORAGE,
    make_access,
    make_candidate,
    make_diagnosis,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_quota,
    make_registry,
    make_resource,
    make_situation,
    make_workspace,
)
from tests.notices import plan_for
from tests.pages import page, quoted, section

ROOT = Path(__file__).parent.parent
PAGE = page("docs/actions.md")
WORKSPACES = "Microsoft.MachineLearningServices/workspaces"  # the page writes W
NAMES = sorted(ACTIONS)
COMMON_RIGHTS = tuple(right for right in RIGHTS if not right.actions and right.via not in {"store", "topic"})
# Azure checks it beside a call of ours; no role of ours gives it.
CHECKED_BESIDE = {"Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"}


def settings_in(content: bytes) -> dict[str, Any]:
    """Give settings as they stand in some YAML, without the defaults of what it leaves out."""
    found = policy.read_yaml(content)
    assert isinstance(found, dict)
    return found


part = partial(section, PAGE)
SHIPPED = settings_in((ROOT / "policy.yaml").read_bytes())


def blocks(text: str) -> Iterator[dict[str, Any]]:
    for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield settings_in(block.encode())


def rights(text: str) -> set[str]:
    return {name.replace("W/", f"{WORKSPACES}/", 1) for name in quoted(text) if re.match(r"(W|Microsoft)[./]", name)}


def incidents(action: str) -> Iterator[Evidence]:
    """Give evidence that together makes an action plan every kind of call that it has."""
    around = Surroundings(
        workspace=Found(make_workspace()),
        registry=Found(make_registry()),
        network=Found(()),
        image=Found(Image(reference="crmlwprod.azurecr.io/credit:7", in_registry=True, manifest=Found("sha256:abc"))),
        access=Found(
            (make_access(), make_access(need="read", role=BLOB_READER, role_name="Reader of blobs", scope=STORAGE))
        ),
        quota=Found(make_quota()),
        candidates=Found((make_candidate(),)),
    )
    yield make_evidence(surroundings=around)
    if action == "retry":
        endpoint = make_resource(ENDPOINT)
        state = make_endpoint_state(
            provisioning_state="Failed", created_at=FAILED_AT, last_modified_at=FAILED_AT, spec_digest="spec-2"
        )
        yield make_evidence(incident=make_incident(resource=endpoint), resource=Found(state), endpoint=Found(state))
        yield make_evidence(incident=make_incident(operation=Operation.DELETE))


@cache
def plans(action: str) -> tuple[Plan, ...]:
    if action.startswith("undo-"):
        return (plan_for(action),)
    cause = next(cause.id for cause in CAUSES if cause.action == action)
    found = []
    for evidence in incidents(action):
        diagnosis = make_diagnosis(incident=evidence.incident, cause_id=cause, action=action)
        plan = planning.propose(diagnosis, evidence, ACTIONS, Policy(actions={}))
        assert isinstance(plan, Plan), plan
        found.append(plan)
    return tuple(found)


def test_the_table_names_each_action_with_its_causes_and_its_shipped_mode() -> None:
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(#([\w-]+)\) \|([^|]+)\|[^|]+\| `([\w-]+)` \|", PAGE, re.MULTILINE)
    told = {name: (anchor, quoted(causes), mode) for name, anchor, causes, mode in rows}
    assert told == {
        name: (name, {cause.id for cause in CAUSES if cause.action == name}, SHIPPED["actions"][name]["mode"])
        for name in ACTIONS
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_section_names_each_guard_of_its_action_as_the_trail_prints_it(name: str) -> None:
    own = [guard for guard in ACTIONS[name].guards if guard not in COMMON]
    printed = {answer.guard for answer in decide(plans(name)[0], make_situation(), own, situation_digest="s").answers}
    assert len(printed) == len(own) > 0
    assert printed <= quoted(part(name))


def test_the_common_guards_are_named_as_the_trail_prints_them() -> None:
    answers = decide(plans("retry")[0], make_situation(), COMMON, situation_digest="s").answers
    rows = re.findall(r"^\|(.*?)\|", part("What they share"), re.MULTILINE)
    assert {answer.guard for answer in answers} == quoted("\n".join(rows))


@pytest.mark.parametrize("name", NAMES)
def test_a_section_prints_the_settings_that_are_shipped(name: str) -> None:
    (block,) = blocks(part(name))
    assert block.pop("actions") == {name: SHIPPED["actions"][name]}
    assert block == {key: SHIPPED[key] for key in {"grant-roles": ["grants"], "delete-idle": ["idle"]}.get(name, [])}


@pytest.mark.parametrize(("name", "settings"), [("grant-roles", Grants), ("delete-idle", Idle)])
def test_a_section_tells_each_setting_of_its_own(name: str, settings: type) -> None:
    assert {field.name for field in fields(settings)} <= quoted(part(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_section_lists_the_right_for_each_write_that_its_action_plans(name: str) -> None:
    spelled = {right.operation.lower(): right.operation for right in RIGHTS}
    needed = {spelled[call.operation.lower()] for plan in plans(name) for call in plan.calls}
    listed = rights(part(name).partition("**Rights.**")[2].partition("**Policy.**")[0])
    assert needed <= listed


def test_every_incident_is_told_to_need_what_no_action_alone_needs() -> None:
    common = {right.operation for right in COMMON_RIGHTS} | {f"{WORKSPACES}/onlineEndpoints/deployments/write"}
    assert rights(part("Rights for every incident")) - {WORKSPACES} == common


@pytest.mark.parametrize("name", NAMES)
def test_a_section_tells_the_very_rights_that_are_declared_for_its_action(name: str) -> None:
    declared = {right.operation for right in RIGHTS if name in right.actions}
    listed = rights(part(name)) - {right.operation for right in COMMON_RIGHTS} - CHECKED_BESIDE
    rerun = {f"{WORKSPACES}/onlineEndpoints/deployments/write"}  # told once, for every action
    assert listed | rerun == declared | rerun


def test_the_page_lists_the_roles_that_are_there() -> None:
    rows = re.findall(r"^\| (Endpoint Medic [A-Za-z ]+) \|", part("Rights for every incident"), re.MULTILINE)
    assert sorted(rows) == sorted(role for role in Role if role.startswith("Endpoint Medic "))


def test_the_readme_prints_no_setting_that_is_not_shipped() -> None:
    (excerpt,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert excerpt["actions"].keys() == ACTIONS.keys()
    assert all(settings.items() <= SHIPPED["actions"][name].items() for name, settings in excerpt["actions"].items())
    assert all(excerpt[name].items() <= SHIPPED[name].items() for name in ("grants", "idle"))
