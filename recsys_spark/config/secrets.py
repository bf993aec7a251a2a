"""Values without their passwords, for logs and files."""

import re
from typing import Any

MASK = "********"
_SECRET = re.compile(
    r"secret|passw(or)?d|passphrase|\bpwd\b|token|credential|\bsas\b|signature"
    r"|(access|account|api|private|encryption)[._-]?key",
    re.IGNORECASE,
)
# Also a password with a slash, which ends the authority for others; but not a port and a path.
_IN_AUTHORITY = re.compile(r"(?<=://)(?:[^/\s]+@|[^/\s@:]+:(?!\d+/)[^\s@]+@)")
_IN_QUERY = re.compile(
    r"(?<=[?&])((?:\w*(?:secret|token|key)|passw(?:or)?d|pwd|pw|sig|signature)=)[^&\s]+",
    re.IGNORECASE,
)


def mask(value: Any, key: str = "") -> Any:
    """The value without passwords: those under a telling key, and those inside URLs."""
    if isinstance(value, dict):
        return {name: mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner, key) for inner in value]
    if _SECRET.search(key) and value is not None:
        return MASK
    if not isinstance(value, str):
        return value
    return _IN_QUERY.sub(rf"\g<1>{MASK}", _IN_AUTHORITY.sub(f"{MASK}@", value))
