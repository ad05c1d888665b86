"""Sign and read the token of an approval link. It selects a question; who may answer is the sign-in's business."""

from collections.abc import Mapping
from datetime import timedelta

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from msgspec import Struct

_SALT = "endpoint-medic approval v1"


class Token(Struct, frozen=True, kw_only=True):
    """Which question a link is about."""

    incident_id: str
    plan: str
    policy_version: str


def sign(token: Token, keys: Mapping[str, str], active: str) -> str:
    """Give the signed form of a token; the key's id goes in front, for rotation."""
    payload = [token.incident_id, token.plan, token.policy_version]
    return f"{active}.{_serializer(keys[active]).dumps(payload)}"


def read(text: str, keys: Mapping[str, str], most: timedelta) -> Token | None:
    """Give the token of a link; None if it is forged, changed, older than `most` or of a key that is gone."""
    kid, _, signed = text.partition(".")
    key = keys.get(kid)
    if key is None:
        return None
    try:
        incident_id, plan, policy_version = _serializer(key).loads(signed, max_age=int(most.total_seconds()))
    except (SignatureExpired, BadSignature, ValueError):
        return None
    return Token(incident_id=incident_id, plan=plan, policy_version=policy_version)


def _serializer(key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=_SALT)
