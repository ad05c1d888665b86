"""The app's own API, as a command asks it: signed in as whoever uses the command, and judged by the app alone."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from urllib.parse import urlsplit

import httpx
import typer

from local.commands import terminal
from local.commands.sending import checked
from remediations import codec
from remediations.model import Json
from remediations.settings import is_loopback

HERE = "http://127.0.0.1:7071"
NEEDS_ROLE = "Have the app role Medic.Reader or Medic.Approver assigned to you, or be listed in the policy."
_SCOPE = "api://<client id of the app's registration>/.default"
_TIMEOUT_S = 30.0


class Api:
    """The API of one app. Whatever host a link names, only the address that the user named is asked."""

    def __init__(self, base: str, scope: str | None, client: httpx.Client) -> None:
        self.base = base
        self._scope = scope
        self._client = client

    def request(self, method: str, path: str, content: bytes | None = None, *, named: str, look: str) -> httpx.Response:
        """Give what the app answers; raises CommandError if nothing does.

        Args:
            content: JSON to post.
            named: What to call the path where no answer comes.
            look: Where to look whether what was posted was taken all the same.
        """
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            return self._client.request(method, f"{self.base}{path}", content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = (str(error) or type(error).__name__).rstrip(".")
            fix = "Start it with `medic serve`, or name another place with --to."
            if content is not None:
                fix = look
            words = f"{method} {self.base}{named} got no answer: {why}. {fix}"
            raise terminal.CommandError(words, terminal.UNREADABLE) from error

    def json(self, reply: httpx.Response) -> Json:
        """Give the JSON of an answer; raises CommandError if it is none."""
        try:
            return codec.parse_json(reply.content)
        except ValueError as error:
            raise self.unusable(reply) from error

    def unusable(self, reply: httpx.Response) -> terminal.CommandError:
        """Give what is told of a sign-in that is missing, and of an answer that is not the app's."""
        is_page = "html" in reply.headers.get("Content-Type", "").lower()
        if reply.status_code == 401 or reply.is_redirect or (is_page and reply.status_code < 500):
            what = str(reply.status_code)
            if reply.next_request is not None:
                what = f"{what}, to {reply.next_request.url.host}"
            elif is_page:
                what = f"{what} and a page for people"
            fix = f"Name the app's scope: --scope '{_SCOPE}'"
            if self._scope is not None:
                fix = f"--scope has to be '{_SCOPE}', and `az login` in the app's tenant"
            elif is_loopback(self.base):
                fix = "Start it with `medic serve`, which takes you as signed in, or set MEDIC_DEV_SIGN_IN for it"
            words = f"{self.base} takes nobody as signed in; it answered {what}. {fix}."
        else:
            kind = reply.headers.get("Content-Type") or "without a type"
            told = "" if reply.is_success else f": {said(reply)}"
            fix = "Look whether --to is right, and at the app's log."
            words = f"{self.base} answered {reply.status_code} ({kind}){told}. {fix}"
        return terminal.CommandError(words, terminal.UNREADABLE)


@contextmanager
def opened(to: str, scope: str | None) -> Iterator[Api]:
    """Give the API of the app at an address; raises CommandError if it cannot be asked.

    Args:
        scope: To sign in as whoever uses this machine; needed for an app that is elsewhere.
    """
    base = checked(to).rstrip("/")
    parts = urlsplit(base)
    if parts.query or parts.fragment or parts.username is not None:
        raise terminal.CommandError(f"--to {to!r} is no base URL. Write {HERE}.")
    if scope is None and not is_loopback(base):
        raise terminal.CommandError(f"--to {to!r} needs a sign-in. Name the app's scope: --scope '{_SCOPE}'.")
    headers = {"Accept": "application/json"}
    if scope is not None:
        headers["Authorization"] = f"Bearer {_token(scope)}"
    trusts = not is_loopback(base)  # a proxy stands between us and others, never between us and this machine
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=trusts, headers=headers, follow_redirects=False) as client:
        yield Api(base, scope, client)


def _token(scope: str) -> str:
    """Give a token of whoever is signed in here; App Service authentication takes it in place of its own cookie."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - only for an app in Azure
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - 30 MB

    logging.getLogger("azure").setLevel(logging.CRITICAL)
    try:
        with DefaultAzureCredential() as credential:
            return credential.get_token(scope).token
    except (AzureError, ValueError) as error:
        why = str(error).strip().split("\n", 1)[0][:300].rstrip(".")
        words = f"no token for {scope!r}: {why}. Sign in with `az login --scope {quote(scope)}`."
        raise terminal.CommandError(words, terminal.UNREADABLE) from error


def read[T](type_: type[T], plain: Json) -> T:
    """Give the value of an answer; raises CommandError if it is of another version."""
    try:
        return codec.load(type_, plain)
    except ValueError as error:
        words = f"the app's answer cannot be read: {line(str(error))}. Use the `medic` of the version that the app has."
        raise terminal.CommandError(words, terminal.UNREADABLE) from error


def said(reply: httpx.Response) -> str:
    """Give the app's own words for a refusal, without the full stop at their end."""
    try:
        told = codec.text(codec.mapping(codec.parse_json(reply.content)).get("error"))
    except ValueError:
        told = ""
    return line(told or reply.reason_phrase or str(reply.status_code)).strip().rstrip(".")[:500]


def line(text: str) -> str:
    """Give a text of others in one line: what stands at a line's beginning is ours."""
    return terminal.plain(text).replace("\n", " ")


def is_terminal() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirmed(words: str) -> bool:
    """Ask somebody on the terminal."""
    with interrupted():
        return typer.confirm(words, err=True)


@contextmanager
def interrupted() -> Iterator[None]:
    """End the command as an interrupted one when somebody breaks off a question."""
    try:
        yield
    except typer.Abort as error:
        raise typer.Exit(terminal.INTERRUPTED) from error
