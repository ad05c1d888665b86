"""The store in an Azure Blob container.

Created records are block blobs, appended ones append blobs: on a container with an immutability policy that allows
protected appends, neither can be changed afterwards. Only `services` imports this module, when a store is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobProperties, ContainerClient, ExponentialRetry

from remediations.adapters.wire import wire
from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable
from remediations.ports import checked_name, checked_prefix

_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_WRITER: Final = "writer"
_CLIENTS: Final = 64  # of 32 kB each
# What the SDK raises over an answer whose headers are not those of the service.
_UNREADABLE: Final = (ValueError, LookupError)
# What a create over another blob is answered: 403 (UnauthorizedBlobOverwrite) to an identity that may add blobs and not
# write over them, which is all that ours may. Any of them may be about something else than the name.
_TAKEN: Final = {403, 409, 412}
_LEASED: Final = "Somebody holds a lease on this record: break the lease, and look who writes here besides us."
_FIXES: Final = {
    "ContainerNotFound": "Create the container: deploy infra/ again.",
    "BlockCountExceedsLimit": (
        "The record is full, an append blob takes 50,000 appends: it can still be read. Look what adds to it so often."
    ),
    "BlobImmutableDueToPolicy": (
        "The container's immutability policy forbids it: let the policy allow protected append writes."
    ),
    "BlobIsSealed": "Somebody sealed this record for good: look who writes here besides us.",
    "LeaseIdMissing": _LEASED,
    "LeaseIdMismatchWithBlobOperation": _LEASED,
    "ContainerBeingDeleted": "Somebody is deleting the container: recover it, or deploy infra/ again when it is gone.",
    "AccountIsDisabled": "The storage account is disabled: enable it.",
}


class BlobStore:
    """A `Store` in one container, which must exist; off Azure, on the emulator, it is made when a record is asked for.

    The SDK sends a request again when its answer was lost, so a success can come back as a conflict. A created blob
    therefore carries a mark of the very call that made it, and an append that was sent more than once looks whether
    its bytes stand where it wanted them.
    """

    def __init__(
        self,
        account_url: str,
        container: str,
        credential: TokenCredential | AzureNamedKeyCredential,
        *,
        connection_timeout: float = 20,
        read_timeout: float = 60,
        **client_options: Any,
    ) -> None:
        self._on_emulator = urlsplit(account_url).hostname in _LOOPBACK
        # The SDK's own first pause is 15 s, longer than an activity cares to wait.
        retries = ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4, random_jitter_range=1)
        carrier = wire(account_url, connection_timeout=connection_timeout, read_timeout=read_timeout)
        options = {"retry_policy": retries, "transport": carrier, **client_options}
        self._client = ContainerClient(account_url, container, credential=credential, **options)
        # Making a client for a name costs a twentieth of an append, and incidents append to the same name many times.
        self._clients = lru_cache(_CLIENTS)(ContainerClient.get_blob_client)

    def create(self, name: str, content: bytes) -> None:
        """Keep a new record; raise ``AlreadyExists`` if the name is taken."""
        blob = self._blob(name)
        writer = uuid4().hex
        with self._explained("create", name):
            try:
                blob.upload_blob(content, overwrite=False, metadata={_WRITER: writer})
            except HttpResponseError as error:
                if error.status_code not in _TAKEN:
                    raise
                standing = _properties(blob)
                if standing is None:  # the refusal was about something else than the name
                    raise
                if standing.metadata.get(_WRITER) != writer:
                    raise AlreadyExists(name) from error

    def append(self, name: str, content: bytes, at: int) -> None:
        """Add to the end of a record; raise ``AppendConflict`` if it is not ``at`` bytes long."""
        if not content:
            raise ValueError(f"append to {name!r}: there is nothing to append")
        blob = self._blob(name)
        sent_again = False

        def note(**_attempt: object) -> None:
            nonlocal sent_again
            sent_again = True

        with self._explained("append to", name):
            if at == 0:
                _begin(blob)
            try:
                blob.append_block(content, appendpos_condition=at, retry_hook=note)
            except HttpResponseError as error:
                code = _code(error)
                if code == "BlobNotFound":
                    raise AppendConflict(name, at, 0) from error
                if code == "InvalidBlobType":
                    raise AlreadyExists(name) from error
                if error.status_code not in {409, 412}:
                    raise
                if sent_again and _stands(blob, content, at):
                    return
                if code != "AppendPositionConditionNotMet":
                    raise
                raise AppendConflict(name, at, blob.get_blob_properties().size) from error

    def read(self, name: str) -> bytes:
        """Return a record; raise ``NotFound`` if there is none."""
        blob = self._blob(name)
        with self._explained("read", name):
            return blob.download_blob().readall()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with ``prefix``, in lexical order."""
        start = checked_prefix(prefix)
        with self._explained("list", prefix), self._empty_on_emulator():
            yield from self._client.list_blob_names(name_starts_with=start)

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the names that start with ``prefix`` and how many bytes each record has, in lexical order."""
        start = checked_prefix(prefix)
        with self._explained("list", prefix), self._empty_on_emulator():
            for blob in self._client.list_blobs(name_starts_with=start):
                yield blob.name, blob.size

    @cached_property
    def _container(self) -> ContainerClient:
        if self._on_emulator:
            with suppress(ResourceExistsError):
                self._client.create_container()
        return self._client

    @contextmanager
    def _empty_on_emulator(self) -> Iterator[None]:
        """Take a container that was not made yet for an empty one: a list makes none."""
        try:
            yield
        except ResourceNotFoundError as error:
            if not (self._on_emulator and _code(error) == "ContainerNotFound"):
                raise

    def _blob(self, name: str) -> BlobClient:
        checked_name(name)
        with self._explained("open", name):
            return self._clients(self._container, name)

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except (AzureError, *_UNREADABLE) as error:
            code = _code(error)
            if code == "BlobNotFound":
                raise NotFound(name) from error
            store = f"container {self._client.container_name!r} of {urlsplit(self._client.url).hostname}"
            raise StoreUnavailable(store, f"{verb} {name!r}", _why(error), _fix(code, error)) from error


def _properties(blob: BlobClient) -> BlobProperties | None:
    """Give what the service says of a blob, or None if there is none; ValueError if it does not say it."""
    try:
        found = blob.get_blob_properties()
    except ResourceNotFoundError as error:
        if _code(error) != "BlobNotFound":
            raise
        return None
    if not found.blob_type:  # headers were lost on the way: with them, perhaps, the mark that a record is ours
        msg = f"the properties of {blob.blob_name!r} are incomplete"
        raise ValueError(msg)
    return found


def _begin(blob: BlobClient) -> None:
    """Make sure that there is a blob to append to; one that is empty is as good as new."""
    try:
        blob.create_append_blob(match_condition=MatchConditions.IfMissing)
    except HttpResponseError as error:
        if error.status_code not in _TAKEN or (error.status_code == 403 and _properties(blob) is None):
            raise


def _stands(blob: BlobClient, content: bytes, at: int) -> bool:
    """Whether these bytes are where an earlier, unanswered attempt of ours would have put them."""
    try:
        return blob.download_blob(offset=at, length=len(content)).readall() == content
    except HttpResponseError as error:
        if error.status_code == 416:  # the blob ends before
            return False
        raise


def _code(error: Exception) -> str | None:
    """Return the service's own code, which the storage SDK adds to the exceptions of azure-core."""
    code = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))  # a code that the SDK knows is an enum's


def _why(error: Exception) -> str:
    code = _code(error)
    status = getattr(error, "status_code", None)
    if code or status:
        return f"the service answered {status} {code or ''}".rstrip()
    if isinstance(error, _UNREADABLE):
        return "the answer cannot be read"
    return f"no answer ({type(error).__name__})"


def _fix(code: str | None, error: Exception) -> str:
    if code in _FIXES:
        return _FIXES[code]
    if getattr(error, "status_code", None) in {401, 403}:
        return (
            "Give our identity the role Endpoint Medic Store on the container: deploy infra/ again. "
            "Check the account's network rules, too."
        )
    return "Check the account's URL and network, then try again."
