# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an authority said, from logs of certbot 2.1 and 4.0 with pebble, and with Boulder's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.acme.answers import Failure, classify, retry_after

NOW = 1796032800.0  # 2026-11-30 10:00 UTC
TYPE = "urn:ietf:params:acme:error:"
LINE = "2026-11-30 03:08:42,515:DEBUG:acme.client:"


def response(status: int, body: Any, *headers: str) -> str:
    text = body if isinstance(body, str) else json.dumps(body, indent=3)
    lines = "\n".join(["Server: nginx", "Date: Mon, 30 Nov 2026 03:08:42 GMT", *headers])
    return f"{LINE}Received response:\nHTTP {status}\n{lines}\n\n{text}\n{LINE}Storing nonce: xlJL1FoU0mHo6M687h7QbQ\n"


def problem(kind: str, detail: str, status: int = 400, *headers: str) -> str:
    return response(status, {"type": TYPE + kind, "detail": detail, "status": status}, *headers)


DIRECTORY = response(200, {"newOrder": "https://localhost/order"})
NONCE = problem("badNonce", "JWS has an invalid anti-replay nonce: x")
# What certbot 2.1 prints of all problems.
SAYS = "An unexpected error occurred:\nAttributeError: can't set attribute\nAsk for help or search for solutions at"


def authorization(name: str, kind: str, detail: str) -> str:
    error = {"type": TYPE + kind, "detail": detail, "status": 403}
    challenges = [{"type": "http-01", "status": "invalid", "error": error}, {"type": "dns-01", "status": "pending"}]
    return response(200, {"status": "invalid", "identifier": {"type": "dns", "value": name}, "challenges": challenges})


CASES: list[tuple[str, str, Failure]] = [
    (
        authorization("a.example.com", "unauthorized", "203.0.113.9: Invalid response from http://a.example.com: 404"),
        SAYS,
        Failure(
            "validation",
            "a.example.com: 203.0.113.9: Invalid response from http://a.example.com: 404 (unauthorized)",
            NOW + 3600,
        ),
    ),
    (
        authorization("a.example.com", "dns", "no valid A records")
        + authorization("b.example.com", "connection", "Timeout"),
        SAYS,
        Failure(
            "validation", "a.example.com: no valid A records (dns); b.example.com: Timeout (connection)", NOW + 3600
        ),
    ),
    (
        problem("rateLimited", "too many new orders", 429, "Retry-After: 600"),
        SAYS,
        Failure("rate", "too many new orders (rateLimited)", NOW + 600),
    ),
    (
        problem("rateLimited", "too many, retry after 2026-12-01 10:00:00 UTC: see", 429),
        SAYS,
        Failure("rate", "too many, retry after 2026-12-01 10:00:00 UTC: see (rateLimited)", NOW + 86400),
    ),
    (
        problem("accountDoesNotExist", "Account https://localhost/my-account/4 not found."),
        SAYS,
        Failure("account", "Account https://localhost/my-account/4 not found. (accountDoesNotExist)", 0),
    ),
    (
        problem("unauthorized", "Account has been deactivated", 403),
        SAYS,
        Failure("account", "Account has been deactivated (unauthorized)", 0),
    ),
    (
        problem("unauthorized", 'Account is not valid, has status "deactivated"', 403),
        SAYS,
        Failure("account", 'Account is not valid, has status "deactivated" (unauthorized)', 0),
    ),
    (
        problem("unauthorized", 'Account is not valid, has status "revoked"', 403),
        SAYS,
        Failure("banned", 'Account is not valid, has status "revoked" (unauthorized)', 0),
    ),
    (NONCE + NONCE, SAYS, Failure("nonce", "JWS has an invalid anti-replay nonce: x (badNonce)", 0)),
    (
        NONCE + problem("rejectedIdentifier", "policy forbids it"),
        SAYS,
        Failure("refused", "policy forbids it (rejectedIdentifier)", NOW + 3600),
    ),
    (
        problem("externalAccountRequired", "EAB is required"),
        SAYS,
        Failure("refused", "EAB is required (externalAccountRequired)", 0),
    ),
    (
        problem("invalidContact", "contact email has forbidden domain"),
        SAYS,
        Failure("refused", "contact email has forbidden domain (invalidContact)", 0),
    ),
    (
        response(200, {"status": "invalid", "error": {"type": TYPE + "caa", "detail": "CAA forbids"}}),
        SAYS,
        Failure("refused", "CAA forbids (caa)", NOW + 3600),
    ),
    (
        DIRECTORY,
        "Saving debug log to /x\nAn unexpected error occurred:\nrequests.exceptions.ConnectionError: refused\nAsk for help",
        Failure("unreachable", "An unexpected error occurred: requests.exceptions.ConnectionError: refused", 0),
    ),
    (
        "",
        "Saving debug log to /x\nAnother instance of Certbot is already running.\n",
        Failure("busy", "Another instance of Certbot is already running.", 0),
    ),
    ("", "No such plugin\n", Failure("unknown", "No such plugin", NOW + 3600)),
    ("", "", Failure("unknown", "certbot said nothing", NOW + 3600)),
]


@pytest.mark.parametrize(("log", "output", "expected"), CASES)
def test_why_there_is_no_certificate(log: str, output: str, expected: Failure) -> None:
    assert classify(DIRECTORY + log, output, NOW) == expected


@pytest.mark.parametrize(
    ("header", "detail", "expected"),
    [
        ("120", "", NOW + 120),
        ("Mon, 30 Nov 2026 12:00:00 GMT", "", NOW + 7200),
        ("soon", "", NOW + 3600),
        ("", "retry after 2026-11-30T11:30:00Z", NOW + 5400),
        ("", "", NOW + 3600),
    ],
)
def test_when_an_authority_may_be_asked_again(header: str, detail: str, expected: float) -> None:
    assert retry_after({"retry-after": header} if header else {}, detail, NOW) == expected
