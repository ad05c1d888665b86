"""Who calls an HTTP route: the signed-in principal of App Service authentication, or this machine off Azure.

The headers are trusted only while ``WEBSITE_AUTH_ENABLED`` says that the platform strips and sets them.
https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import os

import azure.functions as func

from remediations import codec
from remediations.model import Json
from remediations.settings import is_loopback

_ROLE_CLAIMS = frozenset({"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})


def may(request: func.HttpRequest, role: str, *, is_azure: bool) -> bool:
    """Tell whether the caller holds an app role; off Azure, whether the call came over loopback."""
    if not is_azure:
        return is_loopback(request.url)
    if os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        return False
    return role in _roles(request.headers.get("X-MS-CLIENT-PRINCIPAL", ""))


def _roles(header: str) -> set[str]:
    try:
        principal = codec.parse_json(base64.b64decode(header, validate=True))
    except ValueError:
        return set()
    claims: Json = principal.get("claims") if isinstance(principal, dict) else None
    pairs = [claim for claim in claims if isinstance(claim, dict)] if isinstance(claims, list) else []
    return {str(claim.get("val")) for claim in pairs if str(claim.get("typ")) in _ROLE_CLAIMS}
