"""What the texts of a failure name: SKU, figures of a quota, image, module, exit code and so on, typed. Pure.

Written by whoever wrote the texts, so they fill advice for people and decide nothing.
"""

import re
from typing import Final

from remediations import codec
from remediations.catalogue.matchers import Groups, Symptoms
from remediations.model import Facts

_NUMBERS: Final = frozenset({"used", "limit", "needed", "nodes", "short_nodes", "exit_code", "status_code", "line"})
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}\.azurecr\.(?:io|cn|us)"
_PATTERNS: Final = tuple(
    (marks, re.compile(pattern, re.ASCII))
    for marks, pattern in (
        (("Standard_",), r"\b(?P<instance_type>Standard_[A-Z][A-Za-z0-9]{0,19}(?:_[A-Za-z0-9]{1,12}){0,4})\b"),
        (
            ("azurecr", "mcr.microsoft"),
            (
                rf"(?<![\w.-])(?P<image>(?P<registry>{_HOST}|mcr\.microsoft\.com)/[a-z0-9][\w./-]{{0,200}}"
                r"(?::[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})?)(?<![./])"
            ),
        ),
        (("azurecr",), rf"(?<![\w.-])(?P<registry>{_HOST})(?![\w-])"),
        (("o module named",), r"No module named ['\"]?(?P<module>[A-Za-z_][\w.]{0,120})"),
        (
            ("annot import name",),
            r"cannot import name ['\"]?[\w.]{1,120}['\"]? from ['\"]?(?P<module>[A-Za-z_][\w.]{0,120})",
        ),
        (
            ("satisfies the requirement", "matching distribution"),
            (
                r"(?:satisfies the requirement|No matching distribution found for) "
                r"(?P<package>[A-Za-z0-9][\w.\[\]-]{0,100}(?:[=<>!~]=?[\w.+*]{1,40})?)"
            ),
        ),
        (
            ("ResolvePackageNotFound",),
            r"ResolvePackageNotFound:\s{0,8}(?:- )?(?P<package>[A-Za-z0-9][\w.=<>*-]{0,100})",
        ),
        (("nothing provides",), r"nothing provides (?:requested )?(?P<package>[A-Za-z0-9][\w.-]{0,100})"),
        (("lient",), rf"[Cc]lient(?:[_ ]?[Ii][Dd])?[ '\"=:]{{1,4}}(?P<client_id>{_GUID})"),
        (
            ("nodes are available",),
            (
                r"\b\d{1,5}/(?P<nodes>\d{1,5}) nodes are available"
                r"(?:: [^\n]{0,120}?(?<!\d)(?P<short_nodes>\d{1,5}) Insufficient "
                r"(?P<lacking>[\w-]{1,40}(?:\.[\w-]{1,40}){0,3}(?:/[\w-]{1,40})?))?"
            ),
        ),
        (("xit",), r"[Ee]xit(?:ed)?[ _]?(?:with )?(?:[Cc]ode|status)?[ :='\"]{1,4}(?P<exit_code>\d{1,3})\b"),
        (("probe",), r"\b(?P<probe>[Ll]iveness|[Rr]eadiness|[Ss]tartup) probe"),
        (
            ("tatus", "HTTP"),
            r"(?:[Ss]tatus ?[Cc]ode:?|HTTP/?[\d.]{0,3}|[Ss]tatus:)[ \"'=]{1,3}(?P<status_code>[1-5]\d\d)\b",
        ),
        (("usage/limit",), r"[Cc]urrent usage/limit: (?P<used>\d{1,9})/(?P<limit>\d{1,9})(?!\d)"),
        (("dditional needed",), r"[Aa]dditional needed: (?P<needed>\d{1,9})(?!\d)"),
    )
)


def read(texts: Symptoms, groups: Groups | None = None) -> Facts:
    """Give what the errors name, then what the logs do; what a cause's own matcher found comes before both."""
    known: dict[str, str] = {}
    for words in (*(detail.message for detail in texts.details), texts.log):
        for marks, pattern in _PATTERNS:
            if any(mark in words for mark in marks) and (hit := pattern.search(words)) is not None:
                known = {**{name: value for name, value in hit.groupdict().items() if value}, **known}
    return typed({**known, **(groups or {})})


def typed(groups: Groups) -> Facts:
    """Give the groups of matchers as facts; a number that is none, as ``[N/A]``, is left out."""
    kept: dict[str, str | int] = {}
    for name, value in groups.items():
        if name in _NUMBERS:
            if _NUMBER.fullmatch(value) is not None:
                kept[name] = int(value)
        elif name in Facts.__struct_fields__:
            kept[name] = value.lower() if name == "probe" else value
    return codec.load(Facts, kept)
