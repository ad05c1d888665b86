"""The values of the campaign: a *story* is what one round plays, and everything in it is data.

A round is one app with one policy and mode, and several *acts* at once: each a world with a subscription of its own.
Over the acts lie troubles; over the app lie faults of its store, kills, losses of the task hub, and a broken channel.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from local.rehearsal import Step

type Phase = Literal["before", "inside", "after"]
type Deed = Literal["approve", "reject", "race", "late", "nothing"]


class Trouble(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong in one world.

    Attributes:
        kind: Its name in the figures.
        world: Laid over the world file; lists are joined.
        happens: What others do, as under ``happens`` of a world file.
        ahead_s: The world's clock minus the app's.
    """

    kind: str
    world: dict[str, Any] = {}
    happens: tuple[dict[str, Any], ...] = ()
    ahead_s: float = 0.0


class Stray(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that reaches the app some time into the round, besides those that the world raises.

    Attributes:
        kind: ``again`` repeats one that the world raised; ``ours`` is one by our identity that no write of ours caused;
            ``foreign`` one of another subscription and provider; ``broken`` one that is no event at all; ``batch``
            several of them in one request.
    """

    kind: Literal["again", "ours", "foreign", "broken", "batch"]
    at_s: float
    which: int = 0


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One world of a round.

    Attributes:
        name: Of the scenario or the crowd that it is made of.
        failures: How many deployments are expected to fail by themselves.
        steps: What is done from outside, one after the other.
    """

    name: str
    subscription: str
    world: dict[str, Any]
    failures: int = 1
    steps: tuple[Step, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    strays: tuple[Stray, ...] = ()


class StoreFault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operations of the store that go wrong.

    Attributes:
        kind: ``refused``: nothing was done, and the store says so; ``lost``: it was done, and the answer never came;
            ``echoed``: it was done, and what the client sent again, as it had no answer, is answered as taken or as a
            conflict; ``slow``: it takes `seconds`; ``full``: nothing can be written.
        record: Kind of record (see `faulty.RECORDS`), or ``*``.
        after: So many that fit pass first.
    """

    kind: Literal["refused", "lost", "echoed", "slow", "full"]
    operation: Literal["create", "append", "read", "list", "*"]
    record: str = "*"
    after: int = 0
    times: int = 1
    seconds: float = 0.0


class Kill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where what runs the app is killed: at the nth time that it comes there.

    Attributes:
        at: ``work`` is handed out (``activity execute``), a ``store`` operation (``create intent``), or a ``call`` of
            Azure (``PUT deployment``): there the worker process is killed. Or a store operation of a ``trigger``
            (``create delivery``): this one run of the trigger ends there, and its caller gets the host's error.
        phase: Of a store operation or a call; a trigger is killed before or after.
    """

    at: Literal["work", "store", "call", "trigger"]
    what: str
    phase: Phase = "before"
    nth: int = 1

    @property
    def point(self) -> str:
        """Its kind, for the table of coverage."""
        return f"{self.at}: {self.what}" + ("" if self.at == "work" else f", {self.phase}")


class HubLoss(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task hub is lost whole when the nth piece of such work is handed out."""

    what: str
    nth: int = 1


class People(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people answer the questions of a round, one deed after the other, over and over.

    Attributes:
        deeds: ``race`` answers with approval and refusal at once; ``late`` approves when time is up.
        delay_s: How long each thinks.
        is_doubled: Each answer is sent twice.
        strangers: People without the role, the one who deployed, and forged links try first.
    """

    deeds: tuple[Deed, ...] = ("approve",)
    delay_s: float = 0.0
    is_doubled: bool = False
    strangers: bool = False


class Story(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round.

    Attributes:
        seed, number: What it was drawn from.
        policy: Laid over the shipped one.
        twice: The share of activities that are handed out twice at once.
        channel_fails: How many messages the channel refuses before it takes one; None: it is never there.
        sweeps_s: When the sweep runs while all of it goes on.
    """

    seed: int
    number: int
    mode: Literal["auto", "ask", "dry-run"] = "auto"
    policy: dict[str, Any] = {}
    acts: tuple[Act, ...]
    store: tuple[StoreFault, ...] = ()
    kills: tuple[Kill, ...] = ()
    losses: tuple[HubLoss, ...] = ()
    people: People = People()
    twice: float = 0.0
    channel_fails: int | None = 0
    sweeps_s: tuple[float, ...] = ()

    @property
    def failures(self) -> int:
        """How many deployments are expected to fail by themselves."""
        return sum(act.failures for act in self.acts)


def as_json(story: Story) -> bytes:
    """Give a story as the file that ``--replay`` takes."""
    return msgspec.json.format(msgspec.json.encode(story), indent=2)


def from_json(content: bytes) -> Story:
    """Give the story of such a file; raises ValueError if it is none."""
    return msgspec.json.decode(content, type=Story)
