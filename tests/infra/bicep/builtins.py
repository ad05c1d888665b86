"""What the language brings along: functions with their argument counts, decorators with where they may stand.

Source: learn.microsoft.com/azure/azure-resource-manager/bicep, pages bicep-functions, bicep-functions-* and parameters.
"""

from msgspec import Struct

MANY = 99


class Function(Struct, frozen=True):
    """A function: how many arguments it takes, and the kind of what it gives."""

    least: int
    most: int
    gives: str


FUNCTIONS: dict[str, Function] = {
    "any": Function(1, 1, "any"),
    "array": Function(1, 1, "array"),
    "base64": Function(1, 1, "string"),
    "base64ToJson": Function(1, 1, "any"),
    "base64ToString": Function(1, 1, "string"),
    "bool": Function(1, 1, "bool"),
    "cidrHost": Function(2, 2, "string"),
    "cidrSubnet": Function(3, 3, "string"),
    "coalesce": Function(1, MANY, "any"),
    "concat": Function(1, MANY, "any"),
    "contains": Function(2, 2, "bool"),
    "dataUri": Function(1, 1, "string"),
    "dataUriToString": Function(1, 1, "string"),
    "dateTimeAdd": Function(2, 3, "string"),
    "dateTimeFromEpoch": Function(1, 1, "string"),
    "dateTimeToEpoch": Function(1, 1, "int"),
    "deployer": Function(0, 0, "object"),
    "deployment": Function(0, 0, "object"),
    "empty": Function(1, 1, "bool"),
    "endsWith": Function(2, 2, "bool"),
    "environment": Function(0, 0, "object"),
    "extensionResourceId": Function(3, MANY, "string"),
    "fail": Function(1, 1, "any"),
    "filter": Function(2, 2, "array"),
    "first": Function(1, 1, "any"),
    "flatten": Function(1, 1, "array"),
    "format": Function(1, MANY, "string"),
    "getSecret": Function(1, 2, "string"),
    "groupBy": Function(2, 2, "object"),
    "guid": Function(1, MANY, "string"),
    "indexOf": Function(2, 2, "int"),
    "int": Function(1, 1, "int"),
    "intersection": Function(2, MANY, "any"),
    "items": Function(1, 1, "array"),
    "join": Function(2, 2, "string"),
    "json": Function(1, 1, "any"),
    "last": Function(1, 1, "any"),
    "lastIndexOf": Function(2, 2, "int"),
    "length": Function(1, 1, "int"),
    "listKeys": Function(2, 3, "any"),
    "loadFileAsBase64": Function(1, 1, "string"),
    "loadJsonContent": Function(1, 3, "any"),
    "loadTextContent": Function(1, 2, "string"),
    "loadYamlContent": Function(1, 3, "any"),
    "managementGroup": Function(0, 1, "object"),
    "managementGroupResourceId": Function(2, MANY, "string"),
    "map": Function(2, 2, "array"),
    "mapValues": Function(2, 2, "object"),
    "max": Function(1, MANY, "int"),
    "min": Function(1, MANY, "int"),
    "newGuid": Function(0, 0, "string"),
    "objectKeys": Function(1, 1, "array"),
    "padLeft": Function(2, 3, "string"),
    "parseCidr": Function(1, 1, "object"),
    "range": Function(2, 2, "array"),
    "reference": Function(1, 3, "object"),
    "replace": Function(3, 3, "string"),
    "resourceGroup": Function(0, 2, "object"),
    "resourceId": Function(2, MANY, "string"),
    "shallowMerge": Function(1, 1, "object"),
    "skip": Function(2, 2, "any"),
    "split": Function(2, 2, "array"),
    "startsWith": Function(2, 2, "bool"),
    "string": Function(1, 1, "string"),
    "subscription": Function(0, 1, "object"),
    "subscriptionResourceId": Function(2, MANY, "string"),
    "substring": Function(2, 3, "string"),
    "take": Function(2, 2, "any"),
    "tenant": Function(0, 0, "object"),
    "tenantResourceId": Function(2, MANY, "string"),
    "toLower": Function(1, 1, "string"),
    "toObject": Function(2, 3, "object"),
    "toUpper": Function(1, 1, "string"),
    "trim": Function(1, 1, "string"),
    "union": Function(2, MANY, "any"),
    "uniqueString": Function(1, MANY, "string"),
    "uri": Function(2, 2, "string"),
    "uriComponent": Function(1, 1, "string"),
    "uriComponentToString": Function(1, 1, "string"),
    "utcNow": Function(0, 1, "string"),
}

NAMESPACES = frozenset({"az", "sys"})

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
