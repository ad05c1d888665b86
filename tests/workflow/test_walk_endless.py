"""What never comes: the end of an operation, an answer to a read. A person is told, and nothing is sent."""

from collections.abc import Iterator

import pytest

from tests.workflow.theatre import Theatre


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    # Two hours of polls in a second.
    with Theatre(tmp_path_factory.mktemp("endless"), scale=20_000) as opened:
        yield opened


def test_an_operation_that_never_ends_is_inconclusive(tell):
    endless = {"kind": "slow", "after": 1, "lasts": 1e7}
    story = tell({"hazards": [{"kind": "higher-priority", "remaining": 1}, endless]})
    story.put()
    assert story.ending() == ("inconclusive", "mlw-demo/credit-scoring/green is still Updating")
    assert story.effects() == ["PUT green"]
    assert len(story.sends()) == 1
    story.check_promises()


def test_a_resource_that_cannot_be_read_is_never_written(tell):
    hidden = {"kind": "malformed", "method": "GET", "path": "*/deployments/green", "principal": "medic", "times": None}
    story = tell({"faults": [hidden]})
    story.put()
    assert story.ending()[0] == "advised"
    assert story.sends() == []
    assert story.records(stage="evidence")[0].facts["resource"] == "unknown (the answer is no JSON)"
