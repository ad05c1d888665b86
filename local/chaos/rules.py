"""What a policy says of one action on one resource, read from its plain data alone.

Where a rule asks for tags, which nobody knows here, it may hold or not: then there are several answers, and a judge
takes the one that permits most.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

_DEFAULTS = {"mode": "off", "attempts": 3, "within": "PT6H", "budget_per_hour": 20, "quorum": None}
_MODES = ("off", "dry-run", "ask", "auto")
_PLACES = ("subscription", "resource_group", "workspace", "endpoint")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def answers(policy: dict[str, Any], action: str, resource: dict[str, Any], field: str) -> tuple[Any, ...]:
    """Give what may hold: by the first rule that matches and sets the field, else by the action, else by default."""
    found: list[Any] = []
    for rule, is_certain in _rules(policy, action, resource):
        if field in rule:
            found.append(rule[field])
            if is_certain:
                return tuple(found)
    own = (policy.get("actions") or {}).get(action) or {}
    return (*found, own.get(field, _DEFAULTS[field]))


def most(policy: dict[str, Any], action: str, resource: dict[str, Any], field: str) -> int:
    """Give the largest number that may hold."""
    return max(int(one) for one in answers(policy, action, resource, field))


def shortest(policy: dict[str, Any], action: str, resource: dict[str, Any], field: str) -> timedelta:
    """Give the shortest time that may hold."""
    return min(duration(one) for one in answers(policy, action, resource, field))


def mode(policy: dict[str, Any], action: str, resource: dict[str, Any], ceiling: str) -> str:
    """Give the most permissive mode that may hold under the app's own."""
    return str(min(max(answers(policy, action, resource, "mode"), key=_rank), ceiling, key=_rank))


def duration(text: object) -> timedelta:
    """Read an ISO 8601 duration of days, hours, minutes and seconds."""
    match = _DURATION.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is no duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _rules(policy: dict[str, Any], action: str, resource: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Give the rules that match, and whether they certainly do."""
    for rule in policy.get("rules") or ():
        scope = rule.get("scope") or {}
        named = set(rule.get("actions") or ("*",))
        places = all(
            fnmatchcase(str(resource.get(place, "")).lower(), str(scope.get(place, "*")).lower()) for place in _PLACES
        )
        if named & {"*", action} and places:
            yield rule, not scope.get("tags")


def _rank(name: object) -> int:
    return _MODES.index(str(name))
