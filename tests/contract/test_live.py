"""tests/live/: collected only where it is asked for, known to run, and each test says what its answer is for.

Nothing here speaks to Azure: the live tests run in a process of their own against the simulator and Azurite. What those
do not play, the app's own resource and an immutability policy, is played here, or known to fail.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from local.arm import Server, World
from local.arm.faults import Answer
from local.arm.routes import ROUTES
from local.arm.routing import Ask, Route
from tests.contract.fresh_pytest import Ran, run
from tests.workflow.theatre import Theatre

ROOT = Path(__file__).parents[2]
LIVE = ROOT / "tests" / "live"
PARTS = ("Question:", "Assumed:", "Where:", "Otherwise:")
SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw-scratch"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/func-medic"
GREEN = f"{WORKSPACE}/onlineEndpoints/credit-scoring/deployments/green"


def live(*arguments: str, **environment: str) -> Ran:
    """Run pytest on tests/live as somebody would who has set these variables."""
    not_kept = ("MEDIC_", "AZURE_", "PYTEST_")  # pytest tells there that these very tests are shared
    kept = {name: value for name, value in os.environ.items() if not name.startswith(not_kept) and name != "CI"}
    return run(["-p", "no:cacheprovider", "-q", *arguments], {**kept, "PYTHONPATH": str(ROOT), **environment}, ROOT)


def files_of(ran: Ran) -> set[str]:
    return set(re.findall(r"^tests/live/(test_\w+)\.py::", ran.stdout, re.MULTILINE))


def outcomes(ran: Ran) -> dict[str, str]:
    """Give how each test ended, by its name without parameters; the worst of those that have some."""
    worst: dict[str, str] = {}
    for outcome, name in re.findall(
        r"^(PASSED|SKIPPED|FAILED|ERROR) tests/live/test_\w+\.py::(\w+)", ran.stdout, re.MULTILINE
    ):
        worst[name] = max(worst.get(name, ""), outcome, key=["", "PASSED", "SKIPPED", "FAILED", "ERROR"].index)
    return worst


# ------------------------------------------------------------------------------------------------ what is collected


def test_the_gate_collects_none_of_them():
    ran = live("--collect-only", "tests/live")
    assert (ran.returncode, files_of(ran)) == (5, set()), ran.stdout


@pytest.mark.parametrize(
    ("variable", "value", "files"),
    [
        ("MEDIC_LIVE_DEPLOYMENT", GREEN, {"test_reading", "test_rights"}),
        ("MEDIC_LIVE_EVENTS", "yes", {"test_events"}),
        ("MEDIC_LIVE_APP", SITE, {"test_app"}),
        ("MEDIC_LIVE_CONTAINER", "scratch", {"test_store"}),
        ("MEDIC_LIVE_WRITE", WORKSPACE, {"test_writing"}),
    ],
)
def test_a_variable_turns_on_what_it_is_for_and_nothing_that_writes_besides(variable, value, files):
    ran = live("--collect-only", "tests/live", **{variable: value})
    assert (ran.returncode, files_of(ran)) == (0, files), ran.stdout


@pytest.mark.parametrize("more", [["tests/live/test_writing.py"], ["tests/live", "-n", "1"]], ids=["named", "spread"])
def test_nothing_runs_that_was_not_asked_for_or_not_in_order(more):
    asked = {} if more == ["tests/live/test_writing.py"] else dict.fromkeys(variables(), "x")
    ran = live(*more, **asked)
    assert (ran.returncode, outcomes(ran)) == (5, {}), ran.stdout


def test_nothing_runs_in_ci_nor_what_was_refused():
    asked = dict.fromkeys(variables(), "x")
    assert files_of(live("--collect-only", "tests/live", **asked, CI="true")) == set()
    assert "test_events" not in files_of(live("--collect-only", "tests/live", **asked | {"MEDIC_LIVE_EVENTS": "no"}))


@pytest.mark.parametrize("container", ["trail", "evidence", "deadletters"])
def test_the_app_s_own_containers_are_not_for_trying(container):
    ran = live("tests/live/test_store.py", MEDIC_LIVE_CONTAINER=container)
    assert set(outcomes(ran).values()) == {"ERROR"}
    assert "that one is the app's own" in ran.stdout


def test_all_of_them_are_marked_so_that_they_can_be_left_out():
    ran = live("--collect-only", "-m", "not azure", "tests/live", **dict.fromkeys(variables(), "x"))
    assert (ran.returncode, files_of(ran)) == (5, set()), ran.stdout


# ------------------------------------------------------------------------------------------------- what they tell


def variables() -> set[str]:
    """Give the variables that the tests read."""
    return {name for file in LIVE.glob("*.py") for name in re.findall(r"MEDIC_LIVE_[A-Z]+", file.read_text("utf-8"))}


def told() -> Iterator[tuple[str, str]]:
    for file in sorted(LIVE.glob("test_*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{file.stem}::{node.name}", ast.get_docstring(node) or ""


@pytest.mark.parametrize(("name", "words"), list(told()))
def test_each_says_what_is_asked_and_what_to_change(name, words):
    lines = [next((part for part in PARTS if line.startswith(part)), "") for line in words.splitlines()]
    assert [part for part in lines if part] == list(PARTS)


@pytest.mark.parametrize(("name", "words"), list(told()))
def test_what_each_says_is_assumed_stands_where_it_says(name, words):
    place = re.search(r"^Where: (\S+)(?: (\w+))?$", words, re.MULTILINE)
    assert place is not None
    file = ROOT / place[1]
    assert file.exists(), f"{file} is not there"
    if place[2] is not None:
        defined = rf"^\s*(?:def|async def|class) {place[2]}\b|^{place[2]}\b"
        assert re.search(defined, file.read_text("utf-8"), re.MULTILINE)


def test_the_readme_tells_every_variable_and_every_file():
    readme = (LIVE / "README.md").read_text("utf-8")
    assert set(re.findall(r"MEDIC_LIVE_[A-Z]+", readme)) == variables()
    assert set(re.findall(r"`(test_\w+\.py)`", readme)) == {file.name for file in LIVE.glob("test_*.py")}


# ---------------------------------------------------------------------------------------- that they run: read only


def test_reading_and_events_run_after_a_real_walk(tmp_path):
    """The simulator's cancellation raised an event, and a dry run of the app took it."""
    with Theatre(tmp_path, mode="dry-run") as theatre:
        story = theatre.tell()
        story.put()
        story.ending()
        green = f"{story.resource}/deployments/green"
        ran = live(
            "-rA",
            "tests/live/test_reading.py",
            "tests/live/test_events.py",
            MEDIC_ARM_URL=theatre.server.url,
            MEDIC_ARM_TOKEN="sim-medic",
            MEDIC_STORE=str(tmp_path),
            MEDIC_LIVE_DEPLOYMENT=green,
            MEDIC_LIVE_EVENTS="yes",
        )
        writes = [entry for entry in story.world.ledger if entry.principal == "medic" and entry.method != "POST"]
        story.world.close()
    ends = outcomes(ran)
    assert set(ends.values()) == {"PASSED"}, ran.stdout
    assert len(ends) == sum(name.startswith(("test_reading::", "test_events::")) for name, _ in told())
    assert writes == []


# -------------------------------------------------------------------------------------- that they run: app, rights


def _operations(ask: Ask) -> Answer:
    """Azure's list of operations: what the role files name, and as many levels deep as the real one."""
    provider = ask.names["namespace"]
    listed: dict[str, list[dict[str, Any]]] = {"actions": [], "dataActions": []}
    for file in sorted((ROOT / "infra" / "rbac").glob("*.role.json")):
        for permission in json.loads(file.read_text("utf-8"))["permissions"]:
            for field, found in listed.items():
                found += [
                    {"name": name.replace("*", "action"), "isDataAction": field == "dataActions"}
                    for name in permission[field]
                    if name.startswith(f"{provider}/")
                ]
    types = [{"name": "x", "operations": listed["actions"], "resourceTypes": [{"operations": listed["dataActions"]}]}]
    return Answer(status=200, body={"name": provider, "operations": [], "resourceTypes": types})


def _site(ask: Ask) -> Answer:
    return Answer(status=200, body={"properties": {"defaultHostName": ask.world.base_url.removeprefix("http://")}})


@cache
def _names() -> list[str]:
    """Give the functions of the app; in another process, since they may be asked for once in each."""
    listed = "import json, function_app as f; print(json.dumps([x.get_function_name() for x in f.app.get_functions()]))"
    ran = subprocess.run([sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True)
    return list(json.loads(ran.stdout))


def _functions(_: Ask) -> Answer:
    return Answer(status=200, body={"value": [{"name": f"func-medic/{name}"} for name in _names()]})


def _references(_: Ask) -> Answer:
    row = {"name": "MEDIC_ANCHOR_KEY", "properties": {"status": "Resolved", "reference": "@Microsoft.KeyVault(…)"}}
    return Answer(status=200, body={"value": [row]})


def _health(_: Ask) -> Answer:
    return Answer(status=200, body={"status": "ok", "mode": "dry-run"})


def _sign_in(_: Ask) -> Answer:
    return Answer(status=302, headers={"Location": "https://login.example/authorize"})


def _no_key(_: Ask) -> Answer:
    return Answer(status=401)


_SITES = "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Web/sites/{site}"
MORE = (
    Route("GET", "operations", "/providers/Microsoft.Authorization/providerOperations/{namespace}", "", _operations),
    Route("GET", "site", _SITES, "", _site),
    Route("GET", "site", _SITES + "/functions", "", _functions),
    Route("GET", "site", _SITES + "/config/configreferences/appsettings", "", _references),
    Route("GET", "app", "/api/health", "", _health, is_open=True),
    Route("GET", "app", "/api/{page}", "", _sign_in, is_open=True),
    Route("POST", "app", "/api/events", "", _sign_in, is_open=True),
    Route("GET", "app", "/runtime/webhooks/durabletask", "", _sign_in, is_open=True),
    Route("POST", "app", "/runtime/webhooks/EventGrid", "", _no_key, is_open=True),
)

WORLD: dict[str, Any] = {
    "subscription": SUBSCRIPTION,
    "workspaces": [{"name": "mlw-scratch", "endpoints": [{"name": "credit-scoring"}]}],
    "operation_seconds": 0.5,
    "activity_log_delay": 0,
    "hazards": [
        {
            "kind": "broken",
            "at": "request",
            "spec": {"sku.capacity": "10000"},
            "code": "BadArgument",
            "message": "The capacity is out of range.",
        },
        {
            "kind": "broken",
            "spec": {"properties.codeConfiguration.scoringScript": "medic-live-*"},
            "code": "BadArgument",
            "message": "User container has crashed or terminated.",
        },
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(World.from_dict(WORLD), (*MORE, *ROUTES))
    running.start()
    yield running
    running.close()


def test_the_tests_of_an_app_and_of_rights_run(server):
    ran = live(
        "-rA",
        "tests/live/test_app.py",
        "tests/live/test_rights.py",
        MEDIC_ARM_URL=server.url,
        MEDIC_ARM_TOKEN="sim-medic",
        MEDIC_LIVE_APP=SITE,
        MEDIC_LIVE_DEPLOYMENT=GREEN,
    )
    ends = outcomes(ran)
    assert set(ends.values()) == {"PASSED"}, ran.stdout
    assert len(ends) == sum(name.startswith(("test_app::", "test_rights::")) for name, _ in told())


@pytest.mark.parametrize(
    ("changed", "fails"),
    [
        pytest.param(
            Route("POST", "app", "/runtime/webhooks/EventGrid", "", _sign_in, is_open=True),
            "test_event_grid_is_not_asked_to_sign_in",
            id="sign-in stands before Event Grid",
        ),
        pytest.param(
            Route("GET", "app", "/runtime/webhooks/durabletask", "", _health, is_open=True),
            "test_all_else_asks_to_sign_in",
            id="the task hub answers anybody",
        ),
        pytest.param(
            Route("GET", "site", _SITES + "/functions", "", lambda _: Answer(status=200, body={"value": []})),
            "test_the_host_has_loaded_every_function",
            id="no function was loaded",
        ),
    ],
)
def test_the_tests_of_an_app_find_what_is_wrong_with_it(changed, fails):
    running = Server(World.from_dict(WORLD), (changed, *MORE, *ROUTES))
    running.start()
    ran = live(
        "-rA", "tests/live/test_app.py", MEDIC_ARM_URL=running.url, MEDIC_ARM_TOKEN="sim-medic", MEDIC_LIVE_APP=SITE
    )
    running.close()
    assert {name for name, end in outcomes(ran).items() if end != "PASSED"} == {fails}, ran.stdout


# ------------------------------------------------------------------------------------------- that they run: writing


def spec_in(folder: Path) -> Path:
    file = folder / "body.json"
    body = {
        "location": "westeurope",
        "sku": {"name": "Default", "capacity": 1},
        "properties": {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "environmentId": f"{WORKSPACE}/environments/sklearn-inf/versions/12",
            "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/1f0c/versions/1", "scoringScript": "score.py"},
        },
    }
    file.write_text(json.dumps(body), "utf-8")
    return file


def write(server: Server, folder: Path) -> Ran:
    return live(
        "-rA",
        "tests/live/test_writing.py",
        MEDIC_ARM_URL=server.url,
        MEDIC_ARM_TOKEN="sim-medic",
        MEDIC_LIVE_WRITE=WORKSPACE,
        MEDIC_LIVE_SPEC=str(spec_in(folder)),
    )


def left(server: Server) -> list[str]:
    """Give what of the tests' own is still there."""
    return [key for key in server.world.resources if "medic-live-" in key]


def test_the_tests_that_write_run_and_leave_nothing(server, tmp_path):
    ran = write(server, tmp_path)
    ends = outcomes(ran)
    assert set(ends.values()) == {"PASSED"}, ran.stdout
    assert len(ends) == sum(name.startswith("test_writing::") for name, _ in told())
    assert left(server) == []
    others = {entry.path for entry in server.world.ledger if "/onlineEndpoints/medic-live-" not in entry.path}
    assert others == set()


def test_the_tests_that_write_leave_nothing_also_where_they_fail(tmp_path):
    masked = Server(World.from_dict({**WORLD, "environment_variables": "masked", "failed_update_shows": "new"}))
    masked.start()
    ran = write(masked, tmp_path)
    remaining = left(masked)
    masked.close()
    failed = {name for name, end in outcomes(ran).items() if end == "FAILED"}
    assert failed == {
        "test_an_accepted_create_names_its_operation_and_shows_its_variables",
        "test_a_create_ends_as_the_spec_that_was_sent",
        "test_after_a_failed_update_get_shows_the_old_spec",
    }, ran.stdout
    assert remaining == []


# --------------------------------------------------------------------------------------------- that they run: store


def test_the_tests_of_a_store_run_and_miss_the_immutability_that_azurite_lacks(azurite):
    name, key = azurite.credential.named_key
    with BlobServiceClient(azurite.endpoint, credential=azurite.credential) as client:
        client.create_container("scratch")
    ran = live(
        "-rA",
        "tests/live/test_store.py",
        MEDIC_STORE=azurite.endpoint,
        AZURITE_ACCOUNTS=f"{name}:{key}",
        MEDIC_LIVE_CONTAINER="scratch",
    )
    assert outcomes(ran) == {
        "test_a_record_is_created_once": "PASSED",
        "test_a_record_grows_at_its_end_alone": "PASSED",
        "test_nothing_is_overwritten": "FAILED",
        "test_nothing_is_deleted": "FAILED",
    }, ran.stdout
