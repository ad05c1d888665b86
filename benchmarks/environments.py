"""Virtual environments for what is measured, made on first use under ``.bench/`` from pinned requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".bench"
PEERS = Path(__file__).parent / "peers"


class Environment(NamedTuple):
    """What a peer needs.

    Attributes:
        requirements: The file that pins it.
        python: Version of the interpreter; newer ones lack wheels for what is pinned.
        shows: The packages whose versions a table names.
        needs: Commands that no package index has.
    """

    requirements: Path
    python: str
    shows: tuple[str, ...]
    needs: tuple[str, ...] = ()


ENVIRONMENTS: Mapping[str, Environment] = {
    "app": Environment(
        ROOT / "requirements.txt", "3.13", ("azure-functions", "azure-functions-durable", "durabletask", "structlog")
    ),
    "custodian": Environment(PEERS / "custodian.txt", "3.13", ("c7n", "c7n_azure", "azure-functions")),
    "rulebook": Environment(PEERS / "rulebook.txt", "3.13", ("ansible_rulebook", "drools_jpy"), ("java",)),
}


class Unavailable(Exception):
    """An environment cannot be made on this machine."""


def python_of(name: str, say: Callable[[str], None] = lambda _: None, home: Path = HOME) -> Path:
    """Give the interpreter of an environment, and make that first if its requirements have changed since.

    Raises:
        Unavailable: the interpreter or a command that it needs is not here, or pip failed.
    """
    environment = ENVIRONMENTS[name]
    for command in environment.needs:
        if shutil.which(command) is None:
            raise Unavailable(f"{name} needs the command {command}, which is not on PATH")
    folder = home / name
    python, stamp = folder / "bin/python", folder / ".stamp"
    wanted = f"{environment.python} {hashlib.sha256(environment.requirements.read_bytes()).hexdigest()}"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    say(f"making the environment {name} with Python {environment.python} (once)")
    _run([_interpreter(name, environment.python), "-m", "venv", "--clear", str(folder)])
    install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    _run([*install, "-r", str(environment.requirements)])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def version_of(name: str, home: Path = HOME) -> str:
    """Give the versions of what an environment is about."""
    script = "import sys; from importlib.metadata import version; print(*(version(one) for one in sys.argv[1:]))"
    environment = ENVIRONMENTS[name]
    done = subprocess.run(
        [home / name / "bin/python", "-c", script, *environment.shows], check=True, capture_output=True, text=True
    )
    told = zip(environment.shows, done.stdout.split(), strict=True)
    return f"({', '.join(f'{package} {version}' for package, version in told)}; Python {environment.python})"


def _interpreter(name: str, version: str) -> str:
    for candidate in _candidates(version):
        # Run it, do not trust its name: pyenv's shims exist for versions that are not active and only print an error.
        asked = [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    raise Unavailable(f"{name} needs Python {version} with venv: install it, as python{version} on PATH or in pyenv")


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    yield f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python"), reverse=True))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Unavailable(f"{' '.join(command[:4])} … failed: {' '.join(words)}")
