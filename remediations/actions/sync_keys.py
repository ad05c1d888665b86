"""Re-sync the keys that a workspace holds, then run the failed operation again.

When: the registry refused the workspace's own credentials while an image was built, although the registry is there, its
admin user is on and the workspace's diagnosis shows no network fault.
Effect: one resyncKeys of the workspace, which reads the current keys of its registry and storage account anew; then one
PUT of the same deployment.
Undo: none is needed; the keys are those that the workspace should have had.

https://learn.microsoft.com/rest/api/azureml/workspaces/resync-keys
"""

from datetime import datetime

from msgspec.structs import replace

from remediations.actions import rerun
from remediations.actions.action import Action, Body, Changed, Go, Kept, Proposal, Turn, Unneeded, nothing_kept
from remediations.catalogue.checks import began_at
from remediations.guards import COMMON, allow, deny, unknown
from remediations.model import (
    Absent,
    Area,
    Call,
    Diagnosis,
    End,
    Evidence,
    Found,
    GuardAnswer,
    NoPlan,
    Plan,
    Risk,
    Status,
    Step,
    Touch,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.situation import PastEffect, Situation

API_VERSION = "2024-10-01-preview"  # the one that azure-ai-ml's begin_sync_keys sends
_NAME = "sync-keys"


def propose(diagnosis: Diagnosis, evidence: Evidence, policy: Policy) -> Proposal | NoPlan:
    """Give the sync and the re-run; none if there is no registry whose keys could be synced."""
    around = evidence.surroundings
    if not isinstance(around.registry, Found):
        words = f"the registry of the workspace is {reading_words(around.registry)}: there are no keys to sync"
        return NoPlan(diagnosis=diagnosis, end="advised", words=words)
    proposal = rerun.propose(diagnosis, evidence, policy)
    if isinstance(proposal, NoPlan):
        return proposal
    resource = evidence.incident.resource
    workspace = resource.workspace_path
    sync = Step(
        call=Call(method="POST", path=f"{workspace}/resyncKeys", api_version=API_VERSION, via="ml"),
        target=(workspace.lower(), resource.key),
    )
    began = began_at(evidence) or evidence.incident.failed_at
    return replace(
        proposal,
        steps=(sync, *proposal.steps),
        parameters={**proposal.parameters, "registry": around.registry.value.path, "began": began.isoformat()},
        effect=f"sync the keys of workspace {resource.workspace}, then {proposal.effect}",
        undo="none needed: the workspace gets the keys that its registry and storage account have now",
    )


def fingerprint(steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change: the deployment, and before the sync the registry and its admin user."""
    found = rerun.fingerprint(steps, evidence)
    registry = evidence.surroundings.registry
    if len(steps) > 1 and isinstance(registry, Found):
        found["registry"] = f"{registry.value.path.lower()}, admin user {registry.value.admin_user}"
    return found


def turn(plan: Plan, number: int, situation: Situation) -> Turn:
    """One sync cures every failure that began before it was over: the first incident's serves the others."""
    if plan.steps[number].is_rerun:
        return Go()
    began = datetime.fromisoformat(plan.parameters["began"])
    for sync in _syncs(plan, situation):
        if sync.settled is not None and sync.settled.held and sync.settled.at >= began:
            whose = (
                "this incident" if sync.incident_id == plan.diagnosis.incident.id else f"incident {sync.incident_id}"
            )
            return Unneeded(f"{whose} synced the keys at {sync.settled.at:%H:%M:%S} UTC, after this failure began")
    return Go()


def not_synced_in_vain(plan: Plan, situation: Situation) -> GuardAnswer:
    """A sync that was over before the failure began did not help; another one would not, if no key changed since."""
    name, cooldown = "not-synced-in-vain", situation.permission.cooldown
    began = datetime.fromisoformat(plan.parameters["began"])
    over = [sync.settled.at if sync.settled is not None else sync.at for sync in _syncs(plan, situation)]
    registry = situation.surroundings.registry
    changed = registry.value.keys_changed_at if isinstance(registry, Found) else None
    before = [
        at
        for at in over
        if at < began and situation.now - at < cooldown and not (changed is not None and at < changed < began)
    ]
    if before and not plan.steps[situation.step].is_rerun:
        return deny(name, f"the keys were synced at {max(before):%H:%M:%S} UTC, before this failure: they are not it")
    return allow(name, "no recent sync came before this failure")


def admin_user_is_on(_plan: Plan, situation: Situation) -> GuardAnswer:
    """The keys that are synced are those of the registry's admin user."""
    name, registry = "admin-user-is-on", situation.surroundings.registry
    if isinstance(registry, Found) and registry.value.admin_user is True:
        return allow(name, "the registry is there and its admin user is on")
    if isinstance(registry, Found) and registry.value.admin_user is False:
        return deny(name, "the admin user of the registry is off: there are no keys to sync")
    if isinstance(registry, Absent):
        return deny(name, "the registry is not there: there are no keys to sync")
    return unknown(name, "whether the admin user of the registry is on is not known")


def no_network_fault(_plan: Plan, situation: Situation) -> GuardAnswer:
    """A registry that cannot be reached refuses like one that does not know the keys."""
    name, faults = "no-network-fault", situation.network_faults
    if faults is None:
        return unknown(name, "the workspace's diagnosis of its network is not known")
    if faults:
        return deny(name, f"the workspace's diagnosis says: {faults[0]}")
    return allow(name, "the workspace's diagnosis shows no network fault")


def within_workspace(plan: Plan, _situation: Situation) -> GuardAnswer:
    """The blast radius: one sync of the failed resource's own workspace, and the re-run of that resource."""
    resource = plan.diagnosis.incident.resource
    calls = [(call.method, call.path.lower()) for call in plan.calls]
    own = [("POST", f"{resource.workspace_path}/resyncKeys".lower()), ("PUT", resource.key)]
    if calls == own:
        return allow("within-workspace", "one sync of its own workspace and one re-run of the failed resource")
    return deny("within-workspace", f"{len(calls)} calls; one sync of its own workspace and one re-run are allowed")


def prepare(plan: Plan, number: int, reads: Reads, _kept: Kept = nothing_kept) -> Body | Changed:
    """Give the body of the re-run; a sync has none."""
    return rerun.prepare(plan, number, reads) if plan.steps[number].is_rerun else Body(None)


def landed(plan: Plan, number: int, evidence: Evidence) -> Status:
    """Nothing shows whether a sync took effect, and another one does no harm."""
    return rerun.landed(plan, number, evidence) if plan.steps[number].is_rerun else Status.AGAIN


def verify(plan: Plan, number: int, after: Evidence) -> tuple[End | None, str]:
    """The sync is over once its operation is; whether it helped, the re-run shows."""
    if plan.steps[number].is_rerun:
        return rerun.verify(plan, number, after)
    return None, "the sync is over; whether it helped, the re-run shows"


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give the workspace, with the keys that it fetches anew and what else uses them, and the re-run."""
    workspace = plan.diagnosis.incident.resource.workspace_path
    shown = situation.surroundings.workspace
    storage = shown.value.storage or "none is named" if isinstance(shown, Found) else reading_words(shown)
    says = (
        "It fetches anew the keys that it holds: of its registry, its storage account and its Application Insights.",
        f"Its registry: {plan.parameters.get('registry', 'not known')}.",
        f"Its storage account: {storage}.",
        "Every deployment and job of the workspace that uses these keys uses the fetched ones from then on.",
        "No key is changed where it comes from, and nothing is taken away.",
    )
    return (Touch(path=workspace, says=says), *rerun.touches(plan, situation))


def _syncs(plan: Plan, situation: Situation) -> list[PastEffect]:
    """Give the syncs of the workspace that Azure took, by whichever incident."""
    workspace = plan.diagnosis.incident.resource.workspace_path.lower()
    return [
        effect
        for effect in situation.effects
        if effect.action == _NAME
        and effect.step == 0
        and workspace in effect.targets
        and effect.status is Status.ACCEPTED
    ]


SYNC_KEYS = Action(
    name=_NAME,
    risk=Risk.REPEATABLE,
    guards=(*COMMON, admin_user_is_on, no_network_fault, not_synced_in_vain, within_workspace),
    asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
    rerun_asks=(Area.REGISTRY, Area.NETWORK),
    propose=propose,
    fingerprint=fingerprint,
    turn=turn,
    prepare=prepare,
    landed=landed,
    verify=verify,
    touches=touches,
)
