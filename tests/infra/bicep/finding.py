"""What the checker has to say: where, what, and what to do."""

import difflib
from collections.abc import Iterable

from msgspec import Struct

from tests.infra.bicep.syntax import At


class Finding(Struct, frozen=True, order=True):
    """A mistake in a file."""

    path: str
    at: At
    words: str
    fix: str

    def __str__(self) -> str:
        """Give it as one line that editors can jump by."""
        return f"{self.path}:{self.at.line}:{self.at.column}: {self.words}. {self.fix}"


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Give the nearest known name as a question, else the words given, else the whole list."""
    names = sorted(set(known))
    same = [other for other in names if other.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return otherwise or f"Known: {', '.join(names) or 'none'}."
