"""The parser against real failure messages. Collected only when MEDIC_RESEARCH names the research folder."""

import json
import re

import pytest

from remediations.messages import anchors, deepest, parse
from remediations.redaction import redact

# A code that stands there in so many words: JSON in any escaping, the SDK's block, the parentheses that begin a line.
EXPLICIT = re.compile(
    r"""\\*["']code\\*["']\s*:\s*\\*["']([A-Za-z]\w+)|(?<![A-Za-z])Code: "?([A-Z]\w+)|^(?:ERROR: )?\(([A-Z]\w+)\)\s""",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def messages(research):
    return [json.loads(line) for line in (research / "errors/messages.jsonl").read_text().splitlines()]


def test_every_real_message_gives_details(messages):
    assert len(messages) > 100
    silent = [row["id"] for row in messages if deepest(parse(row["message"])) is None]
    assert silent == []


def test_every_explicit_code_of_a_real_message_is_found(messages):
    missed = []
    for row in messages:
        explicit = {next(filter(None, groups)) for groups in EXPLICIT.findall(row["message"])} - {"None"}
        missing = explicit - {detail.code for detail in parse(row["message"])}
        if missing:
            missed.append((row["id"], missing))
    assert missed == []


def test_no_real_message_loses_its_links(messages):
    for row in messages:
        kept = anchors("\n".join(detail.message for detail in parse(row["message"])))
        assert set(anchors(row["message"])) == set(kept), row["id"]


def test_redaction_leaves_real_messages_as_telling_as_they_were(messages):
    for row in messages:
        whole, masked = deepest(parse(row["message"])), deepest(parse(redact(row["message"])))
        assert whole is not None
        assert masked is not None
        assert (masked.code, masked.depth) == (whole.code, whole.depth), row["id"]


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ("A_async_terminal", "OperationNotAllowed"),
        ("B_sync_error", "RequestDisallowedByPolicy"),
        ("C_pascal_case", "Conflict"),
    ],
)
def test_real_status_messages(research, shape, code):
    shapes = json.loads((research / "azure/responses/real_statusMessage_shapes.json").read_text())["responses"]
    detail = deepest(parse(shapes[shape]["statusMessage"]))
    assert detail is not None
    assert detail.code == code


@pytest.mark.parametrize(
    ("text", "code", "begin"),
    [
        ("quota_sync_400", None, "VmSize: Not enough quota available for Standard_F4s_v2"),
        ("resource_not_found_code_none", "ResourceNotFound", "Deployment failed due to timeout"),
        ("acr_resync_hint", "UserError", "Unauthorized error encountered"),
        ("acr_auth_failed", "UserError", "Authentication failed for container registry"),
        ("service_500", "ServiceError", "InternalServerError"),
        ("missing_driver", "MissingDriverProgram", "Could not find driver program"),
        ("endpoint_terminal", "ResourceDeploymentFailure", "The resource write operation failed"),
        ("core_quota", None, "Operation results in exceeding quota limits of Core."),
    ],
)
def test_real_error_texts(research, text, code, begin):
    found = json.loads((research / "azure/responses/real_error_texts.json").read_text())["responses"][text]
    detail = deepest(parse(found.get("text", found.get("body"))))
    assert detail is not None
    assert detail.code == code
    assert detail.message.startswith(begin)
