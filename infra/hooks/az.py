"""Run `az` and `azd` for the hooks: lists of arguments and never a shell, bounded in time, JSON back, words for errors.

The hooks run on the machine of whoever deploys, before anything of ours is there: Python 3.9 and its standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, NamedTuple, TypeVar

T = TypeVar("T")

# On Windows `az` is az.cmd, and cmd.exe would act on these even in an argument.
_UNSAFE = re.compile(r'[&|<>^"%\r\n]')
_GET_AZ = "https://learn.microsoft.com/cli/azure/install-azure-cli"
_GET_AZD = "https://learn.microsoft.com/azure/developer/azure-developer-cli/install-azd"


class Problem(NamedTuple):
    """What is wrong, which and why, and the command (or the act) that puts it right."""

    what: str
    fix: str


class Refused(Exception):
    """What has to be put right before a hook can go on, all of it."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{number}. {p.what}\n   {p.fix}" for number, p in enumerate(problems, 1)))


class OddAnswer(Refused):
    """An answer that is not of the form that it should have.

    Attributes:
        words: Which command, and what came.
    """

    def __init__(self, command: str, answer: str) -> None:
        came = repr(answer[:200]) if answer.strip() else "nothing"
        self.words = f"`{command}` answered what cannot be read: {came}"
        fix = "Run that command by hand. If it answers the same, another version of the program may help"
        super().__init__(Problem(self.words, fix))


class CommandFailed(Exception):
    """A command that did not succeed.

    Attributes:
        words: What it said on stderr; never more than 4,000 characters.
    """

    def __init__(self, command: str, words: str) -> None:
        self.words = words.strip()[:4000]
        super().__init__(f"`{command}` failed: {self.words or 'it said nothing'}")


class TookTooLong(Exception):
    """What was waited for did not come in time."""


@dataclass(frozen=True)
class Clock:
    """How waits tell the time, and pass it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Cli:
    """The two programs, and what a hook did with them.

    Attributes:
        environ: The azd environment's values: azd gives them to a hook as environment variables.
        is_dry_run: Reads are done; changes are only printed.
        clock: Waits go by it.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock, *, is_dry_run: bool = False) -> None:
        self.environ = environ
        self.is_dry_run = is_dry_run
        self.clock = clock
        self._paths: dict[str, str] = {}
        self._told = ""

    def find_programs(self) -> None:
        """Find the two programs; raises Refused."""
        for program in ("az", "azd"):
            found = shutil.which(program, path=self.environ.get("PATH"))
            if found is not None:
                self._paths[program] = found
        fixes = {"az": f"Install the Azure CLI: {_GET_AZ}", "azd": f"Install the Azure Developer CLI: {_GET_AZD}"}
        missing = [name for name in fixes if name not in self._paths]
        if missing:
            raise Refused(*(Problem(f"`{name}` is not on the PATH", fixes[name]) for name in missing))

    def read_environment(self) -> None:
        """Ask azd for its environment's values where it is not azd that runs the hook."""
        if "AZURE_ENV_NAME" not in self.environ:
            values = self.azd("env", "get-values", "--output", "json", like={str: str})
            self.environ = {**self.environ, **values}

    def az(self, *arguments: str, like: Any = object, timeout_s: float = 180) -> Any:
        """Read something with `az`; raises CommandFailed, and OddAnswer if the answer is not like that (fits)."""
        return self._read("az", (*arguments, "--output", "json"), like, timeout_s)

    def text(self, *arguments: str) -> str:
        """Give what `az` prints where that is no JSON; raises CommandFailed."""
        return self._run("az", arguments, 180)

    def azd(self, *arguments: str, like: Any = object) -> Any:
        """Read something with `azd`; raises the same."""
        return self._read("azd", arguments, like, 60)

    def change(self, words: str, *arguments: str, like: Any = object, timeout_s: float = 300) -> Any:
        """Change something with `az`, or print what would; raises the same.

        What `az` answers has to be asked for by ``--query`` or left out by ``--output none`` where it holds a secret.
        """
        if self.is_dry_run:
            say(f"Would {words}: {shown('az', arguments)}")
            return None
        if words != self._told:  # tried again, it is told once
            say(f"{words[0].upper()}{words[1:]}")
            self._told = words
        asked = () if "--output" in arguments else ("--output", "json")
        return self._read("az", (*arguments, *asked), like, timeout_s)

    def keep(self, name: str, value: str) -> None:
        """Set a value of the azd environment, unless it has it."""
        if self.environ.get(name, "") == value:
            return
        arguments = ("env", "set", name, value, "--environment", self.environ["AZURE_ENV_NAME"])
        if self.is_dry_run:
            say(f"Would run: {shown('azd', arguments)}")
            return
        say(f"Keep {name}={value}")
        self._run("azd", arguments, 60)

    def wait(self, what: str, ask: Callable[[], T | None], *, most_s: float, every_s: float = 10) -> T:
        """Give the first answer that is not None; raises TookTooLong. Tells once in half a minute that it waits."""
        began = told = self.clock.now()
        while True:
            answer = ask()
            if answer is not None:
                return answer
            now = self.clock.now()
            if now - began + every_s > most_s:
                raise TookTooLong(f"{what}: not within {most_s / 60:g} minutes")
            if now == began or now - told >= 30:
                told = now
                say(f"Waiting for {what} ({now - began:.0f} s of at most {most_s:.0f} s)")
            self.clock.sleep(every_s)

    def _read(self, program: str, arguments: tuple[str, ...], like: Any, timeout_s: float) -> Any:
        """Give what a command answered as JSON; None if it answered nothing."""
        text = self._run(program, arguments, timeout_s)
        answer = None
        if text.strip() and (program == "az" or "json" in arguments):
            try:
                answer = json.loads(text)
            except ValueError as error:
                raise CommandFailed(shown(program, arguments), f"it answered no JSON: {text[:200]!r}") from error
        if not fits(answer, like):
            raise OddAnswer(shown(program, arguments), text)
        return answer

    def _run(self, program: str, arguments: tuple[str, ...], timeout_s: float) -> str:
        """Give what a command wrote to stdout; raises CommandFailed."""
        command = shown(program, arguments)
        unsafe = [argument for argument in arguments if _UNSAFE.search(argument)]
        if unsafe:
            raise CommandFailed(command, f"{unsafe[0]!r} has a character that no argument may have")
        environment = {
            **self.environ,
            "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
            "AZURE_CORE_NO_COLOR": "true",
            "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "no",  # it would ask, and nobody could answer
            "AZD_SKIP_UPDATE_CHECK": "true",
        }
        words = (self._paths[program], *arguments)
        try:
            started = subprocess.Popen(
                windows_line(words) if sys.platform == "win32" else words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # `az` is a script that starts another program; Windows has no such thing
            )
        except OSError as error:
            raise CommandFailed(command, f"it could not be started: {error}") from error
        with started as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                _end(process)
                raise CommandFailed(command, f"no answer within {timeout_s:g} s") from error
            except BaseException:  # Ctrl-C does not reach a session of its own
                _end(process)
                raise
        if process.returncode != 0:
            raise CommandFailed(command, err)
        return out


def windows_line(words: Iterable[str]) -> str:
    """Give a command line in which every word is quoted; none has a quote in it.

    Python itself quotes only what has a blank. az.cmd puts what it was given inside of an ``IF … (…)``, which a bare
    ``)``, as in ``applications(uniqueName='x')``, would end.
    """
    doubled = (re.sub(r"(\\+)$", r"\1\1", word) for word in words)  # one backslash would take the quote for its own
    return " ".join(f'"{word}"' for word in doubled)


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and, but on Windows, all that it has started."""
    if sys.platform == "win32":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS answers the latter of a group that has ended
        return


def fits(value: Any, like: Any) -> bool:
    """Tell whether an answer is like an example of its form.

    The form is a type; None; a pattern of texts; a list of one form, for any number of these; an object's forms by key,
    the key ``str`` standing for all; or a tuple of forms, one of which it has. A key that is missing counts as None.
    """
    if isinstance(like, tuple):
        return any(fits(value, one) for one in like)
    if isinstance(like, dict):
        return isinstance(value, dict) and all(
            all(fits(each, one) for each in value.values()) if key is str else fits(value.get(key), one)
            for key, one in like.items()
        )
    if isinstance(like, list):
        return isinstance(value, list) and all(fits(each, like[0]) for each in value)
    if isinstance(like, re.Pattern):
        return isinstance(value, str) and like.fullmatch(value) is not None
    return value is None if like is None else isinstance(value, like)


def shown(program: str, arguments: tuple[str, ...]) -> str:
    """Give a command as a person would type it."""
    quoted = (f'"{each}"' if "'" in each and "$" not in each else shlex.quote(each) for each in arguments)
    return " ".join((program, *quoted))


def say(words: str) -> None:
    """Tell the person at once, also through a pipe."""
    print(words, flush=True)


@contextmanager
def private_file(content: str, suffix: str = ".json") -> Iterator[str]:
    """Give the path of a file that only this user can read, and that is gone afterwards, whatever happens."""
    handle, path = tempfile.mkstemp(prefix="endpoint-medic-", suffix=suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        yield path
    finally:
        Path(path).unlink()


def listed(text: str) -> tuple[str, ...]:
    """Give the parts of a comma-separated value, as the template does."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def token_of(environ: Mapping[str, str]) -> str:
    """Give what the template ends names in, as it told by the app's name; empty before it was deployed."""
    return environ.get("SERVICE_MEDIC_NAME", "").rpartition("-")[2]


def needed(environ: Mapping[str, str], *names: str) -> None:
    """Raise Refused for values of the azd environment that an earlier step should have left there."""
    problems = [
        Problem(f"{name} is not in the azd environment", "azd provision --no-state     (its outputs hold the value)")
        for name in names
        if not environ.get(name)
    ]
    if problems:
        raise Refused(*problems)


def main(
    hook: str, about: str | None, run: Callable[[Cli], None], argv: list[str] | None = None, clock: Clock | None = None
) -> int:
    """Run a hook; give its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    if sys.version_info < (3, 9):  # noqa: UP036 - whoever runs it may have an older one
        print(f"{hook} needs Python 3.9 or later; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(
        prog=f"{hook}.py",
        description=about,
        epilog=f"azd runs this by itself, and once more: azd hooks run {hook}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands that would change anything")
    arguments = parser.parse_args(argv)
    cli = Cli(dict(os.environ), clock or Clock(), is_dry_run=arguments.dry_run)
    try:
        cli.find_programs()
        cli.read_environment()
        run(cli)
    except Refused as error:
        count = len(error.problems)
        head = "One thing has" if count == 1 else f"{count} things have"
        print(f"\n{hook}: {head} to be put right first.\n\n{error}\n", file=sys.stderr, flush=True)
        return 1
    except (CommandFailed, TookTooLong) as error:
        again = f"What was done stays, and is not done twice. Then again: azd hooks run {hook}"
        print(f"\n{hook}: {error}\n{again}", file=sys.stderr, flush=True)
        return 1
    return 0
