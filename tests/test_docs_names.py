"""What a page names is there: links, settings, roles, secrets."""

import json
import re

import pytest

from functions import signin
from local.commands import causes
from remediations.settings import DESCRIPTIONS
from tests.pages import ROOT, page

PAGES = ["README.md", "infra/README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
TEXTS = {path: page(path) for path in PAGES}
MODULES = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "infra/modules").glob("*.bicep")))

ROLES = {json.loads(file.read_text("utf-8"))["roleName"] for file in (ROOT / "infra/rbac").glob("*.role.json")}
APP_ROLES = {signin.READER, signin.APPROVER, signin.SUBMIT}
NO_SETTINGS = {"MEDIC_TASK_HUB", "MEDIC_RESEARCH", "MEDIC_SCREENSHOTS"}  # of host.json, and of tests
SECRETS = set(re.findall(r"SecretName=([\w-]+)", MODULES))


def prose(text: str) -> str:
    """Give a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(path: str) -> None:
    for file, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", prose(TEXTS[path])):
        target = (ROOT / path).parent / file if file else ROOT / path
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target.read_text("utf-8")), re.MULTILINE)
            assert anchor in {causes.anchor(heading) for heading in headings}, f"{file}#{anchor}"


@pytest.mark.parametrize("path", PAGES)
def test_every_setting_role_and_secret_that_is_named_is_there(path: str) -> None:
    text = TEXTS[path]
    assert set(re.findall(r"(?<![A-Z_])MEDIC_[A-Z_]+", text)) - DESCRIPTIONS.keys() - NO_SETTINGS == set()
    besides = re.sub(rf"(?:{'|'.join(sorted(ROLES, key=len, reverse=True))})\b", "", text)
    assert re.findall(r"Endpoint Medic [A-Z]\w+", besides) == []
    assert set(re.findall(r"\bMedic\.[A-Z]\w+", text)) - APP_ROLES == set()
    assert set(re.findall(r"\bmedic-[a-z]+-(?:keys?|url)\b", text)) - SECRETS == set()


@pytest.mark.parametrize("name", sorted(ROLES | APP_ROLES | SECRETS))
def test_the_threat_model_tells_every_role_and_every_secret(name: str) -> None:
    assert name in TEXTS["docs/threat-model.md"]
