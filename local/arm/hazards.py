"""What makes an operation fail: each hazard looks at the world and lets an operation pass or not.

A hazard is data (an entry under ``hazards`` of a world file) and behaviour at once. GROWS: a new kind of failure is one
class here and its name in ``AnyHazard``; the machinery in models.py only asks the four questions of ``Hazard``.
Texts are Azure's own where published (troubleshooting guide and public issues; API.md B).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, override

from msgspec import Struct, field

from local.arm.resources import Error, Operation, Refusal

if TYPE_CHECKING:
    from local.arm.models import World

SEE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"


class Verdict(Struct, frozen=True):
    """How an operation ends, if not well; ``logs`` is what its containers said, for getLogs."""

    status: Literal["Failed", "Canceled"]
    error: Error
    logs: dict[str, str] = {}


class Hazard(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base: which operations are concerned. Globs; names and actions compare without case.

    Attributes:
        action: The ARM operations concerned.
        condition: ``while`` in a file: only as long as the world has this condition.
        remaining: How many more operations it hits; null is for ever.
        after: How many operations pass unharmed before.
    """

    workspace: str = "*"
    endpoint: str = "*"
    deployment: str = "*"
    action: str = "*/onlineEndpoints/deployments/write"
    condition: str | None = field(default=None, name="while")
    remaining: int | None = None
    after: int = 0

    def concerns(self, world: World, operation: Operation) -> bool:
        """Whether this operation is exposed to this hazard now."""
        target = operation.target
        named = (
            (operation.name, self.action),
            (target.workspace, self.workspace),
            (target.endpoint or "", self.endpoint),
            (target.deployment or "", self.deployment),
        )
        return (
            self.remaining != 0
            and (self.condition is None or self.condition in world.conditions)
            and all(fnmatchcase(value.lower(), glob.lower()) for value, glob in named)
        )

    def spend(self) -> bool:
        """Count one exposed operation; whether it is hit."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.remaining is not None:
            self.remaining -= 1
        return True

    def reject(self, world: World, operation: Operation) -> Refusal | None:
        """An answer that stops the request before anything runs."""

    def seconds(self, world: World, operation: Operation) -> float | None:
        """How long the accepted operation takes, if not as long as usual."""

    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        """How the operation ends, asked when its time is over."""

    def done(self, world: World, operation: Operation) -> None:
        """An operation succeeded: a repair may have removed the cause."""


class HigherPriority(Hazard, kw_only=True, tag="higher-priority"):
    """A contender of higher priority sits on the endpoint and overrides writes."""

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        return canceled_by_priority() if self.spend() else None


class LockConfirmation(Hazard, kw_only=True, tag="lock-confirmation"):
    """An equal operation still waits for its lock; writes that come meanwhile are canceled."""

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        if not self.spend():
            return None
        text = "Operation was canceled because the operation was waiting for lock confirmation."
        return Verdict("Canceled", Error(code="OperationCanceled", message=f"{text} {SEE}#error-operationcanceled"))


class Broken(Hazard, kw_only=True, tag="broken"):
    """Anything else that is wrong: a code and text of the file's choice, while its condition or the spec stays so.

    Attributes:
        spec: Dotted path in the body -> glob; hits only a spec that has all of them.
        at: Refuse the request (leaves nothing to GET of a create), or fail the running operation.
        status: HTTP status of a refusal.
        logs: What the containers of a deployment that fails of it say, by container.
    """

    code: str | None
    message: str
    spec: dict[str, str] = {}
    at: Literal["end", "request"] = "end"
    status: int = 400
    ends: Literal["Failed", "Canceled"] = "Failed"
    logs: dict[Literal["InferenceServer", "StorageInitializer"], str] = {}

    @override
    def concerns(self, world: World, operation: Operation) -> bool:
        return super().concerns(world, operation) and all(
            fnmatchcase(str(_value_at(operation.spec, path)), glob) for path, glob in self.spec.items()
        )

    @override
    def reject(self, world: World, operation: Operation) -> Refusal | None:
        if self.at != "request" or not self.spend():
            return None
        return Refusal(self.status, self.code or "BadRequest", self.message)

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        if self.at != "end" or not self.spend():
            return None
        logs = {str(container): text for container, text in self.logs.items()}
        return Verdict(self.ends, Error(code=self.code, message=self.message), logs)


class Unrecoverable(Hazard, kw_only=True, tag="unrecoverable"):
    """A deployment that failed in its first provisioning takes no further PUT until it is deleted."""

    @override
    def reject(self, world: World, operation: Operation) -> Refusal | None:
        existing = world.find(operation.target)
        if existing is None or existing.ever_succeeded or not self.spend():
            return None
        text = (
            f"Specified deployment [{operation.target.name}] failed during initial provisioning and is in an "
            "unrecoverable state. Delete and re-create."
        )
        inner = {"code": "InferencingClientCallFailed", "message": f'{{"errors":{{"":["{text}"]}},"status":400}}'}
        return Refusal(400, "BadRequest", f"The request is invalid. {text}", [inner])


class Slow(Hazard, kw_only=True, tag="slow"):
    """The operation takes this long; a large number is one that never ends."""

    lasts: float

    @override
    def seconds(self, world: World, operation: Operation) -> float | None:
        return self.lasts if self.spend() else None


AnyHazard = HigherPriority | LockConfirmation | Broken | Unrecoverable | Slow


def canceled_by_priority() -> Verdict:
    """The cancellation by a higher priority, with the text of the troubleshooting guide."""
    text = "Operation was canceled by another operation that has a higher priority."
    return Verdict("Canceled", Error(code="OperationCanceled", message=f"{text} {SEE}#error-operationcanceled"))


def _value_at(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body
