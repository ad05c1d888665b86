"""The least calls of Azure that a repair needs, counted by hand in `arm_calls.yaml`, beside those that it made."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml
from msgspec import Struct, convert

_TABLE = Path(__file__).parent / "arm_calls.yaml"
_POLLED = ("GET operation", "GET operation-result")


class Repair(Struct, frozen=True, forbid_unknown_fields=True):
    """What one repair needs.

    Attributes:
        story: Name of the scenario that plays it.
        operations: How many long-running operations of ours are waited for.
        parts: What it asks for, in order.
    """

    story: str
    operations: int
    parts: tuple[str, ...]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """The table.

    Attributes:
        parts: By name, calls, each with its reason.
        repairs: By action.
    """

    parts: dict[str, tuple[dict[str, str], ...]]
    repairs: dict[str, Repair]

    def needed(self, action: str) -> Counter[str]:
        """Give how often a repair needs each call; what is asked until an operation is over is not counted."""
        parts = self.repairs[action].parts
        return Counter(call for part in parts for reasons in self.parts[part] for call in reasons)


def table() -> Table:
    """Give the table as it is written."""
    return convert(yaml.safe_load(_TABLE.read_text("utf-8")), Table)


def without_polls(each: Mapping[str, int], needed: Mapping[str, int]) -> tuple[Counter[str], int]:
    """Give what was asked, without the looks whether operations were over; and how many of these there were."""
    polls = sum(each.get(call, 0) - needed.get(call, 0) for call in _POLLED)
    asked = Counter({call: times for call, times in each.items() if call not in _POLLED})
    return asked + Counter({call: needed[call] for call in _POLLED if call in needed}), polls


def is_write(call: str) -> bool:
    """Tell whether a call changes something."""
    method, _, kind = call.partition(" ")
    return method in {"PUT", "DELETE", "PATCH"} or kind == "resyncKeys"
