"""What people are told about an incident: the one value that cards, pages and messages are made of."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from remediations.approval import rules
from remediations.model import Decision, Diagnosis, End, Incident, Mode, Plan, ResourceId
from remediations.trail import Question, Vote


class Kind(StrEnum):
    """What is told."""

    ASKED = "asked"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    REPAIRED = "repaired"
    NOT_REPAIRED = "not-repaired"
    INCONCLUSIVE = "inconclusive"
    ADVISED = "advised"  # no action cures it: advice
    REFUSED = "refused"  # a guard or the policy said no: advice
    NOTHING_TO_DO = "nothing-to-do"  # it is over by itself; told to who was asked

    @property
    def wants_person(self) -> bool:
        """Whether somebody has to look or to answer."""
        return self in {Kind.ASKED, Kind.NOT_REPAIRED, Kind.INCONCLUSIVE, Kind.ADVISED, Kind.REFUSED, Kind.EXPIRED}

    @property
    def is_over(self) -> bool:
        """Whether nobody has to do anything any more."""
        return self in {Kind.REPAIRED, Kind.REJECTED, Kind.SUPERSEDED, Kind.NOTHING_TO_DO}

    @classmethod
    def of(cls, end: End) -> "Kind | None":
        """Give what is told of an end; None if nobody ever is: of dry runs."""
        return cls(end.value) if end.value in {kind.value for kind in cls} else None


class Share(Struct, frozen=True, kw_only=True):
    """One member of a storm.

    Attributes:
        path: Resource ID of what failed.
        plan: What would be done about it; None where nothing is planned, or where it is not asked for.
        end: How it ended; None while it has not.
    """

    incident: str
    path: str
    plan: Plan | None = None
    end: End | None = None

    @property
    def resource(self) -> ResourceId:
        return ResourceId.parse(self.path)


class Notice(Struct, frozen=True, kw_only=True):
    """One thing to tell.

    Attributes:
        words: How it ended, or who decided and what; our own words, with names from Azure in them.
        mode: ``MEDIC_MODE`` of the app.
        diagnosis: None where the incident ended before one was made, or where its evidence is gone.
        decision: The plan and what each guard said; None where nothing was planned.
        question: What was asked, if anything was, and `votes` how it was answered so far.
        link: The page of the question while it is open, else the incident's; None where no key signs links.
        members: Of a storm; then `decision` and `diagnosis` are those of the first.
    """

    kind: Kind
    at: datetime
    incident: Incident
    mode: Mode
    words: str = ""
    diagnosis: Diagnosis | None = None
    decision: Decision | None = None
    question: Question | None = None
    votes: tuple[Vote, ...] = ()
    link: str | None = None
    members: tuple[Share, ...] = ()

    @property
    def approvals(self) -> int:
        """How many approvals that count were given so far."""
        return 0 if self.question is None else len(rules.approvals(self.question, self.votes))
