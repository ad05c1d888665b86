"""Every value survives the wire, and equal values have equal bytes."""

import json
import subprocess
import sys
from datetime import UTC, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from remediations import codec, desk, guards, model, policy, situation, trail
from remediations.model import ErrorDetail
from tests.builders import make_evidence, make_plan, make_situation

TEXT = st.text(max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
WAITS = st.integers(0, 30 * 24 * 3_600_000).map(lambda thousandths: timedelta(milliseconds=thousandths))


def structs(*modules):
    """Every Struct that these modules define, without the generic one that stands for a reading."""
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
        and value is not model.Found
    }
    return sorted(found, key=lambda struct: struct.__name__)


STRUCTS = structs(model, trail, situation, policy, desk)


def strategy_of(kind):
    """A strategy for a msgspec type; Hypothesis itself knows neither Structs nor type aliases with bounds."""
    return OF_KIND[type(kind)](kind)


def texts(kind):
    if kind.pattern is not None:
        return st.from_regex(kind.pattern, fullmatch=True)
    return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 20, 20))


def numbers(kind):
    return st.integers(-(2**53) if kind.ge is None else kind.ge, 2**53 if kind.le is None else kind.le)


OF_KIND: dict[Any, Any] = {
    inspect.FloatType: lambda _: st.floats(allow_nan=False, allow_infinity=False),
    inspect.Metadata: lambda kind: strategy_of(kind.type),
    inspect.StructType: lambda kind: st.builds(kind.cls, **{one.name: strategy_of(one.type) for one in kind.fields}),
    inspect.UnionType: lambda kind: st.one_of([strategy_of(one) for one in kind.types]),
    inspect.VarTupleType: lambda kind: st.lists(strategy_of(kind.item_type), max_size=2).map(tuple),
    inspect.TupleType: lambda kind: st.tuples(*map(strategy_of, kind.item_types)),
    inspect.DictType: lambda kind: st.dictionaries(
        strategy_of(kind.key_type), strategy_of(kind.value_type), max_size=2
    ),
    inspect.EnumType: lambda kind: st.sampled_from(list(kind.cls)),
    inspect.LiteralType: lambda kind: st.sampled_from(kind.values),
    inspect.StrType: texts,
    inspect.IntType: numbers,
    inspect.BoolType: lambda _: st.booleans(),
    inspect.NoneType: lambda _: st.none(),
    inspect.DateTimeType: lambda _: st.datetimes(timezones=st.just(UTC)),
    inspect.TimeType: lambda _: st.times(),
    inspect.TimeDeltaType: lambda _: WAITS,
    inspect.AnyType: lambda _: PLAIN,
    inspect.CustomType: lambda _: PLAIN,  # `object`: the facts of a record
}


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_value_survives_its_bytes_and_plain_json(struct):
    strategy = strategy_of(inspect.type_info(struct))

    @settings(max_examples=40)
    @given(strategy)
    def survives(value):
        content = codec.encode(value)
        assert codec.decode(struct, content) == value
        assert codec.load(struct, codec.dump(value)) == value
        assert codec.load(struct, json.loads(json.dumps(codec.dump(value)))) == value
        assert codec.encode(codec.decode(struct, content)) == content

    survives()


def test_the_law_is_about_all_that_goes_over_the_wire():
    names = {struct.__name__ for struct in STRUCTS}
    for wanted in (
        "Incident",
        "Evidence",
        "Plan",
        "Decision",
        "Outcome",
        "AuditRecord",
        "Situation",
        "Intake",
        "Policy",
        "Desk",
    ):
        assert wanted in names
    assert len(STRUCTS) > 40


@given(st.dictionaries(TEXT, PLAIN, max_size=6), st.randoms())
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(plain, shuffler):
    items = list(plain.items())
    shuffler.shuffle(items)
    assert codec.encode(dict(items)) == codec.encode(plain)


def test_canonical_bytes_are_sorted_and_without_white_space():
    value = ErrorDetail(code="Ü", message="a\n", depth=1)
    assert codec.encode(value) == '{"code":"Ü","depth":1,"message":"a\\n"}'.encode()
    assert codec.digest_of({"b": 1, "a": [2, {"d": 3, "c": 4}]}) == codec.digest('{"a":[2,{"c":4,"d":3}],"b":1}')


def test_the_digest_of_a_value_is_one_that_anybody_can_compute():
    assert codec.digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert codec.digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_three_kinds_of_a_reading_are_told_apart_on_the_wire():
    evidence = make_evidence(
        resource=model.Unknown("429"), endpoint=model.Absent(), operation=model.Unknown(), logs={"a": model.Found("x")}
    )
    back = codec.decode(model.Evidence, codec.encode(evidence))
    assert (back.resource, back.endpoint, back.logs["a"]) == (model.Unknown("429"), model.Absent(), model.Found("x"))


def test_no_value_can_be_changed():
    assert [struct.__name__ for struct in STRUCTS if not struct.__struct_config__.frozen] == []


def test_an_older_history_without_the_newer_fields_still_loads():
    plain = codec.dump(make_situation())
    for newer in ("endpoint", "desk", "results", "own_requests"):
        del plain[newer]
    loaded = codec.load(situation.Situation, plain)
    assert (loaded.desk, loaded.endpoint) == ("free", model.Unknown())


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"verdict": "maybe"}, r"\$\.verdict"),
        ({"plan": {}}, r"\$\.plan"),
        ({"answers": [{"guard": 1}]}, r"\$\.answers\[0\]"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_path(changes, path):
    decision = guards.decide(make_plan(), make_situation(), (), situation_digest="s")
    with pytest.raises(ValueError, match=path):
        codec.load(model.Decision, codec.dump(decision) | changes)


@pytest.mark.parametrize("content", [b"", b"{", b"nul", b'"\xff"', b"[1,]", b"{'a': 1}", b"[" * 1_000_000])
def test_malformed_json_is_a_value_error(content):
    with pytest.raises(ValueError, match=r".+"):
        codec.parse_json(content)


@pytest.mark.parametrize("depth", [1, 500, 100_000])
def test_deep_json_is_read_or_refused_and_never_more(depth):
    try:
        read = codec.parse_json(b"[" * depth + b"]" * depth)
    except ValueError:
        read = []
    assert isinstance(read, list)


def test_the_builders_give_values_that_can_be_kept():
    assert codec.decode(situation.Situation, codec.encode(make_situation())) == make_situation()


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        pytest.param("PT5M", timedelta(minutes=5), id="minutes"),
        pytest.param("P1DT0.5S", timedelta(days=1, seconds=0.5), id="days and half a second"),
    ],
)
def test_a_duration_is_read(shown, read):
    assert codec.duration(shown) == read


@pytest.mark.parametrize(
    "shown", ["", "5", "PT", "PT5M\n", "P1Y", "P1W", "-PT5M", "PT0S", "PT" + "9" * 40 + "S", 5, None, ["PT5M"], {}]
)
def test_what_is_no_duration_above_zero_is_none(shown):
    assert codec.duration(shown) is None


MANY_AT_ONCE = """
import sys, threading, time
from remediations import codec
from remediations.model import Evidence

content = sys.stdin.buffer.read()
sys.setswitchinterval(0.00005)
together = threading.Barrier(6)

def read(number):
    together.wait()
    time.sleep(number * 0.0004)
    codec.decode(Evidence, content)

threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_many_threads_may_read_a_type_for_the_first_time():
    """What works out how a type is read ends the process if another thread asks for it meanwhile."""
    for _ in range(4):
        command = [sys.executable, "-c", MANY_AT_ONCE]
        done = subprocess.run(command, input=codec.encode(make_evidence()), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
