"""Causes in quota and capacity. Only the CPU quota of managed endpoints can be freed by deleting deployments."""

from remediations.catalogue.cause import Cause, Facts, Symptoms, code, either, every, message, without
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    TURNED_DOWN,
    cores_are_missing,
    did_not_end_with,
    is_kubernetes,
    is_managed,
)
from remediations.catalogue.texts import CRASHED, GUIDE, NO_NODE, NO_SPACE, OUT_OF_QUOTA
from remediations.model import Area

_OTHER_SERVICE = either(code("InsufficientQuota"), message(r"tokens per minute"))
_OF_MACHINE = message(
    r"not enough quota available for (?:(?P<instance_type>[A-Za-z]\w*_\w+)|\*{3})"
    r"(?:[\s\S]{0,120}?current usage/limit: (?P<used>\d+)/(?P<limit>\d+)"
    r"(?:\.? additional needed: (?P<needed>\d+))?)?"
)
_OF_SUBSCRIPTION = message(
    r"not enough subscription CPU quota"
    r"(?:[\s\S]{0,60}?requested is (?P<requested>\d+|\[N/A\]|\([^)]{1,40}\)))?"
    r"(?:[\s\S]{0,40}?maximum amount of quota is (?P<maximum>\d+|\[N/A\]))?"
)
_CPU = either(_OF_MACHINE, _OF_SUBSCRIPTION)
_ENDPOINTS = message(r"endpoint quota reached(?:[\s\S]{0,120}?current usage/limit: (?P<used>\d+)/(?P<limit>\d+))?")
_MEMORY = message(r"(insufficient|not enough|out of) memory")
_DISK = message(r"not enough (disk )?space|insufficient disk|no space left on (the )?(disk|device)")
_ROLE_ASSIGNMENTS = message(r"role assignments?\b")
_NO_START = message(r"container could not (be )?start(ed)?")


def _may_be_freed(facts: Facts) -> bool:
    """Tell whether deleting could free enough, by the text's own figures: no more is needed than there is in all.

    A text that does not say how much is needed, or shows ``[N/A]`` for the limit, lets nobody hope.
    """
    needed = _count(facts.get("needed", facts.get("requested", "")))
    limit = facts.get("limit", facts.get("maximum"))
    if needed is None:
        return False
    if limit is None:
        return True
    most = _count(limit)
    return most is not None and needed <= most


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


CAUSES = (
    Cause(
        id="quota-cpu",
        code="OutOfQuota",
        matches=without(_CPU, CRASHED, NO_NODE, _OTHER_SERVICE),
        checks=(
            cores_are_missing,
            is_managed,
            did_not_end_with(*CONTAINER_RAN, *TURNED_DOWN, "ImageBuildFailure", "BadArgument"),
        ),
        asks=(Area.QUOTA, Area.IDLE),
        advice="Delete deployments that nobody uses, choose a smaller instance type, or ask for more CPU quota.",
        tells="the CPU quota of the region",
        action="delete-idle",
        may_help=_may_be_freed,
        examples=(
            Symptoms.of(
                "BadRequest",
                "Not enough quota available for Standard_DS2_v2\nCurrent usage/limit: 4/6. Additional needed: 4",
            ),
            Symptoms.of(
                None,
                "VmSize: Not enough quota available for Standard_DS3_v2 in SubscriptionId ***. Current usage/limit: "
                "0/6. Additional needed: 8",
            ),
            Symptoms.of(
                "OutOfQuota",
                "Not enough subscription CPU quota. The amount of CPU quota requested is 72 and your maximum amount of "
                "quota is [N/A].",
            ),
        ),
        source=f"{GUIDE}#cpu-quota",
    ),
    Cause(
        id="quota-memory",
        code="OutOfQuota",
        matches=without(every(OUT_OF_QUOTA, _MEMORY), CRASHED, NO_NODE),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Choose an instance type with more memory, or load a smaller model.",
        tells="the container's log",
        examples=(Symptoms.of("OutOfQuota", "Container terminated due to insufficient memory."),),
        source=f"{GUIDE}#memory-quota",
    ),
    Cause(
        id="quota-disk",
        code="OutOfQuota",
        matches=without(either(NO_SPACE, every(OUT_OF_QUOTA, _DISK)), CRASHED, NO_NODE),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Choose an instance type with more disk, or make the image and the model smaller.",
        tells="the container's log",
        examples=(Symptoms.of("ERR_1350", "Unable to download user model, not enough space on the disk"),),
        source=f"{GUIDE}#disk-quota",
    ),
    Cause(
        id="quota-endpoint",
        code="OutOfQuota",
        matches=without(_ENDPOINTS, CRASHED),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Delete endpoints that nobody uses, or ask for more: deleting deployments frees none of these.",
        tells="the number of endpoints in the region",
        examples=(
            Symptoms.of(
                "InferencingClientCallFailed",
                "Endpoint Quota reached for subscription ***.Current usage/limit: 300/300.Please clean up existing "
                "endpoints and try again",
            ),
        ),
        source=f"{GUIDE}#endpoint-quota",
    ),
    Cause(
        id="quota-role-assignment",
        code="OutOfQuota",
        matches=without(every(OUT_OF_QUOTA, _ROLE_ASSIGNMENTS), CRASHED, _CPU),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Delete role assignments that the subscription no longer needs: a new endpoint adds some.",
        tells="the number of role assignments in the subscription",
        examples=(Symptoms.of("OutOfQuota", "The role assignment limit of the subscription has been reached."),),
        source=f"{GUIDE}#role-assignment-quota",
    ),
    Cause(
        id="region-capacity",
        code="OutOfQuota",
        matches=without(
            either(
                message(r"lack of Azure Machine Learning capacity"),
                every(code("ERR_1101", "OutOfCapacity", "OutOfQuota"), message(r"out of capacity")),
            ),
            CRASHED,
            _CPU,
        ),
        checks=(is_managed, did_not_end_with(*CONTAINER_RAN)),
        advice="Deploy later, to another region, or with another instance type: Azure has no such machine free.",
        tells="the code of the operation",
        examples=(
            Symptoms.of(
                None,
                "The specified VM Size failed to provision due to a lack of Azure Machine Learning capacity. Retry "
                "later or try deploying to a different region.",
            ),
            Symptoms.of("ERR_1101", "Out of capacity"),
        ),
        source=f"{GUIDE}#region-wide-vm-capacity",
    ),
    Cause(
        id="kubernetes-quota",
        code="PodUnschedulable",
        matches=without(
            every(code("Unschedulable", "PodUnschedulable", "OutOfQuota", "KubernetesError"), NO_NODE), CRASHED
        ),
        checks=(is_kubernetes, did_not_end_with(*CONTAINER_RAN)),
        advice="Add nodes to the cluster, use nodes that have the resource, or ask for less; no deployment is deleted.",
        tells="the compute of the deployment",
        examples=(
            Symptoms.of("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
            Symptoms.of("Unschedulable", "CPU/Memory resource insufficient, 1 replicas unschedulable."),
        ),
        source=f"{GUIDE}#kubernetes-quota",
    ),
    Cause(
        id="quota-other",
        code="OutOfQuota",
        matches=without(every(OUT_OF_QUOTA, _NO_START), _CPU, _MEMORY, _DISK, CRASHED, NO_NODE),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Read the container's log: it may need more than its instance type has.",
        tells="the container's log",
        examples=(Symptoms.of("OutOfQuota", "The container could not start."),),
        source=f"{GUIDE}#other-quota",
    ),
)
