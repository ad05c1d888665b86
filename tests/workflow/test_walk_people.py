"""People in the walk: who is told what, how many have to approve, and what a channel that is down changes: nothing."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from functions import approvals
from local import answering
from remediations.model import Caller
from remediations.trail import Vote
from tests.workflow.theatre import UPDATED, Theatre, eventually

WRITE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"
ASKING = {"actions": {"retry": {"mode": "ask"}}}
TWO = {"actions": {"retry": {"mode": "ask", "quorum": 2}}}


class Channel:
    """A webhook on loopback: it answers what it is told to, and keeps what it took."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.asked: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = channel.answers.pop(0) if channel.answers else 202
                channel.asked.append(body)
                if status < 300:
                    channel.taken.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/workflows/secret-part?sig=planted-secret"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Forget what was asked and taken, and how to answer."""
        self.answers.clear()
        self.asked.clear()
        self.taken.clear()

    def titles(self) -> list[str]:
        """The first line of each card that was taken."""
        return [text_of(body)[0] for body in list(self.taken)]


def text_of(plain: Any) -> list[str]:
    """Every text of a card, in order."""
    if isinstance(plain, list):
        return [text for item in plain for text in text_of(item)]
    if not isinstance(plain, dict):
        return []
    own = [plain["text"]] if isinstance(plain.get("text"), str) else []
    return own + [text for item in plain.values() for text in text_of(item)]


@pytest.fixture(scope="module")
def channel() -> Iterator[Channel]:
    opened = Channel()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def theatre(tmp_path_factory, channel) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("people"), env={"MEDIC_TEAMS_URL": channel.url}) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(channel):
    channel.forget()


def told(story, stage="told") -> list[tuple[str, str]]:
    return [(str(one.facts["kind"]), str(one.facts["channel"])) for one in story.records(stage=stage)]


# ---------------------------------------------------------------------------------------------- who is told


def test_people_are_asked_told_who_decided_and_told_how_it_ended(tell, channel):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    eventually(lambda: len(channel.taken) == 1, "nobody was asked")
    (card,) = (one["content"] for one in channel.taken[0]["attachments"])
    (action,) = card["actions"]
    assert action["type"] == "Action.OpenUrl"
    assert action["url"].startswith(f"{story.host.url}/api/approvals/k1.")
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    eventually(lambda: len(told(story)) == 3, "not all was told")
    assert told(story) == [("asked", "teams"), ("approved", "teams"), ("repaired", "teams")]
    assert story.approver in " ".join(text_of(channel.taken[1]))
    links = [body["attachments"][0]["content"]["actions"][0]["url"] for body in channel.taken[1:]]
    assert links == [f"{story.host.url}/api/incidents/{asked.incident_id}"] * 2
    story.check_promises()


def test_the_link_of_a_card_opens_the_page_of_its_question(tell, channel):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    eventually(lambda: channel.taken, "nobody was asked")
    link = channel.taken[0]["attachments"][0]["content"]["actions"][0]["url"]
    shown = story.http.get(link, headers=answering.principal(story.approver))
    assert shown.status_code == 200
    assert asked.incident_id in shown.text
    story.answer(asked)
    story.ending()


def test_an_incident_that_repairs_itself_or_ends_in_advice_tells_so_once(tell, channel):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    eventually(lambda: told(story), "nobody was told")
    assert told(story) == [("repaired", "teams")]
    unknown = tell({"hazards": [{"kind": "broken", "code": "Whatever", "message": "something nobody has seen"}]})
    unknown.put()
    assert unknown.ending()[0] == "advised"
    eventually(lambda: told(unknown), "nobody was told")
    assert told(unknown) == [("advised", "teams")]


def test_a_channel_that_is_down_is_tried_again_and_the_walk_goes_on(tell, channel):
    channel.answers[:] = [503, 429, 500]
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    eventually(lambda: told(story), "nobody was told")
    assert told(story, "not-told") == [("repaired", "teams")] * 3
    assert [one.facts["words"] for one in story.records(stage="not-told")] == [
        "answered 503",
        "answered 429",
        "answered 500",
    ]
    assert len(channel.taken) == 1
    story.check_promises()


def test_a_channel_that_never_will_take_it_is_not_tried_again(tell, channel):
    channel.answers[:] = [404]
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    (failed,) = eventually(lambda: story.records(stage="not-told"), "it is not on the trail")
    assert failed.facts["is_tried_again"] is False
    assert "MEDIC_TEAMS_URL" in str(failed.facts["words"])
    eventually(lambda: len(channel.asked) == 1, "it was not tried once")
    assert told(story) == []


def test_nobody_is_asked_what_was_answered_while_the_channel_was_down(tell, channel):
    channel.answers[:] = [503] * 4
    story = tell(policy=ASKING)
    story.put()
    story.answer(story.question())
    assert story.ending()[0] == "repaired"
    eventually(lambda: ("repaired", "teams") in told(story), "nobody was told")
    assert ("asked", "teams") not in told(story)


def test_no_card_record_or_history_holds_the_address_of_the_channel(tell, channel):
    channel.answers[:] = [503]
    story = tell(policy=ASKING)
    story.put()
    story.answer(story.question())
    story.ending()
    eventually(lambda: len(told(story)) >= 2, "nobody was told")
    assert b"planted-secret" not in story.bytes_kept()


def test_a_worker_killed_while_it_tells_leaves_the_walk_as_it_was(tell, channel):
    story = tell(policy=ASKING)
    killer = story.kill_at("activity", "tell")
    story.put()
    asked = story.question()
    eventually(lambda: killer.victim is not None, "it was not killed")
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    eventually(lambda: ("repaired", "teams") in told(story), "nobody was told")
    story.check_promises()


def test_who_was_asked_is_told_that_it_is_over_by_itself(tell, channel):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    story.put(who="person", spec={"tags": {"fixed": "by hand"}})
    eventually(lambda: story.state() == "Succeeded", "the person's did not succeed")
    story.answer(asked)
    assert story.ending()[0] == "nothing-to-do"
    eventually(lambda: ("nothing-to-do", "teams") in told(story), "nobody was told")
    assert channel.titles()[-1] == "Nothing left to repair"


def test_an_end_whose_message_was_lost_with_the_hub_is_told_after_the_sweep(tell, channel):
    channel.answers[:] = [503] * 100
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    eventually(lambda: told(story, "not-told"), "it was not tried")
    story.host.backend.lose_hub()
    channel.answers.clear()
    eventually(lambda: story.sweep() or told(story), "nobody was told")
    story.sweep()
    assert told(story) == [("repaired", "teams")]
    assert len(channel.taken) == 1
    story.check_promises()


def test_what_every_channel_has_taken_is_not_told_again(tell, channel):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    eventually(lambda: told(story), "nobody was told")
    order = {"key": story.records(stage="told")[0].key.split(":")[1], "incident": story.incident(), "kind": "repaired"}
    again = {**order, "plan": None, "scale": 100.0, "told": [], "attempt": 0}
    story.host.client.schedule_new_orchestration("notify", input=again, instance_id="again")
    over = story.host.client.wait_for_orchestration_completion("again", timeout=10)
    assert over is not None
    assert len(channel.taken) == 1


# ------------------------------------------------------------------------------------------------ how many


def tell_without_a_caller(story):
    """CI's own word about a failure: it does not say who deployed, and the Activity Log is late."""
    resource = f"{story.resource}/deployments/green"
    event = {
        "specversion": "1.0",
        "id": "ci-run-4711",
        "source": "https://ci.example/runs/4711",
        "type": "com.example.mlops.OnlineDeploymentFailed",
        "subject": resource,
        "data": {"resourceUri": resource, "operationName": WRITE, "status": "Failed"},
    }
    story.submit(event)


def test_one_of_two_approvals_changes_nothing_yet(tell):
    story = tell(policy=TWO)
    story.put()
    asked = story.question()
    assert asked.quorum == 2
    first = story.answer(asked, oid=answering.somebody(1))
    assert (first.status_code, first.json()["words"]) == (200, "your approval counts; 1 more is needed")
    assert story.question() == asked
    again = story.answer(asked, oid=answering.somebody(1))
    assert again.status_code == 403
    assert again.json()["error"].startswith("you approved it at ")
    assert story.question() == asked
    second = story.answer(asked, oid=answering.somebody(2))
    words = f"approved by {answering.somebody(1)} and {answering.somebody(2)}"
    assert (second.status_code, second.json()["words"]) == (200, words)
    assert story.ending()[0] == "repaired"
    votes = [(one.actor.oid, one.facts["approves"]) for one in story.records(stage="vote")]
    assert votes == [(answering.somebody(1), True), (answering.somebody(2), True)]
    story.check_promises()


def test_one_rejection_ends_a_question_for_two(tell):
    story = tell(policy=TWO)
    story.put()
    asked = story.question()
    story.answer(asked, oid=answering.somebody(1))
    story.answer(asked, "reject", oid=answering.somebody(2), comment="not tonight")
    assert story.ending() == ("rejected", f"rejected by {answering.somebody(2)}: not tonight")
    assert story.sends() == []


def test_who_deployed_may_reject_their_own_repair_and_not_approve_it(tell):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    ci = story.world.principals["ci"].oid
    assert ci in asked.callers
    refused = story.answer(asked, oid=ci)
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("you started the operation that failed")
    assert story.question() == asked
    assert story.answer(asked, "reject", oid=ci, comment="mine").status_code == 200
    assert story.ending() == ("rejected", f"rejected by {ci}: mine")
    (record,) = story.records(stage="answer-refused")
    assert record.actor.oid == ci


def test_a_failure_whose_starter_nobody_knows_needs_one_more(tell):
    story = tell({"events": "none", "activity_log_delay": 3600.0}, policy=ASKING)
    story.put()
    eventually(lambda: story.state() == "Canceled", "it was not canceled")
    tell_without_a_caller(story)
    asked = story.question()
    assert (asked.callers, asked.quorum) == ((), 2)


def test_of_ten_people_who_answer_at_once_one_answer_is_final(tell):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    start = threading.Barrier(10)

    def answer(number: int) -> int:
        start.wait()
        decision = "approve" if number % 2 else "reject"
        return story.answer(asked, decision, oid=answering.somebody(100 + number)).status_code

    with ThreadPoolExecutor(10) as people:
        statuses = list(people.map(answer, range(10)))
    assert set(statuses) <= {200, 409}
    final = story.trail.answered(asked.plan)
    assert final is not None
    assert final.approved is not None
    end, _ = story.ending()
    assert end == ("repaired" if final.approved else "rejected")
    assert len(story.effects()) == (1 if final.approved else 0)
    (record,) = story.records(stage="answer")
    assert record.facts["approved"] is final.approved
    story.check_promises()


def test_a_question_is_open_no_longer_than_its_action_may_act(tell):
    story = tell(policy={"actions": {"retry": {"mode": "ask", "ceiling": "PT1M"}}})
    story.put()
    asked = story.question()
    failed_at = story.incidents()[0].incident.failed_at
    assert asked.expires_at == failed_at + timedelta(minutes=1)


def test_a_question_that_nobody_could_approve_is_not_asked(tell):
    ci = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"
    listed = {"approvers": {"role": "", "users": [ci]}, "quorum": 1, "mode": "ask"}
    story = tell({"events": "none", "activity_log_delay": 3600.0}, policy={"actions": {"retry": listed}})
    story.put()
    eventually(lambda: story.state() == "Canceled", "it was not canceled")
    tell_without_a_caller(story)
    end, words = story.ending()
    assert end == "refused"
    assert words.startswith("nobody is asked: 2 would have to approve, and of those whom policy lists 1 ")
    assert list(story.trail.open_questions()) == []


def test_who_rejects_after_somebody_else_has_approved_is_not_told_that_all_is_well(tell, monkeypatch):
    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    state = approvals._state
    story.answer(asked, oid=answering.somebody(1))
    shown = answering.principal(answering.somebody(2))
    monkeypatch.setattr(approvals, "_state", lambda *_: ("open", ""))  # it was, when the page was looked at
    late = story.answer(asked, "reject", oid=answering.somebody(2))
    monkeypatch.setattr(approvals, "_state", state)
    assert late.status_code == 409
    assert late.json()["error"] == f"another answer came first: approved by {answering.somebody(1)}"
    assert story.http.get(story.link(asked), headers=shown).status_code == 200
    assert story.ending()[0] == "repaired"


@pytest.mark.parametrize("lost", ["the bell", "the final answer"])
def test_the_sweep_rings_for_an_answer_that_the_walk_has_not_heard_of(tell, monkeypatch, lost):
    async def deaf(*_: object) -> None:
        return None

    story = tell(policy=ASKING)
    story.put()
    asked = story.question()
    with monkeypatch.context() as patched:
        patched.setattr(approvals, "ring", deaf)
        if lost == "the bell":
            assert story.answer(asked).status_code == 200
        else:
            by = Caller(oid=story.approver, tid=answering.TENANT)
            story.trail.vote(Vote(at=datetime.now(UTC), plan=asked.plan, by=by, approves=True))
    assert story.trail.ended(asked.incident_id) is None
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [record.actor.oid for record in story.records(stage="vote")] == [story.approver]


def test_an_answer_that_is_complete_counts_though_nobody_rang(tell, monkeypatch):
    story = tell({**UPDATED}, policy={"approval_window": "PT5M"})
    story.put("blue")
    asked = story.question()

    async def deaf(*_: object) -> None:
        return None

    monkeypatch.setattr(approvals, "ring", deaf)
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
