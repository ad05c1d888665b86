"""The least that any such app pays: the three libraries that ours is built on, and nothing of ours."""

import sys
import time

from benchmarks.subjects import workload


def main() -> None:
    began = time.perf_counter()
    import azure.durable_functions
    import azure.functions
    import structlog

    imported = time.perf_counter() - began
    workload.tell(
        import_s=imported,
        indexed_s=workload.since_start(),
        indexed_cpu_s=time.process_time(),
        indexed_mb=workload.peak_mb(),
        modules=len(sys.modules),
    )
    del azure, structlog


if __name__ == "__main__":
    main()
