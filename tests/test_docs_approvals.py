"""docs/approvals.md names what there is: channels, kinds of messages, roles and pages."""

import re
from pathlib import Path

import pytest

from functions import approvals, signin, triggers
from remediations.approval.card import MAX_BYTES
from remediations.approval.notice import Kind

PAGE = (Path(__file__).parent.parent / "docs" / "approvals.md").read_text(encoding="utf-8")
CHANNELS = ("MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL", "MEDIC_OUTCOME_TOPIC", "MEDIC_NOTICES")


def test_no_channel_is_left_out():
    assert set(CHANNELS) <= set(re.findall(r"MEDIC_[A-Z_]+", PAGE))


def test_every_kind_of_event_is_named():
    listed = re.search(r"EndpointMedic\.Incident\.<([^>]+)>", PAGE)
    assert listed is not None
    assert set(listed[1].split(", ")) == {"".join(map(str.capitalize, kind.split("-"))) for kind in Kind}


@pytest.mark.parametrize("role", [signin.READER, signin.APPROVER, signin.SUBMIT])
def test_every_app_role_is_told(role):
    assert f"| `{role}` |" in PAGE


def test_every_page_is_told():
    source = Path(triggers.__file__).read_text(encoding="utf-8")
    routes = set(re.findall(r'\("([a-z]+(?:/\{?\w+\}?)*)", \w+\)', source)) | {
        "approvals/{token}",
        "incidents/{id}/undo",
    }
    told = {re.sub(r"<(\w+)>", r"{\1}", path) for path in re.findall(r"^\| `/api/([^`]+)` \|", PAGE, re.MULTILINE)}
    assert told == routes - {"approvals", "assets/{name}"}


def test_the_limits_are_those_of_the_code():
    assert f"at most {MAX_BYTES // 1024} KB" in PAGE
    assert f"answer {approvals._ANSWERS.most} times a minute and look {approvals._LOOKS.most} times" in PAGE
    assert approvals._STRANGERS.most == 10
    assert "recorded ten times a minute" in PAGE
