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

    def __init__(self, folder: Path, *, is_worker: bool) -> None:
        self._meeting = Meeting(folder, is_worker=is_worker)
        super().__init__(settings.load(os.environ))

    def _store(self, container: str) -> Store:
        return FaultyStore(Path(self.settings.store) / container, self._meeting)


def install() -> None:
    """Let this process serve on such a store; kills end the worker's process, and triggers in the host's."""
    services.use(Faulty(Path(os.environ[FOLDER]), is_worker=os.environ.get(HOST) != str(os.getpid())))


if FOLDER in os.environ:
    install()
