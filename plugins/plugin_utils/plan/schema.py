# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user may write about a site: one table for validation, defaults, messages and docs/sites.md."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SITE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]?", re.IGNORECASE)
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]+\])?\s*([=<>!~].*)?")

# Accounts that a Debian server or one of the roles has: a site of that name would share them.
RESERVED = frozenset(
    """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody sudo adm
    systemd-network systemd-resolve systemd-timesync messagebus sshd _apt postgres redis mysql memcache nginx apache
    gunicorn webstack ssh cron docker ubuntu debian admin dbus getty user""".split()
)


@dataclass(frozen=True)
class Error:
    """One mistake: where it is and what to do."""

    site: str
    key: str
    text: str

    def __str__(self) -> str:
        where = f"site {self.site}: " if self.site else ""
        return f"{where}{self.key}: {self.text}"


def kind_of(value: Any) -> str:
    """What a value of YAML is, in words (Ansible's own types have names that say nothing)."""
    kinds = ((bool, "true or false"), (str, "the text"), (Mapping, "the mapping"), ((list, tuple), "the list"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "the value")


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for a misspelt name, else the known names."""
    choices = sorted(known)
    match = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else f"known are {', '.join(choices)}"


@dataclass(frozen=True)
class Option:
    """One key: its type, default, and what else must hold."""

    kind: str  # str, int, bool, list, map (free names), dict (fixed names), any
    help: str
    default: Any = None
    choices: tuple[Any, ...] = ()
    check: Callable[[Any], str] | None = None  # returns what is wrong, or an empty string
    items: Option | None = None  # of a list or a map
    keys: dict[str, Option] = field(default_factory=dict)
    low: int | None = None
    high: int | None = None
    required: bool = False
    nullable: bool = True


def _matches(pattern: re.Pattern[str], words: str) -> Callable[[Any], str]:
    return lambda value: "" if pattern.fullmatch(value) else f"{value!r} is not {words}"


def _relative(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        return f"{value!r} must lie inside the checkout: a relative path without '..'"
    return "" if value == "" or "\n" not in value else "has a line break"


def _url_path(value: str) -> str:
    if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", value):
        return f"{value!r} must be a path like '/static/', with a slash at both ends"
    return ""


def _absolute(value: str) -> str:
    good = value.startswith("/") and ".." not in value.split("/")
    return "" if good else f"{value!r} must be an absolute path"


def _octal(value: str) -> str:
    return "" if re.fullmatch(r"0?[0-7]{3}", value) else f"{value!r} is not an octal mode; write it like '0640'"


def _no_newline(value: str) -> str:
    return "has a line break or a NUL" if "\n" in value or "\0" in value else ""


def _command(text: str) -> Option:
    return Option("list", text, [], items=Option("command", "A command line, or {run: ..., dir: ...}"))


_REQUIRED_PACKAGE = Option("str", "", check=_matches(_REQUIREMENT, "a requirement like 'name>=1.2'"))
_EXTENSION = Option("str", "", check=_matches(re.compile(r"[a-z][a-z0-9_-]*"), "an extension name"))
_STATUS = Option("int", "", low=100, high=599)
_TEXT = Option("str", "", check=_no_newline)

SITE: dict[str, Option] = {
    "name": Option(
        "str",
        "Name of the site: its system user, database, directory and units.",
        required=True,
        check=_matches(SITE_NAME, "a name of at most 31 lower-case letters, digits, '-' and '_' that begins with a letter"),
    ),
    "state": Option("str", "Whether the site is to be there.", "present", ("present", "absent")),
    "domains": Option("list", "Host names (or IP addresses) of the site; the first is the canonical one.", [], items=_TEXT),
    "redirect_domains": Option("list", "Host names that are redirected to the first domain.", [], items=_TEXT),
    "repo": Option("str", "Git repository: a URL, or a path on the controller.", check=_no_newline),
    "path": Option("str", "Directory on the controller, pushed as it is (what git ignores is left out).", check=_no_newline),
    "package": Option("str", "A Python package that is the whole project, like 'name==1.2'.", check=_matches(_REQUIREMENT, "a requirement like 'name==1.2'")),
    "version": Option("str", "Branch, tag or commit of `repo`; without it the repository's default branch.", check=_no_newline),
    "fetch": Option("str", "Who runs git: the controller (and pushes the code over SSH) or the host itself.", "controller", ("controller", "host")),
    "project_dir": Option("str", "Directory of manage.py in the checkout. Detected.", check=_relative),
    "settings": Option("str", "Settings module. Detected.", check=_matches(_DOTTED, "a module name like 'config.settings'")),
    "wsgi": Option(
        "str",
        "WSGI application. Detected.",
        check=_matches(re.compile(_DOTTED.pattern + r"(:[A-Za-z_][A-Za-z0-9_.]*)?"), "a name like 'config.wsgi:application'"),
    ),
    "manage": Option("str", "Path of manage.py in the checkout. Detected.", check=_relative),
    "python": Option("str", "Version of Python. Without it the distribution's.", check=_matches(_PYTHON, "a version like '3.13'")),
    "dependencies": Option(
        "dict",
        "Where the dependencies are declared. Detected.",
        {},
        keys={
            "tool": Option("str", "What installs them.", "auto", ("auto", "uv", "poetry", "pipenv", "requirements", "project", "none")),
            "file": Option("str", "The lock or requirements file, relative to the checkout.", check=_relative),
            "groups": Option("list", "Dependency groups to install besides the main ones.", [], items=_TEXT),
            "extras": Option("list", "Extras of the project to install.", [], items=_TEXT),
            "add": Option("list", "Requirements to install beside the project's own.", [], items=_REQUIRED_PACKAGE),
        },
    ),
    "packages": Option(
        "dict",
        "Packages of the operating system; those of psycopg2, mysqlclient and a few more are detected.",
        {},
        keys={
            "build": Option("list", "Needed to build; removed again afterwards.", [], items=Option("str", "", check=_matches(_PACKAGE, "a package name"))),
            "run": Option("list", "Needed to run.", [], items=Option("str", "", check=_matches(_PACKAGE, "a package name"))),
        },
    ),
    "settings_overlay": Option(
        "any",
        "Whether a generated settings module makes the project production-ready. `auto`: unless the project reads "
        "DATABASE_URL, or a database variable that `env` gives it.",
        "auto",
        ("auto", True, False),
    ),
    "env": Option("map", "Environment variables of every process and command.", {}, items=Option("scalar", "", check=_no_newline)),
    "files": Option(
        "list",
        "Files that the project needs beside its code.",
        [],
        items=Option(
            "dict",
            "",
            keys={
                "path": Option("str", "Relative: inside the checkout. Absolute: on the server.", required=True, check=_no_newline),
                "content": Option("str", "The content; may use placeholders."),
                "src": Option("str", "A file on the controller; may use placeholders."),
                "mode": Option("str", "Octal mode.", "0640", check=_octal),
            },
        ),
    ),
    "build": _command("Commands before the static files are collected (npm ci, npm run build ...)."),
    "commands": Option(
        "dict",
        "More commands, each at its place.",
        {},
        keys={
            "before_collectstatic": _command("Before the static files are collected."),
            "after_collectstatic": _command("After the static files are collected."),
            "before_migrate": _command("Before the database is migrated."),
            "after_migrate": _command("After the database is migrated, on every deployment."),
            "once": _command("After the first migration only, once in the life of the site."),
        },
    ),
    "collectstatic": Option("any", "true, false, or a management command to run instead.", True),
    "migrate": Option("bool", "Whether the database is migrated.", True, nullable=False),
    "order": Option("list", "Order of the two steps.", ["collectstatic", "migrate"], items=Option("str", "", choices=("collectstatic", "migrate"))),
    "shared": Option("list", "Paths in the checkout that outlive releases.", [], items=Option("str", "", check=_relative)),
    "directories": Option("list", "Directories that must exist before the settings are imported.", [], items=_TEXT),
    "static": Option(
        "dict",
        "Static files.",
        {},
        keys={
            "url": Option("str", "URL path of the static files. Detected.", check=_url_path),
            "root": Option("str", "Where collectstatic writes, if the project insists.", check=_no_newline),
        },
    ),
    "media": Option(
        "dict",
        "Uploaded files.",
        {},
        keys={
            "url": Option("str", "URL path of the uploaded files. Detected.", check=_url_path),
            "root": Option("str", "Where uploads are kept; `shared/media` of the site if not given.", check=_absolute),
        },
    ),
    "database": Option(
        "dict",
        "The site's database; a plain name is its engine.",
        {},
        keys={
            "engine": Option("str", "What serves it.", "postgresql", ("postgresql", "none")),
            "name": Option("str", "Name of the database; the site's name if not given.", check=_matches(SITE_NAME, "a database name")),
            "extensions": Option("list", "PostgreSQL extensions.", [], items=_EXTENSION),
            "over": Option("str", "How it is reached on the same host: by unix socket without a password, or by TCP with one.", "socket", ("socket", "tcp")),
            "password_version": Option("int", "Raise it to change the password.", 1, low=1, high=1000000),
        },
    ),
    "cache": Option("str", "What caches.", "redis", ("redis", "none")),
    "broker": Option("str", "What queues tasks.", "none", ("redis", "none")),
    "secret_key_version": Option("int", "Raise it to change SECRET_KEY.", 1, low=1, high=1000000, nullable=False),
    "workers": Option("int", "Processes of the application server; from the processors and the memory if not given.", low=1, high=512),
    "threads": Option("int", "Threads of each process.", 1, low=1, high=256, nullable=False),
    "timeout": Option("int", "Seconds after which a request is given up.", 30, low=1, high=86400, nullable=False),
    "memory_max_mb": Option("int", "Hard limit for the memory of the web processes in MB.", low=32, high=4194304),
    "health": Option(
        "dict",
        "How a new release is checked.",
        {},
        keys={
            "path": Option("str", "URL path to ask for.", "/", check=lambda value: "" if value.startswith("/") else f"{value!r} must begin with a slash"),
            "status": Option("list", "HTTP statuses that are healthy; anything below 500 but 400 if not given.", [], items=_STATUS),
            "timeout": Option("int", "Seconds to wait for it.", 60, low=1, high=3600),
        },
    ),
    "keep_releases": Option("int", "Releases that are kept.", 5, low=2, high=100, nullable=False),
    "client_max_body_size": Option("str", "Largest request body.", "25m", check=_matches(_SIZE, "a size like '25m'"), nullable=False),
    "https_redirect": Option("bool", "Whether plain HTTP is redirected.", True, nullable=False),
    "hsts_seconds": Option("int", "Seconds of Strict-Transport-Security; 0 turns it off.", 31536000, low=0, high=63072000, nullable=False),
}  # fmt: skip

_KINDS = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
    "dict": "a mapping",
}


def _wrong_type(option: Option, value: Any) -> str:
    return f"must be {_KINDS.get(option.kind, option.kind)}, not {kind_of(value)} {value!r}"


def complete(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> Any:
    """Check one value and fill in the defaults below it; mistakes are added to ``errors``."""
    if value is None:
        if option.required or not option.nullable:
            errors.append(Error(site, key, "is empty; give it a value or remove the line"))
        value = option.default
        if value is None:
            return None
    if option.kind == "dict":
        return _complete_dict(option.keys, value, site, key, errors)
    if option.kind == "list" and option.items is not None:
        return _complete_list(option.items, value, site, key, errors)
    if option.kind == "map":
        return _complete_map(option, value, site, key, errors)
    return _complete_scalar(option, value, site, key, errors)


def _complete_dict(keys: dict[str, Option], value: Any, site: str, key: str, errors: list[Error]) -> dict[str, Any]:
    prefix = f"{key}." if key else ""
    if not isinstance(value, dict):
        errors.append(Error(site, key or "django_sites", f"must be a mapping, not {kind_of(value)} {value!r}"))
        value = {}
    for name in value:
        if name not in keys:
            errors.append(Error(site, f"{prefix}{name}", f"unknown key; {nearest(str(name), keys)}"))
    result: dict[str, Any] = {}
    for name, option in keys.items():
        if option.required and name not in value:
            errors.append(Error(site, f"{prefix}{name}", "is missing; it is required"))
            result[name] = None
        else:
            result[name] = complete(option, value.get(name, option.default), site, f"{prefix}{name}", errors)
    return result


def _complete_list(items: Option, value: Any, site: str, key: str, errors: list[Error]) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        errors.append(Error(site, key, f"must be a list, not {kind_of(value)} {value!r}; write [{value}]"))
        return []
    return [complete(items, one, site, f"{key}[{number}]", errors) for number, one in enumerate(value)]


def _complete_map(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> dict[str, Any]:
    if not isinstance(value, dict) or option.items is None:
        errors.append(Error(site, key, _wrong_type(option, value)))
        return {}
    result: dict[str, Any] = {}
    for name, one in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            errors.append(Error(site, f"{key}.{name}", "is not a name of an environment variable"))
            continue
        result[name] = complete(option.items, one, site, f"{key}.{name}", errors)
    return result


def _complete_scalar(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> Any:
    if option.kind == "command":
        return _complete_command(value, site, key, errors)
    if option.kind == "scalar":
        if isinstance(value, bool):
            value = "True" if value else "False"
        elif isinstance(value, (int, float)):
            value = str(value)
    wanted: dict[str, type] = {"str": str, "int": int, "bool": bool, "scalar": str}
    expected = wanted.get(option.kind)
    if option.kind == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
        errors.append(Error(site, key, f"must be text, not the number {value}; quote it: '{value}'"))
        return None
    if expected and (not isinstance(value, expected) or (expected is int and isinstance(value, bool))):
        errors.append(Error(site, key, _wrong_type(option, value)))
        return None
    if isinstance(value, str) and not isinstance(option.default, bool):
        value = str(value)  # without Ansible's tags
    problem = _problem(option, value)
    if problem:
        errors.append(Error(site, key, problem))
        return None
    return value


def _problem(option: Option, value: Any) -> str:
    if option.choices and not any(
        value is choice or (value == choice and not isinstance(choice, bool)) for choice in option.choices
    ):
        return f"{value!r} is none of {', '.join(str(choice) for choice in option.choices)}"
    if isinstance(value, int) and not isinstance(value, bool):
        if option.low is not None and value < option.low:
            return f"{value} is too small; at least {option.low}"
        if option.high is not None and value > option.high:
            return f"{value} is too large; at most {option.high}"
    return option.check(value) if option.check and isinstance(value, str) else ""


def _complete_command(value: Any, site: str, key: str, errors: list[Error]) -> dict[str, str]:
    if isinstance(value, str):
        value = {"run": value}
    keys = {
        "run": Option("str", "The command line.", required=True),
        "dir": Option("str", "Directory in the checkout.", "", check=_relative),
    }
    return _complete_dict(keys, value, site, key, errors)
