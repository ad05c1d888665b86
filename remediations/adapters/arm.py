"""Azure Resource Manager over azure-core's own pipeline: `ArmReads` and `ArmWrites`.

Reads are retried, bounded in number and time; a longer Retry-After ends as `Unknown`, since an activity never sleeps
for long. Writes are sent once: no retry policy, no redirects. A token is sent to the management endpoint alone,
whatever URL some data names.
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core import PipelineClient
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from remediations import codec
from remediations.errors import WriteInDryRun
from remediations.messages import parse_redacted
from remediations.model import Absent, Call, Caller, Found, Json, Reading, Unknown
from remediations.ports import Reply
from remediations.settings import Settings, is_loopback
from remediations.spec import MAX_SPEC_BYTES

_ASKS = re.compile(r"/(getLogs|diagnose)\?", re.IGNORECASE)
_DENIED = re.compile(r"perform action '([^']+)'")
_STORAGE_SCOPE = "https://storage.azure.com/.default"
_LONGEST_WAIT_S = 5.0
_READ_TIMEOUT_S = 15
_MAX_PAGES = 20
_MAX_BYTES = 8 * 1024 * 1024
_USER_AGENT = "endpoint-medic"


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
    """The port `Reads` over HTTP. Make one for each use: `refused` counts from there."""

    def __init__(self, settings: Settings, credential: TokenCredential) -> None:
        self._settings = settings
        self._credential = credential
        self._base = settings.arm_url
        self._client = _client(
            settings, credential, _BoundedRetry(retry_total=3, retry_backoff_factor=0.2, retry_backoff_max=2)
        )
        self._refused: dict[str, None] = {}

    def get(self, url: str) -> Reading[Json]:
        full = self._own_url(url)
        if full is None:
            return Unknown(f"{urlsplit(url).hostname!r} is not the management endpoint")
        return self._read(HttpRequest("GET", full))

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
            link = shown.get("nextLink")
            following = link if isinstance(link, str) else ""
            if not following:
                return Found(tuple(items[:most])) if len(items) <= most else Unknown(f"more than {most} items")
        return Unknown(f"more than {_MAX_PAGES} pages")

    def ask(self, url: str, body: Json) -> Reading[Json]:
        full = self._own_url(url)
        if full is None or not _ASKS.search(full):
            return Unknown("only getLogs and diagnose may be asked")
        return self._read(HttpRequest("POST", full, json=body))

    def fetch_spec(self, url: str) -> Reading[Json]:
        request = HttpRequest("GET", url, headers={"x-ms-version": "2023-11-03"})
        local = is_loopback(url)
        policies: list[Any] = [
            UserAgentPolicy(base_user_agent=_USER_AGENT),
            RetryPolicy(retry_total=1, retry_backoff_factor=0.2),
        ]
        if not local:
            policies.append(BearerTokenCredentialPolicy(self._credential, _STORAGE_SCOPE))
        client: PipelineClient[Any, Any] = PipelineClient(url, policies=policies)
        with client:
            return self._read(request, client, most=MAX_SPEC_BYTES)

    def refused(self) -> tuple[str, ...]:
        return tuple(self._refused)

    def identity(self) -> Caller | None:
        return identity(self._settings, self._credential)

    def _own_url(self, url: str) -> str | None:
        if url.startswith("/"):
            return self._base + quote(url, safe="/?&=$:',()%+-_.~")
        own, other = urlsplit(self._base), urlsplit(url)
        return url if (own.scheme, own.netloc.lower()) == (other.scheme, other.netloc.lower()) else None

    def _read(self, request: HttpRequest, client: Any = None, *, most: int = _MAX_BYTES) -> Reading[Json]:
        try:
            response: HttpResponse = (client or self._client).send_request(
                request, stream=True, connection_timeout=_READ_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S
            )
            with response:
                content = _limited(response, most)
        except ClientAuthenticationError as error:
            return Unknown(f"no token: {type(error).__name__}")
        except AzureError as error:
            return Unknown(f"no answer: {type(error).__name__}")
        if content is None:
            return Unknown(f"the answer is larger than {most} bytes")
        return self._reading(request, response, content)

    def _reading(self, request: HttpRequest, response: HttpResponse, content: bytes) -> Reading[Json]:
        status = response.status_code
        if status == 404:
            return Absent()
        if status in (401, 403):
            permission = _permission(request, content)
            self._refused[permission] = None
            return Unknown(f"{status}: our identity lacks {permission}")
        if status == 429:
            wait = retry_after(response.headers)
            return Unknown(f"429: throttled{f'; retry after {wait.total_seconds():g} s' if wait else ''}")
        if status != 200:
            return Unknown(f"answered {status}")
        try:
            return Found(codec.parse_json(content))
        except ValueError:
            return Unknown("the answer is no JSON")


class ArmWrites:
    """The port `Writes` over HTTP: every call at most once."""

    def __init__(self, settings: Settings, credential: TokenCredential) -> None:
        self._base = settings.arm_url
        self._timeout_s = settings.send_within.total_seconds() / 2
        self._client = _client(settings, credential, None)

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        url = f"{self._base}{quote(call.path, safe='/')}?api-version={call.api_version}"
        request = HttpRequest(call.method, url, headers={"x-ms-client-request-id": request_id}, json=body)
        try:
            response: HttpResponse = self._client.send_request(
                request, connection_timeout=self._timeout_s / 2, read_timeout=self._timeout_s
            )
        except AzureError:
            return Reply(status=None)
        headers = response.headers
        refused = response.status_code in (401, 403)
        return Reply(
            status=response.status_code,
            operation_url=headers.get("Azure-AsyncOperation") or headers.get("Location"),
            retry_after=retry_after(headers),
            service_request_id=headers.get("x-ms-request-id"),
            correlation_id=headers.get("x-ms-correlation-request-id"),
            permission=_permission(request, response.content) if refused else None,
            errors=parse_redacted(response.text()) if response.status_code >= 400 else (),
        )


class NoWrites:
    """The port `Writes` in a dry run: there is nothing behind it that could write.

    Attributes:
        refused: What was asked of it all the same.
    """

    def __init__(self) -> None:
        self.refused: list[Call] = []

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
    except ValueError:
        pass
    try:
        return max(timedelta(0), parsedate_to_datetime(text) - datetime.now(UTC))
    except (ValueError, TypeError):
        return None


def _client(
    settings: Settings, credential: TokenCredential, retry: RetryPolicy[Any, Any] | None
) -> PipelineClient[Any, Any]:
    """Give a pipeline without a redirect policy: what redirects is not followed, so no token leaves."""
    signed: SansIOHTTPPolicy[Any, Any] | ARMChallengeAuthenticationPolicy
    if settings.arm_is_loopback:
        token = credential.get_token(settings.arm_scope).token
        signed = HeadersPolicy({"Authorization": f"Bearer {token}"})
    else:
        signed = ARMChallengeAuthenticationPolicy(credential, settings.arm_scope)
    policies: list[Any] = [RequestIdPolicy(), UserAgentPolicy(base_user_agent=_USER_AGENT)]
    policies += [retry] if retry is not None else []  # without one, azure-core sends once
    return PipelineClient(settings.arm_url, policies=[*policies, signed])


def _limited(response: HttpResponse, most: int) -> bytes | None:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > most:
            return None
    return bytes(content)


def _permission(request: HttpRequest, content: bytes) -> str:
    """Give the operation that Azure refused, by its own words, else by the URL."""
    match = _DENIED.search(content.decode(errors="replace"))
    if match is not None:
        return match[1]
    parts = urlsplit(request.url).path.split("/providers/")[-1].split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    verb = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}[request.method]
    return f"{kind}/{verb}"
