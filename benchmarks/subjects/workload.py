"""What all subjects are given: one event of a failed deployment, and a stand-in for Azure below the whole SDK.

The failure is the same for all: the image of a deployment could not be pulled, since its registry refused the
workspace's credentials. Only names differ from event to event.
"""

import io
import json
import os
import re
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP, WORKSPACE, ENDPOINT = "rg-ml-prod", "mlw-demo", "credit-scoring"
PROVIDER = "Microsoft.MachineLearningServices"
TYPE = f"{PROVIDER}/workspaces/onlineEndpoints/deployments"
MESSAGE = "ACR authentication failed: failed to authorize: unauthorized: authentication required"
PATTERN = "(?is).*(failed to authorize|unauthorized|authentication required).*"
NAME = "benchmarked"  # stands for the deployment's name in what was recorded, as CORRELATION does for its id
CORRELATION = str(uuid.UUID(int=9**36))
_FIRST = 10**9
_NAMED = re.compile(r"green(\d+)|00000000-0000-0000-0000-0000[0-9a-f]{8}", re.IGNORECASE)


def name_of(number: int) -> str:
    return f"green{number}"


def correlation_of(number: int) -> str:
    return str(uuid.UUID(int=_FIRST + number))


def path_of(name: str) -> str:
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{PROVIDER}/workspaces/{WORKSPACE}"
        f"/onlineEndpoints/{ENDPOINT}/deployments/{name}"
    )


def event(number: int) -> dict[str, Any]:
    """Give what Event Grid sends of one failure."""
    path = path_of(name_of(number))
    return {
        "id": str(uuid.UUID(int=number)),
        "topic": f"/subscriptions/{SUBSCRIPTION}",
        "subject": path,
        "eventType": "Microsoft.Resources.ResourceWriteFailure",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.0000000Z", time.gmtime()),
        "dataVersion": "2",
        "metadataVersion": "1",
        "data": {
            "authorization": {"scope": path, "action": f"{TYPE}/write", "evidence": {"role": "Contributor"}},
            "claims": {"oid": str(uuid.UUID(int=3)), "appid": str(uuid.UUID(int=4))},
            "correlationId": correlation_of(number),
            "httpRequest": "",
            "resourceProvider": PROVIDER,
            "resourceUri": path,
            "operationName": f"{TYPE}/write",
            "status": "Failed",
            "statusMessage": json.dumps({"error": {"code": "ResourceDeploymentFailure", "message": MESSAGE}}),
            "subscriptionId": SUBSCRIPTION,
            "tenantId": str(uuid.UUID(int=7)),
        },
    }


class Azure:
    """Answers every request of this process at requests' adapter, from what was recorded of the simulator.

    Answers hold the names of the event that a request names; one that names none is answered the same for all.

    Attributes:
        number: Which event is being handled, for `value` alone.
        calls: The method and path of every request.
    """

    def __init__(self, recorded: Path) -> None:
        shown = json.loads(recorded.read_text(encoding="utf-8"))
        self.answers = {str(one["asked"]): one for one in shown}
        self.number = 0
        self.calls: list[tuple[str, str]] = []
        self.values: dict[str, Any] = {}
        self.prepare()
        provider = {
            "id": f"/subscriptions/{SUBSCRIPTION}/providers/{PROVIDER}",
            "namespace": PROVIDER,
            "resourceTypes": [{"resourceType": TYPE.partition("/")[2], "apiVersions": ["2024-10-01"]}],
        }
        self.provider = json.dumps(provider)

    def install(self) -> None:
        """Take the place of the network."""
        import requests
        from urllib3 import HTTPResponse

        azure = self

        def send(self: Any, request: Any, **_: Any) -> Any:
            status, body = azure.answer(request.method, request.url)
            raw = HTTPResponse(
                body=io.BytesIO(body.encode()),
                status=status,
                preload_content=False,
                headers={"Content-Type": "application/json", "Content-Length": str(len(body))},
            )
            return self.build_response(request, raw)

        adapter: Any = requests.adapters.HTTPAdapter
        adapter.send = send

    def prepare(self) -> None:
        """Make the values of the answers about this event, so that this costs no subject any time."""
        bodies = {asked: named(str(one["body"]), self.number) for asked, one in self.answers.items()}
        self.values = {asked: json.loads(body) if body else None for asked, body in bodies.items()}

    def value(self, method: str, url: str) -> tuple[int, Any]:
        """Give the status and the value with which Azure answers."""
        asked = key_of(method, anonymous(url)[0])
        return int(self.answers[asked]["status"]), self.values[asked]

    def answer(self, method: str, url: str) -> tuple[int, str]:
        """Give the status and the body with which Azure answers; raises LookupError if that was not recorded."""
        bare, number = anonymous(url)
        asked = key_of(method, bare)
        self.calls.append((method, asked.partition(" ")[2]))
        if asked in self.answers:
            return int(self.answers[asked]["status"]), named(str(self.answers[asked]["body"]), number)
        if asked.endswith(f"/providers/{PROVIDER}".lower()):
            return 200, self.provider
        raise LookupError(f"nothing was recorded of {asked}")


def named(text: str, number: int) -> str:
    """Put the names of an event in the place of those that stand for them."""
    return text.replace(NAME, name_of(number)).replace(CORRELATION, correlation_of(number))


def anonymous(text: str) -> tuple[str, int]:
    """Put what stands for names in the place of an event's; give its number as well, 0 if none is named."""
    found = _NAMED.search(text)
    if found is None:
        return text, 0
    number = int(found[1]) if found[1] else uuid.UUID(found[0]).int - _FIRST
    return _NAMED.sub(lambda one: NAME if one[1] else CORRELATION, text), number


def key_of(method: str, url: str) -> str:
    """Give what tells requests apart: neither the host, nor the version, nor times."""
    shown = urlsplit(url)
    which = unquote(shown.query).rpartition(" and ")[2] if "filter" in shown.query else ""
    return f"{method} {unquote(shown.path)} {which}".strip().lower()


# ------------------------------------------------------------------------------------------- what is measured


def since_start() -> float:
    """Give the seconds since this process was asked for: whoever starts it says when, by the clock that all share."""
    return time.monotonic() - float(os.environ["BENCH_STARTED"])


def peak_mb() -> float:
    """Give the most memory that this process has had, in 10⁶ bytes, and none that its parent had when it forked."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def indexed(began: float) -> dict[str, float]:
    """Give what a cold start has cost once its app is indexed, whose imports began at a time of `perf_counter`."""
    return {
        "import_s": time.perf_counter() - began,
        "indexed_s": since_start(),
        "indexed_cpu_s": time.process_time(),
        "indexed_mb": peak_mb(),
        "modules": len(sys.modules),
    }


def decided() -> dict[str, float]:
    """Give what it has cost once its first event is decided."""
    return {
        "decided_s": since_start(),
        "decided_cpu_s": time.process_time(),
        "decided_mb": peak_mb(),
        "all_modules": len(sys.modules),
    }


def tell(**figures: float) -> None:
    """Print what was measured."""
    print(json.dumps(figures), flush=True)


def percentiles(taken: list[float]) -> dict[str, float]:
    """Give the rate and the latencies, in milliseconds, of some events."""
    ordered = sorted(taken)
    marks = {
        f"p{share}_ms": ordered[min(len(ordered) * share // 100, len(ordered) - 1)] * 1e3 for share in (50, 95, 99)
    }
    return {"per_s": len(taken) / sum(taken), **marks}
