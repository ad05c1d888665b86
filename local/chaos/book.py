"""What lies in a folder store when a round is over: the trail's bytes as plain JSON, and how they hang together.

It follows docs/audit.md and the names that the trail's files have, and shares no code with what wrote them.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

type Plain = dict[str, Any]

_LENGTH = re.compile(r"\d{20}")


class Noted(Struct, frozen=True):
    """One record of the trail, read.

    Attributes:
        name: Its file; of an audit record its file and ``#`` and its number.
    """

    name: str
    plain: Plain

    def __getitem__(self, field: str) -> Any:
        return self.plain.get(field)

    @property
    def at(self) -> datetime:
        """When it was written; the beginning of time if it does not say."""
        return moment(self.plain.get("at")) or datetime.min.replace(tzinfo=_UTC)

    @property
    def facts(self) -> Plain:
        """Of an audit record, what its stage adds."""
        facts = self.plain.get("facts")
        return facts if isinstance(facts, dict) else {}


_UTC = datetime.fromisoformat("2000-01-01T00:00:00Z").tzinfo


class Book:
    """The trail and the evidence of a store.

    Attributes:
        trail, evidence: The bytes by name, as far as their writers confirmed them.
        torn: What is shorter than its writer confirmed, or has no readable length.
    """

    def __init__(self, store: Path) -> None:
        self.torn: list[str] = []
        self._appended: set[str] = set()
        self.trail = self._read(store / "trail")
        self.evidence = self._read(store / "evidence")
        self._parts: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
        for name in sorted(self.trail):
            first, *rest = name.split("/")
            self._parts[first].append((name, rest))

    def _read(self, root: Path) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for folder, _, files in root.walk():
            lengths = {file for file in files if file.startswith(".") and file.endswith(".length")}
            for file in files:
                if file.startswith("."):
                    continue
                name = (folder / file).relative_to(root).as_posix()
                content = (folder / file).read_bytes()
                if f".{file}.length" in lengths:
                    self._appended.add(name)
                    content = self._confirmed(name, content, (folder / f".{file}.length").read_text("ascii", "replace"))
                found[name] = content
        return found

    def _confirmed(self, name: str, content: bytes, digits: str) -> bytes:
        """Cut what no writer has confirmed: one that was killed may leave it."""
        length = int(digits) if _LENGTH.fullmatch(digits) else 0
        if (digits and not _LENGTH.fullmatch(digits)) or len(content) < length:
            self.torn.append(name)
        return content[:length]

    def _each(self, first: str, last: str | None = None) -> Iterator[tuple[Noted, list[str]]]:
        for name, rest in self._parts.get(first, ()):
            if (last is None or rest[-1] == last) and (plain := self.line(self.trail[name])) is not None:
                yield Noted(name, plain), rest

    # What is there

    @cached_property
    def unreadable(self) -> tuple[str, ...]:
        """Names on the trail whose bytes are no JSON object; what is appended to holds lines of them."""
        created = ((name, content) for name, content in self.trail.items() if name not in self._appended)
        return tuple(name for name, content in created if self.line(content) is None)

    @cached_property
    def intakes(self) -> tuple[Noted, ...]:
        """The deliveries."""
        return tuple(noted for noted, _ in self._each("intake"))

    @cached_property
    def opened(self) -> Mapping[str, Noted]:
        """The claims, by incident."""
        return {rest[0]: noted for noted, rest in self._each("incidents", "opened")}

    @cached_property
    def ended(self) -> Mapping[str, Noted]:
        """The ends, by incident."""
        return {rest[0]: noted for noted, rest in self._each("incidents", "ended")}

    @cached_property
    def listed(self) -> Mapping[str, Mapping[str, Noted]]:
        """What the register tells of each incident, by kind; of several lines of a kind the earliest counts."""
        found: dict[str, dict[str, Noted]] = defaultdict(dict)
        for name, _ in self._parts.get("days", ()):
            for number, content in enumerate(self.trail[name].splitlines()):
                if (plain := self.line(content)) is None:
                    continue
                noted = Noted(f"{name}#{number}", plain)
                kinds = found[str(noted["incident"])]
                before = kinds.setdefault(str(noted["kind"]), noted)
                if noted.at < before.at:
                    kinds[str(noted["kind"])] = noted
        return found

    @cached_property
    def joined(self) -> Mapping[str, frozenset[str]]:
        """The event ids that joined, by incident."""
        found: dict[str, set[str]] = defaultdict(set)
        for noted, rest in self._each("incidents"):
            if len(rest) == 3 and rest[1] == "joined":
                found[rest[0]].add(str(noted["event_id"]))
        return {incident: frozenset(events) for incident, events in found.items()}

    @cached_property
    def intents(self) -> tuple[Noted, ...]:
        """The intents, oldest first."""
        return tuple(sorted((noted for noted, _ in self._each("effects", "intent")), key=lambda noted: noted.at))

    @cached_property
    def by_request(self) -> Mapping[str, Noted]:
        """The intents, by the request id that their call carries."""
        return {str(noted["request_id"]): noted for noted in self.intents}

    @cached_property
    def by_step(self) -> Mapping[str, Noted]:
        """The intents, by ``<plan>/<step>/<attempt>``."""
        return {plan_step(noted): noted for noted in self.intents}

    @cached_property
    def outcomes(self) -> Mapping[str, Noted]:
        """The outcomes, by ``<plan>/<step>/<attempt>``."""
        return {"/".join(rest[:-1]): noted for noted, rest in self._each("effects", "outcome")}

    @cached_property
    def requests(self) -> frozenset[str]:
        """The request ids on the trail."""
        return frozenset(rest[0] for _, rest in self._parts.get("requests", ()) if rest)

    @cached_property
    def questions(self) -> Mapping[str, Noted]:
        """The questions, by plan."""
        return {rest[0]: noted for noted, rest in self._each("approvals", "asked")}

    @cached_property
    def question_of(self) -> Mapping[str, Noted]:
        """The question about each plan; that of a storm is about each of its members' plans."""
        found = dict(self.questions)
        for question in self.questions.values():
            for member in question["members"] or ():
                found.setdefault(str(member.get("plan")), question)
        return found

    @cached_property
    def answers(self) -> Mapping[str, Noted]:
        """The final answers, by plan."""
        return {rest[0]: noted for noted, rest in self._each("approvals", "decided")}

    @cached_property
    def votes(self) -> Mapping[str, tuple[Noted, ...]]:
        """The votes, by plan, oldest first."""
        found: dict[str, list[Noted]] = defaultdict(list)
        for noted, rest in self._each("approvals"):
            if len(rest) == 3 and rest[1] == "votes":
                found[rest[0]].append(noted)
        return {plan: tuple(sorted(votes, key=lambda vote: vote.at)) for plan, votes in found.items()}

    @cached_property
    def slots(self) -> tuple[tuple[str, str, str, int, Noted], ...]:
        """The taken slots of budgets: scope key, action, hour, number and what lies there."""
        return tuple(
            (rest[0], rest[1], rest[2], int(rest[3]), noted)
            for noted, rest in self._each("budget")
            if len(rest) == 4 and rest[3].isdigit()
        )

    @cached_property
    def rolls(self) -> Mapping[str, tuple[tuple[str, bytes], ...]]:
        """The files of audit records, by incident, in their order."""
        found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for name, rest in self._parts.get("audit", ()):
            found[rest[0]].append((name, self.trail[name]))
        return {incident: tuple(files) for incident, files in found.items()}

    @cached_property
    def records(self) -> Mapping[str, tuple[Noted, ...]]:
        """The audit records that can be read, by incident, in their order."""
        return {incident: tuple(self._lines(incident)) for incident in self.rolls}

    def _lines(self, incident: str) -> Iterator[Noted]:
        number = 0
        for name, content in self.rolls[incident]:
            for line in content.splitlines():
                if (plain := self.line(line)) is not None:
                    yield Noted(f"{name}#{number}", plain)
                number += 1

    @staticmethod
    def line(content: bytes) -> Plain | None:
        """Give the JSON object in some bytes; None if there is none."""
        try:
            plain = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return plain if isinstance(plain, dict) else None

    @cached_property
    def staged(self) -> Mapping[str, tuple[tuple[str, Noted], ...]]:
        """The audit records of all incidents, by stage: incident and record."""
        found: dict[str, list[tuple[str, Noted]]] = defaultdict(list)
        for incident, records in self.records.items():
            for record in records:
                found[str(record["stage"])].append((incident, record))
        return {stage: tuple(records) for stage, records in found.items()}

    @cached_property
    def proved(self) -> frozenset[str]:
        """The names on the trail of which an audit record tells what lies there."""
        beside = (record.facts.get("beside") for records in self.records.values() for record in records)
        return frozenset(str(one.get("name")) for one in beside if isinstance(one, dict))

    @cached_property
    def plans(self) -> Mapping[str, Noted]:
        """The records of plans, by plan."""
        return {str(record.facts.get("plan")): record for _, record in self.staged.get("plan", ())}

    @cached_property
    def storm_of(self) -> Mapping[str, str]:
        """The storm's incident of each incident that is judged, asked about and told of in one."""
        return {
            str(member.get("incident")): storm
            for storm, record in self.staged.get("members", ())
            for member in record.facts.get("members") or ()
        }

    @cached_property
    def stood_for(self) -> frozenset[str]:
        """The incidents that another one of the same resource stands for: they are judged with it."""
        records = self.staged.get("stands-for", ())
        return frozenset(str(older) for _, record in records for older in record.facts.get("incidents") or ())

    def resource_of(self, incident: str) -> Plain:
        """Give the parts of the id of an incident's resource; none if it is not on the trail."""
        opened = self.opened.get(incident)
        plain = opened["incident"] if opened is not None else None
        resource = plain.get("resource") if isinstance(plain, dict) else None
        return resource if isinstance(resource, dict) else {}

    def incident(self, incident: str) -> Plain:
        """Give the incident as its claim has it; empty if it is not on the trail."""
        opened = self.opened.get(incident)
        plain = opened["incident"] if opened is not None else None
        return plain if isinstance(plain, dict) else {}


def moment(text: object) -> datetime | None:
    """Read a time with its zone; None if it is none."""
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read if read.tzinfo is not None else None


def key_of(resource: Plain) -> str:
    """Give the resource id of some parts, in lower case."""
    names = ("subscription", "resource_group", "workspace", "endpoint", "deployment")
    parts = {name: resource.get(name) for name in names}
    path = (
        f"/subscriptions/{parts['subscription']}/resourceGroups/{parts['resource_group']}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{parts['workspace']}"
        f"/onlineEndpoints/{parts['endpoint']}"
    )
    return (f"{path}/deployments/{parts['deployment']}" if parts["deployment"] else path).lower()


def plan_step(noted: Noted) -> str:
    """Give ``<plan>/<step>/<attempt>`` of an intent."""
    return f"{noted['plan']}/{noted['step']}/{noted['attempt']}"
