"""Questions that Azure's own list of operations answers. Nothing is written."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from remediations.codec import mapping
from remediations.model import Json
from tests.live.asking import shown

pytestmark = pytest.mark.azure

ROLES = sorted((Path(__file__).parents[2] / "infra" / "rbac").glob("*.role.json"))
URL = "/providers/Microsoft.Authorization/providerOperations/{}?api-version=2022-04-01&$expand=resourceTypes"


def operations(shown_by: Json) -> Iterator[tuple[str, bool]]:
    """Give the operations that a provider lists, at any depth, and whether each is a data action."""
    node = mapping(shown_by)
    listed = node.get("operations")
    for operation in map(mapping, listed if isinstance(listed, list) else ()):
        yield str(operation["name"]).lower(), operation.get("isDataAction") is True
    types = node.get("resourceTypes")
    for each in types if isinstance(types, list) else ():
        yield from operations(each)


@pytest.mark.parametrize("file", ROLES, ids=lambda file: file.stem)
def test_every_right_of_a_role_is_an_operation_that_azure_knows(file, reads):
    """
    Question: are the names of our rights, taken from the URLs of the calls, those of `az provider operation show`?
    Assumed: yes.
    Where: infra/rbac
    Otherwise: Azure refuses a role with an unknown action when it is created, and ignores what no call asks for: take
    the spelling of the failure into the role file, and into what the gateway declares.
    """
    known: dict[str, dict[str, bool]] = {}
    unknown = []
    for permission in json.loads(file.read_text("utf-8"))["permissions"]:
        for field, is_data in (("actions", False), ("dataActions", True)):
            for right in permission[field]:
                provider = right.split("/", 1)[0]
                if provider not in known:
                    known[provider] = dict(operations(shown(reads.get(URL.format(provider)), provider)))
                listed = [data for name, data in known[provider].items() if fnmatchcase(name, right.lower())]
                if not listed or set(listed) != {is_data}:
                    unknown.append(f"{field}: {right}")
    assert unknown == []
