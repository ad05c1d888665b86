"""Mistakes to seed into Bicep files: what is changed, and the words that must then be said.

Each mistake of `FIXTURE` is seeded into one file of tests/infra/fixtures/good. Each of `ANYWHERE` is seeded into the
first file of a folder that has the text, so that it serves for infra/ too, however that is cut into files.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from tests.infra.bicep.check import check
from tests.infra.bicep.types import Types


class Mutation(Struct, frozen=True):
    """One mistake.

    Attributes:
        path: The end of the path of the file to change.
        find: A regular expression, multi-line; its first match is replaced.
        put: What is put there; may take up groups of the match.
        words: What a finding must say.
        needs_types: Whether it can be seen only with Azure's resource types.
    """

    name: str
    path: str
    find: str
    put: str
    words: str
    needs_types: bool = False

    def __str__(self) -> str:
        """Give its name, as the id of a test."""
        return self.name

    def seed(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Give the texts with the mistake in one of them; raises LookupError where there is no place for it."""
        for path, text in texts.items():
            if not path.endswith(self.path) or not path.endswith((".bicep", ".json", ".txt")):
                continue
            changed = re.sub(self.find, self.put, text, count=1, flags=re.MULTILINE)
            if changed != text:
                return {**texts, path: changed}
        raise LookupError(f"{self.name}: no file {self.path!r} has {self.find!r}")

    def missed(self, texts: Mapping[str, str], types: Types | None) -> list[str] | None:
        """Give what the checker says of the mistake instead of its words; None if it says these."""
        said = [str(finding) for finding in check(self.seed(texts), types)]
        return None if any(self.words in line for line in said) else said


def _typed(name: str, path: str, find: str, put: str, words: str) -> Mutation:
    return Mutation(name, path, find, put, words, needs_types=True)


FIXTURE = (
    # Form
    Mutation("a brace too few", "main.bicep", r"^\}\n\nresource watched", "\n\nresource watched", "missing"),
    Mutation("a brace too much", "main.bicep", r"^(var names = .*)$", r"\1\n}", "is missing"),
    Mutation("a string without end", "main.bicep", r"name: 'watched'", "name: 'watched", "this string has no end"),
    Mutation("a comma too much in a call", "main.bicep", r"toUpper\(each\)", "toUpper(each,)", "tree-sitter-bicep cannot read this"),
    Mutation("a comma too much in an object", "app.bicep", r"version: '3\.13' \}", "version: '3.13', }", "pycep-parser cannot read this"),
    Mutation("double quotes", "main.bicep", r"name: 'watched'", 'name: "watched"', "strings stand between single quotes"),
    Mutation("no colon", "role.bicep", r"name: name", "name name", "':' is missing after the name of a property"),
    Mutation("two properties on one line", "app.bicep", r"name: 'FC1'\n\s+tier", "name: 'FC1' tier", "a comma or a line"),
    Mutation("no value", "main.bicep", r"bool = false", "bool =", "an expression is missing"),
    Mutation("no such declaration", "main.bicep", r"^var token", "let token", "no declaration begins with 'let'"),
    Mutation("no such scope", "role.bicep", r"'subscription'$", "'subscriptions'", "no such targetScope: subscriptions"),
    Mutation("an escape that is none", "app.bicep", r"'\$\{app\.id\}", r"'\\q${app.id}", "no such escape"),
    Mutation("JavaScript's safe access", "main.bicep", r"spare\.\?outputs", "spare?.outputs", "an expression is missing"),
    Mutation("an empty file", "role.bicep", r"(?s)\A.*\Z", "", "this file is empty"),
    Mutation("a decorator that is no call", "main.bicep", r"@secure\(\)", "@secure", "a decorator is written @name(...)"),
    Mutation("a bracket for a brace", "main.bicep", r"= if \(second\) \{", "= if (second) [", "is missing"),
    Mutation("a body of another kind", "role.bicep", r"(?s)(2022-04-01' = )\{.*^\}$", r"\1'x'", "the body of a resource or module is an object"),
    Mutation("no comma between params", "shared.bicep", r"who string\)", "who string how string)", "a comma is missing between parameters"),
    Mutation("no from", "main.bicep", r"\} from '", "} of '", "'from' is missing"),
    Mutation("no otherwise", "main.bicep", r"wide \? days : 30", "wide ? days", "':' is missing after what holds"),
    Mutation("no comma between arguments", "main.bicep", r"guid\(id, token", "guid(id token", "a comma is missing between arguments"),
    Mutation("no in", "main.bicep", r"for reader in readers", "for reader of readers", "'in' is missing"),
    Mutation("a path of a module that is filled in", "main.bicep", r"'modules/app", "'modules/${location}", "must be a fixed string"),
    Mutation("no path", "main.bicep", r"^module app '.*' =", "module app =", "the path of the module is missing"),
    # The subset
    Mutation("spread", "main.bicep", r"union\(\{", "union({ ...mark }, {", "spread (`...x`)"),
    Mutation("a union of types", "main.bicep", r"param note string\?", "param note 'a' | 'b'", "a union of types"),
    Mutation("two arguments", "main.bicep", r"each => toUpper\(each\)", "(each, i) => each", "a lambda of two arguments"),
    Mutation("for with if", "app.bicep", r"in readers: \{", "in readers: if (true) {", "a condition inside a loop"),
    Mutation("a string of several lines", "app.bicep", r"'CustomRole'", "'''CustomRole'''", "a multi-line string"),
    Mutation("from the end", "main.bicep", r"length\(more\) > 1", "length(more[^1]) > 1", "an index from the end"),
    Mutation("resourceInput", "app.bicep", r"param role object", "param role resourceInput<'x'>", "derived from a resource"),
    Mutation("a decorator inside", "store.bicep", r"^  isPublic", "  @secure()\n  isPublic", "a decorator inside braces"),
    Mutation("a nested condition", "store.bicep", r"(resource first 'containers' =)", r"\1 if (keeps)", "a condition on a nested resource"),
    Mutation("bicepparam", "role.bicep", r"\Atarget", "using './main.bicep'\ntarget", "a parameters file"),
    # Names
    Mutation("not declared", "main.bicep", r"take\(uniqueString\(subscription\(\)\.id, location", "take(uniqueString(place", "'place' is not declared"),
    Mutation("misspelt", "main.bicep", r"^  tags: tags", "  tags: tag", "Did you mean tags?"),
    Mutation("declared twice", "main.bicep", r"^var shouted", "var tags = {}\nvar shouted", "'tags' is declared twice"),
    Mutation("output twice", "main.bicep", r"(?<=output )spareId", "spareName", "'spareName' is declared twice"),
    Mutation("unused param", "role.bicep", r"Fixture \$\{roleName\}", "Fixture", "param 'roleName' is never used"),
    Mutation("unused var", "main.bicep", r"^var token", "var spareToken = 1\nvar token", "var 'spareToken' is never used"),
    Mutation("unused existing", "main.bicep", r"resourceGroup\(watched\.name\)", "resourceGroup('w')", "existing resource 'watched' is never used"),
    Mutation("unused import", "main.bicep", r"greeting\(location\)", "location", "import 'greeting' is never used"),
    Mutation("unused type", "store.bicep", r"Container\[\]", "array", "type 'Container' is never used"),
    Mutation("no such type", "store.bicep", r"Container\[\]", "Contianer[]", "no such type: Contianer"),
    Mutation("no such name to import", "main.bicep", r"greeting, Tag", "greetings as greeting, Tag", "exports no 'greetings'"),
    Mutation("import from nowhere", "main.bicep", r"shared\.bicep", "share.bicep", "no such file"),
    Mutation("a hidden name", "main.bicep", r"each => toUpper\(each\)", "days => toUpper(days)", "hides a declared name"),
    Mutation("a circle", "main.bicep", r"uniqueString\(subscription\(\)\.id, location\)", "string(wide ? token : '')", "'token' depends on itself"),
    Mutation("no description", "role.bicep", r"@description\('Its id\.'\)\n", "", "output 'id' has no description"),
    Mutation("an empty description", "role.bicep", r"'A GUID\.'", "' '", "param 'name' has no description"),
    Mutation("no such decorator", "main.bicep", r"@minLength\(1\)", "@minimumLength(1)", "no such decorator: @minimumLength"),
    Mutation("a decorator on the wrong thing", "main.bicep", r"^var token", "@secure()\nvar token", "@secure may not stand on a var"),
    Mutation("a decorator twice", "main.bicep", r"^@minLength\(1\)", "@minLength(1)\n@minLength(2)", "@minLength stands 2 times"),
    Mutation("a call on what is no resource", "main.bicep", r"toUpper\(each\)", "mark.toUpper()", "'toUpper' cannot be called on this"),
    Mutation("a decorator of the wrong type", "main.bicep", r"@minValue\(1\)", "@minLength(1)", "@minLength does not fit the type int"),
    Mutation("batchSize without a loop", "main.bicep", r"^module app", "@batchSize(1)\nmodule app", "@batchSize is for loops"),
    Mutation("a decorator without its argument", "main.bicep", r"@maxLength\(20\)", "@maxLength()", "@maxLength takes 1 arguments, not 0"),
    Mutation("a key twice", "app.bicep", r"(type: 'CustomRole')", r"\1\n    \1", "'type' is given twice"),
    Mutation("no such function", "main.bicep", r"uniqueString\(", "uniqueStrings(", "Did you mean uniqueString?"),
    Mutation("an argument too few", "main.bicep", r"take\((.*), 8\)", r"take(\1)", "take takes 2 arguments, not 1"),
    Mutation("an argument too much", "main.bicep", r"toUpper\(each\)", "toUpper(each, each)", "toUpper takes 1 arguments, not 2"),
    Mutation("an argument of the wrong kind", "main.bicep", r"toUpper\(each\)", "toUpper(days)", "toUpper takes string, this is int"),
    Mutation("a user's function with too much", "main.bicep", r"greeting\(location\)", "greeting(location, 1)", "greeting takes 1 arguments, not 2"),
    Mutation("utcNow in a name", "app.bicep", r"name: 'plan'", "name: 'plan${utcNow()}'", "utcNow may only stand in the default of a param"),
    Mutation("a var in a default", "main.bicep", r"param second bool = false", "param second bool = empty(shouted)", "a default may read only other params"),
    Mutation("no such file to load", "main.bicep", r"data/names\.json", "data/name.json", "Did you mean"),
    Mutation("a path that is filled in", "main.bicep", r"'data/condition\.txt'", "'data/${location}.txt'", "the path of loadTextContent must be fixed"),
    Mutation("JSON that is none", "names.json", r"\{", "", "is no JSON"),
    Mutation("no such key in JSON", "main.bicep", r"names\.resourceGroup", "names.resourcegroup", "Did you mean resourceGroup?"),
    Mutation("no such member of subscription()", "main.bicep", r"subscription\(\)\.id", "subscription().guid", "subscription() has no 'guid'"),
    Mutation("an item without it", "store.bicep", r"\{ value: address \}", "{ value: address.ip }", "string has no members, so no 'ip'"),
    Mutation("a lambda's item without it", "main.bicep", r"more, each => toUpper\(each\)", "['a'], each => each.name", "string has no members, so no 'name'"),
    Mutation("no condition", "main.bicep", r"= if \(second\)", "= if (days)", "a condition takes bool, this is int"),
    Mutation("a loop over a string", "main.bicep", r"in more: \{", "in location: {", "what a loop goes over takes array, this is string"),
    Mutation("plus on strings", "main.bicep", r"days \+ 1 >= 7", "location + 'x' == 'x'", "'+' takes int, this is string"),
    Mutation("an unneeded wait", "main.bicep", r"^(  scope: group\n  params: \{\n    location: location\n    storeName)", r"  dependsOn: [store]\n\1", "dependsOn names 'store', which is read anyway"),
    Mutation("waits for a name", "main.bicep", r"dependsOn: \[store\]", "dependsOn: [store.name]", "dependsOn takes resources and modules"),
    Mutation("a loop in an argument", "main.bicep", r"map\(more, each => toUpper\(each\)\)", "concat([for each in more: each], [])", "a loop may not stand here"),
    Mutation("a loop in a loop", "store.bicep", r"\{ value: address \}", "{ value: address, more: [for other in [1]: other] }", "a loop may not stand here"),
    Mutation("a collection without an index", "main.bicep", r"\bstores\[i\]\.", "stores.", "'stores' is made in a loop"),
    Mutation("an index of no collection", "main.bicep", r"app\.outputs\.host", "app[0].outputs.host", "'app' is not made in a loop"),
    Mutation("@allowed of another type", "main.bicep", r"^  'Standard_LRS'", "  1", "@allowed of a param of type string has a value of type int"),
    Mutation("a decorator that reads a param", "main.bicep", r"@maxLength\(20\)", "@maxLength(days)", "@maxLength takes fixed values"),
    Mutation("kinds that are never equal", "main.bicep", r"= if \(second\)", "= if (second == 'true')", "bool and string are never equal"),
    Mutation("a word that it never is", "main.bicep", r"replication == 'Standard_ZRS'", "replication == 'ZRS'", "param 'replication' is never 'ZRS'"),
    Mutation("a word of a list that it never is", "main.bicep", r"\['Standard_ZRS'\], rep", "['Standard_Zrs'], rep", "Did you mean Standard_ZRS?"),
    Mutation("an id with a name too few", "main.bicep", r", 'default'\)", ")", "takes 2 names, not 1"),
    Mutation("a role that is no GUID", "main.bicep", r"resourceId\(group.*\)", "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'reader')", "is a GUID, not 'reader'"),
    Mutation("a mapped item without it", "main.bicep", r"more, each => toUpper\(each\)", "map(more, one => { name: one }), each => each.names", "Did you mean name?"),
    Mutation("a text too long", "condition.txt", r"\A", "x" * 131_072, "is longer than 131072 characters"),
    # Modules
    Mutation("an output that may be null", "main.bicep", r"spare\.\?outputs\.name \?\? ''", "spare.?outputs.name", "output 'spareName' may not be null"),
    Mutation("a param that may be null", "main.bicep", r"replication: 'Standard_ZRS'", "replication: note", "param 'replication' may not be null"),
    Mutation("an output that nobody reads", "role.bicep", r"\Z", "\n@description('No use.')\noutput noUse int = 1\n", "output 'noUse' is never read"),
    Mutation("no such module", "main.bicep", r"modules/app\.bicep", "modules/apps.bicep", "module file not found"),
    Mutation("a module that nobody calls", "main.bicep", r"(?s)^module role .*?^\}\]\n", "", "no file calls this module"),
    Mutation("no such param", "main.bicep", r"storeName: store", "accountName: store", "modules/app.bicep has no param 'accountName'"),
    Mutation("a param missing", "main.bicep", r"    roleName: .*\n", "", "modules/role.bicep needs the param 'roleName'"),
    Mutation("a param of the wrong kind", "main.bicep", r"days: 1$", "days: '1'", "param 'days' is of type int, this is string"),
    Mutation("a param of the wrong kind through an output", "main.bicep", r"days: 1$", "days: store.outputs.name", "param 'days' is of type int, this is string"),
    Mutation("a value that is not allowed", "main.bicep", r"replication: 'Standard_ZRS'", "replication: 'Premium_LRS'", "param 'replication' does not allow 'Premium_LRS'"),
    Mutation("any string for a choice", "main.bicep", r"replication: 'Standard_ZRS'", "replication: location", "param 'replication' allows only"),
    Mutation("a value too large", "main.bicep", r"days: 1$", "days: 400", "param 'days' has @maxValue(365)"),
    Mutation("a default that is not allowed", "main.bicep", r"= 'Standard_LRS'", "= 'Standard_GRS'", "does not allow 'Standard_GRS'"),
    Mutation("a default too short", "main.bicep", r"= \['a', 'b'\]", "= []", "param 'more' has @minLength(1)"),
    Mutation("a default of the wrong type", "main.bicep", r"param days int = 7", "param days int = '7'", "param 'days' is of type int"),
    Mutation("null for a param", "main.bicep", r"days: 1$", "days: null", "param 'days' may not be null"),
    Mutation("params that are no object", "main.bicep", r"(?s)params: \{\n    name: guid.*?^  \}", "params: mark", "params must be written out as an object"),
    Mutation("no such output", "main.bicep", r"store\.outputs\.roleName", "store.outputs.role", "modules/store.bicep has no output 'role'"),
    Mutation("a module's id", "main.bicep", r"app\.outputs\.host", "app.host", "a module has outputs and name, not 'host'"),
    Mutation("an output of the wrong type", "main.bicep", r"output uri string", "output uri int", "output 'uri' is of type int, this is string"),
    Mutation("no such property of a module", "main.bicep", r"^  params: \{\n    location: location\n    storeName", "  parameters: {\n    location: location\n    storeName", "a module has no 'parameters'"),
    Mutation("no scope", "main.bicep", r"  scope: group\n  params: \{\n    location", "  params: {\n    location", "scope is missing"),
    Mutation("the wrong scope", "main.bicep", r"scope: group$", "scope: subscription()", "this is a subscription"),
    Mutation("a group for a subscription", "main.bicep", r"scope: subscription\(id\)", "scope: group", "this is a resourceGroup"),
    Mutation("a name for a scope", "main.bicep", r"scope: group$", "scope: group.name", "this is a value, no scope"),
    Mutation("a scope by way of params", "main.bicep", r"(name: guid\(id, token\))", r"\1\n    scope: group", "has no param 'scope'"),
    # What kind a value is
    Mutation("an array by a word", "main.bicep", r"toUpper\(each\)", "split(each, ',')['x']", "an index of array takes int, this is string"),
    Mutation("an object by a number", "main.bicep", r"names\.resourceGroup", "names[0]", "an index of object takes string, this is int"),
    Mutation("a collection by its item", "main.bicep", r"stores\[i\]\.", "stores[each].", "an index of array takes int, this is string"),
    Mutation("index and item swapped", "main.bicep", r"\(each, i\) in more: stores", "(i, each) in more: stores", "an index of array takes int, this is string"),
    Mutation("item and index swapped", "main.bicep", r"\(id, i\) in more", "(i, id) in more", "subscription takes string, this is int"),
    Mutation("contains the wrong way round", "main.bicep", r"contains\(\['Standard_ZRS'\], replication\)", "contains(replication, ['Standard_ZRS'])", "contains takes no string and array together"),
    Mutation("an array looked for in a string", "main.bicep", r"days \+ 1 >= 7", "indexOf(location, more) >= 0", "indexOf takes no string and array together"),
    Mutation("a union of an object and an array", "main.bicep", r"second \? \{ second: 'yes' \} : \{\}", "['yes']", "union takes no object and array together"),
    Mutation("an array and a string in one", "main.bicep", r"^(var shouted =) .*", r"\1 concat(more, 'c')", "concat takes no array and string together"),
    Mutation("a length that is more than a word", "main.bicep", r"length\(more\) > 1", "length(more) > '1'", "int and string cannot be compared by '>'"),
    Mutation("a number that is at least a word", "main.bicep", r"days \+ 1 >= 7", "days >= '7'", "int and string cannot be compared by '>='"),
    Mutation("a word that is less than a number", "main.bicep", r"days \+ 1 >= 7", "more[0] < 7", "int and string cannot be compared by '<'"),
    Mutation("at most an array", "main.bicep", r"days \+ 1 >= 7", "days <= more", "'<=' takes int or string, this is array"),
    Mutation("plus on an item", "main.bicep", r"days \+ 1 >= 7", "more[0] + 1 >= 7", "'+' takes int, this is string"),
    Mutation("a member of an item", "main.bicep", r"guid\(id, token\)", "guid(id.name, token)", "string has no members, so no 'name'"),
    Mutation("a member of an output", "main.bicep", r"storeName: store\.outputs\.name", "storeName: store.outputs.name.value", "string has no members, so no 'value'"),
    Mutation("a member of an array", "main.bicep", r"length\(more\) > 1", "more.length > 1", "array has no members, so no 'length'"),
    Mutation("no such member of items()", "main.bicep", r"^(var shouted =) .*", r"\1 map(items(mark), each => each.keys)", "Did you mean key?"),
    Mutation("a filter that chooses nothing", "main.bicep", r"map\(more, each", "filter(more, each", "what filter is given by its lambda takes bool, this is string"),
    Mutation("an array for an output", "main.bicep", r"^(output uri string =) .*", r"\1 more", "output 'uri' is of type string, this is array"),
    Mutation("an output of other items", "main.bicep", r"output shouted string", "output shouted int", "an item of output 'shouted' is of type int, this is string"),
    Mutation("an id that is no string", "store.bicep", r"output id string", "output id object", "output 'id' is of type object, this is string"),
    Mutation("an array for a default", "main.bicep", r"^param location string", "param location string = ['a']", "param 'location' is of type string, this is array"),
    Mutation("a default of other items", "main.bicep", r"= \['a', 'b'\]", "= [1, 2]", "an item of param 'more' is of type string, this is int"),
    Mutation("a variable of another kind", "main.bicep", r"days: wide \? days : 30", "days: shouted", "param 'days' is of type int, this is array"),
    Mutation("one of two kinds", "main.bicep", r"days: 1$", "days: first([1, 'x'])", "param 'days' is of type int, this is int or string"),
    Mutation("what a func gives", "main.bicep", r"days: 1$", "days: greeting(each)", "param 'days' is of type int, this is string"),
    Mutation("a field of another kind", "main.bicep", r"name: 'one'", "name: 1", "'name' of an item of param 'containers' is of type string, this is int"),
    Mutation("a choice out of a map", "main.bicep", r"replication: 'Standard_ZRS'", "replication: map(['Standard_LRS', 'Premium'], one => one)[i]", "param 'replication' does not allow 'Premium'"),
    Mutation("a choice out of two arrays", "main.bicep", r"replication: 'Standard_ZRS'", "replication: concat(['Standard_LRS'], ['Premium'])[i]", "param 'replication' does not allow 'Premium'"),
    Mutation("a choice out of a ternary in a map", "main.bicep", r"replication: 'Standard_ZRS'", "replication: first(map(more, one => second ? 'Standard_LRS' : 'Premium'))", "param 'replication' does not allow 'Premium'"),
    # Deployments
    Mutation("one name for two modules", "main.bicep", r"name: 'app'", "name: 'store'", "module 'store' has the name 'store' already, in the same scope"),
    Mutation("a long name of a module", "main.bicep", r"name: 'app'", f"name: '{'x' * 65}'", "has at most 64 characters, this has 65 or more"),
    Mutation("a long name of a module with a variable", "main.bicep", r"name: 'store-\$\{i\}'", f"name: '{'x' * 52}${{uniqueString(each)}}'", "has at most 64 characters, this has 65 or more"),
    Mutation("the group of a file without one", "main.bicep", r"subscription\(\)\.id, location", "resourceGroup().id, location", "there is no resourceGroup() here"),
    Mutation("an id without a group", "main.bicep", r"resourceId\(group\.name, ", "resourceId(", "lacks a resource group"),
    Mutation("an existing one in a subscription", "app.bicep", r"(name: storeName)", r"\1\n  scope: subscription()", "is not found in a subscription"),
    Mutation("an existing one without its group", "main.bicep", r"^(resource watched 'Microsoft\.)Resources/resourceGroups@2025-04-01", r"\1Storage/storageAccounts@2026-04-01", "is not found in a subscription"),
    Mutation("an existing group in a group", "app.bicep", r"^(resource store 'Microsoft\.)Storage/storageAccounts@2026-04-01", r"\1Resources/resourceGroups@2025-04-01", "is not found in a resourceGroup"),
    # When things are known
    Mutation("a name of an output", "main.bicep", r"name: 'watched'", "name: '${store.outputs.name}'", "name must be known when the deployment starts"),
    Mutation("a name of a property", "app.bicep", r"guid\(store\.id, reader", "guid(store.properties.primaryEndpoints.blob, reader", "name must be known when"),
    Mutation("a name through a variable", "app.bicep", r"(?s)^var runtime(.*?)name: 'plan'", r"var place = store.location\nvar runtime\1name: place", "name must be known when"),
    Mutation("a condition of an output", "main.bicep", r"= if \(second\)", "= if (empty(store.outputs.name))", "a condition must be known when"),
    Mutation("a loop over an output", "main.bicep", r"in more: \{\n  name: 'store", "in store.outputs.containers: {\n  name: 'store", "what a loop goes over must be known when"),
    Mutation("a scope of an output", "main.bicep", r"resourceGroup\(watched\.name\)", "resourceGroup(store.outputs.name)", "scope must be known when"),
    Mutation("a loop in a var", "main.bicep", r"^var shouted = .*", "var shouted = [for each in more: '${each}${store.outputs.name}']", "the body of a loop in a var must be known"),
    Mutation("one name for all turns", "main.bicep", r"name: 'store-\$\{i\}'", "name: 'store'", "each turn of this loop gives 'stores' the same name"),
    # Secrets and conditions
    Mutation("a key in an output", "store.bicep", r"= store\.properties\.primaryEndpoints\.blob", "= store.listKeys().keys[0].value", "would show a secret: listKeys()"),
    Mutation("a secret in an output", "app.bicep", r"= app\.properties\.defaultHostName", "= 'x${secret}'", "would show a secret: @secure param secret"),
    Mutation("a secret through a variable", "app.bicep", r"(?s)^var runtime(.*)= app\.properties\.defaultHostName", r"var shown = secret\nvar runtime\1= shown", "would show a secret"),
    Mutation("a secret in a plain param", "app.bicep", r"@secure\(\)\n", "", "param 'secret' would show a secret"),
    Mutation("a secret of a module in an output", "app.bicep", r"^(@description\('Where it listens)", r"@secure()\n\1", "would show a secret: @secure output host"),
    Mutation("a secret with a default", "main.bicep", r"param secret string", "param secret string = 'x'", "param 'secret' is a secret with a default"),
    Mutation("an unguarded module", "main.bicep", r"second \? spare!\.outputs\.id : ''", "spare!.outputs.id", "is deployed only under a condition"),
    Mutation("guarded by another condition", "main.bicep", r"second \? spare!", "wide ? spare!", "is deployed only under a condition"),
    Mutation("on the wrong side", "main.bicep", r"second \? spare!\.outputs\.id : ''", "second ? '' : spare!.outputs.id", "is deployed only under a condition"),
    Mutation("without the mark", "main.bicep", r"spare!\.outputs", "spare.outputs", "BCP318"),
    Mutation("an unguarded resource", "store.bicep", r"keeps \? lock\.id : ''", "lock.properties.level", "is deployed only under a condition"),
    # Where resources live
    Mutation("a resource at the wrong scope", "role.bicep", r"^(resource role 'Microsoft\.)Authorization/roleDefinitions@2022-04-01", r"\1Storage/storageAccounts@2026-04-01", "lives in a resource group"),
    Mutation("a group inside a group", "app.bicep", r"^(resource plan 'Microsoft\.)Web/serverfarms@2025-03-01", r"\1Resources/resourceGroups@2025-04-01", "lives in a subscription"),
    Mutation("a resource elsewhere", "store.bicep", r"^(  name: name\n  location: location)", r"  scope: resourceGroup('x')\n\1", "cannot be deployed to another scope from here"),
    Mutation("a lock of a group from outside", "main.bicep", r"^module app", "resource lock 'Microsoft.Authorization/locks@2020-05-01' = {\n  scope: group\n  name: 'x'\n  properties: { level: 'CanNotDelete' }\n}\n\nmodule app", "a resource of another resource group"),
    Mutation("no name", "store.bicep", r"^  name: name\n", "", "resource 'store' has no name"),
    Mutation("a child without a parent", "app.bicep", r"  parent: topic\n", "", "slashes"),
    Mutation("the wrong parent", "app.bicep", r"parent: topic", "parent: app", "the parent of"),
    Mutation("an id for a parent", "app.bicep", r"parent: topic", "parent: topic.id", "parent must be a resource"),
    Mutation("a slash in a child's name", "app.bicep", r"name: 'failures'", "name: 'topic/failures'", "has 1 slashes, it needs 0"),
    Mutation("something for an existing one", "app.bicep", r"(name: storeName)", r"\1\n  location: location", "an existing resource cannot be given 'location'"),
    # The linter's
    Mutation("a host of one cloud", "main.bicep", r"'https://\$\{app", "'https://login.microsoftonline.com/${app", "no-hardcoded-env-urls"),
    Mutation("a fixed place", "app.bicep", r"  location: location\n  sku", "  location: 'westeurope'\n  sku", "no-hardcoded-location"),
    Mutation("concat", "main.bicep", r"'store-\$\{i\}'", "concat('store-', string(i))", "prefer-interpolation"),
    Mutation("nothing but a variable in quotes", "app.bicep", r"GREETING: greeting", "GREETING: '${greeting}'", "simplify-interpolation"),
    Mutation("needless quotes", "app.bicep", r"GREETING: greeting", "'GREETING': greeting", "prefer-unquoted-property-names"),
    # Azure's types
    _typed("no such type of resource", "app.bicep", r"Microsoft\.Web/serverfarms@", "Microsoft.Web/serverFarms@", "Did you mean Microsoft.Web/serverfarms?"),
    _typed("no such version", "store.bicep", r"storageAccounts@2026-04-01", "storageAccounts@2026-04-02", "has no api-version 2026-04-02"),
    _typed("no version", "app.bicep", r"serverfarms@2025-03-01", "serverfarms", "has no api-version (none given)"),
    _typed("a nested type", "store.bicep", r"'containers' =", "'container' =", "no such resource type: Microsoft.Storage/storageAccounts/blobServices/container"),
    _typed("an id of no type", "main.bicep", r"storageAccounts/blobServices'", "storageAccounts/blobService'", "Did you mean Microsoft.Storage/storageAccounts/blobServices?"),
    _typed("a misspelt property", "store.bicep", r"allowSharedKeyAccess", "allowSharedKeysAccess", "Did you mean allowSharedKeyAccess?"),
    _typed("a property in the wrong case", "app.bicep", r"instanceMemoryMB", "instanceMemoryMb", "Did you mean instanceMemoryMB?"),
    _typed("a misplaced property", "app.bicep", r"^  kind: 'functionapp,linux'", "  runtime: runtime", "has no property 'runtime'"),
    _typed("a read-only property", "store.bicep", r"(accessTier: 'Hot')", r"\1\n    provisioningState: 'Succeeded'", "is read-only"),
    _typed("a required property", "store.bicep", r"  kind: 'StorageV2'\n", "", ".kind is missing"),
    _typed("a required property inside", "app.bicep", r"    principalId: reader\.id\n", "", ".principalId is missing"),
    _typed("a required property through a variable", "app.bicep", r"runtime: runtime", "runtime: {}\n      routing: runtime", "has no property 'routing'"),
    _typed("no such choice", "store.bicep", r"'TLS1_2'", "'TLS12'", "minimumTlsVersion cannot be 'TLS12'"),
    _typed("a choice in the wrong case", "app.bicep", r"'SystemAssigned' \}", "'systemAssigned' }", "Did you mean SystemAssigned?"),
    _typed("a choice through a ternary", "store.bicep", r"\? 'Blob' : 'None'", "? 'Blob' : 'none'", "publicAccess cannot be 'none'"),
    _typed("a choice through @allowed", "store.bicep", r"'Standard_ZRS'\]\)\nparam replication", "'Standard_ZRS', 'Hotter'])\nparam replication", "cannot be 'Hotter'"),
    _typed("any string for Azure's choice", "store.bicep", r"accessTier: 'Hot'", "accessTier: name", "param 'name' may be any string"),
    _typed("a string for a truth", "store.bicep", r"allowSharedKeyAccess: false", "allowSharedKeyAccess: 'false'", "is of type bool, this is string"),
    _typed("a number for a string", "app.bicep", r"conditionVersion: '2\.0'", "conditionVersion: 2", "is of type string, this is int"),
    _typed("an object for an array", "app.bicep", r"union\(\[resourceGroup\(\)\.id\], \[\]\)", "{ id: resourceGroup().id }", "is of type array, this is object"),
    _typed("an int param for a string", "store.bicep", r"accessTier: 'Hot'", "accessTier: days", "is of type string, this is int"),
    _typed("a number out of range", "app.bicep", r"maxDeliveryAttempts: 30", "maxDeliveryAttempts: '30'", "is of type int, this is string"),
    _typed("no such form of object", "app.bicep", r"endpointType: 'AzureFunction'", "endpointType: 'AzureFunctions'", "Did you mean AzureFunction?"),
    _typed("no form of object", "app.bicep", r"      endpointType: 'AzureFunction'\n", "", "endpointType is missing"),
    _typed("a property of another form", "app.bicep", r"properties: \{ resourceId: '\$\{app", "properties: { queueName: '${app", "has no property 'queueName'"),
    _typed("in an item of an array", "app.bicep", r"operatorType: 'StringIn'", "operatorType: 'StringsIn'", "Did you mean StringIn?"),
    _typed("in the body of a loop", "store.bicep", r"\{ value: address \}", "{ values: address }", "has no property 'values'"),
    _typed("in one arm of a ternary", "store.bicep", r"\{ enabled: false \}", "{ enable: false }", "Did you mean enabled?"),
    _typed("null for what is required", "app.bicep", r"principalId: reader\.id", "principalId: null", "principalId may not be null"),
    _typed("a string that Azure refuses", "store.bicep", r"name: 'first'", "name: 'x'", "at least"),
    _typed("a string too long", "store.bicep", r"name: 'first'", f"name: '{'x' * 64}'", "at most 63 are allowed"),
    _typed("a string of another form", "store.bicep", r"^  name: name\n", "  name: 'Store_1'\n", "does not match ^[a-z0-9]+$"),
    _typed("a number too large", "store.bicep", r"days: days \}", "days: 366 }", "days 366 is out of range"),
    _typed("what may be null for what is required", "app.bicep", r"principalId: reader\.id", "principalId: reader.?id", "principalId may not be null"),
    _typed("an item of a union", "app.bicep", r"\.id\], \[\]", ".id], [1]", "is of type string, this is int"),
    _typed("a read of what can only be written", "app.bicep", r"app\.properties\.defaultHostName", "app.properties.siteConfig.linuxFxVersion", "can be written, not read"),
    _typed("a read in an array", "store.bicep", r"ipRules\[0\]\.value", "ipRules[0].values", "Did you mean value?"),
    _typed("a read of what is not there", "app.bicep", r"app\.properties\.defaultHostName", "app.properties.defaultHostname", "Did you mean defaultHostName?"),
    _typed("a read through existing", "app.bicep", r"store\.properties\.primaryEndpoints\.blob", "store.properties.primaryEndpoint.blob", "Did you mean primaryEndpoints?"),
    _typed("a read of an identity", "app.bicep", r"app\.identity\.principalId", "app.identity.principalID", "Did you mean principalId?"),
    _typed("a name that Azure fixes", "app.bicep", r"name: 'appsettings'", "name: 'appSettings'", "Did you mean appsettings?"),
    _typed("null for a setting", "app.bicep", r"GREETING: greeting", "GREETING: empty(greeting) ? 'Hello' : null", "GREETING may not be null"),
    _typed("a property of another kind in an output", "store.bicep", r"= store\.properties\.primaryEndpoints\.blob", "= store.properties.networkAcls.ipRules", "output 'endpoint' is of type string, this is array"),
    _typed("a setting that is no text", "app.bicep", r"GREETING: greeting", "GREETING: 1", "is of type string, this is int"),
)  # fmt: skip


def _any(name: str, find: str, put: str, words: str, *, typed: bool = False) -> Mutation:
    return Mutation(name, ".bicep", find, put, words, needs_types=typed)


_MODULE = r"^(module \w+ '[^']+' = \{\n  name: .*\n)"
ANYWHERE = (
    # Form
    _any("no brace", r"^(resource \w+ '[^']+' = )\{", r"\1", "an expression is missing"),
    _any("a string without end", r"^(@description\('[^'\\]+)'\)", r"\1)", "this string has no end"),
    _any("no colon", r"^(\s+name):", r"\1", "':' is missing after the name of a property"),
    _any("no such declaration", r"^param ", "parameter ", "no declaration begins with 'parameter'"),
    _any("two on one line", r"^(param \w+ string)\n\n", r"\1 ", "a line break is missing"),
    # Names
    _any("not declared", r"^(\s+location: )location$", r"\1locaton", "Did you mean location?"),
    _any("an unused param", r"^(@description\()", r"@description('No use.')\nparam noUse string\n\n\1", "param 'noUse' is never used"),
    _any("an unused var", r"^resource ", "var noUse = 1\n\nresource ", "var 'noUse' is never used"),
    _any("declared twice", r"^(@description\(.*\)\nparam \w+ string.*\n)", r"\1\n\1", "is declared twice"),
    _any("no description", r"^@description\('.*'\)\n(?=param|output)", "", "has no description"),
    _any("a misspelt decorator", r"^@description\(", "@descripton(", "Did you mean description?"),
    _any("a misplaced decorator", r"^var ", "@allowed([])\nvar ", "@allowed may not stand on a var"),
    _any("a misspelt function", r"\bsplit\(", "splitt(", "Did you mean split?"),
    _any("too many arguments", r"\btoLower\((\w+)\)", r"toLower(\1, 1)", "toLower takes 1 arguments, not 2"),
    _any("an argument of the wrong kind", r"\btoLower\((\w+)\)", "toLower(7)", "toLower takes string, this is int"),
    _any("no such file to load", r"loadJsonContent\('", "loadJsonContent('no/", "loadJsonContent names no file"),
    _any("no such text to load", r"loadTextContent\('", "loadTextContent('no/", "loadTextContent names no file"),
    _any("no such abbreviation", r"\$\{abbreviations\.(\w+)\}", r"${abbreviations.\1s}", "there is no"),
    _any("a word that a param never is", r"(\w+ == )'true'", r"\1'True'", "is never 'True'"),
    _any("a mode that there is not", r"contains\(\['ask', 'auto'\]", "contains(['asks', 'auto']", "param 'mode' is never 'asks'"),
    _any("an id with a name too much", r"subscriptionResourceId\('Microsoft\.Authorization/roleDefinitions', ", "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'x', ", "takes 1 names, not 2"),
    _any("a GUID that is none", r"^(var \w+ = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{11})[0-9a-f]'", r"\1'", "is a GUID, not"),
    _any("an id of no type", r"subscriptionResourceId\('Microsoft\.Authorization/roleDefinitions'", "subscriptionResourceId('Microsoft.Authorization/roleDefinition'", "no such resource type: Microsoft.Authorization/roleDefinition", typed=True),
    _any("an item without what is read", r"^  topicType: 'Micro", "  kind: 'Micro", "not all that this stands for has 'topicType'"),
    _any("no such member", r"subscription\(\)\.id", "subscription().ids", "subscription() has no 'ids'"),
    _any("a default that is not allowed", r"^(@allowed\(\[[^\]]*\]\)\nparam \w+ string = )'[^']+'", r"\1'neither'", "does not allow 'neither'"),
    _any("a default of the wrong type", r"^(param \w+ int = )(\d+)", r"\1'\2'", "is of type int, this is string"),
    # Modules
    _any("no such module", r"^(module \w+ 'modules/)", r"\1no_", "module file not found"),
    _any("no such param", r"^(    )location: location$", r"\1place: location", "has no param 'place'"),
    _any("a param missing", r"^    principalId: \w+\.outputs\.principalId\n", "", "needs the param 'principalId'"),
    _any("no such output", r"\.outputs\.principalId", ".outputs.principal", "has no output 'principal'"),
    _any("no scope", _MODULE + r"  scope: \w+\n", r"\1", "scope is missing"),
    _any("the wrong scope", _MODULE + r"  scope: \w+\n", r"\1  scope: subscription()\n", "this is a subscription"),
    _any("a string for an object", r"^    tags: tags$", "    tags: 'tags'", "is of type object, this is string"),
    _any("a string for a truth", r"^(    \w+: \w+) == 'true'$", r"\1", "is of type bool, this is string"),
    _any("a choice that the module does not know", r"^(@allowed\(\['off')(.*\nparam mode string = )", r"\1, 'on'\2", "does not allow 'on'"),
    _any("the scope of the file", r"^targetScope = 'subscription'\n(?=\n@description\('GUID)", "", "targetScope"),
    _any("an output that nobody reads", r"^targetScope = 'subscription'\n(?=\n@description\('GUID)", "targetScope = 'subscription'\n\n@description('No use.')\noutput noUse int = 1\n", "output 'noUse' is never read"),
    _any("a collection without an index", r"\b(\w+)\[i\]\.outputs", r"\1.outputs", "is made in a loop"),
    # What kind a value is
    _any("an array by a word", r"split\((\w+), '/'\)\[2\]", r"split(\1, '/')['2']", "an index of array takes int, this is string"),
    _any("a collection by its item", r"topics\[i\]", "topics[topic]", "an index of array takes int, this is object"),
    _any("index and item swapped", r"for \((\w+), i\) in", r"for (i, \1) in", "int has no members"),
    _any("contains the wrong way round", r"contains\((\[[^\]]*\]), (\w+)\)", r"contains(\2, \1)", "contains takes no string and array together"),
    _any("a length that is more than a word", r"(length\(split\(each, '/'\)\) > )3", r"\1'3'", "int and string cannot be compared by '>'"),
    _any("a union of an object and an array", r"union\(tags, \{[^}]*\}\)", "union(tags, ['medic'])", "union takes no object and array together"),
    _any("a member of an item", r"source: each$", "source: each.id", "string has no members, so no 'id'"),
    _any("a member of an output", r"vault\.outputs\.name$", "vault.outputs.name.value", "string has no members, so no 'value'"),
    _any("an array for an output", r"^(output \w+ string = )join\((\w+), ','\)", r"\1\2", "is of type string, this is array"),
    _any("a choice that one of the items lacks", r"topicType: 'Microsoft\.MachineLearningServices\.Workspaces'", "topicType: 'Microsoft.MachineLearningServices.Workspace'", "param 'topicType' does not allow"),
    _any("a choice that one side of a ternary lacks", r"'Microsoft\.Resources\.Subscriptions' :", "'Microsoft.Resources.Subscription' :", "param 'topicType' does not allow"),
    # Deployments
    _any("one name for two modules", r"(?s)(^module \w+ '[^']+' = \{\n  name: )'([\w-]+)'(\n  scope: group\n.*?^module \w+ '[^']+' = \{\n  name: )'[\w-]+'(?=\n  scope: group\n)", r"\1'\2'\3'\2'", "already, in the same scope"),
    _any("a long name of a module", r"name: '(medic-[\w-]+-\$\{resourceToken\})'", f"name: '{'x' * 40}\\1'", "the name of a module has at most 64 characters"),
    _any("the group of a file without one", r"^(output AZURE_RESOURCE_GROUP string = ).*", r"\1resourceGroup().name", "there is no resourceGroup() here"),
    _any("an existing one in a subscription", r"(existing = \{\n  name: appName)", r"\1\n  scope: subscription()", "is not found in a subscription"),
    # Conditions, and what is known at the start
    _any("without the mark", r"(\w+)!\.outputs", r"\1.outputs", "BCP318"),
    _any("without the condition", r"\w+ == 'true' \? (\w+!\.outputs\.\w+) : ''", r"\1", "is deployed only under a condition"),
    _any("a name that is known too late", r"^(module functionApp .*\n  name: ).*$", r"\1vault.outputs.name", "name must be known"),
    _any("a loop that is known too late", r"^(module \w+ '[^']+' = \[for .* in )\w+: \{", r"\1[identity.outputs.principalId]: {", "what a loop goes over must be known"),
    _any("a condition that is known too late", r"^(module \w+ .*= if \().*(\) \{)$", r"\1empty(vault.outputs.name)\2", "a condition must be known"),
    _any("one name for all turns", r"^(module \w+ '[^']+' = \[for .*\n  name: ).*(\n  scope: \w+\n)", r"\1'same'\2", "the same name"),
    _any("a key in an output", r"^(output \w+ string = )(\w+)\.properties\..*$", r"\1\2.listKeys().keys[0].value", "would show a secret: listKeys()"),
    # Azure's types
    _any("a misspelt type", r"Microsoft\.Storage/storageAccounts@", "Microsoft.Storage/storageAccount@", "no such resource type", typed=True),
    _any("no such version", r"Microsoft\.EventGrid/systemTopics@\d{4}", "Microsoft.EventGrid/systemTopics@1999", "has no api-version 1999", typed=True),
    _any("a misspelt property", r"allowSharedKeyAccess:", "allowSharedKeysAccess:", "Did you mean allowSharedKeyAccess?", typed=True),
    _any("a text for a truth", r"allowSharedKeyAccess: false", "allowSharedKeyAccess: 'false'", "is of type bool, this is string", typed=True),
    _any("a read-only property", r"^( +)(allowSharedKeyAccess: )", r"\1provisioningState: 'Succeeded'\n\1\2", "provisioningState is read-only", typed=True),
    _any("no such choice", r"'TLS1_2'", "'TLS1_9'", "minimumTlsVersion cannot be 'TLS1_9'", typed=True),
    _any("a choice in the wrong case", r"'ServicePrincipal'$", "'servicePrincipal'", "Did you mean ServicePrincipal?", typed=True),
    _any("no such kind of endpoint", r"endpointType: 'AzureFunction'", "endpointType: 'Function'", "endpointType cannot be 'Function'", typed=True),
    _any("no such filter", r"operatorType: 'StringIn'", "operatorType: 'In'", "operatorType cannot be 'In'", typed=True),
    _any("a text for a number", r"maxDeliveryAttempts: 30", "maxDeliveryAttempts: '30'", "is of type int, this is string", typed=True),
    _any("a required property missing", r"^    principalId: principalId\n", "", ".principalId is missing", typed=True),
    _any("no parent", r"^  parent: \w+\n", "", "Give parent:"),
    _any("a parent that is none", r"^  parent: \w+$", "  parent: resourceGroup()", "parent must be a resource"),
    _any("something for an existing one", r"(existing = \{\n  name: .*)", r"\1\n  tags: {}", "cannot be given 'tags'"),
    _any("a misspelt read", r"properties\.primaryEndpoints", "properties.primaryEndpoint", "Did you mean primaryEndpoints?", typed=True),
    _any("a misspelt read of an identity", r"\.identity\.principalId", ".identity.principalID", "Did you mean principalId?", typed=True),
    _any("a misspelt immutability", r"allowProtectedAppendWrites:", "allowProtectedAppendWrite:", "Did you mean allowProtectedAppendWrites?", typed=True),
    _any("no such metric criteria", r"'Microsoft\.Azure\.Monitor\.Single\w+'", "'Microsoft.Azure.Monitor.Single'", "odata.type cannot be", typed=True),
    _any("null for a setting", r"(MEDIC_\w+_URL: \w+ \? .* : )''$", r"\1null", "may not be null", typed=True),
    _any("a severity that is a word", r"^    severity: \d", "    severity: 'high'", "severity is of type int, this is int or string", typed=True),
    _any("a misspelt severity", r"^    severity: (\d)", r"    severeness: \1", "not all that this stands for has 'severity'"),
    _any("a misspelt setting of a rule", r"^    autoMitigate: ", "    autoMitigated: ", "Did you mean autoMitigate?", typed=True),
    _any("a fixed host", r"\$\{environment\(\)\.authentication\.loginEndpoint\}", "https://login.microsoftonline.com/", "no-hardcoded-env-urls"),
)  # fmt: skip
