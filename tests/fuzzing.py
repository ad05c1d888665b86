"""How long the fuzz tests look, and what they have in common.

In the gate each looks at a few examples, the same every time. ``FUZZ=5000 pytest tests/unit/test_hostile_*.py``
looks at as many new ones; what that finds becomes an ``@example`` or a case of a table.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_MANY = os.environ.get("FUZZ")

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # half surrogate pairs and NUL as well
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


def fuzzed(few: int) -> settings:
    """Give how many examples a test looks at: `few` in the gate."""
    return settings(
        max_examples=int(_MANY or few),
        derandomize=_MANY is None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def grafted(plain: Any, data: st.DataObject, scion: st.SearchStrategy[Any]) -> Any:
    """Give JSON with something else at one place of it: another value, one more, one less, or another name."""
    if isinstance(plain, dict) and plain:
        name = data.draw(st.sampled_from(sorted(plain)))
        rest = {one: value for one, value in plain.items() if one != name}
        changed: dict[str, Callable[[], Any]] = {
            "deeper": lambda: {**plain, name: grafted(plain[name], data, scion)},
            "value": lambda: {**plain, name: data.draw(scion)},
            "more": lambda: {**plain, data.draw(ANY_TEXT): data.draw(scion)},
            "less": lambda: rest,
            "name": lambda: {**rest, data.draw(ANY_TEXT): plain[name]},
        }
    elif isinstance(plain, list) and plain:
        place = data.draw(st.integers(0, len(plain) - 1))
        before, here, after = plain[:place], plain[place], plain[place + 1 :]
        changed = {
            "deeper": lambda: [*before, grafted(here, data, scion), *after],
            "value": lambda: [*before, data.draw(scion), *after],
            "more": lambda: [*plain, here],
            "less": lambda: [*before, *after],
        }
    else:
        return data.draw(scion)
    return changed[data.draw(st.sampled_from([*changed, "deeper", "deeper"]))]()


def scratched(text: str, data: st.DataObject) -> str:
    """Give a text with one scratch: something put in, taken out, doubled, moved or written over."""
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    short = min(end, start + data.draw(st.integers(0, 3)))
    match data.draw(st.sampled_from(["in", "out", "cut", "over", "double", "case"])):
        case "in":
            return text[:start] + data.draw(ANY_TEXT | st.sampled_from(list("=.-_ \n\t\0!+/"))) + text[start:]
        case "out":
            return text[:start] + text[short:]
        case "cut":
            return text[:start]
        case "over":
            one = data.draw(st.characters(exclude_categories=()) | st.sampled_from(list("ABCDwxyz0189-_=.")))
            return text[:start] + one + text[start + 1 :]
        case "double":
            return text[:end] + text[start:end] + text[end:]
        case _:
            return text[:start] + text[start:short].swapcase() + text[short:]
