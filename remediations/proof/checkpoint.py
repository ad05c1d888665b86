"""What is signed: the heads of all incidents' trails in one tree.

A *head* is the end of one incident's records at some time. Heads are leaves of one tree that only grows, so every
checkpoint proves all that came before it, and any two show whether the later goes on from the earlier.
Keys are Ed25519 (RFC 8032), raw and in base64.
"""

import base64
import binascii
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec
from remediations.model import Checkpoint
from remediations.proof import merkle

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FIRST = "0" * 64  # what the first checkpoint names as the one before it
FOLDER = "checkpoints"
MOST_LINES = 1_000  # of one of its files


class Head(Struct, frozen=True, kw_only=True):
    """The end of one incident's records.

    Attributes:
        records: How many there are, in `length` bytes.
        hash: Of the last one.
    """

    incident: str
    records: int
    length: int
    hash: str


class Page(Struct, frozen=True, kw_only=True):
    """One line of the checkpoints' file: a checkpoint, and the heads that it adds to the tree, in order."""

    checkpoint: Checkpoint
    heads: tuple[Head, ...]


def leaf_of(head: Head) -> bytes:
    """Give the hash of a head's leaf."""
    return merkle.leaf(codec.encode(head))


def digest_of(checkpoint: Checkpoint) -> str:
    """Give what the next checkpoint names as the one before it."""
    return codec.digest_of(checkpoint)


# ----------------------------------------------------------------------------------------------- keys


def new_key() -> str:
    """Give a new private key."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def public_of(private: str) -> str:
    """Give the public key of a private one; raises ValueError if it is none."""
    return _public(_private(private))


def sign(checkpoint: Checkpoint, private: str) -> Checkpoint:
    """Give the checkpoint with its key and signature; raises ValueError if the key is none."""
    key = _private(private)
    unsigned = replace(checkpoint, key=_public(key), signature="")
    return replace(unsigned, signature=base64.b64encode(key.sign(codec.encode(unsigned))).decode())


def is_signed(checkpoint: Checkpoint) -> bool:
    """Tell whether the signature is that of the key which the checkpoint names."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 20 ms that a cold start does not need
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - as above

    try:
        key = Ed25519PublicKey.from_public_bytes(_decoded(checkpoint.key))
        key.verify(_decoded(checkpoint.signature), codec.encode(replace(checkpoint, signature="")))
    except (InvalidSignature, ValueError):
        return False
    return True


def is_key(text: str) -> bool:
    """Tell whether a text can be a key: 32 bytes in base64."""
    try:
        return len(_decoded(text)) == 32
    except ValueError:
        return False


def _private(text: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Key  # noqa: PLC0415 - as above

    return Key.from_private_bytes(_decoded(text))


def _public(key: "Ed25519PrivateKey") -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _decoded(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if base64.b64encode(content).decode() != text:  # the last digit has bits that stand for nothing
        raise ValueError("it is not base64 as anybody writes it")
    return content
