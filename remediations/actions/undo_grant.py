"""Take a role away again that Endpoint Medic granted.

When: somebody asks for the grant to be undone, our identity may delete role assignments there, and the assignment is
the one that we created, as we created it.
Effect: one DELETE of that assignment. What uses the identity keeps running, and may fail to pull its image or to read
its model at its next restart or scale-out.
Undo: grant the role again.

https://learn.microsoft.com/azure/role-based-access-control/role-assignments-remove
"""

from shlex import quote

from remediations.actions import rerun
from remediations.actions.action import Action, Body, Changed, Kept, Proposal, advised, nothing_kept
from remediations.actions.grant_roles import assignment_name, role_name
from remediations.guards import COMMON, allow, cooled_down, deny, nobody_intervened, unknown
from remediations.model import (
    Absent,
    Assignment,
    Call,
    Diagnosis,
    End,
    Evidence,
    Found,
    Grant,
    GuardAnswer,
    NoPlan,
    Plan,
    Risk,
    Status,
    Step,
    Touch,
    Undone,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.situation import Situation
from remediations.surroundings import ROLES_API_VERSION

_WARNING = "Deployments that use this identity may fail to pull or to read at their next restart or scale-out."


def propose(diagnosis: Diagnosis, evidence: Evidence, _policy: Policy) -> Proposal | NoPlan:
    """Give the one DELETE; or, where our identity may not, the command for a person."""
    undone = evidence.undone or Undone()
    if not isinstance(undone.grant, Found):
        return advised(diagnosis, f"what was granted is {reading_words(undone.grant)}")
    grant = undone.grant.value
    command = by_hand(grant)
    if isinstance(undone.assignment, Absent):
        return NoPlan(diagnosis=diagnosis, end="nothing-to-do", words=f"{_named(grant)} is gone already")
    if not isinstance(undone.assignment, Found):
        words = f"{_named(grant)} is {reading_words(undone.assignment)}. To remove it by hand: {command}"
        return advised(diagnosis, words)
    if undone.may_delete != Found(True):
        unread = "" if isinstance(undone.may_delete, Found) else f" ({reading_words(undone.may_delete)})"
        change = why_another(grant, undone.assignment.value)
        look = "" if change is None else f" But look at it first: {change}."
        why = f"our identity may not delete role assignments there{unread}: the undo role is not deployed"
        return advised(diagnosis, f"{why}. {_WARNING}{look} To remove it: {command}")
    call = Call(method="DELETE", path=grant.path, api_version=ROLES_API_VERSION, via="roles")
    return Proposal(
        steps=(Step(call=call, target=(grant.path.lower(), evidence.incident.resource.key)),),
        parameters={"principal": grant.principal, "role": grant.role, "scope": grant.scope, "by hand": command},
        effect=f"remove {_named(grant)}, which Endpoint Medic granted. {_WARNING}",
        undo=(
            f"az role assignment create --assignee-object-id {quote(grant.principal)} --assignee-principal-type "
            f"ServicePrincipal --role {quote(grant.role)} --scope {quote(grant.scope)}"
        ),
        needs_person="an undo is never done without a person",
    )


def why_another(grant: Grant, shown: Assignment) -> str | None:
    """Give why an assignment is not the one that we created, as we created it; None if nothing says so."""
    expected = assignment_name(grant.scope, grant.principal, grant.role)
    checks = (
        (grant.path.rpartition("/")[2].lower() != expected, "its name is not one of ours"),
        (shown.name.lower() != expected, f"it is named {shown.name or 'nothing'}, which is no name of ours"),
        (shown.principal.lower() != grant.principal.lower(), f"it is for principal {shown.principal or 'unknown'}"),
        (shown.role.lower() != grant.role.lower(), f"it gives role {shown.role or 'unknown'}"),
        (shown.scope.lower().rstrip("/") != grant.scope.lower(), f"it holds on {shown.scope or 'an unknown scope'}"),
        (bool(shown.condition), "it has a condition, which we never set"),
        (shown.created_by_us is False, "somebody else created it"),
        (shown.created_at is None, "when it was created is not shown"),
        (shown.updated_at != shown.created_at, "somebody changed it since"),
    )
    return next((words for is_so, words in checks if is_so), None)


def by_hand(grant: Grant) -> str:
    """Give what a person types to remove a role assignment."""
    return f"az role assignment delete --ids {quote(grant.path)}"


# ------------------------------------------------------------------------------------------- the guards


def assignment_is_ours(plan: Plan, situation: Situation) -> GuardAnswer:
    """It is the assignment that we created, with the name, principal, role and scope of our intent, as it was then."""
    name, undone = "assignment-is-ours", situation.undone or Undone()
    if not isinstance(undone.grant, Found):
        return unknown(name, f"what was granted is {reading_words(undone.grant)}")
    if isinstance(undone.assignment, Absent):
        return deny(name, "it is gone already")
    if not isinstance(undone.assignment, Found):
        return unknown(name, f"it is {reading_words(undone.assignment)}")
    grant, shown = undone.grant.value, undone.assignment.value
    if grant.path != plan.rerun.path:
        return deny(name, "it is not the one that was planned for")
    if (why := why_another(grant, shown)) is not None:
        return deny(name, why)
    if shown.created_by_us is None:
        return unknown(name, "who created it, or who we are, is not known")
    return allow(name, f"created by us at {shown.created_at:%Y-%m-%d %H:%M:%S} UTC, and not changed since")


def may_delete_it(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Our identity holds the right to delete it, which only the optional undo role gives."""
    name, may = "may-delete-it", (situation.undone or Undone()).may_delete
    if not isinstance(may, Found):
        return unknown(name, f"whether our identity may delete it is {reading_words(may)}")
    if not may.value:
        return deny(name, "our identity may not delete role assignments there")
    return allow(name, "our identity may delete role assignments there")


def within_grant(plan: Plan, situation: Situation) -> GuardAnswer:
    """The blast radius: one DELETE, of one role assignment, which we granted."""
    name, call = "within-grant", plan.rerun
    grant = (situation.undone or Undone()).grant
    path = grant.value.path if isinstance(grant, Found) else None
    is_the_delete = (call.method, call.via, call.body_digest) == ("DELETE", "roles", None)
    is_near = set(plan.target) <= {call.path.lower(), plan.diagnosis.incident.resource.key}
    if len(plan.calls) != 1 or not is_the_delete or not is_near or call.path != path:
        return deny(name, "it is not one DELETE of the role assignment that we granted")
    return allow(name, "one DELETE, of the role assignment that we granted")


# ------------------------------------------------------------------------------------------- the call


def fingerprint(_steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change: the assignment, as Azure shows it."""
    undone = evidence.undone or Undone()
    found = {"state": "absent"} if isinstance(evidence.resource, Absent) else {}
    if not isinstance(undone.assignment, Found):
        return {**found, "assignment": reading_words(undone.assignment)}
    shown = undone.assignment.value
    updated = "unknown" if shown.updated_at is None else shown.updated_at.isoformat()
    parts = (shown.name, shown.principal, shown.role, shown.scope, shown.condition or "no condition", updated)
    return {**found, "assignment": ", ".join(parts)}


def prepare(_plan: Plan, _number: int, _reads: Reads, _kept: Kept = nothing_kept) -> Body | Changed:
    """A deletion has no body."""
    return Body(None)


def landed(_plan: Plan, _number: int, evidence: Evidence) -> Status:
    """Tell by the world whether a deletion whose answer was lost took effect."""
    match (evidence.undone or Undone()).assignment:
        case Absent():
            return Status.ACCEPTED
        case Found():
            return Status.NOT_DONE  # a further attempt looks at everything anew
        case _:
            return Status.UNCLEAR


def verify(_plan: Plan, _number: int, after: Evidence) -> tuple[End, str]:
    """Tell whether the assignment is gone."""
    match (after.undone or Undone()).assignment:
        case Absent():
            return End.REPAIRED, f"the role assignment is gone. {_WARNING}"
        case Found():
            return End.NOT_REPAIRED, "the role assignment is still there"
        case unread:
            return End.INCONCLUSIVE, f"whether the role assignment is gone is {reading_words(unread)}"


# ------------------------------------------------------------------------------------------- the blast radius


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give the assignment, with who loses what, and the resource that it was granted for, which stays as it is."""
    told = plan.parameters
    role = role_name(told.get("role", "not known"))
    says = (
        f"Principal {told.get('principal')} has {role} on {told.get('scope')} by it, and loses that.",
        _WARNING,
        "What runs now keeps running.",
    )
    kept = ("The role was granted for it. It is not touched.", rerun.state_words(situation.resource))
    return Touch(path=plan.rerun.path, says=says), Touch(path=plan.diagnosis.incident.resource.path, says=kept)


# ------------------------------------------------------------------------------------------- the parts


def _named(grant: Grant) -> str:
    scope = grant.scope.rpartition("/")[2]
    return f"the assignment of {role_name(grant.role)} on {scope} to principal {grant.principal}"


UNDO_GRANT = Action(
    name="undo-grant",
    risk=Risk.REVERSIBLE,
    guards=(
        # The grant itself was a moment ago, and who writes to the deployment changes nothing about its role.
        *(guard for guard in COMMON if guard not in {cooled_down, nobody_intervened}),
        assignment_is_ours,
        may_delete_it,
        within_grant,
    ),
    propose=propose,
    fingerprint=fingerprint,
    prepare=prepare,
    landed=landed,
    verify=verify,
    touches=touches,
)
