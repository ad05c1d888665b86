"""Several worlds behind one address: each answers for its own subscriptions, and at a door of its own."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.arm import World
from local.arm.server import Server

HEADERS = {"Authorization": "Bearer sim-medic"}
FIRST, SECOND, THIRD = (f"0000000{number}-1111-2222-3333-444444444444" for number in (1, 2, 3))


def world(subscription: str, name: str, **more: Any) -> World:
    plain = {
        "subscription": subscription,
        "workspaces": [{"name": name, "endpoints": [{"name": "credit-scoring", "deployments": [{"name": "blue"}]}]}],
        "blobs": {"desired/blue.json": {"of": name}},
        **more,
    }
    return World.from_dict(plain)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(World.from_dict({"workspaces": []}), doors=2)
    server.start()
    worlds = [world(FIRST, "mlw-one"), world(SECOND, "mlw-two", registries=[{"name": "other", "subscription": THIRD}])]
    server.show_all(worlds)
    yield server
    for each in worlds:
        each.close()
    server.close()


def get(url: str, **options: Any) -> Any:
    answer = httpx.get(url, headers=HEADERS, params={"api-version": "2024-10-01"}, **options)
    return answer.json()


def names(server: Server, subscription: str) -> list[str]:
    path = f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/workspaces"
    return [each["name"] for each in get(server.url + path)["value"]]


def test_each_world_answers_for_its_own_subscription(server):
    assert names(server, FIRST) == ["mlw-one"]
    assert names(server, SECOND.upper()) == ["mlw-two"]


def test_a_registry_of_another_subscription_belongs_to_the_world_that_names_it(server):
    path = f"/subscriptions/{THIRD}/resourceGroups/rg-ml-prod/providers/Microsoft.ContainerRegistry/registries/other"
    registry = get(server.url + path)
    assert registry["properties"]["loginServer"] == server.doors[1].removeprefix("http://")


def test_a_subscription_that_a_world_only_mentions_is_its_own():
    scope = f"/subscriptions/{THIRD}/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/central"
    spec = {"properties": {"storageAccount": scope}}
    plain = {"subscription": SECOND, "workspaces": [{"name": "mlw-two", "spec": spec}]}
    assert World.from_dict(plain).subscriptions == {SECOND, THIRD}


def test_what_names_no_subscription_is_asked_for_at_a_door(server):
    assert [get(f"{door}/blobs/desired/blue.json") for door in server.doors] == [{"of": "mlw-one"}, {"of": "mlw-two"}]


def test_a_registry_sends_those_who_knock_to_its_own_door(server):
    challenge = httpx.get(f"{server.doors[1]}/v2/").headers["www-authenticate"]
    assert f'realm="{server.doors[1]}/oauth2/token"' in challenge


def test_one_world_alone_answers_for_every_subscription(server):
    alone = world(FIRST, "mlw-alone")
    server.show(alone)
    assert names(server, FIRST) == ["mlw-alone"]
    assert get(f"{server.url}/subscriptions/{SECOND}/providers/Microsoft.MachineLearningServices/workspaces") == {
        "value": [],
        "nextLink": None,
    }
    alone.close()
