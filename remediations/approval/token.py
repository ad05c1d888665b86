"""Sign and read what goes to people and comes back: the link of a question, and the value that a form has to send back.

Both select; who may answer is for the sign-in and the rules to say. A salt for each purpose keeps one from standing for
the other; a key's id in front lets keys be exchanged.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from msgspec import Struct

from remediations.model import Person

_LINK, _FORM = "endpoint-medic approval v2", "endpoint-medic form v1"
_REMEMBERED = timedelta(days=93)  # so long an old link still tells an approver what became of its question
_FORM_HOLDS = timedelta(hours=8)
_LONGEST = 1000
_LAST_TIME = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
# SHA-256 in the one way to write it: a lenient reader passes over what is no base64, and over the last two bits.
_SIGNATURE = re.compile(r"\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z", re.ASCII)


class Token(Struct, frozen=True, kw_only=True):
    """Which question a link is about.

    Attributes:
        expires_at: When it stops asking; what it then still does is tell an approver how the question ended.
    """

    incident_id: str
    plan: str
    policy_version: str
    expires_at: datetime


def sign(token: Token, keys: Mapping[str, str], active: str) -> str:
    """Give the signed form of a token; the key's id goes in front."""
    payload = [token.incident_id, token.plan, token.policy_version, int(token.expires_at.timestamp())]
    return f"{active}.{_serializer(keys[active], _LINK).dumps(payload)}"


def read(text: str, keys: Mapping[str, str]) -> Token | None:
    """Give the token of a link; None if it is forged, changed, from the future, months old or of a key that is gone."""
    payload = _read(text, keys, _LINK, _REMEMBERED)
    match payload:
        case [str(incident_id), str(plan), str(policy_version), int(expires_at)] if 0 < expires_at <= _LAST_TIME:
            return Token(
                incident_id=incident_id,
                plan=plan,
                policy_version=policy_version,
                expires_at=datetime.fromtimestamp(expires_at, UTC),
            )
        case _:
            return None


def form_value(person: Person, plan: str, keys: Mapping[str, str], active: str) -> str:
    """Give the value that a form about a plan has to send back: it shows that this person was shown the page."""
    return f"{active}.{_serializer(keys[active], _FORM).dumps([person.tid, person.oid, plan])}"


def is_form_value(text: str, person: Person, plan: str, keys: Mapping[str, str]) -> bool:
    """Tell whether a form was given to this person about this plan, not long ago."""
    return bool(_read(text, keys, _FORM, _FORM_HOLDS) == [person.tid, person.oid, plan])


def _read(text: str, keys: Mapping[str, str], salt: str, most: timedelta) -> Any:
    kid, _, signed = text.partition(".")
    key = keys.get(kid)
    if key is None or len(text) > _LONGEST or not _SIGNATURE.search(signed):
        return None
    try:
        return _serializer(key, salt).loads(signed, max_age=int(most.total_seconds()))
    except (SignatureExpired, BadSignature, ValueError):
        return None


def _serializer(key: str, salt: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
