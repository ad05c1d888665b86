"""Event files: what Event Grid would deliver, also wrapped as ``{"note": …, "payload": …}``."""

from local.commands import terminal
from remediations import codec, intake
from remediations.model import Json


def payload_of(file: str) -> Json:
    """Give the JSON of an event file, as it would be delivered."""
    text = terminal.read_input(file)
    try:
        plain = codec.parse_json(text)
    except ValueError as error:
        raise terminal.CommandError(f"{file} is not JSON: {error}. Give a file with an event.") from error
    if isinstance(plain, dict) and "payload" in plain and "note" in plain:
        plain = plain["payload"]
    if not isinstance(plain, dict | list) or not plain:
        raise terminal.CommandError(f"{file} holds no event. Give a JSON object, or an array of them.")
    return plain


def events_in(file: str) -> tuple[Json, ...]:
    """Give the events of an event file."""
    return intake.split(payload_of(file))
