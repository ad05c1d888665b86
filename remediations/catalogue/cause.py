"""What a cause of failure is.

Its matchers look at texts and nominate it; its checks look at reads and support or oppose it. Texts are written by
whoever wrote the model, so a cause whose action writes needs at least one check that supports it.
"""

from collections.abc import Callable

from msgspec import Struct

from remediations.catalogue.matchers import Groups, Matcher, Symptoms
from remediations.model import Area, Evidence


class Clue(Struct, frozen=True, kw_only=True):
    """What one read says about a cause."""

    read: str
    says: str
    supports: bool


type Check = Callable[[Evidence], Clue | None]


def always(_groups: Groups) -> bool:
    """Whatever the text names, the action may help."""
    return True


class Cause(Struct, frozen=True, kw_only=True):
    """One known cause of failure.

    Attributes:
        id: Names the fault, not the remedy; never changes, since audit records keep it.
        code: The error code of the troubleshooting guide that the cause belongs to.
        also: Further codes under which it arises; the one that stands in the texts, or fits the compute, is given.
        what: What it is, in one sentence.
        matches: Nominates the cause from texts; its named groups become facts.
        hints: Nominates it too, but from texts that other causes share: then it stands only if a read supports it.
        checks: Reads that support or oppose it. One that opposes rules the cause out.
        asks: The surroundings that its checks, and the plan of its action, look at: read when the texts speak of it.
        needs_support: The texts alone do not make it stand.
        refines: Broader causes that share its texts: where it stands, they do not.
        is_catch_all: Where any other cause stands, this one does not.
        advice: An order to a person; may name facts in braces.
        commands: What to type; names of the incident and facts stand in braces, and are quoted for a shell.
        limits: What Endpoint Medic leaves to a person, and why.
        tells: The read that would settle it against its rivals.
        action: Name of the action that it calls for.
        says: What the service itself says where this is the cause, in its own place: without it, the words may be
            anybody's, and no action is called for.
        may_help: Whether the action could help, by the facts of a text; asked only while no read supports the cause.
        examples: Real texts, redacted; each is a test by itself.
        source: The page that documents the error.
    """

    id: str
    code: str
    what: str
    matches: Matcher
    advice: str
    source: str
    also: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    asks: tuple[Area, ...] = ()
    hints: Matcher | None = None
    needs_support: bool = False
    refines: tuple[str, ...] = ()
    is_catch_all: bool = False
    commands: tuple[str, ...] = ()
    limits: str = ""
    tells: str = "the status of the operation itself"
    action: str | None = None
    says: Matcher | None = None
    may_help: Callable[[Groups], bool] = always
    examples: tuple[Symptoms, ...] = ()
