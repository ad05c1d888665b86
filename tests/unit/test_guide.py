"""Every failure of the troubleshooting guide has a cause, and every cause has its place in the guide."""

from pathlib import Path
from typing import Any

import pytest

from remediations import policy
from remediations.catalogue import CAUSES

ENTRIES: Any = policy.read_yaml((Path(__file__).parent.parent / "guide_sections.yaml").read_bytes())
SECTIONS = [entry for entry in ENTRIES if "section" in entry]
FAILURES = [entry for entry in ENTRIES if entry.get("failure", True)]
IDS = {cause.id for cause in CAUSES}


def causes_of(entry):
    parts = entry.get("parts", {}) | entry.get("told_apart", {})
    return {*entry.get("causes", ()), *(cause for causes in parts.values() for cause in causes)}


def name_of(entry):
    return entry.get("section") or entry["newer"]


@pytest.mark.parametrize("entry", FAILURES, ids=name_of)
def test_every_failure_of_the_guide_has_causes(entry):
    assert causes_of(entry) != set()
    assert causes_of(entry) <= IDS
    assert all(entry.get("parts", {}).values())


@pytest.mark.parametrize("entry", [entry for entry in SECTIONS if entry not in FAILURES], ids=name_of)
def test_what_is_no_failure_has_none(entry):
    assert causes_of(entry) == set()


def test_every_cause_stands_in_the_list():
    assert IDS - {cause for entry in FAILURES for cause in causes_of(entry)} == set()
