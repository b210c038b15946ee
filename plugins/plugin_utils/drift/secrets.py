# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps secrets out of a report, whatever module said them: those of the plan by their value, others by how they look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

STARS = "********"
SHORTEST = 6  # a shorter value would be found in words that have nothing to do with it
_KEYS = ("password", "secret_key", "key_pem")
_NAME = re.compile(r"(?i)(password|passwd|secret|token|key|dsn|credential)")
_URL = re.compile(r"(\w+://[^:/@\s]*:|https?://)([^@/\s]+)@")
_LOOKS = (
    (_URL, rf"\1{STARS}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), STARS),
    (re.compile(r"(SCRAM-SHA-256\$|\$(?:[156y]|2[abxy]|argon2\w*)\$)[^\s:'\"]+"), STARS),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|secret_key|secret_access_key|token|api_?key|requirepass|masterauth)"
            r"[\"']?\s*[=:]\s*)[^\s,;]+"
        ),
        rf"\1{STARS}",
    ),
    (re.compile(r"(?i)\b((?:requirepass|masterauth|sentinel auth-pass \S+)\s+)\S+"), rf"\1{STARS}"),
    (re.compile(r"(?i)(authorization[\"']?[\s:]+[\"']?(?:basic|bearer)\s+)[^\s\"']+"), rf"\1{STARS}"),
)


class Secrets:
    """The secrets that a run has met."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._known: re.Pattern[str] | None = None

    def learn(self, plan: Any) -> None:
        """All secrets of a plan."""
        values = {one for one in _secrets(plan) if len(one) >= SHORTEST}
        if not values <= self._values:
            self._values |= values
            longest_first = sorted(self._values, key=lambda one: (-len(one), one))
            self._known = re.compile("|".join(re.escape(one) for one in longest_first))

    def hide(self, text: str) -> str:
        """The text with stars in place of secrets."""
        if self._known:
            text = self._known.sub(STARS, text)
        for pattern, stars in _LOOKS:
            text = pattern.sub(stars, text)
        return text


def _secrets(value: Any, secret: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            inner = key in _KEYS or (secret and bool(_NAME.search(str(key))))
            # Below `env` the names tell; a list of keys and the like is not one.
            yield from _secrets(one, key == "env" if isinstance(one, dict) else inner)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _secrets(one)
    elif isinstance(value, str):
        if secret:
            yield value
        for found in _URL.finditer(value):
            yield found.group(2)
