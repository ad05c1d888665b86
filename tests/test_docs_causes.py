"""docs/causes.md is what `medic causes --markdown` prints, and reads well."""

import re
from pathlib import Path

from local.commands import causes
from remediations.catalogue import CAUSES

PAGE = Path(__file__).parent.parent / "docs" / "causes.md"
MARKDOWN = causes.markdown()
PROSE = re.sub(r"^```.*?^```$", "", MARKDOWN, flags=re.DOTALL | re.MULTILINE)
HEADINGS = re.findall(r"^##+ (.+)$", PROSE, re.MULTILINE)


def test_the_page_is_what_the_command_prints() -> None:
    assert PAGE.read_text(encoding="utf-8") == MARKDOWN, "run `make docs`"


def test_every_cause_has_a_section_under_its_code() -> None:
    under, code = {}, ""
    for level, heading in re.findall(r"^(##+) (.+)$", PROSE, re.MULTILINE):
        code = heading if level == "##" else code
        under.update({heading: code} if level == "###" else {})
    assert under == {cause.id: cause.code for cause in CAUSES}


def test_every_link_on_the_page_leads_to_one_heading() -> None:
    anchors = [causes.anchor(heading) for heading in HEADINGS]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", PROSE)) == set(anchors)


def test_the_contents_count_the_causes_of_each_code() -> None:
    rows = re.findall(r"^\| \[?([\w-]+)\]?\S* \| (\d+) \| (.+) \|$", PROSE, re.MULTILINE)
    assert {code: (int(count), re.findall(r"\[([\w-]+)\]", links)) for code, count, links in rows} == {
        code: (len(names), names)
        for code in {code for cause in CAUSES for code in causes.codes(cause)}
        if (names := [cause.id for cause in CAUSES if code in causes.codes(cause)])
    }


def test_no_brace_of_an_advice_or_a_command_is_left() -> None:
    commands = re.findall(r"^\$ .+$", MARKDOWN, re.MULTILINE)
    assert [line for line in (*PROSE.splitlines(), *commands) if re.search(r"\{\w+\}", line)] == []


def test_blocks_are_closed() -> None:
    assert MARKDOWN.count("\n```text\n") + MARKDOWN.count("\n```console\n") == MARKDOWN.count("\n```\n")
    assert "\n\n\n" not in MARKDOWN
