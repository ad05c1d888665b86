"""What a person is told: commands that can be pasted, the end of a traceback, and how many instances are needed."""

import shlex
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations.advising import commands, end_of, filled, instances_needed, limits, notes, traceback
from remediations.catalogue import CAUSES
from remediations.catalogue.matchers import Symptoms
from remediations.classification import classify, classify_text
from remediations.messages import parse
from remediations.model import Answers, Facts, Found, Load, Operation, Scoring, Unknown
from tests.builders import make_evidence, make_incident, make_resource, make_state

BY_ID = {cause.id: cause for cause in CAUSES}
LOG = """\
2026-11-22 12:00:01 I [11] azmlinfsrv - Loaded logging config
Traceback (most recent call last):
  File "/opt/old.py", line 1, in <module>
KeyError: 'an earlier one'
Traceback (most recent call last):
  File "/azureml-envs/x/azureml_inference_server_http/server/user_script.py", line 77, in load
    spec.loader.exec_module(module)
  File "/var/azureml-app/src/score.py", line 3, in <module>
    from model import load
  File "/var/azureml-app/src/model.py", line 9, in <module>
    import xgboost as xgb
ModuleNotFoundError: No module named 'xgboost'
Worker exiting (pid: 31)
"""


# ---------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_every_command_can_be_read_by_a_shell(cause):
    for command in commands(cause, make_resource(), Facts()):
        words = shlex.split(command)
        assert words[0] in {"az", "kubectl", "docker", "conda", "python", "nslookup"}, command
        assert not any(mark in command for mark in "{}<>;|"), command


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_every_command_names_the_incident(cause):
    resource = make_resource()
    for command in commands(cause, resource, Facts()):
        for hole in ("ENDPOINT", "DEPLOYMENT", "RESOURCE_GROUP", "WORKSPACE", "SUBSCRIPTION"):
            assert hole not in shlex.split(command), command


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_every_cause_says_what_it_is_what_to_do_and_what_is_left_to_a_person(cause):
    assert cause.what.endswith(".")
    assert len(cause.what) < 130
    assert limits(cause).endswith(".")
    assert cause.commands or cause.id == "cors-blocked"


def test_what_is_not_known_stands_there_in_capitals():
    text = classify_text(Symptoms.of("ResourceNotReady", "User container has crashed."), CAUSES)
    assert text.commands[0] == (
        "az ml online-deployment get-logs -e ENDPOINT -n DEPLOYMENT -g RESOURCE_GROUP -w WORKSPACE -l 100"
    )


def test_an_endpoint_has_no_deployment_to_name():
    command = commands(BY_ID["container-crash"], make_resource().endpoint_id, Facts())[0]
    assert " -n DEPLOYMENT " in command
    assert " -e credit-scoring " in command


@given(st.text(min_size=1, max_size=40))
def test_whatever_a_text_names_is_one_word_to_a_shell(name):
    cause = BY_ID["image-reference-wrong"]
    command = commands(cause, None, Facts(image=name))[-1]
    assert shlex.split(command) == ["docker", "pull", name]


def test_a_name_that_would_be_a_command_is_quoted():
    hostile = replace(make_resource(), endpoint="a; rm -rf ~")
    assert "'a; rm -rf ~'" in commands(BY_ID["container-crash"], hostile, Facts())[0]


def test_advice_names_what_is_known_and_stays_readable_without():
    assert filled("Grant the right to {operation}.", Facts(operation="x/read")) == "Grant the right to x/read."
    assert filled("Look at {instance_type}.", Facts()) == "Look at instance type."


# ---------------------------------------------------------------------------------------- end of a log


def test_the_end_of_the_last_traceback():
    found = traceback(LOG)
    assert found is not None
    assert found.error == "ModuleNotFoundError: No module named 'xgboost'"
    assert (found.file, found.line) == ("/var/azureml-app/src/model.py", 9)
    assert [frame.split(", line")[0].rsplit("/", 1)[-1] for frame in found.frames] == [
        'user_script.py"',
        'score.py"',
        'model.py"',
    ]


@pytest.mark.parametrize(
    "log", ["", "nothing went wrong", "Traceback (most recent call last):", 'File "x", line', "\0\ud800"]
)
def test_no_traceback_no_end(log):
    assert traceback(log) is None
    assert end_of("InferenceServer", log) == ()


def test_a_traceback_whose_beginning_is_cut_off_still_has_its_end():
    assert traceback(LOG[LOG.index('  File "/var/azureml-app/src/score.py"') :]) is not None


def test_a_syntax_error_has_a_frame_without_a_function():
    found = traceback(
        '  File "/var/azureml-app/score.py", line 4\n    def run(data)\n                ^\nSyntaxError: x'
    )
    assert found is not None
    assert (found.error, found.line) == ("SyntaxError: x", 4)


def test_long_lines_are_cut():
    assert all(len(line) <= 210 for line in end_of("a", f'  File "/{"x" * 300}", line 4\nValueError: {"y" * 5000}'))


def test_a_crash_is_told_with_the_end_of_its_log():
    evidence = make_evidence(
        report=parse("(ResourceNotReady) User container has crashed."), logs={"InferenceServer": Found(LOG)}
    )
    diagnosis = classify(evidence, CAUSES, evidence_digest="d")
    assert (diagnosis.cause_id, diagnosis.facts.module) == ("score-script-import-error", "xgboost")
    assert diagnosis.notes[0] == "InferenceServer ends with"
    assert diagnosis.notes[-1] == "  ModuleNotFoundError: No module named 'xgboost'"
    assert "xgboost" not in diagnosis.advice  # what goes on the trail names nothing out of a log


# ------------------------------------------------------------------------------------------- instances


@pytest.mark.parametrize(
    ("rate", "latency", "concurrent", "needed"),
    [
        pytest.param(20, 10, 1, 286, id="the guide's own example"),
        pytest.param(20, 10, 10, 29, id="ten at once"),
        pytest.param(0.01, 0.1, 1, 1, id="never none"),
    ],
)
def test_how_many_instances_the_guide_s_formula_asks_for(rate, latency, concurrent, needed):
    found = instances_needed(
        requests_per_second=rate, latency=timedelta(seconds=latency), concurrent_requests=concurrent
    )
    assert found == needed


def overloaded(**load):
    answers = (Answers(status="200", per_minute=900.0, most=1200.0), Answers(status="429", per_minute=10.0, most=300.0))
    fields = {"answers": answers, "latency": timedelta(seconds=0.7), **load}
    return make_evidence(
        incident=make_incident(operation=Operation.SCORE, scoring=Scoring(rule="oe-429", status="429")),
        resource=Found(make_state(provisioning_state="Succeeded", capacity=2, concurrent_requests=4)),
        operation=Unknown(),
        activity=Unknown(),
        history=Unknown(),
        load=Found(Load(**fields)),
    )


def test_an_overload_is_told_with_the_incident_s_own_numbers():
    diagnosis = classify(overloaded(), CAUSES, evidence_digest="d")
    assert (diagnosis.cause_id, diagnosis.action) == ("invoke-overloaded", None)
    (words,) = diagnosis.notes
    assert words.startswith("By the guide's formula it needs 7 instances; it has 2: ")
    assert words.endswith(": 25 requests/s x 0.7 s / 70% utilization / 4 at once for each instance.")


@pytest.mark.parametrize("load", [{"latency": None}, {"answers": ()}])
def test_without_a_number_nothing_is_computed(load):
    assert notes("invoke-overloaded", overloaded(**load)) == ()
