"""What failed, why, and what would be done about it: read only, for ``medic scan`` and ``medic plan``.

The walk of the app up to the decision, one round of reads, over stores that cannot be written.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec, discovery, enrichment, guards, intake, planning, situation, surroundings
from remediations.actions import ACTIONS
from remediations.catalogue import CAUSES
from remediations.classification import classify, wanted
from remediations.errors import MedicError
from remediations.model import (
    ActivityRow,
    Caller,
    Decision,
    Diagnosis,
    ErrorDetail,
    Evidence,
    Found,
    Incident,
    NoPlan,
    Operation,
    Plan,
    ResourceId,
    Unknown,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads, Store
from remediations.settings import Settings
from remediations.trail import Trail

_LOG_KEEPS = timedelta(days=89)  # Azure keeps the Activity Log for 90 days, and refuses to be asked for more
_LOG_LAGS = timedelta(minutes=5)
_FAILED = frozenset({"Failed", "Canceled"})


class WriteRefused(MedicError):
    """A command that only reads asked for a write."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} was not written: this command only reads. Please report this.")


class ReadOnlyStore:
    """A store of which nothing can be changed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, content: bytes) -> None:  # noqa: ARG002 - the port's signature
        raise WriteRefused(name)

    def append(self, name: str, content: bytes, at: int) -> None:  # noqa: ARG002 - the port's signature
        raise WriteRefused(name)

    def read(self, name: str) -> bytes:
        return self._store.read(name)

    def list(self, prefix: str) -> Iterator[str]:
        return self._store.list(prefix)

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._store.lengths(prefix)


class Bench(Struct, frozen=True, kw_only=True):
    """What judging needs: settings, policy, a trail that cannot be written, and a maker of readers.

    Attributes:
        reads: Makes a fresh reader: what it is refused is counted from there.
    """

    settings: Settings
    policy: Policy
    trail: Trail
    reads: Callable[[], Reads]
    clock: Callable[[], datetime]

    @property
    def own(self) -> Caller | None:
        """The app's identity, if the settings tell. Whoever sits at this laptop is somebody else."""
        oid, appid = self.settings.principal_id, self.settings.client_id
        return Caller(oid=oid, appid=appid) if oid or appid else None


class Judged(Struct, frozen=True, kw_only=True):
    """One failure, diagnosed, and what would be done about it.

    Attributes:
        decision: Every guard's answer; None if nothing is planned.
    """

    evidence: Evidence
    diagnosis: Diagnosis
    plan: Plan | NoPlan
    decision: Decision | None = None

    @property
    def incident(self) -> Incident:
        return self.evidence.incident

    @property
    def state(self) -> str:
        """The state of the resource, or why it is not known."""
        resource = self.evidence.resource
        return resource.value.provisioning_state if isinstance(resource, Found) else reading_words(resource)

    @property
    def would(self) -> str:
        """``run``, ``ask``, ``refuse`` or ``dry-run`` for a plan; else ``advise`` or ``nothing``."""
        if self.decision is not None:
            return str(self.decision.would)
        return "nothing" if isinstance(self.plan, NoPlan) and self.plan.end == "nothing-to-do" else "advise"

    @property
    def is_readable(self) -> bool:
        """Whether Azure answered about the resource or its history at all."""
        return not (isinstance(self.evidence.resource, Unknown) and isinstance(self.evidence.history, Unknown))


class Seen(Struct, frozen=True, kw_only=True):
    """What the lists of some workspaces show.

    Attributes:
        broken: An incident for each resource that is Failed or Canceled, and when it was last written.
        unread: What could not be listed, and why.
    """

    workspaces: int
    endpoints: int
    broken: tuple[tuple[Incident, datetime], ...]
    unread: tuple[str, ...]


def look(bench: Bench, workspaces: Iterable[str], *, step: Callable[[str], None]) -> Seen:
    """Give what the lists show; a list that cannot be read costs its own content and nothing else."""
    now = bench.clock()
    broken: list[tuple[Incident, datetime]] = []
    unread: list[str] = []
    counted = listed = 0
    for workspace in workspaces:
        step(workspace.rsplit("/", 1)[-1])
        reads = bench.reads()  # so many requests for each
        try:
            endpoints = discovery.endpoints(reads, workspace)
        except discovery.NotListed as error:
            unread.append(str(error))
            continue
        counted += 1
        listed += len(endpoints)
        for endpoint in endpoints:
            try:
                for incident, age in discovery.failed_below(reads, endpoint, source="scan", now=now):
                    broken.append((incident, now - age))
            except discovery.NotListed as error:
                unread.append(str(error))
    return Seen(workspaces=counted, endpoints=listed, broken=tuple(broken), unread=tuple(unread))


def dated(incident: Incident, since: datetime, bench: Bench) -> Incident:
    """Give the incident with the time, the operation and the correlation id of its failure, from the Activity Log.

    Args:
        since: When the resource was last written: its failure is not older.
    """
    now = bench.clock()
    asked_from = max(since, now - _LOG_KEEPS)
    evidence = enrichment.enrich(replace(incident, failed_at=asked_from), bench.reads(), now=now, own=bench.own)
    row = _last_failure(evidence, since)
    if row is not None:
        is_delete = row.operation_name.lower().endswith("/delete")
        known = row.correlation_id.lower() or None
        return replace(
            incident,
            id=intake.incident_id(incident.resource, known) if known else incident.id,
            failed_at=row.at,
            correlation_id=known,
            operation=Operation.DELETE if is_delete else Operation.WRITE,
        )
    ended = evidence.operation.value.ended_at if isinstance(evidence.operation, Found) else None
    return replace(incident, failed_at=max(ended, since) if ended is not None else since)


def correlated(incident: Incident, bench: Bench) -> Incident:
    """Give an event's incident with its correlation id, from the Activity Log if the event has none."""
    if incident.correlation_id is not None or incident.is_scoring:
        return incident
    evidence = enrichment.enrich(incident, bench.reads(), now=bench.clock(), own=bench.own)
    if not isinstance(evidence.activity, Found) or not evidence.activity.value:
        return incident
    known = evidence.activity.value[-1].correlation_id.lower()
    return replace(incident, id=intake.incident_id(incident.resource, known), correlation_id=known)


def judge(incident: Incident, bench: Bench, *, report: tuple[ErrorDetail, ...] = ()) -> Judged:
    """Enrich, classify, propose, survey and decide, as the app would now; nothing is written."""
    now, url = bench.clock(), incident.desired_spec_url
    wants_spec = url is not None and bench.policy.lists_spec(url)
    reads = bench.reads()
    evidence = enrichment.enrich(incident, reads, now=now, own=bench.own, report=report, wants_spec=wants_spec)
    areas = frozenset() if incident.is_scoring else wanted(evidence, CAUSES)
    evidence = surroundings.with_surroundings(evidence, areas, reads, policy=bench.policy, own=bench.own)
    diagnosis = classify(evidence, CAUSES, evidence_digest=codec.digest_of(evidence))
    plan = planning.propose(diagnosis, evidence, ACTIONS, bench.policy)
    if isinstance(plan, NoPlan):
        return Judged(evidence=evidence, diagnosis=diagnosis, plan=plan)
    action = ACTIONS[plan.action]
    seen = situation.survey(
        plan,
        evidence,
        action.fingerprint(plan.steps, evidence),
        policy=bench.policy,
        ceiling=bench.settings.mode,
        trail=bench.trail,
        own=bench.own,
        now=now,
    )
    decision = guards.decide(plan, seen, action.guards, situation_digest=codec.digest_of(seen))
    return Judged(evidence=evidence, diagnosis=diagnosis, plan=plan, decision=decision)


def workspaces_named(reads: Reads, subscription: str, *, name: str | None, group: str | None) -> tuple[str, ...]:
    """Give the workspaces of a subscription, of one name or resource group if asked; raises NotListed."""
    found = []
    for workspace in discovery.workspaces(reads, subscription):
        parts = workspace.lower().split("/")
        in_group = group is None or f"/resourcegroups/{group.lower()}/" in workspace.lower()
        if in_group and (name is None or parts[-1] == name.lower()):
            found.append(workspace)
    return tuple(found)


def workspace_path(subscription: str, group: str, name: str) -> str:
    """Give the resource ID of a workspace; raises ValueError if a part of it cannot be a name."""
    provider = "providers/Microsoft.MachineLearningServices"
    return checked_workspace(f"/subscriptions/{subscription}/resourceGroups/{group}/{provider}/workspaces/{name}")


def checked_workspace(path: str) -> str:
    """Give a workspace's resource ID in Azure's own casing; raises ValueError if it is none."""
    try:
        return ResourceId.parse(f"{path.rstrip('/')}/onlineEndpoints/any").workspace_path
    except ValueError as error:
        msg = f"{path!r} is not the ID of a workspace"
        raise ValueError(msg) from error


def _last_failure(evidence: Evidence, since: datetime) -> ActivityRow | None:
    """Give the row of the last write or delete of the resource that failed since it was written."""
    if not isinstance(evidence.history, Found):
        return None
    key = evidence.incident.resource.key
    rows = [
        row
        for row in evidence.history.value
        if row.status in _FAILED
        and row.resource.lower() == key
        and row.at >= since - _LOG_LAGS
        and row.operation_name.lower().rsplit("/", 1)[-1] in {"write", "delete"}
    ]
    return max(rows, key=lambda row: row.at, default=None)
