"""The data plane of Azure Container Registry: is an image there?

Our token for Azure Resource Manager is exchanged for one of the registry's, and that for one that reads the one
repository. It is sent to registries of Azure alone, or, by a simulator's client, to this machine alone.
https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

import re
from typing import Any
from urllib.parse import urlsplit

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from azure.core.pipeline.policies import UserAgentPolicy
from azure.core.rest import HttpRequest, HttpResponse

from remediations import codec
from remediations.adapters.arm import USER_AGENT, limited
from remediations.adapters.wire import wire
from remediations.model import Absent, Found, Reading, Unknown
from remediations.settings import Settings

_AZURE = re.compile(r"[a-z0-9][a-z0-9.-]*\.azurecr\.(?P<cloud>io|cn|us)", re.IGNORECASE)
_CLOUDS = {"management.chinacloudapi.cn": "cn", "management.usgovcloudapi.net": "us"}  # all others: public
_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 256
_KINDS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)
_TIMEOUT_S = 10
_MAX_BYTES = 64 * 1024


def manifest(
    settings: Settings, credential: TokenCredential, login_server: str, repository: str, reference: str
) -> Reading[str]:
    """Give the digest of an image; absent only if the registry itself says that there is no such tag."""
    if not _is_of_our_cloud(settings, login_server):
        return Unknown(f"{login_server[:100]!r} is no registry that may be sent our token")
    is_named = _REPOSITORY.fullmatch(repository) and len(repository) <= _LONGEST_REPOSITORY
    if not is_named or not _REFERENCE.fullmatch(reference):
        return Unknown(f"{repository[:100]!r} and {reference[:100]!r} name no image")
    host = f"{'http' if settings.arm_is_loopback else 'https'}://{login_server}"
    try:
        token = credential.get_token(settings.arm_scope).token
    except AzureError as error:
        return Unknown(f"no token: {type(error).__name__}")
    client: PipelineClient[Any, Any] = PipelineClient(
        host, policies=[UserAgentPolicy(base_user_agent=USER_AGENT)], transport=wire(host)
    )
    with client:
        return _read(client, host, token, repository, reference)


def _is_of_our_cloud(settings: Settings, login_server: str) -> bool:
    """Tell whether a registry lies in the cloud whose token we have: no other gets it."""
    if settings.arm_is_loopback:
        return _HERE.fullmatch(login_server) is not None
    named = _AZURE.fullmatch(login_server)
    cloud = _CLOUDS.get(urlsplit(settings.arm_url).netloc.lower(), "io")
    return named is not None and named["cloud"].lower() == cloud


def _read(client: PipelineClient[Any, Any], host: str, token: str, repository: str, reference: str) -> Reading[str]:
    service = host.partition("://")[2]
    fields = {"grant_type": "access_token", "service": service, "access_token": token}
    refresh = _token(client, f"{host}/oauth2/exchange", fields, "refresh_token")
    if isinstance(refresh, Unknown):
        return refresh
    scope = f"repository:{repository}:pull"
    fields = {"grant_type": "refresh_token", "service": service, "scope": scope, "refresh_token": refresh}
    access = _token(client, f"{host}/oauth2/token", fields, "access_token")
    if isinstance(access, Unknown):
        return access
    headers = {"Authorization": f"Bearer {access}", "Accept": _KINDS}
    answer = _send(client, HttpRequest("HEAD", f"{host}/v2/{repository}/manifests/{reference}", headers=headers))
    if isinstance(answer, Unknown):
        return answer
    status, digest = answer[0].status_code, answer[0].headers.get("Docker-Content-Digest")
    if status == 404:
        return Absent()
    if status != 200:
        return Unknown(f"the registry answered {status}")
    return Found(digest) if digest else Unknown("the registry shows no digest")


def _token(client: PipelineClient[Any, Any], url: str, fields: dict[str, str], name: str) -> str | Unknown:
    answer = _send(client, HttpRequest("POST", url, data=fields))
    if isinstance(answer, Unknown):
        return answer
    response, content = answer
    if response.status_code != 200:
        return Unknown(f"the registry refused us a token: it answered {response.status_code}")
    try:
        token = codec.text(codec.mapping(codec.parse_json(content)).get(name))
    except ValueError:
        token = ""
    return (
        token
        if token.isascii() and token.isprintable() and token
        else Unknown("the registry gave none that is a token")
    )


def _send(client: PipelineClient[Any, Any], request: HttpRequest) -> tuple[HttpResponse, bytes] | Unknown:
    try:
        response: HttpResponse = client.send_request(
            request, stream=True, connection_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S
        )
        with response:
            content = limited(response, _MAX_BYTES)
    except ClientAuthenticationError as error:
        return Unknown(f"no token: {type(error).__name__}")
    except ServiceRequestError as error:  # a private registry, say: asking again would not help
        return Unknown(f"the registry cannot be reached from here: {type(error).__name__}")
    except AzureError as error:
        return Unknown(f"no answer of the registry: {type(error).__name__}")
    return (response, content) if content is not None else Unknown("the registry's answer is too large")
