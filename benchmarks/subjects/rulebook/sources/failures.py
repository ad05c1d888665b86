"""A source of ansible-rulebook: gives so many failures, as fast as they are taken."""

import asyncio
from typing import Any

from benchmarks.subjects import workload


async def main(queue: "asyncio.Queue[dict[str, Any]]", args: dict[str, Any]) -> None:
    for number in range(int(args["count"])):
        await queue.put(workload.event(number))
