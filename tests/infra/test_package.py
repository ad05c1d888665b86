"""The package: what is in it, that it is always the same, and that an app runs from it with its own libraries alone."""

import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.worker import load_functions, trigger_of
from scripts import package
from tests.conftest import ROOT

LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".tools", ".medic", ".*_cache", ".hypothesis", "__pycache__")
UNCHECKED = 0b01  # PEP 552: by hash, and the source is not looked at
RUN = """
import os, sys
from pathlib import Path

import msgspec

from local.rehearsal import SCENARIOS, Stage, load

folder, python, *search_path = sys.argv[1:]
os.environ["PYTHONVERBOSE"] = "1"  # of the worker: it names each file that a module's code comes from
with (
    Path(folder, "worker.log").open("wb") as log,
    Stage("auto", Path(folder, "store"), worker_output=log, worker_python=python, worker_path=search_path) as stage,
):
    report = stage.play(load(SCENARIOS / "01-canceled-by-priority.yaml"))
print(msgspec.json.encode(report).decode())
"""


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def checkout(folder: Path) -> Path:
    """A checkout of what is here, with what Git does not ignore."""
    shutil.copytree(ROOT, folder, ignore=LEFT_BEHIND)
    git(folder, "init")
    git(folder, "add", ".")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("built") / "package.zip"
    package.build(checkout(tmp_path_factory.mktemp("here") / "checkout"), file)
    return file


@pytest.fixture(scope="module")
def packed(built) -> dict[str, bytes]:
    with ZipFile(built) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture
def wwwroot(built, tmp_path) -> Path:
    with ZipFile(built) as opened:
        opened.extractall(tmp_path / "wwwroot")
    return tmp_path / "wwwroot"


# ------------------------------------------------------------------------------------------------ what is in it


def test_the_package_holds_the_app_and_nothing_else(packed):
    top = {name.split("/")[0] for name in packed}
    folders = {"functions", "remediations", "__pycache__"}
    assert top == {*folders, "function_app.py", "host.json", "policy.yaml", "requirements.txt"}
    kinds = {Path(name).suffix for name in packed if "/" in name}
    assert kinds == {".py", ".pyc", ".html", ".css", ".js"}


def test_each_file_of_the_app_is_in_it_as_it_is_here(packed):
    here = [path for folder in ("functions", "remediations") for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in here if path.parent.name != "__pycache__"}
    assert len(names) > 100
    assert names <= packed.keys()
    assert [name for name in packed if not name.endswith(".pyc") and (ROOT / name).read_bytes() != packed[name]] == []


def test_each_module_has_bytecode_that_is_taken_unchecked_and_names_the_path_in_azure(packed):
    modules = [name for name in packed if name.endswith(".py")]
    assert sorted(name for name in packed if name.endswith(".pyc")) == sorted(map(cache_from_source, modules))
    for name in modules:
        bytecode = packed[cache_from_source(name)]
        assert (bytecode[:4], int.from_bytes(bytecode[4:8], "little")) == (MAGIC_NUMBER, UNCHECKED)
        assert marshal.loads(bytecode[16:]).co_filename == f"/home/site/wwwroot/{name}"


def test_the_same_files_give_the_same_bytes_in_another_folder_and_process(built, tmp_path):
    there = checkout(tmp_path / "there")
    for path in there.rglob("*.py"):
        os.utime(path, (1, 1))
    done = subprocess.run(
        [sys.executable, "scripts/package.py", "--json"],
        cwd=there,
        env={**os.environ, "PYTHONPATH": str(there), "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert Path(report["package"]) == there / "dist/endpoint-medic.zip"
    assert (there / "dist/endpoint-medic.zip").read_bytes() == built.read_bytes()
    assert report["bytes"] == built.stat().st_size
    assert report["sources"]["files"] + report["bytecode"]["files"] == sum(
        part["files"] for part in report["parts"].values()
    )


def test_an_entry_has_neither_the_time_nor_the_rights_of_a_file_here(built):
    with ZipFile(built) as opened:
        entries = opened.infolist()
    assert {(entry.date_time, oct(entry.external_attr >> 16)) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), "0o100644")
    }
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def small(tmp_path) -> Path:
    """A checkout of an app that is as small as can be."""
    folder = tmp_path / "small"
    for name in package.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    shutil.copy(ROOT / ".funcignore", folder)
    git(tmp_path, "init", str(folder))
    git(folder, "add", ".")
    return folder


def names_in(folder: Path) -> list[str]:
    package.build(folder, folder / "dist/package.zip")
    with ZipFile(folder / "dist/package.zip") as opened:
        return [name for name in opened.namelist() if not name.endswith(".pyc")]


def test_what_the_app_needs_is_enough(small):
    assert names_in(small) == sorted(package.REQUIRED)


@pytest.mark.parametrize("name", ["notes.txt", "functions/local.settings.json", "remediations/rights.py", "my.zip"])
def test_a_file_that_git_does_not_know_is_refused(small, name):
    (small / name).write_text("")
    with pytest.raises(package.Refused, match=rf"^not known to Git, yet not excluded: {re.escape(name)}\. Add it"):
        names_in(small)


def test_many_strays_are_counted_not_listed(small):
    for number in range(7):
        (small / f"stray-{number}.txt").write_text("")
    with pytest.raises(package.Refused, match=r"stray-4\.txt and 2 more\. "):
        names_in(small)


@pytest.mark.parametrize(
    "name",
    [
        "local.settings.json",
        ".env",
        "functions/.env",
        "functions/prod.env",
        "remediations/proof/anchor.key",
        "remediations/tls.pem",
        "tests/test_app.py",
        "local/host.py",
        "infra/main.bicep",
        "docs/audit.md",
        "functions/README.md",
    ],
)
@pytest.mark.parametrize("is_known", [True, False], ids=["known to Git", "a stray"])
def test_what_must_not_leave_is_left_out(small, name, is_known):
    (small / name).parent.mkdir(parents=True, exist_ok=True)
    (small / name).write_text("")
    if is_known:
        git(small, "add", "--force", name)
    assert names_in(small) == sorted(package.REQUIRED)


@pytest.mark.parametrize("name", package.REQUIRED)
def test_an_app_without_what_it_needs_is_refused(small, name):
    git(small, "rm", "-f", name)
    with pytest.raises(package.Refused, match=rf"excluded by \.funcignore: {re.escape(name)}\. The app needs them"):
        names_in(small)


def test_a_file_that_git_knows_and_that_is_gone_is_refused(small):
    (small / "host.json").unlink()
    with pytest.raises(package.Refused, match=r"^host\.json: No such file or directory\. Git knows it: restore it"):
        names_in(small)


def test_a_link_is_refused_whatever_it_leads_to(small, tmp_path):
    (tmp_path / "elsewhere").write_text("not ours")
    (small / "functions/more.txt").symlink_to(tmp_path / "elsewhere")
    git(small, "add", "functions/more.txt")
    with pytest.raises(package.Refused, match=r"^functions/more\.txt is a link: "):
        names_in(small)


def test_a_module_that_does_not_compile_is_refused(small):
    (small / "function_app.py").write_text("app = (")
    with pytest.raises(package.Refused, match=r"(?s)^a module is no Python 3\.13\..*function_app\.py.*'\(' was never"):
        names_in(small)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(package.Refused, match=r"Build it in a Git checkout\.$"):
        names_in(tmp_path)


def test_another_python_is_refused(small, monkeypatch):
    monkeypatch.setattr(package, "PYTHON", (3, 12))
    with pytest.raises(package.Refused, match=r"^this is Python 3\.13, whose bytecode 3\.12 does not read"):
        names_in(small)


def test_a_refusal_is_told_on_standard_error_and_leaves_no_package(small, monkeypatch, capsys):
    monkeypatch.setattr(package, "ROOT", small)
    (small / "stray.txt").write_text("")
    assert package.main(["--output", str(small / "dist/package.zip")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("package: not known to Git, yet not excluded: stray.txt.")
    assert not (small / "dist").exists()


# ----------------------------------------------------------------------------------------------- .funcignore


def core_tools_takes(name: str) -> bool:
    """Whether `func azure functionapp publish` takes a file: its patterns are not Git's.

    By Azure/azure-functions-core-tools, GitIgnoreParser: each pattern is a regular expression for the beginning of the
    path, up to the end of a word, in which one star needs a character; the order of patterns means nothing.
    """
    if name in {".funcignore", ".gitignore", "local.settings.json"} or name.startswith((".git/", ".vscode/")):
        return False
    lines = (ROOT / ".funcignore").read_text("utf-8").splitlines()
    patterns = [line.strip().removeprefix("/") for line in lines if line.strip() and not line.startswith("#")]
    assert not [pattern for pattern in patterns if pattern.startswith("!")], "a negation wins there, wherever it stands"
    expressions = [re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+") for pattern in patterns]
    return not any(re.match(rf"{expression}\b", name, re.ASCII) for expression in expressions)


def test_core_tools_and_git_leave_the_same_of_what_git_knows(tmp_path):
    known = checkout(tmp_path / "checkout")
    listed = subprocess.run(["git", "-C", known, "ls-files"], check=True, capture_output=True, text=True)
    assert [name for name in listed.stdout.splitlines() if core_tools_takes(name)] == package.chosen(known)


@pytest.mark.parametrize(
    "name",
    [
        ".azure/production/.env",
        ".env",
        ".medic/serve/approval-keys.json",
        ".tools/azurite/.stamp",
        ".venv/.stamp-dev",
        ".venv/lib/python3.13/site-packages/pytest.py",
        "__pycache__/function_app.cpython-313.pyc",
        "dist/endpoint-medic.zip",
        "endpoint_medic.egg-info/PKG-INFO",
        "functions/.env",
        "functions/__pycache__/triggers.cpython-313.pyc",
        "local.settings.json",
        "prod.env",
        "remediations/proof/anchor.key",
        "remediations/tls.pem",
        "remediations/tls.pfx",
    ],
)
def test_core_tools_leaves_out_what_lies_about(name):
    assert not core_tools_takes(name)


# ------------------------------------------------------------------------------------------------ it runs alone


def closure(names: Iterable[str]) -> set[str]:
    """The distributions that pip would install for some requirements, as they are installed here."""
    found: set[tuple[str, str]] = set()
    asked = [Requirement(name) for name in names]
    while asked:
        requirement = asked.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key not in found:
                found.add(key)
                needed = [Requirement(text) for text in distribution(requirement.name).requires or ()]
                asked += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def required(file: str) -> list[str]:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


DEPLOYED = closure(required("requirements.txt"))
WORKERS_OWN = closure(["azure-functions-runtime"]) - DEPLOYED  # what the Functions worker in Azure brings


def install(names: Iterable[str], site: Path) -> None:
    """Link distributions of this environment into a folder, with the bytecode that they have here."""
    for name in names:
        here = distribution(name)
        for file in here.files or ():
            if ".." in file.parts:
                continue  # a command
            path = Path(str(here.locate_file(file)))
            compiled = Path(cache_from_source(str(path))) if path.suffix == ".py" else path
            for source in {path, compiled}:
                link = site / source.relative_to(str(here.locate_file("")))
                if source.exists() and not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(source)


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """The interpreter of an environment that holds what requirements.txt asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3.13/site-packages")
    install(DEPLOYED, site)
    return str(folder / "bin/python")


@pytest.fixture
def bench(tmp_path) -> Path:
    """What runs an app on this machine, away from the app of this checkout."""
    (tmp_path / "bench").mkdir()
    for name in ("local", "policy.yaml"):
        (tmp_path / "bench" / name).symlink_to(ROOT / name)
    return tmp_path / "bench"


def run(command: list[str], cwd: Path, *search_path: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, search_path)), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_the_environment_holds_only_what_is_deployed(python, tmp_path):
    elsewhere = {
        module
        for module, names in packages_distributions().items()
        if not {canonicalize_name(name) for name in names} & DEPLOYED
    }
    assert {"typer", "starlette", "uvicorn", "rich", "httpx", "pytest", "hypothesis", "mypy"} <= elsewhere
    ours = {"function_app", "functions", "remediations", "local", "tests"}
    code = (
        "import sys\nfrom importlib.util import find_spec\nprint(*(name for name in sys.argv[1:] if find_spec(name)))"
    )
    modules = [name for name in elsewhere | ours if name.isidentifier()]
    there = run([python, "-I", "-c", code, *modules, "azure.functions", "msgspec"], tmp_path)
    assert there.split() == ["azure.functions", "msgspec"]


def test_azures_worker_library_indexes_the_package_from_its_bytecode_alone(wwwroot, python, bench, tmp_path):
    for path in wwwroot.rglob("*.py"):
        path.write_text("raise SystemExit(f'compiled from its source: {__file__}')\n")
    install(WORKERS_OWN, tmp_path / "worker")
    told = json.loads(
        run(
            [python, "-P", str(ROOT / "tests/contract/indexing.py"), str(wwwroot)],
            wwwroot,
            *(wwwroot, bench, tmp_path / "worker"),
            MEDIC_STORE=str(tmp_path / "store"),
        ).splitlines()[-1]
    )
    assert "failed" not in told, told["failed"]
    indexed = {
        name: binding["type"]
        for name, function in told["functions"].items()
        for binding in function["bindings"]
        if binding["type"].endswith("Trigger")
    }
    here = {str(one.get_function_name()): trigger_of(one).get_binding_name() for one in load_functions("function_app")}
    assert indexed == here
    assert {function["directory"] for function in told["functions"].values()} == {str(wwwroot)}
    assert [result for results in told["results"].values() for result in results if "failed" in str(result)] == []


def test_an_incident_is_repaired_from_the_package_with_its_own_libraries(wwwroot, python, bench, tmp_path):
    before = sorted(wwwroot.rglob("*"))
    command = [sys.executable, "-P", "-c", RUN, str(tmp_path), python, str(wwwroot), str(bench)]
    report = json.loads(run(command, tmp_path, wwwroot, bench).splitlines()[-1])
    assert (report["differences"], report["as_expected"]) == ([], True)
    assert [effect["action"] for effect in report["effects"]] == ["retry"]
    log = (tmp_path / "worker.log").read_text("utf-8", errors="replace")
    loaded = re.findall(r"^# code object from '?(/[^'\n]+)'?$", log, re.MULTILINE)
    ours = {path.removeprefix(f"{wwwroot}/") for path in loaded if path.startswith(f"{wwwroot}/")}
    assert {cache_from_source(f"{name}.py") for name in ("function_app", "functions/activities")} < ours
    assert [path for path in ours if not path.endswith(".pyc")] == []
    others = (f"{bench}/local/", f"{Path(python).parents[1]}/lib/", sysconfig.get_path("stdlib"))
    assert [path for path in loaded if not path.startswith((f"{wwwroot}/", *others))] == []
    assert sorted(wwwroot.rglob("*")) == before
