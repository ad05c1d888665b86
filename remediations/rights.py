"""What Azure has to permit us: every operation that some adapter calls, and the role that gives it.

The one source of it: tests compare with it the roles in ``infra/rbac``, the tables of ``docs/actions.md`` and the calls
of every scenario; `medic doctor` looks whether our identity has them; and no write is sent that is not among them.

Operations are spelled as in Microsoft's permission tables, mixed casing included; roles compare them without case.
Azure refuses a role that names an operation of no table, so each has to be in one.
https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations
"""

import re
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from remediations.model import Call


class Role(StrEnum):
    """A role by its name: ours are in ``infra/rbac``, the last two are Azure's own."""

    SUBSCRIPTION_READER = "Endpoint Medic Subscription Reader"
    READER = "Endpoint Medic Reader"
    OPERATOR = "Endpoint Medic Operator"
    REGISTRY_READER = "Endpoint Medic Registry Reader"
    GRANTER = "Endpoint Medic Granter"
    UNDO = "Endpoint Medic Undo"
    STORE = "Endpoint Medic Store"
    BLOB_READER = "Storage Blob Data Reader"
    EVENT_SENDER = "EventGrid Data Sender"


class Scope(StrEnum):
    """What an operation is checked on. A role that is assigned there, or above it, gives it."""

    SUBSCRIPTION = "subscription"
    WORKSPACE = "workspace"
    REGISTRY = "registry"
    TARGET = "registry and storage account"
    SPECS = "container of specs"
    STORE = "containers trail and evidence"
    TOPIC = "outcome topic"


class Right(Struct, frozen=True, kw_only=True):
    """One operation that we call.

    Attributes:
        operation: As a role names it.
        roles: The roles that give it; the first is the one to assign for it.
        via: What calls it: a method of the port `Reads`, the client of a write (`Call.via`), the store or the topic.
        what_for: In a few words, after *to*.
        actions: Those that need it; none: every incident, or the sweep.
        is_data: Whether it is of the data plane, as roles tell them apart.
        without: What comes of it if it is missing, where that is no fault.
    """

    operation: str
    roles: tuple[Role, ...]
    scope: Scope
    via: Literal["get", "ask", "poll", "manifest", "fetch_spec", "arm", "ml", "roles", "store", "topic"]
    what_for: str
    actions: tuple[str, ...] = ()
    is_data: bool = False
    without: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it is one of the writes that `services.Writers` sends."""
        return self.via in {"arm", "ml", "roles"}


_ML: Final = "Microsoft.MachineLearningServices"
_WORKSPACES: Final = f"{_ML}/workspaces"
_DEPLOYMENTS: Final = f"{_WORKSPACES}/onlineEndpoints/deployments"
_ASSIGNMENTS: Final = "Microsoft.Authorization/roleAssignments"
_BLOBS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_ASKED_INSTEAD: Final = "a person is asked before a right to pull is granted"

RIGHTS: Final = (
    # --------------------------------------------------------------------- reads of every incident and of the sweep
    Right(
        operation=f"{_WORKSPACES}/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="get",
        what_for="find the workspaces, and what each of them uses",
    ),
    Right(
        operation=f"{_WORKSPACES}/onlineEndpoints/read",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="get",
        what_for="read endpoints",
    ),
    Right(
        operation=f"{_DEPLOYMENTS}/read",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="get",
        what_for="read deployments",
    ),
    Right(
        operation=f"{_WORKSPACES}/onlineendpoints/deployments/getlogs/action",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="ask",
        what_for="read container logs",
    ),
    Right(
        operation=f"{_ML}/locations/mfeOperationsStatus/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="poll",
        what_for="see how an operation on a deployment ended",
    ),
    Right(
        operation=f"{_ML}/locations/mfeOperationResults/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="poll",
        what_for="see how a deletion ended",
    ),
    Right(
        operation="Microsoft.Insights/eventtypes/values/Read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="get",
        what_for="read the Activity Log",
    ),
    Right(
        operation="Microsoft.Insights/Metrics/Read",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="get",
        what_for="see which requests come, and how they are answered",
    ),
    # Also asked of registries and storage accounts, which may lie in a subscription that is not watched.
    Right(
        operation="Microsoft.Authorization/permissions/read",
        roles=(Role.SUBSCRIPTION_READER, Role.READER),
        scope=Scope.SUBSCRIPTION,
        via="get",
        what_for="see whether our roles give what a plan needs, before a person is asked",
    ),
    # ------------------------------------------------------------------------------------- reads of single actions
    Right(
        operation="Microsoft.ContainerRegistry/registries/read",
        roles=(Role.READER,),
        scope=Scope.REGISTRY,
        via="get",
        what_for="read the workspace's registry",
        actions=("sync-keys", "grant-roles"),
    ),
    Right(
        operation=f"{_WORKSPACES}/diagnose/action",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="ask",
        what_for="let a workspace look for network faults",
        actions=("sync-keys",),
    ),
    Right(
        operation=f"{_ML}/locations/workspaceOperationsStatus/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="poll",
        what_for="see how a diagnosis or a key sync ended",
        actions=("sync-keys",),
    ),
    Right(
        operation=f"{_WORKSPACES}/environments/versions/read",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="get",
        what_for="see which image a deployment uses",
        actions=("grant-roles",),
    ),
    Right(
        operation=f"{_WORKSPACES}/models/versions/read",
        roles=(Role.READER,),
        scope=Scope.WORKSPACE,
        via="get",
        what_for="see whether a model is there",
        actions=("grant-roles",),
    ),
    Right(
        operation=f"{_ASSIGNMENTS}/read",
        roles=(Role.READER, Role.GRANTER, Role.UNDO),
        scope=Scope.TARGET,
        via="get",
        what_for="see which roles an identity has, and who gave them",
        actions=("grant-roles", "undo-grant"),
    ),
    Right(
        operation="Microsoft.Authorization/roleDefinitions/read",
        roles=(Role.READER,),
        scope=Scope.TARGET,
        via="get",
        what_for="see what a role gives",
        actions=("grant-roles",),
    ),
    Right(
        operation=f"{_ML}/locations/usages/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="get",
        what_for="read the quota and what is used of it",
        actions=("delete-idle",),
    ),
    Right(
        operation=f"{_ML}/locations/vmsizes/read",
        roles=(Role.SUBSCRIPTION_READER,),
        scope=Scope.SUBSCRIPTION,
        via="get",
        what_for="read the cores of each machine type",
        actions=("delete-idle",),
    ),
    Right(
        operation="Microsoft.ContainerRegistry/registries/pull/read",
        roles=(Role.REGISTRY_READER,),
        scope=Scope.REGISTRY,
        via="manifest",
        what_for="look up an image",
        actions=("grant-roles",),
        without=_ASKED_INSTEAD,
    ),
    Right(
        operation="Microsoft.ContainerRegistry/registries/repositories/content/read",
        roles=(Role.REGISTRY_READER,),
        scope=Scope.REGISTRY,
        via="manifest",
        what_for="look up an image in a registry in ABAC mode",
        actions=("grant-roles",),
        is_data=True,
        without=_ASKED_INSTEAD,
    ),
    Right(
        operation=f"{_BLOBS}/read",
        roles=(Role.BLOB_READER,),
        scope=Scope.SPECS,
        via="fetch_spec",
        what_for="read the specs that CI left, if policy names any",
        is_data=True,
    ),
    # --------------------------------------------------------------------------------------------------- writes
    Right(
        operation=f"{_DEPLOYMENTS}/write",
        roles=(Role.OPERATOR,),
        scope=Scope.WORKSPACE,
        via="arm",
        what_for="run a failed deployment again, or create a deleted one again",
        actions=("retry", "sync-keys", "grant-roles", "delete-idle", "undo-delete"),
    ),
    Right(
        operation=f"{_DEPLOYMENTS}/delete",
        roles=(Role.OPERATOR,),
        scope=Scope.WORKSPACE,
        via="arm",
        what_for="delete idle deployments, or run a canceled delete again",
        actions=("delete-idle", "retry"),
    ),
    Right(
        operation=f"{_WORKSPACES}/onlineEndpoints/write",
        roles=(Role.OPERATOR,),
        scope=Scope.WORKSPACE,
        via="arm",
        what_for="run the failed create of an endpoint again",
        actions=("retry",),
    ),
    Right(
        operation=f"{_WORKSPACES}/resynckeys/action",
        roles=(Role.OPERATOR,),
        scope=Scope.WORKSPACE,
        via="ml",
        what_for="sync a workspace's keys",
        actions=("sync-keys",),
    ),
    Right(
        operation=f"{_ASSIGNMENTS}/write",
        roles=(Role.GRANTER,),
        scope=Scope.TARGET,
        via="roles",
        what_for="give an endpoint's identity the role that it lacks",
        actions=("grant-roles",),
    ),
    Right(
        operation=f"{_ASSIGNMENTS}/delete",
        roles=(Role.UNDO,),
        scope=Scope.TARGET,
        via="roles",
        what_for="take back a role that we gave",
        actions=("undo-grant",),
        without="every undo of a grant ends as advice, with the command",
    ),
    # ------------------------------------------------------------------------------------ our own store and topic
    Right(
        operation=f"{_BLOBS}/read",
        roles=(Role.STORE,),
        scope=Scope.STORE,
        via="store",
        what_for="read and list records",
        is_data=True,
    ),
    Right(
        operation=f"{_BLOBS}/add/action",
        roles=(Role.STORE,),
        scope=Scope.STORE,
        via="store",
        what_for="add records, and to records",
        is_data=True,
    ),
    Right(
        operation="Microsoft.EventGrid/events/send/action",
        roles=(Role.EVENT_SENDER,),
        scope=Scope.TOPIC,
        via="topic",
        what_for="publish messages and checkpoints, if a topic is set",
        is_data=True,
    ),
)

# Microsoft's table lists the diagnosis as a read, while a POST is checked as an action: only the glob is both, so that
# Azure takes the role and the role permits the call. It covers nothing else.
LISTED_AS: Final = {f"{_WORKSPACES}/diagnose/action": f"{_WORKSPACES}/diagnose/*"}

# What names Azure permits here: what a client would resolve, or take for a host, a query or a fragment, is none.
_NAME: Final = r"(?!\.{1,2}(?:/|\Z))[\w.()-]+"
_GROUP: Final = f"/subscriptions/{_NAME}/resourceGroups/{_NAME}"
_ABOVE: Final = {
    Scope.WORKSPACE: _GROUP,
    Scope.TARGET: (
        rf"{_GROUP}/providers/(?:Microsoft\.ContainerRegistry/registries|Microsoft\.Storage/storageAccounts)/{_NAME}"
    ),
}
_METHODS: Final = {"write": "PUT", "delete": "DELETE", "action": "POST"}


def _path(right: Right) -> re.Pattern[str]:
    """Give what the path of a call is that needs a right: all of it, from the subscription to the last name."""
    provider, *types = right.operation.rpartition("/")[0].split("/")
    doing = f"/{types.pop()}" if right.operation.endswith("/action") else ""
    named = "".join(f"/{kind}/{_NAME}" for kind in types)
    return re.compile(f"{_ABOVE[right.scope]}/providers/{re.escape(provider)}{named}{doing}", re.IGNORECASE)


def _calls(via: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    rights = (right for right in RIGHTS if right.via == via)
    return tuple((_METHODS[right.operation.rpartition("/")[2]], _path(right)) for right in rights)


_CALLS: Final = {via: _calls(via) for via in ("arm", "ml", "roles", "ask")}


def is_write(call: Call) -> bool:
    """Tell whether a call is one of the writes above, by the client that it names, on what its right is for."""
    return any(call.method == method and path.fullmatch(call.path) for method, path in _CALLS[call.via])


def is_asked(path: str) -> bool:
    """Tell whether a POST to a path is one of the reads above that are one."""
    return any(asked.fullmatch(path) for _, asked in _CALLS["ask"])
