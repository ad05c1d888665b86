"""Who may answer a question, how many have to, and what their answers come to. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from remediations.model import Answer, Caller, Evidence, Found, GuardAnswer, Person, Plan, Risk
from remediations.trail import Answered, Question, Vote

NOBODY_ANSWERED = "nobody answered in time"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def quorum_of(risk: Risk, asked: Iterable[int | None], callers: Sequence[str]) -> int:
    """Give how many people have to approve.

    Where nobody knows who started the failed operation, it is one more: of so many at least one is somebody else.

    Args:
        asked: What policy says for each thing that the plan touches; None: two for what destroys something, else one.
    """
    usual = 2 if risk is Risk.DESTRUCTIVE else 1
    return max(usual if one is None else one for one in asked) + (not callers)


def callers_of(evidence: Evidence) -> tuple[str, ...]:
    """Give the object ids and client ids of who started the failed operation, by the event and the Activity Log.

    A caller that the Activity Log names by something else than an id cannot be told from an approver, and is left out.
    """
    incident = evidence.incident
    rows = evidence.activity.value if isinstance(evidence.activity, Found) else ()
    named = (incident.caller.oid, incident.caller.appid, *(row.caller for row in rows))
    ids = {name.lower() for name in named if name is not None}
    return tuple(sorted(one for one in ids if _GUID.fullmatch(one)))


def is_approver(person: Person, question: Question) -> bool:
    """Tell whether policy lists somebody for everything that a question is about."""
    return not person.is_app and all(one.include(person) for one in question.approvers)


def why_not(person: Person, question: Question, votes: Sequence[Vote], *, approves: bool) -> str | None:
    """Give why an approver may not give this answer; None if they may. Who may not approve may still reject."""
    own = vote_of(person, question, votes)
    if own is not None:
        return f"you {'approved' if own.approves else 'rejected'} it at {own.at:%Y-%m-%d %H:%M:%S} UTC"
    if approves and person.oid.lower() in question.callers:
        if question.is_undo:
            return "you asked for this undo; somebody else has to approve it"
        return "you started the operation that failed; somebody else has to approve its repair"
    return None


def why_unanswerable(question: Question) -> str | None:
    """Give why a question cannot be approved by anybody, as far as policy names people one by one; None if it can."""
    for approvers in question.approvers:
        if approvers.role or approvers.groups:
            continue
        able = {one.lower() for one in approvers.users} - set(question.callers)
        if len(able) < question.quorum:
            words = f"nobody is asked: {question.quorum} would have to approve, and of those whom policy lists"
            did = "ask for it" if question.is_undo else "start the failed operation"
            return f"{words} {len(able)} did not {did}"
    return None


def vote_of(person: Person, question: Question, votes: Iterable[Vote]) -> Vote | None:
    """Give what somebody has answered to a question; None if nothing yet."""
    return next((vote for vote in votes if vote.plan == question.plan and _key(vote.by) == _key(person.caller)), None)


def approvals(question: Question, votes: Iterable[Vote]) -> tuple[Vote, ...]:
    """Give the approvals that count: about this plan, in time, of different people, by nobody who started the failed
    operation."""
    found: dict[str, Vote] = {}
    for vote in sorted(votes, key=lambda vote: vote.at):
        is_own = (vote.by.oid or "").lower() in question.callers
        if _counts(vote, question) and vote.approves and not is_own:
            found.setdefault(_key(vote.by), vote)
    return tuple(found.values())


def outcome(question: Question, votes: Iterable[Vote], now: datetime) -> Answered | None:
    """Give the final answer that votes come to: the first rejection, or so many approvals as are needed, or the end of
    its time; None while the question is open.

    A vote counts if it names this plan and came in time; each person has one (`Trail.vote`).
    """
    ordered = sorted((vote for vote in votes if _counts(vote, question)), key=lambda vote: vote.at)
    rejection = next((vote for vote in ordered if not vote.approves), None)
    before = [vote for vote in ordered if rejection is None or vote.at < rejection.at]
    approving = approvals(question, before)[: question.quorum]
    if len(approving) == question.quorum:
        by = " and ".join(str(vote.by.oid) for vote in approving)
        return _answered(question, approving[-1], True, f"approved by {by}")
    if rejection is not None:
        return _answered(question, rejection, False, f"rejected by {rejection.by.oid}")
    if now < question.expires_at:
        return None
    words = NOBODY_ANSWERED
    if approving:
        words = f"{len(approving)} approved in time, and {question.quorum - len(approving)} more were needed"
    return Answered(at=now, plan=question.plan, approved=None, words=words)


def is_expired(answered: Answered, question: Question) -> bool:
    """Tell whether a question ended with its time; else, without a yes or no, another failure superseded it."""
    return answered.approved is None and answered.at >= question.expires_at


def voids(refusals: Sequence[GuardAnswer]) -> bool:
    """Tell whether the target of a plan is not as it was when people approved; unknown is no change."""
    return any(one.guard == "target-unchanged" and one.answer is Answer.DENY for one in refusals)


def differences(old: Plan, new: Plan) -> tuple[str, ...]:
    """Give what differs between an approved plan that is void and the one in its place, in words."""
    gone = [call for call in map(str, old.calls) if call not in set(map(str, new.calls))]
    come = [call for call in map(str, new.calls) if call not in set(map(str, old.calls))]
    words = [f"no longer: {call}" for call in gone] + [f"instead: {call}" for call in come]
    if old.policy_version != new.policy_version:
        words.append(f"policy: was {old.policy_version}, is {new.policy_version}")
    for name in sorted({*old.fingerprint, *new.fingerprint}):
        then, now = old.fingerprint.get(name), new.fingerprint.get(name)
        if then != now:
            words.append(f"{name}: was {_shown(then)}, is {_shown(now)}")
    return tuple(words)


def _answered(question: Question, vote: Vote, approved: bool, words: str) -> Answered:
    said = f"{words}: {vote.comment}" if vote.comment else words
    return Answered(at=vote.at, plan=question.plan, approved=approved, words=said, by=vote.by)


def _counts(vote: Vote, question: Question) -> bool:
    return vote.plan == question.plan and vote.at < question.expires_at


def _key(caller: Caller) -> str:
    """Give who somebody is: an object id is one person's in whatever tenant a token names."""
    return (caller.oid or "").lower()


def _shown(value: str | None) -> str:
    return "not there" if value is None else value
