"""The list of the guide's sections against the guide. Collected only when MEDIC_RESEARCH names the folder."""

import re

from tests.unit.test_guide import SECTIONS


def headings(guide):
    return [re.sub(r"[#\s]+", " ", line).strip() for line in guide.splitlines() if re.match(r"#{2,5} (?!\[)", line)]


def body(guide, heading):
    """Give what stands below a heading, up to the next one."""
    found = re.search(
        rf"^#{{2,5}} {re.escape(heading)}\s*\n(.*?)(?=^#{{2,5}} (?!\[)|\Z)", guide, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def test_the_list_has_the_sections_of_the_guide_in_its_order(research):
    guide = (research / "guide.md").read_text()
    assert [entry["section"] for entry in SECTIONS] == headings(guide)


def test_every_bullet_and_status_code_of_the_guide_is_a_part(research):
    guide = (research / "guide.md").read_text()
    for entry in SECTIONS:
        told = " ".join(body(guide, entry["section"]).split())
        for part in entry.get("parts", {}):
            assert all(words in told for words in part.split(" | ")), (entry["section"], part)
    for table in (
        "Common error codes for managed online endpoints",
        "Common error codes for kubernetes online endpoints",
    ):
        codes = set(re.findall(r"^\| (\d{3}) ", body(guide, table), re.MULTILINE)) - {"200"}
        parts = next(entry for entry in SECTIONS if entry["section"] == table)["parts"]
        assert codes == {part.split(" | ")[0] for part in parts}
