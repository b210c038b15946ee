# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a single value that a user wrote: each check returns the words, or an empty string."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

SITE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
SIZE = re.compile(r"[1-9][0-9]*[kmg]?", re.IGNORECASE)
PYTHON = re.compile(r"3\.[0-9]{1,2}")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]+\])?\s*([=<>!~].*)?")

# Databases of PostgreSQL itself, and words that mean something else in its access rules.
RESERVED_DATABASES = frozenset(
    "postgres pgbouncer template0 template1 public none all replication sameuser samerole samegroup".split()
)

# Accounts that a Debian server or one of the roles has: a site of that name would share them.
RESERVED = frozenset(
    """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody sudo adm
    systemd-network systemd-resolve systemd-timesync systemd-journal systemd-coredump messagebus sshd _apt postgres redis
    mysql memcache nginx apache gunicorn webstack ssh cron docker ubuntu debian admin dbus getty user tty disk kmem dialout
    fax voice cdrom floppy tape audio video dip plugdev staff users nogroup shadow utmp sasl src crontab render kvm input
    netdev operator tls loaded valkey pgbouncer""".split()
)
# What people call keys elsewhere.
ALIASES = {
    **dict.fromkeys(("branch", "tag", "commit", "ref", "revision"), "version"),
    **dict.fromkeys(("url", "git", "git_url", "repository"), "repo"),
    **dict.fromkeys(("host", "hosts", "hostname", "hostnames", "server_name"), "domains"),
    **dict.fromkeys(("environment", "environ", "env_vars", "variables"), "env"),
    **dict.fromkeys(("db", "databases"), "database"),
    **dict.fromkeys(("webserver", "server", "httpd"), "web_server"),
    **dict.fromkeys(("ssl", "https", "acme", "letsencrypt"), "tls"),
    **dict.fromkeys(("micro_cache", "microcache", "cache_pages", "html_cache"), "page_cache"),
    **dict.fromkeys(("cert", "chain", "fullchain", "crt"), "certificate"),
    **dict.fromkeys(("private_key", "privkey"), "key"),
    **dict.fromkeys(("appserver", "wsgi_server", "application_server"), "app_server"),
    **dict.fromkeys(("init", "service_manager", "supervisor"), "process_manager"),
    **dict.fromkeys(("workers_processes", "procfile", "services"), "processes"),
    **dict.fromkeys(("cron", "crons", "cronjobs", "timers", "periodic"), "schedules"),
}


def matches(pattern: re.Pattern[str], words: str) -> Callable[[Any], str]:
    return lambda value: "" if pattern.fullmatch(value) else f"{value!r} is not {words}"


def relative(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        return f"{value!r} must lie inside the checkout: a relative path without '..'"
    return "has a line break or a NUL character" if "\n" in value or "\0" in value else ""


def url_path(value: str) -> str:
    if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", value):
        return f"{value!r} must be a path like '/static/', with a slash at both ends"
    return ""


def login_path(value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~*/-]*", value):
        return f"{value!r} must be a path like '/accounts/login/'; '*' stands for one part of it"
    return ""


def cookie_name(value: str) -> str:
    return matches(re.compile(r"[A-Za-z0-9_.*-]+"), "a name of a cookie; '*' stands for any letters")(value)


def absolute(value: str) -> str:
    good = value.startswith("/") and ".." not in value.split("/")
    return "" if good else f"{value!r} must be an absolute path"


def octal(value: str) -> str:
    return "" if re.fullmatch(r"0?[0-7]{3}", value) else f"{value!r} is not an octal mode; write it like '0640'"


def env_value(value: str) -> str:
    if "\0" in value:
        return "has a NUL character"
    return (
        "has a line break, which a variable cannot have; put the text into `files` and its path here"
        if "\n" in value
        else ""
    )


# What the web server says itself of an answer and its connection.
_OWN_HEADERS = frozenset(
    """connection content-encoding content-length content-type date location server set-cookie transfer-encoding upgrade
    vary""".split()
)


def header_name(value: str) -> str:
    if value.lower() == "strict-transport-security":
        return "has keys of its own: hsts_seconds, hsts_subdomains and hsts_preload"
    if value.lower() in _OWN_HEADERS:
        return "is said by the web server or the application itself; remove the line"
    return matches(re.compile(r"[A-Za-z][A-Za-z0-9-]*"), "a name of a header like 'Referrer-Policy'")(value)


def header_value(value: str) -> str:
    """Neither web server can be given the two characters as they are."""
    if not re.fullmatch(r"[ -~]+", value):
        return "must be one line of printable ASCII"
    return "must not have '$' or a backslash" if "$" in value or "\\" in value else ""


def line(value: str) -> str:
    if not value.strip():
        return "is empty; give it a value or remove the line"
    return "has a line break or a NUL character" if "\n" in value or "\0" in value else ""


def inside(value: str) -> str:
    return relative(value) or ("" if value.strip("./") else f"{value!r} is the whole checkout; name a path in it")


def page(value: str) -> str:
    controller = value.startswith(("/", "~/"))
    return (absolute(value.removeprefix("~")) or line(value)) if controller else inside(value)


def database(value: str) -> str:
    if value in RESERVED_DATABASES or value.startswith("pg_"):
        return f"{value!r} means something to PostgreSQL itself; choose another name"
    return matches(SITE_NAME, "a database name")(value)


def calendar(value: str) -> str:
    if line(value):
        return line(value)
    return (
        ""
        if re.fullmatch(r"[A-Za-z0-9*/,.:~ +-]+", value)
        else f"{value!r} is not a time like 'daily' or 'Mon..Fri 03:30'"
    )


def broker(value: str) -> str:
    if value in ("auto", "redis", "none") or re.fullmatch(r"[a-z0-9+]+://\S+", value):
        return ""
    return (
        "is not one of auto, redis and none, nor a URL like 'amqp://user:password@host/vhost'"  # it may hold a password
    )
