"""What Event Grid and HTTP deliver: one orchestration per incident, one trail record per delivery.

An event is acknowledged only after its incident is scheduled and its record is on the trail; a failure in between makes
Event Grid deliver it again, and the second delivery is a duplicate.
"""

import uuid
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import grpc  # type: ignore[import-untyped]
import structlog
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId
from msgspec.structs import replace

from functions import signin
from functions.logs import in_thread
from remediations import admission, codec, desk, intake
from remediations.admission import Admission
from remediations.model import Disposition, Incident, Json, Reception
from remediations.services import Services, services
from remediations.trail import Answered, Intake, bell_of

log = structlog.get_logger()

WALK = 1
_RUNNING = frozenset(
    {
        OrchestrationStatus.RUNNING,
        OrchestrationStatus.PENDING,
        OrchestrationStatus.SUSPENDED,
        OrchestrationStatus.CONTINUED_AS_NEW,
    }
)
_JSON = "application/json"


async def take_event(event: func.EventGridEvent | func.CloudEvent, client: df.DurableFunctionsClient) -> None:
    """Take one event that azure-functions decoded."""
    await take(_plain(event), client)


async def submit(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Take common alerts and CI's CloudEvents over HTTP, and answer both handshakes of Event Grid."""
    own = await in_thread(services)
    if req.method == "OPTIONS":
        origin = req.headers.get("WebHook-Request-Origin", "")
        headers = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "120", "Allow": "POST, OPTIONS"}
        return func.HttpResponse(status_code=200, headers=headers)
    if not signin.may(req, "Medic.Submit", is_azure=own.settings.is_azure):
        return _answer(403, {"error": "the app role Medic.Submit is needed"})
    body = req.get_body()
    if len(body) > intake.MAX_EVENT_BYTES:
        return _answer(413, {"error": f"an event has at most {intake.MAX_EVENT_BYTES} bytes; this has {len(body)}"})
    try:
        plain = codec.parse_json(body)
    except ValueError as error:
        return _answer(400, {"error": f"the body is not JSON: {error}"})
    items = intake.split(plain)
    if len(items) > intake.MAX_EVENTS:
        return _answer(413, {"error": f"a batch has at most {intake.MAX_EVENTS} events; this has {len(items)}"})
    objects = [item for item in items if isinstance(item, dict)]
    taken = [await take(event, client) for event in objects]
    if strays := len(items) - len(objects):
        taken.append(await _refuse_strays(own, strays))
    handled: list[Json] = [
        {"disposition": admitted.disposition, "incident": admitted.incident_id, "words": admitted.words}
        for _, admitted in taken
    ]
    code = next((reception.handshake for reception, _ in taken if reception.handshake is not None), None)
    if code is not None:
        return _answer(200, {"validationResponse": code, **({"events": handled} if len(taken) > 1 else {})})
    return _answer(202, {"events": handled})


async def take(event: Json, client: df.DurableFunctionsClient) -> tuple[Reception, Admission]:
    """Receive one event, start or park its incident, and put how it ended on the trail."""
    own = await in_thread(services)
    reception, admitted = await in_thread(_admit, own, event)
    if admitted.incident is not None:
        admitted = await start(admitted, admitted.incident, client, own)
    elif admitted.storm is not None:  # whoever delivered it first may have died before it could
        await muster(client, own, admitted.storm)
    await _finish(own, reception, admitted)
    return reception, admitted


async def _refuse_strays(own: Services, count: int) -> tuple[Reception, Admission]:
    """Put on the trail, in one record, how many items of a batch are no events at all."""
    reception = intake.receive_strays(count)
    admitted = Admission(disposition=Disposition.IGNORED, words=reception.ignored or "")
    await _finish(own, reception, admitted)
    return reception, admitted


async def _finish(own: Services, reception: Reception, admitted: Admission) -> None:
    await in_thread(_record, own, reception, admitted)
    level = "error" if admitted.disposition is Disposition.ALARM else "info"
    getattr(log, level)(
        "event.handled",
        disposition=str(admitted.disposition),
        event_id=reception.event_id,
        incident_id=admitted.incident_id,
        words=admitted.words,
    )


async def start(
    admitted: Admission,
    incident: Incident,
    client: df.DurableFunctionsClient,
    own: Services,
    *,
    nonce: str | None = None,
) -> Admission:
    """Schedule an incident under its own id, or park it at its desk or in its storm; end the questions that it makes
    pointless."""
    order = order_of(incident, own, nonce=nonce)
    if admitted.disposition is Disposition.PARKED and admitted.storm is None:
        key = EntityInstanceId("desk", desk.key_of(incident.resource.key))
        await client.signal_entity(key, "park", {"order": order, "now": own.clock().isoformat()})
        return admitted
    for other, plan in admitted.superseded:
        words = f"a newer failure of the same resource: {incident.id}"
        answered = Answered(at=own.clock(), plan=plan, approved=None, words=words)
        await in_thread(own.trail.answer, answered)
        await ring(client, other, plan)
    if admitted.storm is not None:
        await muster(client, own, admitted.storm)
        return admitted
    if not await schedule(client, incident.id, order):
        same = await _event_of(client, incident.id) == incident.event_id
        disposition = Disposition.DUPLICATE if same else Disposition.JOINED
        # With the incident: whoever delivered it first may have died before its record, and the hub is no record.
        return replace(admitted, disposition=disposition, words="its incident is under way")
    return admitted


async def muster(client: df.DurableFunctionsClient, own: Services, storm: str) -> None:
    """See to it that the members of a storm are judged: one orchestration does, whoever asks for it."""
    await schedule(client, *muster_of(storm, own), name="mustering")


def muster_of(storm: str, own: Services) -> tuple[str, dict[str, Json]]:
    """Give the id and the input of what judges the members of a storm."""
    order: dict[str, Json] = {"walk": WALK, "storm": storm, "roll": 1, "at": 0, "scale": own.settings.time_scale}
    return f"muster-{codec.digest(storm)[:32]}", order


async def _event_of(client: df.DurableFunctionsClient, instance_id: str) -> str | None:
    """Give the id of the event that started a walk, from the walk's own input; None if it is gone."""
    known = await client.get_orchestration_state(instance_id)
    if known is None or known.serialized_input is None:
        return None
    order = codec.mapping(codec.parse_json(known.serialized_input))
    return codec.text(codec.mapping(order.get("incident")).get("event_id"))


async def schedule(
    client: df.DurableFunctionsClient, instance_id: str, order: dict[str, Json], name: str = "remediate"
) -> bool:
    """Start an incident's walk under its id, or another orchestration; False if one is running under it.

    Azure replaces a finished instance of the same id, so the store, not the hub, tells duplicates of what is over.
    """
    if await is_running(client, instance_id):
        return False
    try:
        await client.schedule_new_orchestration(name, input=order, instance_id=instance_id)
    except grpc.RpcError as error:
        if not _says(error, "ALREADY_EXISTS", "already exists"):
            raise
        return False
    return True


async def is_running(client: df.DurableFunctionsClient, instance_id: str) -> bool:
    """Tell whether an orchestration is under way."""
    known = await client.get_orchestration_state(instance_id, fetch_payloads=False)
    return known is not None and known.runtime_status in _RUNNING


def order_of(incident: Incident, own: Services, *, nonce: str | None = None) -> dict[str, Json]:
    """Give the input of an incident's walk: small, and with the nonce that claims it."""
    return {
        "walk": WALK,
        "incident": codec.dump(incident),
        "nonce": nonce or uuid.uuid4().hex,
        "try": 1,
        "scale": own.settings.time_scale,
    }


async def ring(client: df.DurableFunctionsClient, incident_id: str, plan: str) -> None:
    """Ring the doorbell of one question. Nobody hears it if the hub was lost: the sweep's new walk reads the answer."""
    try:
        await client.raise_orchestration_event(incident_id, bell_of(plan))
    except grpc.RpcError as error:
        if not _says(error, "NOT_FOUND", "not found"):
            raise
        log.warning("bell.unheard", incident_id=incident_id, plan=plan[:12])


def _admit(own: Services, event: Json) -> tuple[Reception, Admission]:
    now = own.clock()
    reception = intake.receive(event, received_at=now, subscriptions=own.policy.subscriptions)
    report = own.evidence.put(reception.report) if reception.report else None
    admitted = admission.admit(
        reception,
        trail=own.trail,
        own=lambda: own.own,
        reads=own.reads,
        now=now,
        report=report,
        limits=own.policy.storm,
    )
    words = "; ".join(filter(None, (admitted.words, intake.left_out(event, reception))))
    return reception, replace(admitted, words=words)


def _record(own: Services, reception: Reception, admitted: Admission) -> None:
    record = Intake(
        at=own.clock(),
        event_id=reception.event_id,
        event_type=reception.event_type,
        disposition=admitted.disposition,
        words=admitted.words,
        resource=reception.resource,
        operation_name=reception.operation_name,
        caller=reception.caller,
        incident=admitted.incident,
        incident_id=admitted.incident_id,
        storm=admitted.storm if admitted.incident is not None else None,
    )
    own.trail.record_intake(record, uuid.uuid4().hex[:12])
    if admitted.disposition in {Disposition.LINKED, Disposition.CORROBORATED} and admitted.incident_id is not None:
        own.journal.linked(admitted.incident_id, reception.event_id, reception.event_type)


def _plain(event: func.EventGridEvent | func.CloudEvent) -> Json:
    """Give the JSON of an event that azure-functions decoded: it comes as either of two types."""
    if isinstance(event, func.CloudEvent):
        time = event.time.isoformat() if event.time is not None else None
        return {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": time,
            "data": event.get_json(),
            **event.extension_attrs,
        }
    return {
        "id": event.id,
        "topic": event.topic,
        "subject": event.subject,
        "eventType": event.event_type,
        "eventTime": event.event_time.isoformat() if event.event_time is not None else None,
        "data": event.get_json(),
    }


def _says(error: Any, code_name: str, words: str) -> bool:
    """Tell one of gRPC's codes; the Functions host reports the same as an internal error with those words."""
    code = getattr(error, "code", None)
    name = getattr(code(), "name", "") if callable(code) else ""
    return name == code_name or words in str(error).lower()


def _answer(status: int, body: dict[str, Json]) -> func.HttpResponse:
    return func.HttpResponse(codec.encode(body), status_code=status, mimetype=_JSON)
