"""What is known of a value without running anything: its kind, its items, its fields, the words that it can be."""

from collections.abc import Iterable, Mapping

from msgspec import Struct


class Value(Struct, frozen=True):
    """What an expression can come to.

    Attributes:
        kinds: Of string, int, bool, array and object those that it can be, or null alone; `any` where that is not
            known, and none where there is nothing: an item of an empty array.
        item: What each item of an array can be; None if that is not known.
        fields: What is known to be in an object.
        sometimes: What only some of the objects have that it can be.
        is_closed: Whether nothing else is in the object.
        words: All strings, numbers and truths that it can be; None if they are not known.
    """

    kinds: frozenset[str] = frozenset({"any"})
    item: "Value | None" = None
    fields: Mapping[str, "Value"] = {}
    sometimes: frozenset[str] = frozenset()
    is_closed: bool = False
    words: frozenset[str | int | bool] | None = None

    @property
    def kind(self) -> str:
        """The one kind that it has; any if there are several, or none is known."""
        return next(iter(self.kinds)) if len(self.kinds) == 1 else "any"

    @property
    def named(self) -> str:
        """Its kinds, to be read."""
        return " or ".join(sorted(self.kinds))

    def is_certainly_not(self, *wanted: str) -> bool:
        """Tell whether it is known to be of another kind than these, or to be of another kind sometimes."""
        return "any" not in self.kinds and bool(self.kinds - set(wanted))


UNKNOWN = Value()
NOTHING = Value(frozenset())


def of_kind(name: str) -> Value:
    """Give a value of a kind, written as `string`, or as `string[]` for an array of them."""
    if name.endswith("[]"):
        return array_of(of_kind(name.removesuffix("[]")))
    return Value(frozenset({name}))


def array_of(item: Value | None) -> Value:
    """Give an array of such items."""
    return Value(frozenset({"array"}), item=item)


def object_of(fields: Mapping[str, Value], *, is_closed: bool) -> Value:
    """Give an object with these fields."""
    return Value(frozenset({"object"}), fields=fields, is_closed=is_closed)


def joined(values: Iterable[Value], *, is_choice: bool = False) -> Value:
    """Give what is true of all these values: items of one array, or what is chosen between.

    Null is left out, as `Context.may_be_null` tells of it. Whoever reads from what was chosen may know which it is: it
    is not closed unless all have the same fields.
    """
    found = [value for value in values if value.kinds]
    some = [value for value in found if value.kind != "null"]
    if not some:
        return found[0] if found else NOTHING
    kinds = frozenset(kind for value in some for kind in value.kinds)
    if "any" in kinds:
        return UNKNOWN
    arrays = [value for value in some if "array" in value.kinds]
    objects = [value for value in some if "object" in value.kinds]
    words = [value.words for value in some]
    names = set.intersection(*(set(value.fields) for value in objects)) if objects else set()
    sometimes = frozenset(name for value in objects for name in value.fields.keys() | value.sometimes) - names
    return Value(
        kinds=kinds,
        item=_items(arrays),
        fields={name: joined((value.fields[name] for value in objects), is_choice=is_choice) for name in names},
        sometimes=sometimes,
        is_closed=bool(objects) and all(value.is_closed for value in objects) and not (is_choice and sometimes),
        words=None if None in words else frozenset(word for each in words for word in each or ()),
    )


def _items(arrays: list[Value]) -> Value | None:
    items = [value.item for value in arrays]
    return None if None in items or not items else joined(item for item in items if item is not None)


def called(name: str, given: tuple[Value, ...], otherwise: Value) -> Value:  # noqa: PLR0911 - one for each form
    """Give what a function gives for such arguments, where its signature says less."""
    kinds = {kind for value in given for kind in value.kinds}
    match name, given:
        case (("concat" | "union" | "intersection"), (_, *_)) if kinds == {"array"}:
            return joined(given)
        case "concat", (_, *_) if not kinds & {"array", "object", "any"}:
            return of_kind("string")
        case (("union" | "intersection"), (_, *_)) if kinds == {"object"}:
            return of_kind("object")
        case "coalesce", (_, *_):
            return joined(given, is_choice=True)
        case (("first" | "last"), (of, *_)):
            return of.item or UNKNOWN if of.kind == "array" else of_kind("string") if of.kind == "string" else UNKNOWN
        case (("take" | "skip"), (of, *_)):
            return of if of.kind == "array" else of_kind("string") if of.kind == "string" else UNKNOWN
        case "filter", (of, *_):
            return of if of.kind == "array" else otherwise
        case "flatten", (of, *_):
            return array_of(of.item.item if of.item is not None and of.item.kind == "array" else None)
        case "items", (of, *_):
            held = joined(of.fields.values()) if of.is_closed else UNKNOWN
            return array_of(object_of({"key": of_kind("string"), "value": held}, is_closed=True))
    return otherwise


def misfit(given: Value, wanted: Value, what: str) -> str | None:
    """Say in which way a value cannot be what is wanted; None if it may be."""
    if "any" not in wanted.kinds and given.kind != "null" and given.is_certainly_not(*wanted.kinds):
        return f"{what} is of type {wanted.named}, this is {given.named}"
    if given.item is not None and wanted.item is not None:
        found = misfit(given.item, wanted.item, f"an item of {what}")
        if found is not None:
            return found
    for name in wanted.fields.keys() & given.fields.keys():
        found = misfit(given.fields[name], wanted.fields[name], f"{name!r} of {what}")
        if found is not None:
            return found
    return None
