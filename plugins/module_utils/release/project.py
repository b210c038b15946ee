# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Talk to the project: management commands, and questions that its settings answer."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import configure
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    Result,
    base_environment,
    failed,
    run,
)
from ansible_collections.webstack.django.plugins.module_utils.release.session import Session
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site, command

# Settings print what they like at import: the answer stands between marks.
_MARK = "webstack-answer:"
_SETTINGS = """
import json, django
from django.conf import settings
from django.core.management import get_commands
def text(value):
    return None if value is None else str(value)
database = settings.DATABASES.get("default", {})
mailers = getattr(settings, "MAILERS", None)
mail = (mailers.get("default") or {}).get("BACKEND") if mailers else vars(settings._wrapped).get("EMAIL_BACKEND")
answer = {
    "django": django.get_version(),
    "debug": bool(settings.DEBUG),
    "static_url": text(settings.STATIC_URL),
    "static_root": text(settings.STATIC_ROOT),
    "media_root": text(settings.MEDIA_ROOT),
    "engine": text(database.get("ENGINE")),
    "database": text(database.get("NAME")),
    "mail": text(mail),
    "commands": sorted(get_commands()),
}
"""
_MIGRATIONS = """
def migrations(answer):
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor
    answer.update(pending=None, known=[])
    connection = connections["default"]
    if connection.settings_dict["ENGINE"] == "django.db.backends.dummy":
        return
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    answer.update(
        pending=["%s.%s" % (one.app_label, one.name) for one, _backwards in plan],
        known=sorted("%s.%s" % key for key in executor.loader.disk_migrations),
    )
"""
_ALONE = "import json" + _MIGRATIONS + "answer = {}\nmigrations(answer)"
# In one process with the settings where that goes well; the question by itself says what is wrong.
_TRIED = (
    _MIGRATIONS
    + """
try:
    migrations(answer)
except Exception:
    answer.pop("pending", None)
"""
)
_PRINT = "\nprint('\\n" + _MARK + "' + json.dumps(answer), flush=True)\n"


def environment(site: Site) -> dict[str, str]:
    """What the web process has as well."""
    digest = site.digest(configure.overlay_files(site, _sources(site)))
    result = {**base_environment(site), **site.variables, **configure.release_environment(site, digest)}
    result["PATH"] = os.path.join(site.venv, "bin") + ":" + result["PATH"]
    return result


def _sources(site: Site) -> dict[str, str]:
    return dict(site.data.get("overlay_sources") or {})


class Project:
    """The project of a built release; within ``with`` it is loaded once for all commands."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._within = False
        self._session: Session | None = None
        self._begun: tuple[str, ...] = ()
        self.environment = environment(site)
        self._commands: list[str] = []
        self._migrations: dict[str, Any] | None = None  # the answer that came with the settings
        self.known: list[str] = []  # the migrations of this release, after `pending`

    def __enter__(self) -> Project:
        self._within = True
        return self

    def __exit__(self, *_error: object) -> None:
        self._within = False
        self._unload()

    def _unload(self) -> None:
        if self._session:
            self._session.close()
            self._session = None

    def _forked(self, **asked: Any) -> Result | None:
        """A command in the process that has the project loaded; None where there is none."""
        return self._session.ask(**asked) if self._session and self._session.alive else None

    def manage(self, *words: str, extra: dict[str, str] | None = None) -> Result:
        """Run a management command as the site's user, with more variables if there are any."""
        done = self._session.end() if self._session and self._begun == words else None
        if done and not done.status:
            return done
        done = None if extra else self._forked(words=words)
        if done:
            return done
        argv = [*configure.manage_command(self.site), *words]
        return run(self.site, argv, self.site.project, {**self.environment, **(extra or {})})

    def begin(self, *words: str) -> None:
        """Begin a management command that will be asked for, beside others, where that is possible.

        Only its good end counts: what the others do may be what it needs, so after a bad one it is run again.
        """
        if self._session and self._session.alive and self._session.begin(words):
            self._begun = words

    def must(self, step: str, *words: str, advice: str) -> Result:
        """Run a management command that has to succeed."""
        done = self.manage(*words)
        if done.status:
            raise failed(self.site, step, ["manage.py", *words], done, advice)
        return done

    def line(self, step: str, item: Any, serving: str = "the old release keeps serving") -> Result:
        """A command line of the user: a management command by its name, or else a program."""
        one = command(item)
        words = shlex.split(one["run"])
        if words and words[0] in self._known():
            done = self.manage(*words)
        else:
            directory = os.path.join(self.site.code, one["dir"]) if one["dir"] else self.site.project
            done = run(self.site, ["/bin/sh", "-c", one["run"]], directory, self.environment)
        self._unload()  # it may have changed what the project reads when it is loaded
        self._within = False
        if done.status:
            advice = "try it on the host with `webstack-manage %s ...`; %s" % (self.site.name, serving)
            raise failed(self.site, step, [one["run"]], done, advice)
        return done

    def _known(self) -> list[str]:
        if not self._commands:
            self._commands = self.settings()["commands"]
        return self._commands

    def _ask(self, code: str, step: str, advice: str) -> dict[str, Any]:
        done = self._forked(code=code + _PRINT) or self._first(code + _PRINT)
        answer = None if done.status else _answer(done.text)
        if answer is None:  # a project may have a `shell` of its own, which takes other words
            argv = [self.site.python, "-c", "import django\ndjango.setup()\n" + code + _PRINT]
            plain = run(self.site, argv, self.site.project, self.environment)
            answer = None if plain.status else _answer(plain.text)
        if answer is None:
            raise failed(self.site, step, ["manage.py", "shell", "-c", "..."], done, advice)
        return answer

    def _first(self, code: str) -> Result:
        """Have Django's shell run code; within ``with`` the process stays for what comes after it."""
        if not self._within or self._session:
            return self.manage("shell", "-c", code)
        self._session = Session(
            self.site, [*configure.manage_command(self.site), "shell", "-c"], code, self.environment
        )
        return self._session.first

    def settings(self, migrations: bool = False) -> dict[str, Any]:
        """What the settings come to; also the proof that they can be imported. Asks for the migrations as well."""
        found = self._ask(
            _SETTINGS + (_TRIED if migrations else ""),
            "settings",
            "the settings cannot be imported as the site's user: a variable may be missing in `env`, a file in `files`, a "
            "directory in `directories`, or a package in `dependencies`",
        )
        self._commands = found["commands"]
        self._migrations = found if "pending" in found else None
        return found

    def pending(self) -> list[str] | None:
        """Migrations that the database lacks; None where the project has no database."""
        found, self._migrations = self._migrations, None
        found = found or self._ask(
            _ALONE,
            "migrate",
            "check that the database answers: `webstack-manage %s dbshell`, and `database` of the site"
            % self.site.name,
        )
        self.known = [str(one) for one in found["known"]]
        pending = found["pending"]
        return None if pending is None else [str(one) for one in pending]


def _answer(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        if line.startswith(_MARK):
            try:
                found = json.loads(line[len(_MARK) :])
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None
