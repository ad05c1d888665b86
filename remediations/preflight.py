"""Preflight: which permissions our identity lacks for the calls of a plan, asked before a person is.

Azure lists what roles give, not what deny assignments take away, nor what a role's condition excludes: a call may still
be refused. https://learn.microsoft.com/rest/api/authorization/permissions/list-for-resource
"""

from fnmatch import fnmatchcase

from remediations import codec
from remediations.model import Absent, Call, Found, Json, Reading, Unknown, reading_words
from remediations.ports import Reads

_API_VERSION = "2022-04-01"
_MOST = 1000


def lacking(calls: tuple[Call, ...], reads: Reads) -> Reading[tuple[str, ...]]:
    """Give the operations that our identity may not do, each with its scope; none if it may do all of them."""
    missing: list[str] = []
    for scope in sorted({call.scope for call in calls}, key=str.lower):
        shown = given(scope, reads)
        if not isinstance(shown, Found):
            return Unknown(f"what our identity may do on {scope} is {reading_words(shown)}")
        wanted = {call.operation for call in calls if call.scope == scope}
        missing += [f"{operation} on {scope}" for operation in sorted(wanted) if not permits(shown.value, operation)]
    return Found(tuple(missing)) if missing else Absent()


def given(scope: str, reads: Reads) -> Reading[tuple[Json, ...]]:
    """Give the permissions of each role that our identity has on a scope, or above it."""
    return reads.get_all(
        f"{scope}/providers/Microsoft.Authorization/permissions?api-version={_API_VERSION}", most=_MOST
    )


def permits(permissions: tuple[Json, ...], operation: str, *, is_data: bool = False) -> bool:
    """Tell whether some role gives an operation: what one role excludes, another may still give."""
    kind, excluded = ("dataActions", "notDataActions") if is_data else ("actions", "notActions")
    roles = (codec.mapping(permission) for permission in permissions)
    return any(_matches(role.get(kind), operation) and not _matches(role.get(excluded), operation) for role in roles)


def _matches(globs: Json, operation: str) -> bool:
    listed = globs if isinstance(globs, list) else []
    return any(isinstance(glob, str) and fnmatchcase(operation.lower(), glob.lower()) for glob in listed)
