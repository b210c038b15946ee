#!/usr/bin/env python3
"""Make the Django projects that the stack scenarios deploy.

Each one has another shape (see SHAPES and MORE) and is what its own tool generates plus one small app with a
model, a page from the database and a stylesheet. Nothing in them knows of webstack.django.

Usage: make.py DIRECTORY [SHAPE ...]   (needs `uv` on PATH; makes DIRECTORY/<shape>, each a git repository)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
APP = HERE / "notes"

DATABASE_PREFIXED = """DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["SHOP_DB_HOST"],
        "NAME": os.environ["SHOP_DB_NAME"],
        "USER": os.environ["SHOP_DB_USER"],
        "PASSWORD": os.environ["SHOP_DB_PASSWORD"],
    }
}
STATIC_ROOT = os.environ["SHOP_STATIC"]
"""
PRODUCTION = {
    "databaseurl": (
        'import dj_database_url\n\nDATABASES = {"default": dj_database_url.config(conn_max_age=60)}\n'
        "STATIC_ROOT = BASE_DIR / 'collected'\n"
        'STORAGES = {"default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}, "staticfiles": {"BACKEND": '
        '"django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}\n'
    ),
    "prefixed": DATABASE_PREFIXED,
    "localsettings": "STATIC_ROOT = BASE_DIR / 'collected'\n\nfrom .local_settings import *\n",
}
# Seen in projects of others: URLs that ask for the manifest of the static files, and a `shell` that takes other words.
URLS = 'from django.contrib.staticfiles.storage import staticfiles_storage\n\nSTYLE = staticfiles_storage.url("notes/style.css")\n'
SHELL = """from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("-c", "--command")

    def handle(self, **options):
        raise CommandError("say which tenant")
"""
CELERY_URLS = """    path("queue/", jobs.views.queue),
    path("done/", jobs.views.done),
    path("ticks/", jobs.views.ticks),
"""
SHAPES = ("plain", "uvlock", "databaseurl", "prefixed", "localsettings")
# Projects that need more than a web process: a queue with workers, and WebSockets. Made only when they are named.
MORE = {
    "celery": ("celery[redis]>=5.7,<6\n", '    "jobs.apps.JobsConfig",\n', CELERY_URLS),
    "channels": (
        "channels>=4.2,<5\nchannels-redis>=4.2,<5\ndjango-realtime-chat==2.0.1\n",
        '    "channels",\n    "rest_framework",\n    "django_realtime_chat",\n',
        '    path("chat/", include("django_realtime_chat.urls")),\n',
    ),
}


def run(*argv: str, cwd: Path) -> None:
    """Run a command; its output is shown when it fails."""
    done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} in {cwd}:\n{done.stdout}{done.stderr}")


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace the one occurrence of a pattern in a generated file."""
    text, count = re.subn(pattern, lambda _: replacement, path.read_text(), flags=re.S)
    if count != 1:
        sys.exit(f"{path}: expected one {pattern!r}, found {count}")
    path.write_text(text)


def production(settings: Path, shape: str) -> None:
    """Make the settings read their production values from where this shape takes them."""
    edit(settings, r"from pathlib import Path\n", "import os\nfrom pathlib import Path\n")
    edit(settings, r"SECRET_KEY = [^\n]+", 'SECRET_KEY = os.environ.get("SECRET_KEY", "development")')
    edit(settings, r"DEBUG = True", 'DEBUG = os.environ.get("DEBUG") == "1"')
    edit(settings, r"ALLOWED_HOSTS = \[\]", 'ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "").split(",")')
    with settings.open("a") as file:
        file.write("\n" + PRODUCTION[shape])


def extend(directory: Path, shape: str) -> None:
    """Make the project one of MORE."""
    requirements, apps, urls = MORE[shape]
    given = HERE / shape
    config = directory / "config"
    edit(config / "settings.py", r"INSTALLED_APPS = \[\n", "INSTALLED_APPS = [\n" + apps)
    with (config / "settings.py").open("a") as file:
        file.write((given / "settings.py").read_text())
    edit(config / "urls.py", r"from django.urls import path\n", "from django.urls import include, path\n")
    edit(config / "urls.py", r"urlpatterns = \[\n", "urlpatterns = [\n" + urls)
    if shape == "celery":
        shutil.copytree(given / "jobs", directory / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(given / "celery.py", config)
        (config / "__init__.py").write_text("from .celery import app as celery_app\n")
        edit(
            config / "urls.py",
            r"\nfrom django.urls import include",
            "\nimport jobs.views\nfrom django.urls import include",
        )
    else:
        shutil.copy(given / "asgi.py", config)
    with (directory / "requirements.txt").open("a") as file:
        file.write(requirements)


def make(directory: Path, shape: str) -> None:
    """Make one project; one that is there already is left as it is."""
    if (directory / ".git").is_dir():
        return
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / "src" if shape == "uvlock" else directory
    source.mkdir(exist_ok=True)
    run("uvx", "--from", "django<6", "django-admin", "startproject", "config", str(source), cwd=directory)
    shutil.copytree(APP, source / "notes", ignore=shutil.ignore_patterns("__pycache__"))
    edit(source / "notes/templates/notes/index.html", "SHAPE", shape)
    settings = source / "config/settings.py"
    edit(settings, r"INSTALLED_APPS = \[\n", 'INSTALLED_APPS = [\n    "notes.apps.NotesConfig",\n')
    edit(
        source / "config/urls.py",
        r"from django.urls import path\n",
        "from django.urls import path\n\nfrom notes import views\n",
    )
    edit(
        source / "config/urls.py",
        r"urlpatterns = \[\n",
        'urlpatterns = [\n    path("", views.index),\n    path("visits/", views.visits),\n',
    )
    if shape in PRODUCTION:
        production(settings, shape)
    if shape == "databaseurl":
        with (source / "config/urls.py").open("a") as file:
            file.write("\n" + URLS)
        commands = source / "notes/management/commands"
        commands.mkdir(parents=True)
        (commands / "shell.py").write_text(SHELL)
    if shape == "uvlock":
        (directory / "pyproject.toml").write_text(
            '[project]\nname = "uvlock"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
            'dependencies = ["django>=5.2,<6"]\n\n[dependency-groups]\ndev = ["pytest"]\n'
        )
        run("uv", "lock", cwd=directory)
    else:
        extra = {"databaseurl": "dj-database-url\npsycopg[binary]\n", "prefixed": "psycopg[binary]\n"}.get(shape, "")
        (directory / "requirements.txt").write_text("Django>=5.2,<6\n" + extra)
    if shape in MORE:
        extend(directory, shape)
    (directory / ".gitignore").write_text("*.pyc\n__pycache__/\ndb.sqlite3\ncollected/\nlocal_settings.py\n")
    for argv in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", f"The project {shape}"]):
        run("git", "-c", "user.name=Developer", "-c", "user.email=dev@example.com", *argv, cwd=directory)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for chosen in sys.argv[2:] or SHAPES:
        make(Path(sys.argv[1]).resolve() / chosen, chosen)
