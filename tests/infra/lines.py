"""What the app logs, by its source: every event, with its levels and its keys."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from remediations.model import Checkpoint, Scoring
from remediations.proof.checking import Finding

ROOT = Path(__file__).parents[2]
LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})
# What a line takes from a value, where its keys are not written out.
DUMPED = {"checkpoint.written": Checkpoint, "trail.broken": Finding, "incident.advised": Scoring}
# Calls that log an event whose name they are given: the level, and the keys that they add.
NAMED = {"_unreadable_is_told": ("error", frozenset({"name", "why"}))}
# Lines of an activity have these besides, and every line has the others.
BOUND = frozenset({"incident_id", "correlation_id"})
ALWAYS = frozenset({"event", "level", "timestamp"})


class Line(NamedTuple):
    """One event of the log."""

    levels: frozenset[str]
    keys: frozenset[str]


def logged() -> dict[str, Line]:
    """Give every event that the deployed code logs."""
    found: dict[str, Line] = {}
    for path in sorted([*ROOT.glob("functions/**/*.py"), *ROOT.glob("remediations/**/*.py")]):
        for event, level, keys in _of(ast.parse(path.read_text("utf-8")), str(path)):
            before = found.get(event, Line(frozenset(), frozenset()))
            found[event] = Line(before.levels | level, before.keys | keys)
    return found


def _of(tree: ast.Module, path: str) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        levels = _levels(node.func, tree)
        if not levels:
            continue
        event = node.args[0] if len(node.args) > 0 else None
        if isinstance(event, ast.Constant) and isinstance(event.value, str):
            yield event.value, levels, _keys(node, event.value)
        else:  # the name is given to whoever calls the function around it
            assert isinstance(event, ast.Name), f"{path}:{node.lineno} logs an event whose name cannot be told"
            named = NAMED[_around(tree, node)]
            assert (frozenset({named[0]}), _keys(node, "")) == (levels, named[1]), f"{path}:{node.lineno}"


def _levels(called: ast.expr, tree: ast.Module) -> frozenset[str]:
    """Give the levels at which a call may log; none if it does not."""
    match called:
        case ast.Attribute(value=ast.Name(id="log"), attr=level) if level in LEVELS:
            return frozenset({level})
        case ast.Name(id=name) if name in NAMED:
            return frozenset({NAMED[name][0]})
        case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id="log"), ast.Name(id=chosen)]):
            return _constants(tree, chosen)
        case ast.Name(id=name):
            return _methods(tree, name)
    return frozenset()


def _constants(tree: ast.Module, name: str) -> frozenset[str]:
    """Give the words that a variable may hold."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_named(node, name)]
    words = {one.value for value in values for one in ast.walk(value) if isinstance(one, ast.Constant)}
    return frozenset(word for word in words if word in LEVELS)


def _methods(tree: ast.Module, name: str) -> frozenset[str]:
    """Give the levels of the log's methods that a variable may hold."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_named(node, name)]
    held = [one for value in values for one in ast.walk(value) if isinstance(one, ast.Attribute)]
    of_log = [one for one in held if isinstance(one.value, ast.Name) and one.value.id == "log"]
    return frozenset(one.attr for one in of_log if one.attr in LEVELS)


def _is_named(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _keys(node: ast.Call, event: str) -> frozenset[str]:
    written = {one.arg for one in node.keywords if one.arg is not None}
    if isinstance(node.func, ast.Name) and node.func.id in NAMED:
        written |= NAMED[node.func.id][1]
    if any(one.arg is None for one in node.keywords):
        written |= set(DUMPED[event].__struct_fields__)
    return frozenset(written)


def _around(tree: ast.Module, inner: ast.Call) -> str:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return next(one.name for one in functions if any(node is inner for node in ast.walk(one)))
