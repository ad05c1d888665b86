"""Reads the project's pages: their sections and tables, and what they quote."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def page(path: str) -> str:
    """Give the text of a page."""
    return (ROOT / path).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Give what stands below a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no section {heading!r}"
    return found[1]


def table(text: str, *head: str) -> list[list[str]]:
    """Give the rows of the only table whose head begins with these titles."""
    found = tables(text, *head)
    assert len(found) == 1, f"{len(found)} tables begin with {head}"
    return found[0]


def tables(text: str, *head: str) -> list[list[list[str]]]:
    """Give the rows of each table whose head begins with these titles. A bar without a space before it is no border."""
    blocks = re.findall(r"(?:^\|.*(?:\n|\Z))+", text, re.MULTILINE)
    found = [[[cell.strip() for cell in row.strip("|").split(" |")] for row in block.splitlines()] for block in blocks]
    return [rows for first, _, *rows in found if tuple(first[: len(head)]) == head]


def quoted(text: str) -> set[str]:
    """Give what stands in backticks, outside of blocks of code."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)))
