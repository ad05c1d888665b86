"""Advise: a cause and what an incident shows -> what a person should know and type. Pure.

The guide's formula for the number of instances and its commands are filled with the incident's own names and numbers;
every name is quoted for a POSIX shell, since error texts are written by anyone.

https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#how-to-calculate-instance-count
"""

import re
import shlex
from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from typing import Final

from msgspec import Struct

from remediations.catalogue.cause import Cause
from remediations.model import Evidence, Facts, Found, ResourceId

_UTILIZATION: Final = 0.7  # the guide's own example
_CROWDED: Final = frozenset({"invoke-overloaded", "invoke-rate-limited", "no-ready-replicas"})
_FRAMES: Final = 3
_LONGEST_LINE: Final = 200
_END_OF_LOG: Final = 16_384
_FRAME: Final = re.compile(r'[^\n]{0,40}?File "(?P<file>[^"\n]{1,400})", line (?P<line>\d{1,7})[^\n]*')
_ERROR: Final = re.compile(
    r"[^\n]{0,40}?\b(?P<error>[A-Za-z_][\w.]{0,100}(?:Error|Exception|Exit|Interrupt|Warning)\b[^\n]*)"
)
_HOLE: Final = re.compile(r"\{(\w+)\}")
_NOTHING: Final = "Endpoint Medic changes nothing here: a person has to."


class Traceback(Struct, frozen=True, kw_only=True):
    """The end of the last traceback in a log."""

    frames: tuple[str, ...]
    error: str
    file: str
    line: int


def commands(
    cause: Cause, resource: ResourceId | None, facts: Facts, *, registry: str | None = None
) -> tuple[str, ...]:
    """Give what to type. A name that is not known stands there in capital letters.

    Args:
        registry: Login server of the workspace's registry, as Azure shows it: one that a text names may be anybody's.
    """
    names = {name: str(value) for name, value in facts.named.items() if name != "registry"}
    if registry is not None:
        names["registry"] = registry.partition(".")[0]
    if resource is not None:
        names |= {
            "subscription": resource.subscription,
            "resource_group": resource.resource_group,
            "workspace": resource.workspace,
            "endpoint": resource.endpoint,
            **({"deployment": resource.deployment} if resource.deployment is not None else {}),
        }
    return tuple(_typed(command, names) for command in cause.commands)


def filled(text: str, facts: Facts) -> str:
    """Give a text with the facts that it names; what is not known stays out of it."""
    names = {name: str(value) for name, value in facts.named.items()}
    return _HOLE.sub(lambda hole: names.get(hole[1], hole[1].replace("_", " ")), text)


def limits(cause: Cause, *, may_act: bool = True) -> str:
    """Give what Endpoint Medic does about a cause, and what it leaves to a person."""
    if cause.action is None or not may_act:
        return cause.limits or _NOTHING
    words = f"Endpoint Medic can run {cause.action}, once reads of Azure confirm the cause and every guard agrees."
    return f"{words} {cause.limits}".strip()


def notes(cause_id: str, evidence: Evidence) -> tuple[str, ...]:
    """Give what the incident's own logs and numbers add."""
    logs = {container: reading.value for container, reading in evidence.logs.items() if isinstance(reading, Found)}
    ends = next((end for container, log in logs.items() if (end := end_of(container, log))), ())
    size = sizing(cause_id, evidence)
    return ends if size is None else (*ends, size)


def end_of(container: str, log: str) -> tuple[str, ...]:
    """Give the end of the last traceback in a log as lines; none if there is none."""
    found = traceback(log)
    return (
        ()
        if found is None
        else (f"{container} ends with", *(f"  {one}" for one in (*found.frames, found.error) if one))
    )


def traceback(log: str) -> Traceback | None:
    """Give the last traceback of a log: its last frames and its error; None if there is none."""
    told = log[-_END_OF_LOG:]
    told = told[max(0, told.rfind("Traceback (most recent call last)")) :]
    frames = list(_FRAME.finditer(told))
    if not frames:
        return None
    error = _ERROR.search(told, frames[-1].end())
    return Traceback(
        frames=tuple(_shortened(frame[0]) for frame in frames[-_FRAMES:]),
        error=_shortened(error["error"]) if error is not None else "",
        file=frames[-1]["file"],
        line=int(frames[-1]["line"]),
    )


def instances_needed(
    *, requests_per_second: float, latency: timedelta, concurrent_requests: int, utilization: float = _UTILIZATION
) -> int:
    """Give how many instances the guide's formula asks for."""
    busy = requests_per_second * latency.total_seconds() / utilization
    return max(1, ceil(busy / concurrent_requests))


def sizing(cause_id: str, evidence: Evidence) -> str | None:
    """Give how many instances the load asks for, and by which numbers; None where one is not known, or none helps.

    It holds no text of others: it may stand on the trail.
    """
    state = evidence.resource.value if isinstance(evidence.resource, Found) else None
    load = evidence.load.value if isinstance(evidence.load, Found) else None
    if cause_id not in _CROWDED or state is None or load is None or load.latency is None or load.per_minute <= 0:
        return None
    concurrent = state.concurrent_requests or 1  # Azure ML's own default
    rate = load.per_minute / 60
    needed = instances_needed(requests_per_second=rate, latency=load.latency, concurrent_requests=concurrent)
    has = "" if state.capacity is None else f"; it has {state.capacity}"
    numbers = (
        f"{rate:.3g} requests/s x {load.latency.total_seconds():.3g} s / {_UTILIZATION:.0%} utilization"
        f" / {concurrent} at once for each instance"
    )
    return f"By the guide's formula it needs {needed} instances{has}: {numbers}."


def _typed(command: str, names: Mapping[str, str]) -> str:
    def name(hole: re.Match[str]) -> str:
        known = names.get(hole[1])
        return shlex.quote(known) if known is not None else hole[1].upper()

    return _HOLE.sub(name, command)


def _shortened(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}\N{HORIZONTAL ELLIPSIS}"
