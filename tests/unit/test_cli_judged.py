"""How ``medic plan`` shows a diagnosis."""

from rich.console import Console

from local.commands.judged import show_diagnosis
from tests.builders import make_diagnosis


def test_people_read_what_it_is_what_to_type_what_was_noted_and_what_is_left_to_them() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        show_diagnosis(
            console,
            make_diagnosis(
                what="The scoring script failed.",
                advice="Correct it.",
                commands=("az ml online-deployment get-logs " + "x" * 80, "az second"),
                notes=("inference-server ends with", "  KeyError: 'x'"),
                limits="It changes no code.",
            ),
        )
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert "  what    The scoring script failed." in lines
    at = lines.index("  advice  Correct it.")
    assert lines[at + 1 : at + 6] == [
        "  type    az ml online-deployment get-logs " + "x" * 80,
        "          az second",
        "  note    inference-server ends with",
        "            KeyError: 'x'",
        "  medic   It changes no code.",
    ]


def test_what_is_not_known_has_no_line() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        show_diagnosis(console, make_diagnosis(what="", commands=(), notes=(), limits=""))
    labels = {line.split()[0] for line in captured.get().splitlines() if line.strip()}
    assert labels.isdisjoint({"what", "type", "note", "medic"})
