# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where certificates come from, and certificates that are provided."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.filter.mask import mask
from ansible_collections.webstack.django.plugins.plugin_utils.plan import certificates, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host

EMAIL = "you@example.com"
FILES = {"certificate": "/etc/webstack/tls/blog/fullchain.pem", "key": "/etc/webstack/tls/blog/privkey.pem"}
PAIR = {"certificate": "/x.pem", "key": "/x.key"}


def plan(*raw: dict[str, Any], email: str = "", web: int = 1) -> dict[str, Any]:
    names = [f"h{number}" for number in range(1, web + 1)]
    groups = {"database": ["h1"], "cache": ["h1"], "app": ["h1"], "web": names} if web > 1 else None
    servers = worlds.servers(groups, web)
    world = servers.world(worlds.valid(*raw), "h1")
    return for_host("h1", replace(world, tls_email=email))


def mode_of(raw: dict[str, Any], email: str = EMAIL, web: int = 1) -> tuple[str, str]:
    (site,) = worlds.valid(raw)
    return certificates.mode(site.given, email, [f"h{number}" for number in range(1, web + 1)])


# Modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "acme"),
        ({"tls": "auto"}, "acme"),
        ({"tls": {}}, "acme"),
        ({"tls": None}, "acme"),
        ({"tls": "selfsigned"}, "selfsigned"),
        ({"tls": "off"}, "off"),
        ({"tls": False}, "off"),  # what YAML makes of it
        ({"tls": {"mode": False}}, "off"),
        ({"tls": PAIR}, "provided"),
        ({"tls": {"mode": "provided", **PAIR}}, "provided"),
    ],
)
def test_a_mode(given: dict[str, Any], expected: str) -> None:
    assert mode_of(worlds.site(**given)) == (expected, "")


def test_without_a_mail_address_nothing_is_asked_unless_said() -> None:
    assert mode_of(worlds.site(), email="") == ("selfsigned", "")
    assert mode_of(worlds.site(tls="acme"), email="") == ("acme", "")


@pytest.mark.parametrize(
    ("domains", "web", "why"),
    [
        (["203.0.113.10"], 1, "'203.0.113.10' is an IP address"),
        (
            ["a.example.com", "*.example.com"],
            1,
            "'*.example.com' is a wildcard, which an authority does not validate by HTTP",
        ),
        (["localhost"], 1, "'localhost' is no name of the internet"),
        (
            [f"a{number}.example.com" for number in range(101)],
            1,
            "there are 101 names, and a certificate has 100 at most",
        ),
        (["a.example.com"], 2, "its web servers are h1, h2, and only one of several would be asked by an authority"),
    ],
)
def test_where_no_authority_could_look(domains: list[str], web: int, why: str) -> None:
    assert mode_of(worlds.site(domains=domains), web=web) == (
        "selfsigned",
        f"its certificate is self-signed, since {why}; see the key tls",
    )


def errors(**given: Any) -> list[str]:
    return [str(error) for error in validate.sites([worlds.site(**given)])[1]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tls": "letsencrypt"}, "tls.mode: 'letsencrypt' is not one of auto, acme, selfsigned, provided, off"),
        ({"tls": True}, "tls.mode: must be text, not the truth value true"),
        ({"tls": ["acme"]}, "tls: must be a mapping, not the list ['acme']"),
        ({"tls": {"cert": "x"}}, "tls.cert: unknown key; did you mean 'certificate'?"),
        ({"ssl": "acme"}, "ssl: unknown key; did you mean 'tls'?"),
        ({"tls": {"key": ["-----BEGIN PRIVATE"], "certificate": "/x"}}, "tls.key: must be text, not the list"),
        (
            {"tls": "acme", "domains": ["203.0.113.10"]},
            "tls.mode: is acme, and '203.0.113.10' is an IP address; choose provided or selfsigned",
        ),
        (
            {"tls": "acme", "redirect_domains": ["*.example.com"]},
            "tls.mode: is acme, and '*.example.com' is a wildcard, which an authority does not validate by HTTP; "
            "choose provided or selfsigned",
        ),
        (
            {"tls": "provided"},
            "tls.certificate: is missing; a certificate is provided with its key, each as a file on the controller or as PEM text",
        ),
        (
            {"tls": {"certificate": "/x"}},
            "tls.key: is missing; a certificate is provided with its key, each as a file on the controller or as PEM text",
        ),
        (
            {"tls": {"mode": "acme", **PAIR}},
            "tls.certificate: belongs to the mode provided, and the mode is acme; remove one of the two",
        ),
    ],
)
def test_what_is_wrong(given: dict[str, Any], expected: str) -> None:
    assert errors(**given) == [f"site blog: {expected}"]


@pytest.mark.parametrize("value", ["you", "you@example", "a@b.c, d@e.f", 5, ["you@example.com"]])
def test_a_mail_address_that_is_none(value: Any) -> None:
    found = validate.server("h1", {"tls_email": value})
    assert [str(one) for one in found] == [f"tls_email: {value!r} is not a mail address like you@example.com"]
    assert validate.server("h1", {"tls_email": EMAIL}) == []


def test_one_of_several_web_servers_is_not_enough() -> None:
    servers = worlds.servers({"web": ["h1", "h2"], "app": ["h1"], "database": ["h1"], "cache": ["h1"]}, 2)
    world = servers.world(worlds.valid(worlds.site(tls="acme"), worlds.site("shop")), "h1")
    ((name, key, text),) = certificates.topology(world, ["h1", "h2"])
    assert (name, key) == ("blog", "tls.mode")
    assert text.startswith("is acme, and the site has several web servers (h1, h2): ")
    assert certificates.topology(world, ["h1"]) == []


# What the roles get ------------------------------------------------------------------------------------


def test_without_any_choice_the_web_server_does_it_alone() -> None:
    found = plan(worlds.site())
    assert found["tls_certificates"] == []
    assert "tls" not in found["parts"]
    assert found["nginx_sites"][0]["tls"] == {**FILES, "selfsigned": True, "keep": False}


def test_acme() -> None:
    found = plan(worlds.site(redirect_domains=["www.example.com"]), {"name": "gone", "state": "absent"}, email=EMAIL)
    assert found["tls_certificates"] == [
        {
            "name": "blog",
            "mode": "acme",
            "domains": ["blog.example.com", "www.example.com"],
            "reason": "",
            "keep": False,
            **FILES,
        },
        {"name": "gone", "mode": "absent"},
    ]
    assert found["parts"][-1] == "tls"
    assert found["nginx_sites"][0]["tls"]["selfsigned"] is True


def test_off() -> None:
    found = plan(worlds.site(tls="off"))
    (site,) = found["nginx_sites"]
    assert (site["https"], site["https_redirect"], site["hsts_seconds"]) == (False, False, 0)
    assert "tls" not in site
    assert [one["mode"] for one in found["tls_certificates"]] == ["off"]


def test_an_authoritys_certificate_stays_where_nobody_asked_for_another_one() -> None:
    automatic, chosen = (
        plan(worlds.site(**given), worlds.site("shop", tls="off"))["tls_certificates"][0]
        for given in ({}, {"tls": "selfsigned"})
    )
    assert (automatic["mode"], automatic["keep"]) == ("selfsigned", True)
    assert (chosen["mode"], chosen["keep"]) == ("selfsigned", False)


def test_a_provided_key_is_not_printed() -> None:
    found = plan(worlds.site(tls={"certificate": "C", "key": "K"}))
    (item,) = found["tls_certificates"]
    assert (item["certificate_pem"], item["key_pem"]) == ("C", "K")
    assert mask(found)["tls_certificates"][0]["key_pem"] == "********"
    assert found["nginx_sites"][0]["tls"]["keep"] is True


# Provided certificates ---------------------------------------------------------------------------------


def openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A root, an authority below it and a certificate that it signed, with their keys."""
    place = tmp_path_factory.mktemp("made")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        place, "req", "-x509", *curve, "-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem", "-days", "90"
    )
    signed = ("-x509", *curve, "-days", "90", "-CA")
    openssl(
        place,
        *("req", *signed, "root.pem", "-CAkey", "root.key", "-subj", "/CN=middle"),
        *("-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "middle.key", "-out", "middle.pem"),
    )
    names = "subjectAltName=DNS:blog.example.com,DNS:*.example.net,IP:203.0.113.10"
    openssl(
        place,
        *("req", *signed, "middle.pem", "-CAkey", "middle.key", "-subj", "/CN=leaf", "-addext", names),
        *("-keyout", "leaf.key", "-out", "leaf.pem"),
    )
    openssl(place, "pkey", "-in", "leaf.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    return {path.name: path.read_text() for path in place.iterdir()}


WANTED = ["blog.example.com", "www.example.net", "203.0.113.10"]


def test_one_that_is_as_it_should_be(made: dict[str, str]) -> None:
    for chain in (
        made["leaf.pem"],
        made["leaf.pem"] + made["middle.pem"],
        made["leaf.pem"] + made["middle.pem"] + made["root.pem"],
    ):
        assert certificates.examine(chain, made["leaf.key"], WANTED) == []


def test_what_is_wrong_with_a_provided_one(made: dict[str, str]) -> None:
    leaf, key = made["leaf.pem"], made["leaf.key"]

    def found(chain: str, key: str, *wanted: str, now: datetime | None = None) -> list[tuple[str, str]]:
        return certificates.examine(chain, key, wanted or WANTED, now)

    assert found("x", key) == [
        ("certificate", "is no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
    ]
    assert found(leaf, "x") == [("key", "is no private key in PEM")]
    assert found(leaf, made["locked.key"])[0][1].startswith("is encrypted with a password, which nobody types")
    assert found(leaf, made["root.key"]) == [("certificate", "does not belong to tls.key; its key is another one")]
    order = "is in the wrong order: the site's own certificate comes first, then the one that signed it, and so on"
    assert found(made["middle.pem"] + leaf, key) == [("certificate", order)]
    assert found(leaf + made["root.pem"] + made["middle.pem"], key) == [
        ("certificate", "has a chain in the wrong order: 'CN=leaf' was not signed by 'CN=root', which comes next")
    ]
    now = datetime.now(UTC)
    (late,) = found(leaf, key, now=now + timedelta(days=91))
    assert late[1].startswith("expired on ")
    (early,) = found(leaf, key, now=now - timedelta(days=1))
    assert early[1].startswith("is not valid before ")
    assert found(leaf, key, "shop.example.com", "a.b.example.net", "203.0.113.11") == [
        ("certificate", "does not name shop.example.com, a.b.example.net, 203.0.113.11")
    ]


def test_where_it_is_read_from(tmp_path: Path) -> None:
    read: list[str] = []

    def contents(path: str) -> bytes:
        read.append(path)
        return b"-----BEGIN CERTIFICATE-----\nx\n"

    assert certificates.load("files/x.pem", contents) == "-----BEGIN CERTIFICATE-----\nx\n"
    assert certificates.load("-----BEGIN CERTIFICATE-----\ny", contents) == "-----BEGIN CERTIFICATE-----\ny\n"
    assert read == ["files/x.pem"]
