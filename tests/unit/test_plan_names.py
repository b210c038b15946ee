# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Domains, placeholders, groups of servers and names of variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.plan import domains, placeholders, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host
from hypothesis import given
from hypothesis import strategies as st
from plan_worlds import site

# Domains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("www.example.com", "www.example.com"),
        (" WWW.Example.COM. ", "www.example.com"),
        ("*.example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("localhost", "localhost"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("a" * 63 + ".example.com", "a" * 63 + ".example.com"),
    ],
)
def test_a_domain(name: str, expected: str) -> None:
    assert domains.normal(name) == (expected, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("example", "write it in full, like 'example.example.com'"),
        ("*.com", "write it in full"),
        ("http://example.com", "without scheme and path"),
        ("//example.com", "without scheme and path"),
        ("example.com:443", "without the port"),
        ("a b.example.com", "it has a space in it"),
        ("a.example.com, b.example.com", "it has a space in it"),
        ("", "is empty"),
        (".", "is empty"),
        ("a..example.com", "letters, digits and '-' between dots"),
        (".example.com", "letters, digits and '-' between dots"),
        ("-a.example.com", "letters, digits and '-' between dots"),
        ("a.*.example.com", "letters, digits and '-' between dots"),
        ("me@example.com", "letters, digits and '-' between dots"),
        ("a" * 64 + ".example.com", "letters, digits and '-' between dots"),
        ("ä" * 70 + ".example.com", "cannot be written in punycode"),
        ("straße.example", "give the one that is registered"),
        ("300.1.2.3", "neither a domain nor an IP address"),
        ("fe80::1%eth0", "is an address of one network card"),
        ("[::1]", "letters, digits and '-' between dots"),
    ],
)
def test_what_is_no_domain(name: str, words: str) -> None:
    _form, problem = domains.normal(name)
    assert repr(name) in problem
    assert words in problem


@given(st.text())
def test_any_text_is_a_domain_or_not(name: str) -> None:
    form, problem = domains.normal(name)
    if not problem:
        assert form.isascii() and form == form.lower()
        assert domains.normal(form) == (form, "")


# Placeholders ------------------------------------------------------------------------------------------


def test_placeholders_are_replaced() -> None:
    values = {"domain": "a.example.com", "database.url": "postgres:///a"}
    assert placeholders.fill("x ${domain}:${database.url} $${domain} $x {y} ${", values) == (
        "x a.example.com:postgres:///a ${domain} $x {y} ${"
    )


@given(st.text(alphabet="${}ad.\n", max_size=30))
def test_a_text_without_mistakes_can_be_filled(text: str) -> None:
    if not placeholders.unknown(text):
        placeholders.fill(text, dict.fromkeys(placeholders.NAMES, "x"))


# Groups, servers and variables -------------------------------------------------------------------------


def group_errors(groups: dict[str, list[str]], **more: Any) -> list[str]:
    given_sites, _errors = validate.sites([site(**more)])
    names = sorted({name for members in groups.values() for name in members})
    everything = {"all": names, "ungrouped": [], **groups}
    found = validate.topology(everything, given_sites) + validate.group_names(everything)
    return [str(error) for error in found]


NO_SERVER = "has no server, and no server is without a group; put one into this group"


@pytest.mark.parametrize(
    ("groups", "more", "expected"),
    [
        ({"all": ["h1"]}, {}, []),
        ({"all": ["h1", "h2"]}, {}, []),
        ({"webservers": ["h1"]}, {}, []),
        ({"web": ["h1"], "x": ["h2"]}, {}, []),
        ({"database": [], "web": ["h1"], "app": ["h1"], "cache": ["h1"]}, {}, [f"group database: {NO_SERVER}"]),
        ({"database": [], "web": ["h1"], "app": ["h1"], "cache": ["h1"]}, {"database": "none"}, []),
        ({"web": ["h1"], "app": ["h1"], "database": ["h1"]}, {"cache": "none"}, []),
        ({"web": ["h1"], "app": ["h1"], "database": ["h1"]}, {"cache": "none", "broker": "redis"}, [f"group cache: {NO_SERVER}"]),
        ({"web": ["h1"]}, {}, [f"group {tier}: {NO_SERVER}" for tier in ("database", "cache", "app")]),
        (
            {"database": ["h1", "h2"], "cache": ["h1"], "app": ["h1"], "web": ["h1"]},
            {},
            ["group database: has 2 servers (h1, h2); this tier lives on one server, so name it in this group"],
        ),
        ({"monitoring": ["h1"]}, {}, ["group monitoring: holds every server, so none is left for the sites"]),
        (
            {"databases": ["h1"], "webservers": ["h2"]},
            {},
            [
                "group databases: is no tier; did you mean 'database'? If it is a group of yours, list it in webstack_ignore_groups.",
                "group webservers: is no tier; did you mean 'web'? If it is a group of yours, list it in webstack_ignore_groups.",
            ],
        ),
        (
            {"app": ["h1"], "web": ["h2"], "db": ["h3"], "cache": ["h3"], "database": ["h3"]},
            {},
            [],
        ),
        ({"production": ["h1"], "berlin": ["h2"], "staging": ["h3"]}, {}, []),
        ({"app1": ["h1"], "web_2": ["h2"]}, {}, []),
    ],
)  # fmt: skip
def test_groups(groups: dict[str, list[str]], more: dict[str, Any], expected: list[str]) -> None:
    assert group_errors(groups, **more) == expected


@pytest.mark.parametrize("name", ["DB", "data-base", "app_servers", "webs", "caches", "postgresql", "redis", "nginx"])
def test_a_group_that_is_nearly_a_tier(name: str) -> None:
    assert len(validate.group_names({"all": ["h1", "h2"], name: ["h1"]})) == 1
    assert validate.group_names({"all": ["h1", "h2"], name: ["h1"]}, [name]) == []
    assert validate.group_names({"all": ["h1"], name: ["h1"]}) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nginx_sits", "the role nginx has no such option; did you mean 'nginx_sites'?"),
        ("django_site", "the role django_app has no such option; did you mean 'django_sites'?"),
        ("djangosites", "there is no such variable; did you mean 'django_sites'?"),
        ("ngingx_sites", "there is no such variable; did you mean 'nginx_sites'?"),
        ("private_addrss", "there is no such variable; did you mean 'private_address'?"),
        ("webstack_memory", "there is no such variable; did you mean 'webstack_memory_mb'?"),
        ("webstack_x", "there is no such variable; did you mean 'webstack_memory_mb'?"),
    ],
)
def test_a_misspelt_variable(name: str, expected: str) -> None:
    known = {"nginx": ["nginx_sites", "nginx_settings"], "django_app": ["django_app_sites"]}
    (error,) = validate.variables(
        [name, "ansible_host", "my_own", "my_django_sites", "django_sites", "webstack_plan"], known
    )
    assert str(error).startswith(f"{name}: {expected}")
    assert str(error).endswith("If it is a variable of yours, list it in webstack_ignore_variables.")
    assert validate.variables([name], known, [name]) == []


@pytest.mark.parametrize(
    ("given_variables", "expected"),
    [
        ({}, None),
        ({"private_address": "10.0.0.5", "webstack_memory_mb": 2048}, None),
        ({"private_address": "fd00::5", "webstack_memory_mb": "2048"}, None),
        ({"private_address": "db1"}, "private_address of h1: must be an IP address by which the other servers reach this one, not the text 'db1'"),
        ({"private_address": 10}, "private_address of h1: must be an IP address by which the other servers reach this one, not the number 10"),
        ({"webstack_memory_mb": "2G"}, "webstack_memory_mb of h1: must be a number of MB, at least 256, not the text '2G'"),
        ({"webstack_memory_mb": -1}, "webstack_memory_mb of h1: must be a number of MB, at least 256, not the number -1"),
        ({"webstack_memory_mb": True}, "webstack_memory_mb of h1: must be a number of MB, at least 256, not the truth value true"),
    ],
)  # fmt: skip
def test_variables_of_a_server(given_variables: dict[str, Any], expected: str | None) -> None:
    found = [str(error) for error in validate.server("h1", given_variables)]
    assert found == ([expected] if expected else [])


def test_addresses_that_are_not_known() -> None:
    tiers = {"database": ["h1"], "cache": ["h1"], "app": ["h2"], "web": ["h2"]}
    hosts = {
        "h1": Host("h1", "db.example.com", 1024, 1, "", ""),
        "h2": Host("h2", "10.0.0.2", 1024, 1, "", "", known=False),
        "h3": Host("h3", "other", 1024, 1, "", ""),
    }
    found = [str(error) for error in validate.addresses(World([], tiers, hosts, b""))]
    assert found == [
        "private_address of h1: is not known ('db.example.com' is no IP address); set it to the address by which the other servers reach it",
        "private_address of h2: is not known, since this run leaves that server out; set it, or run without --limit",
    ]
    alone = {tier: ["h1"] for tier in tiers}
    assert validate.addresses(World([], alone, hosts, b"")) == []
