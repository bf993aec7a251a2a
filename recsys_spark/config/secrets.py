"""Values without their passwords, for logs and files."""

import re
from typing import Any

MASK = "********"
_SECRET = re.compile(r"secret|password|token|(access|account)[._-]?key|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s]+@")


def mask(value: Any, key: str = "") -> Any:
    """The value without passwords: those under a telling key, and those inside URLs."""
    if isinstance(value, dict):
        return {name: mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner, key) for inner in value]
    if _SECRET.search(key) and value is not None:
        return MASK
    return _URL_PASSWORD.sub(f"{MASK}@", value) if isinstance(value, str) else value
