"""Causes in quota and capacity. Only the CPU quota of managed endpoints can be freed by deleting deployments."""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    TURNED_DOWN,
    cores_are_missing,
    did_not_end_with,
    is_kubernetes,
    is_managed,
)
from remediations.catalogue.matchers import Groups, Symptoms, code, during, either, every, message, without
from remediations.catalogue.texts import (
    CRASHED,
    GUIDE,
    NO_IMAGE,
    NO_MODEL,
    NO_NODE,
    NO_SPACE,
    OF_SERVING,
    OUT_OF_QUOTA,
    numbered,
)
from remediations.catalogue.words import DEPLOY_LOCALLY, GET_INIT_LOGS, GET_LOGS, SHOW_DEPLOYMENT
from remediations.model import Area

_OTHER_SERVICE = either(code("InsufficientQuota"), message(r"tokens per minute"))
_OF_MACHINE = message(
    r"not (?:have )?enough quota (?:available )?for (?:(?P<instance_type>[A-Za-z]\w*_\w+)|\*{3})"
    r"(?:[\s\S]{0,120}?current usage/limit: (?P<used>\d{1,9})/(?P<limit>\d{1,9})(?!\d)"
    r"(?:\.? additional needed: (?P<needed>\d{1,9})(?!\d))?)?"
)
_OF_SUBSCRIPTION = message(
    r"not enough subscription CPU quota"
    r"(?:[\s\S]{0,60}?requested is (?P<needed>\d{1,9}(?!\d)|\[N/A\]|\([^)]{1,40}\)))?"
    r"(?:[\s\S]{0,40}?maximum amount of quota is (?P<limit>\d{1,9}(?!\d)|\[N/A\]))?"
)
_CPU = either(
    _OF_MACHINE,
    _OF_SUBSCRIPTION,
    numbered("ERR_1100"),
    message(r"not have enough quota for the following VM sizes?"),
)
_ENDPOINTS = either(
    numbered("ERR_1103"),
    message(
        r"endpoint quota reached(?:[\s\S]{0,120}?current usage/limit: (?P<used>\d{1,9})/(?P<limit>\d{1,9})(?!\d))?"
    ),
    every(
        OUT_OF_QUOTA,
        message(
            r"(?:number of|maximum)[^\n]{0,40} (?:online )?endpoints"
            r"|number of (?:online )?endpoints[^\n]{0,120}(?:limit|quota)"
        ),
    ),
)
_MEMORY = message(r"(insufficient|not enough|out of|the available) memory|memory footprint")
_ROLE_ASSIGNMENTS = message(r"role assignments?\b")
_NO_START = message(r"container could not (?:be )?start(?:ed)?|unable to start user container|more resources than")


def _may_be_freed(groups: Groups) -> bool:
    """Tell whether deleting could free enough, by the text's own figures: no more is needed than there is in all.

    A text that does not say how much is needed, or shows ``[N/A]`` for the limit, lets nobody hope.
    """
    needed = _count(groups.get("needed", ""))
    limit = groups.get("limit")
    if needed is None:
        return False
    if limit is None:
        return True
    most = _count(limit)
    return most is not None and needed <= most


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


CAUSES = (
    Cause(
        id="quota-cpu",
        code="OutOfQuota",
        what="The CPU quota for this machine type does not suffice; managed endpoints reserve 20 % more.",
        matches=without(_CPU, CRASHED, NO_NODE, _OTHER_SERVICE),
        checks=(
            cores_are_missing,
            is_managed,
            did_not_end_with(*CONTAINER_RAN, *TURNED_DOWN, "ImageBuildFailure", "BadArgument"),
        ),
        asks=(Area.QUOTA, Area.IDLE),
        advice="Delete deployments that nobody uses, choose a smaller instance type, or ask for more CPU quota.",
        commands=(
            "az ml compute list-usage -l LOCATION -g {resource_group} -w {workspace} -o table",
            "az ml online-endpoint list -g {resource_group} -w {workspace} -o table",
        ),
        limits="It asks for no quota, and deletes nothing that is not opted in and proved idle.",
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
        what="The model needs more memory than its machine has.",
        matches=without(
            either(every(OUT_OF_QUOTA, _MEMORY), message(r"container terminated due to insufficient memory")),
            *(CRASHED, NO_NODE),
        ),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Choose an instance type with more memory, or load a smaller model.",
        commands=(GET_LOGS, SHOW_DEPLOYMENT),
        limits="It changes no machine type.",
        tells="the container's log",
        examples=(Symptoms.of("OutOfQuota", "Container terminated due to insufficient memory."),),
        source=f"{GUIDE}#memory-quota",
    ),
    Cause(
        id="quota-disk",
        code="OutOfQuota",
        what="The image and the model need more disk than the machine has.",
        matches=without(
            every(NO_SPACE, either(OUT_OF_QUOTA, NO_MODEL, NO_IMAGE, OF_SERVING, during("start"), code("ERR_1350"))),
            *(CRASHED, NO_NODE),
        ),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Choose an instance type with more disk, or make the image and the model smaller.",
        commands=(GET_INIT_LOGS, SHOW_DEPLOYMENT),
        limits="It changes no machine type.",
        tells="the container's log",
        examples=(Symptoms.of("ERR_1350", "Unable to download user model, not enough space on the disk"),),
        source=f"{GUIDE}#disk-quota",
    ),
    Cause(
        id="quota-endpoint",
        code="OutOfQuota",
        what="The subscription has as many endpoints as it may have in this region.",
        matches=without(_ENDPOINTS, CRASHED),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Delete endpoints that nobody uses, or ask for more: deleting deployments frees none of these.",
        commands=("az ml online-endpoint list -g {resource_group} -w {workspace} -o table",),
        limits="It deletes no endpoints: deleting idle deployments frees none of these.",
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
        what="The subscription has as many role assignments as it may have; a new endpoint adds some.",
        matches=without(
            either(
                every(OUT_OF_QUOTA, _ROLE_ASSIGNMENTS),
                numbered("ERR_1102"),
                every(code("RoleAssignmentLimitExceeded"), during("create")),
            ),
            *(CRASHED, _CPU),
        ),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Delete role assignments that the subscription no longer needs: a new endpoint adds some.",
        commands=("az role assignment list --all --query 'length(@)' --subscription {subscription}",),
        limits="It deletes no role assignments.",
        tells="the number of role assignments in the subscription",
        examples=(Symptoms.of("OutOfQuota", "The role assignment limit of the subscription has been reached."),),
        source=f"{GUIDE}#role-assignment-quota",
    ),
    Cause(
        id="region-capacity",
        code="OutOfQuota",
        what="Azure has no machine of this type free in the region.",
        matches=without(
            either(
                message(r"lack of Azure Machine Learning capacity"),
                numbered("ERR_1101"),
                every(code("OutOfCapacity", "OutOfQuota"), message(r"out of capacity")),
            ),
            CRASHED,
            _CPU,
        ),
        checks=(is_managed, did_not_end_with(*CONTAINER_RAN)),
        advice="Deploy later, to another region, or with another instance type: Azure has no such machine free.",
        commands=("az ml compute list-sizes -g {resource_group} -w {workspace} -o table",),
        limits="It deletes nothing: your own deployments do not hold that capacity.",
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
        also=("OutOfQuota",),
        what="The nodes of the cluster do not have what the deployment asks for.",
        matches=without(
            either(
                every(code("Unschedulable", "PodUnschedulable", "OutOfQuota", "KubernetesError"), NO_NODE),
                message(r"kubernetes cluster didn't have available resources"),
                every(code("PodUnschedulable"), message(r"insufficient resources")),
                numbered("ERR_2101"),
            ),
            CRASHED,
        ),
        checks=(is_kubernetes, did_not_end_with(*CONTAINER_RAN)),
        advice="Add nodes to the cluster, use nodes that have the resource, or ask for less; no deployment is deleted.",
        commands=("kubectl describe nodes", "kubectl -n NAMESPACE get events --field-selector reason=FailedScheduling"),
        limits="It deletes no deployments on a cluster.",
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
        what="The container could not start; it may need more than its machine has.",
        matches=without(
            either(every(OUT_OF_QUOTA, _NO_START), numbered("ERR_2100")), _CPU, _MEMORY, NO_SPACE, CRASHED, NO_NODE
        ),
        checks=(did_not_end_with(*TURNED_DOWN),),
        advice="Read the container's log: it may need more than its instance type has.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits="It changes no machine type.",
        tells="the container's log",
        examples=(Symptoms.of("OutOfQuota", "The container could not start."),),
        source=f"{GUIDE}#other-quota",
    ),
)
