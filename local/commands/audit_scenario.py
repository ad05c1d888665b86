"""``medic audit export``: what is on the trail, in a form for other programs."""

import sys
from pathlib import Path

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
    recorded = read(own.trail, own.evidence, incident_named(own.trail, name))
    made = recast(recorded, policy.load(SHIPPED_POLICY))
    content = write(recorded, made)
    if output is None:
        sys.stdout.write(content)
        return terminal.OK
    try:
        with Path(output).open("x", encoding="utf-8", newline="\n") as file:
            file.write(content)
    except FileExistsError as error:
        raise terminal.CommandError(f"{output} is there already. Name another file, or remove it.") from error
    except OSError as error:
        raise terminal.CommandError(f"{output} cannot be written: {error.strerror}. Name another file.") from error
    words = (
        f"{recorded.incident.id} is in {output}. Play it with `medic rehearse {output}`; its head says what differs."
    )
    terminal.out().print(terminal.plain(words), soft_wrap=True)
    return terminal.OK
