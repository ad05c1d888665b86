"""An Azure for the hooks: a subscription in which nothing stands in the way, and the programs that reach it."""

import json
import os
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import az
import pytest

from tests.infra import fake_azure

# Forwards its arguments to the test's process: another Python for each call costs more than all that the hooks do.
PROGRAM = r"""#!{bash}
exec 3<>"/dev/tcp/127.0.0.1/$FAKE_AZURE_PORT"
printf '%s\0' "$#" "${{0##*/}}" "$@" >&3
IFS= read -rd '' code <&3 && IFS= read -rd '' out <&3 && IFS= read -rd '' err <&3 || exit 97
printf %s "$out"
printf %s "$err" >&2
exit "$code"
"""
HOME = "00000000-0000-0000-0000-000000000001"
ELSEWHERE = "00000000-0000-0000-0000-000000000002"
TENANT = "00000000-0000-0000-0000-000000000009"
ANOTHER_TENANT = "00000000-0000-0000-0000-000000000008"
DEPLOYER = "00000000-0000-0000-0000-0000000000d1"
IDENTITY = "00000000-0000-0000-0000-0000000000f1"
CLIENT_ID = "00000000-0000-4000-8000-0000000000a1"  # of the first application that the fake makes
VAULT = "kv-medic-abc"
APP = "func-medic-abc"
GROUP = f"/subscriptions/{HOME}/resourceGroups/rg-medic-dev"
RECORDS = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/strecabc"
TRAIL_POLICY = f"{RECORDS}/blobServices/default/containers/trail/immutabilityPolicies/default"
TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/evgst-medic-abc"
NAMESPACES = (
    "Microsoft.EventGrid",
    "microsoft.insights",  # as Azure spells it
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
)


def subscription() -> dict[str, Any]:
    return {
        "state": "Enabled",
        "providers": dict.fromkeys(NAMESPACES, "Registered"),
        "permissions": [{"actions": ["*"], "notActions": []}],
        "topics": [],
    }


def directory() -> dict[str, Any]:
    return {
        "allowed": "everything",
        "consents": True,
        "lag": 0,
        "lag_after_making": 0,
        "applications": [],
        "principals": [],
        "grants": [],
    }


def nothing_in_the_way() -> dict[str, Any]:
    """Give the world before the first `azd up` of an environment `dev`."""
    return {
        "cloud": "AzureCloud",
        "tenant": TENANT,
        "signed_in": True,
        "azd_signed_in": True,
        "azd_fails_when_signed_out": False,
        "user_type": "user",
        "principal": DEPLOYER,
        "has_bicep": True,
        "subscriptions": {HOME: subscription(), ELSEWHERE: subscription()},
        "active": HOME,
        "resources": {},
        "regions": {"westeurope": ["3.12", "3.13"], "northeurope": ["3.13"], "oldregion": ["3.12"]},
        "deleted_vaults": [],
        "vaults": {},
        "vaults_of_others": [],
        "graph": directory(),
        "graph_of_another_tenant": directory(),
        "site": {},
        "event_subscriptions": {},
        "env": {"AZURE_ENV_NAME": "dev", "AZURE_SUBSCRIPTION_ID": HOME, "AZURE_LOCATION": "westeurope"},
        "faults": [],
        "files": [],
        "calls": [],
        "writes": [],
    }


def provision(world: dict[str, Any]) -> None:
    """Do what the template does, as far as a hook sees it."""
    world["resources"][GROUP.lower()] = {"location": "westeurope"}
    world["resources"][TRAIL_POLICY.lower()] = {"properties": {"state": "Unlocked"}}
    world["vaults"][VAULT] = {"secrets": {}, "deleted": [], "denied": 0}
    world["site"] = {
        "functions": [],
        "polls_before": 0,
        "references": {"MEDIC_ANCHOR_KEY": "medic-anchor-key", "MEDIC_APPROVAL_KEYS": "medic-approval-keys"},
        "refreshed": False,
        "never_resolves": False,
    }
    world["env"].update(
        AZURE_TENANT_ID=TENANT,
        AZURE_RESOURCE_GROUP="rg-medic-dev",
        SERVICE_MEDIC_NAME=APP,
        SERVICE_MEDIC_URI=f"https://{APP}.azurewebsites.net",
        ENDPOINT_MEDIC_VAULT=VAULT,
        ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID=IDENTITY,
        ENDPOINT_MEDIC_STORE="https://strecabc.blob.core.windows.net/",
        ENDPOINT_MEDIC_RECORDS_ID=RECORDS,
        ENDPOINT_MEDIC_SYSTEM_TOPICS=TOPIC,
        ENDPOINT_MEDIC_WORKSPACE_TOPICS="",
    )


def deploy(world: dict[str, Any]) -> None:
    """Do what `azd deploy` does."""
    world["site"]["functions"] = ["sweep", "on_deployment_failure"]


def project(folder: Path) -> Path:
    """Give a checkout with as much of the templates as the hooks look at."""
    infra = folder / "project" / "infra"
    (infra / "events").mkdir(parents=True)
    names = ["WATCH", "TOPICS", "MODEL_EVENTS", "GRANT_SCOPES", "UNDO_PRINCIPALS", "SIGN_IN_CLIENT_ID", "ALERT_EMAIL"]
    names += ["MODE=dry-run", "APPROVAL_KID", "RECORDS_SKU=Standard_LRS", "TRAIL_LOCKED=false"]
    names += ["TEAMS=false", "WEBHOOK=false", "OUTCOME_TOPIC=false"]
    (infra / "main.parameters.json").write_text(json.dumps([f"${{ENDPOINT_MEDIC_{name}}}" for name in names]))
    outputs = ("VAULT", "IDENTITY_PRINCIPAL_ID", "STORE", "RECORDS_ID", "SYSTEM_TOPICS", "WORKSPACE_TOPICS")
    (infra / "main.bicep").write_text("".join(f"output ENDPOINT_MEDIC_{name} string = ''\n" for name in outputs))
    common = "param topicName string\nparam functionAppId string\nparam recordsId string\n"
    (infra / "events" / "failures.bicep").write_text(f"{common}param subjectBeginsWith string = ''\n")
    (infra / "events" / "models.bicep").write_text(common)
    (folder / "project" / "policy.yaml").write_text(f"subscriptions: [{HOME}]\n")
    return folder / "project"


class Machine:
    """The machine of whoever deploys: `az` and `azd` on its PATH, azd's environment, and a clock that only waits move.

    Attributes:
        world: What Azure is like; change it between runs.
        temporary: Where temporary files go.
        is_run_by_azd: Whether a hook gets the values of azd's environment.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self._programs = folder / "bin"
        self._programs.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        for program in ("az", "azd"):
            path = self._programs / program
            path.write_text(PROGRAM.format(bash=shutil.which("bash")))
            path.chmod(0o755)
        self.world = nothing_in_the_way()
        self.time = 0.0
        self.is_run_by_azd = True

    def remove(self, program: str) -> None:
        (self._programs / program).unlink()

    def run(self, hook: ModuleType, *arguments: str) -> tuple[int, str, str]:
        """Run a hook as azd does; give its exit code, stdout and stderr. Then `world` is what has come of it."""
        self.world["writes"], self.world["calls"], self.world["files"] = [], [], []
        self.world = json.loads(json.dumps(self.world))  # nothing that a test holds changes behind its back
        with self._monkeypatch.context() as patch, answering(self.world) as port:
            for name in os.environ:
                if name.startswith(("AZURE_", "MEDIC_", "ENDPOINT_MEDIC_", "SERVICE_")):
                    patch.delenv(name)
            given = self.world["env"] if self.is_run_by_azd else {}
            for name, value in {**given, "PATH": str(self._programs), "FAKE_AZURE_PORT": str(port)}.items():
                patch.setenv(name, value)
            patch.setattr(tempfile, "tempdir", str(self.temporary))
            clock = az.Clock(lambda: self.time, self._sleep)
            code = az.main(hook.__name__, hook.__doc__, hook.run, list(arguments), clock)
        out, err = self._capfd.readouterr()
        return code, out, err

    def _sleep(self, seconds: float) -> None:
        self.time += seconds


@contextmanager
def answering(world: dict[str, Any]) -> Iterator[int]:
    """Answer the programs out of a world, on a port of the loopback interface."""

    class Call(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            count = int(self._word())
            program, *arguments = (self._word() for _ in range(count + 1))
            for part in fake_azure.answer(world, program, arguments):
                self.wfile.write(str(part).encode() + b"\0")

        def _word(self) -> str:
            read = bytearray()
            while (one := self.rfile.read(1)) != b"\0":
                assert one, "the call broke off"
                read += one
            return read.decode()

    with socketserver.TCPServer(("127.0.0.1", 0), Call) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
