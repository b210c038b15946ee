# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done about a certificate, and what is known of earlier attempts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.acme.manager import Manager
from ansible_collections.webstack.django.plugins.module_utils.acme.state import (
    DAY,
    Lineage,
    Notes,
    Pem,
    Situation,
    decide,
    signature,
)

NOW = 1796032800.0
HERE = "https://ca.example.net/directory"


def pem(left: float = 80, life: float = 90, *names: str) -> Pem:
    return Pem(
        frozenset(f"DNS:{one}" for one in names or ("a.example.com",)),
        NOW + (left - life) * DAY,
        NOW + left * DAY,
        False,
        "AA",
    )


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "ok", ""),
    ({"lineage": None}, "order", "it has none yet"),
    ({"domains": ["a.example.com", "b.example.com"]}, "order", "its domains changed"),
    ({"lineage": pem(80, 90, "a.example.com", "b.example.com")}, "order", "its domains changed"),
    (
        {"server": "https://staging.example.net/x"},
        "order",
        "it is of another authority (https://staging.example.net/x)",
    ),
    ({"lineage": pem(-1)}, "order", "it has expired"),
    ({"lineage": pem(23)}, "ok", ""),
    ({"lineage": pem(22)}, "order", "its renewal is late"),
    ({"lineage": pem(2, 6)}, "ok", ""),
    ({"lineage": pem(1, 6)}, "order", "its renewal is late"),
    ({"renewal": {"time": 1, "words": "x"}}, "order", "its last renewal failed"),
    ({"installed": False}, "install", "another one serves"),
]


@pytest.mark.parametrize(("changes", "verb", "why"), CASES)
def test_what_has_to_be_done(changes: dict[str, Any], verb: str, why: str) -> None:
    values = {
        "domains": ["a.example.com"],
        "directory": HERE,
        "lineage": pem(),
        "server": HERE,
        "installed": True,
        "renewal": {},
        "now": NOW,
        **changes,
    }
    assert decide(Situation(**values)) == (verb, why)


@pytest.mark.parametrize(
    ("one", "expected"), [(pem(22), False), (pem(20), True), (pem(-1), True), (pem(2, 6), False), (pem(1, 6), True)]
)
def test_what_ends_soon(one: Pem, expected: bool) -> None:
    assert one.ending(NOW) is expected


def test_notes(tmp_path: Path) -> None:
    notes = Notes("blog", str(tmp_path))
    assert (notes.failure(), notes.renewal()) == ({}, {})
    notes.write(kind="rate", until=NOW)
    assert notes.failure() == {"kind": "rate", "until": NOW}
    assert os.stat(notes.path).st_mode & 0o777 == 0o600
    Path(notes.renewal_path).write_text("{")
    assert notes.renewal() == {}
    notes.clear()
    assert notes.failure() == {}


def test_another_order_has_another_signature() -> None:
    one = signature(["a", "b"], {"email": "x"})
    assert signature(["b", "a"], {"email": "x"}) == one
    assert signature(["a"], {"email": "x"}) != one
    assert signature(["a", "b"], {"email": "y"}) != one


def test_what_is_forgotten_of_a_site(tmp_path: Path) -> None:
    for site in ("blog", "blog-api"):
        for place in ("live", "archive"):
            (tmp_path / place / site).mkdir(parents=True)
        (tmp_path / "renewal").mkdir(exist_ok=True)
        (tmp_path / "renewal" / f"{site}.conf").write_text(f"server = {HERE}\n")
        Notes(site, str(tmp_path)).write(kind="rate")
    (tmp_path / "accounts/ca").mkdir(parents=True)
    lineage = Lineage("blog", str(tmp_path))
    assert lineage.server() == HERE
    assert len(lineage.paths) == 4
    lineage.remove()
    assert (lineage.paths, lineage.server()) == ([], "")
    assert len(Lineage("blog-api", str(tmp_path)).paths) == 4
    assert (tmp_path / "accounts/ca").is_dir()


OPTIONS: dict[str, Any] = {
    "certificates": [],
    "directory": "",
    "staging": False,
    "email": "you@example.com",
    "eab_kid": "",
    "webroot": "/var/www/webstack-acme",
    "resolvers": [],
    "preflight": True,
    "retry": False,
    "units": [],
}


def manager(tmp_path: Path, **more: Any) -> Manager:
    return Manager({**OPTIONS, **more}, lambda _argv: (0, "", ""), False, str(tmp_path), NOW)


def test_what_certbot_is_asked_for(tmp_path: Path) -> None:
    command = manager(tmp_path).command({"name": "blog", "domains": ["a.example.com", "b.example.com"]}, "/logs")
    assert command[:2] == ["certbot", "certonly"]
    assert command[command.index("--server") + 1] == "https://acme-v02.api.letsencrypt.org/directory"
    assert command[command.index("--cert-name") + 1] == "blog"
    assert command[-4:] == ["-d", "a.example.com", "-d", "b.example.com"]
    assert "--standalone" not in command
    staging = manager(tmp_path, staging=True, email="").command({"name": "blog", "domains": ["a.example.com"]}, "/logs")
    assert staging[staging.index("--server") + 1] == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert "--register-unsafely-without-email" in staging


def test_an_order_that_was_refused_waits(tmp_path: Path) -> None:
    site = {
        "name": "blog",
        "mode": "acme",
        "domains": ["a.example.com"],
        "certificate": str(tmp_path / "tls/full.pem"),
        "key": str(tmp_path / "tls/key.pem"),
    }
    one = manager(tmp_path, certificates=[site])
    account = {"email": "you@example.com", "eab_kid": "", "directory": one.directory}
    Notes("blog", str(tmp_path)).write(
        signature=signature(["a.example.com"], account), kind="rate", words="too many", time=NOW - 60, until=NOW + 60
    )
    one.converge()
    assert one.actions == []
    assert one.reports["blog"].state == "blocked"
    assert one.reports["blog"].words == (
        "Let's Encrypt refused at 2026-11-30 09:59 UTC: too many. It is not asked again before 2026-11-30 10:01 UTC "
        "(or when something changed, or with -e tls_acme_retry=true)"
    )


def test_one_that_somebody_gave_and_that_ends_soon_is_said(tmp_path: Path) -> None:
    site = {
        "name": "shop",
        "mode": "provided",
        "domains": ["a.example.com"],
        "certificate": str(tmp_path / "full.pem"),
        "key": str(tmp_path / "key.pem"),
        "keep": False,
        "reason": "",
    }
    (tmp_path / "full.pem").write_text("x")
    text = """
        Issuer: CN = ca
            Not Before: Sep 10 10:00:00 2026 GMT
            Not After : Dec  {day} 10:00:00 2026 GMT
        Subject: CN = shop
        sha256 Fingerprint=AA
    """
    for day, words in (
        (
            " 9",
            "its certificate ends on 2026-12-09 10:00 UTC, in 9 days; give a newer one (tls.certificate and tls.key)",
        ),
        ("30", ""),
    ):
        said = text.format(day=day)
        one = Manager(
            {**OPTIONS, "certificates": [site]}, lambda _argv, said=said: (0, said, ""), False, str(tmp_path), NOW
        )
        one.converge()
        assert one.reports["shop"].words == words
        assert one.actions == []
