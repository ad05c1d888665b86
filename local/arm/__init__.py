"""A causal simulator of Azure Resource Manager for online endpoints.

A world (models.py) is made from plain data (schema.py, seeding.py). Hazards (hazards.py) make its operations fail,
happenings (happenings.py) are what others do to it, faults (faults.py) are what goes wrong on the wire. It keeps an
Activity Log (activity.py), raises Event Grid events (events.py) and alerts about scoring (alerts.py), and is spoken to
over HTTP (routes.py, server.py).
What deployments need around them are parts with routes of their own: registries.py, assets.py (environments, models,
storage), authorization.py (roles), quota.py, metrics.py; startup.py says how deployments fail for want of them. It
imports nothing of the product: a simulator that shares its model would share its mistakes.
"""

from local.arm.models import Entry, World
from local.arm.resources import Operation, Refusal, WorldError
from local.arm.server import Server, serve_in_thread

__all__ = ["Entry", "Operation", "Refusal", "Server", "World", "WorldError", "serve_in_thread"]
