"""``medic policy``: whether a policy can be used, and what it says."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from local.commands import terminal
from remediations import policy as policies
from remediations import settings as environment
from remediations.actions import ACTIONS
from remediations.policy import Policy

# ----------------------------------------------------------------------------------------------- policy


def policy_check(file: str | None, *, as_json: bool) -> int:
    """Read a policy as the app would, and tell what it says."""
    path = Path(file or os.environ.get("MEDIC_POLICY") or environment.Settings().policy)
    policy = policies.load(path)
    policies.refuse_unknown_actions(policy, ACTIONS, str(path))
    warnings = tuple(policy_warnings(policy))
    if as_json:
        actions = {name: {"mode": one.mode, "attempts": one.attempts} for name, one in policy.actions.items()}
        answer = {"file": str(path), "version": policy.version, "actions": actions, "warnings": warnings}
        terminal.say_json(answer)
    else:
        _show_policy(path, policy, warnings)
    return terminal.DIFFERS if warnings else terminal.OK


def policy_schema() -> int:
    """Write the JSON Schema of policy.yaml."""
    sys.stdout.write(json.dumps(policies.schema(), indent=2) + "\n")
    return terminal.OK


def policy_warnings(policy: Policy) -> Iterator[str]:
    """Give what a policy most likely does not mean."""
    for name in ACTIONS:
        if name not in policy.actions:
            yield f"actions: {name} is not listed, so it is off. List it as 'off' if that is meant."


def _show_policy(path: Path, policy: Policy, warnings: tuple[str, ...]) -> None:
    console = terminal.out()
    console.print(f"{path}: valid, version {policy.version}", style="bold", soft_wrap=True)
    listed = terminal.table("Action", "Mode", ">Attempts", ">Per hour", ">Backoff", ">Ceiling")
    for name, one in policy.actions.items():
        spans = (terminal.span_words(one.backoff), terminal.span_words(one.ceiling))
        attempts = f"{one.attempts} in {terminal.span_words(one.within)}"
        listed.add_row(name, str(one.mode), attempts, str(one.budget_per_hour), *spans)
    console.print(listed)
    counts = {
        "rule": len(policy.rules),
        "pause": len(policy.pauses),
        "freeze": len(policy.freezes),
        "maintenance window": len(policy.windows),
        "protected tag": len(policy.protected),
        "spec container": len(policy.desired_specs.containers),
    }
    watched = ", ".join(policy.subscriptions) or "every one whose events arrive; the sweep and `medic scan` need names"
    set_up = ", ".join(terminal.counted(count, name) for name, count in counts.items() if count)
    terminal.show(console, ("watches", watched), ("holds", set_up or "nothing besides"))
    for words in warnings:
        console.print(Text.assemble(("warning: ", "yellow"), words))
