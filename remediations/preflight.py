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
        url = f"{scope}/providers/Microsoft.Authorization/permissions?api-version={_API_VERSION}"
        shown = reads.get_all(url, most=_MOST)
        if not isinstance(shown, Found):
            return Unknown(f"what our identity may do on {scope} is {reading_words(shown)}")
        wanted = {call.operation for call in calls if call.scope == scope}
        missing += [
            f"{operation} on {scope}"
            for operation in sorted(wanted)
            if not any(_permits(one, operation) for one in shown.value)
        ]
    return Found(tuple(missing)) if missing else Absent()


def _permits(permission: Json, operation: str) -> bool:
    """Tell whether one role's permissions hold an operation: what it excludes, another role may still give."""
    fields = codec.mapping(permission)
    return _matches(fields.get("actions"), operation) and not _matches(fields.get("notActions"), operation)


def _matches(globs: Json, operation: str) -> bool:
    listed = globs if isinstance(globs, list) else []
    return any(isinstance(glob, str) and fnmatchcase(operation.lower(), glob.lower()) for glob in listed)
