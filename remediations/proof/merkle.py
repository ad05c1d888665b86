"""The Merkle tree of RFC 6962, section 2.1: over SHA-256, with leaves and nodes told apart by their first byte.

https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256().digest()


def leaf(content: bytes) -> bytes:
    """Give the hash of a leaf."""
    return hashlib.sha256(b"\x00" + content).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that leaves are added to; it keeps its whole subtrees alone, so it stays small however many there are."""

    def __init__(self) -> None:
        self.size = 0
        self._whole: list[bytes] = []  # roots of whole subtrees, the largest first: one for each 1 bit of the size

    def add(self, hashed: bytes) -> None:
        """Add a leaf, by its hash."""
        size, top = self.size, hashed
        while size & 1:
            top = _node(self._whole.pop(), top)
            size >>= 1
        self._whole.append(top)
        self.size += 1

    def root(self) -> bytes:
        """Give the root as it is now."""
        if not self._whole:
            return EMPTY
        *rest, root = self._whole
        for left in reversed(rest):
            root = _node(left, root)
        return root


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Give the audit path of a leaf: what its root is computed from besides it, from the bottom up."""
    if len(leaves) <= 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*path(index, leaves[:half]), _root(leaves[half:])]
    return [*path(index - half, leaves[half:]), _root(leaves[:half])]


def root_from(hashed: bytes, index: int, size: int, steps: Sequence[bytes]) -> bytes | None:
    """Give the root that an audit path leads to; None if it is none for a leaf at that place in such a tree.

    https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2
    """
    if not 0 <= index < size:
        return None
    place, last, root = index, size - 1, hashed
    for step in steps:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = _node(step, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = _node(root, step)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None


def _root(leaves: Sequence[bytes]) -> bytes:
    tree = Tree()
    for hashed in leaves:
        tree.add(hashed)
    return tree.root()
