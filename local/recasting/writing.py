"""Write a scenario as the YAML that a person would have written: in the order of its fields, and without defaults."""

import textwrap
from enum import Enum
from typing import Any

import yaml
from msgspec import NODEFAULT, Struct, structs

from local.recasting.recast import Recast
from local.recasting.record import Recorded

_WIDTH = 116
_TIME = "%Y-%m-%d %H:%M:%S"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, lists further in than what they belong to, and never an alias."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - as its base has it
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def write(recorded: Recorded, recast: Recast) -> str:
    """Give the file: which incident it is, what could not be rebuilt, and the scenario."""
    ended, incident = recorded.ended, recorded.incident
    cause = f", {ended.cause_id}" if ended.cause_id else ""
    times = f"failed {incident.failed_at:{_TIME}} UTC, ended {ended.at:{_TIME}} UTC"
    head = [
        f"Incident {incident.id}, {_plain_line(incident.resource.label)}: {times} ({ended.end}{cause}).",
        "Made by `medic audit export --scenario` from its records and its evidence; `medic rehearse FILE` plays it.",
        "Not rebuilt:",
    ]
    lines = [line for text in head for line in textwrap.wrap(text, _WIDTH)]
    for note in recast.notes:
        lines += textwrap.wrap(f"- {_plain_line(note)}", _WIDTH, subsequent_indent="  ")
    comment = "".join(f"# {line}\n" for line in lines)
    body = yaml.dump(
        _plain(recast.scenario),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
        default_flow_style=False,
    )
    return comment + body


def _plain(value: Any) -> Any:
    """Give plain data; fields that have their default are left out, and the tag of a step comes first."""
    if isinstance(value, Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field is not None else {}
        shown = {field.name: (_plain(getattr(value, field.name)), _default(field)) for field in structs.fields(value)}
        return {**tag, **{name: item for name, (item, default) in shown.items() if item != default}}
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _default(field: structs.FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return _plain(field.default_factory())
    return field.default if field.default is NODEFAULT else _plain(field.default)


def _plain_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
