"""From an incident on record to the scenario that rehearses it: `record.read`, `recast.recast`, `writing.write`."""
