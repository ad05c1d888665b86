"""Questions about a container with an immutability policy that our identity may only read and append in.

``MEDIC_STORE`` is the account's blob endpoint, ``MEDIC_LIVE_CONTAINER`` a scratch container of it, made as README.md
here says. What is written stays there until that container is deleted: that nothing can be taken away is the question.
"""

import os
import uuid

import pytest
from azure.core.exceptions import HttpResponseError

from remediations.adapters.blobs import BlobStore
from remediations.errors import AlreadyExists, AppendConflict
from remediations.services import Services

pytestmark = pytest.mark.azure

REFUSED = {403, 409}  # by the role, or by the policy


@pytest.fixture(scope="module")
def store(own: Services) -> BlobStore:
    container = os.environ["MEDIC_LIVE_CONTAINER"]
    assert container not in {"trail", "evidence", "deadletters"}, "that one is the app's own, and what is written stays"
    made = own._store(container)
    assert isinstance(made, BlobStore), "MEDIC_STORE has to be an account's blob endpoint"
    return made


@pytest.fixture
def name() -> str:
    return f"live/{uuid.uuid4().hex}"


def test_a_record_is_created_once(store, name):
    """
    Question: does a role with `blobs/read` and `blobs/add/action` let a block blob be created, and not be overwritten?
    Assumed: Put Blob with If-None-Match takes either write or add.
    Where: remediations/adapters/blobs.py create
    Otherwise: give `blobs/write` in store.role.json: the container's policy alone then keeps what is there.
    """
    store.create(name, b"one")
    with pytest.raises(AlreadyExists):
        store.create(name, b"two")
    assert store.read(name) == b"one"


def test_a_record_grows_at_its_end_alone(store, name):
    """
    Question: may append blobs be created and appended to with these rights, under a policy that allows protected
    append writes?
    Assumed: yes, and a wrong position is answered 412.
    Where: remediations/adapters/blobs.py append
    Otherwise: no audit record can be written, so nothing is done: give `blobs/write`, and set
    allowProtectedAppendWrites on the policy while it is unlocked.
    """
    store.append(name, b"one\n", 0)
    store.append(name, b"two\n", 4)
    with pytest.raises(AppendConflict):
        store.append(name, b"three\n", 4)
    assert store.read(name) == b"one\ntwo\n"
    assert list(store.list(name)) == [name]


def test_nothing_is_overwritten(store, name):
    """
    Question: is an overwrite refused, by the role or by the policy?
    Assumed: yes.
    Where: infra/rbac
    Otherwise: the trail is not immutable: look at the roles that whoever runs this has on the account.
    """
    store.create(name, b"one")
    with pytest.raises(HttpResponseError) as caught:
        store._blob(name).upload_blob(b"two", overwrite=True)
    assert caught.value.status_code in REFUSED
    assert store.read(name) == b"one"


def test_nothing_is_deleted(store, name):
    """
    Question: is a deletion refused, by the role or by the policy?
    Assumed: yes.
    Where: infra/rbac
    Otherwise: the same.
    """
    store.create(name, b"one")
    with pytest.raises(HttpResponseError) as caught:
        store._blob(name).delete_blob()
    assert caught.value.status_code in REFUSED
    assert store.read(name) == b"one"
