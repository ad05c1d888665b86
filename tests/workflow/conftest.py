"""A theatre for each module of stories: the app in mode auto, its waits divided by a hundred."""

from collections.abc import Iterator

import pytest

from tests.workflow.theatre import Theatre


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("theatre")) as opened:
        yield opened


@pytest.fixture
def tell(theatre):
    """Begin a story; its world ends with the test."""
    worlds = []

    def begin(*args, **options):
        story = theatre.tell(*args, **options)
        worlds.append(story.world)
        return story

    yield begin
    for world in worlds:
        world.close()
    theatre.clear()
