"""Which rights the policy's actions need, and which of them our identity has: for ``medic doctor``.

Azure is asked what our roles give on the subscription, and only for what they do not give there, on each workspace, and
on each registry and storage account that a workspace uses. Deny assignments and conditions of roles are not in it.
"""

from collections.abc import Iterator
from functools import cache

from msgspec import Struct

from remediations import codec, discovery, preflight
from remediations.actions import ACTIONS
from remediations.model import Found, Json, Mode, Reading, reading_words
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.rights import RIGHTS, Right, Role, Scope

_MOST = 40  # places below a subscription that are looked at
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
        unknown: Why something about them cannot be told; empty: all of it can.
    """

    role: Role
    needed: tuple[Right, ...]
    lacks: tuple[Lack, ...] = ()
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


def findings(reads: Reads, subscription: str, rights: tuple[Right, ...]) -> Iterator[Finding]:
    """Give what each role has of some rights, or the one thing that keeps it from being told.

    Raises:
        NotListed: the workspaces cannot be listed.
    """
    top = f"/subscriptions/{subscription}"
    places = _places(reads, subscription)
    given = cache(lambda scope: preflight.given(scope, reads))
    if not isinstance(given(top), Found):
        yield Finding(role=Role.READER, needed=rights, unknown=_unknown(top, given(top)))
        return
    for role in dict.fromkeys(right.roles[0] for right in rights):
        of_role = tuple(right for right in rights if right.roles[0] is role)
        lacks: list[Lack] = []
        unread: list[str] = []
        for right in of_role:
            below = places[right.scope][:_MOST]
            scopes = below if below and not _is_held(given(top), right) else (top,)
            unread += [_unknown(scope, given(scope)) for scope in scopes if not isinstance(given(scope), Found)]
            missing = tuple(one for one in scopes if isinstance(given(one), Found) and not _is_held(given(one), right))
            if missing:
                lacks.append(Lack(right=right, missing=missing, looked=scopes))
        yield Finding(role=role, needed=of_role, lacks=tuple(lacks), unknown=unread[0] if unread else "")


def _unknown(scope: str, shown: Reading[tuple[Json, ...]]) -> str:
    return f"what we may do on {scope} is {reading_words(shown)}"


def _most(policy: Policy, action: str) -> Mode:
    """Give the most that a policy permits an action anywhere."""
    rules = [rule.mode for rule in policy.rules if rule.mode is not None and {"*", action} & set(rule.actions)]
    own = policy.actions[action].mode if action in policy.actions else Mode.OFF
    return max([own, *rules], key=lambda mode: mode.rank)


def _is_held(shown: Reading[tuple[Json, ...]], right: Right) -> bool:
    return isinstance(shown, Found) and preflight.permits(shown.value, right.operation, is_data=right.is_data)


def _places(reads: Reads, subscription: str) -> dict[Scope, tuple[str, ...]]:
    """Give what lies below a subscription, by the scope of the rights that may be given there alone."""
    listed = discovery.workspaces_listed(reads, subscription)
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
