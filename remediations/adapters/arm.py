"""Azure Resource Manager over azure-core's own pipeline: `ArmReads` and `ArmWrites`.

Reads are retried, bounded in number and time; a longer Retry-After ends as `Unknown`, since an activity never sleeps
for long. So does a read for which our share of the subscription's requests (`throttling`) has no place soon. Writes
are sent once: no retry policy, no redirects. A token is sent to the management endpoint alone, whatever URL some data
names.
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
"""

import base64
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from azure.core import PipelineClient
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from remediations import codec
from remediations.adapters.wire import wire
from remediations.errors import ArmThrottled, WriteInDryRun
from remediations.messages import parse_redacted
from remediations.model import Absent, Call, Caller, Found, Json, Reading, Unknown, operation_of
from remediations.ports import Reply
from remediations.rights import is_asked
from remediations.settings import Settings, is_loopback
from remediations.spec import MAX_SPEC_BYTES
from remediations.throttling import Flights, Throttle

_DENIED = re.compile(r"perform action '([^']+)'")
_STORAGE_SCOPE = "https://storage.azure.com/.default"
_LONGEST_WAIT_S = 5.0
_LONGEST_ANSWER_S = 20.0  # of a diagnosis; the next round of reads asks again
_READ_TIMEOUT_S = 15
_PATIENCE_S, _LONG_PATIENCE_S = 20.0, 30.0  # for our share, of one look in all; longer if nobody waits for it
_MOST_REQUESTS = 200  # of one look: of an activity, or of the sweep at one workspace
_FEW_REQUESTS = 40  # beyond them, one look at a time in a subscription
_MAX_PAGES = 50
_MAX_BYTES = 8 * 1024 * 1024
_OPERATION_HEADERS = ("Azure-AsyncOperation", "Location")
USER_AGENT = "endpoint-medic"


class _BoundedRetry(RetryPolicy[Any, Any]):
    """Retries what is worth it within seconds; a longer Retry-After is the caller's to wait out, with a timer."""

    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        wait = retry_after(response.http_response.headers)
        if wait is not None and wait.total_seconds() > _LONGEST_WAIT_S:
            return False
        return bool(super().is_retry(settings, response))


class StaticToken:
    """A fixed token, for a simulator on loopback."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken(self._token, 2**31)


class ArmReads:
    """The port `Reads` over HTTP. Make one for each use: `refused` and `throttled` count from there."""

    def __init__(
        self,
        settings: Settings,
        credential: TokenCredential,
        throttle: Throttle | None = None,
        *,
        carrier: RequestsTransport | None = None,
        flights: Flights | None = None,
        is_patient: bool = False,
    ) -> None:
        """Make a reader.

        Args:
            throttle: What all readers and writers of this process share; None: buckets of its own.
            carrier: What a `wire` gives, shared by all readers of this process; None: one of its own.
            flights: Lets what is asked twice at once be one request: for polls, never for what a guard decides on.
            is_patient: Whether nobody waits for it: it may wait longer, and leaves half of the places to others.
        """
        self._settings = settings
        self._credential = credential
        self._base = settings.arm_url
        throttle = throttle or Throttle(scale=settings.time_scale)
        retry = _BoundedRetry(retry_total=3, retry_backoff_factor=0.2, retry_backoff_max=2)
        chain = [*policies(settings, credential, throttle, retry), _Places(throttle, is_patient=is_patient)]
        self._client: PipelineClient[Any, Any] = PipelineClient(
            settings.arm_url, policies=chain, transport=carrier or wire(settings.arm_url)
        )
        self._flights = flights
        self._refused: dict[str, None] = {}
        self._throttled: timedelta | None = None

    def get(self, url: str) -> Reading[Json]:
        full = self._own_url(url)
        if full is None:
            return Unknown(f"{_host(url)!r} is not the management endpoint")
        return self._shared(full, lambda: self._read(HttpRequest("GET", full)))

    def get_all(self, url: str, *, most: int) -> Reading[tuple[Json, ...]]:
        items: list[Json] = []
        following = url
        for _ in range(_MAX_PAGES):
            page = self.get(following)
            if not isinstance(page, Found):
                return page
            shown = page.value if isinstance(page.value, dict) else {}
            values = shown.get("value")
            if not isinstance(values, list):
                return Unknown("the list has no items field")
            items.extend(values)
            if len(items) > most:
                return Unknown(f"more than {most} items")
            link = shown.get("nextLink")
            following = link if isinstance(link, str) else ""
            if not following:
                return Found(tuple(items))
        return Unknown(f"more than {_MAX_PAGES} pages")

    def ask(self, url: str, body: Json) -> Reading[Json]:
        full = self._own_url(url)
        if full is None or not is_asked(unquote(urlsplit(full).path)):
            return Unknown("only getLogs and diagnose may be asked")
        request = HttpRequest("POST", full, json=body)
        asked_until = time.monotonic() + _LONGEST_ANSWER_S
        while True:
            answer = self._answer(request)
            if isinstance(answer, Unknown):
                return answer
            response, content = answer
            result = self._own_url(response.headers.get("Location", ""))
            if response.status_code != 202 or result is None:
                return self._reading(request, response, content)
            wait = retry_after(response.headers) or timedelta(seconds=1)
            if time.monotonic() + wait.total_seconds() > asked_until:
                return Unknown(f"no answer within {_LONGEST_ANSWER_S:g} s")
            time.sleep(wait.total_seconds())
            request = HttpRequest("GET", result)

    def poll(self, url: str) -> Reading[Json]:
        full = self._own_url(url)
        if full is None:
            return Unknown(f"{_host(url)!r} is not the management endpoint")
        return self._shared(f"poll {full}", lambda: self._polled(HttpRequest("GET", full)))

    def _polled(self, request: HttpRequest) -> Reading[Json]:
        answer = self._answer(request)
        if isinstance(answer, Unknown):
            return answer
        response, content = answer
        if response.status_code == 202:
            return Found({"status": "InProgress"})
        if response.status_code not in (200, 204):
            return _failed(response.status_code, content) or self._reading(request, response, content)
        try:
            shown = codec.parse_json(content) if content.strip() else None  # without a result there is no body
        except ValueError:
            return Unknown("the answer is no JSON")
        return Found(shown if codec.text(codec.mapping(shown).get("status")) else {"status": "Succeeded"})

    def manifest(self, login_server: str, repository: str, reference: str) -> Reading[str]:
        from remediations.adapters import registry  # noqa: PLC0415 - it is built on this module

        return registry.manifest(self._settings, self._credential, login_server, repository, reference)

    def fetch_spec(self, url: str) -> Reading[Json]:
        request = HttpRequest("GET", url, headers={"x-ms-version": "2023-11-03"})
        local = is_loopback(url)
        chain: list[Any] = [
            UserAgentPolicy(base_user_agent=USER_AGENT),
            RetryPolicy(retry_total=1, retry_backoff_factor=0.2),
        ]
        if not local:
            chain.append(BearerTokenCredentialPolicy(self._credential, _STORAGE_SCOPE))
        client: PipelineClient[Any, Any] = PipelineClient(url, policies=chain, transport=wire(url))
        with client:
            return self._read(request, client, most=MAX_SPEC_BYTES)

    def refused(self) -> tuple[str, ...]:
        return tuple(self._refused)

    def throttled(self) -> timedelta | None:
        return self._throttled

    def identity(self) -> Caller | None:
        return identity(self._settings, self._credential)

    def _shared(self, question: str, ask: Callable[[], Reading[Json]]) -> Reading[Json]:
        """Ask, or take the answer of whoever is asking the same just now, with what was refused."""
        if self._flights is None:
            return ask()
        reading, refused, throttled = self._flights.share(question, lambda: (ask(), self._refused, self._throttled))
        self._refused |= refused
        self._throttled = max(filter(None, (self._throttled, throttled)), default=None)
        return reading

    def _own_url(self, url: str) -> str | None:
        if url.startswith("/"):
            return self._base + quote(url, safe="/?&=$:',()%+-_.~")
        try:
            own, other = urlsplit(self._base), urlsplit(url)
        except ValueError:
            return None
        return url if (own.scheme, own.netloc.lower()) == (other.scheme, other.netloc.lower()) else None

    def _read(self, request: HttpRequest, client: Any = None, *, most: int = _MAX_BYTES) -> Reading[Json]:
        answer = self._answer(request, client, most)
        return answer if isinstance(answer, Unknown) else self._reading(request, *answer)

    def _answer(
        self, request: HttpRequest, client: Any = None, most: int = _MAX_BYTES
    ) -> tuple[HttpResponse, bytes] | Unknown:
        try:
            response: HttpResponse = (client or self._client).send_request(
                request, stream=True, connection_timeout=_READ_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S
            )
            with response:
                content = limited(response, most)
        except ArmThrottled as error:
            return self._held_back(error.retry_after, f"throttled by our own bucket: {error.why}")
        except ClientAuthenticationError as error:
            return Unknown(f"no token: {type(error).__name__}")
        except AzureError as error:
            return Unknown(f"no answer: {type(error).__name__}")
        if content is None:
            return Unknown(f"the answer is larger than {most} bytes")
        return response, content

    def _held_back(self, wait: timedelta | None, words: str) -> Unknown:
        """Give the reading of what was not answered only because too much is asked."""
        self._throttled = max(self._throttled or timedelta(), wait or timedelta())
        return Unknown(f"{words}{f'; retry after {math.ceil(wait.total_seconds())} s' if wait else ''}")

    def _reading(self, request: HttpRequest, response: HttpResponse, content: bytes) -> Reading[Json]:
        status = response.status_code
        if status == 404:
            return Absent()
        if status in (401, 403):
            permission = _permission(request, content.decode(errors="replace"))
            self._refused[permission] = None
            return Unknown(f"{status}: our identity lacks {permission}")
        if status == 429:
            return self._held_back(retry_after(response.headers), "429: throttled")
        if status != 200:
            return Unknown(f"answered {status}")
        try:
            return Found(codec.parse_json(content))
        except ValueError:
            return Unknown("the answer is no JSON")


class ArmWrites:
    """The port `Writes` over HTTP: every call at most once."""

    def __init__(self, settings: Settings, credential: TokenCredential, throttle: Throttle | None = None) -> None:
        self._settings = settings
        self._credential = credential
        self._base = settings.arm_url
        self._timeouts = timeouts(settings)
        self._policies = policies(settings, credential, throttle or Throttle())

    def ready(self, call: Call) -> None:  # noqa: ARG002 - the port's signature
        sign_in(self._settings, self._credential)

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        url = f"{self._base}{quote(call.path, safe='/')}?api-version={call.api_version}"
        request = HttpRequest(call.method, url, headers={"x-ms-client-request-id": request_id}, json=body)
        # Over a connection of its own: one that was idle may be gone, and then nobody knows if Azure took the call.
        client: PipelineClient[Any, Any] = PipelineClient(
            self._base, policies=self._policies, transport=wire(self._base)
        )
        try:
            with client:
                response: HttpResponse = client.send_request(request, **self._timeouts)
        except AzureError:
            return Reply(status=None)
        return reply_of(request, response)


class _Answers(SansIOHTTPPolicy[Any, Any]):
    """Takes from every answer what Azure has left for us."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        asked, answer = request.http_request, response.http_response
        wait = retry_after(answer.headers)
        self._throttle.learn(asked.method, asked.url, answer.status_code, answer.headers, wait)


class _Places(SansIOHTTPPolicy[Any, Any]):
    """Stands last before the wire: every try of a read waits a little for its place, or raises ArmThrottled."""

    def __init__(self, throttle: Throttle, *, is_patient: bool) -> None:
        self._throttle = throttle
        self._is_patient = is_patient
        self._left_s = _LONG_PATIENCE_S if is_patient else _PATIENCE_S
        self._longest_s = _LONG_PATIENCE_S if is_patient else _LONGEST_WAIT_S
        self._asked = 0

    def on_request(self, request: PipelineRequest[Any]) -> None:
        method, url = request.http_request.method, request.http_request.url
        self._asked += 1
        if self._asked > _MOST_REQUESTS:
            words = f"one look at things takes {_MOST_REQUESTS} requests at most"
            raise ArmThrottled(method, url, timedelta(), words)
        if self._asked > _FEW_REQUESTS and not self._is_patient and (wait := self._throttle.lane(url, self)):
            raise ArmThrottled(
                method, url, timedelta(seconds=wait), "another wide look at the subscription is under way"
            )
        while True:
            longest_s = min(self._longest_s, self._left_s)
            wait = self._throttle.take(method, url, longest_s=longest_s, leaves_half=self._is_patient)
            if wait > longest_s:
                is_closed = self._throttle.closed_s(method, url) > 0
                words = "Azure wants no more for now" if is_closed else "our share of its requests is used up"
                raise ArmThrottled(method, url, timedelta(seconds=wait), words)
            if wait > 0:
                self._left_s -= wait
                time.sleep(wait)
            if not self._throttle.closed_s(method, url):  # a 429 may have come meanwhile
                return


class Once(SansIOHTTPPolicy[Any, Any]):
    """Stands last among the policies of a generated client: marks its one write, and keeps the answer to it.

    The client is shown an answer that names no operation: it would poll that in a thread of its own, and an
    orchestrator's timers do.

    Attributes:
        reply: What Azure answered; no status while nothing has come.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self.reply = Reply(status=None)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["x-ms-client-request-id"] = self._request_id

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        answer = response.http_response
        self.reply = reply_of(request.http_request, answer)
        if answer.status_code == 202:
            answer.status_code = 200
        for name in _OPERATION_HEADERS:
            answer.headers.pop(name, None)


class NoWrites:
    """The port `Writes` in a dry run: there is nothing behind it that could write.

    Attributes:
        refused: What was asked of it all the same.
    """

    def __init__(self) -> None:
        self.refused: list[Call] = []

    def ready(self, call: Call) -> None:
        """There is nothing to make."""

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:  # noqa: ARG002 - the port's signature
        self.refused.append(call)
        raise WriteInDryRun(call.method, call.path)


def credential_of(settings: Settings) -> TokenCredential:
    """Give what signs in: a fixed token on loopback, our managed identity in Azure, the developer's own elsewhere."""
    if settings.arm_token is not None:
        return StaticToken(settings.arm_token)
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415 - 30 MB

    if settings.is_azure:
        return (
            ManagedIdentityCredential(client_id=settings.client_id)
            if settings.client_id
            else ManagedIdentityCredential()
        )
    return DefaultAzureCredential()


def identity(settings: Settings, credential: TokenCredential) -> Caller | None:
    """Give who we are: by the settings, else by the claims of our own token; None if neither tells."""
    if settings.client_id and settings.principal_id:
        return Caller(oid=settings.principal_id, appid=settings.client_id)
    try:
        payload = credential.get_token(settings.arm_scope).token.split(".")[1]
        claims = codec.parse_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (AzureError, IndexError, ValueError):
        claims = {}
    known: dict[str, Json] = claims if isinstance(claims, dict) else {}
    oid, appid, tid = (known.get(name) for name in ("oid", "appid", "tid"))
    caller = Caller(
        oid=oid if isinstance(oid, str) else settings.principal_id,
        appid=appid if isinstance(appid, str) else settings.client_id,
        tid=tid if isinstance(tid, str) else None,
    )
    return caller if caller.oid or caller.appid else None


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Give how long ``Retry-After`` asks to wait: seconds or a date."""
    text = headers.get("Retry-After") or headers.get("retry-after")
    if text is None:
        return None
    try:
        return timedelta(seconds=max(0.0, float(text)))
    except OverflowError:
        return None
    except ValueError:
        pass
    try:
        return max(timedelta(0), parsedate_to_datetime(text) - datetime.now(UTC))
    except (ValueError, TypeError):
        return None


def policies(
    settings: Settings, credential: TokenCredential, throttle: Throttle, retry: RetryPolicy[Any, Any] | None = None
) -> list[Any]:
    """Give the policies of a client of Azure Resource Manager: without one that retries, each request is sent once.

    None redirects, so no token leaves, and none registers a resource provider on its own.
    """
    signed: SansIOHTTPPolicy[Any, Any] | ARMChallengeAuthenticationPolicy
    if settings.arm_is_loopback:
        token = credential.get_token(settings.arm_scope).token
        signed = HeadersPolicy({"Authorization": f"Bearer {token}"})
    else:
        signed = ARMChallengeAuthenticationPolicy(credential, settings.arm_scope)
    named = [RequestIdPolicy(), UserAgentPolicy(base_user_agent=USER_AGENT)]
    return [*named, *([retry] if retry is not None else []), signed, _Answers(throttle)]


def sign_in(settings: Settings, credential: TokenCredential) -> None:
    """Let the credential have its token, which it keeps; if it gets none, the call itself will tell."""
    with suppress(AzureError):
        credential.get_token(settings.arm_scope)


def _failed(status: int, content: bytes) -> Reading[Json] | None:
    """Give what an operation came to whose Location answers with an error: the answer that the request itself would
    have got. None if the answer is about our asking alone."""
    if not 400 <= status < 500 or status in (401, 403, 404, 408, 429):
        return None
    try:
        shown = codec.parse_json(content)
    except ValueError:
        shown = None
    return Found({"status": "Failed", "error": codec.mapping(shown).get("error", shown)})


def timeouts(settings: Settings) -> dict[str, Any]:
    """Give how long one write may take to connect and to be answered: together less than is permitted."""
    longest = settings.send_within.total_seconds() / 2
    return {"connection_timeout": longest / 2, "read_timeout": longest}


def reply_of(request: Any, response: Any) -> Reply:
    """Give what Azure answered to a write, its errors without what they may repeat of it."""
    headers = response.headers
    said = _said(response) if response.status_code >= 400 else ""
    return Reply(
        status=response.status_code,
        operation_url=next((headers[name] for name in _OPERATION_HEADERS if headers.get(name)), None),
        retry_after=retry_after(headers),
        service_request_id=headers.get("x-ms-request-id"),
        correlation_id=headers.get("x-ms-correlation-request-id"),
        permission=_permission(request, said) if response.status_code in (401, 403) else None,
        errors=parse_redacted(said),
    )


def limited(response: HttpResponse, most: int) -> bytes | None:
    """Give the body of a streamed answer; None if it is larger than `most`."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > most:
            return None
    return bytes(content)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _said(response: Any) -> str:
    try:
        if isinstance(response, HttpResponse):
            response.read()  # the ML SDK asks for streams
        return str(response.text())
    except (AzureError, UnicodeError, LookupError):  # cut short, not of its charset, or of one that there is not
        return ""


def _permission(request: HttpRequest, said: str) -> str:
    """Give the operation that Azure refused, by its own words, else by the URL."""
    match = _DENIED.search(said)
    if match is not None:
        return match[1]
    return operation_of(request.method, urlsplit(request.url).path)
