"""Azure's resource types, from the data that the Bicep compiler itself uses (Azure/bicep-types-az), trimmed."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

# What the trimmed data lacks, by the page of the same data: generated/web/microsoft.web/2025-03-01/types.md.
_POLICIES = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
BY_HAND: dict[str, Any] = {
    f"{_POLICIES}@2025-03-01": {
        "body": 0,
        "types": {
            "0": {
                "$type": "ObjectType",
                "name": _POLICIES,
                "properties": {
                    "id": {"type": {"$ref": "#/1"}, "flags": 10},
                    "name": {"type": {"$ref": "#/2"}, "flags": 9},
                    "type": {"type": {"$ref": "#/1"}, "flags": 10},
                    "apiVersion": {"type": {"$ref": "#/1"}, "flags": 10},
                    "kind": {"type": {"$ref": "#/1"}, "flags": 0},
                    "properties": {"type": {"$ref": "#/5"}, "flags": 0},
                },
            },
            "1": {"$type": "StringType"},
            "2": {"$type": "UnionType", "elements": [{"$ref": "#/3"}, {"$ref": "#/4"}]},
            "3": {"$type": "StringLiteralType", "value": "ftp"},
            "4": {"$type": "StringLiteralType", "value": "scm"},
            "5": {
                "$type": "ObjectType",
                "name": "CsmPublishingCredentialsPoliciesEntityProperties",
                "properties": {"allow": {"type": {"$ref": "#/6"}, "flags": 1}},
            },
            "6": {"$type": "BooleanType"},
        },
    },
}

REQUIRED, READ_ONLY, WRITE_ONLY = 1, 2, 4


class Shape(Struct, frozen=True, eq=False):
    """One type of the data, with the table that its references point into."""

    table: Mapping[str, Any]
    plain: Mapping[str, Any]

    @property
    def form(self) -> str:
        """ObjectType, StringType, UnionType and so on."""
        return str(self.plain["$type"])

    def at(self, reference: Mapping[str, str]) -> "Shape":
        """Follow a reference."""
        return Shape(self.table, self.table[reference["$ref"].removeprefix("#/")])

    @property
    def members(self) -> tuple["Shape", ...]:
        """Give the members of a union, of unions in it too."""
        if self.form != "UnionType":
            return (self,)
        return tuple(member for found in self.plain["elements"] for member in self.at(found).members)

    @property
    def texts(self) -> tuple[str, ...]:
        """Give the strings that are known, also where Azure may know others; none where any will do."""
        return tuple(member.plain["value"] for member in self.members if member.form == "StringLiteralType")

    @property
    def kinds(self) -> frozenset[str]:
        """Give the kinds of value that fit."""
        names = {
            "StringType": "string",
            "StringLiteralType": "string",
            "IntegerType": "int",
            "BooleanType": "bool",
            "ArrayType": "array",
            "ObjectType": "object",
            "DiscriminatedObjectType": "object",
        }
        return frozenset(names.get(member.form, "any") for member in self.members)

    @property
    def properties(self) -> dict[str, Mapping[str, Any]]:
        """Give the properties of an object; of one that is told apart by a property, those of all its forms."""
        if self.form == "ObjectType":
            return dict(self.plain["properties"])
        if self.form == "DiscriminatedObjectType":
            found = dict(self.plain["baseProperties"])
            for element in self.plain["elements"].values():
                found |= self.at(element).properties
            return found
        if self.form == "UnionType":
            return {name: held for member in self.members for name, held in member.properties.items()}
        return {}

    @property
    def rest(self) -> "Shape | None":
        """Give the type of properties that have no name of their own; None if there may be none."""
        found = [
            member.plain["additionalProperties"] for member in self.members if "additionalProperties" in member.plain
        ]
        return self.at(found[0]) if found else None

    def chosen(self, value: str) -> "Shape":
        """Give the form of an object that its discriminator chooses."""
        element = self.at(self.plain["elements"][value])
        properties = {**self.plain["baseProperties"], **element.properties}
        return Shape(self.table, {**element.plain, "properties": properties})


class Types(Struct, frozen=True, eq=False):
    """All resource types that are known here, by `type@version`."""

    data: Mapping[str, Any]

    def get(self, name: str) -> Shape | None:
        """Give the body of a type; None if it is not known."""
        found = self.data.get(name)
        return None if found is None else Shape(found["types"], found["types"][str(found["body"])])


def read_types(research: Path, *, by_hand: bool = True) -> Types:
    """Read the type data in the research folder, with what is written here by hand."""
    data = json.loads(gzip.decompress((research / "azure" / "bicep-types.json.gz").read_bytes()))
    return Types({**(BY_HAND if by_hand else {}), **data})
