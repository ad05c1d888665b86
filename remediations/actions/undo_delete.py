"""Create a deployment again that Endpoint Medic deleted.

When: somebody asks for the deletion to be undone, its receipt is still there, and nothing of that name is.
Effect: one PUT of the deployment with the body of the receipt; it gets no traffic, and none of its environment
variables, whose values were never kept: a person has to supply those that the plan names.
Undo: delete it again.
"""

import re
from shlex import quote

from remediations.actions import rerun
from remediations.actions.action import Action, Body, Changed, Kept, Proposal, advised, nothing_kept
from remediations.codec import digest_of
from remediations.enrichment import API_VERSION
from remediations.guards import COMMON, allow, cooled_down, deny, unknown
from remediations.model import (
    Absent,
    Call,
    Diagnosis,
    End,
    Evidence,
    Found,
    GuardAnswer,
    NoPlan,
    Plan,
    ProvisioningState,
    Reading,
    Receipt,
    ResourceId,
    Risk,
    Step,
    Touch,
    Undone,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.situation import Situation
from remediations.undone import RECEIPT_GONE, body_in

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def propose(diagnosis: Diagnosis, evidence: Evidence, _policy: Policy) -> Proposal | NoPlan:
    """Give the one PUT that brings the deployment back, or why there is none."""
    resource, receipt = evidence.incident.resource, _receipt(evidence.undone)
    label = resource.label
    if isinstance(receipt, Absent):
        return advised(diagnosis, f"{label} cannot be created again: {RECEIPT_GONE}")
    if not isinstance(receipt, Found):
        return advised(diagnosis, f"the receipt of {label} is {reading_words(receipt)}")
    if isinstance(evidence.resource, Found):
        state = evidence.resource.value.provisioning_state
        words = f"{label} is there, and is {state}: nothing is created over it"
        if state in {ProvisioningState.FAILED, ProvisioningState.CANCELED}:
            words = f"{words}. Delete it by hand first: {_deletion(resource)}"
        end = "nothing-to-do" if state == ProvisioningState.SUCCEEDED else "advised"
        return NoPlan(diagnosis=diagnosis, end=end, words=words)
    if not isinstance(evidence.resource, Absent):
        return advised(diagnosis, f"whether {label} is there is {reading_words(evidence.resource)}")
    known = receipt.value
    names = known.environment_names
    call = Call(method="PUT", path=resource.path, api_version=API_VERSION, body_digest=known.body_digest)
    missing = f"; a person has to supply {_variables(names)} before it gets any" if names else ""
    return Proposal(
        steps=(Step(call=call, target=(resource.key, resource.endpoint_id.key), is_rerun=True),),
        parameters={
            "receipt": known.digest,
            "taken at": f"{known.taken_at:%Y-%m-%d %H:%M:%S} UTC",
            "environment variables": ", ".join(names) or "none",
            **{f"command {number}": command for number, command in enumerate(commands(resource, names), start=1)},
        },
        effect=f"create {label} again from its receipt{_size(known)}, with traffic 0{missing}",
        undo=_deletion(resource),
        needs_person="an undo is never done without a person",
    )


def commands(resource: ResourceId, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give what to type so that the deployment has its environment variables again; nothing if it had none."""
    if not names:
        return ()
    update = f"az ml online-deployment update {_named(resource)}"
    if not _are_plain(names):  # --set would read a dot in a name as a path
        return (f"{update} --file DEPLOYMENT.yml",)
    return (f"{update} --set {' '.join(f'environment_variables.{name}=VALUE' for name in names)}",)


# ------------------------------------------------------------------------------------------- the guards


def deployment_is_absent(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Nothing of that name is there: nothing is created over anything."""
    name = "deployment-is-absent"
    if isinstance(situation.resource, Found):
        return deny(name, f"it is there, and is {situation.resource.value.provisioning_state}")
    if not isinstance(situation.resource, Absent):
        return unknown(name, f"whether it is there is {reading_words(situation.resource)}")
    return allow(name, "no deployment of that name is there")


def endpoint_is_there(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Its endpoint stands, and nobody is deleting it."""
    name = "endpoint-is-there"
    if isinstance(situation.endpoint, Absent):
        return deny(name, "its endpoint is gone")
    if not isinstance(situation.endpoint, Found):
        return unknown(name, f"its endpoint is {reading_words(situation.endpoint)}")
    state = situation.endpoint.value.provisioning_state
    if state == ProvisioningState.DELETING:
        return deny(name, "its endpoint is being deleted")
    return allow(name, f"its endpoint is {state}")


def gets_no_traffic(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Its endpoint gives that name neither traffic nor mirrored traffic: it would get it at once."""
    name, weights = "gets-no-traffic", _weights(situation.undone)
    if not isinstance(weights, Found):
        return unknown(name, f"what its endpoint gives a deployment of that name is {reading_words(weights)}")
    traffic, mirrored = weights.value
    words = f"its endpoint gives that name {traffic} % of its traffic, and mirrors {mirrored} % to it"
    return allow(name, words) if (traffic, mirrored) == (0, 0) else deny(name, words)


def receipt_is_kept(plan: Plan, situation: Situation) -> GuardAnswer:
    """The receipt lies in the evidence store, is what the deletion's intent names, and holds the planned body."""
    name, receipt = "receipt-is-kept", _receipt(situation.undone)
    if isinstance(receipt, Absent):
        return deny(name, RECEIPT_GONE)
    if not isinstance(receipt, Found):
        return unknown(name, f"the receipt is {reading_words(receipt)}")
    known, planned = receipt.value, plan.parameters.get("receipt")
    if (known.digest, known.body_digest) != (planned, plan.rerun.body_digest):
        return deny(name, "the receipt is not the one that was planned with")
    return allow(name, f"taken at {known.taken_at:%Y-%m-%d %H:%M:%S} UTC, and whole")


def receipt_is_last_state(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Nobody created and removed it again since: the receipt would bring back what is out of date."""
    name, rows = "receipt-is-last-state", (situation.undone or Undone()).rewritten
    if not isinstance(rows, Found):
        return unknown(name, f"whether somebody wrote it since we deleted it is {reading_words(rows)}")
    if rows.value:
        row = rows.value[-1]
        did = "deleted" if row.operation_name.lower().endswith("/delete") else "written"
        at = f"{row.at:%Y-%m-%d %H:%M:%S} UTC"
        return deny(name, f"it was {did} again at {at}, after we deleted it: its receipt is not its last state")
    return allow(name, "nobody else wrote or deleted it since its receipt was taken")


def within_receipt(plan: Plan, _situation: Situation) -> GuardAnswer:
    """The blast radius: one PUT, of the deployment that the receipt is about, and nothing else."""
    name, resource = "within-receipt", plan.diagnosis.incident.resource
    call = plan.rerun
    is_the_put = (call.method, call.via, call.path) == ("PUT", "arm", resource.path)
    is_near = set(plan.target) <= {resource.key, resource.endpoint_id.key}
    if len(plan.calls) != 1 or not is_the_put or not is_near or resource.deployment is None:
        return deny(name, "it is not one PUT of the deployment that was deleted")
    return allow(name, "one PUT, of the deployment that was deleted")


# ------------------------------------------------------------------------------------------- the call


def fingerprint(_steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change: that nothing is there, and what the endpoint would give it."""
    weights, endpoint = _weights(evidence.undone), evidence.endpoint
    shown = reading_words(weights)
    if isinstance(weights, Found):
        shown = f"{weights.value[0]} %, mirror {weights.value[1]} %"
    state = endpoint.value.provisioning_state if isinstance(endpoint, Found) else reading_words(endpoint)
    return {**rerun.fingerprint_of(evidence.resource), "endpoint": state, "traffic": shown}


def prepare(plan: Plan, _number: int, _reads: Reads, kept: Kept = nothing_kept) -> Body | Changed:
    """Give the body of the receipt, read again; it must be the one that was planned."""
    plain = kept(plan.parameters.get("receipt", ""))
    if not isinstance(plain, Found):
        return Changed(f"the receipt is {reading_words(plain)}")
    body = dict(body_in(plain.value))
    if digest_of(body) != plan.rerun.body_digest:
        return Changed("the receipt does not hold the body that was planned")
    return Body(body)


def verify(plan: Plan, _number: int, after: Evidence) -> tuple[End, str]:
    """Tell whether the deployment stands as its receipt says, without traffic."""
    label, receipt, weights = plan.diagnosis.incident.resource.label, _receipt(after.undone), _weights(after.undone)
    if not isinstance(after.resource, Found):
        return End.INCONCLUSIVE, f"{label} is {reading_words(after.resource)}"
    state = after.resource.value
    if state.modified_by_us is False:
        return End.INCONCLUSIVE, f"{label} is {state.provisioning_state}, but somebody else wrote it since"
    if state.provisioning_state in {ProvisioningState.FAILED, ProvisioningState.CANCELED}:
        return End.NOT_REPAIRED, f"{label} was created again, and is {state.provisioning_state}"
    if state.provisioning_state != ProvisioningState.SUCCEEDED:
        return End.INCONCLUSIVE, f"{label} is still {state.provisioning_state}"
    differs = receipt.value.differs if isinstance(receipt, Found) else (f"its receipt is {reading_words(receipt)}",)
    if differs:
        words = f"{label} is Succeeded, but differs from its receipt: {', '.join(differs[:5])}"
        return End.INCONCLUSIVE, words
    if not isinstance(weights, Found):
        words = f"{label} is Succeeded as its receipt says, and what traffic it gets is {reading_words(weights)}"
        return End.INCONCLUSIVE, words
    names = receipt.value.environment_names if isinstance(receipt, Found) else ()
    if weights.value != (0, 0):
        missing = f", without {_variables(names)}, which a person has to supply" if names else ""
        words = f"{label} is Succeeded as its receipt says, but it gets {_shares(weights.value)}{missing}"
        return End.INCONCLUSIVE, words
    missing = f". Before it gets any, a person has to supply {_variables(names)}" if names else ""
    return End.REPAIRED, f"{label} is Succeeded as its receipt says, with traffic 0{missing}"


# ------------------------------------------------------------------------------------------- the blast radius


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give the deployment that comes back, and its endpoint, which stays as it is."""
    resource, receipt = plan.diagnosis.incident.resource, _receipt(situation.undone)
    if not isinstance(receipt, Found):
        says: tuple[str, ...] = (f"Its receipt is {reading_words(receipt)}.",)
    else:
        known, names = receipt.value, receipt.value.environment_names
        says = (
            f"It is created again as it was at {known.taken_at:%Y-%m-%d %H:%M:%S} UTC{_size(known)}.",
            "It counts against the quota again: if that is used up by now, it fails, and stays as Failed.",
            _environment_words(names),
            *(_supply_words(command, names) for command in commands(resource, names)),
        )
    kept = ("How its traffic is split stays as it is.", _weight_words(_weights(situation.undone)))
    now = rerun.state_words(situation.resource)
    return Touch(path=resource.endpoint_path, says=kept), Touch(path=resource.path, says=(*says, now))


def _environment_words(names: tuple[str, ...]) -> str:
    if not names:
        return "It had no environment variables: its receipt is all that it needs."
    return f"It comes back without {_variables(names)}: a person has to supply the values, which were never kept."


def _supply_words(command: str, names: tuple[str, ...]) -> str:
    if _are_plain(names):
        return f"To supply them: {command} (VALUE stands for each value)."
    into = "DEPLOYMENT.yml, under environment_variables"
    return f"To supply them, write them with their values into {into}; then: {command}"


def _are_plain(names: tuple[str, ...]) -> bool:
    """Tell whether `--set` takes each name as it is."""
    return all(_PLAIN_NAME.fullmatch(name) for name in names)


def _weight_words(weights: Reading[tuple[int, int]]) -> str:
    if not isinstance(weights, Found):
        return f"What it gives a deployment of that name is {reading_words(weights)}."
    return f"It gives a deployment of that name {weights.value[0]} % of its traffic, and mirrors {weights.value[1]} %."


# ------------------------------------------------------------------------------------------- the parts


def _receipt(undone: Undone | None) -> Reading[Receipt]:
    return (undone or Undone()).receipt


def _weights(undone: Undone | None) -> Reading[tuple[int, int]]:
    return (undone or Undone()).weights


def _shares(weights: tuple[int, int]) -> str:
    """Give the weights that are not 0, of the traffic and of the mirror traffic."""
    named = zip(weights, ("of the traffic", "of the mirrored traffic"), strict=True)
    return " and ".join(f"{share} % {kind}" for share, kind in named if share)


def _variables(names: tuple[str, ...]) -> str:
    return f"the environment variable{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _size(receipt: Receipt) -> str:
    return "" if receipt.instance_type is None else f" ({receipt.capacity or 1} of {receipt.instance_type})"


def _deletion(resource: ResourceId) -> str:
    return f"az ml online-deployment delete {_named(resource)} --yes"


def _named(resource: ResourceId) -> str:
    options = (
        ("name", resource.deployment or ""),
        ("endpoint-name", resource.endpoint),
        ("workspace-name", resource.workspace),
        ("resource-group", resource.resource_group),
        ("subscription", resource.subscription),
    )
    return " ".join(f"--{name} {quote(value)}" for name, value in options)


UNDO_DELETE = Action(
    name="undo-delete",
    risk=Risk.REVERSIBLE,
    guards=(
        *(guard for guard in COMMON if guard is not cooled_down),  # the deletion itself was a moment ago: that is why
        deployment_is_absent,
        endpoint_is_there,
        gets_no_traffic,
        receipt_is_kept,
        receipt_is_last_state,
        within_receipt,
    ),
    propose=propose,
    fingerprint=fingerprint,
    prepare=prepare,
    landed=rerun.landed,
    verify=verify,
    touches=touches,
)
