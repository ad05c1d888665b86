"""The workflows: nothing but what this repository says can run in them with rights, and what they call is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import parameters
from tests.conftest import ROOT

FOLDER = ROOT / ".github/workflows"
WORKFLOWS = {path.stem: path for path in FOLDER.glob("*")}
LEAST = {"contents": "read"}
SIGNS_IN = {"contents": "read", "id-token": "write"}
BY_AZD = {"AZURE_PRINCIPAL_ID"}  # azd finds out who is signed in
# What is no parameter: of signing in, and what the hooks alone read.
DEPLOYS = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "ENDPOINT_MEDIC_REGISTER_PROVIDERS"}


def plain(name: str) -> dict[Any, Any]:
    """A workflow as YAML 1.1 reads it: there the key `on` is a boolean."""
    return yaml.safe_load(WORKFLOWS[name].read_text("utf-8"))


JOBS = {f"{name}-{key}": job for name in sorted(WORKFLOWS) for key, job in plain(name)["jobs"].items()}
COMMANDS = {
    f"{name}-{number}": step["run"]
    for name, job in JOBS.items()
    for number, step in enumerate(job.get("steps", ()))
    if "run" in step
}


def zizmor(path: Path) -> list[str]:
    """The findings of zizmor, which knows what workflows were attacked by; it asks nothing of GitHub here."""
    command = [
        str(Path(sys.executable).with_name("zizmor")),
        "--offline",
        "--no-progress",
        "--format",
        "json",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("["), done.stderr
    return [finding["ident"] for finding in json.loads(done.stdout)]


def test_there_are_the_three_workflows():
    assert {path.name for path in FOLDER.iterdir()} == {"ci.yml", "infra.yml", "deploy.yml"}


def test_workflows_start_on_what_they_should():
    assert {name: set(plain(name)[True]) for name in WORKFLOWS} == {
        "ci": {"push", "pull_request", "workflow_call"},
        "infra": {"pull_request", "workflow_dispatch"},
        "deploy": {"workflow_dispatch"},
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_rights_but_those_of_its_jobs(name):
    assert plain(name)["permissions"] == {}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_job_reads_and_signs_in_only_in_a_protected_environment(job):
    assert job["permissions"] == (SIGNS_IN if "environment" in job else LEAST)
    signs_in = [step for step in job.get("steps", []) if step.get("uses", "").startswith("azure/login@")]
    assert bool(signs_in) == ("environment" in job)
    assert "timeout-minutes" in job or job.get("uses", "").startswith("./")


def test_azure_is_signed_in_to_from_these_environments():
    assert {name: job.get("environment") for name, job in JOBS.items()} == {
        "ci-test": None,
        "deploy-deploy": "production",
        "deploy-gate": None,
        "infra-build": None,
        "infra-what-if": "what-if",
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_workflow_knows_a_secret(name):
    assert "secrets" not in re.findall(
        r"\b[a-z]+\b", " ".join(re.findall(r"\$\{\{.*?\}\}", WORKFLOWS[name].read_text()))
    )
    assert "inherit" not in str(plain(name))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_is_written_by_an_expression(command):
    assert "${{" not in command


def test_each_action_is_pinned_to_one_commit_whose_release_is_told():
    used = [line for path in WORKFLOWS.values() for line in path.read_text().splitlines() if "uses:" in line]
    pins: dict[str, tuple[str | Any, ...]] = {}
    for line in used:
        if "uses: ./.github/workflows/" not in line:
            found = re.fullmatch(r"\s+- uses: ([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+(?:\.\d+\.\d+)?)", line)
            assert found is not None, line
            assert pins.setdefault(found[1], found.group(2, 3)) == found.group(2, 3)
    assert pins.keys() == {
        "Azure/setup-azd",
        "actions/checkout",
        "actions/download-artifact",
        "actions/setup-node",
        "actions/setup-python",
        "actions/upload-artifact",
        "azure/login",
    }


def test_every_target_and_script_that_a_workflow_runs_is_there():
    text = "\n".join(COMMANDS.values())
    targets = set(re.findall(r"\bmake ([\w-]+)", text))
    assert targets == {"test", "package"}
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    scripts = set(re.findall(r"\b(scripts/[\w./-]+)", text))
    assert scripts == {"scripts/parameters.py"}
    assert all((ROOT / script).is_file() for script in scripts)


def test_what_is_deployed_is_what_passed_the_gate():
    (upload,) = [step for step in plain("ci")["jobs"]["test"]["steps"] if "upload-artifact" in step.get("uses", "")]
    deploy = plain("deploy")["jobs"]["deploy"]
    (download,) = [step for step in deploy["steps"] if "download-artifact" in step.get("uses", "")]
    assert deploy["needs"] == "gate"
    assert upload["with"]["name"] == download["with"]["name"]
    package = f"{download['with']['path']}/{Path(upload['with']['path']).name}"
    assert deploy["steps"][-1]["run"] == f"azd deploy medic --from-package {package} --no-prompt"
    assert upload["with"]["path"] == "dist/endpoint-medic.zip"


WARNING = 'WARNING: infra/main.bicep(1,7) : Warning no-unused-params: Parameter "x" is declared but never used.'
NEWER = "WARNING: A new Bicep release is available: v0.99.1. Upgrade now by running `az bicep upgrade`."


@pytest.mark.parametrize(
    ("verb", "said", "ends", "fails"),
    [
        pytest.param("", "", 0, False, id="nothing is said"),
        pytest.param("build", WARNING, 0, True, id="a warning of build"),
        pytest.param("lint", WARNING, 0, True, id="a warning of lint"),
        pytest.param("build", "ERROR: infra/main.bicep(1,7) : Error BCP057: no x", 1, True, id="an error of build"),
        pytest.param("lint", "ERROR: infra/main.bicep(1,7) : Error BCP057: no x", 1, True, id="an error of lint"),
        pytest.param("build", NEWER, 0, False, id="a note of the Azure CLI"),
    ],
)
def test_what_the_compiler_warns_of_fails_the_job_and_is_shown(tmp_path, verb, said, ends, fails):
    (command,) = [run for name, run in COMMANDS.items() if name.startswith("infra-build-") and "az bicep build" in run]
    (tmp_path / "said").write_text(f"{said}\n")
    az = tmp_path / "az"
    # Of the first file: what comes later must not hide it.
    az.write_text(
        f'#!/bin/sh\ncase "$*" in "bicep {verb} --file infra/main.bicep"*)\n'
        f"  cat {tmp_path}/said >&2; exit {ends};; esac\n"
    )
    az.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path)}
    # As GitHub runs it.
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode != 0) is fails
    assert said in done.stdout


@pytest.mark.parametrize(
    ("workflow", "job", "more"),
    [("deploy", "deploy", DEPLOYS), ("infra", "what-if", BY_AZD)],
    ids=["deploy", "what-if"],
)
def test_a_job_that_fills_in_the_parameters_is_given_each_of_their_variables(workflow, job, more):
    asked = {found["name"] for found in parameters.PLACEHOLDER.finditer(parameters.PARAMETERS.read_text("utf-8"))}
    assert set(plain(workflow)["jobs"][job]["env"]) == (asked - BY_AZD) | more


def test_placeholders_are_filled_in_as_azd_does():
    given = {
        "parameters": {
            "mode": {"value": "${MODE=dry-run}"},
            "watch": {"value": "${WATCH}"},
            "n": {"value": [1, "${N=2}"]},
        }
    }
    values = [
        [each["value"] for each in parameters.filled(given, environment)["parameters"].values()]
        for environment in ({}, {"MODE": "", "WATCH": ""}, {"MODE": "ask", "WATCH": 'a,"b"'})
    ]
    assert values == [["dry-run", "", [1, "2"]], ["dry-run", "", [1, "2"]], ["ask", 'a,"b"', [1, "2"]]]


def test_zizmor_finds_nothing():
    assert zizmor(FOLDER) == []


def test_zizmor_would_find_an_injection(tmp_path):
    file = tmp_path / ".github/workflows/ci.yml"
    file.parent.mkdir(parents=True)
    text = WORKFLOWS["ci"].read_text("utf-8")
    file.write_text(text.replace("- run: make test", "- run: echo ${{ github.event.pull_request.title }}"))
    assert zizmor(file) == ["template-injection"]
