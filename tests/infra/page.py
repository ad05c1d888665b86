"""What docs/monitoring.md says in its tables."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/monitoring.md").read_text("utf-8")


def table(heading: str) -> list[list[str]]:
    """Give the cells of the table below a heading of the page, without its head."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/monitoring.md has no section {heading!r}"
    rows = [line for line in found[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" |")] for row in rows[2:]]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))
