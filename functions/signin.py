"""Who calls an HTTP route: the signed-in principal of App Service authentication, or this machine off Azure.

The headers are trusted only while ``WEBSITE_AUTH_ENABLED`` says that the platform strips and sets them.
https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import os
from collections import defaultdict

import azure.functions as func

from remediations import codec
from remediations.model import Json, Person
from remediations.policy import Policy
from remediations.settings import Settings, is_loopback

READER, APPROVER, SUBMIT = "Medic.Reader", "Medic.Approver", "Medic.Submit"
THIS_MACHINE = "this machine"

_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_ENTRA = "http://schemas.microsoft.com/identity/claims/"
_CLAIMS = {  # as tokens name them, and as the platform writes some of them
    f"{_ENTRA}objectidentifier": "oid",
    f"{_ENTRA}tenantid": "tid",
    f"{_SOAP}nameidentifier": "sub",
    f"{_SOAP}name": "name",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "roles",
}


def may(request: func.HttpRequest, role: str, *, is_azure: bool) -> bool:
    """Tell whether the caller holds an app role; off Azure, whether the call came over loopback."""
    if not is_azure:
        return is_loopback(request.url)
    return role in _claims(request).get("roles", ())


def person(request: func.HttpRequest, settings: Settings) -> Person | None:
    """Give who is signed in; None if nobody is.

    Off Azure, ``MEDIC_DEV_SIGN_IN`` takes whoever uses this machine as signed in, with every role.
    """
    claims = _claims(request)
    oid, tid = (next(iter(claims.get(name, ())), "") for name in ("oid", "tid"))
    if oid and tid:
        names = claims.get("name") or claims.get("preferred_username") or [""]
        return Person(
            oid=oid,
            tid=tid,
            name=names[0],
            roles=tuple(claims.get("roles", ())),
            groups=tuple(claims.get("groups", ())),
            # An application's own token says so, or has its object id for its subject, which no person's has.
            is_app="app" in claims.get("idtyp", ()) or oid in claims.get("sub", ()),
        )
    if settings.dev_sign_in is not None and not settings.is_azure and is_loopback(request.url):
        roles = (READER, APPROVER, SUBMIT)
        return Person(oid=settings.dev_sign_in, tid=THIS_MACHINE, name=THIS_MACHINE, roles=roles)
    return None


def may_read(person: Person, policy: Policy) -> bool:
    """Tell whether somebody may see incidents: by role, or because policy lists them as an approver somewhere."""
    return not {READER, APPROVER}.isdisjoint(person.roles) or any(one.include(person) for one in policy.all_approvers())


def _claims(request: func.HttpRequest) -> dict[str, list[str]]:
    """Give the claims that the platform vouches for, by their short names; none unless it does."""
    if os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        return {}
    try:
        principal = codec.parse_json(base64.b64decode(request.headers.get("X-MS-CLIENT-PRINCIPAL", ""), validate=True))
    except ValueError:
        return {}
    if not isinstance(principal, dict) or principal.get("auth_typ") != "aad":
        return {}
    listed: Json = principal.get("claims")
    found: defaultdict[str, list[str]] = defaultdict(list)
    for claim in listed if isinstance(listed, list) else ():
        if isinstance(claim, dict) and isinstance(typ := claim.get("typ"), str) and isinstance(claim.get("val"), str):
            found[_CLAIMS.get(typ, typ)].append(str(claim["val"]))
    return dict(found)
