"""Build the package that Azure gets: the files that .funcignore leaves, and their bytecode.

A cold start then compiles nothing of ours. The libraries are not in it: Azure installs requirements.txt when it gets
the package (remote build). The same files give the same bytes. A file that Git does not know is refused, not packed.
Not tried yet against a live subscription:

    azd deploy medic --from-package dist/endpoint-medic.zip
    az functionapp deployment source config-zip -g GROUP -n APP --src dist/endpoint-medic.zip --build-remote true
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parents[1]
PACKAGE = Path("dist/endpoint-medic.zip")
PYTHON = (3, 13)
WWWROOT = "/home/site/wwwroot"  # where Azure puts an app: what tracebacks name
REQUIRED = (
    "function_app.py",
    "functions/__init__.py",
    "host.json",
    "policy.yaml",
    "remediations/__init__.py",
    "requirements.txt",
)
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can hold
READABLE = 0o100644 << 16
UNIX = 3
LARGEST = NAMED = 5


class Refused(Exception):
    """No package is built; the text says why, and what to do."""


class Size(Struct, frozen=True, kw_only=True):
    """How much some files of the package are."""

    files: int
    bytes: int
    packed: int


class Report(Struct, frozen=True, kw_only=True):
    """What was built.

    Attributes:
        parts: The files at the top, and those of each folder, largest first.
    """

    package: str
    sha256: str
    bytes: int
    sources: Size
    bytecode: Size
    parts: dict[str, Size]


def build(root: Path, package: Path) -> Report:
    """Build the package of a checkout; raises Refused."""
    if sys.version_info[:2] != PYTHON:
        running, wanted = (".".join(map(str, version)) for version in (sys.version_info[:2], PYTHON))
        raise Refused(f"this is Python {running}, whose bytecode {wanted} does not read. Run it with Python {wanted}.")
    sources = {name: _read(root, name) for name in chosen(root)}
    if missing := [name for name in REQUIRED if name not in sources]:
        raise Refused(f"not known to Git, or excluded by .funcignore: {', '.join(missing)}. The app needs them.")
    bytecode = _compiled({name: source for name, source in sources.items() if name.endswith(".py")})
    package.parent.mkdir(parents=True, exist_ok=True)
    unfinished = package.with_name(f"{package.name}.{os.getpid()}")
    try:
        packed = _pack(sources | bytecode, unfinished)
        unfinished.replace(package)
    finally:
        unfinished.unlink(missing_ok=True)
    content = package.read_bytes()
    return Report(
        package=str(package),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        sources=_size([info for info in packed if info.filename in sources]),
        bytecode=_size([info for info in packed if info.filename in bytecode]),
        parts=_parts(packed),
    )


def chosen(root: Path) -> list[str]:
    """Give the names of the files that are to be packed; raises Refused if Git does not know one of them."""
    ignoring = "--exclude-from=.funcignore"
    if strays := _git(root, "--others", ignoring):
        named = ", ".join(strays[:NAMED]) + (f" and {len(strays) - NAMED} more" if strays[NAMED:] else "")
        raise Refused(f"not known to Git, yet not excluded: {named}. Add it to Git or .funcignore, or remove it.")
    ignored = set(_git(root, "--cached", "--ignored", ignoring))
    return sorted(name for name in _git(root, "--cached") if name not in ignored)


def _git(root: Path, *which: str) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *which]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise Refused("git is missing: it tells what belongs to the app from what lies about. Install it.") from error
    except subprocess.CalledProcessError as error:
        raise Refused(f"{root} cannot be listed: {error.stderr.strip()}. Build it in a Git checkout.") from error
    return [name for name in done.stdout.split("\0") if name]


def _read(root: Path, name: str) -> bytes:
    if (root / name).is_symlink():
        raise Refused(f"{name} is a link: what it leads to may lie anywhere. Put the file itself there.")
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}. Git knows it: restore it, or `git rm` it.") from error


def _compiled(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give bytecode that is taken for its source whatever the source's time: unpacking sets times anew."""
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)
        # In a process of its own: what other modules have loaded shows in bytecode, and the same files would differ.
        options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", WWWROOT, folder]
        command = [sys.executable, "-I", "-S", "-m", "compileall", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if done.returncode != 0:
            raise Refused(f"a module is no Python {'.'.join(map(str, PYTHON))}.\n{done.stdout.strip()}")
        found = Path(folder).rglob("*.pyc")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _pack(files: Mapping[str, bytes], package: Path) -> list[ZipInfo]:
    with ZipFile(package, "w") as opened:
        for name in sorted(files):
            info = ZipInfo(name, EARLIEST)
            info.create_system, info.external_attr = UNIX, READABLE
            opened.writestr(info, files[name], ZIP_DEFLATED, 9)
        return opened.infolist()


def _size(infos: Sequence[ZipInfo]) -> Size:
    return Size(
        files=len(infos),
        bytes=sum(info.file_size for info in infos),
        packed=sum(info.compress_size for info in infos),
    )


def _parts(infos: Sequence[ZipInfo]) -> dict[str, Size]:
    parts = defaultdict(list)
    for info in infos:
        folders = [folder for folder in PurePosixPath(info.filename).parts[:-1] if folder != "__pycache__"]
        parts["/".join(folders) or "."].append(info)
    sizes = {part: _size(found) for part, found in parts.items()}
    return dict(sorted(sizes.items(), key=lambda item: (-item[1].packed, item[0])))


def shown(report: Report) -> str:
    """Give the report for people."""
    sizes = {"sources": report.sources, "bytecode": report.bytecode}
    largest = {f"  {part}": size for part, size in list(report.parts.items())[:LARGEST]}
    return "\n".join(
        (
            f"{report.package}  {report.bytes / 1000:,.0f} kB  sha256 {report.sha256}",
            *(_row(name, size) for name, size in sizes.items()),
            "largest parts",
            *(_row(name, size) for name, size in largest.items()),
        )
    )


def _row(name: str, size: Size) -> str:
    return f"{name:<26} {size.files:>4} files {size.bytes / 1000:>6,.0f} kB {size.packed / 1000:>6,.0f} kB packed"


def main(argv: Sequence[str] | None = None) -> int:
    """Build it, and print what it is: exit 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / PACKAGE, help=f"where it goes (default {PACKAGE})")
    parser.add_argument("--json", action="store_true", help="print all sizes, for programs")
    options = parser.parse_args(argv)
    try:
        report = build(ROOT, options.output)
    except Refused as refused:
        print(f"package: {refused}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(report).decode() if options.json else shown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
