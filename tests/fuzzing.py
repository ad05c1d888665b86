"""How long the fuzz tests look, and what they have in common.

In the gate each looks at a few examples, the same every time. ``MEDIC_FUZZ=5000 pytest tests/unit/test_hostile_*.py``
looks at as many new ones; what that finds becomes an ``@example`` or a case of a table.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_MANY = os.environ.get("MEDIC_FUZZ")

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


def grafted(plain: object, data: st.DataObject, scion: st.SearchStrategy[object]) -> object:
    """Give JSON with something else at one place of it: another value, one more member, a member less, a name changed."""
    here = plain
    if isinstance(here, dict) and here:
        name = data.draw(st.sampled_from(sorted(here)))
        match data.draw(st.sampled_from(["deeper", "deeper", "deeper", "value", "more", "less", "name"])):
            case "deeper":
                return {**here, name: grafted(here[name], data, scion)}
            case "value":
                return {**here, name: data.draw(scion)}
            case "more":
                return {**here, data.draw(ANY_TEXT): data.draw(scion)}
            case "less":
                return {one: value for one, value in here.items() if one != name}
            case _:
                return {(data.draw(ANY_TEXT) if one == name else one): value for one, value in here.items()}
    if isinstance(here, list) and here:
        place = data.draw(st.integers(0, len(here) - 1))
        match data.draw(st.sampled_from(["deeper", "deeper", "value", "less", "twice"])):
            case "deeper":
                return [*here[:place], grafted(here[place], data, scion), *here[place + 1 :]]
            case "value":
                return [*here[:place], data.draw(scion), *here[place + 1 :]]
            case "less":
                return [*here[:place], *here[place + 1 :]]
            case _:
                return [*here, here[place]]
    return data.draw(scion)


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
