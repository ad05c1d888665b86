"""Azure's error texts, read into typed details.

One failure reaches us as an ARM body, the activity log's JSON string, the SDK's or the CLI's rendering, a line of a CI
log or a cut from any of these, and often as several of them inside each other. What can be read strictly is; the rest
is read by its marks: quoted keys, ``(Code) text``, ``Code: ... Message: ...``. Never raises; bounded in size and depth.
"""

import ast
import builtins
import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from remediations.model import ErrorDetail
from remediations.redaction import redact

_MAX_DEPTH: Final = 12
_MAX_NESTING: Final = 100
_MAX_SIZE: Final = 256 * 1024
_MAX_DETAILS: Final = 100
_MAX_MESSAGE: Final = 8192
_MAX_KEPT: Final = 4096
_LIKE_A_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_WINDOW: Final = 8192


def parse(text_or_json: object) -> tuple[ErrorDetail, ...]:
    """Return every error that a text or a decoded JSON value tells of, the deepest first."""
    reader = _Reader()
    reader.read(text_or_json, 0)
    return _without_repeats(reader.details)


def parse_redacted(text_or_json: object) -> tuple[ErrorDetail, ...]:
    """Return what `parse` returns as it may be kept: without secrets, and each message at most 4096 characters."""
    return tuple(kept for kept in map(_kept, parse(text_or_json)) if kept.code or kept.message)


def _kept(detail: ErrorDetail) -> ErrorDetail:
    """Give a detail as it may be kept. Codes go where texts do not, so one that is none is a text."""
    code, message = detail.code, detail.message
    is_one_word = message.startswith((":", "="))  # `Code: AccountKey=...` is no code and its message
    if code is not None and (is_one_word or _LIKE_A_CODE.fullmatch(code) is None or redact(code) != code):
        code, message = None, f"{code}{message}" if is_one_word else f"{code}\n{message}".strip()
    return ErrorDetail(code=code, message=redact(message)[:_MAX_KEPT], depth=detail.depth)


def deepest(details: tuple[ErrorDetail, ...]) -> ErrorDetail | None:
    """Return the most specific detail: the deepest whose text says more than that something failed."""
    return max(details, key=_specificity, default=None)


def anchors(text: str) -> tuple[str, ...]:
    """Return the names of the troubleshooting links in a text, as ``error-outofquota`` or ``amlarc-tsg``."""
    found = ((fragment if _GUIDE.match(page) else "") or page for page, fragment in _LINK.findall(text))
    return tuple(dict.fromkeys(name.lower() for name in found))


_GUIDE: Final = re.compile(r"(?i)oe-tsg\Z|how-to-troubleshoot-")
_LINK: Final = re.compile(
    r"""(?xi) (?: aka\.ms/ | (?:docs|learn)\.microsoft\.com/(?:[\w-]{1,40}/){1,6}(?=how-to-troubleshoot-) )
    ([a-z0-9-]++)(?:\?[\w.=&%-]{0,200})?(?:\#([\w-]++))?"""
)

# --- what says nothing by itself -----------------------------------------------------------------------------------

WRAPPER_CODES: Final = frozenset(
    {
        *("BadRequest", "DeploymentFailed", "InvalidTemplateDeployment", "ResourceDeploymentFailure"),
        *("ResourceOperationFailure", "InferencingClientCallFailed", "InferencingClientCreateDeploymentFailed"),
        *("ServiceError", "UserError", "ValidationError", "KubernetesError", "KubernetesDeploymentFailed"),
    }
)
_SAYS_NOTHING: Final = re.compile(
    r"""(?ix) \W* (?:
        the\ request\ is\ invalid | operation\ failed\ or\ cancell?ed | (?:conflict|not\ found|internalservererror)\W*\Z
        | one\ or\ more\ validation\ errors\ occurred | at\ least\ one\ resource\ deployment\ operation\ failed
        | the\ resource\ (?:write\ )?operation\ (?:failed|completed)[^.]{0,80}\ terminal\ provisioning\ state
        | the\ template\ deployment\ [^.]{0,200}is\ not\ valid
        | inferencingclient\ httprequest\ error,\ error\ detail\W*\Z
        | service\ deployment\ polling\ reached\ non-successful\ terminal\ state | activity\ failed\W*\Z
        | (?:\w+\ )?deployment\ (?:failed|error)\W*\Z | the\ specified\ resource\ was\ not\ found\W*\Z | \Z
    )"""
)


def _specificity(detail: ErrorDetail) -> tuple[bool, int, bool]:
    says_something = _SAYS_NOTHING.match(detail.message) is None
    names_something = detail.code is not None and detail.code not in WRAPPER_CODES
    # Among empty phrases the code decides, so that a bare "Canceled" is not hidden by what wraps it.
    return says_something, detail.depth if says_something else int(names_something), names_something


def _without_repeats(details: list[ErrorDetail]) -> tuple[ErrorDetail, ...]:
    """Order by depth, then drop what is told twice: SDK and CLI print the same error up to three times."""
    if len(details) < 2:
        return tuple(details)
    kept: dict[tuple[str | None, str], ErrorDetail] = {}
    for detail in sorted(details, key=lambda detail: -detail.depth):
        kept.setdefault((detail.code, " ".join(detail.message.lower().split())), detail)
    coded = {message for code, message in kept if code is not None}
    codes = {code for code, message in kept if message}
    return tuple(
        detail
        for (code, message), detail in kept.items()
        if not (code is None and message in coded) and not (not message and code in codes)
    )


# --- reading -------------------------------------------------------------------------------------------------------

_CODE_KEYS: Final = ("code", "errorcode")
_MESSAGE_KEYS: Final = ("message", "errormessage", "msg")
_CARRIERS: Final = (
    *("error", "innererror", "details", "errors", "properties", "statusmessage", "responsebody", "response", "body"),
    *("exception", "content"),
)
_KNOWN_KEYS: Final = frozenset({*_CODE_KEYS, *_MESSAGE_KEYS, *_CARRIERS, "title"})
# Stands for a JSON value that was taken out of a text; private use, and taken out of the text before.
_OPEN, _CLOSE = "\ue000", "\ue001"
_TAKEN_OUT: Final = re.compile(f"{_OPEN}([0-9]{{1,6}}){_CLOSE}")
# What surely is no JSON is passed over: an array of no objects, and a key that no colon follows.
_JSON_START: Final = re.compile(
    r"""(?x) \{\s*+"(?![^"\\]{0,64}+"\s*+[^:\s]) | \[\s*+(?:\[ | \{\s*+(?:\} | "(?![^"\\]{0,64}+"\s*+[^:\s])))"""
)
# A body as Python prints bytes: `b'{"code": ...}'`, quotes and backslashes escaped once more.
_BYTES: Final = re.compile(r"""(?<![\w])b(?=['"]\s*+[{\[])(?:'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+")""")
_DECODER: Final = json.JSONDecoder()

# Where the escape character was lost or written out, only what sets a colour is known for what it is.
_SGR: Final = r"\[[0-9]{1,2}(?:;[0-9]{1,3}){0,4}m"
_COLOUR: Final = re.compile(
    rf"\x1b\[[0-9;?]{{0,16}}[A-Za-z]|{_SGR}|\^\[{_SGR}|\u241b{_SGR}|\ufffd{_SGR}|\\(?<!\\\\)\\*+(?:x1b|u001b|033|e){_SGR}"
)
_QUOTED_LINE: Final = re.compile(r"(?m:^(?:>(?:[ \t]{1,4}|$))+)")
# Two stars: three are a mask, and those beside a slash a path.
_BOLD: Final = re.compile(r"(?<![*\w/])\*\*(?=[^*\s/])([^*\n]{1,200})(?<!\s)\*\*(?![*\w/])")
_FENCE: Final = re.compile(r"```\w{1,16}(?=\r?\n)")
_DECORATION: Final = re.compile(
    rf"[{_OPEN}{_CLOSE}\x00]|##\[[a-z]{{1,12}}\]|##vso\[task\.[^\]\n]{{1,200}}\]"
    r"|(?m:^[ \t]{0,8}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?[ \t]+)"
)
_HALF_PAIR: Final = re.compile(
    "[\ud800-\udfff]"
)  # JSON in a text may hold one, escaped; what is no Unicode is not kept
_DATE: Final = re.compile(r"-\d\dT")
_CONTAINER_EVENT: Final = re.compile(
    r"Kind: (?P<kind>\w++), Name: (?P<name>\w++), Type: (?P<type>\w++), Time: [^\s,]++, "
    r"Message: (?P<message>(?:(?!Kind: \w++, Name: )[^\n])*+)"
)
_CODE: Final = r"[A-Za-z][A-Za-z0-9_.]{1,79}"
# A mark begins with one of a few letters, so that a search runs over all others; what else it needs is looked back at.
_AFTER_FIRST: Final = rf"""
    (?<![A-Za-z][CcEeMIAT])
    (?: (?<=\()(?P<paren>{_CODE})\)(?=\s|\Z)
      | (?: (?<=<)Code>
          | (?<!Status\ .)(?<!Response\ .)
            (?: (?:(?<=C)|(?<=[Ee])rror\ ?C)ode(?:[ \t]{{0,4}}[:=]|\n)
              | (?:(?<=rror\ c)|(?<=[Ee])rror\ c)ode[:\n] ) )
        \s{{0,16}}["']?(?P<code>{_CODE})(?:["']|</Code>)?
      | (?P<message> (?<=<)Message>
          | (?:(?<=M)|(?<=[Ee])rror\ ?M)essage(?:[ \t]{{0,4}}[:=]|\n)[ \t]{{0,16}}["']? )
      | (?P<inner> (?:(?<=E)xception\ Details|(?<=I)nner\ ?(?:Errors?|Exception)): )
      | (?P<other> (?:(?<=A)dditional\ Information|(?<=T)arget):|(?<=<)/Message> )
    )
    """
_MARK: Final = re.compile(rf"(?x) [(<CEMIAT] {_AFTER_FIRST}")
# The letters c and e are most of those places, and few texts have a mark that begins with them.
_MARK_OR_ERROR: Final = re.compile(rf"(?x) [(<CcEeMIAT] {_AFTER_FIRST}")
_ERROR_MARK: Final = re.compile(r"rror ?(?:[Cc]ode|Message)")
_ESCAPED_BREAK: Final = re.compile(
    r"(?:\\{1,8}[nrt]){1,4}\s{0,8}(?=(?:Code|Message|Exception Details|Inner ?Errors?|Target):|\([A-Z])"
)
_CUT_PAREN: Final = re.compile(rf"\s*+({_CODE})\)(?=\s)")
_PREFIX: Final = re.compile(r"([A-Z]\w{2,79}+):\s++(?=\S)")
_ONE_WORD_CODES: Final = {"Conflict", "Forbidden", "Unauthorized", "Unschedulable", "Canceled", "Cancelled"}
_CALLER: Final = re.compile(r"(?:(?:ERROR|Error|stderr|Content|(?:[\w.]{1,80}\.)?HttpResponseError)\s*+:\s*+)+")
_NOT_CODES: Final = {
    "HttpResponseError",
    "ResourceNotFoundError",
    "ResourceExistsError",
    "ClientAuthenticationError",
    "LibMambaUnsatisfiableError",
    "CondaValueError",
}

_FRAGMENT: Final = re.compile(
    r"""(?xi)
      (?P<brace>[{}])
    | (?<!\\)(?P<quote>\\*+["'])(?P<key>code|errorcode|message|errormessage|msg|title|errors|details)(?P=quote)\s*+[:=]
    | (?<!\\)(?P<field>\\*+["'])(?P<name>[\w.\[\]]{0,80}+)(?P=field)\s*+:\s*+\[\s*+(?=\\*+["'])
    """
)
_JSON_GOES_ON: Final = re.compile(r"""[\s,}\])]*+(?:["']|\Z)""")
_BRACKETS: Final = " \t\r\n{[("
_TWO_WORDS: Final = re.compile(r"\w\W+\w")
_QUOTE: Final = re.compile(r"""[^"'\\]*+(\\*+)(["'])?""")
_OPENING: Final = re.compile(r"\s*+(\\*+)([\"'])")
_FRAGMENT_KEY: Final = re.compile(
    r"""(?i)["'](?:code|errorcode|message|errormessage|msg|title|errors)\\*+["']\s*+[:=]"""
)


class _Segment:
    """A stretch of text that belongs to one error."""

    def __init__(self, code: str | None, depth: int, start: int, *, dropped: bool = False) -> None:
        self.code = None if code == "None" else code
        self.depth = depth
        self.start = start
        self.dropped = dropped
        self.body = ""


class _Value(NamedTuple):
    """A JSON value that was found in a text, and how it stood there."""

    value: object
    source: str


class _Reader:
    """Gathers details from one value, within bounds."""

    def __init__(self) -> None:
        self.details: list[ErrorDetail] = []
        self._nesting = 0
        # Every level of nesting reads its text once more; this bounds all of them together.
        self._left = 4 * _MAX_SIZE
        # Each place where JSON may begin costs one, and one more for every 500 characters that were read in vain.
        self._effort = 5_000

    def read(self, value: object, depth: int, code: str | None = None) -> None:
        """Read any value; ``code`` is what the object said whose message this is."""
        if self._nesting >= _MAX_NESTING or self._is_full():
            return
        self._nesting += 1
        if isinstance(value, str):
            self._read_text(value[:_MAX_SIZE], depth, code)
        elif isinstance(value, bytes | bytearray):
            self._read_text(bytes(value[:_MAX_SIZE]).decode("utf-8", "replace"), depth, code)
        elif isinstance(value, Mapping):
            self._read_object(value, depth)
        elif isinstance(value, list | tuple):
            for item in value[:_MAX_DETAILS]:
                self.read(item, depth)
        self._nesting -= 1

    def _is_full(self) -> bool:
        return len(self.details) >= _MAX_DETAILS

    def _add(self, code: str | None, message: str, depth: int) -> None:
        if self._is_full():
            return
        message = _HALF_PAIR.sub("\ufffd", _tidy(message))
        code = _HALF_PAIR.sub("\ufffd", code) if code else code
        if code or message:
            self.details.append(ErrorDetail(code=code, message=message[:_MAX_MESSAGE], depth=min(depth, _MAX_DEPTH)))

    # JSON

    def _read_object(self, value: Mapping[object, object], depth: int) -> None:
        fields = {str(key).lower().replace("_", ""): item for key, item in value.items()}
        code = next((item for key in _CODE_KEYS if isinstance(item := fields.get(key), str) and item), None)
        message = next((item for key in _MESSAGE_KEYS if (item := fields.get(key))), None)
        inner = depth
        if code is not None or message is not None:
            if isinstance(message, str):
                self.read(message, depth, "None" if code is None else code)
            else:
                self._add(code, "", depth)
                self.read(message, depth + 1)
            inner += 1
        for carrier in _CARRIERS:
            if carrier == "errors" and isinstance(fields.get(carrier), Mapping):
                self._read_fields(fields[carrier], inner)
            elif carrier in fields:
                self.read(fields[carrier], inner)
        title = fields.get("title")
        if inner == depth and isinstance(title, str) and not _SAYS_NOTHING.match(title):
            self._add(None, title, depth)

    def _read_fields(self, errors: object, depth: int) -> None:
        """Read ``{"VmSize": ["Not enough quota ..."]}``: the field's name is part of what it says."""
        if not isinstance(errors, Mapping):
            return
        for name, texts in list(errors.items())[:_MAX_DETAILS]:
            for text in texts if isinstance(texts, list) else [texts]:
                if isinstance(text, str):
                    self._add(None, f"{name}: {text}" if name else text, depth + 1)
                else:
                    self.read(text, depth + 1)

    # text

    def _read_text(self, text: str, depth: int, code: str | None) -> None:
        """Read a text; what stands in it before any mark is the message of ``code``."""
        self._left -= len(text)
        text = _undecorated(text).strip()
        if depth >= _MAX_DEPTH or self._left < 0:
            self._add(None if code == "None" else code, text, depth)
            return
        if len(text) > 2 and text[0] == text[-1] == '"' and isinstance(inner := _decoded(text), str):
            self.read(inner, depth, code)
            return
        if "b'" in text or 'b"' in text:
            text = _BYTES.sub(_written_out, text)
        values: list[_Value] = []
        text = self._take_out_json(text, values)
        is_keyed = ('"' in text or "'" in text) and _FRAGMENT_KEY.search(text) is not None
        if "\\n" in text and not is_keyed:
            text = _ESCAPED_BREAK.sub("\n", text)
        before = len(self.details)
        segments = self._segments(self._take_out_events(text, depth), depth, code)
        for segment in segments:
            if self._is_full():
                break
            self._read_segment(segment, values, is_keyed=is_keyed, is_alone=len(segments) == 1)
        if code is None and len(self.details) == before:
            self._add(None, _put_back(text, values), depth)

    def _take_out_json(self, text: str, values: list[_Value]) -> str:
        """Replace each JSON object and array in a text by a mark, and gather their values."""
        if "{" not in text and "[" not in text:
            return text
        parts: list[str] = []
        done, at = 0, 0
        # The decoder's errors count the lines before them, so that it is given no more of these than a window.
        window, base = text, 0
        while self._effort > 0 and (start := _JSON_START.search(text, at)):
            at = start.start()
            if at - base > _WINDOW:
                window, base = text[at:], at
            self._effort -= 1
            try:
                value, end = _DECODER.raw_decode(window, at - base)
            except json.JSONDecodeError as error:
                self._effort -= (base + error.pos - at) // 500
                at += 1
                continue
            except RecursionError:
                break
            end += base
            if _is_telling(value):
                parts += (text[done:at], f"{_OPEN}{len(values)}{_CLOSE}")
                values.append(_Value(value, text[at:end]))
                done = end
            at = end
        return "".join((*parts, text[done:]))

    def _take_out_events(self, text: str, depth: int) -> str:
        """Read the warnings among the container events of a deployment log; the others tell of no error."""

        def read(event: re.Match[str]) -> str:
            if event["type"] == "Warning":
                self._add(event["name"], event["message"], depth + 1)
            return ""

        return _CONTAINER_EVENT.sub(read, text) if "Kind: " in text else text

    def _segments(self, text: str, depth: int, code: str | None) -> list[_Segment]:
        """Cut a text at its marks."""
        inner = depth if code is None else depth + 1
        segments = [_Segment(code, depth, 0)]
        if cut := _CUT_PAREN.match(text):
            segments.append(_Segment(cut[1], inner, cut.end()))
        pattern = _MARK_OR_ERROR if _ERROR_MARK.search(text) else _MARK
        for mark in pattern.finditer(text, segments[-1].start):
            last = segments[-1]
            kind = mark.lastgroup
            if kind == "paren" and not _may_start(text, mark.start()):
                continue
            last.body = text[last.start : mark.start()].strip()
            if kind == "message" and last.code and not last.dropped and not last.body.strip(" ,;(-"):
                last.start = mark.end()  # `Code: X Message: ...`: the same error
                continue
            if kind == "inner":
                inner = min(inner, last.depth) + 1
            named = mark[kind] if kind in {"paren", "code"} else None
            segments.append(_Segment(named, inner, mark.end(), dropped=kind == "other"))
        segments[-1].body = text[segments[-1].start :].strip()
        return _with_trailing_codes([segment for segment in segments if not segment.dropped])

    def _read_segment(self, segment: _Segment, values: list[_Value], *, is_keyed: bool, is_alone: bool) -> None:
        code, body = segment.code, segment.body
        if caller := _CALLER.match(body):
            body = body[caller.end() :]
        if code is None and (prefix := _leading_code(body)):
            code, body = prefix
        plain, mark, rest = _at_first_value(body)
        fragment = _FRAGMENT_KEY.search(plain) if is_keyed else None
        if not mark and not fragment:
            if is_alone or code or _TWO_WORDS.search(body):
                self._add(code, body, segment.depth)
            return
        before = len(self.details)
        if fragment:
            start = len(plain[: fragment.start()].rstrip("\\").rstrip(_BRACKETS))
            plain, rest = plain[:start], plain[start:] + mark + rest
        else:
            plain = plain.rstrip(_BRACKETS)
        inner = segment.depth + (1 if code or _TWO_WORDS.search(plain) else 0)
        for number in _TAKEN_OUT.findall(mark + rest):
            self.read(values[int(number)].value, inner)
        rest = _TAKEN_OUT.sub(" ", rest)
        if fragment or _FRAGMENT_KEY.search(rest):
            self._read_fragments(rest, inner)
            rest = ""
        if len(self.details) == before:
            if is_alone or code or _TWO_WORDS.search(body):
                self._add(code, _put_back(body, values), segment.depth)
        else:
            message = plain if _JSON_GOES_ON.match(rest) else f"{plain} {rest}"
            # Around what was found, a word like "Error:" tells nothing.
            if code or _TWO_WORDS.search(message):
                self._add(code, message, segment.depth)

    def _read_fragments(self, text: str, depth: int) -> None:
        """Read JSON that is cut, masked, escaped or a Python repr by its quoted keys alone."""
        code: str | None = None
        message: str | None = None
        in_errors = False
        first = _FRAGMENT_KEY.search(text)
        # The first key stands at the depth where we are, whatever brackets are before it.
        level = 0 if first is None else -text.count("{", 0, first.start())
        at = 0
        while not self._is_full() and (token := _FRAGMENT.search(text, at)):
            at = token.end()
            key = (token["key"] or "").lower()
            value = ""
            if key and key not in {"errors", "details"}:
                value, at = _quoted(text, at)
            ends = (
                token["brace"]
                or (code is not None and key.endswith("code"))
                or (message is not None and key in _MESSAGE_KEYS)
            )
            if ends and (code or message):
                self._finish_fragment(code, message, depth + max(0, level))
                code = message = None
            if token["brace"]:
                level += 1 if token["brace"] == "{" else -1
            elif key.endswith("code"):
                code = value or None
            elif key in _MESSAGE_KEYS:
                message = value
            elif key == "title":
                if not _SAYS_NOTHING.match(value):
                    self._add(None, value, depth + max(0, level))
            elif key:
                in_errors = in_errors or key == "errors"
            elif in_errors:
                value, at = _quoted(text, at)
                self._add(None, f"{token['name']}: {value}" if token["name"] else value, depth + max(0, level))
        if code or message:
            self._finish_fragment(code, message, depth + max(0, level))

    def _finish_fragment(self, code: str | None, message: str | None, depth: int) -> None:
        if message:
            self.read(message, min(depth, _MAX_DEPTH), code or "None")
        else:
            self._add(code, "", depth)


def _undecorated(text: str) -> str:
    if "[" in text:
        text = _COLOUR.sub("", text)
    if "`" in text:
        text = _FENCE.sub("", text).replace("`", "")
    if "**" in text:
        text = _BOLD.sub(r"\1", text)
    if text[:1] == ">" or "\n>" in text:
        text = _QUOTED_LINE.sub("", text)
    # Most texts have none of it, which is sooner seen so than by trying the pattern at each place.
    if "##" in text or _OPEN in text or _CLOSE in text or "\0" in text or _DATE.search(text):
        text = _DECORATION.sub("", text)
    return text


def _written_out(literal: re.Match[str]) -> str:
    """Give the text of a Python bytes literal; what only looks like one stays."""
    try:
        value = ast.literal_eval(literal[0])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return literal[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else literal[0]


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_telling(value: object) -> bool:
    """Whether a JSON value found in a text may hold an error; the insides of a broken one may not, by themselves."""
    if isinstance(value, Mapping):
        return any(str(key).lower().replace("_", "") in _KNOWN_KEYS for key in value)
    return isinstance(value, list) and any(map(_is_telling, value[:_MAX_DETAILS]))


def _put_back(text: str, values: list[_Value]) -> str:
    return _TAKEN_OUT.sub(lambda mark: values[int(mark[1])].source, text) if values else text


def _may_start(text: str, at: int) -> bool:
    """Whether ``(Word)`` at this place names an error: it begins a line or follows a colon, not in a sentence."""
    before = text[max(0, at - 32) : at].rstrip(" \t")
    return not before or before[-1] in "\n:'\""


def _with_trailing_codes(segments: list[_Segment]) -> list[_Segment]:
    """Give ``text ... Code: X`` at the end of a text its code, and drop codes that only repeat."""
    kept: list[_Segment] = []
    codes: set[str | None] = set()
    for segment in segments:
        if segment.code is None or segment.body.strip(" ,.;:()'\"\n"):
            kept.append(segment)
            codes.add(segment.code)
        elif segment.code in codes:
            continue
        elif kept and kept[-1].code is None and kept[-1].body:
            kept[-1].code = segment.code
            codes.add(segment.code)
        else:
            segment.body = ""
            kept.append(segment)
            codes.add(segment.code)
    return kept


def _leading_code(body: str) -> tuple[str, str] | None:
    """Split ``OutOfQuota: text``; the name of a Python exception is no code."""
    prefix = _PREFIX.match(body)
    if prefix is None:
        return None
    code = prefix[1]
    humps = sum(map(str.isupper, code))
    reads_as_code = code in _ONE_WORD_CODES or code.startswith("ERR_") or (humps > 1 and not code.isupper())
    if not reads_as_code or hasattr(builtins, code) or code in _NOT_CODES or code.endswith("Exception"):
        return None
    return code, body[prefix.end() :]


def _at_first_value(body: str) -> tuple[str, str, str]:
    """Cut a text around the first JSON value that was taken out of it."""
    mark = _TAKEN_OUT.search(body) if _OPEN in body else None
    if mark is None:
        return body, "", ""
    return body[: mark.start()], mark[0], body[mark.end() :]


def _tidy(message: str) -> str:
    """Take off blanks and the quotes that a rendering put around, or left of, a message."""
    message = message.strip(" \t\r\n,;")
    if '"' in message[:1] + message[-1:] and (message[0] == message[-1] or message.count('"') == 1):
        message = message.strip('"')
    return message if any(map(str.isalnum, message)) else ""


def _quoted(text: str, at: int) -> tuple[str, int]:
    """Return the quoted value at a place, unescaped, and where it ends; nothing where no quote stands."""
    opening = _OPENING.match(text, at)
    if opening is None:
        return "", at
    start = opening.end()
    for closing in _QUOTE.finditer(text, start, start + _MAX_SIZE):
        # Fewer backslashes than the opening has: the string around us ends here.
        if closing[2] == opening[2] and len(closing[1]) <= len(opening[1]):
            return _unescaped(text[start : closing.start(1)]), closing.end()
    return _unescaped(text[start:]), len(text)


_ESCAPE: Final = re.compile(r"(?<!\\)\\++([\"'/rnt])")
_BLANKS: Final = {"r": "", "n": "\n", "t": "\t"}


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda escape: _BLANKS.get(escape[1], escape[1]), text) if "\\" in text else text
