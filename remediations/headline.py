"""What an audit record says, in one sentence for people: on a page, on a terminal, in a demo. Pure."""

from remediations import codec
from remediations.model import AuditRecord, Scoring, Storm, Undoes


def headline(record: AuditRecord) -> str:
    """Give what a record says, in one sentence."""
    facts = {name: text(value) for name, value in record.facts.items()}
    if record.stage in {"intent", "wait", "unneeded", "outcome", "verification"}:
        return _of_call(record, facts)
    match record.stage:
        case "incident":
            return _of_incident(record, facts)
        case "evidence":
            rows = facts.get("activity", "")
            counted = f"{rows} {'row' if rows == '1' else 'rows'} of the Activity Log"
            log_words = counted if rows.isdigit() else f"Activity Log {rows}"
            read = f"operation {facts.get('operation')}, {log_words}"
            after = "" if facts.get("polls") == "1" else f"; after {facts.get('polls')} rounds of reading"
            return f"resource {facts.get('resource')}, {facts.get('load', read)}{after}"
        case "diagnosis":
            return f"{facts.get('cause')} ({facts.get('code')}), {facts.get('level')}"
        case "plan" if "none" in facts:
            return f"none, {facts.get('none')}: {facts.get('words')}"
        case "plan":
            return f"{facts.get('action')}: {facts.get('effect')}"
        case "decision":
            held = "" if facts.get("would") == facts.get("verdict") else f"; it would be {facts.get('would')}"
            return f"{facts.get('verdict')} ({facts.get('when')}){held}: {facts.get('mode_words')}"
        case _:
            return _of_people(record, facts)


def _of_people(record: AuditRecord, facts: dict[str, str]) -> str:  # noqa: PLR0911 - one for each stage
    match record.stage:
        case "question":
            until = codec.moment(facts.get("expires_at", ""))
            return "open" if until is None else f"open until {until:%Y-%m-%d %H:%M:%S} UTC"
        case "vote":
            comment = f": {facts['comment']}" if facts.get("comment") else ""
            return f"{'approved' if record.facts.get('approves') is True else 'rejected'} by {_by(record)}{comment}"
        case "answer" | "void":
            return facts.get("words", "")
        case "answer-refused" | "undo-refused":
            return f"{facts.get('why')}; sent by {_by(record)}"
        case "told" | "not-told":
            return f"{facts.get('kind')} to {facts.get('channel')}: {facts.get('words')}"
        case "undo":
            asked = f"asked by {_by(record)}: {facts.get('comment')}"
            return f"{facts.get('call')} is to be undone, in {facts.get('undo')}; {asked}"
        case "stands-for":
            return f"older failures of the same resource, which are judged with it: {facts.get('incidents')}"
        case "members":
            members = record.facts.get("members")
            count = len(members) if isinstance(members, list) else 0
            return f"{count} incidents of one cause, {facts.get('verdict')}"
        case "undo-ended":
            return f"{facts.get('undo')} ended, {facts.get('end')}: {facts.get('words')}"
        case "linked-event":
            return f"{facts.get('event_type')} {facts.get('event_id')}"
        case "end":
            return f"{facts.get('end')}: {facts.get('words')}"
        case _:
            return ", ".join(f"{name} {value}" for name, value in facts.items())


def _by(record: AuditRecord) -> str:
    return record.actor.oid or record.actor.appid or "nobody that is known"


def _of_incident(record: AuditRecord, facts: dict[str, str]) -> str:
    resource = "/".join(facts.get("resource", "").split("/")[8::2])
    if "scoring" in record.facts:
        return f"requests to {resource} fail, says {codec.load(Scoring, record.facts['scoring']).words}"
    if "storm" in record.facts:
        return f"{codec.load(Storm, record.facts['storm']).label} failed for the same cause"
    if "undoes" in record.facts:
        undoes = codec.load(Undoes, record.facts["undoes"])
        return f"somebody wants {undoes.action} of {undoes.incident} undone, about {resource}: {undoes.comment}"
    return f"the {facts.get('operation')} of {resource} did not succeed, says {facts.get('source')}"


def _of_call(record: AuditRecord, facts: dict[str, str]) -> str:
    """Give the words of a record about one call of a plan; calls are counted from 1, as people do."""
    step = record.facts.get("step")
    call, words = f"call {step + 1 if isinstance(step, int) else 1}", facts.get("words")
    match record.stage:
        case "intent":
            return f"about to send {call}, attempt {facts.get('attempt')}"
        case "wait":
            return f"{call} is not sent yet: {words}"
        case "unneeded":
            return f"{call} is not needed: {words}"
        case "outcome":
            return f"{facts.get('status')}: {words}"
        case _ if record.facts.get("end") is None:
            return f"{call} is over: {words}"
        case _:
            return f"{facts.get('end')}: {words}"


def text(value: object) -> str:
    """Give a plain value in words."""
    if isinstance(value, list):
        return ", ".join(text(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(item)}" for name, item in value.items() if item is not None) or "none"
    return "none" if value is None else str(value)
