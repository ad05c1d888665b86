"""The entity ``desk``: one for each thing that an action touches. Its transitions are in `remediations.desk`."""

from datetime import datetime
from typing import Any

from durabletask.entities import EntityContext

from remediations import codec
from remediations.desk import Desk, Order, claim, park, release
from remediations.model import Json


def desk(ctx: EntityContext, asked: dict[str, Any]) -> Json:
    """Claim, release or park; what was parked starts as soon as the desk is free."""
    state = codec.load(Desk, ctx.get_state(dict, {}))
    answer: Json = None
    started: tuple[Order, ...] = ()
    if ctx.operation == "claim":
        until, now = (datetime.fromisoformat(asked[name]) for name in ("until", "now"))
        state, granted = claim(state, asked["owner"], until, now)
        answer = {"granted": granted, "owner": state.owner}
    elif ctx.operation == "release":
        state, started = release(state, asked["owner"])
    elif ctx.operation == "park":
        state, started = park(state, asked["order"], datetime.fromisoformat(asked["now"]))
    for order in started:
        ctx.schedule_new_orchestration("remediate", input=order, instance_id=order["incident"]["id"])
    ctx.set_state(codec.dump(state))
    return answer
