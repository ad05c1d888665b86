"""A checker of Bicep files for where there is no Bicep compiler: ``python -m tests.infra.bicep infra``.

It prints a line for each mistake (file:line:column, what is wrong, what to do) and exits with 1 if there is any. With
MEDIC_RESEARCH set it also knows Azure's resource types, from the data that the compiler itself uses.

What it checks, a module each, in the order in which `check` asks:

    subset      constructs that the compiler reads and one of the two grammars does not, by name
    parsing     tree-sitter-bicep, pycep-parser and our own reader accept the file; ours gives the tree (syntax)
    names       declared once, declared if used, used if declared, not hidden, no circle, no key twice
    decorators  they exist, where they belong, with fixed values that fit; each param and output is described
    operators   kinds of operands, indexes, conditions; kinds and words that are compared can be equal, or in an order
    calls       functions exist and get what they take, alone and together; members exist, and only objects have any;
                loaded files are there; resource ids are whole; resourceGroup() only where there is one
    loops       they stand where they may, what they made is told apart by an index
    parameters  values, defaults and outputs fit type, items, fields, @allowed, lengths, ranges; null only where it
                may be
    modules     the file, its params and outputs, its scope, its name, dependsOn, imports; no module or output that
                nobody reads
    resources   type and version, properties, required, read-only, enumerations, forms by discriminator, kinds, null,
                lengths, patterns; parents, names, scopes, of existing ones too; what is read of a resource is there
    conditions  what is deployed under a condition is read under it
    timing      names, scopes, conditions and what loops go over are known when the deployment starts
    secrets     none in an output, in a plain param or as a default
    linter      some of the compiler's linter rules

What is known of an expression (`values`, and `Context.value` in `project`) is its kind (string, int, bool, array,
object, null), the items of an array, the fields of an object and the words that it can be: through variables, loops,
lambdas, ternaries, loaded JSON, params, outputs, users' types, and what Azure's types say of a resource. Where that is
not certain, nothing is said.

What it cannot check: what comes from `any` or `json`, or is in a param of type object or in an array without a type for
its items; keys that are filled in; fields that a user's type demands and an object lacks; lengths of strings that are
put together (but for the name of a module); which of two strings belongs where; an order that no read implies; the
other linter rules; and anything that Azure decides while it deploys: policies, quotas, names that are taken, rights,
regions, whether a combination of valid properties makes sense. Nothing here replaces `az bicep build` and what-if,
which run in the workflow infra.yml. A resource type that the data lacks is named as unknown; `types.BY_HAND` is where
one is added.

To add a check: yield a `Finding` from the module that it belongs to, and put a mistake that it finds into the list of
tests/infra/mutations.py: `FIXTURE` for the fixture, `ANYWHERE` for whatever file of infra/ has the text. A false alarm
on infra/, on the fixture or on what tests/infra/test_bicep.py holds to be doubtful fails the tests.
"""
