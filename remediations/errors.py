"""What can go wrong, as types.

    MedicError
    ├── StoreError
    │   ├── AlreadyExists      create() found the name taken
    │   ├── AppendConflict     append() found another length
    │   ├── NotFound           read() found nothing
    │   ├── StoreUnavailable   the store itself did not answer, or refused us
    │   └── UnsafeName         a name that could leave the store
    ├── SettingsError          an environment variable that cannot be used
    ├── PolicyError            a line of policy.yaml that cannot be used
    ├── ArmError               Azure Resource Manager answered with an error
    │   ├── ArmForbidden       our identity lacks a permission
    │   ├── ArmThrottled       too many requests, by Azure's word or by our own share
    │   └── ArmUnavailable     no answer, or the service's own fault
    ├── UndeclaredWrite        a write that remediations/rights.py does not list
    └── WriteInDryRun          a write was asked of a dry run
    ValueError
    └── RecordUnreadable       an audit record that is not as it was written

Each keeps its facts as attributes and builds its text once: what, which, why, and what to do.
"""

from datetime import timedelta
from typing import Final

_LONGEST_SHOWN: Final = 300


class MedicError(Exception):
    """Any failure that Endpoint Medic knows by name."""


class StoreError(MedicError):
    """A record could not be kept or found."""


class AlreadyExists(StoreError):
    """The name is taken: whoever created it came first."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"create {name!r}: a record of that name exists. Read it to learn who came first.")


class AppendConflict(StoreError):
    """The record is not as long as the writer believed: somebody else wrote first.

    Attributes:
        at: Where the writer wanted to write, in bytes.
        length: How long the record is, in bytes.
    """

    def __init__(self, name: str, at: int, length: int) -> None:
        self.name = name
        self.at = at
        self.length = length
        super().__init__(f"append to {name!r} at {at}: the record has {length} bytes. Read it again and append there.")


class RecordUnreadable(ValueError):
    """An audit record that is not as it was written, or that this version does not know."""

    def __init__(self, incident: str, number: int, why: str) -> None:
        self.incident = incident
        self.number = number
        super().__init__(f"record {number} of {incident} {why}: `medic audit verify` tells what else was changed")


class NotFound(StoreError):
    """There is no record of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"read {name!r}: there is no such record.")


class StoreUnavailable(StoreError):
    """The store did not answer, or refused us; nothing is known about the record."""

    def __init__(self, store: str, operation: str, why: str, fix: str) -> None:
        self.store = store
        self.operation = operation
        self.why = why
        self.fix = fix
        super().__init__(f"{operation} in {store}: {why}. {fix}")


class UnsafeName(StoreError):
    """A record's name that could leave the store, or that not every store can hold."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(
            f"record name {name!r} is refused: {why}. "
            "Use parts of letters, digits and . _ - = joined by '/', no part starting with a dot."
        )


class SettingsError(MedicError):
    """An environment variable that cannot be used."""

    def __init__(self, setting: str, value: str | None, why: str, fix: str) -> None:
        self.setting = setting
        self.value = value
        self.why = why
        self.fix = fix
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(f"{setting} {shown}: {why}. {fix}")


class PolicyError(MedicError):
    """A place in a policy file that cannot be used.

    Attributes:
        path: Where in the file, as ``rules[2].mode``.
        value: What stands there.
    """

    def __init__(self, file: str, path: str, value: object, fix: str) -> None:
        self.file = file
        self.path = path
        self.value = value
        self.fix = fix
        text = f"{file}: {path[:_LONGEST_SHOWN]} is {_shown(value)}. {fix[:_LONGEST_SHOWN]}"
        super().__init__("".join(one if one.isprintable() else repr(one)[1:-1] for one in text))


def _shown(value: object) -> str:
    """Give a value for people, and of a long one its beginning."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of so many digits
        return "a number of very many digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} …"


class ArmError(MedicError):
    """Azure Resource Manager answered with an error.

    Attributes:
        status: The HTTP status, or None when no answer came.
        code: Azure's error code, where the answer had one.
    """

    def __init__(
        self, method: str, url: str, status: int | None, why: str, fix: str = "", *, code: str | None = None
    ) -> None:
        self.method = method
        self.url = url
        self.status = status
        self.code = code
        self.why = why
        self.fix = fix
        answer = "got no answer" if status is None else f"answered {status}"
        super().__init__(f"{method} {url} {answer}: {why}. {fix}".rstrip())


class ArmForbidden(ArmError):
    """Our identity lacks a permission.

    Attributes:
        permission: The operation that is missing, as ``Microsoft.Authorization/roleAssignments/write``.
    """

    def __init__(self, method: str, url: str, permission: str, *, code: str | None = None, status: int = 403) -> None:
        self.permission = permission
        super().__init__(
            method,
            url,
            status,
            f"the identity of Endpoint Medic lacks {permission}",
            "Grant it a role that holds this permission at this scope, then run `medic doctor`.",
            code=code,
        )


class ArmThrottled(ArmError):
    """Too much is asked, by Azure's word or by our own share of what it permits; nothing was done.

    Attributes:
        retry_after: How long to wait.
    """

    def __init__(self, method: str, url: str, retry_after: timedelta, why: str) -> None:
        self.retry_after = retry_after
        super().__init__(method, url, None, why, f"Retry after {retry_after.total_seconds():.1f} s.")


class ArmUnavailable(ArmError):
    """No answer, or the service's own fault: whether a write took effect is unknown."""


class UndeclaredWrite(MedicError):
    """A write that is none of those we ever send; it was not sent."""

    def __init__(self, method: str, url: str, via: str) -> None:
        self.method = method
        self.url = url
        self.via = via
        super().__init__(
            f"{method} {url} by the client {via!r} was not sent: remediations/rights.py lists no such write. "
            "An action that needs it has to declare it there, and infra/rbac has to give it."
        )


class WriteInDryRun(MedicError):
    """A write was asked of a dry run; it was not sent."""

    def __init__(self, method: str, url: str) -> None:
        self.method = method
        self.url = url
        super().__init__(f"{method} {url} was not sent: this is a dry run. Set MEDIC_MODE to let it act.")
