"""What an action is: how a repair is proposed, sent, read back and verified.

All is pure but `prepare` and `receipt`, which read once more, right before a call is sent. Only `execution` sends.
"""

from collections.abc import Callable

from msgspec import Struct

from remediations.guards import Guard
from remediations.model import (
    Absent,
    Area,
    Diagnosis,
    End,
    Evidence,
    Json,
    NoPlan,
    Plan,
    Reading,
    Risk,
    Status,
    Step,
    Touch,
)
from remediations.policy import Policy
from remediations.ports import Reads, Reply
from remediations.situation import Situation


class Proposal(Struct, frozen=True, kw_only=True):
    """What an action would do about a diagnosis: the fields of the plan that it decides."""

    steps: tuple[Step, ...]
    parameters: dict[str, str]
    effect: str
    undo: str
    needs_person: str | None = None


class Go(Struct, frozen=True):
    """The step is to be done."""


class Unneeded(Struct, frozen=True):
    """What the step is for is so already; the next one's turn comes."""

    words: str


class NotYet(Struct, frozen=True):
    """What the step needs is not there yet; it is looked for again in a moment, and not for ever."""

    words: str


class Stop(Struct, frozen=True):
    """The plan no longer fits the world; nothing more of it is done."""

    words: str


type Turn = Go | Unneeded | NotYet | Stop


class Body(Struct, frozen=True):
    """What is to be sent with a call; it may hold secrets and stays in memory."""

    content: Json


class Changed(Struct, frozen=True):
    """Why the call must not be sent after all."""

    words: str


type Kept = Callable[[str], Reading[Json]]  # what lies in the evidence store under a digest


def nothing_kept(_digest: str) -> Reading[Json]:
    """Nothing lies in the evidence store."""
    return Absent()


def advised(diagnosis: Diagnosis, words: str) -> NoPlan:
    """Nothing is planned: a person has to act."""
    return NoPlan(diagnosis=diagnosis, end="advised", words=words)


def go(_plan: Plan, _number: int, _situation: Situation) -> Turn:
    """Every step is to be done."""
    return Go()


def plain_answer(_step: Step, _reply: Reply) -> tuple[Status, str] | None:
    """No answer of Azure means anything else than it always does."""
    return None


def no_receipt(_plan: Plan, _number: int, _reads: Reads) -> Json | Changed:
    """Nothing is lost by a step that only adds."""
    return None


class Action(Struct, frozen=True, kw_only=True):
    """One repair. A step is named by its number in the plan.

    Attributes:
        asks: The surroundings that it decides on; they are read again right before each step.
        rerun_asks: Those of a re-run, which fewer guards look at; None if they are the same.
        fingerprint: What must be the same of the steps' targets at planning and right before the effect.
        turn: When a step's turn comes: is it still needed, is it time for it, does the plan still fit?
        prepare: The body of a step's call, read again, in Azure or in the evidence store; its digest must be the one
            that was planned.
        receipt: What undoing a step needs, kept before it is sent; nothing if a step takes nothing away.
        landed: After a lost answer: did the call take effect, by what the world shows?
        answer: What an answer of Azure means for this step where it means something of its own; None if not.
        verify: Did a step help, by fresh evidence? No end means that the next step's turn comes.
        touches: What the plan reaches, and what that means for it, by what the situation shows: for who approves.
    """

    name: str
    risk: Risk
    guards: tuple[Guard, ...]
    propose: Callable[[Diagnosis, Evidence, Policy], Proposal | NoPlan]
    fingerprint: Callable[[tuple[Step, ...], Evidence], dict[str, str]]
    prepare: Callable[[Plan, int, Reads, Kept], Body | Changed]
    landed: Callable[[Plan, int, Evidence], Status]
    verify: Callable[[Plan, int, Evidence], tuple[End | None, str]]
    touches: Callable[[Plan, Situation], tuple[Touch, ...]]
    asks: tuple[Area, ...] = ()
    rerun_asks: tuple[Area, ...] | None = None
    turn: Callable[[Plan, int, Situation], Turn] = go
    answer: Callable[[Step, Reply], tuple[Status, str] | None] = plain_answer
    receipt: Callable[[Plan, int, Reads], Json | Changed] = no_receipt

    def asks_before(self, step: Step) -> tuple[Area, ...]:
        """Give the surroundings that are read right before a step."""
        return self.rerun_asks if step.is_rerun and self.rerun_asks is not None else self.asks
