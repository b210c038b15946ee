# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an authority said, out of certbot's log: its words alone lose it (certbot 2.1 prints an AttributeError of its own).

RFC 8555, section 6.7 has the types of problems.
"""

from __future__ import annotations

import calendar
import email.utils
import json
import re
import time
from typing import Any, NamedTuple

HOUR = 3600.0
TYPE = "urn:ietf:params:acme:error:"
_RESPONSE = re.compile(
    r"Received response:\nHTTP (?P<status>\d+)\n(?P<headers>(?:[^\n]+\n)*)\n(?P<body>.*?)(?=^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+:|\Z)",
    re.MULTILINE | re.DOTALL,
)
_MOMENT = re.compile(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d) ?(?:UTC|Z)")
_UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|SSLError|ProxyError|Name or service not known|RemoteDisconnected"
)
# Certificate authorities write it in several ways: "Account has been deactivated", `account is not valid, has status "deactivated"`.
_GONE = re.compile(r"account.*(deactivated|not found|does not exist|unknown)", re.IGNORECASE)
_REVOKED = re.compile(r"account.*revoked", re.IGNORECASE)
_LONGEST = 500


class Failure(NamedTuple):
    """Why there is no certificate."""

    kind: str  # validation, rate, account, banned, nonce, unreachable, busy, refused, unknown
    words: str
    until: float  # not to be asked again before, in seconds since the epoch; 0: at any time


def _responses(log: str) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    found = []
    for one in _RESPONSE.finditer(log):
        try:
            body = json.loads(one["body"])
        except ValueError:
            continue
        lines = [line.partition(":") for line in one["headers"].splitlines()]
        headers = {name.strip().lower(): value.strip() for name, _colon, value in lines}
        if isinstance(body, dict):
            found.append((int(one["status"]), headers, body))
    return found


def _short(kind: Any) -> str:
    return str(kind).replace(TYPE, "")


def _problem(body: dict[str, Any]) -> str:
    """``detail (type)`` of a problem document with those below it."""
    words = "%s (%s)" % (" ".join(str(body.get("detail") or "no reason given").split()), _short(body.get("type")))
    for one in body.get("subproblems") or []:
        name = (one.get("identifier") or {}).get("value", "")
        words += "; %s: %s" % (name, one.get("detail") or _short(one.get("type")))
    return words[:_LONGEST]


def _validations(responses: list[tuple[int, dict[str, str], dict[str, Any]]]) -> dict[str, str]:
    """What was wrong with each domain that an authority looked at."""
    found: dict[str, str] = {}
    for _status, _headers, body in responses:
        name = (body.get("identifier") or {}).get("value") if isinstance(body.get("identifier"), dict) else None
        for one in body.get("challenges") or []:
            if name and isinstance(one, dict) and isinstance(one.get("error"), dict):
                found[str(name)] = _problem(one["error"])
    return found


def retry_after(headers: dict[str, str], detail: str, now: float) -> float:
    """When an authority may be asked again: Retry-After (seconds or a date), or what its words say; an hour else."""
    given = headers.get("retry-after", "")
    if given.isdigit():
        return now + int(given)
    moment = email.utils.parsedate_tz(given) if given else None
    if moment:
        return float(email.utils.mktime_tz(moment))
    said = _MOMENT.search(detail)
    if said:
        return float(calendar.timegm(time.strptime(" ".join(said.groups()), "%Y-%m-%d %H:%M:%S")))
    return now + HOUR


def classify(log: str, output: str, now: float) -> Failure:
    """Why certbot failed.

    Args:
        log: its log of this attempt.
        output: what it printed.
        now: seconds since the epoch.
    """
    responses = _responses(log)
    validations = _validations(responses)
    if validations:
        words = "; ".join("%s: %s" % one for one in validations.items())
        return Failure("validation", words, now + HOUR)
    problems = [one for one in responses if str(one[2].get("type", "")).startswith(TYPE) and one[0] >= 400]
    problems += [
        (one[0], one[1], one[2]["error"])
        for one in responses
        if one[2].get("status") == "invalid" and "error" in one[2]
    ]
    if not problems:
        lines = [
            line
            for line in output.splitlines()
            if line.strip() and not line.startswith(("Saving debug log", "Ask for help"))
        ]
        words = " ".join(" ".join(lines[-4:]).split())[:_LONGEST] or "certbot said nothing"
        if "Another instance of Certbot" in output:
            return Failure("busy", words, 0)
        if _UNREACHABLE.search(output):
            return Failure("unreachable", words, 0)
        return Failure("unknown", words, now + HOUR)
    others = [one for one in problems if _short(one[2].get("type")) != "badNonce"]
    _status, headers, body = (others or problems)[-1]
    kind, words = _short(body.get("type")), _problem(body)
    detail = str(body.get("detail", ""))
    if not others:
        return Failure("nonce", words, 0)
    if kind == "rateLimited":
        return Failure("rate", words, retry_after(headers, detail, now))
    if _REVOKED.search(detail):
        return Failure("banned", words, 0)
    if kind == "accountDoesNotExist" or (kind == "unauthorized" and _GONE.search(detail)):
        return Failure("account", words, 0)
    if kind in ("externalAccountRequired", "invalidContact", "unsupportedContact", "userActionRequired"):
        return Failure("refused", words, 0)  # said before any domain is looked at
    return Failure("refused", words, now + HOUR)
