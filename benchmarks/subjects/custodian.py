"""cloud-custodian on Azure Functions: ``python -m benchmarks.subjects.custodian cold|handler|push RECORDED [EVENTS]``.

Its real path: `c7n_azure.handler.run` with a policy and a fixed token; it reads the deployment anew for each event.
The policy has no action, since its event mode has no dry run: the record is the resource that it writes to a folder.
``push`` keeps the policy and its client from event to event, which the deployed function does not.
"""

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.subjects import workload

WARM = 20
FILTERS = [
    {"type": "event", "key": "eventType", "value": "Microsoft.Resources.ResourceWriteFailure"},
    {"type": "event", "key": "data.statusMessage", "op": "regex", "value": workload.PATTERN},
    {"type": "value", "key": "properties.provisioningState", "value": "Failed"},
]


def configured(folder: Path) -> dict[str, str]:
    """Write what a deployed function has beside it."""
    mode = {
        "type": "azure-event-grid",
        "events": [{"resourceProvider": workload.TYPE, "event": "write"}],
        "provision-options": {"identity": {"type": "SystemAssigned"}},
        "execution-options": {"output_dir": str(folder / "out")},
    }
    policy = {"name": "failed-deployment", "resource": "azure.armresource", "mode": mode, "filters": FILTERS}
    token = {"access_token": "benchmark", "subscription_id": workload.SUBSCRIPTION, "tenant_id": "t"}
    config, auth = folder / "config.json", folder / "auth.json"
    config.write_text(json.dumps({"policies": [policy]}), encoding="utf-8")
    auth.write_text(json.dumps(token), encoding="utf-8")
    return {"config_file": str(config), "auth_file": str(auth)}


def cold(recorded: Path, folder: Path) -> None:
    began = time.perf_counter()
    import azure.functions
    from c7n_azure import entry, handler

    entry.initialize_azure()
    indexed = workload.indexed(began)
    workload.Azure(recorded).install()
    _check(handler.run(workload.event(0), configured(folder), workload.SUBSCRIPTION))
    workload.tell(**indexed, **workload.decided())
    del azure


def warm(recorded: Path, folder: Path, mode: str, count: int) -> None:
    from c7n_azure import entry, handler

    entry.initialize_azure()
    azure = workload.Azure(recorded)
    azure.install()
    context = configured(folder)
    decide: Callable[[dict[str, Any]], Any]
    if mode == "handler":  # what the deployed function does for each event

        def decide(event: dict[str, Any]) -> Any:
            return handler.run(event, context, workload.SUBSCRIPTION)
    else:
        kept = _policy(context, folder)

        def decide(event: dict[str, Any]) -> Any:
            return kept.push(event, context)

    taken = []
    for number in range(count + WARM):
        event, azure.number = workload.event(number), number
        azure.prepare()
        began = time.perf_counter()
        answer = decide(event)
        taken.append(time.perf_counter() - began)
        _check(answer)
    calls = len(azure.calls) / (count + WARM)
    workload.tell(**workload.percentiles(taken[WARM:]), calls=calls, peak_mb=workload.peak_mb())


def _policy(context: dict[str, str], folder: Path) -> Any:
    from c7n.config import Config
    from c7n.policy import PolicyCollection
    from c7n.resources import load_resources
    from c7n.structure import StructureParser
    from c7n_azure.provider import Azure

    shown = json.loads(Path(context["config_file"]).read_text(encoding="utf-8"))
    options = Config.empty(output_dir=str(folder / "out"), authorization_file=context["auth_file"])
    options["account_id"] = workload.SUBSCRIPTION
    load_resources(StructureParser().get_resource_types(shown))
    return next(iter(PolicyCollection.from_data(shown, Azure().initialize(options))))


def _check(matched: object) -> None:
    if not matched:
        raise ValueError("the policy did not match")


def main() -> None:
    logging.disable(logging.CRITICAL)
    mode, recorded = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        if mode == "cold":
            cold(recorded, Path(folder))
        else:
            warm(recorded, Path(folder), mode, int(sys.argv[3]))


if __name__ == "__main__":
    main()
