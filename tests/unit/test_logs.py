"""A line of the log: one record with JSON in Azure, a console at home; no thread loses it."""

import ast
import asyncio
import json
import logging
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest
import structlog

from functions import logs
from tests.conftest import ROOT

AZURE = {
    "WEBSITE_SITE_NAME": "func-medic",
    "MEDIC_TASK_HUB": "medic",
    "MEDIC_STORE": "https://stmedic.blob.core.windows.net",
    "MEDIC_APP_URL": "https://func-medic.azurewebsites.net",
}
SHOW = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s|%(levelname)s|%(message)s", stream=sys.stdout)
import function_app, structlog
structlog.get_logger().warning("sweep.incomplete", why="a list cannot be read")
"""


# As the worker's mark: a task has that of the one that made it. What is told outside of a task has none.
INVOCATION: ContextVar[str | None] = ContextVar("invocation", default=None)


class Kept(logging.Handler):
    """Keeps records, each with the invocation whose task handed it on."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.invocations: list[str | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop in this thread
            task = None
        self.invocations.append(None if task is None else INVOCATION.get())

    def lines(self) -> list[dict]:
        return [json.loads(record.getMessage()) for record in self.records]


@pytest.fixture
def kept():
    """What the worker's handler would get, with the log set up as in Azure."""
    before = structlog.get_config()
    names = ("endpoint_medic", *logs._TALKATIVE, None)
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    logging.getLogger().setLevel(logging.INFO)  # as the worker sets it
    logs.configure(in_azure=True)
    logs.configure(in_azure=True)  # a second time does no harm
    structlog.configure(cache_logger_on_first_use=False)
    handler = Kept()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    for one, level in levels:
        one.setLevel(level)
    structlog.configure(**before)


@pytest.mark.parametrize(("level", "number"), [("info", 20), ("warning", 30), ("error", 40), ("critical", 50)], ids=str)
def test_in_azure_a_line_is_one_record_of_its_level_with_json_for_a_message(kept, level, number):
    with structlog.contextvars.bound_contextvars(incident_id="inc-1"):
        getattr(structlog.get_logger(), level)("incident.ended", end="repaired", share="100%", effects=2)
    (record,), (line,) = kept.records, kept.lines()
    assert (record.name, record.levelno) == ("endpoint_medic", number)
    assert record.getMessage().startswith('{"')
    assert {key: line[key] for key in line if key != "timestamp"} == {
        "event": "incident.ended",
        "level": level,
        "incident_id": "inc-1",
        "end": "repaired",
        "share": "100%",
        "effects": 2,
    }


def test_an_exception_is_part_of_the_line_as_text(kept):
    def read() -> None:
        raise ValueError("no such\nthing")

    try:
        read()
    except ValueError:
        structlog.get_logger().exception("page.failed")
    (record,), (line,) = kept.records, kept.lines()
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert "\n" not in record.getMessage()
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert line["exception"].endswith("ValueError: no such\nthing")


def test_what_is_below_info_is_left_out(kept):
    structlog.get_logger().debug("poll.made")
    assert kept.records == []


def test_what_a_thread_logs_is_handed_on_by_the_task_that_waits_for_it(kept):
    log = structlog.get_logger()

    def read(number: int) -> int:
        log.warning("sweep.incomplete", number=number)
        return number + 1

    async def sweep() -> None:
        INVOCATION.set("sweep")
        assert await logs.in_thread(read, 1) == 2
        log.info("sweep.done")
        assert await logs.in_thread(read, number=2) == 3

    asyncio.run(sweep())
    assert [(line["event"], line.get("number")) for line in kept.lines()] == [
        ("sweep.incomplete", 1),
        ("sweep.done", None),
        ("sweep.incomplete", 2),
    ]
    assert kept.invocations == ["sweep"] * 3


def test_what_a_thread_logged_before_it_failed_is_not_lost(kept):
    def read() -> None:
        structlog.get_logger().error("incident.unreadable")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(logs.in_thread(read))
    assert [line["event"] for line in kept.lines()] == ["incident.unreadable"]


def test_threads_of_tasks_at_the_same_time_do_not_mix_their_lines(kept):
    async def one(name: str) -> None:
        INVOCATION.set(name)
        await logs.in_thread(structlog.get_logger().info, f"one.{name}")

    async def both() -> None:
        await asyncio.gather(one("a"), one("b"))

    asyncio.run(both())
    told = {line["event"]: name for line, name in zip(kept.lines(), kept.invocations, strict=True)}
    assert told == {"one.a": "a", "one.b": "b"}


def test_what_a_thread_logs_after_its_task_was_cancelled_is_not_lost(kept):
    log, began, goes_on = structlog.get_logger(), threading.Event(), threading.Event()

    def read() -> None:
        log.info("read.begun")
        began.set()
        assert goes_on.wait(10)
        log.info("read.done")

    async def cancelled() -> None:
        INVOCATION.set("cancelled")
        await logs.in_thread(read)

    async def sweep() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        goes_on.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*left), 10)

    asyncio.run(sweep())
    assert [line["event"] for line in kept.lines()] == ["read.begun", "read.done"]
    assert kept.invocations == ["cancelled", "cancelled"]


# What starts threads, and where it may: what is logged there belongs to no invocation, and the host drops it.
STARTS = {"to_thread", "run_in_executor", "ThreadPoolExecutor", "Thread", "Timer", "start_new_thread"}
SILENT = {
    ("functions/incidents.py", "ThreadPoolExecutor"): "it reads pauses, results and budgets of the trail",
    ("functions/pages/__init__.py", "Thread"): "it loads templates",
    ("remediations/register.py", "ThreadPoolExecutor"): "it reads files of the store; its lines are parsed outside",
}


def test_no_other_thread_is_started_that_would_lose_its_lines():
    found = set()
    for path in (*(ROOT / "functions").rglob("*.py"), *(ROOT / "remediations").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in STARTS:
                    found.add((path.relative_to(ROOT).as_posix(), name))
    assert found == {*SILENT, ("functions/logs.py", "to_thread")}


@pytest.mark.parametrize("name", ["azure.core", "azure.durable_functions", "azure.identity"])
def test_a_library_that_tells_of_each_of_its_calls_is_heard_from_a_warning_on(kept, name):
    library = logging.getLogger(f"{name}.part")
    library.info("a request")
    library.warning("a failure")
    assert [record.getMessage() for record in kept.records] == ["a failure"]


def test_the_store_s_client_does_not_tell_of_each_of_its_requests(kept, azurite):
    from azure.storage.blob import ContainerClient

    with ContainerClient(azurite.endpoint, "talk", credential=azurite.credential) as container:
        container.create_container()
        container.upload_blob("one", b"1").close()
    assert kept.records == []


@pytest.mark.parametrize(
    ("variables", "stdout", "stderr"),
    [
        pytest.param(AZURE, '"event": "sweep.incomplete"', "", id="in Azure"),
        pytest.param({}, "", "[warning  ] sweep.incomplete", id="at home"),
    ],
)
def test_the_app_logs_to_the_worker_in_azure_and_to_the_console_at_home(tmp_path, variables, stdout, stderr):
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "MEDIC_STORE": str(tmp_path), **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for said, wanted in ((done.stdout, stdout), (done.stderr, stderr)):
        ours = [line for line in said.splitlines() if "sweep.incomplete" in line]
        assert len(ours) == bool(wanted)
        assert wanted in said
    if stdout:
        name, level, message = next(line for line in done.stdout.splitlines() if "sweep." in line).split("|", 2)
        assert (name, level, json.loads(message)["why"]) == ("endpoint_medic", "WARNING", "a list cannot be read")


def test_the_host_exports_lines_by_opentelemetry_and_keeps_them_at_level_information():
    host = json.loads((ROOT / "host.json").read_text("utf-8"))
    assert host["telemetryMode"] == "OpenTelemetry"
    assert host["logging"]["logLevel"]["Function"] == "Information"
    assert "applicationInsights" not in host["logging"]  # it would have no effect
