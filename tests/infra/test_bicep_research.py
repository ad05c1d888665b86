"""The Bicep files against Azure's own resource types. Collected only when MEDIC_RESEARCH names the folder."""

import pytest

from tests.conftest import ROOT
from tests.infra.bicep.check import check
from tests.infra.bicep.project import read_folder
from tests.infra.bicep.types import BY_HAND, Types, read_types
from tests.infra.mutations import ANYWHERE, FIXTURE

GOOD = read_folder(ROOT / "tests/infra/fixtures/good")
INFRA = read_folder(ROOT / "infra")


@pytest.fixture(scope="module")
def types(research) -> Types:
    return read_types(research)


def test_the_infrastructure_fits_azure_s_types(types):
    assert sum(path.endswith(".bicep") for path in INFRA) >= 10, "infra/ is not there"
    assert check(INFRA, types) == ()


def test_the_fixture_fits_azure_s_types(types):
    assert check(GOOD, types) == ()


@pytest.mark.parametrize("mutation", [found for found in FIXTURE if found.needs_types], ids=str)
def test_a_mistake_in_the_fixture_is_found(types, mutation):
    assert mutation.missed(GOOD, types) is None


@pytest.mark.parametrize("mutation", [found for found in ANYWHERE if found.needs_types], ids=str)
def test_a_mistake_in_the_infrastructure_is_found(types, mutation):
    assert mutation.missed(INFRA, types) is None


def test_no_type_is_written_by_hand_that_the_data_has(research):
    assert not BY_HAND.keys() & read_types(research, by_hand=False).data.keys()


def test_what_the_data_lacks_is_named(types):
    text = "resource a 'Microsoft.Web/site@2025-03-01' = {\n  name: 'a'\n}\n"
    assert [str(found) for found in check({"x.bicep": text}, types)] == [
        "x.bicep:1:12: no such resource type: Microsoft.Web/site. Did you mean Microsoft.Web/sites?"
    ]
