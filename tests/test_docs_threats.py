"""docs/threat-model.md names tests, roles, secrets and places that there are."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from functions import signin
from local.commands import causes
from remediations.settings import DESCRIPTIONS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
ROLES = {
    json.loads(file.read_text("utf-8"))["roleName"] for file in sorted((ROOT / "infra" / "rbac").glob("*.role.json"))
}
APP_ROLES = {signin.READER, signin.APPROVER, signin.SUBMIT}


@cache
def names_in(file: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def sections() -> dict[str, str]:
    """Give the attackers: each section that begins with `Somebody` and its like, by its heading."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return {
        heading: text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
        if heading.startswith(("Somebody", "An approver", "The supply chain"))
    }


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda part: part)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    assert name in names_in(file)


@pytest.mark.parametrize("heading", sorted(sections()))
def test_of_each_attacker_it_is_said_what_stops_them_which_test_tries_it_and_what_remains(heading: str) -> None:
    text = sections()[heading]
    told = re.findall(r"^\* \*\*([\w ]+?)\.\*\*", text, re.MULTILINE)
    assert told[-2:] == ["Tests", "Remains"]
    assert "::test_" in text


def test_every_role_of_the_app_is_told_by_its_name() -> None:
    named = set(re.findall(r"Endpoint Medic (?:[A-Z]\w+ )?(?:Reader|Operator|Granter|Undo|Store)\b", PAGE))
    assert named == ROLES


def test_every_app_role_is_told_and_no_other() -> None:
    assert set(re.findall(r"Medic\.[A-Z]\w+", PAGE)) == APP_ROLES


def test_every_secret_that_is_named_is_one_that_the_app_is_given() -> None:
    given = "\n".join(file.read_text("utf-8") for file in (ROOT / "infra" / "modules").glob("*.bicep"))
    named = set(re.findall(r"`(medic-[a-z]+-[a-z]+)`", PAGE))
    assert named == set(re.findall(r"SecretName=([\w-]+)", given))


def test_settings_links_and_anchors_lead_somewhere() -> None:
    assert set(re.findall(r"MEDIC_[A-Z_]+", PAGE)) <= set(DESCRIPTIONS)
    for file, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", PAGE):
        target = ROOT / "docs" / file if file else ROOT / "docs" / "threat-model.md"
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^##+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {causes.anchor(heading) for heading in headings}, anchor


def test_every_requirement_is_pinned_to_one_version() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in required if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
