"""What the language brings along: functions with their argument counts, decorators with where they may stand.

Source: learn.microsoft.com/azure/azure-resource-manager/bicep, pages bicep-functions, bicep-functions-* and parameters.
"""

from msgspec import Struct

MANY = 99


class Function(Struct, frozen=True):
    """A function.

    Attributes:
        takes: The kinds that fit each argument; the last stands for all that follow.
        least, most: How many arguments it takes.
        gives: The kind of what it gives; with [] behind, of the items of the array that it gives.
    """

    takes: tuple[frozenset[str], ...]
    least: int
    most: int
    gives: str


def _function(signature: str) -> Function:
    arguments, _, gives = signature.partition("-> ")
    each = [text for text in arguments.strip().split(", ") if text]
    return Function(
        takes=tuple(frozenset(text.rstrip("?.").split("|")) for text in each),
        least=sum(not text.endswith("?") for text in each),
        most=MANY if arguments.strip().rstrip("?").endswith("...") else len(each),
        gives=gives,
    )


# What each takes and gives: `|` between kinds that fit, `?` behind what may be left out, `...` behind what may go on.
_SIGNATURES = {
    "any": "any -> any",
    "array": "any -> array",
    "base64": "string -> string",
    "base64ToJson": "string -> any",
    "base64ToString": "string -> string",
    "bool": "string|int|bool -> bool",
    "cidrHost": "string, int -> string",
    "cidrSubnet": "string, int, int -> string",
    "coalesce": "any... -> any",
    "concat": "string|array|int|bool... -> any",
    "contains": "string|array|object, string|int|bool|object|array -> bool",
    "dataUri": "string -> string",
    "dataUriToString": "string -> string",
    "dateTimeAdd": "string, string, string? -> string",
    "dateTimeFromEpoch": "int -> string",
    "dateTimeToEpoch": "string -> int",
    "deployer": "-> object",
    "deployment": "-> object",
    "empty": "string|array|object|null -> bool",
    "endsWith": "string, string -> bool",
    "environment": "-> object",
    "extensionResourceId": "string, string, string... -> string",
    "fail": "string -> any",
    "filter": "array, any -> array",
    "first": "string|array -> any",
    "flatten": "array -> array",
    "format": "string, any?... -> string",
    "getSecret": "string, string? -> string",
    "groupBy": "array, any -> object",
    "guid": "string... -> string",
    "indexOf": "string|array, any -> int",
    "int": "string|int -> int",
    "intersection": "array|object, array|object... -> any",
    "items": "object -> array",
    "join": "array, string -> string",
    "json": "string -> any",
    "last": "string|array -> any",
    "lastIndexOf": "string|array, any -> int",
    "length": "string|array|object -> int",
    "loadFileAsBase64": "string -> string",
    "loadJsonContent": "string, string?, string? -> any",
    "loadTextContent": "string, string? -> string",
    "loadYamlContent": "string, string?, string? -> any",
    "managementGroup": "string? -> object",
    "managementGroupResourceId": "string, string... -> string",
    "map": "array, any -> array",
    "mapValues": "object, any -> object",
    "max": "int|array... -> int",
    "min": "int|array... -> int",
    "newGuid": "-> string",
    "objectKeys": "object -> string[]",
    "padLeft": "string|int, int, string? -> string",
    "parseCidr": "string -> object",
    "range": "int, int -> int[]",
    "reference": "string, string?, string? -> object",
    "replace": "string, string, string -> string",
    "resourceGroup": "string?, string? -> object",
    "resourceId": "string, string... -> string",
    "shallowMerge": "array -> object",
    "skip": "string|array, int -> any",
    "split": "string, string|array -> string[]",
    "startsWith": "string, string -> bool",
    "string": "any -> string",
    "subscription": "string? -> object",
    "subscriptionResourceId": "string, string... -> string",
    "substring": "string, int, int? -> string",
    "take": "string|array, int -> any",
    "tenant": "-> object",
    "tenantResourceId": "string, string... -> string",
    "toLower": "string -> string",
    "toObject": "array, any, any? -> object",
    "toUpper": "string -> string",
    "trim": "string -> string",
    "union": "array|object, array|object... -> any",
    "uniqueString": "string... -> string",
    "uri": "string, string -> string",
    "uriComponent": "string -> string",
    "uriComponentToString": "string -> string",
    "utcNow": "string? -> string",
}
FUNCTIONS = {name: _function(signature) for name, signature in _SIGNATURES.items()}

# list...() of a resource by its id: a secret that only Azure knows.
LIST_FUNCTION = _function("string, string, object? -> any")

NAMESPACES = frozenset({"az", "sys"})

# Whose resources, all or some, lie above resource groups as well; all others lie in one.
_ABOVE_GROUPS = (
    "Microsoft.Authorization/",
    "Microsoft.Billing/",
    "Microsoft.Consumption/",
    "Microsoft.CostManagement/",
    "Microsoft.EventGrid/eventSubscriptions",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.Management/",
    "Microsoft.PolicyInsights/",
    "Microsoft.Resources/",
    "Microsoft.Security/",
    "Microsoft.Subscription/",
)
RESOURCE_GROUP = "Microsoft.Resources/resourceGroups"

# Only in the default of a parameter: each deployment would differ otherwise.
ONLY_IN_DEFAULTS = frozenset({"newGuid", "utcNow"})

# Their value is known only when the resource is there.
RUNTIME = frozenset({"reference", "getSecret"})

LOADERS = frozenset({"loadJsonContent", "loadTextContent", "loadYamlContent", "loadFileAsBase64"})

# What may be read from what these functions give.
MEMBERS: dict[str, frozenset[str]] = {
    "subscription": frozenset(
        {"authorizationSource", "displayName", "id", "managedByTenants", "state", "subscriptionId", "tags", "tenantId"}
    ),
    "resourceGroup": frozenset({"id", "location", "managedBy", "name", "properties", "tags", "type"}),
    "tenant": frozenset({"countryCode", "displayName", "id", "tenantId"}),
    "deployment": frozenset({"id", "location", "name", "properties", "type"}),
    "deployer": frozenset({"objectId", "tenantId", "userPrincipalName"}),
    "environment": frozenset(
        {
            "activeDirectoryDataLake",
            "authentication",
            "batch",
            "gallery",
            "graph",
            "graphAudience",
            "media",
            "name",
            "portal",
            "resourceManager",
            "sqlManagement",
            "suffixes",
            "vmImageAliasDoc",
        }
    ),
    "environment.suffixes": frozenset(
        {
            "acrLoginServer",
            "azureDatalakeAnalyticsCatalogAndJob",
            "azureDatalakeStoreFileSystem",
            "azureFrontDoorEndpointSuffix",
            "keyvaultDns",
            "sqlServerHostname",
            "storage",
        }
    ),
    "environment.authentication": frozenset({"audiences", "identityProvider", "loginEndpoint", "tenant"}),
}


def needs_group(kind: str) -> bool:
    """Tell whether resources of a type lie in a resource group, and nowhere else."""
    return not kind.startswith(_ABOVE_GROUPS)


class Rule(Struct, frozen=True):
    """A decorator: on which declarations, with how many arguments, for which kinds of value (none: any)."""

    on: frozenset[str]
    arguments: int
    kinds: frozenset[str] = frozenset()


_VALUES = frozenset({"param", "output", "type"})
DECORATORS: dict[str, Rule] = {
    "allowed": Rule(frozenset({"param"}), 1),
    "batchSize": Rule(frozenset({"resource", "module"}), 1),
    "description": Rule(frozenset({"param", "var", "resource", "module", "output", "type", "func"}), 1),
    "discriminator": Rule(_VALUES, 1, frozenset({"object"})),
    "export": Rule(frozenset({"var", "type", "func"}), 0),
    "maxLength": Rule(_VALUES, 1, frozenset({"string", "array"})),
    "maxValue": Rule(_VALUES, 1, frozenset({"int"})),
    "metadata": Rule(_VALUES, 1),
    "minLength": Rule(_VALUES, 1, frozenset({"string", "array"})),
    "minValue": Rule(_VALUES, 1, frozenset({"int"})),
    "sealed": Rule(_VALUES, 0, frozenset({"object"})),
    "secure": Rule(_VALUES, 0, frozenset({"string", "object"})),
}
