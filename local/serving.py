"""``medic serve``: the function app on this machine, against a simulated Azure or, if settings name one, a real one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import yaml

from local.arm import World, WorldError
from local.arm.server import Server
from local.commands import approvals
from local.host import Host
from remediations import policy, settings
from remediations.actions import ACTIONS
from remediations.errors import SettingsError

STORE = Path(".medic/serve")
WORLD = Path(__file__).parent / "scenarios" / "worlds" / "serve.yaml"
EVENT_GRID = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"


def serve(port: int, world: Path | None) -> int:
    """Serve until Ctrl-C or SIGTERM, and leave no process behind.

    Raises:
        SettingsError, PolicyError: before anything is started.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as resources:
        environment, simulated = _environment(resources, world)
        chosen = settings.load({**os.environ, **environment})
        policy.refuse_unknown_actions(policy.load(Path(chosen.policy)), ACTIONS, chosen.policy)
        host = resources.enter_context(Host(port=port, env=environment))
        kept = approvals.keys_file(chosen.store)
        if "MEDIC_APPROVAL_KEYS" in environment and kept is not None:
            approvals.keep_keys(kept, environment["MEDIC_APPROVAL_KEYS"])
        for name, value in _places(chosen, host, is_simulated=simulated is not None):
            print(f"{name:<12}{value}")
        if simulated is not None:
            simulated(host.url + EVENT_GRID)
            story = "In three seconds CI deploys, and Azure cancels it" if world is None else "The world begins"
            print(f"\n{story}. Ctrl-C ends all of it.\n", flush=True)
        ended.wait()
        print("ending", flush=True)
    return 0


def _places(chosen: settings.Settings, host: Host, *, is_simulated: bool) -> Iterator[tuple[str, str]]:
    """Give where everything is, for people."""
    yield "mode", f"{chosen.mode}     (MEDIC_MODE; dry-run by default, auto lets it act)"
    yield "policy", chosen.policy
    yield "trail", f"MEDIC_STORE={chosen.store} medic audit list"
    to = "" if host.url.endswith(":7071") else f" --to {host.url}"
    yield "questions", f"MEDIC_STORE={chosen.store} medic approvals{to}"
    yield "Azure", f"{chosen.arm_url}{'     simulated' if is_simulated else ''}"
    yield "Event Grid", f"POST {host.url}{EVENT_GRID}"
    yield "HTTP", f"POST {host.url}/api/events     common alerts and CI's CloudEvents"
    yield "health", f"GET  {host.url}/api/health"
    for name in host.site.schedules:
        yield "timer", f"POST {host.url}/admin/functions/{name}     runs it now"


def _environment(resources: ExitStack, world: Path | None) -> tuple[dict[str, str], Callable[[str], None] | None]:
    """Give the settings to serve with; without keys to sign approval links, one is made.

    Without an Azure in them, a simulated one is started. What then is given lets its world begin, with a place to send
    its events to: what happened before that place was there, nobody would hear of.
    """
    environment = {"MEDIC_STORE": os.environ.get("MEDIC_STORE") or str(STORE)}
    if not os.environ.get("MEDIC_APPROVAL_KEYS") and approvals.keys_file(environment["MEDIC_STORE"]) is not None:
        environment["MEDIC_APPROVAL_KEYS"] = approvals.new_keys()
    if os.environ.get("MEDIC_ARM_URL"):
        return environment, None
    path = world or WORLD
    try:
        made = World.from_dict(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError, WorldError) as error:
        fix = "Name a world file; local/arm/schema.py says what it may hold."
        raise SettingsError("--world", str(path), str(error), fix) from error
    server = Server(World.from_dict({}))
    resources.callback(server.close)
    server.start()

    def begin(events: str) -> None:
        made.subscribe(events)
        server.show(made)

    principal = made.principals["medic"]
    return environment | {
        "MEDIC_ARM_URL": server.url,
        "MEDIC_ARM_TOKEN": "sim-medic",
        "MEDIC_CLIENT_ID": principal.appid,
        "MEDIC_PRINCIPAL_ID": principal.oid,
        "MEDIC_TIME_SCALE": os.environ.get("MEDIC_TIME_SCALE") or "10",
        "MEDIC_SEND_SECONDS": os.environ.get("MEDIC_SEND_SECONDS") or "5",
    }, begin
