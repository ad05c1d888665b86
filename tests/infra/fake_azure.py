"""What an `az` and an `azd` answer that have an Azure of their own: what the hooks use of them, and nothing else.

Commands and options are those that Azure CLI 2.91.0 told of itself (az_commands.json; ! marks a required one), answers
and rules those of the pages that the hooks name. What is not known is a failure, as with the real ones.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMANDS: dict[str, list[str]] = json.loads((Path(__file__).parent / "az_commands.json").read_text())
GLOBAL = {"--output", "-o", "--query", "--only-show-errors"}
GRAPH = "https://graph.microsoft.com/v1.0/"
WRITES = {
    "deployment group create",
    "eventgrid system-topic update",
    "keyvault secret set",
    "provider register",
}


class Failed(Exception):
    """What the program says on stderr before it ends."""

    def __init__(self, words: str, code: int = 1) -> None:
        self.words = words
        self.code = code
        super().__init__(words)


def http(status: str, code: str, message: str) -> Failed:
    """Give a failure as `az rest` words it."""
    return Failed(f"ERROR: {status}({json.dumps({'error': {'code': code, 'message': message}})})")


def parsed(command: str, rest: list[str]) -> dict[str, list[str]]:
    """Give the values of each option by its longest name, as the real parser would."""
    names: dict[str, str] = {}
    required = set()
    for group in COMMANDS[command]:
        aliases = group.lstrip("!").split()
        longest = next(alias for alias in aliases if alias.startswith("--"))
        names.update(dict.fromkeys(aliases, longest))
        if group.startswith("!"):
            required.add(longest)
    names.update({name: name for name in GLOBAL})
    found: dict[str, list[str]] = {}
    current = None
    for token in rest:
        if token.startswith("--") or re.fullmatch(r"-[a-z]", token):
            if token not in names:
                raise Failed(f"ERROR: unrecognized arguments: {token}", 2)
            current = names[token]
            found[current] = []
        elif current is None:
            raise Failed(f"ERROR: unrecognized arguments: {token}", 2)
        else:
            found[current].append(token)
    missing = sorted(required - set(found))
    if missing:
        raise Failed(f"ERROR: the following arguments are required: {', '.join(missing)}", 2)
    return found


class Az:
    def __init__(self, world: dict[str, Any]) -> None:
        self.world = world

    def run(self, arguments: list[str]) -> Any:
        count = next(
            (n for n in range(len(arguments), 0, -1) if " ".join(arguments[:n]) in COMMANDS),
            None,
        )
        if count is None:
            raise Failed(f"ERROR: '{' '.join(arguments[:2])}' is misspelled or not recognized by the system.", 2)
        command = " ".join(arguments[:count])
        options = parsed(command, arguments[count:])
        one = {name: values[0] if values else "" for name, values in options.items()}
        self.world["calls"].append(["az", *arguments])
        for fault in self.world["faults"]:
            if fault["times"] > 0 and fault["at"] in " ".join(arguments):
                fault["times"] -= 1
                raise Failed(f"ERROR: {fault['words']}")
        if command in WRITES:
            self.world["writes"].append(command)
        if not self.world["signed_in"]:
            raise Failed("ERROR: Please run 'az login' to setup account.")
        answer = getattr(self, command.replace(" ", "_").replace("-", "_"))(one)
        if one.get("--query") == "[].id":
            answer = [each["id"] for each in answer]
        return None if one.get("--output") == "none" else answer

    # ------------------------------------------------------------------------------------------------ accounts

    def account_show(self, one: dict[str, str]) -> Any:
        name = one.get("--name", self.world["active"])
        found = self.world["subscriptions"].get(name)
        if found is None:
            raise Failed(f"ERROR: Subscription '{name}' not found. Check the spelling and casing and try again.")
        return {
            "id": name,
            "state": found["state"],
            "tenantId": found.get("tenant", self.world["tenant"]),
            "environmentName": self.world["cloud"],
            "user": {"name": "whoever", "type": self.world["user_type"]},
        }

    def ad_signed_in_user_show(self, one: dict[str, str]) -> Any:
        if self.world["user_type"] != "user":
            raise Failed("ERROR: /me request is only valid with delegated authentication flow.")
        return {"id": self.world["principal"]}

    def ad_sp_show(self, one: dict[str, str]) -> Any:
        if self._graph()["allowed"] == "nothing":
            raise Failed("ERROR: Insufficient privileges to complete the operation.")
        assert one["--id"] == "whoever"
        return {"id": self.world["principal"]}

    def bicep_version(self, one: dict[str, str]) -> Any:
        if not self.world["has_bicep"]:
            raise Failed('ERROR: Bicep CLI not found. Install it now by running "az bicep install".')
        return "Bicep CLI version 0.40.2"

    def cloud_show(self, one: dict[str, str]) -> Any:
        endpoints = {
            "AzureCloud": ("https://graph.microsoft.com/", "https://login.microsoftonline.com"),
            "AzureUSGovernment": ("https://graph.microsoft.us/", "https://login.microsoftonline.us"),
        }[one["--name"]]
        named = {"microsoftGraphResourceId": endpoints[0], "activeDirectory": endpoints[1]}
        return {"name": one["--name"], "endpoints": named}

    def provider_list(self, one: dict[str, str]) -> Any:
        assert one["--query"] == "[].{namespace:namespace,state:registrationState}"
        states = self.world["subscriptions"][one["--subscription"]]["providers"]
        return [{"namespace": name, "state": state} for name, state in states.items()]

    def provider_register(self, one: dict[str, str]) -> Any:
        self.world["subscriptions"][one["--subscription"]]["providers"][one["--namespace"]] = "Registered"

    def functionapp_list_flexconsumption_locations(self, one: dict[str, str]) -> Any:
        return [{"name": name} for name in self.world["regions"]]

    def functionapp_list_flexconsumption_runtimes(self, one: dict[str, str]) -> Any:
        versions = self.world["regions"][one["--location"]]
        return [{"name": one["--runtime"], "version": version} for version in versions]

    # --------------------------------------------------------------------------------------- topics and functions

    def _registered(self, namespace: str, subscription: str) -> None:
        """Fail as Azure does where a namespace is not registered."""
        if self.world["subscriptions"][subscription]["providers"].get(namespace) != "Registered":
            raise Failed(f"ERROR: (MissingSubscriptionRegistration) not registered to use namespace '{namespace}'")

    def eventgrid_system_topic_list(self, one: dict[str, str]) -> Any:
        self._registered("Microsoft.EventGrid", one["--subscription"])
        return self.world["subscriptions"][one["--subscription"]]["topics"]

    def functionapp_function_list(self, one: dict[str, str]) -> Any:
        site = self.world["site"]
        if site["polls_before"] > 0:
            site["polls_before"] -= 1
            return []
        return [{"name": f"{one['--name']}/{name}"} for name in site["functions"]]

    def deployment_group_create(self, one: dict[str, str]) -> Any:
        template = Path(one["--template-file"])
        given = json.loads(Path(one["--parameters"].removeprefix("@")).read_text())
        declared = re.findall(r"^param (\w+) \w+( =)?", template.read_text(), re.MULTILINE)
        required = {name for name, default in declared if not default}
        if not required <= set(given) <= {name for name, _ in declared}:
            raise Failed(f"ERROR: InvalidTemplate - parameters {sorted(given)} of {sorted(required)}")
        where = f"{one['--subscription']}/{one['--resource-group']}/{given['topicName']['value']}"
        self.world["event_subscriptions"][f"{where}/{template.stem}"] = {k: v["value"] for k, v in given.items()}

    # -------------------------------------------------------------------------------------------------- the vault

    def keyvault_list_deleted(self, one: dict[str, str]) -> Any:
        self._registered("Microsoft.KeyVault", one["--subscription"])
        return self.world["deleted_vaults"]

    def keyvault_list(self, one: dict[str, str]) -> Any:
        group = f"/subscriptions/{one['--subscription']}/resourceGroups/rg-medic-dev"
        ours = [
            {"id": f"{group}/providers/Microsoft.KeyVault/vaults/{name}", "name": name, "tags": {"azd-env-name": "dev"}}
            for name in self.world["vaults"]
        ]
        return [*ours, *self.world["vaults_of_others"]]

    def _vault(self, one: dict[str, str]) -> dict[str, Any]:
        vault: dict[str, Any] = self.world["vaults"][one["--vault-name"]]
        if vault["denied"] > 0:
            vault["denied"] -= 1
            raise Failed('ERROR: (Forbidden) Caller is not authorized.\nInner error: {\n "code": "ForbiddenByRbac"\n}')
        return vault

    def keyvault_secret_list(self, one: dict[str, str]) -> Any:
        base = f"https://{one['--vault-name']}.vault.azure.net/secrets/"
        return [{"id": base + name} for name in self._vault(one)["secrets"]]

    def keyvault_secret_list_deleted(self, one: dict[str, str]) -> Any:
        base = f"https://{one['--vault-name']}.vault.azure.net/secrets/"
        return [{"id": base + name} for name in self._vault(one)["deleted"]]

    def keyvault_secret_set(self, one: dict[str, str]) -> Any:
        vault = self._vault(one)
        if one["--name"] in vault["deleted"]:
            raise Failed("ERROR: (Conflict) Secret is currently in a deleted but recoverable state")
        file = Path(one["--file"])
        self.world["files"].append([one["--file"], oct(file.stat().st_mode & 0o777)])
        vault["secrets"][one["--name"]] = file.read_text()
        return {"value": file.read_text()}

    # ------------------------------------------------------------------------------------------------------- REST

    def rest(self, one: dict[str, str]) -> Any:
        method, url = one["--method"], one["--uri"]
        body = json.loads(Path(one["--body"].removeprefix("@")).read_text()) if "--body" in one else None
        if method != "get":
            self.world["writes"].append(f"{method} {url.removeprefix(GRAPH)}")
        if url.startswith("/"):
            return self._manager(method, url.split("?")[0])
        graph = {"AzureCloud": GRAPH, "AzureUSGovernment": "https://graph.microsoft.us/v1.0/"}[self.world["cloud"]]
        if not url.startswith(graph):
            raise Failed(f"ERROR: no such host: {url}")
        return Graph(self._graph()).call(method, url.removeprefix(graph), body, one.get("--headers", ""))

    def _graph(self) -> dict[str, Any]:
        """Give the directory of the tenant that the active subscription is of."""
        active = self.world["subscriptions"].get(self.world["active"], {})
        found: dict[str, Any] = self.world["graph" if "tenant" not in active else "graph_of_another_tenant"]
        return found

    def _manager(self, method: str, path: str) -> Any:
        site = self.world["site"]
        if path.endswith("/config/configreferences/appsettings/refresh") and method == "post":
            site["refreshed"] = True
            return {}
        if method != "get":
            raise Failed(f"ERROR: nobody does {method} {path}")
        if path.endswith("/config/configreferences/appsettings"):
            return {"value": [self._reference(name, secret) for name, secret in site["references"].items()]}
        if path.endswith("/providers/Microsoft.Authorization/permissions"):
            return {"value": self.world["subscriptions"][path.split("/")[2]]["permissions"]}
        parts = path.split("/")
        if len(parts) == 3 and parts[2] in self.world["subscriptions"]:
            return {"id": path}
        found = self.world["resources"].get(path.lower())
        if found is None:
            kind = "ResourceNotFound" if "/providers/" in path else "ResourceGroupNotFound"
            raise http("Not Found", kind, f"{path} was not found")
        return found

    def _reference(self, name: str, secret: str) -> Any:
        site = self.world["site"]
        secrets = next(iter(self.world["vaults"].values()))["secrets"]
        resolved = site["refreshed"] and secret in secrets and not site["never_resolves"]
        return {
            "name": name,
            "properties": {"secretName": secret, "status": "Resolved" if resolved else "SecretNotFound"},
        }


class Graph:
    """Applications, service principals and consent, with the rules that a hook could run into."""

    def __init__(self, graph: dict[str, Any]) -> None:
        self.graph = graph

    def call(self, method: str, path: str, body: Any, headers: str) -> Any:
        allowed = self.graph["allowed"]
        if allowed == "nothing" or (allowed == "reading" and method != "get"):
            raise http("Forbidden", "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("get", r"applications\((uniqueName|appId)='([^']+)'\)", self._show),
            ("patch", r"applications\(uniqueName='([^']+)'\)", self._upsert),
            ("patch", r"applications\(appId='([^']+)'\)", self._change),
            ("get", r"applications\(appId='([^']+)'\)/federatedIdentityCredentials", self._credentials),
            (
                "patch",
                r"applications\(appId='([^']+)'\)/federatedIdentityCredentials\(name='([^']+)'\)",
                self._upsert_credential,
            ),
            ("get", r"servicePrincipals\(appId='([^']+)'\)", self._principal),
            ("post", r"servicePrincipals", self._make_principal),
            ("patch", r"servicePrincipals/([^/]+)", self._change_principal),
            ("get", r"servicePrincipals/([^/]+)/oauth2PermissionGrants", self._grants),
            ("post", r"oauth2PermissionGrants", self._grant),
        ]
        for verb, pattern, handler in routes:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return handler(*found.groups(), *(() if body is None else (body, headers)))
        raise http("Bad Request", "Request_BadRequest", f"no such path: {method} {path}")

    def _application(self, key: str, value: str) -> dict[str, Any]:
        for application in self.graph["applications"]:
            if application.get(key) == value:
                found: dict[str, Any] = application
                return found
        raise http("Not Found", "Request_ResourceNotFound", f"Resource '{value}' does not exist")

    def _settled(self) -> None:
        """Fail for a while after something was made."""
        if self.graph["lag"] > 0:
            self.graph["lag"] -= 1
            raise http("Not Found", "Request_ResourceNotFound", "queried reference-property objects are not present")

    def _show(self, key: str, value: str) -> Any:
        return self._application(key, value)

    def _upsert(self, unique: str, body: Any, headers: str) -> Any:
        if any(one.get("uniqueName") == unique for one in self.graph["applications"]):
            return self._change(self._application("uniqueName", unique)["appId"], body, headers)
        if headers != "Prefer=create-if-missing":
            raise http("Not Found", "Request_ResourceNotFound", unique)
        number = len(self.graph["applications"]) + 1
        made = {"id": f"object-{number}", "appId": f"00000000-0000-4000-8000-0000000000a{number}", "uniqueName": unique}
        empty: dict[str, Any] = {
            "identifierUris": [],
            "appRoles": [],
            "api": {},
            "web": {"redirectUris": []},
            "optionalClaims": None,
        }
        self.graph["applications"].append({**empty, **made})
        self.graph["lag"] = self.graph["lag_after_making"]
        self._apply(self.graph["applications"][-1], body)
        return self.graph["applications"][-1]

    def _change(self, app_id: str, body: Any, headers: str) -> Any:
        application = self._application("appId", app_id)
        self._settled()
        self._apply(application, body)

    def _apply(self, application: dict[str, Any], body: dict[str, Any]) -> None:
        scopes = {scope["id"] for scope in application["api"].get("oauth2PermissionScopes", [])}
        for client in body.get("api", {}).get("preAuthorizedApplications", []):
            if not set(client["delegatedPermissionIds"]) <= scopes:
                raise http(
                    "Bad Request", "InvalidValue", "a Permission Id that cannot be found in the AppPermissions sets"
                )
        if not {r["id"] for r in application["appRoles"]} <= {
            r["id"] for r in body.get("appRoles", application["appRoles"])
        }:
            raise http("Bad Request", "CannotDeleteOrUpdateEnabledEntitlement", "disable it first")
        for name, value in body.items():
            held = application.get(name)
            application[name] = {**(held or {}), **value} if name in ("api", "web") else value

    def _credentials(self, app_id: str) -> Any:
        return {"value": self._application("appId", app_id).get("credentials", [])}

    def _upsert_credential(self, app_id: str, name: str, body: Any, headers: str) -> Any:
        application = self._application("appId", app_id)
        kept = [one for one in application.get("credentials", []) if one["name"] != name]
        application["credentials"] = [*kept, {"name": name, **body}]

    def _principal(self, app_id: str) -> Any:
        for principal in self.graph["principals"]:
            if principal["appId"] == app_id:
                return principal
        raise http("Not Found", "Request_ResourceNotFound", f"Resource '{app_id}' does not exist")

    def _make_principal(self, body: Any, headers: str) -> Any:
        self._settled()
        self._application("appId", body["appId"])
        self.graph["principals"].append({"id": f"principal-{len(self.graph['principals']) + 1}", **body})
        return self.graph["principals"][-1]

    def _change_principal(self, id_: str, body: Any, headers: str) -> Any:
        next(one for one in self.graph["principals"] if one["id"] == id_).update(body)

    def _grants(self, id_: str) -> Any:
        return {"value": [one for one in self.graph["grants"] if one["clientId"] == id_]}

    def _grant(self, body: Any, headers: str) -> Any:
        if not self.graph["consents"]:
            raise http("Forbidden", "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        self.graph["grants"].append(body)
        return body


def azd(world: dict[str, Any], arguments: list[str]) -> Any:
    """What the hooks use of azd."""
    world["calls"].append(["azd", *arguments])
    if arguments == ["auth", "login", "--check-status", "--output", "json"]:
        if world["azd_fails_when_signed_out"] and not world["azd_signed_in"]:
            raise Failed("ERROR: not logged in, run `azd auth login` to login")
        return {"status": "success" if world["azd_signed_in"] else "unauthenticated"}
    if arguments == ["env", "get-values", "--output", "json"]:
        return world["env"]
    if arguments[:2] == ["env", "set"] and len(arguments) == 6 and arguments[4] == "--environment":
        for fault in world["faults"]:
            if fault["times"] > 0 and fault["at"] in " ".join(arguments):
                fault["times"] -= 1
                raise Failed(f"ERROR: {fault['words']}")
        world["env"][arguments[2]] = arguments[3]
        world["writes"].append(f"env set {arguments[2]}")
        return None
    raise Failed(f'ERROR: unknown command "{" ".join(arguments)}"')


def answer(world: dict[str, Any], program: str, arguments: list[str]) -> tuple[int, str, str]:
    """Give exit code, stdout and stderr of one call."""
    try:
        given = Az(world).run(arguments) if program == "az" else azd(world, arguments)
    except Failed as error:
        return error.code, "", error.words
    return 0, "" if given is None else json.dumps(given), ""
