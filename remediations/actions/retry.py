"""Run the failed operation again.

When: Azure canceled the operation, another one was in progress, or a role assignment was not effective yet; and the
operation's own status says so.
Effect: one PUT of the same deployment, with the body that a GET shows or that CI says it sent; no other field changes.
Undo: none is needed; the deployment was meant to be there.
"""

from remediations.actions import rerun
from remediations.actions.action import Action
from remediations.guards import COMMON, within_incident
from remediations.model import Risk

RETRY = Action(
    name="retry",
    risk=Risk.REPEATABLE,
    guards=(*COMMON, within_incident),
    propose=rerun.propose,
    fingerprint=rerun.fingerprint,
    prepare=rerun.prepare,
    landed=rerun.landed,
    verify=rerun.verify,
    touches=rerun.touches,
)
