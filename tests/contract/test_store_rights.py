"""What the store asks of the blob service is what remediations/rights.py declares, and nothing else.

Every method of `BlobStore` is driven, with answers lost and names taken, against the emulator; a proxy between them
keeps each request, which is told by what Azure documents that its sender needs. A request that is not in the table
fails: what it needs has to be looked up first.
https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
"""

import gc
import uuid
from contextlib import suppress

import pytest
from azure.storage.blob import ContainerClient, ExponentialRetry

from remediations.adapters.blobs import BlobStore
from remediations.errors import AlreadyExists, AppendConflict, NotFound
from remediations.rights import RIGHTS
from tests.contract.faulty_proxy import Asked, Fault, FaultyProxy, How, scripted
from tests.emulator import Azurite

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_blob_faults

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
READ, ADD, WRITE = f"{BLOBS}/read", f"{BLOBS}/add/action", f"{BLOBS}/write"
LOST = Fault(How.RESET, after=True)
# Headers of a write that need a right of their own: to set tags, to hold a blob or to keep it from change.
SPECIAL = ("x-ms-tags", "x-ms-legal-hold", "x-ms-immutability-policy", "x-ms-copy-source")


def needed(asked: Asked) -> str:
    """Give the operation that Azure checks for a request; raise LookupError for one that is not known."""
    query = {name: "".join(values) for name, values in asked.query.items() if name != "timeout"}
    parts = len(asked.path.strip("/").split("/"))
    if asked.method == "GET" and parts == 2 and query.pop("restype", "") == "container":
        # List Blobs; to include tags, deleted blobs or permissions would need more
        if query.pop("comp", "") == "list" and query.keys() <= {"prefix", "marker", "maxresults"}:
            return READ
    elif parts > 2 and asked.method in {"GET", "HEAD"} and not query:  # Get Blob, Get Blob Properties
        return READ
    elif parts > 2 and asked.method == "PUT" and not [name for name in asked.headers if name.startswith(SPECIAL)]:
        if query == {"comp": "appendblock"}:  # Append Block
            return ADD
        if not query and asked.headers.get("x-ms-blob-type"):  # Put Blob: over another blob, unless it must be new
            return ADD if asked.headers.get("if-none-match") == "*" else WRITE
    msg = f"look up what this needs: {asked}"
    raise LookupError(msg)


@pytest.fixture(scope="module")
def seen(azurite: Azurite) -> dict[str, list[Asked]]:
    """What each method of the store asks of the service, as it is in Azure: the container is there."""
    container = f"t{uuid.uuid4().hex}"
    with ContainerClient(azurite.endpoint, container, credential=azurite.credential) as made:
        made.create_container()
    retries = ExponentialRetry(initial_backoff=0, increment_base=0, retry_total=4, random_jitter_range=0)
    found: dict[str, list[Asked]] = {}
    with FaultyProxy(azurite.endpoint) as proxy:
        store = BlobStore(
            proxy.endpoint,
            container,
            azurite.credential,
            connection_timeout=2,
            read_timeout=5,
            retry_policy=retries,
            raw_request_hook=small_pages,
        )
        store._on_emulator = False

        def drive(method: str, *args: object, faults: tuple[str, ...] = ()) -> None:
            script = scripted(*((kind, LOST) for kind in faults))
            asked: list[Asked] = []

            def choose(one: Asked) -> Fault | None:
                asked.append(one)
                return script(one)

            proxy.choose = choose
            with suppress(AlreadyExists, AppendConflict, NotFound):
                list(getattr(store, method)(*args) or ())
            assert sum(proxy.done.values()) == len(faults)
            proxy.done.clear()
            found.setdefault(method, []).extend(asked)

        drive("create", "claim", b"one")
        drive("create", "claim", b"two")  # taken
        drive("create", "large", b"x" * 5_000_000)
        drive("create", "lost", b"one", faults=("create",))
        drive("append", "log", b"one\n", 0)
        drive("append", "log", b"two\n", 4)
        drive("append", "log", b"two\n", 3)  # elsewhere
        drive("append", "log", b"one\n", 0)
        drive("append", "log", b"three\n", 8, faults=("append",))
        drive("append", "claim", b"more", 3)  # a whole one
        drive("append", "none", b"more", 3)
        drive("append", "begun", b"one\n", 0, faults=("begin",))
        drive("read", "large")
        drive("read", "none")
        drive("list", "")
        drive("lengths", "l")
    assert proxy.failed == []
    gc.collect()
    return found


def small_pages(request) -> None:
    """Asks for two names a page, before the request is signed."""
    if request.http_request.query.get("comp") == "list":
        request.http_request.url += "&maxresults=2"


def test_every_method_of_the_store_is_driven(seen):
    assert seen.keys() == {name for name, value in vars(BlobStore).items() if callable(value) and name[0] != "_"}
    assert {method: bool(asked) for method, asked in seen.items()} == dict.fromkeys(seen, True)
    assert {asked.what for each in seen.values() for asked in each} == {
        "create",
        "begin",
        "append",
        "read",
        "look",
        "list",
    }


def test_the_store_needs_what_is_declared_for_it_and_nothing_else(seen):
    asked = {needed(one) for each in seen.values() for one in each}
    assert asked == {right.operation for right in RIGHTS if right.via == "store"} == {READ, ADD}


def test_to_read_and_to_list_needs_no_right_to_add(seen):
    assert {needed(one) for method in ("read", "list", "lengths") for one in seen[method]} == {READ}


BLOB, BLOCK = "/account/trail/incidents/a", {"x-ms-blob-type": "BlockBlob"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        pytest.param("PUT", BLOB, {}, {**BLOCK, "if-none-match": "*"}, ADD, id="a new blob"),
        pytest.param("PUT", BLOB, {}, BLOCK, WRITE, id="a blob over another"),
        pytest.param("PUT", BLOB, {}, {**BLOCK, "if-match": "*"}, WRITE, id="a blob over another that must be there"),
        pytest.param("PUT", BLOB, {"comp": "appendblock"}, {}, ADD, id="an append"),
        pytest.param("GET", BLOB, {"timeout": "5"}, {}, READ, id="a read"),
        pytest.param("PUT", BLOB, {"comp": "metadata"}, {}, None, id="metadata"),
        pytest.param("PUT", BLOB, {"comp": "block", "blockid": "MQ=="}, {}, None, id="a block"),
        pytest.param("PUT", BLOB, {"comp": "seal"}, {}, None, id="a seal"),
        pytest.param("PUT", BLOB, {}, {**BLOCK, "if-none-match": "*", "x-ms-tags": "a=b"}, None, id="tags"),
        pytest.param("GET", BLOB, {"comp": "tags"}, {}, None, id="reading tags"),
        pytest.param("GET", BLOB, {"versionid": "1"}, {}, None, id="an old version"),
        pytest.param("DELETE", BLOB, {}, {}, None, id="a deletion"),
        pytest.param("GET", "/account/trail", {"restype": "container"}, {}, None, id="the container's properties"),
        pytest.param("HEAD", "/account/trail", {"restype": "container"}, {}, None, id="whether there is a container"),
        pytest.param("PUT", "/account/trail", {"restype": "container"}, {}, None, id="a new container"),
        pytest.param(
            "GET", "/account/trail", {"restype": "container", "comp": "list", "include": "tags"}, {}, None, id="more"
        ),
    ],
)
def test_what_a_request_needs(method, path, query, headers, operation):
    asked = Asked(method, path, {name: [value] for name, value in query.items()}, headers)
    if operation is None:
        with pytest.raises(LookupError):
            needed(asked)
    else:
        assert needed(asked) == operation
