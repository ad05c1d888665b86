"""The port `Notifier` into a folder: what would be told, to read on the machine itself.

Each message is two files: ``<time>-<kind>-<incident>-<key>.json``, the card as it would be posted, and the same name
with ``.html``, the card as a page.
"""

import re
import secrets
from datetime import UTC
from pathlib import Path

import msgspec

from remediations import codec
from remediations.approval import rendering
from remediations.ports import Delivery, Message


class FolderNotifier:
    """Keeps one pair of files for each message, however often it is told. The folder is made with the first."""

    name = "folder"

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, message: Message) -> Delivery:
        """Hand a message over, once."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            page = self._path / f"{self._stem(message)}.html"
            _write(page.with_suffix(".json"), msgspec.json.format(codec.encode(message.card), indent=2) + b"\n")
            _write(page, rendering.page(message.card).encode())
        except OSError as error:
            why = error.strerror or type(error).__name__
            return Delivery(taken=False, words=f"{self._path}: {why}. Check that the folder can be written.")
        return Delivery(taken=True, words=f"wrote {page}")

    def _stem(self, message: Message) -> str:
        """Give the name of both files: the one that the message has already, whatever time it was told at."""
        parts = (message.kind, message.incident_id, codec.digest(message.key)[:8])
        end = "-".join(re.sub(r"[^A-Za-z0-9-]", "_", part)[:80] for part in parts)
        known = sorted(self._path.glob(f"*-{end}.json"))
        return known[0].stem if known else f"{message.at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{end}"


def _write(path: Path, content: bytes) -> None:
    """Write a file that is never seen half."""
    aside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
