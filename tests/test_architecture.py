"""The house stays as it was drawn: who may import whom, and that what is listed is what is there."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remediations import actions, catalogue

ROOT = Path(__file__).parents[1]
OURS = ("function_app", "functions", "remediations", "local", "tests")
# Heavy libraries that a cold start must not pay for.
LAZY = {"azure.ai.ml", "azure.mgmt", "azure.storage", "azure.identity", "cryptography", "jinja2", "yaml"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, *, at_top_only: bool = False) -> Iterator[str]:
    """Every module that a file imports; `from package import name` also as ``package.name``."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def starts(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def wrong(paths: list[Path], *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{module_of(path)} imports {name}"
        for path in paths
        for name in imports_of(path)
        if starts(name, *forbidden) and not starts(name, *but)
    ]


# ------------------------------------------------------------------------------------------------- directions


def test_what_is_deployed_imports_neither_the_bench_nor_the_tests():
    assert wrong([ROOT / "function_app.py", *files("functions", "remediations")], "local", "tests") == []


def test_the_domain_knows_nothing_of_the_functions_around_it():
    assert wrong(files("remediations"), "functions", "function_app") == []


def test_only_the_composition_root_and_the_bench_import_adapters():
    paths = [
        path
        for path in [ROOT / "function_app.py", *files("functions", "remediations")]
        if path.parent.name != "adapters"
    ]
    assert {line.split()[0] for line in wrong(paths, "remediations.adapters")} == {"remediations.services"}


def test_only_adapters_and_functions_know_azure():
    paths = [path for path in files("remediations") if path.parent.name != "adapters"]
    libraries = ("azure", "durabletask", "requests", "httpx")
    assert wrong(paths, *libraries) == ["remediations.services imports azure.core.credentials.AzureNamedKeyCredential"]


def test_adapters_know_ports_and_values_and_no_stage():
    stages = (
        "admission",
        "alerts",
        "capacity",
        "classification",
        "discovery",
        "execution",
        "guards",
        "intake",
        "planning",
        "situation",
        "surroundings",
        "trail",
    )
    assert (
        wrong(files("remediations/adapters"), *(f"remediations.{stage}" for stage in (*stages, "services", "actions")))
        == []
    )


def test_the_simulator_imports_nothing_of_ours():
    assert wrong(files("local/arm"), *OURS, but=("local.arm",)) == []


def test_the_judge_of_a_round_shares_no_code_with_what_it_judges():
    judge = [ROOT / f"local/chaos/{name}.py" for name in ("book", "checking", "laws", "leaks", "played", "rules")]
    shared = [name for path in judge for name in imports_of(path) if starts(name, *OURS)]
    assert [name for name in shared if not starts(name, "local.arm", "local.chaos")] == []
    own = {name.split(".")[2] for name in shared if name.startswith("local.chaos.")}
    assert own <= {path.stem for path in judge}


def test_the_catalogue_and_the_guards_touch_no_port():
    paths = [*files("remediations/catalogue", "remediations/approval"), ROOT / "remediations/guards.py"]
    assert (
        wrong(
            paths, "remediations.ports", "remediations.services", "remediations.execution", "remediations.trail.Trail"
        )
        == []
    )


@pytest.mark.parametrize(
    "stage",
    ["intake", "alerts", "classification", "planning", "guards", "verification", "idle", "spec", "codec", "messages"],
)
def test_a_pure_stage_asks_neither_the_clock_nor_chance_nor_the_outside(stage):
    tree = ast.parse((ROOT / f"remediations/{stage}.py").read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {function.attr for function in calls if isinstance(function, ast.Attribute)}
    assert called.isdisjoint({"now", "utcnow", "today", "uuid4", "token_hex", "getenv", "sleep"})
    assert (
        wrong([ROOT / f"remediations/{stage}.py"], "os", "random", "secrets", "time", "uuid", "requests", "structlog")
        == []
    )


def test_an_orchestrator_does_no_i_o():
    allowed = ("azure.durable_functions", "durabletask", "collections.abc", "datetime", "typing")
    path = ROOT / "functions/orchestrators.py"
    assert [name for name in imports_of(path) if not starts(name, *allowed)] == []


def test_nothing_heavy_is_imported_at_the_top_of_what_a_cold_start_loads():
    paths = [ROOT / "function_app.py", *files("functions", "remediations")]
    loaded = [path for path in paths if path.parent.name != "adapters"]
    heavy = [
        f"{module_of(path)}: {name}"
        for path in loaded
        for name in imports_of(path, at_top_only=True)
        if starts(name, *LAZY)
    ]
    assert heavy == []


# ------------------------------------------------------------------------------------- what is listed is there


def called_names() -> set[str]:
    """The first argument of every call of an activity or a sub-orchestration in the walk."""
    tree = ast.parse((ROOT / "functions/orchestrators.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"call_activity", "call_sub_orchestrator"}
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_every_activity_and_orchestration_that_the_walk_names_is_registered():
    # In a process of its own: an app can be indexed once.
    script = (
        "import json, function_app\n"
        "print(json.dumps({f.get_function_name(): f.get_trigger().type for f in function_app.app.get_functions()}))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    registered = json.loads(done.stdout.splitlines()[-1])
    called = called_names()
    assert {"open_incident", "collect", "judge", "execute", "verify", "finish", "gather", "repair", "follow"} <= called
    assert called - registered.keys() == set()
    own = {name: kind for name, kind in registered.items() if not name.startswith("BuiltIn__")}
    activities = {name for name, kind in own.items() if kind == "activityTrigger"}
    assert activities - called == set(), "an activity that nobody calls"
    for name in ("on_deployment_failure", "submit", "sweep", "purge", "desk", "remediate", "health", "approval"):
        assert name in registered


def names_in(package) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__)}


def test_every_action_is_listed_under_its_own_name():
    modules = names_in(actions) - {"action", "rerun"}
    assert {name.replace("_", "-") for name in modules} == set(actions.ACTIONS)
    for name, action in actions.ACTIONS.items():
        told = importlib.import_module(f"remediations.actions.{name.replace('-', '_')}").__doc__ or ""
        assert action.name == name
        assert {"When", "Effect", "Undo"} <= set(re.findall(r"^(\w+):", told, re.MULTILINE)), name


def test_every_family_of_causes_is_listed():
    families = names_in(catalogue) - {"cause", "checks", "index", "literals", "matchers", "texts", "words"}
    modules = [importlib.import_module(f"remediations.catalogue.{family}") for family in sorted(families)]
    listed = [cause for module in modules for cause in module.CAUSES]
    assert sorted(cause.id for cause in catalogue.CAUSES) == sorted(cause.id for cause in listed)


def test_every_cause_names_an_action_that_is_here_or_none():
    assert {cause.action for cause in catalogue.CAUSES} <= {None, *actions.ACTIONS}


def test_every_action_has_its_test():
    for name in actions.ACTIONS:
        assert (ROOT / f"tests/unit/test_{name.replace('-', '_')}.py").exists(), name
