# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what modules return to the entries of a report, and what is hidden in them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.drift.differences import differences
from ansible_collections.webstack.django.plugins.plugin_utils.drift.secrets import Secrets

APT = """The following packages will be REMOVED:
  nginx-light*
The following NEW packages will be installed:
  libnginx-mod-http-geoip nginx redis-server
The following packages will be upgraded:
  openssl
1 upgraded, 3 newly installed, 1 to remove and 0 not upgraded."""


def told(result: dict[str, Any], action: str = "x", task: str = "Do it") -> list[tuple[str, str, str]]:
    return [(one["thing"], one["expected"], one["found"]) for one in differences(result, action, task)]


# What modules return -----------------------------------------------------------------------------


def test_our_modules_say_it_themselves() -> None:
    entry = {"thing": "/x", "expected": "a", "found": "b", "since": "2026-11-30T03:00:00Z", "site": "blog"}
    assert differences({"changed": True, "drift": [entry], "diff": {"before": "1", "after": "2"}}, "x", "t") == [entry]
    assert differences({"changed": False, "drift": []}, "x", "t") == []


def test_what_is_not_changed_does_not_differ() -> None:
    assert told({"changed": False, "diff": {"before": "a", "after": "b"}}) == []


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {"diff": [{"before_header": "/etc/motd", "before": "a\nb\n", "after": "a\nc\n"}, {}]},
            [("/etc/motd", "c", "b")],
        ),
        (
            {"diff": {"before": {"path": "/x", "mode": "0644"}, "after": {"path": "/x", "mode": "0600"}}},
            [("/x", "mode 0600", "mode 0644")],
        ),
        ({"dest": "/y", "diff": {"before": "", "after": "z\n"}}, [("/y", "z", "these lines are missing")]),
        ({"actions": ["start x", "stop y"]}, [("start x", "done", "not done"), ("stop y", "done", "not done")]),
        (
            {"actions": ["start x"], "diff": {"before": "", "after": "start x\n"}},
            [("start x", "done", "not done")],
        ),
        ({"cmd": ["pg_createcluster", "17"]}, [("pg_createcluster, 17", "as declared", "different")]),
        ({"invocation": {"module_args": {"name": "cron"}}}, [("cron", "as declared", "different")]),
        ({}, [("Do it", "as declared", "different")]),
        ({"censored": "hidden"}, [("Do it", "not shown (no_log)", "not shown (no_log)")]),
    ],
)
def test_other_modules_are_read(result: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert told({"changed": True, **result}) == expected


def test_packages_that_were_asked_for() -> None:
    result = {
        "changed": True,
        "diff": {"prepared": APT},
        "invocation": {"module_args": {"name": ["nginx", "openssl=3"]}},
    }
    assert told(result, "ansible.builtin.apt") == [
        ("package nginx", "installed", "missing"),
        ("package openssl", "installed", "another version"),
    ]
    result["invocation"] = {"module_args": {"name": ["nginx-light"], "state": "absent"}}
    assert told(result, "ansible.builtin.apt") == [("package nginx-light", "absent", "installed")]


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"shell": "/bin/sh"}, {"uid": 1, "shell": "/bin/bash"}, ("user ada", "shell /bin/sh", "shell /bin/bash")),
        ({"groups": ["adm"]}, {"uid": 1}, ("user ada", "groups adm", "other groups")),
        ({}, {}, ("user ada", "there", "missing")),
        ({"state": "absent"}, {}, ("user ada", "absent", "there")),
    ],
)
def test_accounts(wanted: dict[str, Any], found: dict[str, Any], expected: tuple[str, str, str]) -> None:
    item = {"changed": True, "invocation": {"module_args": {"name": "ada", **wanted}}, **found}
    assert told(item, "ansible.builtin.user") == [expected]


# Secrets -----------------------------------------------------------------------------------------


def test_secrets_of_the_plan_are_hidden_wherever_they_are() -> None:
    secrets = Secrets()
    plan = {
        "postgresql_roles": [{"name": "blog", "password": "hunter-22-x"}, {"name": "no", "password": None}],
        "django_app_sites": [
            {
                "secret_key": "hunter-22",
                "env": {"ALLOWED_HOSTS": "blog.example.com", "API_TOKEN": "t0ken-t0ken", "SHORT_KEY": "abc"},
                "database": {"url": "postgresql://blog:db-pass-1@/blog"},
            }
        ],
    }
    secrets.learn(plan)
    secrets.learn(None)
    words = "a hunter-22-x b hunter-22 c t0ken-t0ken d db-pass-1 e blog.example.com f abc"
    assert secrets.hide(words) == "a ******** b ******** c ******** d ******** e blog.example.com f abc"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("PASSWORD=x1 after", "PASSWORD=******** after"),
        ("DJANGO_SECRET_KEY: 'x1'", "DJANGO_SECRET_KEY: ********"),
        ('"api_key": "x1",', '"api_key": ********,'),
        ("requirepass x1", "requirepass ********"),
        ("https://x1@example.com/a", "https://********@example.com/a"),
        ("redis://:x1@10.0.0.1", "redis://:********@10.0.0.1"),
        ("root:$6$salt$hash:1", "root:********:1"),
        ("-----BEGIN PRIVATE KEY-----\nx1\n-----END PRIVATE KEY-----\n", "********\n"),
        ('proxy_set_header Authorization "Basic x1";', 'proxy_set_header Authorization "Basic ********";'),
        ("password_encryption = scram-sha-256", "password_encryption = scram-sha-256"),
        ("password requisite pam_pwquality.so", "password requisite pam_pwquality.so"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(words: str, shown: str) -> None:
    hidden = Secrets().hide(words)
    assert "x1" not in hidden and "hash" not in hidden
    assert hidden.replace("$6$********", "********") == shown
