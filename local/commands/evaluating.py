"""``medic evaluate``: how well labelled error texts are classified, and how far the figures can be trusted."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType
from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import terminal
from local.commands.texts import CAUSE_OF, blocks_of, judge, whole
from remediations.actions import ACTIONS
from remediations.classification import UNKNOWN_CAUSE, UNKNOWN_CODE

_DOUBT = 0.05
_MOST_NAMED = 20
_LONGEST = 300
_NO_ACTION = "none"
MEASURES = ("action", "cause", "code", "unknown", "recall")


class Row(Struct, frozen=True, kw_only=True):
    """One labelled text, as it stands in a file; further fields mean nothing.

    Attributes:
        action: What should be triggered; null, and ``none``, if nothing should. `remedy` says the same.
        negative: Whether `unknown` is expected, whatever `code` and `cause` call it.
    """

    id: str | int
    message: str
    code: str
    cause: str
    action: str | UnsetType | None = UNSET
    remedy: str | UnsetType | None = UNSET
    compute: str | None = None
    phase: str | None = None
    negative: bool | None = None


class Label(Struct, frozen=True, kw_only=True):
    """What a text is called: its action, cause and code."""

    action: str | None
    cause: str
    code: str

    @property
    def is_unknown(self) -> bool:
        return self.cause == UNKNOWN_CAUSE


class Judged(Struct, frozen=True, kw_only=True):
    """A labelled text, what was expected and what came."""

    id: str | int
    message: str
    expected: Label
    got: Label

    @property
    def is_false_trigger(self) -> bool:
        """Whether an action came where none was expected, or another one."""
        return self.got.action is not None and self.got.action != self.expected.action


class Share(Struct, frozen=True, kw_only=True):
    """How many of how many."""

    count: int
    of: int

    @property
    def ratio(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def words(self) -> str:
        """It for people; never rounded up to all."""
        if self.ratio is None:
            return "none to measure"
        percent = "100" if self.count == self.of else f"{min(100 * self.ratio, 99.9):.1f}"
        return f"{self.count} of {self.of}, {percent} %"


class Evaluation(Struct, frozen=True, kw_only=True):
    """What some labelled texts show.

    Attributes:
        rows: All of them, in order.
    """

    rows: tuple[Judged, ...]

    @property
    def failures(self) -> tuple[Judged, ...]:
        """The rows for which a cause is expected."""
        return tuple(row for row in self.rows if not row.expected.is_unknown)

    @property
    def negatives(self) -> tuple[Judged, ...]:
        """The rows for which `unknown` is expected."""
        return tuple(row for row in self.rows if row.expected.is_unknown)

    @property
    def quiet(self) -> tuple[Judged, ...]:
        """The rows for which no action is expected: what a bound on false triggers can rest on."""
        return tuple(row for row in self.rows if row.expected.action is None or row.is_false_trigger)

    @property
    def false_triggers(self) -> tuple[Judged, ...]:
        return tuple(row for row in self.rows if row.is_false_trigger)

    @property
    def abstentions(self) -> tuple[Judged, ...]:
        """Failures that were answered with `unknown`."""
        return tuple(row for row in self.failures if row.got.is_unknown)

    @property
    def wrong_names(self) -> tuple[Judged, ...]:
        """Rows that were given a cause that is not theirs."""
        return tuple(row for row in self.rows if not row.got.is_unknown and row.got.cause != row.expected.cause)

    @property
    def differing(self) -> tuple[Judged, ...]:
        return tuple(row for row in self.rows if row.got != row.expected)

    @property
    def confusion(self) -> list[tuple[str, str, int]]:
        """Cause expected, cause that came and how often, where they differ; the most frequent first."""
        counts = Counter(
            (row.expected.cause, row.got.cause) for row in self.rows if row.expected.cause != row.got.cause
        )
        return [(expected, got, count) for (expected, got), count in counts.most_common()]

    def measure(self, name: str) -> Share:
        """Give a share by its name: `cause` and `code` of failures, `unknown` of negatives, `recall` of actions."""
        match name:
            case "action":
                return _equal(name, self.rows)
            case "unknown":
                return _equal("cause", self.negatives)
            case "recall":
                return _equal("action", [row for row in self.rows if row.expected.action is not None])
            case _:
                return _equal(name, self.failures)


def _equal(field: str, rows: Sequence[Judged]) -> Share:
    return Share(count=sum(getattr(row.got, field) == getattr(row.expected, field) for row in rows), of=len(rows))


# ----------------------------------------------------------------------------------------------- evaluating


def evaluate(files: Iterable[str], *, at_least: Iterable[str], rows: bool, as_json: bool) -> int:
    """Measure how well the texts of some files are classified."""
    wanted = dict(map(_threshold, at_least))
    labelled, bad = read(files)
    for words in bad[:_MOST_NAMED]:
        terminal.complain(words)
    if len(bad) > _MOST_NAMED:
        terminal.complain(f"{len(bad) - _MOST_NAMED} further rows cannot be read either.")
    if bad:
        return terminal.MISUSED
    if not labelled:
        raise terminal.CommandError("there is nothing to evaluate: no file has a row. Give lines of JSON.")
    found = measured(labelled)
    short = missed(found, wanted)
    if as_json:
        terminal.say_json(_as_json(found, short))
    else:
        _show(terminal.out(), found, short, rows=rows)
    return terminal.DIFFERS if found.false_triggers or short else terminal.OK


def read(files: Iterable[str]) -> tuple[list[Row], list[str]]:
    """Give the rows of some files, and what is wrong with those that are none."""
    rows: list[Row] = []
    bad: list[str] = []
    decode = msgspec.json.Decoder(Row).decode
    for file in files:
        number = 0
        for block in blocks_of(file):
            for content in block:
                number += 1
                if content is not None and not content.strip():
                    continue
                try:
                    row = decode(whole(content))
                    label(row)
                except (ValueError, RecursionError) as error:
                    bad.append(f"{'stdin' if file == '-' else file}, line {number} is no row: {error}.")
                else:
                    rows.append(row)
    return rows, bad


def label(row: Row) -> Label:
    """Give what is expected of a row; raises ValueError if it says two things."""
    action = row.remedy if row.action is UNSET else row.action
    if action is UNSET:
        raise ValueError("it has no `action`; null expects none")
    action = None if action == _NO_ACTION else action
    if action is not None and action not in ACTIONS:
        raise ValueError(f"there is no action {action!r}; there are {', '.join(ACTIONS)}")
    if row.negative or row.code == UNKNOWN_CODE or row.cause == UNKNOWN_CAUSE:
        if action is not None:
            raise ValueError(f"it expects {action}, and an unknown cause")
        return Label(action=None, cause=UNKNOWN_CAUSE, code=UNKNOWN_CODE)
    return Label(action=action, cause=row.cause, code=row.code)


def measured(rows: Iterable[Row]) -> Evaluation:
    """Classify each text, and give it beside what is expected."""
    found = []
    for row in rows:
        verdict = judge(row.message, row.compute, row.phase)
        got = Label(action=verdict.action, cause=verdict.cause_id, code=verdict.code)
        found.append(Judged(id=row.id, message=row.message, expected=label(row), got=got))
    return Evaluation(rows=tuple(found))


def upper_bound(count: int, of: int, doubt: float = _DOUBT) -> float:
    """Give the share that is not exceeded, with 95 % confidence, where `count` of `of` were seen.

    Clopper and Pearson's, one-sided: the largest share with which so few are seen in 5 % of all samples.
    """
    if count >= of:
        return 1.0
    low, high = count / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, of, middle) > doubt else (low, middle)
    return high


def _at_most(count: int, of: int, share: float) -> float:
    """Give the chance of at most `count` in `of` draws; both shares are neither 0 nor 1."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    hit, miss = math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * hit + (of - k) * miss)
        for k in range(count + 1)
    )


def _threshold(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        least = float(share)
    except ValueError:
        least = math.nan
    if name not in MEASURES or not 0 <= least <= 1:
        words = f"--at-least {text!r} cannot be read. Write one of {', '.join(MEASURES)}, =, and a share such as 0.95."
        raise terminal.CommandError(words)
    return name, least


def missed(found: Evaluation, wanted: dict[str, float]) -> tuple[str, ...]:
    """Give in words each measure that is below what is wanted; one that nothing was measured of is."""
    shares = {name: found.measure(name) for name in wanted}
    return tuple(
        f"{name} is {shares[name].words}; at least {least:g} is asked for"
        for name, least in wanted.items()
        if (ratio := shares[name].ratio) is None or ratio < least
    )


# ------------------------------------------------------------------------------------------------- showing


def _as_json(found: Evaluation, short: tuple[str, ...]) -> dict[str, object]:
    triggers = len(found.false_triggers)
    groups = {"all": found.rows, "failures": found.failures, "unknown": found.negatives}
    return {
        "rows": {name: len(rows) for name, rows in groups.items()},
        "accuracy": {
            field: {name: _share_json(_equal(field, rows)) for name, rows in groups.items()}
            for field in ("action", "cause", "code")
        },
        "recall": _share_json(found.measure("recall")),
        "false_triggers": {
            **_share_json(Share(count=triggers, of=len(found.rows))),
            "at_most_95": upper_bound(triggers, len(found.quiet)),
            "ids": [row.id for row in found.false_triggers],
        },
        "abstentions": _share_json(Share(count=len(found.abstentions), of=len(found.failures))),
        "wrong_names": _share_json(Share(count=len(found.wrong_names), of=len(found.rows))),
        "confusion": [{"expected": one, "got": other, "count": count} for one, other, count in found.confusion],
        "not_in_catalogue": _not_known(found),
        "differing": [{"id": row.id, "expected": row.expected, "got": row.got} for row in found.differing],
        "missed": short,
    }


def _share_json(share: Share) -> dict[str, object]:
    return {"count": share.count, "of": share.of, "share": share.ratio}


def _not_known(found: Evaluation) -> list[str]:
    return sorted({row.expected.cause for row in found.failures if row.expected.cause not in CAUSE_OF})


def _show(console: Console, found: Evaluation, short: tuple[str, ...], *, rows: bool) -> None:
    console.print(
        f"{terminal.counted(len(found.rows), 'row')}: {terminal.counted(len(found.failures), 'failure')} with a cause, "
        f"{len(found.negatives)} that should be unknown",
        style="bold",
    )
    shown = terminal.table("Right", ">All", ">With a cause", ">Unknown")
    for field in ("action", "cause", "code"):
        shares = (_equal(field, group) for group in (found.rows, found.failures, found.negatives))
        shown.add_row(field, *(_cell(share) for share in shares))
    console.print(shown)
    terminal.show(console, *_figures(found))
    if found.confusion:
        told = terminal.table("Cause expected", "Cause given", ">Rows")
        for expected, got, count in found.confusion:
            told.add_row(*(Text(name, "dim" if name == UNKNOWN_CAUSE else "") for name in (expected, got)), str(count))
        console.print(told)
    if rows:
        for row in found.differing:
            console.print()
            _show_row(console, row)
    for words in short:
        console.print(Text.assemble(("missed: ", "bold red"), words))


def _cell(share: Share) -> Text:
    style = "" if share.count == share.of else "yellow"
    return Text(share.words if share.of else "-", style if share.of else "dim")


def _figures(found: Evaluation) -> Iterable[tuple[str, RenderableType]]:
    triggers = len(found.false_triggers)
    most = 100 * upper_bound(triggers, len(found.quiet))
    bound = f"that call for none; at most {most:.2f} % with 95 % confidence, if they are a fair sample"
    colour = "bold red" if triggers else "bold green"
    yield "false triggers", Text.assemble((f"{triggers} of {len(found.quiet)}", colour), f" {bound}")
    for row in found.false_triggers:
        yield "", Text(terminal.plain(f"{row.id}: {row.got.action} by {row.got.cause}"), "red")
    yield "recall of actions", found.measure("recall").words
    yield "abstentions", Share(count=len(found.abstentions), of=len(found.failures)).words
    yield "wrong names", Share(count=len(found.wrong_names), of=len(found.rows)).words
    if names := _not_known(found):
        yield "not in catalogue", ", ".join(map(terminal.plain, names))


def _show_row(console: Console, row: Judged) -> None:
    message = " ".join(terminal.plain(row.message).split())
    text = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    console.print(Text(terminal.plain(str(row.id)), "bold red" if row.is_false_trigger else "bold"))
    terminal.show(
        console,
        ("  text", Text(text, "dim")),
        ("  expected", _label_words(row.expected)),
        ("  given", _label_words(row.got)),
    )


def _label_words(one: Label) -> str:
    return terminal.plain(f"{one.cause}, {one.code}" + (f", {one.action}" if one.action else ""))
