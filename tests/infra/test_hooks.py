"""What the hooks rest on: the Python that is there, commands that exist, and what they share with the templates."""

import ast
import copy
import fcntl
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import az
import postdeploy
import postprovision
import preprovision
import pytest
import registration

from functions import signin
from tests.infra import fake_azure
from tests.infra.azure_world import DEPLOYER, HOME, VAULT, deploy, nothing_in_the_way, project, provision
from tests.infra.fake_azure import COMMANDS

ROOT = Path(__file__).parents[2]
HOOKS = sorted((ROOT / "infra" / "hooks").glob("*.py"))
PAGES = (ROOT / "infra" / "hooks" / "README.md", ROOT / "docs" / "sign-in.md")
ENTRIES = ("preprovision", "postprovision", "postdeploy", "predown")
BICEP = sorted((ROOT / "infra").rglob("*.bicep"))
PYTHONS = [sys.executable, *filter(Path.exists, [Path("/usr/bin/python3")])]  # ours, and what a machine has anyway


# ------------------------------------------------------------------------------------------------ what they run on


@pytest.mark.parametrize("path", HOOKS, ids=lambda path: path.stem)
def test_a_hook_reads_as_python_3_9_and_imports_nothing_that_is_installed(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {*sys.stdlib_module_names, *(other.stem for other in HOOKS)}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ENTRIES)
def test_a_hook_tells_what_it_does_with_any_python_that_is_there(python, name):
    script = str(ROOT / "infra" / "hooks" / f"{name}.py")
    done = subprocess.run([python, "-ESB", script, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert f"azd hooks run {name}" in done.stdout
    assert "--dry-run" in done.stdout


# ------------------------------------------------------------------------------------------------------- running az


def cli(folder: Path, program: str, **environ: str) -> az.Cli:
    """Give one whose `az` is a program of a test."""
    for name in ("az", "azd"):
        (folder / name).write_text(f"#!{sys.executable} -IS\n{program}\n")
        (folder / name).chmod(0o755)
    made = az.Cli({"PATH": str(folder), **environ}, az.Clock())
    made.find_programs()
    return made


@pytest.mark.parametrize("bad", ["a&b", "a|b", "a^b", 'a"b', "%PATH%", "a\nb", "<a", ">a"])
def test_what_a_windows_shell_would_act_on_is_never_an_argument(tmp_path, bad):
    with pytest.raises(az.CommandFailed, match="has a character that no argument may have"):
        cli(tmp_path, "print('{}')").az("rest", "--url", bad)


def test_on_windows_each_word_of_a_command_is_quoted():
    """az.cmd hands its arguments on from inside of an IF (…), which a bare `)` would end."""
    words = ("C:\\Program Files\\az.cmd", "rest", "--url", "https://x/applications(uniqueName='e')", "", "C:\\a b\\")
    assert az.windows_line(words) == (
        '"C:\\Program Files\\az.cmd" "rest" "--url" "https://x/applications(uniqueName=\'e\')" "" "C:\\a b\\\\"'
    )


def test_a_command_that_hangs_is_ended(tmp_path):
    with pytest.raises(az.CommandFailed, match=r"`az provider list --output json` failed: no answer within 0\.5 s"):
        cli(tmp_path, "import time\ntime.sleep(30)").az("provider", "list", timeout_s=0.5)


def test_what_a_command_that_hangs_has_started_is_ended_with_it(tmp_path):
    """`az` is a script, and what hangs is the Python that it starts."""
    file = tmp_path / "held"
    holds = f"import fcntl, time\nf = open({str(file)!r}, 'w')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
    child = f"{holds}print('held', file=f, flush=True)\ntime.sleep(30)"
    started = time.monotonic()
    with pytest.raises(az.CommandFailed, match="no answer within 4 s"):
        cli(tmp_path, f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])").az(
            "account", "show", timeout_s=4
        )
    with file.open() as held:
        assert held.read() == "held\n"
        while time.monotonic() - started < 15:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    pytest.fail("it still runs")


def test_a_program_that_cannot_be_started_is_a_failure(tmp_path):
    made = cli(tmp_path, "print('{}')")
    (tmp_path / "az").write_text("#!/nowhere/python\n")
    with pytest.raises(az.CommandFailed, match="it could not be started"):
        made.az("account", "show")


def test_an_answer_that_is_no_json_is_a_failure(tmp_path):
    with pytest.raises(az.CommandFailed, match="it answered no JSON: 'Hello"):
        cli(tmp_path, "print('Hello')").az("account", "show")


FORMS: list[tuple[str, Any, bool]] = [
    ("{}", object, True),
    ("null", object, True),
    ('{"a": "x", "b": 1}', {"a": str}, True),
    ('{"b": 1}', {"a": (str, None)}, True),
    ('{"b": 1}', {"a": str}, False),
    ('{"a": 1}', {"a": str}, False),
    ("null", {"a": str}, False),
    ("[]", {"a": str}, False),
    ('"x"', {"a": str}, False),
    ("", {"a": str}, False),
    ("", ({"a": str}, None), True),
    ("[]", [{"a": str}], True),
    ('[{"a": "x"}, {}]', [{"a": str}], False),
    ("{}", [{"a": str}], False),
    ('{"x": "y", "z": ""}', {str: str}, True),
    ('{"x": null}', {str: str}, False),
    ('["https://a"]', [re.compile("https://.+")], True),
    ('["a"]', [re.compile("https://.+")], False),
]


@pytest.mark.parametrize(("text", "like", "fits"), FORMS)
def test_an_answer_is_of_the_form_that_is_asked_for_or_refused(tmp_path, text, like, fits):
    made = cli(tmp_path, f"print({text!r})")
    if fits:
        assert made.az("account", "show", like=like) == (json.loads(text) if text else None)
        return
    with pytest.raises(az.Refused, match="`az account show --output json` answered what cannot be read") as refused:
        made.az("account", "show", like=like)
    assert (repr(f"{text}\n") if text else "read: nothing") in str(refused.value)


def test_an_azd_environment_that_is_none_is_refused_and_not_a_traceback(tmp_path):
    for text in ("null", "[]", '"x"', ""):
        with pytest.raises(az.Refused, match="`azd env get-values --output json` answered what cannot be read"):
            cli(tmp_path, f"print({text!r})").read_environment()


class Pretending(az.Cli):
    """One whose programs answer from a world, but for one call, which is answered otherwise.

    Attributes:
        commands: What was called.
    """

    def __init__(self, world: dict[str, Any], odd: tuple[int, str] | None) -> None:
        self.now = 0.0
        super().__init__(world["env"], az.Clock(lambda: self.now, self._sleep))
        self.commands: list[str] = []
        self._world = world
        self._odd = odd

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _run(self, program: str, arguments: tuple[str, ...], timeout_s: float) -> str:
        del timeout_s
        self.commands.append(az.shown(program, arguments))
        if self._odd is not None and len(self.commands) - 1 == self._odd[0]:
            return self._odd[1]
        try:
            given = [*arguments]
            answer = fake_azure.Az(self._world).run(given) if program == "az" else fake_azure.azd(self._world, given)
        except fake_azure.Failed as error:
            raise az.CommandFailed(self.commands[-1], error.words) from error
        return "" if answer is None else json.dumps(answer)


def before_everything() -> dict[str, Any]:
    """Give a world in which preprovision reads all that it ever reads."""
    world = nothing_in_the_way()
    group = f"/subscriptions/{HOME}/resourceGroups/rg-ml"
    workspace = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/mlw"
    world["resources"] = {id_.lower(): {"location": "westeurope"} for id_ in (group, workspace)}
    provision(world)
    del world["env"]["ENDPOINT_MEDIC_VAULT"]
    world["vaults"][VAULT]["secrets"]["medic-teams-url"] = "https://example.com/hook"
    world["env"].update(
        AZURE_PRINCIPAL_ID=DEPLOYER,
        ENDPOINT_MEDIC_TEAMS="true",
        ENDPOINT_MEDIC_GRANT_SCOPES=group,
        ENDPOINT_MEDIC_MODEL_EVENTS=f"westeurope={workspace}",
    )
    return world


def after_preprovision() -> dict[str, Any]:
    world = before_everything()
    preprovision.run(Pretending(world, None))
    world["env"]["ENDPOINT_MEDIC_VAULT"] = VAULT
    return world


def after_deploying() -> dict[str, Any]:
    world = after_preprovision()
    postprovision.run(Pretending(world, None))
    deploy(world)
    return world


@pytest.mark.parametrize(
    ("hook", "world"),
    [(preprovision, before_everything), (postprovision, after_preprovision), (postdeploy, after_deploying)],
    ids=ENTRIES[:3],  # the last asks nothing
)
def test_an_odd_answer_to_any_command_is_no_traceback_and_names_the_command(hook, world, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(preprovision, "ROOT", project(tmp_path))
    monkeypatch.setattr(postdeploy, "EVENTS", preprovision.ROOT / "infra" / "events")
    plain = world()
    usual = Pretending(copy.deepcopy(plain), None)
    hook.run(usual)
    named, told = set(), []
    for number, command in enumerate(usual.commands):
        for odd in ("null", "[]", "{}", '"x"', "", '["x"]', "[null]", '{"value": null}', '{"value": ["x"]}'):
            try:
                hook.run(Pretending(copy.deepcopy(plain), (number, odd)))
            except az.OddAnswer as error:
                named.add(command)
                told.append(
                    (error.words, f"`{command}` answered what cannot be read: {repr(odd) if odd else 'nothing'}")
                )
            except (az.Refused, az.CommandFailed, az.TookTooLong):
                continue  # an answer of the right form, of something that is not there
    assert [re.sub(r"@\S+", "", words) for words, _ in told] == [re.sub(r"@\S+", "", words) for _, words in told]
    unread = "--output none|azd env set|az bicep version|api-version=2022-12-01|configreferences"
    unread += "|--method patch.*appId=|--method post"
    assert named == {command for command in usual.commands if not re.search(unread, command)}


def test_a_command_cannot_ask_anybody(tmp_path):
    assert cli(tmp_path, "import json, sys\nprint(json.dumps(sys.stdin.read()))").az("account", "show") == ""


def test_a_wait_ends_with_its_answer_or_in_time():
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    patient = az.Cli({}, az.Clock(lambda: now[0], sleep))
    assert patient.wait("it", lambda: "there" if now[0] >= 20 else None, most_s=60) == "there"
    assert now == [20.0]
    with pytest.raises(az.TookTooLong, match="it: not within 1 minutes"):
        patient.wait("it", lambda: None, most_s=60)
    assert now == [80.0]


def test_a_private_file_is_gone_also_when_something_went_wrong():
    seen = []

    def fail() -> None:
        with az.private_file("secret") as path:
            seen.append((path, oct(Path(path).stat().st_mode & 0o777), Path(path).read_text()))
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - ours, two lines above
        fail()
    ((path, mode, text),) = seen
    assert (mode, text, Path(path).exists()) == ("0o600", "secret", False)


# ------------------------------------------------------------------------------------------ commands that are told


def texts() -> Iterator[str]:
    """Every piece of text in the hooks, with X for what is filled in; and what is written about them."""
    yield from (path.read_text() for path in PAGES)
    for path in HOOKS:
        tree = ast.parse(path.read_text())
        filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in filled for part in node.values}
        for one in filled:
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in one.values)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                yield node.value


def told() -> list[str]:
    """Commands that a person is told to type: up to the remark or the next line."""
    found = re.findall(
        r"(?:^|[\s(:`])(az [a-z][^\n`]*?)(?=\)|`|\s{3,}|\n|$)", "\n".join(texts()).replace(" | xargs -r -n 1 ", "\n")
    )
    return sorted(set(found))


def test_each_az_command_that_a_person_is_told_is_one():
    commands = [line for line in told() if re.match(r"az (?!and )[a-z-]+ ", line)]
    assert len(commands) >= 15
    for line in commands:
        words = re.match(r"az ((?:[a-z][a-z-]*(?= |$) ?)+)", line)
        assert words is not None, line
        name = words[1].strip()
        assert name in COMMANDS, line
        options = {alias for group in COMMANDS[name] for alias in group.lstrip("!").split()} | {"--query", "--output"}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", line)) <= options, line


def test_each_azd_command_that_a_person_is_told_is_one():
    verbs = {found for text in texts() for found in re.findall(r"(?:\b|X)azd ((?:auth|env|hooks) [a-z-]+)", text)}
    assert verbs == {"auth login", "env get-value", "env new", "env set", "hooks run"}


if shutil.which("az"):  # without an Azure CLI there is nothing to ask: az_commands.json holds what one said

    @pytest.mark.parametrize("command", sorted(COMMANDS))
    def test_the_installed_azure_cli_has_each_command_and_the_options_that_are_used(command):
        done = subprocess.run(
            ["az", *command.split(), "--help"], capture_output=True, text=True, timeout=120, check=True
        )
        used = {option for text in texts() for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
        recorded = {alias for group in COMMANDS[command] for alias in group.lstrip("!").split()}
        there = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout))
        assert used & recorded <= there


# ---------------------------------------------------------------------------------------- what is shared with others


def test_the_app_roles_are_those_that_the_app_asks_for():
    roles = json.loads((ROOT / "infra" / "entra" / "app-roles.json").read_text())
    assert {role["value"]: role["allowedMemberTypes"] for role in roles} == {
        signin.SUBMIT: ["Application", "User"],
        signin.APPROVER: ["User"],
        signin.READER: ["User", "Application"],
    }
    assert len({role["id"] for role in roles}) == 3
    assert all(
        set(role) == {"id", "value", "displayName", "description", "allowedMemberTypes", "isEnabled"} for role in roles
    )
    assert all(role["isEnabled"] for role in roles)


def test_the_page_on_sign_in_names_the_ids_that_are_used():
    page = PAGES[1].read_text()
    roles = {role["value"]: role["id"] for role in registration.ROLES}
    assert re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", page) == [
        registration.GRAPH,
        roles["Medic.Approver"],
    ]
    assert f'--scope "{registration.SIGN_IN}"' in page
    assert registration.CREDENTIAL in page


def test_every_namespace_that_the_templates_use_is_looked_for():
    used = {name for path in BICEP for name in re.findall(r"'(Microsoft\.\w+)/[\w/]+@", path.read_text())}
    assert used - {"Microsoft.Authorization", "Microsoft.Resources"} == set(preprovision.PROVIDERS)


def test_every_value_that_a_hook_needs_is_azds_or_an_output_or_kept_by_a_hook():
    outputs = re.findall(r"^output (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE)
    known = {*outputs, "AZURE_ENV_NAME", "AZURE_SUBSCRIPTION_ID", "ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"}
    assert {*postprovision.NEEDED, *postdeploy.NEEDED} <= known


def test_the_values_that_preprovision_allows_are_those_of_the_template():
    text = (ROOT / "infra" / "main.bicep").read_text()
    declared = re.findall(r"^@allowed\(\[(.*)\]\)\nparam (\w+) string = '(.*)'$", text, re.MULTILINE)
    assert len(declared) == text.count("@allowed(")
    given = json.loads((ROOT / "infra" / "main.parameters.json").read_text())["parameters"]
    variables = {name: re.split(r"\W+", value["value"])[1] for name, value in given.items()}
    allowed = {variables[name]: (default, set(re.findall(r"'(.*?)'", values))) for values, name, default in declared}
    assert {name: (each[0], set(each)) for name, each in preprovision.ALLOWED.items()} == {
        **allowed,
        **dict.fromkeys(preprovision.HOOK_ONLY, ("false", {"false", "true"})),
    }


def test_every_value_that_preprovision_judges_is_read_by_the_template():
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    read = {*re.findall(r"\$\{(\w+)", parameters), *preprovision.HOOK_ONLY}
    judged = set(re.findall(r'"((?:ENDPOINT_)?MEDIC_\w+)"', (ROOT / "infra" / "hooks" / "preprovision.py").read_text()))
    outputs = {"ENDPOINT_MEDIC_VAULT", "ENDPOINT_MEDIC_RECORDS_ID"}
    assert judged - outputs <= read


@pytest.mark.parametrize("name", ["failures", "models"])
def test_the_templates_of_events_take_what_postdeploy_gives(name):
    text = (postdeploy.EVENTS / f"{name}.bicep").read_text()
    required = re.findall(r"^param (\w+) \w+$", text, re.MULTILINE)
    assert set(required) == {"topicName", "functionAppId", "recordsId"}
    assert f"/functions/{postdeploy.FUNCTION}'" in text
