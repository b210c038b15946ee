#!/usr/bin/env python3
"""Make the archives that this scenario deploys: what `django-admin startproject` makes, plus one small app.

Usage: projects.py DIRECTORY
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "tests/projects/notes"

MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
WSGI = """\
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
"""
URLS = """\
from django.contrib import admin
from django.urls import path
from notes import views

urlpatterns = [path("", views.index), path("visits/", views.visits), path("admin/", admin.site.urls)]
"""
SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "django-insecure-of-a-developer"
DEBUG = True
ALLOWED_HOSTS = []
INSTALLED_APPS = [
    "debug_toolbar",
    "notes.apps.NotesConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "debug_toolbar.middleware.DebugToolbarMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
WSGI_APPLICATION = "config.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
print("settings that talk when they are imported")
"""
# Knows nothing of the overlay: prefixed variables, a file that must be placed, data and static files in the checkout.
OWN = (
    SETTINGS.replace('    "debug_toolbar",\n', "").replace(
        '    "debug_toolbar.middleware.DebugToolbarMiddleware",\n', ""
    )
    + """
import os
from .local_settings import *
SECRET_KEY = os.environ["SHOP_SECRET"]
ALLOWED_HOSTS = [os.environ["SHOP_HOST"]]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "data" / "shop.sqlite3"}}
STATIC_URL = "/assets/"
STATIC_ROOT = BASE_DIR / "collected"
MEDIA_ROOT = BASE_DIR / "uploads"
LOG = open(BASE_DIR / "logs" / "shop.log", "a")
"""
)
# Applies to any database, and raises half-way.
MIGRATION = """\
from django.db import migrations


def halt(apps, schema_editor):
    apps.get_model("notes", "Note").objects.create(text="half of a migration")
    raise RuntimeError("this migration does not work")


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]
    operations = [migrations.RunPython(halt)]
"""
BROKEN_STYLE = "h1 { background: url('nowhere.png') }\n"


def pack(path: Path, files: dict[str, str], prefix: str) -> None:
    """Write a tar.gz of a project."""
    everything = {f"{prefix}{name}": text for name, text in files.items()}
    for source in sorted(APP.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            everything[f"{prefix}notes/{source.relative_to(APP)}"] = source.read_text().replace("SHAPE", path.name[:-7])
    with tarfile.open(path, "w:gz") as tar:
        for name, text in sorted(everything.items()):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(text.encode()))


def bundle(archive: Path, path: Path) -> None:
    """Write a git bundle, which is a repository in a file, from a tar.gz."""
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(archive) as tar:
            tar.extractall(directory)
        own = ["-c", "user.name=Developer", "-c", "user.email=dev@example.com"]
        for argv in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", "All"]):
            subprocess.run(["git", *own, *argv], cwd=directory, check=True)
        subprocess.run(["git", "bundle", "create", "-q", str(path), "main"], cwd=directory, check=True)


def project(settings: str, **more: str) -> dict[str, str]:
    """The files of a project."""
    files = {
        "manage.py": MANAGE,
        "config/__init__.py": "",
        "config/settings.py": settings,
        "config/urls.py": URLS,
        "config/wsgi.py": WSGI,
        "notes/static/notes/broken.css": BROKEN_STYLE,
    }
    return {**files, **more}


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    requirements = {"requirements.txt": "Django>=5.2,<6\n"}
    pack(target / "blog.tar.gz", {**project(SETTINGS), **requirements}, "")
    # The same with another page, with a page that fails, and with settings that cannot be imported.
    second = {"notes/static/notes/second.css": "h2 { color: navy }\n"}
    pack(target / "blog2.tar.gz", {**project(SETTINGS), **requirements, **second}, "")
    failing = {
        "config/urls.py": URLS.replace("from notes", "import os\nfrom notes")
        + "if 'gunicorn' in os.sys.argv[0]: 1 / 0\n"
    }
    pack(target / "failing.tar.gz", {**project(SETTINGS), **requirements, **failing}, "")
    broken = {"config/settings.py": SETTINGS + "1 / 0\n"}
    pack(target / "broken.tar.gz", {**project(SETTINGS), **requirements, **broken}, "")
    pack(
        target / "migration.tar.gz",
        {**project(SETTINGS), **requirements, "notes/migrations/0002_halt.py": MIGRATION},
        "",
    )
    pack(target / "hosted.tar.gz", {**project(SETTINGS), **requirements}, "")
    bundle(target / "hosted.tar.gz", target / "hosted.bundle")
    lock = {
        "default": {
            "django": {"version": "==5.2.8"},
            "tzdata": {"version": "==2025.2", "markers": "sys_platform == 'win32'"},
        }
    }
    shop = {"Pipfile.lock": json.dumps(lock), "data/README": "data of the developers\n"}
    pack(target / "shop.tar.gz", {**project(OWN), **shop}, "src/")


if __name__ == "__main__":
    main()
