"""The Bicep files against Azure's own resource types. Collected only when MEDIC_RESEARCH names the folder."""

import pytest

from tests.conftest import ROOT
from tests.infra.bicep.check import check
from tests.infra.bicep.project import read_folder
from tests.infra.bicep.types import Types, read_types
from tests.infra.mutations import FIXTURE

GOOD = read_folder(ROOT / "tests/infra/fixtures/good")


@pytest.fixture(scope="module")
def types(research) -> Types:
    return read_types(research)


def test_the_fixture_has_no_mistake(types):
    assert check(GOOD, types) == ()


@pytest.mark.parametrize("mutation", FIXTURE, ids=str)
def test_a_seeded_mistake_is_found(types, mutation):
    said = [str(finding) for finding in check(mutation.seed(GOOD), types)]
    assert any(mutation.words in line for line in said), said
