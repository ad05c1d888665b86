"""``medic audit export --scenario``, on a trail in a folder."""

import pytest
from typer.testing import CliRunner

from local import rehearsal
from local.cli import app
from local.commands.terminal import own_services
from remediations.model import End
from remediations.trail import Ended
from tests.builders import NOON, make_diagnosis, make_evidence, make_incident, make_journal
from tests.commands import settle


def medic(*arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def incident(monkeypatch, tmp_path):
    """An incident that has ended, with its evidence."""
    trail = settle(monkeypatch, tmp_path)
    one = make_incident()
    trail.open_incident(one, "nonce-1", NOON)
    digest = own_services().evidence.put(make_evidence(incident=one))
    make_journal(trail).diagnosed(make_diagnosis(incident=one, evidence=digest))
    trail.end_incident(Ended(at=NOON, end=End.REFUSED, words="attempts-left: 3 of 3", incident=one))
    return one


def test_an_incident_is_printed_as_a_scenario_by_the_beginning_of_its_id(incident, tmp_path):
    result = medic("audit", "export", "--scenario", incident.id[:10])

    assert result.exit_code == 0
    (tmp_path / "printed.yaml").write_text(result.stdout, "utf-8")
    assert rehearsal.load(tmp_path / "printed.yaml").expect.ends == {"credit-scoring/green": End.REFUSED}
    assert "earlier repairs of the same resource, for which it was refused" in result.stdout.replace("\n#   ", " ")


def test_an_incident_is_written_to_a_file(incident, tmp_path):
    result = medic("audit", "export", "--scenario", incident.id, "--output", "last-night.yaml")

    assert result.exit_code == 0
    assert "medic rehearse last-night.yaml" in result.stdout
    assert rehearsal.load(tmp_path / "last-night.yaml").expect.cause == "canceled-higher-priority"


def test_a_dash_is_stdout(incident, tmp_path):
    result = medic("audit", "export", "--scenario", incident.id, "--output", "-")

    assert result.stdout.startswith(f"# Incident {incident.id}")
    assert not (tmp_path / "-").exists()


def test_a_file_that_is_there_is_not_overwritten(incident, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")

    result = medic("audit", "export", "--scenario", incident.id, "--output", "mine.yaml")

    assert (result.exit_code, (tmp_path / "mine.yaml").read_text()) == (2, "mine")
    assert "mine.yaml exists. Name a file that does not." in result.stderr


def test_what_policy_said_is_told_to_be_missing_once_its_time_is_over(incident, tmp_path):
    decided = {"action": "retry", "when": "deciding", "situation": "5" * 64}
    make_journal(own_services().trail).record(incident.id, "decision", "k", **decided)

    result = medic("audit", "export", "--scenario", incident.id)

    assert result.exit_code == 0
    head = result.stdout.partition("\nname:")[0]
    assert "- what policy said is kept no more: the shipped policy is taken" in head


def test_a_place_that_cannot_be_written_is_named(incident):
    result = medic("audit", "export", "--scenario", incident.id, "--output", "nowhere/mine.yaml")

    assert result.exit_code == 2
    assert "nowhere/mine.yaml cannot be written: No such file or directory" in result.stderr


def test_an_incident_that_is_not_on_the_trail_is_refused(incident):
    result = medic("audit", "export", "--scenario", "inc-0")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no incident on the trail begins with" in result.stderr


def test_an_incident_without_an_end_is_refused(monkeypatch, tmp_path):
    trail, one = settle(monkeypatch, tmp_path), make_incident()
    trail.open_incident(one, "nonce-1", NOON)

    result = medic("audit", "export", "--scenario", one.id)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "has not ended" in result.stderr
