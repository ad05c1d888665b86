"""The bench: runs Endpoint Medic on one machine. Never deployed, never imported by the product."""
