"""Which rights the policy's actions need, and which of them our identity has: for ``medic doctor``.

Azure is asked what our roles give on the subscription, and only for what they do not give there, on each workspace, and
on each registry and storage account that a workspace uses. Deny assignments and conditions of roles are not in it.

Azure tells so only who asks. What another identity has is put together from its role assignments and their definitions.
https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

from msgspec import Struct

from remediations import codec, discovery, preflight
from remediations.actions import ACTIONS
from remediations.model import Found, Json, Mode, Reading, Unknown, reading_words
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.rights import RIGHTS, Right, Role, Scope
from remediations.surroundings import ROLES_API_VERSION, contains

_MOST = 40  # places below a subscription that are looked at
_MOST_ASSIGNMENTS = 4000
_AUTHORIZATION = "providers/Microsoft.Authorization"
_OF_AZURE = frozenset({Scope.SUBSCRIPTION, Scope.WORKSPACE, Scope.REGISTRY, Scope.TARGET})


class Lack(Struct, frozen=True, kw_only=True):
    """A right that is missing, and on which of the places that were looked at."""

    right: Right
    missing: tuple[str, ...]
    looked: tuple[str, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """What one role gives in one subscription.

    Attributes:
        needed: Its rights that the policy needs.
        unseen: How many places were not looked at, since there are so many.
        unknown: Why something about them cannot be told; empty: all of it can.
    """

    role: Role
    needed: tuple[Right, ...]
    lacks: tuple[Lack, ...] = ()
    unseen: int = 0
    unknown: str = ""


def needed(policy: Policy, ceiling: Mode) -> tuple[Right, ...]:
    """Give the rights on Azure's resources that a policy needs under a ceiling.

    What an action reads is read for a dry run too; what it writes, only where it may act.
    """
    if ceiling is Mode.OFF:
        return ()
    modes = {name: min(_most(policy, name), ceiling, key=lambda mode: mode.rank) for name in ACTIONS}

    def is_needed(right: Right) -> bool:
        least = Mode.ASK if right.is_write else Mode.DRY_RUN
        return not right.actions or any(modes[name].rank >= least.rank for name in right.actions)

    return tuple(right for right in RIGHTS if right.scope in _OF_AZURE and is_needed(right))


def findings(
    reads: Reads,
    subscription: str,
    rights: tuple[Right, ...],
    principal: str | None = None,
    *,
    watches: Callable[[str], bool] = lambda _: True,
) -> Iterator[Finding]:
    """Give what each role has of some rights, or the one thing that keeps it from being told.

    Args:
        principal: Whose rights, if they are not those of who reads.
        watches: Whether a workspace is watched; the others need no rights.

    Raises:
        NotListed: the workspaces cannot be listed.
    """
    top = f"/subscriptions/{subscription}"
    places = _places(reads, subscription, watches)
    given = cache(partial(preflight.given, reads=reads) if principal is None else _assigned(reads, principal))
    if not isinstance(given(top), Found):
        yield Finding(role=Role.SUBSCRIPTION_READER, needed=rights, unknown=_unknown(top, given(top), principal))
        return
    for role in dict.fromkeys(right.roles[0] for right in rights):
        of_role = tuple(right for right in rights if right.roles[0] is role)
        lacks: list[Lack] = []
        unread: list[str] = []
        unseen = 0
        for right in of_role:
            below = places[right.scope]
            is_below = bool(below) and not _is_held(given(top), right)
            scopes = below[:_MOST] if is_below else (top,)
            unseen = max(unseen, len(below) - _MOST if is_below else 0)
            unread += [_unknown(one, given(one), principal) for one in scopes if not isinstance(given(one), Found)]
            missing = tuple(one for one in scopes if isinstance(given(one), Found) and not _is_held(given(one), right))
            if missing:
                lacks.append(Lack(right=right, missing=missing, looked=scopes))
        unknown = unread[0] if unread else ""
        yield Finding(role=role, needed=of_role, lacks=tuple(lacks), unseen=unseen, unknown=unknown)


def _assigned(reads: Reads, principal: str) -> Callable[[str], Reading[tuple[Json, ...]]]:
    """Give what tells the permissions that a principal's roles give on a scope, in the form of `preflight.given`."""

    @cache
    def permissions(subscription: str, role: str) -> Json:
        path = f"/subscriptions/{subscription}/{_AUTHORIZATION}/roleDefinitions/{role}"
        reading = reads.get(f"{path}?api-version={ROLES_API_VERSION}")
        shown = codec.mapping(reading.value) if isinstance(reading, Found) else {}
        return codec.mapping(shown.get("properties")).get("permissions")

    def given(scope: str) -> Reading[tuple[Json, ...]]:
        url = f"{scope}/{_AUTHORIZATION}/roleAssignments?api-version={ROLES_API_VERSION}"
        listed = reads.get_all(f"{url}&$filter=assignedTo('{principal}')", most=_MOST_ASSIGNMENTS)
        if not isinstance(listed, Found):
            return listed
        found: list[Json] = []
        for shown in listed.value:
            assignment = codec.mapping(codec.mapping(shown).get("properties"))
            at, role = (codec.text(assignment.get(name)) for name in ("scope", "roleDefinitionId"))
            if not at.startswith("/"):
                return Unknown("a role assignment shows no scope")
            if not contains(at, scope):  # it lies below
                continue
            gives = permissions(scope.split("/")[2], role.rpartition("/")[2])
            if not isinstance(gives, list):
                return Unknown(f"what the role {role.rpartition('/')[2]!r} gives cannot be read")
            found += gives
        return Found(tuple(found))

    return given


def _unknown(scope: str, shown: Reading[tuple[Json, ...]], principal: str | None) -> str:
    whose = "we" if principal is None else "the app"
    return f"what {whose} may do on {scope} is {reading_words(shown)}"


def _most(policy: Policy, action: str) -> Mode:
    """Give the most that a policy permits an action anywhere."""
    rules = [rule.mode for rule in policy.rules if rule.mode is not None and {"*", action} & set(rule.actions)]
    own = policy.actions[action].mode if action in policy.actions else Mode.OFF
    return max([own, *rules], key=lambda mode: mode.rank)


def _is_held(shown: Reading[tuple[Json, ...]], right: Right) -> bool:
    return isinstance(shown, Found) and preflight.permits(shown.value, right.operation, is_data=right.is_data)


def _places(reads: Reads, subscription: str, watches: Callable[[str], bool]) -> dict[Scope, tuple[str, ...]]:
    """Give what lies below a subscription, by the scope of the rights that may be given there alone."""
    listed = [each for each in discovery.workspaces_listed(reads, subscription) if watches(str(each["id"]))]
    uses = [codec.mapping(item.get("properties")) for item in listed]
    registries = _distinct(used.get("containerRegistry") for used in uses)
    accounts = _distinct(used.get("storageAccount") for used in uses)
    return {
        Scope.SUBSCRIPTION: (),
        Scope.WORKSPACE: _distinct(item["id"] for item in listed),
        Scope.REGISTRY: registries,
        Scope.TARGET: registries + accounts,
    }


def _distinct(ids: Iterator[Json]) -> tuple[str, ...]:
    return tuple({str(one).lower(): str(one) for one in ids if one}.values())
