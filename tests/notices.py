"""Notices for tests: of each action with a real plan, decided on by the real guards; and how they end."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from remediations import guards, planning, undoing
from remediations.actions import ACTIONS
from remediations.approval.notice import Kind, Notice
from remediations.model import (
    Caller,
    Decision,
    Diagnosis,
    Evidence,
    Finding,
    Found,
    Image,
    Incident,
    Level,
    Mode,
    Plan,
    Surroundings,
    Unknown,
)
from remediations.policy import ActionPolicy, Policy
from remediations.situation import Situation, survey
from remediations.trail import Question, Vote
from tests.builders import (
    ENDPOINT,
    NOON,
    SOMEBODY,
    STORAGE,
    US,
    make_access,
    make_candidate,
    make_diagnosis,
    make_endpoint_state,
    make_evidence,
    make_quota,
    make_registry,
    make_state,
    make_trail,
    make_workspace,
)
from tests.undos import make_undo_evidence

LINK = "https://medic.example/api/approvals/k1.WyJpbmMiLCJwbGFuIl0.aSo3Xw.Zm9vYmFyYmF6"
PAGE = "https://medic.example/api/incidents/inc-1"
ANNA = Caller(oid="11111111-aaaa-4bbb-8ccc-000000000001", tid=SOMEBODY.tid)
BERT = Caller(oid="11111111-aaaa-4bbb-8ccc-000000000002", tid=SOMEBODY.tid)
CARLA = Caller(oid="11111111-aaaa-4bbb-8ccc-000000000003", tid=SOMEBODY.tid)
POLICY = Policy(actions={name: ActionPolicy(mode=Mode.ASK) for name in ACTIONS})
_BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"

# Per action: the cause that calls for it, what it is, and how the reads speak for it.
_CAUSES: dict[str, dict[str, Any]] = {
    "retry": {
        "cause_id": "canceled-higher-priority",
        "what": "Azure canceled the operation in favor of another one with a higher priority.",
        "supporting": (
            Finding(read="operation", says="its own status is Canceled, with code OperationCanceled"),
            Finding(read="activity log", says="the row of the operation says Canceled, and names no person"),
        ),
    },
    "sync-keys": {
        "cause_id": "acr-authorization",
        "what": "The container registry refused the credentials that the workspace holds, while an image was built.",
        "supporting": (
            Finding(read="registry", says="it is there, and its admin user is on"),
            Finding(read="diagnosis", says="no network fault"),
        ),
    },
    "grant-roles": {
        "cause_id": "identity-missing-acrpull",
        "what": "The endpoint's identity may not pull images from the container registry.",
        "supporting": (Finding(read="role assignments", says="none of them gives identity id-credit AcrPull"),),
        "opposing": (Finding(read="role assignments", says="one was made a minute ago, and may be effective soon"),),
        "rivals": ("image-not-found",),
    },
    "delete-idle": {
        "cause_id": "quota-cpu",
        "what": "The region has not enough CPU quota left for the machines that the deployment asks for.",
        "supporting": (Finding(read="usages", says="24 of 24 cores of standardDSv2Family are used in westeurope"),),
    },
}


def seen_for(action: str, **changes: Any) -> Evidence:
    """Evidence on which an action has a plan."""
    if action.startswith("undo-"):
        return make_undo_evidence(action, **changes)
    around: dict[str, Any] = {"workspace": Found(make_workspace()), "registry": Found(make_registry())}
    if action == "sync-keys":
        around |= {"network": Found(())}
    if action == "grant-roles":
        reference = "crmlwprod.azurecr.io/credit:7"
        reader = make_access(
            need="read", role=_BLOB_READER, role_name="Storage Blob Data Reader", scope=STORAGE, held=False
        )
        around |= {
            "image": Found(Image(reference=reference, in_registry=True, manifest=Found("sha256:abc"))),
            "access": Found((make_access(), reader)),
        }
    if action == "delete-idle":
        names = ("FEATURE_STORE_URL", "MODEL_THRESHOLD")
        victim = make_candidate()
        around |= {
            "quota": Found(make_quota(used=24, total_used=24)),
            "candidates": Found((replace(victim, state=replace(victim.state, environment_names=names)),)),
        }
    fields: dict[str, Any] = {
        "surroundings": Surroundings(**around),
        "endpoint": Found(make_endpoint_state(traffic={"blue": 90, "green": 10})),
    }
    return make_evidence(**{**fields, **changes})


def plan_for(action: str, evidence: Evidence | None = None, policy: Policy = POLICY) -> Plan:
    """The plan that an action really makes."""
    evidence = evidence or seen_for(action)
    if evidence.incident.is_undo:
        diagnosis = undoing.diagnose(evidence, evidence_digest="e" * 64)
    else:
        diagnosis = make_diagnosis(
            incident=evidence.incident,
            action=action,
            level=Level.TWO_READS,
            **_CAUSES[action],
        )
    plan = planning.propose(diagnosis, evidence, ACTIONS, policy)
    assert isinstance(plan, Plan), plan.words
    return plan


def situation_for(plan: Plan, evidence: Evidence | None = None, policy: Policy = POLICY) -> Situation:
    """What the world and an empty trail show about a plan."""
    evidence = evidence or seen_for(plan.action)
    prints = ACTIONS[plan.action].fingerprint(plan.steps, evidence)
    return survey(plan, evidence, prints, policy=policy, ceiling=Mode.ASK, trail=make_trail(), own=US, now=NOON)


def decision_for(action: str) -> Decision:
    """What the real guards say of the real plan."""
    plan = plan_for(action)
    return guards.decide(plan, situation_for(plan), ACTIONS[action].guards, situation_digest="s" * 64)


def make_question(action: str = "retry", **changes: Any) -> Question:
    """What people are asked about the plan of an action."""
    plan = plan_for(action)
    fields: dict[str, Any] = {
        "at": NOON,
        "incident_id": plan.diagnosis.incident.id,
        "plan": plan.digest,
        "decision": "d" * 64,
        "policy_version": plan.policy_version,
        "expires_at": NOON + timedelta(hours=4),
        "quorum": 2 if action == "delete-idle" else 1,
        "callers": tuple(one for one in (SOMEBODY.appid, SOMEBODY.oid) if one),
        "touches": ACTIONS[action].touches(plan, situation_for(plan)),
    }
    return Question(**{**fields, **changes})


def make_vote(action: str = "retry", **changes: Any) -> Vote:
    """Anna's approval of the plan of an action."""
    fields: dict[str, Any] = {
        "at": NOON + timedelta(minutes=7),
        "plan": plan_for(action).digest,
        "by": ANNA,
        "approves": True,
        "comment": "Agreed with the owner of the endpoint.",
    }
    return Vote(**{**fields, **changes})


def make_incident_of(action: str) -> Incident:
    return seen_for(action).incident


def make_notice(kind: Kind = Kind.ASKED, *, action: str = "retry", **changes: Any) -> Notice:
    """A notice of a kind. What is asked has the plan of the action, what each guard says of it, and what it touches.

    A deletion needs two approvals, and has one.
    """
    fields: dict[str, Any] = {"kind": kind, "at": NOON, "incident": make_incident_of(action), "mode": Mode.ASK}
    decision = decision_for(action)
    fields |= {"decision": decision, "diagnosis": decision.plan.diagnosis, "question": make_question(action)}
    if kind is Kind.ASKED:
        fields |= {"link": LINK, "votes": (make_vote(action),) if action == "delete-idle" else ()}
        return Notice(**{**fields, **changes})
    fields |= {"link": PAGE, "words": _WORDS[kind]}
    if kind is Kind.ADVISED:
        fields |= {"question": None, "decision": None, "diagnosis": make_advised()}
    if kind is Kind.REFUSED:
        fields |= {"question": None, "decision": make_refusal(action)}
    return Notice(**{**fields, **changes})


def make_again(action: str = "delete-idle", **changes: Any) -> Notice:
    """The question that is asked anew because an approval is void."""
    differences = (
        f"instead: DELETE {ENDPOINT}/deployments/old?api-version=2024-10-01",
        "deployment rg-ml-prod/mlw-prod/credit-scoring/old: was 0f3c9a1b2d4e5f60, is 9a8b7c6d5e4f3a2b",
        "state: was Failed, is Canceled",
    )
    question = make_question(action, voids="f" * 64, differences=differences)
    return make_notice(action=action, **{"question": question, "votes": (), **changes})


def make_advised(**changes: Any) -> Diagnosis:
    """A diagnosis that only a person can act on, with all that there is to say about it."""
    fields: dict[str, Any] = {
        "cause_id": "container-out-of-memory",
        "code": "ResourceNotReady",
        "what": "The model server was killed, because it took more memory than its machine has.",
        "advice": "Choose a machine type with more memory, or load a smaller model.",
        "commands": (
            "az ml online-deployment get-logs --name green --endpoint-name credit-scoring --workspace-name mlw-prod",
            "az ml online-deployment update -n green -e credit-scoring --set instance_type=Standard_E4s_v3",
        ),
        "notes": ("Exit code 137.", "The machine type is Standard_DS3_v2 with 14 GiB."),
        "limits": "Endpoint Medic changes no machine types: which one is enough, the log does not tell.",
        "supporting": (Finding(read="log", says="the container ended with exit code 137"),),
        "action": None,
    }
    return make_diagnosis(**{**fields, **changes})


def make_refusal(action: str = "retry") -> Decision:
    """A decision in which one guard says no and one does not know."""
    plan = plan_for(action)
    protected = seen_for(action, resource=Found(make_state(tags={"medic": "off"})), history=Unknown("answered 403"))
    return guards.decide(plan, situation_for(plan, protected), ACTIONS[action].guards, situation_digest="s" * 64)


_WORDS = {
    Kind.APPROVED: f"approved by {ANNA.oid}: Agreed with the owner of the endpoint.",
    Kind.REJECTED: f"rejected by {ANNA.oid}: The old version serves the audit.",
    Kind.EXPIRED: "nobody answered in time",
    Kind.SUPERSEDED: "a newer failure of the same resource took its place",
    Kind.REPAIRED: "mlw-prod/credit-scoring/green is Succeeded with the spec that was sent",
    Kind.NOT_REPAIRED: "mlw-prod/credit-scoring/green is Failed again",
    Kind.INCONCLUSIVE: "mlw-prod/credit-scoring/green is still Updating",
    Kind.ADVISED: "no action cures container-out-of-memory",
    Kind.REFUSED: "not-protected: tag medic=off protects it",
    Kind.NOTHING_TO_DO: "mlw-prod/credit-scoring/green is Succeeded: the failure is over",
}


def benign_notices() -> list[Notice]:
    """One of each kind, each action's question, one that is asked anew, and those of which little is known."""
    asked = [make_notice(action=action) for action in ACTIONS]
    again = [make_again(action) for action in ACTIONS]
    ended = [make_notice(kind) for kind in Kind if kind is not Kind.ASKED]
    bare = [make_notice(kind, diagnosis=None, decision=None, question=None, votes=(), link=None) for kind in Kind]
    return [*asked, *again, *ended, *bare]
