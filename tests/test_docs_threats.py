"""docs/threat-model.md names tests that there are, and says of each attacker what has to be said."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.pages import page

ROOT = Path(__file__).parent.parent
PAGE = page("docs/threat-model.md")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


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


def test_every_requirement_is_pinned_to_one_version() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in required if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
