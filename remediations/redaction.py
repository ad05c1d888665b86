"""Take secrets out of text before it is kept, shown or sent.

Masks too much rather than too little, but leaves what a diagnosis needs: resource ids, GUIDs, image digests, model
names, error codes. Pure; every pattern takes time linear in the text, since containers write what they like into logs.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

MASK: Final = "<redacted>"
EMAIL_MASK: Final = "<email>"
CUT_MARK: Final = "[earlier text cut]\n"

_PEM_BEGIN: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}KEY-----|\Z)", re.DOTALL
)
_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_PEM_BODY: Final = "".join(map(chr, range(48, 58))) + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/=\\ \t\r\n"

# In each, a character that may start a match stands after a look-behind or fixed text, and runs are possessive:
# no position is ever scanned from many starts.
_TOKENS: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{16,}+(?:\.[\w-]*+){0,4}"  # JWT, whole or cut
    r"|(?<![A-Za-z0-9])(?:gh[a-z]_|github_pat_|glpat-|hf_|dckr_[a-z]{2,5}_|xox[a-z]-|sk-|npm_|pypi-)[\w=-]{16,}+"
    r"|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{20,}+"  # Entra client secret
    r"|(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=)(?![A-Za-z0-9+/=])"  # 64 and 32 bytes: account keys
    r"|(?<![A-Za-z0-9+/])[A-Za-z0-9]{40,80}(?:\+ACR|ACR|AZC|\+ASt|AzSe)[A-Za-z0-9+/]{6,12}={0,2}(?![A-Za-z0-9+/=])"
)
_SCHEME: Final = re.compile(
    r"(?i)(?<![\w-])(bearer|basic|sharedkey(?:lite)?|sharedaccesssignature)([ \t]{1,8})[^\s\"'\\,;<>]{16,}+"
)
_HEADER: Final = re.compile(
    r"(?i)(?<![\w])((?:proxy-)?authorization|(?:set-)?cookie)([ \t]{0,4}:[ \t]{0,4})(?=[^\s\"'])([^\"'\r\n]++)"
)
_USERINFO: Final = re.compile(r"(://[^\s/:@\"'<>]{0,256}+:)([^\s/@\"']++)(?=@)")
_SIGNATURE: Final = re.compile(r"(?i)(?<=[?&])(sig|code|[a-z_-]{0,40}(?:key|token|secret|signature))=([^\s&\"'<>;]++)")
_OPTION: Final = re.compile(r"(?<![\w-])--([\w-]++)([ \t]++)(?!-)(\"[^\"\n]{0,4096}\"|'[^'\n]{0,4096}'|\S++)")
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]++@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}(?![A-Za-z0-9-])")

# name, then = or : (also quoted, escaped, `=>`, `["name"] =`)
_ASSIGNMENT: Final = re.compile(
    r"(?<![\w.-])([A-Za-z_][\w.-]*+)(?:\\*+[\"'])?+\]?+[ \t]{0,16}(:=|=>|[:=])[ \t]{0,16}"
    r"(?:\r?\n[ \t]{0,64}(?=\\*[\"']))?"
)
_OPENING: Final = re.compile(r"(\\*+)([\"'])")
_CLOSING: Final = re.compile(r"(?<!\\)(\\*+)([\"'])")
_BARE: Final = re.compile(r"[^\s\"';]++")
_LONGEST_QUOTED: Final = 8192

# The name without case and separators; these are masked whatever is assigned to them ...
_STRONG: Final = (
    *(
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "pass",
        "secret",
        "token",
        "connectionstring",
        "credential",
        "credentials",
    ),
    *("apikey", "accesskey", "accountkey", "sharedkey", "sharedaccesskey", "privatekey", "primarykey", "secondarykey"),
    *("masterkey", "signingkey", "subscriptionkey", "instrumentationkey", "encryptionkey", "functionskey", "hostkey"),
    *("adminkey", "storagekey", "registrykey", "authkey", "secretkey", "sastoken", "signature", "authorization"),
)
# ... and these only where the value looks like a secret: sentences and counts use the same words.
_WEAK: Final = ("key", "keys", "tokens", "secrets", "passwords", "sig", "sas", "auth", "cookie")
_PROSE: Final = {"secret", "token", "credential", "credentials", "pass", "signature"}
_PLAIN: Final = {"", "none", "null", "true", "false", "undefined", "***"}
_COUNT: Final = re.compile(r"[-+]?[0-9][0-9.,_]*[0-9]?|[0-9]")


def redact(text: str) -> str:
    """Return the text with secrets and e-mail addresses masked; redacting twice changes nothing more."""
    # A mask can end a word that hid another secret's beginning; two passes nearly always suffice.
    for _ in range(8):
        masked = _redact_once(text)
        if masked == text:
            break
        text = masked
    return text


def tail(text: str, limit: int = 8192) -> str:
    """Return the end of the text in at most ``limit`` bytes of UTF-8, from the start of a line where one is near.

    Says so in a first line when something was cut. Redact before: half a secret is not recognised.
    """
    content = text.encode("utf-8", "surrogatepass")
    if len(content) <= limit:
        return text
    mark = CUT_MARK if len(CUT_MARK) < limit else ""
    kept = content[len(content) - (limit - len(mark)) :] if limit > len(mark) else b""
    start = next((at for at, byte in enumerate(kept[:4]) if byte & 0xC0 != 0x80), len(kept))
    rest = kept[start:].decode("utf-8", "surrogatepass")
    _, newline, lines = rest.partition("\n")
    # One line longer than half of what is left is worth more than its beginning is clean.
    return mark + (lines if newline and len(lines) * 2 >= len(rest) else rest)


def _redact_once(text: str) -> str:
    text = _mask_pem(text)
    for sign, pattern, mask in _MASKED:
        if sign in text:
            text = pattern.sub(mask, text)
    text = _mask_assignments(text)
    return _EMAIL.sub(EMAIL_MASK, text) if "@" in text else text


def _mask_pem(text: str) -> str:
    if "PRIVATE KEY-----" not in text:
        return text
    text = _PEM_BEGIN.sub(MASK, text)
    # A log that was cut inside a key has only its end.
    *cut, rest = _PEM_END.split(text)
    return "".join(part.rstrip(_PEM_BODY) + MASK for part in cut) + rest


def _mask_option(match: re.Match[str]) -> str:
    name, space, value = match.groups()
    if _strength(name) and _is_secret(name, value.strip("\"'"), certain=True):
        return f"--{name}{space}{MASK}"
    return match[0]


# What every match of a pattern has in it, so that most texts are spared the search; the pattern; what takes its place.
_MASKED: Final[tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (":", _HEADER, rf"\1\2{MASK}"),
    ("", _SCHEME, rf"\1\2{MASK}"),
    ("", _TOKENS, MASK),
    ("://", _USERINFO, rf"\1{MASK}"),
    ("=", _SIGNATURE, rf"\1={MASK}"),
    ("--", _OPTION, _mask_option),
)


def _mask_assignments(text: str) -> str:
    parts: list[str] = []
    done = 0
    match = _ASSIGNMENT.search(text)
    while match:
        at = match.end()
        if _strength(match[1]):
            start, end = _value_span(text, at)
            if start < end and _is_secret(match[1], text[start:end], certain=match[2] != ":" or start > at):
                parts += (text[done:start], MASK)
                done = at = end
        match = _ASSIGNMENT.search(text, at)
    return "".join((*parts, text[done:]))


def _value_span(text: str, at: int) -> tuple[int, int]:
    """Return where the value that begins at ``at`` stands, without its quotes."""
    opening = _OPENING.match(text, at)
    if opening is None:
        bare = _BARE.match(text, at)
        if bare is None:
            return at, at
        return at, at + len(bare[0].rstrip(",.)]}"))
    start = opening.end()
    for closing in _CLOSING.finditer(text, start, start + _LONGEST_QUOTED):
        # Fewer backslashes than the opening has: the string around us ends here.
        if len(closing[1]) < len(opening[1]) or closing.group() == opening.group():
            return start, closing.start()
    bare = _BARE.match(text, start)
    return start, start if bare is None else bare.end()


@lru_cache(maxsize=1024)
def _strength(name: str) -> str:
    """Return the secret-like word that a name ends in, or nothing."""
    plain = re.sub(r"[_.-]", "", name).lower().rstrip("0123456789").removesuffix("value")
    return next((word for word in (*_STRONG, *_WEAK) if plain.endswith(word)), "")


def _is_secret(name: str, value: str, *, certain: bool) -> bool:
    """Whether the value is worth masking.

    Args:
        name: What it is assigned to.
        value: What is assigned, without quotes.
        certain: Whether this is an assignment, not perhaps a sentence with a colon.
    """
    if value.lower() in _PLAIN or value == MASK or value.startswith(f"{MASK}&"):
        return False
    if _strength(name) in _STRONG and (certain or name.lower() not in _PROSE):
        return True
    if any(space in value for space in " \t\n") or (len(value) < 12 and _COUNT.fullmatch(value)):
        return False
    if value.lower().startswith(("/subscriptions/", "/tenants/", "/providers/", "sha256:")) or "://" in value:
        return False
    return len(value) >= 16 or (len(value) >= 6 and any(character.isdigit() for character in value))
