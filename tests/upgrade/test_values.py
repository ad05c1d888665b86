"""What earlier versions wrote is read today, without a loss: records of the trail, and evidence."""

from typing import Any

import msgspec
import pytest

from functions import events
from tests.upgrade import values
from tests.upgrade.values import TYPES, lost, read_as

RECORDED = {version: values.read(version) for version in range(1, events.WALK + 1)}
ALL = [one for recorded in RECORDED.values() for one in recorded]


@pytest.mark.parametrize("version", RECORDED)
def test_there_is_a_value_of_each_kind(version):
    assert {name for name, _ in RECORDED[version]} == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_every_recorded_value_is_read_and_nothing_of_it_is_lost(name):
    found = [list(lost(plain, read_as(TYPES[name], plain))) for kind, plain in ALL if kind == name]
    assert found == [[]] * len(found)


@pytest.mark.parametrize("name", TYPES)
def test_the_values_hold_every_field_of_their_kind(name):
    """A field that no value holds could be renamed without a test that fails."""
    held = {field for kind, plain in ALL if kind == name for field in plain}
    assert {field.encode_name for field in msgspec.structs.fields(TYPES[name])} - held <= NEVER.get(name, set())


# What the stories do not leave: a register line of an incident that was claimed before there was a register.
NEVER: dict[str, set[str]] = {"Line": {"opened_at"}}


class Other(msgspec.Struct):
    """What no field holds."""

    is_other: bool


@pytest.mark.parametrize("name", TYPES)
def test_a_change_that_cannot_read_what_was_written_is_caught(name):
    """A field without a default is added; each that there is is renamed, or holds something else."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(TYPES[name])}
    kept = {key: (field.type,) if field.required else (field.type, None) for key, field in fields.items()}
    was = [plain for kind, plain in ALL if kind == name]
    assert is_caught(made(kept | {"is_new": (str,)}), was)
    assert not is_caught(made(kept | {"is_new": (str, "")}), was)
    for key in fields.keys() - NEVER.get(name, set()):
        others = {other: kind for other, kind in kept.items() if other != key}
        assert is_caught(made(others | {"renamed": (fields[key].type, None)}), was), f"{key} renamed"
        if any(plain.get(key) is not None for plain in was):
            assert is_caught(made(others | {key: (Other | None, None)}), was), f"{key} of another type"


def made(fields: dict[str, tuple[Any, ...]]) -> type:
    """Make a type of fields: the type of each, and its default if it has one."""
    return msgspec.defstruct("Made", [(name, *kind) for name, kind in fields.items()], kw_only=True)


def is_caught(type_: type, recorded: list[Any]) -> bool:
    for plain in recorded:
        try:
            if any(True for _ in lost(plain, read_as(type_, plain))):
                return True
        except msgspec.MsgspecError:
            return True
    return False
