"""Make a text that others wrote fit to be shown: one line that looks like what it is, and no longer than it may be.

Names, error texts and comments are written by anyone. What breaks lines, turns the direction of writing or cannot be
seen would make a person read something else than what stands there.
"""

from typing import Final

ELLIPSIS: Final = "…"


def literal(text: str, *, most: int) -> str:
    """Give a text in one line, without any character that cannot be seen.

    Line breaks and other spaces become spaces. What Unicode calls *other* is dropped: control characters, those that
    steer direction or have no width, surrogates, private ones. What is left can always be encoded.

    Args:
        most: Of characters, and a third of its length as UTF-8. What is cut off ends in an ellipsis.
    """
    longest = most * 4  # enough to find what can be seen; the rest would be cut in any case
    is_cut, text = len(text) > longest, text[:longest]
    if not text.isprintable():
        text = "".join(one if one.isprintable() else " " if one.isspace() else "" for one in text)
    shown = text[:most].encode()[: most * 3].decode(errors="ignore")
    if not is_cut and shown == text:
        return text
    return shown[: most - 1].rstrip() + ELLIPSIS
