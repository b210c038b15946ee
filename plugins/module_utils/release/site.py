# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One site of ``django_app_sites`` with its defaults, paths, environment and secrets."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from typing import Any

# What an item may leave out; the same as in roles/django_app/meta/argument_specs.yml.
DEFAULTS: dict[str, Any] = {
    "state": "present",
    "purge": False,
    "user": None,
    "group": None,
    "root": None,
    "source": {
        "kind": "path",
        "repo": None,
        "version": None,
        "commit": "",
        "archive": None,
        "package": None,
        "fetch": "controller",
    },
    "release_id": None,
    "project_dir": None,
    "settings": None,
    "wsgi": None,
    "asgi": None,
    "interface": None,
    "app_server": None,
    "release_header": False,
    "processes": {},
    "manage": None,
    "settings_overlay": True,
    "python": None,
    "dependencies": {"tool": None, "file": None, "directory": "", "groups": [], "extras": [], "add": []},
    "packages": {"build": [], "run": []},
    "env": {},
    "pooled": None,
    "files": [],
    "build": [],
    "commands": {
        "before_build": [],
        "after_build": [],
        "before_collectstatic": [],
        "after_collectstatic": [],
        "before_migrate": [],
        "after_migrate": [],
        "before_switch": [],
        "after_switch": [],
        "once": [],
    },
    "hooks": {},
    "collectstatic": True,
    "migrate": True,
    "migrate_lock_timeout": 5,
    "backup_before_migrate": False,
    "order": ["collectstatic", "migrate"],
    "shared": [],
    "directories": [],
    "static": {"url": "/static/", "root": None},
    "media": {"url": "/media/", "root": None},
    "database": None,
    "cache": None,
    "broker": None,
    "domains": [],
    "allowed_hosts": None,
    "trusted_origins": None,
    "secret_key": None,
    "activate": [],
    "health": None,
    "keep_releases": 5,
    "page_cache": False,
}
HEALTH: dict[str, Any] = {
    "socket": None,
    "address": None,
    "protocol": "http",
    "host": None,
    "path": "/",
    "status": [],
    "timeout": 60,
    "proof": False,
}
POOLED = "WEBSTACK_POOLED_"  # begins the names of variables
_SECRET_NAME = re.compile(r"KEY|SECRET|PASS|TOKEN|CREDENTIAL|URL|DSN|URI|AUTH", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^/@\s:]*:)[^/@\s]+@")


class ReleaseError(Exception):
    """What went wrong, in words for the user: site, step, what happened, what to do."""


def _merge(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(defaults)
    for key, value in given.items():
        if isinstance(result.get(key), dict) and isinstance(value, dict) and key not in ("env", "processes"):
            result[key] = _merge(result[key], value)
        elif value is not None:
            result[key] = value
    return result


def quote(value: str) -> str:
    """A value for an EnvironmentFile, which a shell reads in the same way."""
    return '"%s"' % re.sub(r'(["\\$`])', r"\\\1", value)


_UNQUOTE = re.compile(r"\\(.)")


def read_environment(text: str) -> dict[str, str]:
    """The variables of such a file."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name] = _UNQUOTE.sub(r"\1", value[1:-1]) if value[:1] == '"' else value
    return found


def environment_file(variables: dict[str, str], header: str) -> str:
    """The text of an EnvironmentFile."""
    return header + "".join("%s=%s\n" % (name, quote(value)) for name, value in sorted(variables.items()))


def command(item: str | dict[str, Any]) -> dict[str, str]:
    """A command as a mapping; a plain text is its line."""
    if isinstance(item, str):
        return {"run": item, "dir": ""}
    return {"run": item["run"], "dir": item.get("dir") or ""}


class Site:
    """A site and where everything of it lies."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.data = _merge(DEFAULTS, given)
        if self.data["health"] is not None:
            self.data["health"] = _merge(HEALTH, self.data["health"])
        self.name: str = self.data["name"]
        self.user: str = self.data["user"] or self.name
        self.group: str = self.data["group"] or self.user
        self.root: str = self.data["root"] or "/srv/" + self.name
        self.release_id: str = self.data["release_id"] or ""
        # What was detected on this host, kept in release.json (sources that the controller never sees).
        self.facts: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if self.data.get(key) is None and key in self.facts:
            return self.facts[key]
        return self.data[key]

    def learn(self, facts: dict[str, Any]) -> None:
        """Take over what was detected on this host; what the item says wins."""
        self.facts = facts
        found = facts.get("dependencies")
        if found and not self.data["dependencies"]["tool"]:
            self.data["dependencies"].update(found)

    @property
    def present(self) -> bool:
        """Whether the site is to be there."""
        return bool(self.data["state"] == "present")

    @property
    def interface(self) -> str:
        """What the application server and the project talk: wsgi or asgi."""
        return str(self["interface"] or ("asgi" if self["asgi"] and not self["wsgi"] else "wsgi"))

    @property
    def application(self) -> str | None:
        """What the application server serves, like ``config.wsgi:application``."""
        found: str | None = self[self.interface]
        return found if not found or ":" in found else found + ":application"

    # Paths -------------------------------------------------------------------------------------

    def path(self, *parts: str) -> str:
        """A path below the site's root."""
        return os.path.join(self.root, *parts)

    @property
    def releases(self) -> str:
        """The directory of all releases."""
        return self.path("releases")

    @property
    def release(self) -> str:
        """The directory of the wanted release."""
        return os.path.join(self.releases, self.release_id)

    @property
    def code(self) -> str:
        """The checkout."""
        return os.path.join(self.release, "code")

    @property
    def environments(self) -> str:
        """The directory of all virtual environments."""
        return self.path("environments")

    @property
    def venv(self) -> str:
        """The virtual environment, as the release knows it: a link."""
        return os.path.join(self.release, "venv")

    @property
    def environment(self) -> str:
        """Where that is: what is installed keeps this path."""
        return os.path.realpath(self.venv)

    @property
    def python(self) -> str:
        """The interpreter of the virtual environment."""
        return os.path.join(self.venv, "bin", "python")

    @property
    def project(self) -> str:
        """The directory of manage.py."""
        return os.path.normpath(os.path.join(self.code, self["project_dir"] or ""))

    @property
    def overlay(self) -> str:
        """The directory of the generated settings."""
        return os.path.join(self.release, "overlay")

    @property
    def current(self) -> str:
        """The link to the release that serves."""
        return self.path("current")

    @property
    def cache(self) -> str:
        """The home of builds."""
        return os.path.join("/var/cache/webstack", self.name)

    @property
    def settings_directory(self) -> str:
        """Where the site's own configuration lies."""
        return os.path.join("/etc/webstack", self.name)

    @property
    def environment_path(self) -> str:
        """The environment of every process."""
        return os.path.join(self.settings_directory, "env")

    @property
    def static_root(self) -> str:
        """Where collectstatic writes when the overlay is on."""
        root = self["static"]["root"]
        if not root:
            return os.path.join(self.release, "static")
        return root if root.startswith("/") else os.path.join(self.code, root)

    @property
    def media_root(self) -> str:
        """Where uploads are kept."""
        return self["media"]["root"] or self.path("shared", "media")

    # Environment -------------------------------------------------------------------------------

    @property
    def variables(self) -> dict[str, str]:
        """/etc/webstack/<site>/env: the site's variables, and the secrets that the overlay reads."""
        result = {name: str(value) for name, value in self["env"].items() if value is not None}
        # What goes through the connection pooler has these without the prefix (`launchers`); all else goes past it.
        result.update({POOLED + name: str(value) for name, value in self.pooled.items()})
        if self["settings_overlay"]:
            if self["secret_key"]:
                result["WEBSTACK_SECRET_KEY"] = self["secret_key"]
            database = self["database"] or {}
            if database.get("password") and not str(database.get("host") or "").startswith("/"):
                result["WEBSTACK_DATABASE_PASSWORD"] = database["password"]
            if self["cache"]:
                result["WEBSTACK_CACHE_URL"] = self["cache"]["url"]
        return result

    @property
    def pooled(self) -> dict[str, str]:
        """Variables of the processes that go through a connection pooler."""
        return (self["pooled"] or {}).get("env") or {}

    @property
    def cache_kind(self) -> str | None:
        """Which kind of cache the site has, by the scheme of its URL."""
        url = (self["cache"] or {}).get("url")
        return ("memcached" if url.startswith("memcached:") else "redis") if url else None

    @property
    def allowed_hosts(self) -> list[str]:
        """Domains as Django takes them."""
        given = self["allowed_hosts"]
        return given if given is not None else [re.sub(r"^\*\.", ".", one) for one in self["domains"]]

    @property
    def trusted_origins(self) -> list[str]:
        """Domains as CSRF_TRUSTED_ORIGINS takes them."""
        given = self["trusted_origins"]
        return given if given is not None else ["https://" + one for one in self["domains"]]

    def digest(self, overlay: dict[str, str]) -> str:
        """A name for everything that configures a built release; processes carry it in their environment."""
        keys = (
            "files commands collectstatic order shared directories static media processes pooled release_header".split()
        )
        parts = [self.variables, overlay, {key: self[key] for key in keys}, self.application]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    # Secrets -----------------------------------------------------------------------------------

    def secrets(self) -> list[str]:
        """Texts that must never be shown, the long ones first."""
        found = [self["secret_key"], (self["database"] or {}).get("password")]
        found += [(self[key] or {}).get("url") for key in ("database", "cache", "broker")]
        found += [value for name, value in self["env"].items() if _SECRET_NAME.search(name)]
        return sorted({str(one) for one in found if one and len(str(one)) >= 8}, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """A text without secrets."""
        for secret in self.secrets():
            if "://" in secret:
                # An address without a password is no secret, and often what explains a failure.
                found = _URL_PASSWORD.search(secret)
                if found is None:
                    continue
            text = text.replace(secret, "********")
        return _URL_PASSWORD.sub(r"\1********@", text)

    def error(self, step: str, text: str, advice: str | None = None) -> ReleaseError:
        """An error in the form that all steps use."""
        words = "site %s, %s: %s" % (self.name, step, text.rstrip())
        return ReleaseError(self.mask(words + ("\nWhat to do: " + advice if advice else "")))
