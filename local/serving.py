"""``medic serve``: the function app on this machine, against a simulated Azure or, if settings name one, a real one."""

import json
import os
import secrets
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import yaml

from local.arm import World, WorldError
from local.arm.server import Server
from local.host import Host
from remediations import policy, settings
from remediations.actions import ACTIONS
from remediations.errors import SettingsError
from remediations.proof import checkpoint

STORE = Path(".medic/serve")
WORLD = Path(__file__).parent / "scenarios" / "worlds" / "serve.yaml"
WHOEVER = "00000000-0000-4000-8000-000000000001"  # who uses this machine: nobody's object id in any directory
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
    yield "pages", f"{host.url}/api/overview"
    yield "questions", f"medic approvals --to {host.url}"
    yield "Azure", f"{chosen.arm_url}{'     simulated' if is_simulated else ''}"
    yield "Event Grid", f"POST {host.url}{EVENT_GRID}"
    yield "HTTP", f"POST {host.url}/api/events     common alerts and CI's CloudEvents"
    yield "health", f"GET  {host.url}/api/health"
    for name in host.site.schedules:
        yield "timer", f"POST {host.url}/admin/functions/{name}     runs it now"


def _environment(resources: ExitStack, world: Path | None) -> tuple[dict[str, str], Callable[[str], None] | None]:
    """Give the settings to serve with: whoever uses this machine is signed in, and keys sign links and checkpoints.

    Without an Azure in them, a simulated one is started. What then is given lets its world begin, with a place to send
    its events to: what happened before that place was there, nobody would hear of.
    """
    environment = {"MEDIC_STORE": os.environ.get("MEDIC_STORE") or str(STORE)}
    environment["MEDIC_DEV_SIGN_IN"] = os.environ.get("MEDIC_DEV_SIGN_IN") or WHOEVER
    for setting, name, make in (
        ("MEDIC_APPROVAL_KEYS", "approval-keys.json", approval_keys),
        ("MEDIC_ANCHOR_KEY", "anchor-key", checkpoint.new_key),
    ):
        if not os.environ.get(setting) and not environment["MEDIC_STORE"].startswith("http"):
            environment[setting] = kept(setting, Path(environment["MEDIC_STORE"]) / name, make)
    if os.environ.get("MEDIC_ARM_URL"):
        return environment, None
    path = world or WORLD
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
        if world is None:  # a world of its own each time: what was tried in the last one holds nothing back in this
            plain["subscription"] = str(uuid.uuid4())
        made = World.from_dict(plain)
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


def kept(setting: str, file: Path, make: Callable[[], str]) -> str:
    """Give the keys of a setting that are kept in a file, so that they outlive a restart; else make some and keep them.

    They are for this user alone: never readable by others, and never half written. Raises SettingsError if they cannot
    be kept.
    """
    with suppress(OSError, UnicodeDecodeError, SettingsError):
        known = file.read_text("utf-8")
        chosen = settings.load({setting: known})
        if chosen.approval_keys or chosen.anchor_key:
            return known
    made = make()
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(made)
        aside.replace(file)
    except OSError as error:
        fix = "Name a folder that can be written."
        raise SettingsError("MEDIC_STORE", str(file.parent), error.strerror or str(error), fix) from error
    return made


def approval_keys() -> str:
    """Give a new key for links."""
    return json.dumps({"serve": secrets.token_urlsafe(32)})
