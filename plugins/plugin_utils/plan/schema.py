# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user may write about a site: one table for validation, defaults, messages and docs/sites.md."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.checks import (
    ALIASES,
    DOTTED,
    PACKAGE,
    PYTHON,
    REMOTE,
    REQUIREMENT,
    SITE_NAME,
    SIZE,
    absolute,
    broker,
    calendar,
    cookie_name,
    database,
    env_value,
    header_name,
    header_value,
    inside,
    line,
    login_path,
    matches,
    octal,
    page,
    relative,
    url_path,
)

TLS_MODES = ("auto", "acme", "selfsigned", "provided", "off")
# What a user writes as the engine of a database, and Django's own name of it. MariaDB serves what is asked of MySQL.
ENGINES = {"postgresql": "postgresql", "mariadb": "mysql", "mysql": "mysql", "sqlite": "sqlite3"}


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
    kinds = (
        (bool, "the truth value"),
        (str, "the text"),
        (Mapping, "the mapping"),
        ((list, tuple), "the list"),
        ((int, float), "the number"),
        (datetime.date, "the date"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "the value")


def shown(value: Any) -> str:
    """A value of YAML as a message shows it: short, and without the words of Ansible's own types."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = repr(str(value))
    elif isinstance(value, datetime.date):
        text = str(value)
    else:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for a misspelt name, else the known names."""
    choices = sorted(known)
    if ALIASES.get(name) in choices:
        return f"did you mean {ALIASES[name]!r}?"
    match = difflib.get_close_matches(name.lower().replace("-", "_"), choices, n=1, cutoff=0.6)
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
    names: Callable[[str], str] | None = None  # of a map whose names are no environment variables; like `check`
    keys: dict[str, Option] = field(default_factory=dict)
    low: int | None = None
    high: int | None = None
    required: bool = False
    nullable: bool = True


def _command(text: str) -> Option:
    return Option("list", text, [], items=Option("command", "A command line, or {run: ..., dir: ...}"))


_REQUIRED_PACKAGE = Option("str", "", check=matches(REQUIREMENT, "a requirement like 'name>=1.2'"))
_EXTENSION = Option("str", "", check=matches(re.compile(r"[a-z][a-z0-9_-]*"), "an extension name"))
_APPLICATION = re.compile(DOTTED.pattern + r"(:[A-Za-z_][A-Za-z0-9_.]*)?")
_STATUS = Option("int", "", low=100, high=599)
_TEXT = Option("str", "", check=line)
PROCESS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_HOSTS = Option(
    "str",
    "`first`: on the first application server only (celery beat and clocks, if not given).",
    choices=("all", "first"),
)
PROCESS = {
    "run": Option("str", "The command line, started in the directory of manage.py.", required=True, check=line),
    "hosts": _HOSTS,
    "stop_signal": Option("str", "Signal that stops it.", "TERM", ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH")),
    "stop_timeout": Option("int", "Seconds that it gets to finish what it is at; 300 for Celery's workers, else 60.", low=1, high=86400),
    "memory_max_mb": Option("int", "Hard limit of its memory in MB.", low=32, high=4194304),
    "pooler": Option("bool", "false: goes past `database.pooler`, as what needs a session must (LISTEN, advisory locks).", True, nullable=False),
}  # fmt: skip

SITE: dict[str, Option] = {
    "name": Option(
        "str",
        "Name of the site: its system user, database, directory and units.",
        required=True,
        check=matches(SITE_NAME, "a name of at most 31 lower-case letters, digits, '-' and '_' that begins with a letter"),
    ),
    "state": Option("str", "Whether the site is to be there.", "present", ("present", "absent")),
    "domains": Option("list", "Host names (or IP addresses) of the site; the first is the canonical one.", [], items=_TEXT),
    "redirect_domains": Option("list", "Host names that are redirected to the first domain.", [], items=_TEXT),
    "repo": Option("str", "Git repository: a URL, or a path on the controller.", check=line),
    "path": Option("str", "Directory on the controller, pushed as it is (what git ignores is left out).", check=line),
    "package": Option("str", "A Python package that is the whole project, like 'name==1.2'.", check=matches(REQUIREMENT, "a requirement like 'name==1.2'")),
    "version": Option("str", "Branch, tag or commit of `repo`; without it the repository's default branch.", check=line),
    "fetch": Option("str", "Who runs git: the controller (and pushes the code over SSH) or the host itself.", "controller", ("controller", "host")),
    "checkout": Option(
        "dict",
        "Your working copy of the code on the controller: what is tested, committed and pushed before a deployment.",
        {},
        keys={
            "path": Option("str", "Its directory; `repo` itself where that is a working copy on the controller.", check=line),
            "tests": Option("list", "Command lines that a shell runs in it; where one fails, nothing is pushed or deployed.", [], items=_TEXT),
            "push": Option("bool", "Whether commits that the remote lacks are pushed.", True, nullable=False),
            "remote": Option("str", "The remote to push to.", "origin", check=matches(REMOTE, "a name of a remote like 'origin'"), nullable=False),
        },
    ),
    "project_dir": Option("str", "Directory of manage.py in the checkout. Detected.", check=relative),
    "settings": Option("str", "Settings module. Detected.", check=matches(DOTTED, "a module name like 'config.settings'")),
    "wsgi": Option("str", "WSGI application. Detected.", check=matches(_APPLICATION, "a name like 'config.wsgi:application'")),
    "asgi": Option("str", "ASGI application. Detected.", check=matches(_APPLICATION, "a name like 'config.asgi:application'")),
    "interface": Option("str", "Which of the two is served. `auto`: asgi for Channels, Daphne and projects without WSGI.", "auto", ("auto", "wsgi", "asgi")),
    "manage": Option("str", "Path of manage.py in the checkout. Detected.", check=relative),
    "python": Option("str", "Version of Python. Without it the distribution's.", check=matches(PYTHON, "a version like '3.13'")),
    "dependencies": Option(
        "dict",
        "Where the dependencies are declared. Detected.",
        {},
        keys={
            "tool": Option("str", "What installs them.", "auto", ("auto", "uv", "poetry", "pipenv", "requirements", "project", "none")),
            "file": Option("str", "The lock or requirements file, relative to the checkout.", check=relative),
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
            "build": Option("list", "Needed to build; removed again afterwards.", [], items=Option("str", "", check=matches(PACKAGE, "a package name"))),
            "run": Option("list", "Needed to run.", [], items=Option("str", "", check=matches(PACKAGE, "a package name"))),
        },
    ),
    "settings_overlay": Option(
        "any",
        "Whether a generated settings module makes the project production-ready. `auto`: unless the project reads "
        "DATABASE_URL, or a database variable that `env` gives it.",
        "auto",
        ("auto", True, False),
    ),
    "env": Option("map", "Environment variables of every process and command.", {}, items=Option("scalar", "", check=env_value)),
    "files": Option(
        "list",
        "Files that the project needs beside its code.",
        [],
        items=Option(
            "dict",
            "",
            keys={
                "path": Option("str", "Relative: inside the checkout. Absolute: on the server.", required=True, check=line),
                "content": Option("str", "The content; may use placeholders."),
                "src": Option("str", "A file on the controller; may use placeholders."),
                "mode": Option("str", "Octal mode.", "0640", check=octal),
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
            "before_build": _command("Shell commands before the dependencies are installed, once for each release."),
            "after_build": _command("After the build, once for each release."),
            "before_switch": _command("On every server, before a new release serves."),
            "after_switch": _command("On every server, when it serves."),
            "once": _command("After the first migration only, once in the life of the site."),
        },
    ),
    "hooks": Option(
        "dict",
        "Files of Ansible tasks on the controller, run on every application server for a new release. They find `webstack_site` and `webstack_release`.",
        {},
        keys={
            f"{when}_{step}": Option("list", f"{when.capitalize()} the {step}.", [], items=_TEXT)
            for step in ("build", "migrate", "switch")
            for when in ("before", "after")
        },
    ),
    "collectstatic": Option("any", "true, false, or a management command to run instead.", True),
    "migrate": Option("bool", "Whether the database is migrated.", True, nullable=False),
    "migrate_lock_timeout": Option("int", "Seconds that a migration waits for a lock; 0: as long as it takes.", 5, low=0, high=3600, nullable=False),
    "backup_before_migrate": Option("bool", "Whether the database is dumped to /var/backups/webstack before migrations.", False, nullable=False),
    "release_header": Option("bool", "Whether every answer names its release in the header X-Webstack-Release.", False, nullable=False),
    "order": Option("list", "Order of the two steps.", ["collectstatic", "migrate"], items=Option("str", "", choices=("collectstatic", "migrate"))),
    "shared": Option("list", "Paths in the checkout that outlive releases.", [], items=Option("str", "", check=inside)),
    "directories": Option("list", "Directories that must exist before the settings are imported.", [], items=_TEXT),
    "static": Option(
        "dict",
        "Static files.",
        {},
        keys={
            "url": Option("str", "URL path of the static files. Detected.", check=url_path),
            "root": Option("str", "Where collectstatic writes, if the project insists.", check=line),
        },
    ),
    "media": Option(
        "dict",
        "Uploaded files.",
        {},
        keys={
            "url": Option("str", "URL path of the uploaded files. Detected.", check=url_path),
            "root": Option("str", "Where uploads are kept; `shared/media` of the site if not given.", check=absolute),
        },
    ),
    "database": Option(
        "dict",
        "The site's database; a plain name is its engine.",
        {},
        keys={
            "engine": Option("str", "What serves it; mysql is served by MariaDB.", "postgresql", (*ENGINES, "none")),
            "name": Option("str", "Name of the database; the site's name if not given.", check=database),
            "extensions": Option("list", "PostgreSQL extensions.", [], items=_EXTENSION),
            "switch_from": Option("str", "The engine that served until now, once its data was dumped: see docs/switching.md.", choices=tuple(ENGINES)),
            "over": Option("str", "How it is reached on the same host: by unix socket without a password, or by TCP with one.", "socket", ("socket", "tcp")),
            "password_version": Option("int", "Raise it to change the password.", 1, low=1, high=1000000),
            "pooler": Option(
                "str", "What stands between the site's processes and PostgreSQL: see docs/operating.md.", "none", ("none", "pgbouncer"), nullable=False),
            "pool_size": Option(
                "int", "Connections of the pooler on each application server; from the processes, and what PostgreSQL takes, if not given.", low=1, high=10000),
        },
    ),
    "cache": Option("str", "What caches.", "redis", ("redis", "memcached", "none")),
    "broker": Option("str", "What queues tasks: redis, none, or the URL of one elsewhere (amqp://...). `auto`: redis for a Celery app.", "auto", check=broker),
    "cache_password_version": Option("int", "Raise it to change the passwords that its Redis has for other servers.", 1, low=1, high=1000000, nullable=False),
    "secret_key_version": Option("int", "Raise it to change SECRET_KEY.", 1, low=1, high=1000000, nullable=False),
    "app_server": Option("str", "What runs the application. uWSGI serves WSGI only.", "gunicorn", ("gunicorn", "uwsgi")),
    "process_manager": Option("str", "What runs the processes.", "systemd", ("systemd", "supervisord")),
    "processes": Option(
        "map",
        "Processes beside web, each a command line or a mapping; `false` takes one away that was detected (Procfile, Celery).",
        {},
        items=Option("process", "", keys=PROCESS),
    ),
    "schedules": Option(
        "list",
        "Commands that run at times.",
        [],
        items=Option(
            "dict",
            "",
            keys={
                "name": Option("str", "Name, part of its unit's.", required=True, check=matches(PROCESS_NAME, "a name like 'tidy' or 'send-mail'")),
                "calendar": Option("str", "When: OnCalendar of systemd, like 'hourly', '03:30' or 'Mon..Fri *:0/15'.", required=True, check=calendar),
                "run": Option("str", "The command line, started in the directory of manage.py.", required=True, check=line),
                "hosts": Option("str", "On which application servers.", "first", ("first", "all")),
            },
        ),
    ),
    "workers": Option("int", "Processes of the application server; from the processors and the memory if not given, 1 with SQLite.", low=1, high=512),
    "threads": Option("int", "Threads of each process (WSGI); 1 if not given, 2 with uWSGI, 4 with SQLite, which takes one process.", low=1, high=256),
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
    "web_server": Option("str", "What serves HTTPS, for all sites alike: one that says it is enough; nginx if none does.", choices=("nginx", "apache")),
    "client_max_body_size": Option("str", "Largest request body.", "25m", check=matches(SIZE, "a size like '25m'"), nullable=False),
    "tls": Option(
        "dict",
        "Where its certificate comes from; a plain word is its mode.",
        {},
        keys={
            "mode": Option(
                "str",
                "`acme`: a public authority, such as Let's Encrypt. `selfsigned`. `provided`: `certificate` and `key`. `off`: plain HTTP, "
                "behind a load balancer that ends TLS. `auto`: acme where `tls_email` is set and every domain is a name, else selfsigned.",
                "auto", TLS_MODES, nullable=False,
            ),
            "certificate": Option("str", "The certificate, and behind it its chain: a file on the controller (may be vaulted), or the PEM text itself."),
            "key": Option("str", "Its key, likewise."),
        },
    ),
    "https_redirect": Option("bool", "Whether plain HTTP is redirected.", True, nullable=False),
    "maintenance": Option(
        "dict",
        "What visitors are told while the site is in maintenance (playbook `webstack.django.maintenance`).",
        {},
        keys={
            "page": Option("str", "Its page, HTML in UTF-8: in the checkout, or an absolute path here. A small one of ours if not given.", check=page),
            "retry_after": Option("int", "Seconds after which they are asked to come back.", 300, low=1, high=604800, nullable=False),
        },
    ),
    "page_cache": Option(
        "dict",
        "Whether nginx keeps pages for a moment, for visitors who are not logged in (docs/serving.md).",
        {},
        keys={
            "enabled": Option("bool", "Whether pages are kept.", False, nullable=False),
            "seconds": Option(
                "int", "How long a page is served as it is, where the application does not say it in `Cache-Control`.", 10, low=1, high=3600, nullable=False),
            "stale_seconds": Option("int", "For how much longer it is served while a new one is made.", 60, low=0, high=86400, nullable=False),
            "skip": Option(
                "list", "Beginnings of paths that are never kept, beside `login_paths`, `login_api_paths` and `health.path`. `*` is one part of a path.",
                ["/admin/"], items=Option("str", "", check=login_path)),
            "cookies": Option(
                "list", "Cookies that say nothing of their owner, beside the well-known ones of analytics; `*` stands for any letters.",
                [], items=Option("str", "", check=cookie_name)),
            "headers": Option(
                "list", "More headers of requests that are somebody's own, beside `Authorization` and the like.",
                [], items=Option("str", "", check=matches(re.compile(r"[A-Za-z][A-Za-z0-9-]*"), "a name of a header like 'X-Customer'"))),
            "size_mb": Option("int", "Room for the pages on disk, in MB.", 100, low=1, high=1048576, nullable=False),
            "status_header": Option("bool", "Whether the header X-Cache says where an answer comes from.", False, nullable=False),
        },
    ),
    "login_paths": Option(
        "list",
        "Pages with a log-in form: addresses that fail there again and again are banned for a while. `*` is one part of a path.",
        ["/admin/login/"],
        items=Option("str", "", check=login_path),
    ),
    "login_api_paths": Option(
        "list",
        "The same for programs: here a POST that is answered by 200 was let in.",
        [],
        items=Option("str", "", check=login_path),
    ),
    "hsts_seconds": Option("int", "Seconds of Strict-Transport-Security; 0 turns it off.", 31536000, low=0, high=63072000, nullable=False),
    "hsts_subdomains": Option("bool", "Whether it holds for all names below the domains as well.", False, nullable=False),
    "hsts_preload": Option("bool", "Whether browsers may have the domains in their own lists, which is hard to undo.", False, nullable=False),
    "headers": Option(
        "map",
        "Headers of every answer on which the application does not set them itself, like `Content-Security-Policy`; null takes "
        "one away that is there without it (docs/security.md).",
        {},
        items=Option("scalar", "", check=header_value),
        names=header_name,
    ),
}  # fmt: skip
