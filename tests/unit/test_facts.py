"""What texts name comes out typed: numbers as numbers, and nothing that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.catalogue.matchers import Symptoms
from remediations.facts import read, typed
from remediations.messages import parse
from remediations.model import Facts


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        pytest.param(
            "Not enough quota available for Standard_DS3_v2 in SubscriptionId ***. Current usage/limit: 4/6. "
            "Additional needed: 8",
            {"instance_type": "Standard_DS3_v2", "used": 4, "limit": 6, "needed": 8},
            id="a quota",
        ),
        pytest.param(
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            {"nodes": 3, "short_nodes": 3, "lacking": "nvidia.com/gpu"},
            id="nodes",
        ),
        pytest.param("0/1 nodes are available: 1 Too many pods.", {"nodes": 1}, id="nodes that lack nothing"),
        pytest.param(
            "manifest for crmlprod.azurecr.io/azureml/azureml_92a0:latest not found.",
            {"image": "crmlprod.azurecr.io/azureml/azureml_92a0:latest", "registry": "crmlprod.azurecr.io"},
            id="an image",
        ),
        pytest.param(
            "pull crmlprod.azurecr.io/scoring@sha256:" + "0" * 64 + " failed",
            {"image": "crmlprod.azurecr.io/scoring@sha256:" + "0" * 64, "registry": "crmlprod.azurecr.io"},
            id="an image by digest",
        ),
        pytest.param("registry crmlprod.azurecr.io refused", {"registry": "crmlprod.azurecr.io"}, id="a registry"),
        pytest.param("ModuleNotFoundError: No module named 'azureml.ai'", {"module": "azureml.ai"}, id="a module"),
        pytest.param("cannot import name 'Markup' from 'jinja2'", {"module": "jinja2"}, id="a name of a module"),
        pytest.param(
            "ERROR: Could not find a version that satisfies the requirement numpy==9.9 (from versions: none)",
            {"package": "numpy==9.9"},
            id="a package of pip",
        ),
        pytest.param("ResolvePackageNotFound: \n  - pandas=0.1", {"package": "pandas=0.1"}, id="a package of conda"),
        pytest.param("exit code 137", {"exit_code": 137}, id="an exit code"),
        pytest.param("the process exited with code 3", {"exit_code": 3}, id="an exit code in words"),
        pytest.param(
            "Liveness probe failed: HTTP probe failed with statuscode: 502",
            {"probe": "liveness", "status_code": 502},
            id="a probe",
        ),
        pytest.param("The request failed with status code: 424", {"status_code": 424}, id="a status code"),
        pytest.param(
            "clientid: 00000000-1111-2222-3333-444444444444",
            {"client_id": "00000000-1111-2222-3333-444444444444"},
            id="a client id",
        ),
        pytest.param("maximum amount of quota is [N/A]", {}, id="no number"),
        pytest.param("Standard_; azurecr.io; exit code; No module named", {}, id="nothing but marks"),
    ],
)
def test_what_a_text_names(text, facts):
    assert read(Symptoms(details=parse(text), log=text)).named == facts


def test_an_error_comes_before_a_log_and_a_cause_s_own_find_before_both():
    texts = Symptoms.of(None, "exit code 3", log="exit code 137\nNo module named 'x'")
    assert read(texts).named == {"exit_code": 3, "module": "x"}
    assert read(texts, {"module": "y", "exit_code": "9"}).named == {"exit_code": 9, "module": "y"}


def test_what_is_no_number_is_left_out():
    assert typed({"limit": "[N/A]", "needed": "72", "probe": "Readiness", "strange": "x"}) == Facts(
        needed=72, probe="readiness"
    )


@given(st.text(max_size=400))
def test_no_text_is_too_strange(text):
    read(Symptoms.of(None, text, log=text))
