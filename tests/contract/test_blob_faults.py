"""What the store in blobs makes of each fault between it and the service."""

import gc
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from azure.storage.blob import ExponentialRetry

from remediations.adapters.blobs import BlobStore
from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable
from tests.contract.faulty_proxy import EVERY_FAULT, Asked, Fault, FaultyProxy, How, always, no_faults, scripted
from tests.emulator import Azurite

LOST = Fault(How.RESET, after=True)
DOWN = Fault(How.ANSWER)
# Of an answer to a read that is an error the SDK leaves the body unread, and its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# The SDK sleeps for a second after an answer to a read that was cut.
QUICK_FAULTS = [fault for fault in EVERY_FAULT if fault.how is not How.CUT]


@pytest.fixture(scope="module")
def proxy(azurite: Azurite) -> Iterator[FaultyProxy]:
    with FaultyProxy(azurite.endpoint) as proxy:
        yield proxy
        gc.collect()
    assert proxy.failed == []


@pytest.fixture
def make(proxy: FaultyProxy, azurite: Azurite) -> Callable[..., BlobStore]:
    """Makes a store behind the proxy, with short timeouts and no pauses."""
    proxy.choose = no_faults
    container = f"t{uuid.uuid4().hex}"

    def make(retries: int = 4, **options: Any) -> BlobStore:
        policy = ExponentialRetry(initial_backoff=0, increment_base=0, retry_total=retries, random_jitter_range=0)
        return BlobStore(
            proxy.endpoint,
            container,
            azurite.credential,
            **{"connection_timeout": 2, "read_timeout": 0.25, "retry_policy": policy, **options},
        )

    return make


@pytest.fixture
def blobs(make: Callable[..., BlobStore]) -> BlobStore:
    store = make()
    store.append("log", b"one\n", 0)
    store.create("claim", b"theirs")
    return store


# --------------------------------------------------------------------------------------------- one fault each


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_a_create_meets_one_fault_and_stands_once(blobs, proxy, fault):
    proxy.choose = scripted(("create", fault))
    blobs.create("mine", b"mine")
    assert blobs.read("mine") == b"mine"
    with pytest.raises(AlreadyExists):
        blobs.create("mine", b"mine")


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_a_create_that_came_second_meets_one_fault_and_is_refused(blobs, proxy, fault):
    proxy.choose = scripted(("create", fault))
    with pytest.raises(AlreadyExists):
        blobs.create("claim", b"theirs")


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
@pytest.mark.parametrize("what", ["begin", "append"])
def test_a_beginning_meets_one_fault_and_stands_once(blobs, proxy, what, fault):
    proxy.choose = scripted((what, fault))
    blobs.append("new", b"one\n", 0)
    blobs.append("new", b"two\n", 4)
    assert blobs.read("new") == b"one\ntwo\n"


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_an_append_that_came_second_meets_one_fault_and_is_refused(blobs, proxy, fault):
    proxy.choose = scripted(("append", fault))
    with pytest.raises(AppendConflict) as conflict:
        blobs.append("log", b"two\n", 0)
    assert (conflict.value.length, blobs.read("log")) == (4, b"one\n")


@pytest.mark.parametrize("fault", QUICK_FAULTS, ids=str)
def test_a_read_and_a_list_meet_one_fault_and_are_answered(blobs, proxy, fault):
    proxy.choose = scripted(("read", fault), ("list", fault), ("list", fault))
    assert blobs.read("log") == b"one\n"
    assert list(blobs.list("")) == ["claim", "log"]
    assert list(blobs.lengths("")) == [("claim", 6), ("log", 4)]


def test_a_read_that_is_cut_is_read_again(blobs, proxy):
    blobs.append("log", b"x" * 1_000_000, 4)
    proxy.choose = scripted(("read", Fault(How.CUT, after=True)))
    assert blobs.read("log") == b"one\n" + b"x" * 1_000_000
    assert proxy.done["read: answer cut in the middle after the effect"] >= 1


def test_large_records_pass_whole(blobs):
    blobs.append("log", b"y" * 4_000_000, 4)
    blobs.create("large", b"z" * 9_000_000)
    assert blobs.read("log") == b"one\n" + b"y" * 4_000_000
    assert blobs.read("large") == b"z" * 9_000_000


# ------------------------------------------------------------------------------------------ faults in a row


@pytest.mark.parametrize("look", [LOST, DOWN], ids=str)
def test_an_append_whose_answers_were_all_lost_is_looked_for(blobs, proxy, look):
    proxy.choose = scripted(("append", LOST), ("append", LOST), ("read", look))
    blobs.append("log", b"two\n", 4)
    assert blobs.read("log") == b"one\ntwo\n"


def test_an_append_whose_answer_was_lost_is_recognised_though_others_have_appended_since(blobs, proxy, make, azurite):
    beside = BlobStore(azurite.endpoint, blobs._client.container_name, azurite.credential)
    turns: list[str] = []

    def choose(asked: Asked) -> Fault | None:
        turns.append(asked.what)
        if turns == ["append", "append"]:  # our second attempt waits until somebody else has written
            beside.append("log", b"theirs\n", 8)
        return LOST if turns == ["append"] else None

    patient = make(read_timeout=5)  # or a slow moment of this machine would be one more turn
    assert patient.read("log") == b"one\n"
    proxy.choose = choose
    patient.append("log", b"two\n", 4)
    assert turns == ["append", "append", "read"]
    assert blobs.read("log") == b"one\ntwo\ntheirs\n"


@pytest.mark.parametrize("what", ["create", "append"])
def test_what_arrives_when_nobody_waits_for_it_any_more_changes_nothing(blobs, proxy, make, what):
    late = make(retries=0)
    proxy.choose = scripted((what, Fault(How.LATE)))
    write = {
        "create": lambda store: store.create("mine", b"mine"),
        "append": lambda store: store.append("log", b"two\n", 4),
    }[what]
    with pytest.raises(StoreUnavailable, match=r"no answer \(ServiceResponseTimeoutError\)"):
        write(late)
    with suppress(AlreadyExists, AppendConflict):  # if it arrived before
        write(blobs)
    assert blobs.read("log") == (b"one\ntwo\n" if what == "append" else b"one\n")
    assert [name for name, _ in blobs.lengths("")] == (["claim", "log"] + ["mine"] * (what == "create"))


ATTEMPTS: tuple[tuple[str, Callable[[BlobStore], object]], ...] = (
    ("create", lambda store: store.create("mine", b"x")),
    ("append", lambda store: store.append("log", b"x", 4)),
    ("begin", lambda store: store.append("new", b"x", 0)),
    ("read", lambda store: store.read("log")),
    ("list", lambda store: list(store.list(""))),
    ("list", lambda store: list(store.lengths(""))),
    ("look", lambda store: store.create("claim", b"x")),
    ("look", lambda store: store.append("log", b"x", 0)),
)


@pytest.mark.parametrize("fault", [DOWN, Fault(How.RESET), Fault(How.SILENCE)], ids=str)
def test_a_service_that_stays_away_makes_the_store_unavailable(blobs, proxy, make, fault):
    store = make(retries=1)
    for what, attempt in ATTEMPTS:
        proxy.choose = always(what, fault)
        with pytest.raises(StoreUnavailable, match="Check the account's URL and network, then try again"):
            attempt(store)


def test_an_answer_without_its_headers_makes_the_store_unavailable(blobs, proxy):
    bare = Fault(How.ANSWER, status=200, code="None")
    proxy.choose = always("read", bare)
    with pytest.raises(StoreUnavailable, match="the answer cannot be read"):
        blobs.read("log")
    proxy.choose = scripted(("create", LOST), ("look", bare))
    with pytest.raises(StoreUnavailable, match="the answer cannot be read"):
        blobs.create("mine", b"mine")


# ---------------------------------------------------------------------------------- refusals, told apart


def refusal(proxy: FaultyProxy, what: str, status: int, code: str, attempt: Callable[[], None]) -> str:
    proxy.choose = always(what, Fault(How.ANSWER, status=status, code=code))
    with pytest.raises(StoreUnavailable) as refused:
        attempt()
    proxy.choose = no_faults
    return str(refused.value).replace(str(refused.value.store), "the container")


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (
            409,
            "BlockCountExceedsLimit",
            "The record is full, an append blob takes 50,000 appends: it can still be read.",
        ),
        (409, "BlobImmutableDueToPolicy", "The container's immutability policy forbids it: let the policy allow"),
        (409, "BlobIsSealed", "Somebody sealed this record for good"),
        (412, "LeaseIdMissing", "Somebody holds a lease on this record: break the lease"),
        (409, "ContainerBeingDeleted", "Somebody is deleting the container"),
        (403, "AuthorizationPermissionMismatch", "Give our identity the role Endpoint Medic Store on the container"),
    ],
)
def test_a_refusal_that_is_no_conflict_is_not_taken_for_one(blobs, proxy, status, code, fix):
    appended = refusal(proxy, "append", status, code, lambda: blobs.append("log", b"two\n", 4))
    assert appended.startswith(f"append to 'log' in the container: the service answered {status} {code}. {fix}")
    created = refusal(proxy, "create", status, code, lambda: blobs.create("mine", b"x"))
    assert created.startswith(f"create 'mine' in the container: the service answered {status} {code}. {fix}")
    assert blobs.read("log") == b"one\n"
    with pytest.raises(NotFound):
        blobs.read("mine")


def test_a_taken_name_is_taken_whatever_the_service_says_of_it(blobs, proxy):
    proxy.choose = always("create", Fault(How.ANSWER, status=409, code="BlobImmutableDueToPolicy"))
    with pytest.raises(AlreadyExists):
        blobs.create("claim", b"mine")


OVERWRITE = Fault(How.ANSWER, status=403, code="UnauthorizedBlobOverwrite")


def test_an_identity_that_may_only_add_is_told_a_taken_name_as_everybody_is(blobs, proxy):
    proxy.choose = always("create", OVERWRITE)
    with pytest.raises(AlreadyExists):
        blobs.create("claim", b"mine")
    proxy.choose = scripted(("create", LOST), ("create", OVERWRITE))
    blobs.create("mine", b"mine")  # the first attempt had made it
    assert blobs.read("mine") == b"mine"


def test_an_identity_that_may_only_add_begins_a_record_that_is_there_already(blobs, proxy):
    proxy.choose = always("begin", OVERWRITE)
    with pytest.raises(AppendConflict) as conflict:
        blobs.append("log", b"two\n", 0)
    assert conflict.value.length == 4


def test_a_record_that_may_not_be_begun_is_no_conflict(blobs, proxy):
    begun = refusal(proxy, "begin", 403, "AuthorizationPermissionMismatch", lambda: blobs.append("new", b"one\n", 0))
    assert begun.startswith("append to 'new' in the container: the service answered 403 AuthorizationPermission")


@pytest.mark.parametrize(("status", "code"), [(409, "BlockCountExceedsLimit"), (412, "AppendPositionConditionNotMet")])
def test_the_last_append_that_a_record_takes_is_recognised_when_its_answer_was_lost(blobs, proxy, status, code):
    proxy.choose = scripted(("append", LOST), ("append", Fault(How.ANSWER, status=status, code=code)))
    blobs.append("log", b"two\n", 4)
    assert blobs.read("log") == b"one\ntwo\n"


def test_a_lease_is_told_from_a_conflict(blobs, azurite):
    direct = BlobStore(azurite.endpoint, blobs._client.container_name, azurite.credential)
    lease = direct._client.get_blob_client("log").acquire_lease()
    with pytest.raises(StoreUnavailable, match=r"412 LeaseIdMissing\. Somebody holds a lease on this record"):
        direct.append("log", b"two\n", 4)
    lease.release()
    direct.append("log", b"two\n", 4)
    assert direct.read("log") == b"one\ntwo\n"


def test_a_sealed_record_is_told_from_a_conflict(blobs, azurite):
    direct = BlobStore(azurite.endpoint, blobs._client.container_name, azurite.credential)
    direct._client.get_blob_client("log").seal_append_blob()
    with pytest.raises(StoreUnavailable, match=r"409 BlobIsSealed\. Somebody sealed this record for good"):
        direct.append("log", b"two\n", 4)
    assert direct.read("log") == b"one\n"


# ------------------------------------------------------------------------------------------------- listing


def small_pages(request) -> None:
    """Asks for seven names a page, before the request is signed."""
    if request.http_request.query.get("comp") == "list":
        request.http_request.url += "&maxresults=7"


def test_a_listing_goes_on_over_many_pages(make):
    store = make(raw_request_hook=small_pages)
    names = [f"a/{number:02d}" for number in range(30)] + ["a-b", "a/3", "b"]
    for name in names:
        store.create(name, name.encode())
    assert list(store.list("")) == sorted(names)
    assert list(store.lengths("")) == [(name, len(name)) for name in sorted(names)]
    assert list(store.list("a/1")) == [f"a/{number}" for number in range(10, 20)]


def test_a_listing_that_fails_between_two_pages_is_unavailable_and_not_short(make, proxy):
    store = make(retries=0, read_timeout=5, raw_request_hook=small_pages)
    for number in range(10):
        store.create(f"a/{number}", b"x")
    for listing in (store.list, store.lengths):
        proxy.choose = scripted(("list", None), ("list", DOWN))
        with pytest.raises(StoreUnavailable, match="list 'a/' in container"):
            list(listing("a/"))
