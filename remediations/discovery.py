"""Discover: what failed in a subscription or workspace, from lists alone: for the sweep, and for ``medic scan``."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from remediations import codec, intake
from remediations.enrichment import API_VERSION
from remediations.errors import MedicError
from remediations.model import Found, Incident, Json, Operation, ProvisioningState, ResourceId, reading_words
from remediations.ports import Reads

_MOST = 1_000
_BROKEN = frozenset({ProvisioningState.FAILED, ProvisioningState.CANCELED})


class NotListed(MedicError):
    """A list that could not be read; what it would have shown is unknown."""


def workspaces(reads: Reads, subscription: str) -> tuple[str, ...]:
    """Give the resource IDs of a subscription's workspaces; raises NotListed."""
    return tuple(str(item["id"]) for item in workspaces_listed(reads, subscription))


def workspaces_listed(reads: Reads, subscription: str) -> tuple[dict[str, Json], ...]:
    """Give the workspaces of a subscription as Azure lists them, each with its ID; raises NotListed."""
    path = f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/workspaces"
    return tuple(item for item in _items(reads, path) if item.get("id"))


def failed(reads: Reads, workspace: str, *, source: str, now: datetime) -> Iterator[tuple[Incident, timedelta]]:
    """Give an incident for each deployment or endpoint of a workspace that is Failed or Canceled, and its age.

    The age is that of the last write; when it failed is not in the list, so the incident says `now`.

    Raises:
        NotListed: a list could not be read.
    """
    for endpoint in endpoints(reads, workspace):
        yield from failed_below(reads, endpoint, source=source, now=now)


def endpoints(reads: Reads, workspace: str) -> tuple[dict[str, Json], ...]:
    """Give the endpoints of a workspace as Azure lists them; raises NotListed."""
    return tuple(_items(reads, f"{workspace}/onlineEndpoints"))


def failed_below(
    reads: Reads, endpoint: dict[str, Json], *, source: str, now: datetime
) -> Iterator[tuple[Incident, timedelta]]:
    """Give what `failed` gives for one listed endpoint: itself first, then its deployments; raises NotListed."""
    if (found := _incident(endpoint, source, now)) is not None:
        yield found
    for shown in _items(reads, f"{endpoint.get('id')}/deployments"):
        if (found := _incident(shown, source, now)) is not None:
            yield found


def is_due(age: timedelta, scale: float = 1.0) -> bool:
    """Tell whether no event can be expected any more, and the failure is not so old that it is somebody's history."""
    return timedelta(minutes=10) / scale < age < timedelta(hours=24)


def _incident(shown: dict[str, Json], source: str, now: datetime) -> tuple[Incident, timedelta] | None:
    properties = shown.get("properties")
    state = properties.get("provisioningState") if isinstance(properties, dict) else None
    if state not in _BROKEN:
        return None
    try:
        resource = ResourceId.parse(str(shown.get("id")))
    except ValueError:
        return None
    system = shown.get("systemData")
    written = codec.moment(system.get("lastModifiedAt")) if isinstance(system, dict) else None
    since = written or now
    incident = Incident(
        id=intake.incident_id(resource, f"uncorrelated {since.isoformat()}"),
        resource=resource,
        operation=Operation.WRITE,
        failed_at=now,
        first_failed_at=since,
        event_id=f"{source}-{resource.key}-{since.isoformat()}"[-200:],
        source=source,
    )
    return incident, now - since


def _items(reads: Reads, path: str) -> Iterator[dict[str, Json]]:
    reading = reads.get_all(f"{path}?api-version={API_VERSION}", most=_MOST)
    if not isinstance(reading, Found):
        msg = f"{path} cannot be listed: {reading_words(reading)}"
        raise NotListed(msg)
    yield from (item for item in reading.value if isinstance(item, dict))
