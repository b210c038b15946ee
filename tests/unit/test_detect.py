# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shapes of real Django projects: one small tree each, and what is seen in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.detect import DetectError, detect
from ansible_collections.webstack.django.plugins.module_utils.detect_dependencies import requires_python
from ansible_collections.webstack.django.plugins.module_utils.detect_settings import database_variables

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "%s")\nimport django\n'
WSGI = MANAGE + "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def plain(package: str = "shop", settings: str = "shop.settings", where: str = "") -> dict[str, str]:
    """What `django-admin startproject` makes."""
    return {
        f"{where}manage.py": MANAGE % settings,
        f"{where}{package}/__init__.py": "",
        f"{where}{package}/settings.py": "STATIC_URL = 'static/'\n",
        f"{where}{package}/wsgi.py": WSGI % settings,
    }


SHAPES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "startproject": (
        {**plain(), "requirements.txt": "Django\n"},
        {
            "project_dir": "",
            "manage": "manage.py",
            "settings": "shop.settings",
            "wsgi": "shop.wsgi:application",
            "asgi": None,
            "interface": "wsgi",
            "tool": "requirements",
            "file": "requirements.txt",
            "packages": {"build": [], "run": []},
            "requires_python": None,
            "static_url": "/static/",
            "media_url": None,
            "database_variables": [],
            "processes": {},
        },
    ),
    "requirements that include others": (
        {**plain(), "requirements.txt": "-r requirements/base.txt\n", "requirements/base.txt": "psycopg2\n"},
        {"tool": "requirements", "file": "requirements.txt", "packages": {"build": ["gcc", "libpq-dev", "python3-dev"], "run": ["libpq5"]}},
    ),
    "only a directory of requirements": (
        {**plain(), "requirements/base.txt": "Django\n", "requirements/production.txt": "-r base.txt\n"},
        {"tool": "requirements", "file": "requirements/production.txt"},
    ),
    "uv.lock one level above manage.py": (
        {**plain(where="src/"), "uv.lock": "", "pyproject.toml": '[project]\nrequires-python = ">=3.13"\n', "requirements.txt": "x\n"},
        {"project_dir": "src", "manage": "src/manage.py", "tool": "uv", "file": "uv.lock", "requires_python": ">=3.13"},
    ),
    "pyproject of tools only beside manage.py": (
        {
            **plain(where="src/"),
            "src/pyproject.toml": "[tool.ruff]\nline-length = 100\n",
            "pyproject.toml": '[project]\nname = "shop"\nrequires-python = ">=3.12"\n',
        },
        {"tool": "project", "file": "pyproject.toml", "requires_python": ">=3.12"},
    ),
    "Poetry 1.8": (
        {**plain(), "poetry.lock": "", "pyproject.toml": '[tool.poetry.dependencies]\nDjango = "^5"\npython = "^3.11"\n\n[x]\n'},
        {"tool": "poetry", "file": "poetry.lock", "requires_python": ">=3.11,<4"},
    ),
    "Poetry 2": (
        {**plain(), "poetry.lock": "", "pyproject.toml": '[project]\nrequires-python = ">=3.12,<4.0"\n[tool.poetry]\npackage-mode = false\n'},
        {"tool": "poetry", "file": "poetry.lock", "requires_python": ">=3.12,<4.0"},
    ),
    "Pipenv": ({**plain(), "Pipfile.lock": "{}"}, {"tool": "pipenv", "file": "Pipfile.lock"}),
    "setuptools without a lock": (
        {**plain(), "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "shop"\n'},
        {"tool": "project", "file": "pyproject.toml"},
    ),
    "setup.py": (
        {**plain(), "setup.py": "setup(\n    name='shop',\n    python_requires='>=3.10',\n)\n"},
        {"tool": "project", "file": "setup.py", "requires_python": ">=3.10"},
    ),
    "no dependencies": (plain(), {"tool": "none", "file": None}),
    "settings called settings": (
        {"site/manage.py": MANAGE % "settings", "site/settings.py": "MEDIA_URL = '/uploads/'\n", "site/wsgi.py": WSGI % "settings"},
        {"project_dir": "site", "settings": "settings", "wsgi": "wsgi:application", "media_url": "/uploads/"},
    ),
    "cookiecutter-django": (
        {
            "manage.py": MANAGE % "config.settings.local",
            "config/__init__.py": "",
            "config/settings/__init__.py": "",
            "config/settings/base.py": 'DATABASES = {"default": env.db("DATABASE_URL")}\nSTATIC_URL = "/static/"\nMEDIA_URL = "/media/"\n',
            "config/settings/local.py": "from .base import *\n",
            "config/settings/production.py": "from .base import *  # noqa\nfrom .base import env\n",
            "config/wsgi.py": WSGI % "config.settings.production",
            "pyproject.toml": "[tool.mypy]\n",
            "requirements/base.txt": "Django\n",
            "requirements/local.txt": "-r base.txt\n",
            "requirements/production.txt": "-r base.txt\n",
        },
        {
            "settings": "config.settings.production",
            "wsgi": "config.wsgi:application",
            "file": "requirements/production.txt",
            "database_variables": ["DATABASE_URL"],
            "static_url": "/static/",
            "media_url": "/media/",
        },
    ),
    "development settings, the production ones only in wsgi.py": (
        {
            "manage.py": MANAGE % "shop.settings.dev",
            "shop/settings/dev.py": "",
            "shop/settings/heroku.py": "",
            "shop/wsgi.py": WSGI % "shop.settings.heroku",
        },
        {"settings": "shop.settings.heroku"},
    ),
    "names with the word inside": (
        {
            "manage.py": MANAGE % "shop.settings_dev",
            "shop/settings_dev.py": "",
            "shop/settings_prod.py": "",
            "shop/wsgi.py": WSGI % "shop.settings_dev",
        },
        {"settings": "shop.settings_prod"},
    ),
    "an empty settings package": (
        {
            **{name: text for name, text in plain().items() if not name.endswith("settings.py")},
            "shop/settings/__init__.py": "# nothing\n",
            "shop/settings/production.py": "",
        },
        {"settings": "shop.settings.production"},
    ),
    "a settings package that chooses by the environment": (
        {
            **{name: text for name, text in plain().items() if not name.endswith("settings.py")},
            "shop/settings/__init__.py": "import os\nif os.environ.get('ENV') == 'live':\n    from .live import *\nelse:\n    from .dev import *\n",
            "shop/settings/live.py": "DATABASES = {'default': dj_database_url.config(conn_max_age=600)}\n",
            "shop/settings/dev.py": "STATIC_URL = '/assets/'\n",
        },
        {"settings": "shop.settings", "database_variables": ["DATABASE_URL"], "static_url": "/assets/"},
    ),
    "development settings and no others": (
        {
            "manage.py": MANAGE % "shop.settings.local",
            "shop/settings/local.py": "from .base import *\n",
            "shop/settings/base.py": "DATABASES = {'default': env.db()}\n",
            "shop/wsgi.py": WSGI % "shop.settings.local",
        },
        {"settings": "shop.settings.local", "database_variables": []},
    ),
    "split settings": (
        {
            **plain(),
            "shop/settings.py": "from split_settings.tools import include\ninclude('components/base.py', 'components/data*.py')\n",
            "shop/components/base.py": "STATIC_URL = '/s/'\n",
            "shop/components/database.py": "x = os.environ['DATABASE_URL']\n",
        },
        {"static_url": "/s/", "database_variables": ["DATABASE_URL"]},
    ),
    "a module of its own for the database": (
        {**plain(), "shop/settings.py": "from . import db\nDATABASES = db.DATABASES\n", "shop/db.py": 'config("SHOP_DB_HOST")\n'},
        {"database_variables": ["SHOP_DB_HOST"]},
    ),
    "sources in src, manage.py at the root": (
        {"manage.py": MANAGE % "shop.settings", "src/shop/settings.py": "STATIC_URL = '/x/'\n", "src/shop/wsgi.py": WSGI % "shop.settings"},
        {"project_dir": "", "settings": "shop.settings", "wsgi": "shop.wsgi:application", "static_url": "/x/"},
    ),
    "wsgi.py in another package, named by the settings": (
        {**plain(), "shop/settings.py": "WSGI_APPLICATION = 'deploy.web.app'\n", "deploy/web.py": ""},
        {"wsgi": "deploy.web:app"},
    ),
    "tests and examples with projects of their own": (
        {**plain(where="src/"), **plain("a", "a.settings", "tests/"), **plain("b", "b.settings", "example/")},
        {"project_dir": "src", "settings": "shop.settings", "wsgi": "shop.wsgi:application"},
    ),
    "a package whose only project is an example": (
        plain("b", "b.settings", "example/"),
        {"project_dir": "example", "settings": "b.settings", "wsgi": "b.wsgi:application"},
    ),
    "a manage.py of something else": (
        {"manage.py": "import flask\n", **plain(where="web/")},
        {"project_dir": "web"},
    ),
    "Procfile": (
        {**plain(), "Procfile": "# x\nweb: gunicorn shop.wsgi\nworker: celery -A shop worker\nrelease: ./manage.py migrate\n"},
        {"processes": {"web": "gunicorn shop.wsgi", "worker": "celery -A shop worker", "release": "./manage.py migrate"}},
    ),
    "URLs with a default": (
        {
            **plain(),
            "shop/settings.py": "STATIC_URL: str = os.environ.get('STATIC_URL', '/a/')\nMEDIA_URL = config('M', default='b/')\n",
        },
        {"static_url": "/a/", "media_url": "/b/"},
    ),
    "static files of another host": (
        {**plain(), "shop/settings.py": "STATIC_URL = 'https://cdn.example.com/'\n"},
        {"static_url": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape(tmp_path: Path, shape: str) -> None:
    files, expected = SHAPES[shape]
    found = detect(tree(tmp_path, files), {})
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('DATABASES = {"default": env.db()}', ["DATABASE_URL"]),
        ('DATABASES = {"default": env.db("SHOP_URL")}', ["SHOP_URL"]),
        ('DATABASES = {"default": env.db_url("DATABASE_URL", default="sqlite://")}', ["DATABASE_URL"]),
        ('DATABASES = {"default": env.dj_db_url("DATABASE_URL")}', ["DATABASE_URL"]),
        ("DATABASES['default'] = dj_database_url.config(conn_max_age=600)", ["DATABASE_URL"]),
        ("DATABASES['default'] = dj_database_url.config(env='PG_URL')", ["PG_URL"]),
        ("dj_database_url.parse(os.environ['DATABASE_URL'])", ["DATABASE_URL"]),
        ('config("DATABASE_URL", cast=db_url)', ["DATABASE_URL"]),
        ('{"NAME": config("DB_NAME"), "USER": config("DB_USER")}', ["DB_NAME", "DB_USER"]),
        ('{"NAME": os.environ["POSTGRES_DB"]}', ["POSTGRES_DB"]),
        ('{"NAME": os.getenv(\n    "SHOP_DATABASE_NAME", "x")}', ["SHOP_DATABASE_NAME"]),
        ('{"HOST": environ.get("PGHOST")}', ["PGHOST"]),
        ('{"HOST": get_env_variable("LD_DB_HOST")}', ["LD_DB_HOST"]),
        (
            "class Env(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='SHOP_')\n    database_url: str\n",
            ["SHOP_DATABASE_URL"],
        ),
        ("class Env(BaseSettings):\n    database_url: PostgresDsn\n    debug: bool = False\n", ["DATABASE_URL"]),
        # Nothing that has to do with a database of the environment:
        ("DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'db.sqlite3'}}", []),
        ("SECRET_KEY = os.environ['SECRET_KEY']\nDEBUG = config('DEBUG')", []),
        ("MEDIA = os.environ['MEDIABOX_HOST']", []),
    ],
)
def test_variables_of_the_database(text: str, expected: list[str]) -> None:
    assert database_variables(text) == expected


def test_a_comment_is_no_setting(tmp_path: Path) -> None:
    text = (
        "# DATABASES = {'default': env.db()}\nX = 1  # os.environ[DATABASE_URL]\nSTATIC_URL = '/s/'  # was /static/\n"
    )
    found = detect(tree(tmp_path, {**plain(), "shop/settings.py": text}), {})
    assert found["database_variables"] == []
    assert found["static_url"] == "/s/"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("pyproject.toml", '[project]\nrequires-python = ">=3.9"\n', ">=3.9"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "~3.11"\n', ">=3.11,<3.12"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.11.4"\n', ">=3.11.4,<4"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "3.11.*"\n', "==3.11.*"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = ">=3.10,<3.14"\n', ">=3.10,<3.14"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "*"\n', None),
        ("pyproject.toml", '[tool.poetry.group.dev.dependencies]\npython = "^3.14"\n', None),
        ("setup.cfg", "[options]\npython_requires = >=3.8\n", ">=3.8"),
        ("setup.py", "setup(python_requires=REQUIRED)\n", None),
        ("setup.py", "setup(\n  python_requires=REQUIRED,\n)\n", None),
    ],
)
def test_python_that_is_asked_for(tmp_path: Path, name: str, text: str, expected: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert requires_python(str(tmp_path), "") == expected


ASGI_ONLY = {
    "manage.py": MANAGE % "shop.settings",
    "shop/settings.py": "",
    "shop/asgi.py": "",
}


@pytest.mark.parametrize(
    ("files", "given", "key", "words"),
    [
        ({"README": ""}, {}, "repo", "there is no manage.py of Django; set project_dir to its directory, or settings and wsgi"),
        (plain(), {"project_dir": "web"}, "project_dir", "there is no directory 'web' in the checkout"),
        ({**plain(), "web/x": ""}, {"project_dir": "web"}, "project_dir", "there is no manage.py of Django in web"),
        ({**plain(where="a/"), **plain(where="b/")}, {}, "project_dir", "there are several Django projects; set it to one of a, b"),
        (plain(), {"manage": "bin/manage.py"}, "manage", "there is no bin/manage.py in the checkout"),
        ({"manage.py": "import django\n", "x/settings/base.py": ""}, {}, "settings", "neither manage.py nor wsgi.py names DJANGO_SETTINGS_MODULE; set it to one of x.settings.base"),
        ({"manage.py": "import django\n"}, {}, "settings", "set it to the settings module, like 'config.settings'"),
        ({"manage.py": MANAGE % "shop.settings", "shop/settings.py": ""}, {}, "wsgi", "there is no wsgi.py; set it to the WSGI application"),
        (ASGI_ONLY, {"interface": "wsgi"}, "wsgi", "there is no wsgi.py; set it to the WSGI application, like 'config.wsgi:application'"),
        (plain(), {"interface": "asgi"}, "asgi", "there is no asgi.py; set it to the ASGI application, like 'config.asgi:application'"),
        (plain(), {"asgi": "shop.asgi"}, "asgi", "there is no module 'shop.asgi' in the checkout"),
        (plain(), {"settings": "shop.settinxs"}, "settings", "there is no module 'shop.settinxs' in the checkout; did you mean 'shop.settings'?"),
        (plain(), {"settings": "shp.settings"}, "settings", "there is no module 'shp.settings' in the checkout; did you mean 'shop.settings'?"),
        (plain(), {"wsgi": "shop.wsgy:application"}, "wsgi", "there is no module 'shop.wsgy' in the checkout"),
    ],
)  # fmt: skip
def test_what_is_missing(tmp_path: Path, files: dict[str, str], given: dict[str, str], key: str, words: str) -> None:
    with pytest.raises(DetectError) as caught:
        detect(tree(tmp_path, files), given)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_what_the_user_gives_wins(tmp_path: Path) -> None:
    root = tree(tmp_path, {**plain(), "shop/other.py": "STATIC_URL = '/o/'\n", "bin/run.py": ""})
    found = detect(root, {"settings": "shop.other", "wsgi": "shop.wsgi", "manage": "bin/run.py", "project_dir": "."})
    assert found["settings"] == "shop.other"
    assert found["static_url"] == "/o/"
    assert found["wsgi"] == "shop.wsgi:application"
    assert found["manage"] == "bin/run.py"
    assert found["project_dir"] == ""


BOTH = {**plain(), "shop/asgi.py": WSGI % "shop.settings"}


@pytest.mark.parametrize(
    ("files", "given", "wsgi", "asgi", "interface"),
    [
        (ASGI_ONLY, {}, None, "shop.asgi:application", "asgi"),
        (BOTH, {}, "shop.wsgi:application", "shop.asgi:application", "wsgi"),
        ({**BOTH, "shop/settings.py": "ASGI_APPLICATION = 'shop.asgi.application'\n"}, {}, "shop.wsgi:application", "shop.asgi:application", "asgi"),
        ({**BOTH, "shop/settings.py": "# ASGI_APPLICATION = 'shop.asgi.application'\n"}, {}, "shop.wsgi:application", "shop.asgi:application", "wsgi"),
        ({**BOTH, "shop/routing.py": "", "shop/settings.py": "ASGI_APPLICATION = 'shop.routing.main'\n"}, {}, "shop.wsgi:application", "shop.routing:main", "asgi"),
        ({**plain(), "shop/settings.py": "ASGI_APPLICATION = 'shop.asgi.application'\n"}, {}, "shop.wsgi:application", None, "wsgi"),
        ({**BOTH, "shop/settings.py": "INSTALLED_APPS = [\n  'daphne',\n  'shop',\n]\n"}, {}, "shop.wsgi:application", "shop.asgi:application", "asgi"),
        ({**BOTH, "shop/settings.py": "THIRD_PARTY_APPS = (\"channels.apps.ChannelsConfig\",)\n"}, {}, "shop.wsgi:application", "shop.asgi:application", "asgi"),
        ({**BOTH, "shop/settings.py": "INSTALLED_APPS = ['my_channels']\nX = ['channels']\n"}, {}, "shop.wsgi:application", "shop.asgi:application", "wsgi"),
        ({**BOTH, "shop/settings.py": "INSTALLED_APPS += ['channels']\n"}, {"interface": "wsgi"}, "shop.wsgi:application", "shop.asgi:application", "wsgi"),
        ({**BOTH, "shop/settings.py": "INSTALLED_APPS += ['channels']\n"}, {"wsgi": "shop.wsgi"}, "shop.wsgi:application", "shop.asgi:application", "wsgi"),
        (BOTH, {"asgi": "shop.asgi"}, "shop.wsgi:application", "shop.asgi:application", "asgi"),
        (BOTH, {"interface": "asgi"}, "shop.wsgi:application", "shop.asgi:application", "asgi"),
        ({"x": ""}, {"settings": "wiki.settings", "asgi": "wiki.asgi"}, None, "wiki.asgi:application", "asgi"),
    ],
)  # fmt: skip
def test_what_a_project_is_served_by(
    tmp_path: Path, files: dict[str, str], given: dict[str, str], wsgi: str | None, asgi: str | None, interface: str
) -> None:
    found = detect(tree(tmp_path, files), given)
    assert (found["wsgi"], found["asgi"], found["interface"]) == (wsgi, asgi, interface)


def test_a_module_that_a_file_of_the_site_brings(tmp_path: Path) -> None:
    root = tree(tmp_path, ASGI_ONLY)
    given = {"wsgi": "shop.webstack_wsgi:application", "files": [{"path": "shop/webstack_wsgi.py"}]}
    assert detect(root, given)["wsgi"] == "shop.webstack_wsgi:application"


def test_settings_of_an_installed_package_are_believed(tmp_path: Path) -> None:
    found = detect(tree(tmp_path, plain()), {"settings": "wiki.settings", "wsgi": "wiki.wsgi"})
    assert (found["settings"], found["wsgi"]) == ("wiki.settings", "wiki.wsgi:application")
