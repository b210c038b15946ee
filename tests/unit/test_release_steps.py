"""What a deployment does in which order, and what it advises where a command fails."""

from __future__ import annotations

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release.commands import Result, failed
from ansible_collections.webstack.django.plugins.module_utils.release.prepare import steps, unsent
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        # The URLs, which the checks import, may ask for the manifest that collectstatic writes.
        (["collectstatic", "migrate"], ["collectstatic", "check", "migrate"]),
        (["migrate", "collectstatic"], ["check", "migrate", "collectstatic"]),
        (["collectstatic"], ["collectstatic", "check"]),
    ],
)
def test_checks_come_before_the_migration(order: list[str], expected: list[str]) -> None:
    assert steps(Site({"name": "blog", "order": order})) == expected


@pytest.mark.parametrize(
    "said",
    [
        "error: Request failed after 3 retries\n  cause: client error (Connect)\n  cause: dns error",
        "npm error code EAI_AGAIN\nnpm error syscall getaddrinfo",
        "fatal: unable to access 'https://git.example.com/x.git/': Could not resolve host: git.example.com",
    ],
)
def test_an_unreachable_registry_is_not_taken_for_a_missing_compiler(said: str) -> None:
    error = failed(Site({"name": "blog"}), "build", ["uv", "sync"], Result(2, said), "install gcc")
    assert "see its network, name server and proxy" in str(error)
    assert "install gcc" not in str(error)


def test_any_other_failure_keeps_its_advice() -> None:
    error = failed(Site({"name": "blog"}), "build", ["uv", "sync"], Result(2, "you need a C compiler"), "install gcc")
    assert "install gcc" in str(error)
    assert "proxy" not in str(error)


@pytest.mark.parametrize(
    "backend", [None, "django.core.mail.backends.smtp.EmailBackend", "shop.mail.console.EmailBackend"]
)
def test_mail_that_is_sent_needs_no_word(backend: str | None) -> None:
    assert unsent(Site({"name": "blog"}), backend) == []


def test_mail_that_reaches_nobody_is_said() -> None:
    assert unsent(Site({"name": "blog"}), "django.core.mail.backends.console.EmailBackend") == [
        "site blog: its e-mail reaches nobody, since the settings name the backend `console`, which is for development; "
        "name a mail server in the settings of the project"
    ]
