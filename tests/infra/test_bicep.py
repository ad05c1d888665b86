"""infra/ holds no mistake that can be seen without a compiler, and the checker sees each that is seeded.

What needs Azure's resource types is in test_bicep_research.py.
"""

import pytest

from tests.conftest import ROOT
from tests.infra.bicep.__main__ import main
from tests.infra.bicep.check import check
from tests.infra.bicep.parsing import parse
from tests.infra.bicep.project import read_folder
from tests.infra.bicep.syntax import (
    Array,
    Binary,
    Call,
    Expression,
    For,
    Group,
    Index,
    Lambda,
    Member,
    Name,
    Nested,
    Null,
    Object,
    Ternary,
    Text,
    Unary,
    Variable,
    literal,
)
from tests.infra.mutations import ANYWHERE, FIXTURE, Mutation

GOOD = read_folder(ROOT / "tests/infra/fixtures/good")
INFRA = read_folder(ROOT / "infra")


def test_the_infrastructure_has_no_mistake():
    assert sum(path.endswith(".bicep") for path in INFRA) >= 10, "infra/ is not there"
    assert check(INFRA, None) == ()


def test_the_fixture_has_no_mistake():
    assert check(GOOD, None) == ()


@pytest.mark.parametrize("mutation", [found for found in FIXTURE if not found.needs_types], ids=str)
def test_a_mistake_in_the_fixture_is_found(mutation):
    assert mutation.missed(GOOD, None) is None


@pytest.mark.parametrize("mutation", [found for found in ANYWHERE if not found.needs_types], ids=str)
def test_a_mistake_in_the_infrastructure_is_found(mutation):
    assert mutation.missed(INFRA, None) is None


@pytest.mark.parametrize("mutations", [FIXTURE, ANYWHERE])
def test_the_mistakes_are_many_and_different(mutations):
    assert len({found.name for found in mutations}) == len(mutations)
    assert len({(found.path, found.find, found.put) for found in mutations}) == len(mutations) >= 40


def test_a_mistake_that_changes_nothing_is_no_test():
    with pytest.raises(LookupError, match=r"no file 'main\.bicep' has 'unheard-of'"):
        Mutation("none", "main.bicep", "unheard-of", "", "").seed(GOOD)
    with pytest.raises(LookupError):
        Mutation("the same", "main.bicep", "location", "location", "").seed(GOOD)


def test_a_damaged_file_is_told_of_and_never_breaks_the_checker():
    for path, text in GOOD.items():
        lines = text.splitlines(keepends=True)
        for number in range(0, len(lines), 6):
            check({**GOOD, path: "".join([*lines[:number], *lines[number + 1 :]])}, None)


def test_a_finding_tells_where_what_and_what_to_do():
    text = "var a = 1\nvar b = [a\n  a.lenght(b)]\noutput c int = b\n"
    assert [str(found) for found in check({"infra/x.bicep": text}, None)] == [
        "infra/x.bicep:2:5: 'b' depends on itself. Break the circle: one side must not read the other."
    ]
    text = "@description('x')\noutput c string = az.subscripton().id\n"
    assert [str(found) for found in check({"infra/x.bicep": text}, None)] == [
        "infra/x.bicep:2:22: no such function: subscripton. Did you mean subscription?"
    ]


def test_the_command_says_what_is_wrong_and_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MEDIC_RESEARCH", raising=False)
    (tmp_path / "x.bicep").write_text("var unused = 1\n")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/x.bicep:1:5: var 'unused' is never used. Use it, or remove it.\n"
    assert said.err == "1 findings in 1 Bicep files; resource types were not checked: MEDIC_RESEARCH is not set\n"
    (tmp_path / "x.bicep").write_text("targetScope = 'subscription'\n")
    assert main([str(tmp_path)]) == 0
    assert main([]) == main([str(tmp_path / "x.bicep")]) == 2


# Right, and of a kind that cannot be told, or that is told apart by a condition.
DOUBTFUL = """
type Tree = {
  name: string
  below: Tree
}

@description('x')
param text string

@description('x')
param wide bool

@description('x')
param note string?

@description('x')
param tree Tree

@description('x')
param whatever object

@description('x')
@allowed(['a', 'b'])
param choice string

var either = wide ? { a: 1 } : { b: 'x' }
var none = []
var some = wide ? none : ['a']
var numbers = [for (one, i) in range(0, 3): i + one]
var words = [for one in split(text, ','): toUpper(one)]
var objects = [for one in words: { one: one, '${one}': 1 }]

@description('x')
output all object = {
  of_either: wide ? either.a + 1 : length(either.b)
  of_none: empty(none) ? '' : toLower(none[0])
  of_some: toLower(some[0])
  of_any: any(text).x[0]['y'] > 1
  of_json: json(text).a.b + 1
  of_object: whatever.a[0].b['c'] ?? text
  of_tree: [tree.name, tree.below.below.name, tree.below.other, whatever[text]]
  of_items: map(items(whatever), each => toUpper(each.key) == each.value.x)
  of_mixed: first(concat([1], ['a']))
  of_union: union(wide ? either : {}, { c: 1 }).a
  of_unions: [union([1], ['a']), union(json(text), []), concat(json(text), []), intersection(words, some)]
  of_flat: flatten([numbers, [1]])[0] + 1
  of_objects: objects[0].anything
  of_null: note == null ? 1 : length(note ?? '')
  found: contains(words, text) && contains(whatever, text) && contains(text, note ?? '') && contains([1], numbers[0])
  last: last(words) == first(text) || take(words, 1)[0] == take(text, 1) || numbers[1] < length(words)
  coalesced: coalesce(note, text) == text
  chosen: map([choice], each => each == 'a' ? 1 : 2)
  grouped: groupBy(words, each => each)[text][0]
  where: resourceGroup().tags.anything == subscription().tags[text] || resourceGroup('x').id == text
  ids: [resourceId('Microsoft.Storage/storageAccounts', text), az.resourceGroup().location]
}
"""


def test_of_what_is_not_certain_nothing_is_said():
    assert [str(found) for found in check({"x.bicep": DOUBTFUL}, None)] == []


def _form(found: Expression) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each form
    """Write an expression with every pair of parentheses that it has in mind."""
    match found:
        case Text(parts=parts):
            return f"'{''.join(part if isinstance(part, str) else f'${{{_form(part)}}}' for part in parts)}'"
        case Name(name=name):
            return name
        case Null():
            return "null"
        case Member(of=of, name=name, is_safe=safe, is_asserted=asserted):
            return f"{_form(of)}{'!' * asserted}.{'?' * safe}{name}"
        case Index(of=of, index=index, is_safe=safe):
            return f"{_form(of)}[{'?' * safe}{_form(index)}]"
        case Nested(of=of, name=name):
            return f"{_form(of)}::{name}"
        case Call(on=on, name=name, arguments=arguments):
            return f"{'' if on is None else _form(on) + '.'}{name}({', '.join(map(_form, arguments))})"
        case Unary(operator=operator, operand=operand):
            return f"({operator}{_form(operand)})"
        case Binary(operator=operator, left=left, right=right):
            return f"({_form(left)} {operator} {_form(right)})"
        case Ternary(condition=condition, then=then, otherwise=otherwise):
            return f"({_form(condition)} ? {_form(then)} : {_form(otherwise)})"
        case Group(inner=inner):
            return _form(inner)
        case Lambda(parameter=parameter, body=body):
            return f"({parameter} => {_form(body)})"
        case For(item=item, index=index, over=over, body=body):
            return f"[for {item},{index} in {_form(over)}: {_form(body)}]"
        case Array(items=items):
            return f"[{', '.join(map(_form, items))}]"
        case Object(properties=properties):
            return f"{{{', '.join(f'{_form(item.key)}: {_form(item.value)}' for item in properties)}}}"
    return str(literal(found)).lower()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a.b == c.d ? 1 : 2", "((a.b == c.d) ? 1 : 2)"),
        ("a ? b.c : d.e ? f.g : h.i", "(a ? b.c : (d.e ? f.g : h.i))"),
        ("a.b && c.d(1)[0]", "(a.b && c.d(1)[0])"),
        ("a.b && c.d == e || f", "((a.b && (c.d == e)) || f)"),
        ("a - b * c.d - e", "((a - (b * c.d)) - e)"),
        ("a ?? b ?? c.d", "((a ?? b) ?? c.d)"),
        ("!a.b && !(c || d)", "((!a.b) && (!(c || d)))"),
        ("-1 + -a.b", "(-1 + (-a.b))"),
        ("map(x, y => y.a == b.c ? 1 : y.d)", "map(x, (y => ((y.a == b.c) ? 1 : y.d)))"),
        ("a!.b.?c[?0]!.d", "a!.b.?c[?0]!.d"),
        ("a::b.c", "a::b.c"),
        ("az.subscription().id", "az.subscription().id"),
        ("[a.b().c, d\n  e\n]", "[a.b().c, d, e]"),
        ("[for (a, i) in b: { 'c-${i}': a }]", "[for a,i in b: {'c-${i}': a}]"),
        ("'it\\'s \\${x} ${f('a', '${b}')}.'", "'it's ${x} ${f('a', '${b}')}.'"),
        ("{ /* one */ a: true // two\n b: null }", "{'a': true, 'b': null}"),
    ],
)
def test_an_expression_is_read_as_the_language_means_it(written, meant):
    file, findings = parse("x.bicep", f"var x = {written}\n")
    assert findings == ()
    assert file is not None
    (variable,) = file.of(Variable)
    assert _form(variable.value) == meant
