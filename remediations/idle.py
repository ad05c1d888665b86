"""Idle: which deployments may be deleted to free quota, and which of them are the fewest. Pure.

Everything keeps a deployment but proof: what is not known counts against its deletion.
https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, combinations_with_replacement, groupby, product

from msgspec.structs import replace

from remediations.model import Candidate, Found, ProvisioningState, ResourceId, Unknown, reading_words, tags_match
from remediations.policy import Idle

_SETTLED = frozenset({ProvisioningState.SUCCEEDED, ProvisioningState.FAILED})
_NEVER_WRITTEN = datetime.max.replace(tzinfo=UTC)


def why_kept(
    candidate: Candidate, rules: Idle, protected: Mapping[str, str], now: datetime, *, failed: ResourceId
) -> str | None:
    """Give why a deployment is never deleted, by everything but its metrics; None if only they still have to prove it.

    Args:
        protected: Tags that keep a resource from every action: name -> value.
        failed: The deployment that the quota is for.
    """
    if candidate.resource.key == failed.key:
        return "it is the deployment that failed"
    reasons = (
        _by_state(candidate),
        _by_tags(candidate, rules, protected),
        _by_age(candidate, rules.window, now),
    )
    return next((reason for found in reasons for reason in found), None)


def as_far_as_read(candidate: Candidate, window: timedelta) -> Candidate:
    """Give a deployment with what its metrics prove for a window: nothing, if they were read for a shorter one."""
    if candidate.window is None or candidate.window >= window:
        return candidate
    unread = Unknown(f"read for {days(candidate.window)} alone")
    return replace(
        candidate,
        requests=unread if candidate.requests == Found(False) else candidate.requests,
        alive=unread if candidate.alive == Found(True) else candidate.alive,
    )


def why_not_idle(candidate: Candidate) -> str | None:
    """Give why its metrics do not prove that a deployment is idle; None if they do."""
    match candidate.requests:
        case Found(False):
            pass
        case Found():
            return "requests reached it inside the window"
        case unread:
            return f"whether requests reached it is {reading_words(unread)}"
    match candidate.alive:
        case Found(True):
            return None
        case Unknown():
            return f"whether its metrics are alive is {reading_words(candidate.alive)}"
        case _:
            return "its metrics have gaps: no requests there proves nothing"


def days(window: timedelta) -> str:
    """Give the idle window for people: ``30 days``."""
    return f"{window / timedelta(days=1):g} days"


def _by_tags(candidate: Candidate, rules: Idle, protected: Mapping[str, str]) -> Iterator[str]:
    shown = (candidate.state.tags, candidate.endpoint.tags)
    for name, value in protected.items():
        if any(tags_match(tags, {name: value}, any_case=True) for tags in shown):
            yield f"tag {name}={value} protects it"
    wanted = ", ".join(f"{name}={value}" for name, value in rules.tag.items())
    for tags in shown:
        lowered = {name.lower(): value for name, value in tags.items()}
        for name, value in rules.tag.items():
            if lowered.get(name.lower(), value) != value:
                yield f"it is not opted in: its tag {name} is not {value}"
    # No tag in the rules is no tag that could opt in, though every resource has all of none.
    by_tag = bool(rules.tag) and any(tags_match(tags, rules.tag) for tags in shown)
    all_tags = {**candidate.state.tags, **candidate.endpoint.tags}
    if not by_tag and not any(scope.covers(candidate.resource, all_tags) for scope in rules.scopes):
        no_tag = f"no tag {wanted}, and " if wanted else ""
        yield f"it is not opted in: {no_tag}no scope of the policy covers it"


def _by_state(candidate: Candidate) -> Iterator[str]:
    state, endpoint = candidate.state, candidate.endpoint
    if state.kind != "Managed":
        yield f"it is {state.kind or 'of an unknown kind'}, not Managed"
    if state.provisioning_state not in _SETTLED:
        yield f"it is {state.provisioning_state or 'in an unknown state'}, neither Succeeded nor Failed"
    for weights, words in (
        (endpoint.traffic, "of its endpoint's traffic goes to it"),
        (endpoint.mirror_traffic, "of its endpoint's traffic is mirrored to it"),
    ):
        if weight := weight_of(candidate.resource, weights):
            yield f"{weight} % {words}"
    if endpoint.provisioning_state != ProvisioningState.SUCCEEDED:
        yield f"its endpoint is {endpoint.provisioning_state or 'in an unknown state'}"
    if not _others(candidate):
        yield "its endpoint has no other deployment that is Succeeded"


def _by_age(candidate: Candidate, window: timedelta, now: datetime) -> Iterator[str]:
    for what, at in (("created", candidate.state.created_at), ("written", candidate.state.last_modified_at)):
        if at is None:
            yield f"when it was {what} is not known"
        elif at > now - window:
            yield f"it was {what} on {at:%Y-%m-%d}, inside the last {days(window)}"


def weight_of(resource: ResourceId, weights: Mapping[str, int]) -> int:
    """Give the weight of one deployment among those of its endpoint: 0 if it is not named."""
    name = (resource.deployment or "").lower()
    return sum(weight for named, weight in weights.items() if named.lower() == name)


# ------------------------------------------------------------------------------------------- the fewest


def emptied(chosen: Sequence[Candidate]) -> Candidate | None:
    """Give one of those whose endpoint would have no Succeeded deployment left without all of them; None if none is."""
    for candidate in chosen:
        endpoint = candidate.resource.endpoint_id.key
        gone = {_name(other) for other in chosen if other.resource.endpoint_id.key == endpoint}
        if not _others(candidate) - gone:
            return candidate
    return None


def smallest(candidates: Sequence[Candidate], missing: int, most: int) -> tuple[Candidate, ...] | None:
    """Give the smallest set that frees `missing` cores and leaves every endpoint a deployment that is Succeeded.

    The fewest victims, then the least freed, then the longest untouched, then by name; None if there is none of `most`
    or fewer.
    """
    if missing <= 0:
        return ()
    by_size: dict[int, list[Candidate]] = {}
    once = {candidate.resource.key: candidate for candidate in candidates}
    for candidate in sorted(once.values(), key=_untouched):
        if candidate.cores > 0 and _others(candidate):
            by_size.setdefault(candidate.cores, []).append(candidate)
    for count in range(1, most + 1):
        sizes = combinations_with_replacement(sorted(by_size), count)
        enough = sorted((each for each in sizes if sum(each) >= missing), key=sum)
        for _, same in groupby(enough, key=sum):
            sets = (chosen for each in same for chosen in _of_sizes(each, by_size))
            best = min((chosen for chosen in sets if emptied(chosen) is None), key=_ranks, default=None)
            if best is not None:
                return best
    return None


def _of_sizes(sizes: tuple[int, ...], by_size: Mapping[int, list[Candidate]]) -> Iterator[tuple[Candidate, ...]]:
    """Give the sets of these sizes that could be the best.

    A longer untouched one is passed over for another of its size only where the rest of the set takes all that its
    endpoint has besides: less often than the set has members.
    """
    most = 2 * len(sizes) - 1
    counts = Counter(sizes)
    picks = (combinations(by_size[size][:most], count) for size, count in counts.items())
    for picked in product(*picks):
        yield tuple(sorted((one for part in picked for one in part), key=_untouched))


def _ranks(chosen: Sequence[Candidate]) -> list[tuple[datetime, str]]:
    return [_untouched(candidate) for candidate in chosen]


def _untouched(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.state.last_modified_at or _NEVER_WRITTEN, candidate.resource.key


def _name(candidate: Candidate) -> str:
    return (candidate.resource.deployment or "").lower()


def _others(candidate: Candidate) -> set[str]:
    """Give the names of its endpoint's other deployments that are Succeeded."""
    return {name.lower() for name in candidate.siblings} - {_name(candidate)}
