"""What was read a moment ago is not read again."""

from functions.recent import Recent


def test_a_value_is_read_once_while_it_is_recent():
    recent, reads = Recent[int](10), []

    def read() -> int:
        reads.append(1)
        return len(reads)

    assert [recent.get("a", read, within_s=60.0) for _ in range(3)] == [1, 1, 1]
    assert recent.get("b", read, within_s=60.0) == 2
    assert recent.get("a", read, within_s=-1.0) == 3


def test_no_more_than_so_many_are_kept():
    recent = Recent[str](2)
    for key in ("a", "b", "c"):
        recent.get(key, str(key).lower, within_s=60.0)
    assert recent.get("a", lambda: "read anew", within_s=60.0) == "read anew"
    assert recent.get("c", lambda: "read anew", within_s=60.0) == "c"
