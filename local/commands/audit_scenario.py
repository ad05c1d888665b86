"""``medic audit export --scenario``: one incident that has ended, as the scenario that rehearses it."""

import sys

from local.commands import terminal
from local.commands.records import incident_named
from local.recasting.recast import recast
from local.recasting.record import read
from local.recasting.writing import write
from local.rehearsal import SHIPPED_POLICY
from remediations import policy


def export_scenario(name: str, *, output: str | None) -> int:
    """Write an incident that has ended as the scenario that rehearses it."""
    own = terminal.own_services()
    incident_id = incident_named(own.trail, name)
    try:
        recorded = read(own.trail, own.evidence, incident_id)
    except ValueError as error:
        raise terminal.CommandError(f"{incident_id} cannot be rebuilt: {error}.") from error
    made = recast(recorded, policy.load(SHIPPED_POLICY))
    content = write(recorded, made)
    if output is None:
        sys.stdout.write(content)
        return terminal.OK
    terminal.write_new(output, content.encode())
    words = (
        f"{recorded.incident.id} is in {output}. Play it with `medic rehearse {output}`; its head says what differs."
    )
    terminal.out().print(terminal.plain(words), soft_wrap=True)
    return terminal.OK
