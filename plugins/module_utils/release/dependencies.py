# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the virtual environment of a release with uv, from whatever the project has."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    Result,
    account,
    build_environment,
    check,
    disk_is_full,
    failed,
    run,
)
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site
from ansible_collections.webstack.django.plugins.module_utils.release.versions import satisfies

UV = "/opt/webstack/uv/bin/uv"
STEP = "build"
_BROKEN = (
    "read the lines above: a package without a wheel for this Python needs build packages (packages.build of the site, "
    "like gcc, python3-dev, libpq-dev), or another Python (python of the site)"
)
# What imports, and what provides it.
_DRIVERS = {"postgresql": ("psycopg", "psycopg2"), "mysql": ("MySQLdb", "pymysql")}
# By kind: the first Django that has the backend, and what that needs.
_CACHES = {"redis": ((4, 0), "redis", "redis>=4"), "memcached": ((3, 2), "pymemcache", "pymemcache>=4")}


class Builder:
    """The steps that fill ``releases/<id>/venv``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.environment = build_environment(site)
        self.python = os.path.join(site.environment, "bin", "python")
        self.environment.setdefault("UV_PYTHON_INSTALL_DIR", "/opt/webstack/python")
        self.environment["UV_PYTHON_DOWNLOADS"] = "never"
        self.given: dict[str, Any] = site["dependencies"]
        self.directory = os.path.join(site.code, self.given["directory"] or "")
        self.notes: list[str] = []
        version = _own_version(self.directory)
        if version:
            # The checkout has no .git, from which such projects take their version.
            self.environment.setdefault("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_" + version, "0.0.0")

    def uv(self, *words: str, advice: str = _BROKEN, cwd: str | None = None) -> Result:
        """Run uv as the site's user."""
        return check(self.site, STEP, [UV, *words], cwd or self.directory, self.environment, advice)

    def pip(self, *words: str) -> Result:
        """``uv pip install`` into the release's environment."""
        return self.uv("pip", "install", "--python", self.python, *words)

    # The interpreter ---------------------------------------------------------------------------

    def interpreter(self) -> tuple[str, str]:
        """Path and version of the Python to build with; refused here where the project cannot run on it."""
        wanted = self.site["python"] or "3"
        preference = [] if self.site["python"] else ["--python-preference", "only-system"]
        argv = [UV, "python", "find", "--no-project", *preference, wanted]
        found = run(self.site, argv, "/", self.environment)
        if disk_is_full(found.text):
            raise failed(self.site, STEP, argv, found, "the next run builds it")
        if found.status:
            listed = run(self.site, [UV, "python", "list", "--only-installed"], "/", self.environment)
            there = sorted(set(re.findall(r"\b\d+\.\d+\.\d+\b", listed.text)))
            raise self.site.error(
                STEP,
                "Python %s is not on this host; it has %s" % (wanted, ", ".join(there) or "none"),
                "set python_versions of the role python to [%r], or python of the site to one that is there" % wanted,
            )
        path = found.text.strip().splitlines()[-1]
        shown = check(self.site, STEP, [path, "-c", "import platform; print(platform.python_version())"], "/",
                      self.environment, "repair this interpreter")  # fmt: skip
        version = shown.text.strip().splitlines()[-1]
        required = _requires_python(self.directory)
        if required and not satisfies(version, required):
            raise self.site.error(
                STEP,
                "the project takes Python %s, and would be built with %s (%s)" % (required, version, path),
                "set python of the site to a version that fits (and python_versions of the role python), or use a "
                "newer distribution",
            )
        return path, version

    # The project's own dependencies ------------------------------------------------------------

    def install(self, interpreter: str) -> None:
        """Make the environment and install what the project asks for, then what is missing beside it."""
        if not os.access(UV, os.X_OK):
            raise self.site.error(STEP, "%s is not there" % UV, "run the role webstack.django.python before this one")
        self.uv("venv", "--quiet", "--python", interpreter, "--prompt", self.site.name, self.site.environment)
        tool = self.given["tool"] or "none"
        methods = {
            "uv": self._uv_lock,
            "poetry": self._poetry_lock,
            "pipenv": self._pipfile_lock,
            "requirements": self._requirements,
            "project": self._project,
        }
        if tool != "none" and tool not in methods:
            raise self.site.error(
                STEP, "dependencies.tool %r is unknown" % tool, "use one of " + ", ".join([*methods, "none"])
            )
        if self.site["source"]["kind"] == "package":
            self.pip(self.site["source"]["package"])
        if tool != "none":
            methods[tool]()
        self._add()
        self._verdict()

    def _file(self, name: str) -> str:
        path = os.path.join(self.site.code, self.given["file"] or os.path.join(self.given["directory"] or "", name))
        if not os.path.isfile(path):
            raise self.site.error(STEP, "there is no %s" % path, "set dependencies.file of the site")
        return path

    def _options(self, group: str, extra: str) -> list[str]:
        words = []
        for name in self.given["groups"]:
            words += [group, name]
        for name in self.given["extras"]:
            words += [extra, name]
        return words

    def _uv_lock(self) -> None:
        self._file("uv.lock")
        self.uv("sync", "--frozen", "--no-dev", "--python", self.python, *self._options("--group", "--extra"))

    def _poetry_lock(self) -> None:
        """Poetry turns its own lock into requirements, without asking any index; uv installs them."""
        self._file("poetry.lock")
        target = os.path.join(self.site.cache, "poetry-requirements.txt")
        words = ["--format", "requirements.txt", "--output", target, *self._options("--with", "--extras")]
        poetry = ["tool", "run", "--from", "poetry>=2,<3", "--with", "poetry-plugin-export", "poetry"]
        self.uv(*poetry, "export", "--no-interaction", *words)
        self._install_file(target)
        self._own_package()

    def _pipfile_lock(self) -> None:
        with open(self._file("Pipfile.lock"), encoding="utf-8") as file:
            lock = json.load(file)
        lines = [line for group in ["default", *self.given["groups"]] for line in pipfile_lines(lock.get(group) or {})]
        self._install_file(self._write("requirements.txt", lines))

    def _write(self, name: str, lines: list[str]) -> str:
        path = os.path.join(self.site.release, name)
        files.write(path, "\n".join(lines) + "\n", gid=account(self.site).pw_gid)
        return path

    def _requirements(self) -> None:
        self._install_file(self._file("requirements.txt"))

    def _install_file(self, path: str) -> None:
        text = files.read_text(path) or ""
        self.pip(*(["--require-hashes"] if all_hashed(text) else []), "--requirement", path)

    def _project(self) -> None:
        """pyproject.toml or setup.py without a lock: the project itself, else only what it depends on."""
        path = self._file("pyproject.toml")
        text = files.read_text(path) or ""
        extras = "[%s]" % ",".join(self.given["extras"]) if self.given["extras"] else ""
        groups = self._options("--group", "--extra")[: 2 * len(self.given["groups"])]
        buildable = path.endswith("setup.py") or "[build-system]" in text
        if buildable:
            argv = [UV, "pip", "install", "--python", self.python, *groups, "--editable", "." + extras]
            done = run(self.site, argv, self.directory, self.environment)
            if not done.status:
                return
            if path.endswith("setup.py"):
                raise failed(self.site, STEP, argv, done, _BROKEN)
            self.notes.append("the project itself cannot be installed as a package; only its dependencies are")
        self.pip(*self._options("--group", "--extra"), "--requirement", path)

    def _own_package(self) -> None:
        """A project with sources in src/ is imported from there by being installed, without its dependencies."""
        source = os.path.join(self.directory, "src")
        if os.path.isdir(source) and not files.inside(self.site.project, source):
            self.pip("--no-deps", "--editable", ".")

    # What production needs beside them -----------------------------------------------------------

    def installed(self) -> dict[str, str]:
        """Names (normalised) and versions of what is installed."""
        listed = self.uv("pip", "list", "--quiet", "--python", self.python, "--format=json").text
        start = listed.find("[")
        return {normal(one["name"]): one["version"] for one in json.loads(listed[start:] or "[]")}

    def imports(self, module: str) -> bool:
        """Whether a module can be imported in the release's environment."""
        done = run(self.site, [self.python, "-c", "import " + module], "/", self.environment)
        return done.status == 0

    def _add(self) -> None:
        """Install what is missing, and nothing else: every version that is there already is a constraint."""
        there = self.installed()
        wanted = [one for one in self.given["add"] if normal(re.split(r"[^\w.-]", one)[0]) not in there]
        known = {*there, *(normal(re.split(r"[^\w.-]", one)[0]) for one in wanted)}
        wanted += [one for one in self._server(there) if normal(re.split(r"[^\w.-]", one)[0]) not in known]
        wanted += self._driver(there) + self._cache(there) + self._queue(there)
        if not wanted:
            return
        pinned = self.uv("pip", "freeze", "--quiet", "--exclude-editable", "--python", self.python).text
        lines = [line for line in pinned.splitlines() if re.match(r"^[\w.-]+==", line)]
        self.pip("--constraint", self._write("constraints.txt", lines), *wanted)

    def _server(self, there: dict[str, str]) -> list[str]:
        """The application server, where the project does not bring one of its own."""
        asgi = self.site.interface == "asgi"
        if not self.site["app_server"]:
            return []
        if self.site["app_server"] == "uwsgi":
            if asgi:
                raise self.site.error(
                    STEP, "uWSGI cannot serve ASGI", "set app_server to gunicorn, or interface to wsgi, of the site"
                )
            # The same program from wheels, so that no compiler is needed.
            return [] if "uwsgi" in there else ["pyuwsgi>=2.0.30"]
        wanted = ["gunicorn>=23,<26"]
        if asgi:
            wanted.append("uvicorn")
            # An older uvicorn brings its worker itself, and the package asks for a newer one.
            if _numbers(there.get("uvicorn", "1")) >= (0, 30):
                wanted.append("uvicorn-worker")
            if "wsproto" not in there:
                wanted.append("websockets")
        return wanted

    def _driver(self, there: dict[str, str]) -> list[str]:
        engine = (self.site["database"] or {}).get("engine")
        if engine not in _DRIVERS or any(self.imports(module) for module in _DRIVERS[engine]):
            return []
        if engine == "mysql":
            return ["mysqlclient"]
        if "psycopg" in there:  # without the library that it would need on the host
            return ["psycopg[binary]==" + there["psycopg"]]
        return ["psycopg[binary]>=3.1.8"] if self._django(there) >= (4, 2) else ["psycopg2-binary"]

    def _cache(self, there: dict[str, str]) -> list[str]:
        kind = self.site.cache_kind if self.site["settings_overlay"] else None
        since, package, wanted = _CACHES.get(kind or "", ((0,), "", ""))
        return [wanted] if wanted and package not in there and self._django(there) >= since else []

    def _queue(self, there: dict[str, str]) -> list[str]:
        """Celery speaks to Redis through a library that a project with another broker at home does not have."""
        redis = re.match(r"(unix|rediss?):", (self.site["broker"] or {}).get("url", ""))
        return ["celery[redis]"] if redis and "celery" in there and "redis" not in there else []

    def _django(self, there: dict[str, str]) -> tuple[int, ...]:
        version = there.get("django")
        if version is None:
            raise self.site.error(
                STEP,
                "Django is not among what was installed (%s)" % (self.given["file"] or "no dependency file"),
                "set dependencies of the site (tool, file, groups, extras), or name Django in dependencies.add",
            )
        return _numbers(version)

    def _verdict(self) -> None:
        self._django(self.installed())
        done = run(self.site, [UV, "pip", "check", "--python", self.python], "/", self.environment)
        if done.status:
            wrong = [line for line in done.text.splitlines() if "requires" in line or "not compatible" in line]
            self.notes += ["installed packages disagree: " + line.strip() for line in wrong[:10]]


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def all_hashed(text: str) -> bool:
    """Whether every requirement of a file carries a hash."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [line.strip() for line in joined.splitlines()]
    wanted = [line for line in lines if line and not line.startswith(("#", "--"))]
    return bool(wanted) and all("--hash=" in line for line in wanted)


def pipfile_lines(group: dict[str, dict[str, Any]]) -> list[str]:
    """The packages of a group of Pipfile.lock as lines of requirements."""
    lines = []
    for name, entry in sorted(group.items()):
        extras = "[%s]" % ",".join(entry["extras"]) if entry.get("extras") else ""
        if entry.get("git"):
            line = "%s%s @ git+%s@%s" % (name, extras, entry["git"], entry.get("ref", "HEAD"))
        elif entry.get("file"):
            line = "%s%s @ %s" % (name, extras, entry["file"])
        elif entry.get("path"):
            line = ("-e " if entry.get("editable") else "") + entry["path"]
            lines.append(line)
            continue
        else:
            line = name + extras + entry.get("version", "")
        if entry.get("markers"):
            line += " ; " + entry["markers"]
        hashes = "" if " @ " in line else "".join(" --hash=" + one for one in entry.get("hashes", []))
        lines.append(line + hashes)
    return lines


def _requires_python(directory: str) -> str | None:
    text = files.read_text(os.path.join(directory, "pyproject.toml")) or ""
    found = re.search(r"^requires-python\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found.group(1) if found else None


def _own_version(directory: str) -> str | None:
    """The name of a project that takes its version from git, as its variable spells it."""
    text = "".join(files.read_text(os.path.join(directory, name)) or "" for name in ("pyproject.toml", "setup.cfg"))
    if not re.search(r"setuptools[_-]scm|hatch-vcs", text):
        return None
    found = re.search(r"^name\s*=\s*['\"]?([\w.-]+)", text, re.MULTILINE)
    return normal(found.group(1)).replace("-", "_").upper() if found else None
