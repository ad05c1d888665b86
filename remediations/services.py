"""Settings -> adapters -> `Services`: the only place that knows which adapter stands behind which port.

Adapters are imported here, when they are made: none of them is paid for by a cold start that does not need it.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from remediations import codec, policy, rights, settings
from remediations.audit import Journal
from remediations.errors import AlreadyExists, NotFound, PolicyError, SettingsError, UndeclaredWrite
from remediations.model import Absent, Call, Caller, Found, Json, Mode, Reading, Unknown
from remediations.policy import Policy
from remediations.ports import Notifier, Reads, Reply, Store, Witness, Writes
from remediations.settings import Settings
from remediations.throttling import Flights, Throttle
from remediations.trail import Trail

log = structlog.get_logger()

_IDLE_S = 60.0  # Azure drops a flow that was idle for four minutes, and tells nobody


class EvidenceStore:
    """Values by the digest of their canonical bytes: what the trail proves and replay can use."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def put(self, value: object) -> str:
        """Keep a value; give its digest."""
        content = codec.encode(value)
        digest = codec.digest(content)
        with suppress(AlreadyExists):  # the name is the digest: what is there is the same
            self.store.create(_place(digest), content)
        return digest

    def get[T](self, type_: type[T], digest: str) -> T:
        """Give the value of a digest; raises ValueError if what lies there is not it, NotFound if nothing does."""
        content = self.store.read(_place(digest))
        if codec.digest(content) != digest:
            msg = f"what lies under {digest} has another digest: it was changed"
            raise ValueError(msg)
        return codec.decode(type_, content)

    def find[T](self, type_: type[T], digest: str) -> T | None:
        """Give the value of a digest, or None once its time is over."""
        try:
            return self.get(type_, digest)
        except NotFound:
            return None

    def reading(self, digest: str) -> Reading[Json]:
        """Give what lies under a digest as a read of it: absent once its time is over, unknown if it was changed."""
        try:
            return Found(self.get(dict[str, Any], digest))
        except NotFound:
            return Absent()
        except ValueError as error:
            return Unknown(str(error))


class Writers:
    """The port `Writes` for every call: each goes to the client that it names, made when first needed.

    Raises UndeclaredWrite for a call that `rights` does not list, whoever planned it; then nothing was sent.
    """

    def __init__(self, chosen: Settings, credential: Any, throttle: Throttle) -> None:
        self._settings = chosen
        self._credential = credential
        self._throttle = throttle

    def ready(self, call: Call) -> timedelta | None:
        self._client(call).ready(call)
        wait = self._throttle.take(call.method, call.path, longest_s=0)
        return timedelta(seconds=wait) if wait else None

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        client = self._client(call)
        if wait := self._throttle.closed_s(call.method, call.path):  # Azure throttled another since this one was ready
            return Reply(status=429, retry_after=timedelta(seconds=wait))
        return client.send(call, body, request_id=request_id)

    def _client(self, call: Call) -> Writes:
        if not rights.is_write(call):
            raise UndeclaredWrite(call.method, call.path, call.via)
        client: Writes = getattr(self, f"_{call.via}")
        return client

    @cached_property
    def _arm(self) -> Writes:
        from remediations.adapters.arm import ArmWrites

        return ArmWrites(self._settings, self._credential, self._throttle)

    @cached_property
    def _ml(self) -> Writes:
        from remediations.adapters.ml import KeySync

        return KeySync(self._settings, self._credential, self._throttle)

    @cached_property
    def _roles(self) -> Writes:
        from remediations.adapters.roles import RoleWrites

        return RoleWrites(self._settings, self._credential, self._throttle)


class Services:
    """What an activity needs of the outside world."""

    def __init__(self, chosen: Settings, *, clock: Callable[[], datetime] | None = None) -> None:
        self.settings = chosen
        self.clock = clock or (lambda: datetime.now(UTC))
        self.trail = Trail(self._store("trail"))
        self.evidence = EvidenceStore(self._store("evidence"))
        self._policy_lock = threading.Lock()
        self._policy: tuple[tuple[int, int], Policy] | None = None
        self._own: Caller | None = None
        self._throttle = Throttle(scale=chosen.time_scale)
        self._flights = Flights()
        self._wire: Any = None
        self._wired_at = 0.0

    @property
    def policy(self) -> Policy:
        """The policy, read again when its file changes; a file that became invalid leaves the last good one.

        Raises:
            PolicyError: there is no last good one.
        """
        path = Path(self.settings.policy)
        with self._policy_lock:
            stamp = stamp_of(path)
            if self._policy is None or self._policy[0] != stamp:
                try:
                    self._policy = (stamp, self._loaded(path))
                except PolicyError as error:
                    if self._policy is None:
                        raise
                    log.error("policy.refused", error=str(error), keeps=self._policy[1].version)  # noqa: TRY400
                    self._policy = (stamp, self._policy[1])
            return self._policy[1]

    @staticmethod
    def _loaded(path: Path) -> Policy:
        from remediations.actions import ACTIONS

        loaded = policy.load(path)
        policy.refuse_unknown_actions(loaded, ACTIONS, str(path))
        return loaded

    def reads(self, *, is_patient: bool = False) -> Reads:
        """Give a fresh reader: what it is refused is counted from here.

        Args:
            is_patient: Whether nobody waits for what it reads: it lets others go before it.
        """
        from remediations.adapters.arm import ArmReads

        return ArmReads(self.settings, self._credential, self._throttle, carrier=self._carrier(), is_patient=is_patient)

    def polls(self) -> Reads:
        """Give a reader that shares its requests with whoever asks the same at the same time: to look whether something
        is over, never for what a guard decides on."""
        from remediations.adapters.arm import ArmReads

        return ArmReads(self.settings, self._credential, self._throttle, carrier=self._carrier(), flights=self._flights)

    def _carrier(self) -> Any:
        """Give what carries reads: kept while it is used, since a connection that was idle may be gone unseen."""
        from remediations.adapters.wire import wire

        now = monotonic()
        if self._wire is None or now - self._wired_at > _IDLE_S:
            self._wire = wire(self.settings.arm_url)
        self._wired_at = now
        return self._wire

    @cached_property
    def writes(self) -> Writes:
        """The writer; in a dry run, or when off, one that has nothing behind it."""
        from remediations.adapters.arm import NoWrites

        if self.settings.mode.rank <= Mode.DRY_RUN.rank:
            return NoWrites()
        return Writers(self.settings, self._credential, self._throttle)

    @cached_property
    def notifiers(self) -> tuple[Notifier, ...]:
        """The channels that are set, also in a dry run: telling writes nothing to Azure's resources."""
        chosen: list[Notifier] = []
        if self.settings.teams_url is not None:
            from remediations.adapters.teams import TeamsNotifier

            chosen.append(TeamsNotifier(self.settings.teams_url))
        if self.settings.webhook_url is not None:
            from remediations.adapters.webhook import WebhookNotifier

            chosen.append(WebhookNotifier(self.settings.webhook_url))
        if self._topic is not None:
            chosen.append(self._topic)
        if self.settings.notices_folder is not None:
            from remediations.adapters.outbox import FolderNotifier

            chosen.append(FolderNotifier(self.settings.notices_folder))
        return tuple(chosen)

    @property
    def witness(self) -> Witness | None:
        """Who keeps checkpoints outside; None if no topic is set."""
        topic: Witness | None = self._topic
        return topic

    @property
    def own(self) -> Caller | None:
        """Who we are, if that can be told; asked again until it can."""
        if self._own is None:
            self._own = self.reads().identity()
        return self._own

    @property
    def journal(self) -> Journal:
        return Journal(
            trail=self.trail,
            mode=self.settings.mode,
            policy_version=self.policy.version,
            clock=self.clock,
            own=lambda: self.own,
        )

    @cached_property
    def _topic(self) -> Any:
        if self.settings.outcome_topic is None:
            return None
        from remediations.adapters.topic import TopicNotifier

        return TopicNotifier(self.settings.outcome_topic, self._credential)

    @cached_property
    def _credential(self) -> Any:
        from remediations.adapters.arm import credential_of

        return credential_of(self.settings)

    def _store(self, container: str) -> Store:
        where = self.settings.store
        if where.startswith("http"):
            from remediations.adapters.blobs import BlobStore

            return BlobStore(where, container, self._blob_credential())
        from remediations.adapters.folder import FolderStore

        return FolderStore(Path(where) / container)

    def _blob_credential(self) -> Any:
        from remediations.adapters.arm import credential_of

        if settings.is_loopback(self.settings.store):
            return emulator_credential("MEDIC_STORE", self.settings.store)
        return credential_of(self.settings)


def emulator_credential(setting: str, where: str) -> Any:
    """Give the key of an account on this machine, by the variable that Azurite itself reads; raises SettingsError."""
    key = os.environ.get("AZURITE_ACCOUNTS", "").split(";", maxsplit=1)[0]
    if ":" not in key:
        fix = "Set AZURITE_ACCOUNTS=<name>:<key>, as for Azurite itself."
        raise SettingsError(setting, where, "a store on loopback needs its account's key", fix)
    from azure.core.credentials import AzureNamedKeyCredential

    return AzureNamedKeyCredential(*key.split(":", maxsplit=1))


_lock = threading.Lock()
_services: Services | None = None


def services() -> Services:
    """Give this process's services, made of its environment at the first call.

    Raises:
        SettingsError: a setting cannot be used.
    """
    global _services  # noqa: PLW0603 - one composition root a process
    with _lock:
        if _services is None:
            _services = Services(settings.load(os.environ))
        return _services


def use(replacement: Services | None) -> None:
    """Put other services in place, for tests and for commands that make their own; None: make them anew."""
    global _services  # noqa: PLW0603
    with _lock:
        _services = replacement


def stamp_of(path: Path) -> tuple[int, int]:
    """Give what changes when a file does; zeros if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def _place(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
