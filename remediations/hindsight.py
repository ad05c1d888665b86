"""The trail as it stood at one time, for what was not surveyed then: what came later is left out."""

from datetime import datetime
from typing import override

from remediations.model import Outcome
from remediations.policy import Pause
from remediations.trail import Effect, Result, Settled, Trail


class TrailThen(Trail):
    """A trail that knows nothing of what came after `now`. What it is asked about lies no later.

    Outcomes and slots carry no time of their own: the audit records beside them do. Pauses carry none either, so those
    that held are given, as they were kept at the time. A record is stamped right before it is written: one stamped in
    the moment before `now` counts as known, though whoever read the trail then may not have seen it.
    """

    def __init__(self, trail: Trail, now: datetime, pauses: tuple[Pause, ...]) -> None:
        super().__init__(trail.store)
        self._now = now
        self._pauses = pauses

    @override
    def pauses(self, now: datetime) -> tuple[Pause, ...]:
        return tuple(pause for pause in self._pauses if pause.until > now)

    @override
    def effects_on(self, target: str) -> tuple[tuple[Effect, Outcome | None], ...]:
        return tuple(
            (effect, outcome if self._was_known(effect) else None)
            for effect, outcome in super().effects_on(target)
            if effect.at <= self._now
        )

    @override
    def settled(self, plan: str, step: int, attempt: int) -> Settled | None:
        settled = super().settled(plan, step, attempt)
        return None if settled is None or settled.at > self._now else settled

    @override
    def budget_used(self, scope: str, action: str, now: datetime, slot_of: str) -> int:
        others = [slot for slot in self.slots(scope, action, now) if slot.plan != slot_of]
        return sum(self._had_begun(slot.incident_id, slot.plan) for slot in others)

    @override
    def results(self, scope: str, action: str, since: datetime, now: datetime) -> tuple[Result, ...]:
        found = super().results(scope, action, since, now)
        return tuple(result for result in found if result.at <= self._now)

    def _was_known(self, effect: Effect) -> bool:
        """Tell whether the outcome of an effect was on the trail; one that no record tells of counts as known."""
        wanted = [effect.plan, effect.step, effect.attempt]
        told = [
            record.at
            for record in self.records(effect.incident_id, ("outcome",), is_checked=True)
            if [record.facts.get(name) for name in ("plan", "step", "attempt")] == wanted
        ]
        return min(told, default=self._now) <= self._now

    def _had_begun(self, incident_id: str, plan: str) -> bool:
        """Tell whether a plan had sent something: right before its first call it takes its slot."""
        begun = [
            record.at
            for record in self.records(incident_id, ("intent",), is_checked=True)
            if record.facts.get("plan") == plan
        ]
        return min(begun, default=self._now) <= self._now
