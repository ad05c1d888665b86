"""A cold start: what a fresh worker pays before its first event, and at it."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, Subject
from benchmarks.environments import ROOT
from benchmarks.row import Bound, Figure, Ratio, Row, Sample, at_most, figure, ratio

QUESTION = (
    "What does a fresh process pay until the app is indexed, and until its first event is decided? The "
    "floor imports `azure.functions`, `azure.durable_functions` and `structlog` alone; cloud-custodian "
    "is its handler and `azure.functions`."
)
NOTES = (
    (
        "Times are from the start of the process, the interpreter's own included; memory is the most that "
        "was resident, in 10⁶ bytes."
    ),
    (
        "Ours and the floor have nothing installed but `requirements.txt`. Indexed is "
        "`function_app.app.get_functions()`, as Microsoft's worker calls it."
    ),
    (
        "Our first event is taken, opened, read, judged and put on a synced trail, by the functions that "
        "Azure calls; cloud-custodian's is `handler.run`, which keeps a file that is not synced. Azure's "
        "answers are the same for both, from memory."
    ),
    ("From its sources, ours has no bytecode of its own, and its libraries have theirs: a package without bytecode."),
    "Without bytecode nothing is compiled beforehand, not even the standard library.",
)
RATIOS = {
    "indexed_s": "indexed",
    "indexed_cpu_s": "indexed, processor time",
    "decided_s": "first event decided",
    "decided_cpu_s": "first event decided, processor time",
}
PLAIN, SOURCES = "", ", without bytecode"
FLOOR, OURS, BARE, CUSTODIAN = "the floor", "ours", "ours, from its sources", "cloud-custodian"


def measure(bench: Bench) -> Row:
    """Measure all subjects with bytecode, then without."""
    found = {how: bench.in_turns(_subjects(bench, sources=how == SOURCES)) for how in (PLAIN, SOURCES)}
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    for how, samples in found.items():
        memory = at_most(65) if how == PLAIN else None
        told = {
            name: _figures(f"{name}{how}", some, memory if name == OURS else None) for name, some in samples.items()
        }
        for some in told.values():
            figures += some.values()
        for other, bound in ((FLOOR, at_most(1.15)), (CUSTODIAN, at_most(0.6))):
            for key, what in RATIOS.items():
                if key in told.get(other, {}):
                    asked = bound if key == "indexed_s" else None
                    ratios.append(ratio(f"ours to {other}{how}: {what}", told[OURS][key], told[other][key], asked))
    return Row(name="cold-start", question=QUESTION, figures=tuple(figures), ratios=tuple(ratios), notes=NOTES)


def _subjects(bench: Bench, *, sources: bool) -> dict[str, Subject]:
    options = ("-B", "-X", f"pycache_prefix={bench.folder / 'no-bytecode'}") if sources else ()
    recorded = str(bench.recorded)
    found: dict[str, Subject] = {}

    def add(name: str, python: Path | None, module: str, *arguments: str) -> None:
        if python is not None:
            found[name] = partial(bench.process, python, module, *arguments, options=options)

    app = bench.needed("app")
    add(FLOOR, app, "floor")
    add(OURS, app, "ours", "cold", recorded)
    if not sources:
        bare = _copied(bench.folder / "sources")
        found[BARE] = partial(bench.process, app, "ours", "cold", recorded, options=("-B",), root=bare)
    add(CUSTODIAN, bench.python("custodian"), "custodian", "cold", recorded)
    return found


def _copied(folder: Path) -> Path:
    """Give a copy of what runs, without bytecode."""
    for name in ("functions", "remediations", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(ROOT / "function_app.py", folder)
    return folder


def _figures(subject: str, samples: list[Sample], memory: Bound | None) -> Mapping[str, Figure]:
    told = {
        "import_s": ("import alone", "s", None),
        "indexed_s": ("process to app indexed", "s", None),
        "decided_s": ("process to first event decided", "s", None),
        "indexed_cpu_s": ("processor time to app indexed", "s", None),
        "decided_cpu_s": ("processor time to first event decided", "s", None),
        "indexed_mb": ("peak memory, indexed", "MB", memory),
        "decided_mb": ("peak memory, first event decided", "MB", None),
        "modules": ("modules imported, indexed", "", None),
        "all_modules": ("modules imported, first event decided", "", None),
    }
    return {
        key: figure(subject, what, unit, samples, key, bound=bound)
        for key, (what, unit, bound) in told.items()
        if key in samples[0]
    }
