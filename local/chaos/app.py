"""The function app itself, on a store that breaks where the story of a round says so."""

import os
from pathlib import Path

from function_app import app
from local.chaos.faulty import FaultyStore, Meeting
from remediations import services, settings
from remediations.ports import Store
from remediations.services import Services

__all__ = ["Faulty", "app", "install"]

FOLDER = "CHAOS_FOLDER"  # none of the product's settings: it would refuse one that it does not know
HOST = "CHAOS_HOST"


class Faulty(Services):
    """The services of the app, with such a store."""

    def __init__(self, folder: Path, *, may_die: bool) -> None:
        self._meeting = Meeting(folder, may_die=may_die)
        super().__init__(settings.load(os.environ))

    def _store(self, container: str) -> Store:
        return FaultyStore(Path(self.settings.store) / container, self._meeting)


def install() -> None:
    """Let this process serve on such a store; the host's process is not to be killed, the worker's is."""
    services.use(Faulty(Path(os.environ[FOLDER]), may_die=os.environ.get(HOST) != str(os.getpid())))


if FOLDER in os.environ:
    install()
