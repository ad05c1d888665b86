"""Every action by name. Adding one: its module, its test, its line here."""

from remediations.actions.action import Action
from remediations.actions.delete_idle import DELETE_IDLE
from remediations.actions.grant_roles import GRANT_ROLES
from remediations.actions.retry import RETRY
from remediations.actions.sync_keys import SYNC_KEYS
from remediations.actions.undo_delete import UNDO_DELETE
from remediations.actions.undo_grant import UNDO_GRANT

ACTIONS: dict[str, Action] = {
    action.name: action for action in (RETRY, SYNC_KEYS, GRANT_ROLES, DELETE_IDLE, UNDO_DELETE, UNDO_GRANT)
}
