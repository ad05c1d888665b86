"""See the package."""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.subjects import workload

HERE = Path(__file__).parent
DEBUGGED = re.compile(r"\*\* (\S+ \S+) \[debug\]")


def rulebook(count: int) -> list[dict[str, object]]:
    pattern = workload.PATTERN
    condition = (
        'event.eventType == "Microsoft.Resources.ResourceWriteFailure" '
        f'and event.data.statusMessage is regex("{pattern}", ignorecase=true)'
    )
    rule = {"name": "refused", "condition": condition, "action": {"debug": {"msg": "would sync {{ event.subject }}"}}}
    return [{"name": "failures", "hosts": "all", "sources": [{"failures": {"count": count}}], "rules": [rule]}]


def main() -> None:
    count = int(sys.argv[1])
    bin_folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        rules, hosts = Path(folder, "rules.yml"), Path(folder, "hosts.yml")
        rules.write_text(json.dumps(rulebook(count)), encoding="utf-8")  # JSON is YAML
        hosts.write_text('{"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}', encoding="utf-8")
        command = ["-r", str(rules), "-i", str(hosts), "-S", str(HERE / "sources"), "--shutdown-delay", "0.2"]
        environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(HERE.parents[2]),
            "PYTHONUNBUFFERED": "1",
        }
        began = time.time()
        done = subprocess.run(
            [bin_folder / "ansible-rulebook", *command], env=environment, capture_output=True, text=True, check=False
        )
    stamps = [datetime.fromisoformat(one).timestamp() for one in DEBUGGED.findall(done.stdout)]  # local time
    if len(stamps) != count:
        sys.exit(f"{len(stamps)} of {count} events were acted on:\n{done.stderr[-2000:]}")
    figures = {
        "first_s": stamps[0] - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
    }
    if count > 1:
        figures["per_s"] = (count - 1) / (stamps[-1] - stamps[0])
    workload.tell(**figures)


if __name__ == "__main__":
    main()
