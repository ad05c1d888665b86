"""Every action by name. Adding one: its module, its test, its line here."""

from remediations.actions.action import Action
from remediations.actions.retry import RETRY

ACTIONS: dict[str, Action] = {action.name: action for action in (RETRY,)}
