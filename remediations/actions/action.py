"""What an action is: how a repair is proposed, sent, read back and verified.

`propose`, `fingerprint`, `landed` and `verify` are pure; `prepare` reads the body once more, right before it is sent.
Only `execution` sends.
"""

from collections.abc import Callable

from msgspec import Struct

from remediations.guards import Guard
from remediations.model import (
    Call,
    Diagnosis,
    End,
    Evidence,
    Json,
    NoPlan,
    Plan,
    Reading,
    ResourceState,
    Risk,
    Status,
)
from remediations.policy import Policy
from remediations.ports import Reads


class Proposal(Struct, frozen=True, kw_only=True):
    """What an action would do about a diagnosis."""

    target: tuple[str, ...]
    calls: tuple[Call, ...]
    parameters: dict[str, str]
    effect: str
    undo: str
    needs_person: str | None = None


class Body(Struct, frozen=True):
    """What is to be sent with a call; it may hold secrets and stays in memory."""

    content: Json


class Changed(Struct, frozen=True):
    """Why the call must not be sent after all."""

    words: str


class Action(Struct, frozen=True, kw_only=True):
    """One repair.

    Attributes:
        fingerprint: What must be the same of the resource at planning and right before the effect.
        prepare: The body of the plan's call, read again; its digest must be the one that was planned.
        landed: After a lost answer: did the call take effect, by what the world shows?
        verify: Did the repair help, by fresh evidence?
    """

    name: str
    risk: Risk
    guards: tuple[Guard, ...]
    propose: Callable[[Diagnosis, Evidence, Policy], Proposal | NoPlan]
    fingerprint: Callable[[Reading[ResourceState]], dict[str, str]]
    prepare: Callable[[Plan, Reads], Body | Changed]
    landed: Callable[[Plan, Evidence], Status]
    verify: Callable[[Plan, Evidence], tuple[End, str]]
