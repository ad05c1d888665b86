"""What the simulated Resource Manager remembers of what it showed: whole, to whom, and which version."""

from typing import Any

import pytest

from local.arm.routes import Simulator
from local.arm.witness import LISTED, Shown
from tests.contract.test_arm_world import ENDPOINT, GREEN, GROUP, NOON, Bench

KEY = GREEN.lower()
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/crmlprod"
SCOPE = REGISTRY.lower() + LISTED
ROLES = f"{REGISTRY}/providers/Microsoft.Authorization/roleAssignments"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ASSIGNED = "11111111-2222-4333-8444-555555555555"


def bench(**world: Any) -> Bench:
    """A world in which a person deployed green, and it is there: versions 0 and 1."""
    made = Bench(**world)
    made.world.put_deployment("person", None, "green")
    made.clock.advance(0.2)
    made.world.settle()
    return made


def shown(made: Bench, key: str = KEY) -> list[Shown]:
    return [one for one in made.world.witness.shown if one.key == key]


def faulty(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "method": "GET", "path": "*/green", **more}


def test_a_read_shows_its_version_to_who_asked():
    made = bench()
    made.get(GREEN)
    made.get(GREEN, who="person")

    assert [(one.to, one.number) for one in shown(made)] == [("medic", 1), ("person", 1)]


@pytest.mark.parametrize("kind", ["lost", "truncated", "malformed", "reset", "throttle", "error"])
def test_an_answer_that_did_not_arrive_whole_showed_nothing(kind):
    made = bench(faults=[faulty(kind)])
    made.ask("GET", GREEN)
    assert shown(made) == []

    made.ask("GET", GREEN)
    assert [one.number for one in shown(made)] == [1]


def test_a_late_answer_shows_as_any_other():
    made = bench(faults=[faulty("delay", seconds=0.0)])
    made.ask("GET", GREEN)
    assert [one.number for one in shown(made)] == [1]


def test_a_stale_answer_showed_the_version_in_it():
    made = bench(faults=[faulty("stale", versions=1)])
    made.ask("GET", GREEN)
    assert [one.number for one in shown(made)] == [0]


def test_that_there_is_none_is_shown_as_well():
    made = Bench()
    made.ask("GET", GREEN)
    assert [one.number for one in shown(made)] == [None]


def test_who_may_not_read_is_shown_nothing():
    made = bench(denied=[{"principal": "medic", "action": "*/read", "scope": "*"}])
    assert made.ask("GET", GREEN).status == 403
    assert shown(made) == []


def test_a_list_shows_the_rows_on_its_page():
    made = bench(page_size=1)
    made.get(f"{ENDPOINT}/deployments")

    assert shown(made) == []
    assert [one.number for one in shown(made, KEY.replace("green", "blue"))] == [0]


def test_an_emptied_page_shows_no_row():
    made = bench(faults=[{"kind": "empty-page", "method": "GET"}])
    made.get(f"{ENDPOINT}/deployments")
    assert shown(made) == []


def test_the_answer_to_a_write_shows_what_it_left():
    made = bench()
    made.deploy()
    assert [one.number for one in shown(made)] == [2]  # 3 is that it came to an end, which nobody read


def test_each_version_tells_whose_request_made_it_and_what_it_shows():
    made = bench()
    made.ask("DELETE", GREEN, headers={"x-ms-client-request-id": "ours"})
    made.clock.advance(0.2)
    made.world.settle()

    changes = [one for one in made.world.witness.changes if one.key == KEY]
    states = [None if one.body is None else one.body["properties"]["provisioningState"] for one in changes]
    assert states == ["Creating", "Succeeded", "Deleting", None]
    assert [one.number for one in changes] == [0, 1, 2, 3]
    assert [(one.by, one.client_request_id) for one in changes[2:]] == [("medic", "ours"), ("medic", "ours")]
    assert {one.by for one in changes[:2]} == {"person"}


def test_what_was_there_from_the_beginning_was_made_by_nobody():
    first = Bench().world.witness.changes[0]
    assert (first.number, first.by, first.at <= NOON) == (0, None, True)


def test_changes_and_showings_have_one_order():
    made = bench()
    made.get(GREEN)
    made.deploy()
    made.get(GREEN)

    witness = made.world.witness
    orders = [*(one.order for one in witness.changes), *(one.order for one in witness.shown)]
    first, _, last = shown(made)
    written = [one.order for one in witness.changes if one.key == KEY and one.by == "medic"]
    assert len(set(orders)) == len(orders)
    assert first.order < min(written) < max(written) < last.order


def with_roles(**world: Any) -> Bench:
    workspace = {"name": "mlw-prod", "endpoints": [{"name": "credit-scoring", "identities": ["id-credit"]}]}
    return Bench(workspaces=[workspace], role_assignments=[], **world)


def assign(made: Bench, name: str = ASSIGNED, principal: str = ASSIGNED) -> None:
    definition = f"/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}"
    body = {"properties": {"roleDefinitionId": definition, "principalId": principal}}
    answer = made.ask("PUT", f"{ROLES}/{name}", body, headers={"x-ms-client-request-id": "ours"})
    assert answer.status == 201, answer.body


def test_the_assignments_of_a_scope_are_shown_with_their_last_page():
    made = with_roles(page_size=1)
    made.get(ROLES)
    assert [one.number for one in shown(made, SCOPE)] == [0]

    assign(made)
    assign(made, name=ASSIGNED.replace("1", "2"), principal=ASSIGNED.replace("5", "6"))
    page = made.get(ROLES)
    assert len(shown(made, SCOPE)) == 1
    made.follow(page["nextLink"])
    assert [one.number for one in shown(made, SCOPE)] == [0, 2]


def test_rows_that_were_left_out_of_a_whole_list_are_told():
    made = with_roles(faults=[{"kind": "empty-page", "method": "GET", "path": "*/roleAssignments"}])
    assign(made)
    made.get(ROLES)
    made.get(ROLES)
    assert [one.is_true for one in shown(made, SCOPE)] == [False, True]


def test_one_assignment_is_shown_as_it_is_and_when_it_is_gone():
    made = with_roles()
    made.ask("GET", f"{ROLES}/{ASSIGNED}")
    assign(made)
    made.get(f"{ROLES}/{ASSIGNED}")
    made.ask("DELETE", f"{ROLES}/{ASSIGNED}", who="person")
    made.ask("GET", f"{ROLES}/{ASSIGNED}")
    assert [one.number for one in shown(made, f"{ROLES}/{ASSIGNED}".lower())] == [None, 1, None]


def test_a_role_that_is_given_and_taken_away_is_two_changes():
    made = with_roles()
    assign(made)
    made.ask("DELETE", f"{ROLES}/{ASSIGNED}", who="person")
    made.world.roles.assign("person", "id-credit", "AcrPull", "registry")

    given, taken, again = made.world.witness.changes[-3:]
    assert (given.by, given.client_request_id, given.body is None) == ("medic", "ours", False)
    assert (taken.key, taken.by, taken.body) == (given.key, "person", None)
    assert (again.by, [one.number for one in (given, taken, again)]) == ("person", [0, 1, 2])


def test_what_one_request_reads_is_not_shown_by_another():
    made = bench()
    made.world.deployment(None, "green")  # by the story, not over HTTP
    Simulator(made.world)
    assert shown(made) == []
