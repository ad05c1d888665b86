"""The least that any such app pays: the three libraries that ours is built on, and nothing of ours."""

import time

from benchmarks.subjects import workload


def main() -> None:
    began = time.perf_counter()
    import azure.durable_functions
    import azure.functions
    import structlog

    workload.tell(**workload.indexed(began))
    del azure, structlog


if __name__ == "__main__":
    main()
