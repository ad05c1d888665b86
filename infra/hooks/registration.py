"""The app registration in Entra ID that people and programs sign in to: found or made, and made right.

It has no secret: the app's managed identity signs for it, by a federated credential. What is there and right is left
alone, and what others added is kept. Followed pages:
https://learn.microsoft.com/graph/api/application-upsert (by ``uniqueName``: a run that broke off finds what it made),
https://learn.microsoft.com/graph/api/resources/application,
https://learn.microsoft.com/graph/api/federatedidentitycredential-upsert,
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity,
https://learn.microsoft.com/entra/identity-platform/howto-restrict-your-app-to-a-set-of-users (assignment, consent).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from az import Cli, CommandFailed, Problem, Refused, TookTooLong, private_file, say

ROLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[1] / "entra" / "app-roles.json").read_text(encoding="utf-8")
)
GRAPH = "00000003-0000-0000-c000-000000000000"
AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
SIGN_IN = "openid profile email"
CREDENTIAL = "endpoint-medic-identity"

# The ids that Graph gives to openid, profile and email.
_SIGN_IN_IDS = (
    "37f7f235-527c-4136-accd-4a02d197296e",
    "14dad69e-099b-42c9-810b-d002981feec1",
    "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0",
)
# For `medic --scope`: a person's token from the Azure CLI needs one delegated permission, whatever it is called.
_SCOPE = {
    "id": "1e64d006-86c5-4675-b228-c67f7df20e2f",
    "value": "user_impersonation",
    "type": "User",
    "isEnabled": True,
    "adminConsentDisplayName": "Use Endpoint Medic",
    "adminConsentDescription": "Lets a program use Endpoint Medic as whoever is signed in, with that person's roles.",
    "userConsentDisplayName": "Use Endpoint Medic",
    "userConsentDescription": "Lets a program use Endpoint Medic as you, with your roles.",
}
_AUDIENCES = {
    "AzureCloud": "api://AzureADTokenExchange",
    "AzureUSGovernment": "api://AzureADTokenExchangeUSGov",
    "AzureChinaCloud": "api://AzureADTokenExchangeChina",
}
# Entra ID answers so for a while about what was made a moment ago.
_NOT_YET = (
    "Request_ResourceNotFound",
    "NoBackingApplicationObject",
    "does not reference a valid application object",
    "cannot be found in the AppPermissions sets",
)
_ID = {"id": str}
_APPLICATION = {
    "appId": str,
    "signInAudience": (str, None),
    "identifierUris": ([str], None),
    "appRoles": ([{"id": str, "value": (str, None), "allowedMemberTypes": [str]}], None),
    "api": (
        {
            "oauth2PermissionScopes": ([{"id": str, "value": (str, None)}], None),
            "preAuthorizedApplications": ([{"appId": str, "delegatedPermissionIds": [str]}], None),
        },
        None,
    ),
    "web": ({"redirectUris": ([str], None), "implicitGrantSettings": (dict, None)}, None),
    "optionalClaims": ({"accessToken": ([dict], None)}, None),
}
_SELECT = "id,appId,displayName,uniqueName,signInAudience,identifierUris,appRoles,api,web,optionalClaims"


@dataclass(frozen=True)
class Cloud:
    """The cloud that `az` is signed in to.

    Attributes:
        graph: Where Microsoft Graph answers, without a slash at its end.
        login: Where Entra ID signs people in, without one too.
    """

    name: str
    graph: str
    login: str

    @property
    def audience(self) -> str:
        """What a token of a managed identity is made out to when it stands in for a secret."""
        return _AUDIENCES.get(self.name, _AUDIENCES["AzureCloud"])


class NotAllowed(Exception):
    """Entra ID lets whoever is signed in neither read nor change this."""


def cloud_of(cli: Cli, name: str) -> Cloud:
    """Give the endpoints of a cloud that `az` knows."""
    form = {"endpoints": {"microsoftGraphResourceId": str, "activeDirectory": str}}
    found = cli.az("cloud", "show", "--name", name, like=form)["endpoints"]
    return Cloud(name, found["microsoftGraphResourceId"].rstrip("/"), found["activeDirectory"].rstrip("/"))


def tenant_problems(cli: Cli, subscription: str, tenant: str) -> list[Problem]:
    """Tell if Graph would be asked about another tenant: `az rest` goes to that of the active subscription."""
    active: str = cli.az("account", "show", like={"tenantId": str})["tenantId"]
    if active.lower() == tenant.lower():
        return []
    what = f"the active subscription of `az` is of the tenant {active}, and the subscription {subscription} of {tenant}"
    return [Problem(what, f"az account set --subscription {subscription}     (the app would be registered there)")]


class Registration:
    """One app registration. Each method reads first and changes only what differs.

    Attributes:
        client_id: None before it is made.
        application: As Graph gave it; None before it is read or made.
    """

    def __init__(self, cli: Cli, cloud: Cloud, environment: str, subscription: str, client_id: str | None) -> None:
        self._cli = cli
        self._cloud = cloud
        self._environment = environment
        self._unique = f"endpoint-medic-{environment}-{subscription}"
        self.client_id = client_id or None
        self.application: dict[str, Any] | None = None

    @property
    def graph(self) -> str:
        """Where Microsoft Graph answers."""
        return self._cloud.graph

    def find(self) -> dict[str, Any] | None:
        """Read it, by its client id or by the name that we gave it; raises NotAllowed."""
        key = f"appId='{self.client_id}'" if self.client_id else f"uniqueName='{self._unique}'"
        self.application = self._get(f"applications({key})", {"$select": _SELECT}, _APPLICATION)
        if self.application is not None:
            self.client_id = self.application["appId"]
        return self.application

    def problems(self) -> list[Problem]:
        """Tell what is wrong with a registration that somebody named, before anything is done with it."""
        if self.application is None:
            if self.client_id is None:
                return []
            what = f"ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID names {self.client_id}, and this tenant has no such registration"
            return [Problem(what, "azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID ''     (then one is made)")]
        if self.application.get("signInAudience") != "AzureADMyOrg":
            what = f"the app registration {self.client_id} lets people of other tenants sign in"
            fix = (
                f"az ad app update --id {self.client_id} --sign-in-audience AzureADMyOrg     (if nothing else uses it)"
            )
            return [Problem(what, fix)]
        return []

    def ensure(self) -> None:
        """Make it, or make it right; raises Refused with who can, if whoever is signed in may not."""
        try:
            if self.application is None:
                self._create()
            self._change(self._differences_first(), "bring the app registration up to date")
            self._change(self._differences_then(), "let the Azure CLI ask for tokens of the app")
            self._ensure_principal()
        except NotAllowed as error:
            raise Refused(self._who_may(error)) from error

    def ensure_consent(self) -> Problem | None:
        """Consent, for everybody of the tenant, to being signed in; give what to do if an administrator has to.

        An app that only people with a role may use is one that nobody may consent to for themselves.
        """
        fix = (
            f'az ad app permission grant --id {self.client_id} --api {GRAPH} --scope "{SIGN_IN}"'
            "     (by a Cloud Application Administrator, say)"
        )
        problem = Problem("nobody can sign in before an administrator has consented to it", fix)
        try:
            principal = self.principal()
            graph = self._get(f"servicePrincipals(appId='{GRAPH}')", {"$select": "id"}, _ID)
            if principal is None or graph is None:
                return None if self._cli.is_dry_run else problem
            form = {"value": [{"scope": str, "consentType": str, "resourceId": str}]}
            path = f"servicePrincipals/{principal['id']}/oauth2PermissionGrants"
            grants = self._get(path, {}, form) or {"value": []}
            for grant in grants["value"]:
                held = set(grant["scope"].split())
                if grant["consentType"] == "AllPrincipals" and grant["resourceId"] == graph["id"]:
                    return None if set(SIGN_IN.split()) <= held else problem
            body = {
                "clientId": principal["id"],
                "consentType": "AllPrincipals",
                "resourceId": graph["id"],
                "scope": SIGN_IN,
            }
            self._send("post", "oauth2PermissionGrants", body, "consent to sign-in for the people of this tenant")
        except NotAllowed:
            return problem
        return None

    def ensure_redirect(self, app_url: str) -> None:
        """Let people come back to the app from the sign-in page; raises NotAllowed."""
        wanted = f"{app_url.rstrip('/')}/.auth/login/aad/callback"
        uris = ((self.application or {}).get("web") or {}).get("redirectUris") or []
        if wanted not in uris:
            self._change({"web": {"redirectUris": [*uris, wanted]}}, f"let people come back to {wanted}")

    def ensure_credential(self, tenant: str, principal_id: str) -> None:
        """Let the app's identity sign for the registration, in place of a secret; raises NotAllowed."""
        path = f"applications(appId='{self.client_id}')/federatedIdentityCredentials"
        wanted = {
            "issuer": f"{self._cloud.login}/{tenant}/v2.0",
            "subject": principal_id,
            "audiences": [self._cloud.audience],
        }
        found = self._get(path, {}, {"value": [dict]}) or {"value": []}
        if any(all(one.get(name) == value for name, value in wanted.items()) for one in found["value"]):
            return
        words = "let the app's identity sign for the registration"
        self._send("patch", f"{path}(name='{CREDENTIAL}')", wanted, words, upsert=True)

    def principal(self) -> dict[str, Any] | None:
        """Read its service principal; raises NotAllowed."""
        path = f"servicePrincipals(appId='{self.client_id}')"
        return self._get(path, {"$select": "id,appRoleAssignmentRequired"}, _ID)

    def role_ids(self) -> dict[str, str]:
        """Give the id of each of our roles: an older registration may have one of its own."""
        held = {role.get("value"): role["id"] for role in (self.application or {}).get("appRoles") or []}
        return {role["value"]: held.get(role["value"], role["id"]) for role in ROLES}

    def _create(self) -> None:
        body = {"displayName": f"Endpoint Medic ({self._environment})", "signInAudience": "AzureADMyOrg"}
        body.update(self._differences_first())
        path, form = f"applications(uniqueName='{self._unique}')", ({"appId": str}, None)
        made = self._send("patch", path, body, "register the app", upsert=True, like=form)
        if self._cli.is_dry_run:
            return
        self.client_id = made["appId"] if made else None  # 204: somebody made it meanwhile
        self._cli.wait("the app registration", self.find, most_s=180)

    def _differences_first(self) -> dict[str, Any]:
        """Give what the application lacks, but for what refers to it or to its permissions."""
        app = self.application or {}
        api, web, claims = app.get("api") or {}, app.get("web") or {}, app.get("optionalClaims") or {}
        differences: dict[str, Any] = {}
        roles = _merged(app.get("appRoles") or [], ROLES, ("allowedMemberTypes",))
        if roles is not None:
            differences["appRoles"] = roles
        scopes = _merged(api.get("oauth2PermissionScopes") or [], [_SCOPE], ())
        if scopes is not None:
            differences.setdefault("api", {})["oauth2PermissionScopes"] = scopes
        if api.get("requestedAccessTokenVersion") != 2:
            differences.setdefault("api", {})["requestedAccessTokenVersion"] = 2
        if not (web.get("implicitGrantSettings") or {}).get("enableIdTokenIssuance"):
            differences["web"] = {"implicitGrantSettings": {"enableIdTokenIssuance": True}}
        # An application's own token says that it is one: applications decide nothing.
        access = claims.get("accessToken") or []
        if not any(claim.get("name") == "idtyp" for claim in access):
            idtyp = {"name": "idtyp", "essential": False, "additionalProperties": []}
            differences["optionalClaims"] = {**claims, "accessToken": [*access, idtyp]}
        if self.application is None:
            access_to_graph = [{"id": id_, "type": "Scope"} for id_ in _SIGN_IN_IDS]
            differences["requiredResourceAccess"] = [{"resourceAppId": GRAPH, "resourceAccess": access_to_graph}]
        return differences

    def _differences_then(self) -> dict[str, Any]:
        """Give what it lacks of that: Graph refuses both in one request."""
        app = self.application or {}
        differences: dict[str, Any] = {}
        uri = f"api://{self.client_id}"
        uris = app.get("identifierUris") or []
        if uri not in uris:
            differences["identifierUris"] = [*uris, uri]
        api = app.get("api") or {}
        scope = next(
            (s["id"] for s in api.get("oauth2PermissionScopes") or [] if s.get("value") == _SCOPE["value"]), None
        )
        clients = api.get("preAuthorizedApplications") or []
        ours = next((client for client in clients if client["appId"] == AZURE_CLI), None)
        held = (ours or {}).get("delegatedPermissionIds", [])
        if scope is not None and scope not in held:
            kept = [client for client in clients if client is not ours]
            now = {"appId": AZURE_CLI, "delegatedPermissionIds": [*held, scope]}
            differences["api"] = {"preAuthorizedApplications": [*kept, now]}
        return differences

    def _change(self, differences: Mapping[str, Any], words: str) -> None:
        """Send what differs."""
        if not differences or self.application is None:
            return
        self._send("patch", f"applications(appId='{self.client_id}')", differences, words)
        for name, value in differences.items():  # Graph may go on giving the old one for a while
            held = self.application.get(name)
            self.application[name] = {**(held or {}), **value} if isinstance(value, dict) else value

    def _ensure_principal(self) -> None:
        found = self.principal() if self.client_id else None
        words = "let only people and programs with a role of it sign in"
        if found is None:
            body = {"appId": self.client_id, "appRoleAssignmentRequired": True}
            self._send("post", "servicePrincipals", body, words)
            if not self._cli.is_dry_run:
                self._cli.wait("its service principal", self.principal, most_s=180)
        elif not found.get("appRoleAssignmentRequired"):
            self._send("patch", f"servicePrincipals/{found['id']}", {"appRoleAssignmentRequired": True}, words)

    def _who_may(self, error: NotAllowed) -> Problem:
        if self.client_id is None:
            fix = (
                "Ask somebody with the role Application Developer (or more) in Entra ID to run\n"
                "     az ad app create --display-name 'Endpoint Medic' --sign-in-audience AzureADMyOrg\n"
                "     az ad app owner add --id <its client id> --owner-object-id <your object id>\n"
                "   then: azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID <its client id>     (and again: azd up)"
            )
            return Problem(f"you may not register an app in this tenant: {error}", fix)
        fix = f"Ask one of its owners: az ad app owner add --id {self.client_id} --owner-object-id <your object id>"
        return Problem(f"you may not change the app registration {self.client_id}: {error}", fix)

    def _get(self, path: str, parameters: Mapping[str, str], like: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read from Graph; None: there is no such thing. Raises NotAllowed."""
        asked = [f"{name}={value}" for name, value in parameters.items()]
        extra = ("--uri-parameters", *asked) if asked else ()
        url = f"{self._cloud.graph}/v1.0/{path}"
        try:
            found: dict[str, Any] = self._cli.az("rest", "--method", "get", "--url", url, *extra, like=like)
        except CommandFailed as error:
            if "Request_ResourceNotFound" in error.words:
                return None
            raise _forbidden(error) or error from error
        return found

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        words: str,
        *,
        upsert: bool = False,
        like: Any = object,
    ) -> Any:
        """Change something in Graph, again and again while Entra ID does not know yet what was made just before."""
        headers = ("--headers", "Prefer=create-if-missing") if upsert else ()
        url = f"{self._cloud.graph}/v1.0/{path}"
        failed: CommandFailed | None = None

        def attempt(file: str) -> tuple[Any] | None:
            nonlocal failed
            call = ("rest", "--method", method, "--url", url, *headers, "--body", f"@{file}")
            try:
                return (self._cli.change(words, *call, like=like),)
            except CommandFailed as error:
                failed = error
                if any(sign in error.words for sign in _NOT_YET):
                    return None
                raise _forbidden(error) or error from error

        with private_file(json.dumps(body)) as file:
            if self._cli.is_dry_run:
                attempt(file)
                say(f"  with {json.dumps(body)}")
                return None
            try:
                return self._cli.wait("Entra ID to know what was made", lambda: attempt(file), most_s=180)[0]
            except TookTooLong as error:
                raise failed or error from error


def _forbidden(error: CommandFailed) -> NotAllowed | None:
    if "Authorization_RequestDenied" in error.words or "Insufficient privileges" in error.words:
        return NotAllowed("Entra ID answered that the privileges do not suffice")
    return None


def _merged(
    held: list[dict[str, Any]], wanted: list[dict[str, Any]], fields: tuple[str, ...]
) -> list[dict[str, Any]] | None:
    """Give all that is held with what is wanted, by value, where something is missing; None if nothing is.

    What is held keeps its id: assignments name it.
    """
    by_value = {one["value"]: one for one in wanted}
    now = [_grown(one, by_value.pop(one.get("value"), None), fields) for one in held]
    now += by_value.values()
    return None if now == held else now


def _grown(held: dict[str, Any], wanted: dict[str, Any] | None, fields: tuple[str, ...]) -> dict[str, Any]:
    if wanted is None:
        return held
    grown = {name: [*held[name], *(each for each in wanted[name] if each not in held[name])] for name in fields}
    return {**held, "isEnabled": True, **grown}
