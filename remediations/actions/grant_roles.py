"""Give a deployment's identity the roles that it lacks, then run the failed operation again.

When: a user-assigned identity of the endpoint may not pull from the workspace's registry, or not read models from its
storage account, and the role assignments say so.
Effect: the missing role, to that identity, on that registry or account alone; then PUTs of the same deployment after
2, 5 and 10 minutes, until the role is effective.
Undo: delete the assignments that the audit trail names, with ``az role assignment delete --ids``.

https://learn.microsoft.com/azure/machine-learning/how-to-access-resources-from-endpoints-managed-identities
https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
"""

import uuid
from collections.abc import Collection
from datetime import timedelta
from functools import lru_cache

from msgspec.structs import replace

from remediations import codec
from remediations.actions import rerun
from remediations.actions.action import (
    Action,
    Body,
    Changed,
    Go,
    Kept,
    Proposal,
    Stop,
    Turn,
    Unneeded,
    advised,
    nothing_kept,
)
from remediations.catalogue import CAUSES
from remediations.catalogue.checks import role_is_fresh
from remediations.catalogue.matchers import Symptoms
from remediations.classification import nominate
from remediations.codec import mapping, text
from remediations.guards import COMMON, allow, deny, unknown
from remediations.model import (
    Absent,
    Access,
    Area,
    Call,
    Caller,
    Diagnosis,
    End,
    Evidence,
    Found,
    GuardAnswer,
    Json,
    NoPlan,
    Plan,
    Risk,
    Status,
    Step,
    Surroundings,
    Touch,
    Unknown,
    reading_words,
)
from remediations.policy import Grants, Policy
from remediations.ports import Reads, Reply
from remediations.situation import PastEffect, Situation
from remediations.surroundings import ACR_PULL, BLOB_READER, REPOSITORY_READER, ROLES_API_VERSION

_WAITS = tuple(timedelta(minutes=minutes) for minutes in (2, 5, 10))  # a role is effective within up to ten minutes
_NAMES = uuid.UUID("6d1f7b0e-5b1c-5a52-9a3e-0c1f6f2f7f11")  # of no other meaning: the namespace of our names
_NOT_READ = "what the endpoint's identities may do is not known"
_PROVIDER = "providers/Microsoft.Authorization"
_OPENS = {  # role -> its name, and what whoever has it can do
    ACR_PULL: ("AcrPull", "pull every image of the registry"),
    REPOSITORY_READER: ("Container Registry Repository Reader", "pull every image of every repository of the registry"),
    BLOB_READER: ("Storage Blob Data Reader", "read every blob, not only the model, of the storage account"),
}


def propose(diagnosis: Diagnosis, evidence: Evidence, policy: Policy) -> Proposal | NoPlan:
    """Give the missing grants and the re-runs; none if what is missing cannot be told, or is not ours to give."""
    around = evidence.surroundings
    if not isinstance(around.access, Found):
        return advised(diagnosis, f"what the endpoint's identities may do is {reading_words(around.access)}")
    unclear = next((access for access in around.access.value if access.held is None), None)
    if unclear is not None:
        words = f"whether {_who(unclear)} may {unclear.need} is unclear: {unclear.words}"
        return advised(diagnosis, words)
    missing = tuple(access for access in around.access.value if access.held is False)
    fresh = role_is_fresh(evidence)
    if not missing and fresh is None:
        return advised(diagnosis, "no role is missing: every identity of the endpoint holds what it needs")
    pull = next((one for one in missing if one.need == "pull"), None)
    is_abac = isinstance(around.registry, Found) and around.registry.value.is_abac is True
    if pull is not None and is_abac and not policy.grants.repository_reader:
        words = "the registry is in ABAC mode and ignores AcrPull; policy (grants.repository_reader) does not allow"
        return advised(diagnosis, f"{words} {pull.role_name}: allow it, or grant the role yourself")
    proposal = rerun.propose(diagnosis, evidence, policy)
    if isinstance(proposal, NoPlan):
        return proposal
    key = evidence.incident.resource.key
    grants = tuple(Step(call=_call(one), target=(_path(one).lower(), key)) for one in missing)
    reruns = tuple(replace(proposal.steps[0], wait=wait) for wait in _WAITS)
    given = "; ".join(f"{one.role_name} on {_last(one.scope)} to {_who(one)}" for one in missing)
    first = f"grant {given}" if missing or fresh is None else fresh.says
    return Proposal(
        steps=(*grants, *reruns),
        parameters=proposal.parameters | {_last(_path(one)): codec.encode(_body(one)).decode() for one in missing},
        effect=f"{first}; then, until it is effective, after 2, 5 and 10 more minutes, {proposal.effect}",
        undo=f"az role assignment delete --ids {' '.join(_path(one) for one in missing)}" if missing else proposal.undo,
        needs_person=proposal.needs_person or _needs_person(missing, around, policy.grants),
    )


def fingerprint(steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change: the deployment, who its identities are, and the registry's role mode."""
    found = rerun.fingerprint(steps, evidence)
    access, registry = evidence.surroundings.access, evidence.surroundings.registry
    if isinstance(access, Found):
        who = sorted({f"{one.identity.path.lower()}={one.identity.principal_id}" for one in access.value})
        found["identities"] = ", ".join(who)
    if isinstance(registry, Found):
        found["role mode"] = registry.value.role_mode or "unknown"
    return found


def turn(plan: Plan, number: int, situation: Situation) -> Turn:
    """A role that is there by now, whoever granted it, is not granted again."""
    if plan.steps[number].is_rerun:
        granted = (_access_of(plan, earlier, situation.surroundings) for earlier in range(number))
        taken = next((one for one in granted if one is not None and one.held is False), None)
        return Go() if taken is None else Stop(f"{_who(taken)} has {taken.role_name} no more: somebody took it away")
    access = _access_of(plan, number, situation.surroundings)
    if access is not None and access.held is True:
        return Unneeded(f"{_who(access)} has it: {access.words}")
    return Go()


def role_is_missing(plan: Plan, situation: Situation) -> GuardAnswer:
    """What is granted is missing still, to an identity that the endpoint has still."""
    name = "role-is-missing"
    if plan.steps[situation.step].is_rerun:
        return allow(name, "the roles are granted")
    access = situation.surroundings.access
    if not isinstance(access, Found):
        return unknown(name, f"what the endpoint's identities may do is {reading_words(access)}")
    pending = [
        (number, step) for number, step in enumerate(plan.steps) if number >= situation.step and not step.is_rerun
    ]
    for number, step in pending:
        if any(_gave_it(effect, step) and effect.plan != plan.digest for effect in situation.effects):
            return deny(name, "we gave it before, and somebody took it away")
        one = _access_of(plan, number, situation.surroundings)
        if one is None:
            return deny(name, f"{_last(step.call.path)} is for an identity or a scope that the endpoint has no more")
        if one.held is None:
            return unknown(name, f"whether {_who(one)} may {one.need} is unclear: {one.words}")
    return allow(name, "the assignments, inherited ones and those of groups included, do not give it")


def image_is_there(plan: Plan, situation: Situation) -> GuardAnswer:
    """No role makes an image appear: a registry refuses a wrong tag in the same words."""
    name, image = "image-is-there", situation.surroundings.image
    pending = range(situation.step, len(plan.steps))
    if not any(_is_pull(plan, number, situation.surroundings) for number in pending):
        return allow(name, "no right to pull is granted any more")
    reference = image.value.reference if isinstance(image, Found) else "of the deployment"
    manifest = image.value.manifest if isinstance(image, Found) else image
    if isinstance(image, Found) and not image.value.in_registry:
        return deny(name, f"the image {reference} does not lie in the workspace's registry")
    if isinstance(manifest, Absent):
        return deny(name, f"the registry has no {reference}")
    if isinstance(manifest, Unknown) and plan.needs_person is None:
        return unknown(name, f"the image {reference} is {reading_words(manifest)}, and no person was asked")
    return allow(name, f"the image {reference} is {reading_words(manifest)}")


def permitted_by_policy(plan: Plan, situation: Situation) -> GuardAnswer:
    """What policy said of identities and of ABAC registries when the plan was made, it says still."""
    name, grants, access = "permitted-by-policy", situation.grants, situation.surroundings.access
    if plan.steps[situation.step].is_rerun:
        return allow(name, "nothing more is granted")
    pending = range(situation.step, len(plan.steps))
    given = [one for number in pending if (one := _access_of(plan, number, situation.surroundings)) is not None]
    if not isinstance(access, Found):
        return unknown(name, _NOT_READ)
    if any(one.role == REPOSITORY_READER for one in given) and not grants.repository_reader:
        return deny(name, "policy does not allow Container Registry Repository Reader (grants.repository_reader)")
    unlisted = sorted({_who(one) for one in given if not grants.lists(one.identity.path)})
    if unlisted and plan.needs_person is None:
        return deny(name, f"policy lists {', '.join(unlisted)} no more, and no person was asked")
    return allow(name, "policy lists the identities, or a person decides")


def within_identity(plan: Plan, situation: Situation) -> GuardAnswer:
    """The blast radius: the least roles, on the workspace's own registry and account, and the failed resource."""
    name, around = "within-identity", situation.surroundings
    workspace = around.workspace.value if isinstance(around.workspace, Found) else None
    if workspace is None:
        return unknown(name, f"the workspace is {reading_words(around.workspace)}")
    scopes = [scope.lower() for scope in (workspace.registry, workspace.storage) if scope is not None]
    for step in plan.steps:
        path, method = step.call.path.lower(), step.call.method
        is_grant = any(path.startswith(f"{scope}/{_PROVIDER}/roleassignments/".lower()) for scope in scopes)
        if method != "PUT" or not (path == plan.diagnosis.incident.resource.key if step.is_rerun else is_grant):
            return deny(name, f"{step.call} is neither on the workspace's registry or account, nor the re-run")
    return allow(name, "grants on the workspace's own registry and account, and re-runs of the failed resource")


def prepare(plan: Plan, number: int, reads: Reads, _kept: Kept = nothing_kept) -> Body | Changed:
    """Give the body of an assignment or of the re-run; it must be the one that was planned."""
    step = plan.steps[number]
    if step.is_rerun:
        return rerun.prepare(plan, number, reads)
    body = plan.parameters.get(_last(step.call.path))
    content: Json = codec.parse_json(body) if body is not None else None
    if body is None or codec.digest_of(content) != step.call.body_digest:
        return Changed("the assignment is not the one that was planned")
    return Body(content)


def landed(plan: Plan, number: int, evidence: Evidence) -> Status:
    """The listed assignments tell that a grant took effect. That it did not they do not tell: somebody may have taken
    it away again, and would not have it given back."""
    if plan.steps[number].is_rerun:
        return rerun.landed(plan, number, evidence)
    granted = _access_of(plan, number, evidence.surroundings)
    return Status.ACCEPTED if granted is not None and granted.held is True else Status.UNCLEAR


def answer(step: Step, reply: Reply) -> tuple[Status, str] | None:
    """Give what Azure's answers to a grant mean."""
    if step.is_rerun or reply.status is None or reply.status < 400:
        return None
    codes = {detail.code for detail in reply.errors}
    if "RoleAssignmentExists" in codes:
        return Status.ACCEPTED, "the identity has this role already, by another assignment"
    if "PrincipalNotFound" in codes:
        return Status.BUSY, "the directory does not know the identity yet: it was created a moment ago"
    if "RoleAssignmentLimitExceeded" in codes:
        words = "the subscription has no role assignments left: remove unused ones, then run this again"
        return Status.REJECTED, words
    return None


def verify(plan: Plan, number: int, after: Evidence) -> tuple[End | None, str]:
    """After a grant, on to the re-run; a re-run that is refused as before comes again while the role may be pending."""
    if not plan.steps[number].is_rerun:
        return None, "the role is granted; it is effective within ten minutes"
    end, words = rerun.verify(plan, number, after)
    if end is End.NOT_REPAIRED and number + 1 < len(plan.steps) and _is_refused_as_before(plan, after):
        return None, f"{words}, for the same reason: the role may not be effective yet"
    return end, words


# ------------------------------------------------------------------------------------------- the blast radius


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give each assignment, with what it opens and to whom, and the re-run."""
    grants = (number for number, step in enumerate(plan.steps) if not step.is_rerun)
    given = (Touch(path=plan.calls[number].path, says=_grant_words(plan, number, situation)) for number in grants)
    return (*given, *rerun.touches(plan, situation))


def _grant_words(plan: Plan, number: int, situation: Situation) -> tuple[str, ...]:
    path = plan.calls[number].path
    body = codec.parse_json(plan.parameters.get(_last(path), "null"))
    properties = mapping(mapping(body).get("properties"))
    role, principal = _last(text(properties.get("roleDefinitionId"))), text(properties.get("principalId"))
    scope = _last(path.rpartition(f"/{_PROVIDER}/")[0])
    name, opens = _OPENS.get(role, (f"role {role or 'not known'}", "do what that role allows on"))
    return (
        f"{name}: whoever holds it can {opens} {scope}.",
        _holder_words(_access_of(plan, number, situation.surroundings), principal, situation.surroundings),
        "Every deployment that uses this identity gains it, and so does whatever else signs in with it.",
        _caller_words(plan.diagnosis.incident.caller),
        "The assignment stays until somebody deletes it.",
    )


def _holder_words(access: Access | None, principal: str, around: Surroundings) -> str:
    whom = f"principal {principal or 'not known'}"
    if access is not None:
        state = {
            True: f", who has this right already: {access.words}",
            False: ", who does not have it",
            None: f"; whether it has this right already is not known: {access.words}",
        }[access.held]
        return f"It is given to {access.identity.path}, {whom}{state}."
    if isinstance(around.access, Found):
        return f"It is given to {whom}, which the endpoint needs no more."
    return f"It is given to {whom}; what the endpoint's identities are and may do is {reading_words(around.access)}."


def _caller_words(caller: Caller) -> str:
    ids = [(what, one) for what, one in (("object", caller.oid), ("application", caller.appid)) if one]
    if not ids:
        return "The operation that failed asks for it; who started that is not known."
    named = ", ".join(f"{what} id {one}" for what, one in ids)
    return f"The operation that failed asks for it; that was started by {named}."


# ------------------------------------------------------------------------------------------- the parts


@lru_cache(maxsize=256)
def assignment_name(scope: str, principal: str, role: str) -> str:
    """Give the name of an assignment: the same for the same scope, principal and role, so that no two are made."""
    return str(uuid.uuid5(_NAMES, f"{scope.lower()}|{principal.lower()}|{role.lower()}"))


def role_name(role: str) -> str:
    """Give what people call a role that is granted here; its id for any other."""
    return _OPENS[role.lower()][0] if role.lower() in _OPENS else f"role {role}"


def _call(access: Access) -> Call:
    return Call(
        method="PUT",
        path=_path(access),
        api_version=ROLES_API_VERSION,
        body_digest=codec.digest_of(_body(access)),
        via="roles",
    )


def _path(access: Access) -> str:
    name = assignment_name(access.scope, access.identity.principal_id or "", access.role)
    return f"{access.scope}/{_PROVIDER}/roleAssignments/{name}"


def _body(access: Access) -> dict[str, Json]:
    subscription = access.scope.split("/")[2]
    return {
        "properties": {
            "roleDefinitionId": f"/subscriptions/{subscription}/{_PROVIDER}/roleDefinitions/{access.role}",
            "principalId": access.identity.principal_id,
            "principalType": "ServicePrincipal",
        }
    }


def _access_of(plan: Plan, number: int, around: Surroundings) -> Access | None:
    """Give the access that a step grants, as it is now; None if the endpoint needs it no more."""
    path = plan.calls[number].path.lower()
    found = around.access.value if isinstance(around.access, Found) else ()
    return next((access for access in found if _path(access).lower() == path), None)


def _gave_it(effect: PastEffect, step: Step) -> bool:
    """Tell whether an effect was the very assignment of a step."""
    return effect.status is Status.ACCEPTED and step.call.path.lower() in effect.targets


def _is_pull(plan: Plan, number: int, around: Surroundings) -> bool:
    access = _access_of(plan, number, around)
    return access is not None and access.need == "pull"


def _needs_person(missing: Collection[Access], around: Surroundings, grants: Grants) -> str | None:
    unlisted = sorted({_who(one) for one in missing if not grants.lists(one.identity.path)})
    if unlisted:
        return f"policy does not list {', '.join(unlisted)} under grants.identities"
    image = around.image
    is_there = isinstance(image, Found) and isinstance(image.value.manifest, Found)
    if is_there or all(one.need != "pull" for one in missing):
        return None
    shown = image.value.manifest if isinstance(image, Found) else image
    return f"whether the image is there is {reading_words(shown)}"


def _is_refused_as_before(plan: Plan, after: Evidence) -> bool:
    """Tell whether the operation's own words nominate the same cause once more."""
    if not isinstance(after.operation, Found):
        return False
    texts = Symptoms(details=after.operation.value.errors)
    return any(cause.action == plan.action for cause, _ in nominate(texts, CAUSES))


def _who(access: Access) -> str:
    return f"identity {_last(access.identity.path)}"


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


GRANT_ROLES = Action(
    name="grant-roles",
    risk=Risk.REVERSIBLE,
    guards=(*COMMON, permitted_by_policy, role_is_missing, image_is_there, within_identity),
    asks=(Area.IMAGE, Area.ACCESS),
    rerun_asks=(Area.ACCESS,),
    propose=propose,
    fingerprint=fingerprint,
    turn=turn,
    prepare=prepare,
    landed=landed,
    answer=answer,
    verify=verify,
    touches=touches,
)
