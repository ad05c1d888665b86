"""The tree of RFC 6962: the published vectors, and the laws of audit paths."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.proof import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def root_of(leaves):
    tree = merkle.Tree()
    for hashed in leaves:
        tree.add(hashed)
    return tree.root()


def plain_root(contents):
    """The tree as the RFC defines it, word for word."""
    if len(contents) <= 1:
        return hashlib.sha256(b"\x00" + contents[0] if contents else b"").digest()
    split = 1
    while split * 2 < len(contents):
        split *= 2
    return hashlib.sha256(b"\x01" + plain_root(contents[:split]) + plain_root(contents[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_root_is_the_published_one(size):
    assert root_of(map(merkle.leaf, LEAVES[:size])).hex() == ROOTS[size]


def test_a_tree_grows_through_all_published_roots():
    tree, seen = merkle.Tree(), []
    for content in LEAVES:
        seen.append(tree.root().hex())
        tree.add(merkle.leaf(content))
    assert (*seen, tree.root().hex()) == ROOTS
    assert tree.size == 8


def test_the_published_audit_paths_of_seven_leaves_are_given():
    """The example of RFC 6962, 2.1.3: d0 needs b, h, l; d3 needs c, g, l; d4 needs f, j, k; d6 needs i, k."""
    leaves = [merkle.leaf(bytes([number])) for number in range(7)]
    a, b, c, d, e, f, j = leaves
    g, h, i = root_of([a, b]), root_of([c, d]), root_of([e, f])
    k, last = root_of([a, b, c, d]), root_of([e, f, j])
    assert merkle.path(0, leaves) == [b, h, last]
    assert merkle.path(3, leaves) == [c, g, last]
    assert merkle.path(4, leaves) == [f, j, k]
    assert merkle.path(6, leaves) == [i, k]


@pytest.mark.parametrize("size", range(1, 71))
def test_every_leaf_of_a_tree_is_proved_by_its_path(size):
    contents = [b"%d" % number for number in range(size)]
    leaves = [merkle.leaf(content) for content in contents]
    root = plain_root(contents)
    assert root_of(leaves) == root
    for index, hashed in enumerate(leaves):
        assert merkle.root_from(hashed, index, size, merkle.path(index, leaves)) == root


@given(st.data(), st.integers(1, 70))
def test_a_path_proves_no_other_leaf_place_or_tree(data, size):
    leaves = [merkle.leaf(b"%d" % number) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    root, steps = root_of(leaves), merkle.path(index, leaves)
    other = data.draw(st.integers(-2, 2 * size).filter(lambda number: number != index))
    assert merkle.root_from(leaves[index], other, size, steps) != root
    assert merkle.root_from(merkle.leaf(b"other"), index, size, steps) != root
    assert merkle.root_from(leaves[index], index, size, [*steps, root]) != root
    if steps:
        place, bit = data.draw(st.integers(0, len(steps) - 1)), data.draw(st.integers(0, 255))
        changed = list(steps)
        changed[place] = (int.from_bytes(changed[place]) ^ 1 << bit).to_bytes(32)
        assert merkle.root_from(leaves[index], index, size, changed) != root
        assert merkle.root_from(leaves[index], index, size, steps[:-1]) != root
        assert merkle.root_from(leaves[index], index, size, steps[1:]) != root


@given(st.integers(1, 70), st.integers(0, 69), st.integers(1, 140))
def test_a_path_of_another_size_is_refused_where_its_length_differs(size, index, other):
    leaves = [merkle.leaf(b"%d" % number) for number in range(size)]
    index %= size
    steps = merkle.path(index, leaves)
    lengths = len(merkle.path(index, leaves[:1] * other)) if index < other else None
    if lengths != len(steps):
        assert merkle.root_from(leaves[index], index, other, steps) is None


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (0, 0), (0, -1), (5, 5), (2**80, 2**80)])
def test_a_place_outside_the_tree_is_refused(index, size):
    assert merkle.root_from(merkle.leaf(b""), index, size, []) is None
