"""What the stages ask of the outside world."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct

from remediations.errors import UnsafeName
from remediations.model import Call, Caller, Checkpoint, ErrorDetail, Json, Reading

# No leading dot: neither '..' nor a hidden file. 200: a folder's file names end at 255, and adapters add to them.
_PART: Final = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}")
_PREFIX_END: Final = re.compile(r"(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199})?")
_LONGEST_NAME: Final = 900


class Store(Protocol):
    """Records by name. Nothing is ever overwritten or deleted.

    A name is parts joined by ``/``, each of letters, digits and ``. _ - =``. A name is either created or appended to,
    never both, and is never also the folder of other names. Every method may raise ``StoreUnavailable``, after which
    nothing is known about the record, and ``UnsafeName``.
    """

    def create(self, name: str, content: bytes) -> None:
        """Keep a new record; raise ``AlreadyExists`` if the name is taken.

        The compare-and-set of the project: of any number of callers exactly one returns.
        """

    def append(self, name: str, content: bytes, at: int) -> None:
        """Add to the end of a record; raise ``AppendConflict`` if it is not ``at`` bytes long.

        ``at=0`` begins a record; a writer that dies over it may leave one that is empty. The content is added whole or
        not at all, and is not empty. ``AlreadyExists`` if the name was created, ``StoreUnavailable`` also if the record
        can grow no more: an append blob takes 50,000 appends.
        """

    def read(self, name: str) -> bytes:
        """Return a record; raise ``NotFound`` if there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with ``prefix``, in lexical order."""

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the names that start with ``prefix`` and how many bytes each record has, in lexical order.

        No record is read for it: what every append had added that returned before this began is counted.
        """


def checked_name(name: str) -> str:
    """Return the name, or raise ``UnsafeName`` if some store could not hold it, or it could leave one."""
    if len(name) > _LONGEST_NAME:
        raise UnsafeName(name[:80], f"it has {len(name)} characters, more than {_LONGEST_NAME}")
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise UnsafeName(name, "a part of it is empty, hidden or has other characters")
    return name


def checked_prefix(prefix: str) -> str:
    """Return the beginning of a name (any, also an empty one), or raise ``UnsafeName``."""
    *folders, last = prefix.split("/")
    if len(prefix) > _LONGEST_NAME or not _PREFIX_END.fullmatch(last) or not all(map(_PART.fullmatch, folders)):
        raise UnsafeName(prefix[:80], "no record's name starts like this")
    return prefix


class Reply(Struct, frozen=True, kw_only=True):
    """What Azure Resource Manager answered to one write.

    Attributes:
        status: The HTTP status; None if no answer came, and the call may or may not have taken effect.
        permission: The operation that our identity lacks, on 401 and 403.
        errors: What the answer says went wrong, deepest first.
    """

    status: int | None
    operation_url: str | None = None
    retry_after: timedelta | None = None
    service_request_id: str | None = None
    correlation_id: str | None = None
    permission: str | None = None
    errors: tuple[ErrorDetail, ...] = ()


class Reads(Protocol):
    """Azure Resource Manager, to read. A URL is a path with its query, or an absolute URL on the same host.

    Throttling and passing faults are retried inside, bounded; what then is left is ``Unknown``. Nothing raises.
    """

    def get(self, url: str) -> Reading[Json]:
        """Give the JSON at a URL."""

    def get_all(self, url: str, *, most: int) -> Reading[tuple[Json, ...]]:
        """Give the items of a paged list; unknown if a page cannot be read, or if there are more than `most`."""

    def ask(self, url: str, body: Json) -> Reading[Json]:
        """Give the answer to one of the two POSTs that change nothing: getLogs and diagnose."""

    def poll(self, url: str) -> Reading[Json]:
        """Give what the URL of a long-running operation says: its body, or one with a ``status`` alone.

        A 202 is ``InProgress``; a 200 or 204 without a status of its own is ``Succeeded``.
        """

    def manifest(self, login_server: str, repository: str, reference: str) -> Reading[str]:
        """Give the digest of an image on its registry's data plane; absent if the registry says so.

        Args:
            login_server: Host of the registry, as Azure Resource Manager shows it: a token is sent there.
            reference: A tag, or a digest with ``sha256:`` before it.
        """

    def fetch_spec(self, url: str) -> Reading[Json]:
        """Give the JSON of a desired spec that policy lists: no redirects, at most 256 KiB."""

    def refused(self) -> tuple[str, ...]:
        """Give the permissions that our identity turned out to lack, since this was made."""

    def throttled(self) -> timedelta | None:
        """Give how long to wait before asking again what Azure, or our own share of what it permits, held back since
        this was made; None if nothing was. What is unknown for this alone is no ground to decide on."""

    def identity(self) -> Caller | None:
        """Give who we are, from our own token; None if that cannot be told."""


class Writes(Protocol):
    """Azure Resource Manager, to write: one call, sent at most once, never retried inside."""

    def ready(self, call: Call) -> timedelta | None:
        """Make what sends such a call, and sign in: it may take seconds, which an intent does not have.

        Then take its place among the writes that Azure permits us; give how long to wait if there is none.
        """

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        """Send a call; raise ``WriteInDryRun`` in a dry run."""


class Message(Struct, frozen=True, kw_only=True):
    """One thing to tell people, in the forms that channels need.

    Attributes:
        key: The same for every attempt to tell it: digits, letters and ``-``.
        kind: ``asked``, ``approved``, ``repaired``, … (`approval.notice.Kind`).
        subject: One line.
        wants_person: Whether somebody has to look.
        is_over: Whether what was told before needs nobody any more.
        link: Where to look or to answer: on this app.
        card: The Teams message: an Adaptive Card in its envelope.
        facts: The same for programs: ids, names and our own words.
    """

    key: str
    kind: str
    at: datetime
    subject: str
    incident_id: str
    resource: str
    wants_person: bool
    is_over: bool
    link: str | None
    card: dict[str, Json]
    facts: dict[str, Json]


class Delivery(Struct, frozen=True, kw_only=True):
    """What came of one attempt to tell.

    Attributes:
        taken: Whether the channel took it; False: try again; None: it never will take it.
        retry_after: How long the channel asks us to wait.
    """

    taken: bool | None
    words: str
    retry_after: timedelta | None = None


class Witness(Protocol):
    """Somebody outside who keeps checkpoints of the trail. Nothing raises."""

    def keep(self, checkpoint: Checkpoint) -> Delivery:
        """Hand a checkpoint over, once."""


class Notifier(Protocol):
    """A channel to people: one attempt a call, of some seconds at most. Nothing raises."""

    name: str

    def tell(self, message: Message) -> Delivery:
        """Hand a message over, once."""
