# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the generated settings make of a project's own. How Django takes it is tested in Molecule."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "roles/django_app/files/overlay/webstack_production.py"
SITE: dict[str, Any] = {
    "name": "blog",
    "release": "/srv/blog/releases/one",
    "secret_key": True,
    "allowed_hosts": ["blog.example.com"],
    "trusted_origins": ["https://blog.example.com"],
    "database": {"engine": "postgresql", "name": "blog", "user": "blog", "host": "/run/postgresql", "port": 5432},
    "cache": "redis",
    "static_root": "/srv/blog/releases/one/static",
    "media_root": "/srv/blog/shared/media",
    "media_url": "/media/",
}
SQLITE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
CONSOLE = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}


def applied(
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int] = (5, 2),
    database: dict[str, Any] | None = None,
    cache: str = "unix:///run/x.sock",
) -> dict[str, Any]:
    """The settings after the overlay."""
    monkeypatch.syspath_prepend(str(PATH.parent))
    for name, value in (("SECRET_KEY", "k"), ("DATABASE_PASSWORD", "p"), ("CACHE_URL", cache)):
        monkeypatch.setenv(f"WEBSTACK_{name}", value)
    spec = importlib.util.spec_from_file_location("webstack_production", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = dict(settings)
    site = {**SITE, "cache": "memcached" if cache.startswith("memcached") else "redis"}
    module.apply(result, {**site, "database": database} if database else site, version)
    return result


def test_what_startproject_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = applied(
        {"DEBUG": True, "SECRET_KEY": "django-insecure-x", "DATABASES": SQLITE, "INSTALLED_APPS": []}, monkeypatch
    )
    assert found["DEBUG"] is False
    assert found["SECRET_KEY"] == "k"
    assert found["ALLOWED_HOSTS"] == ["blog.example.com"]
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://blog.example.com"]
    assert found["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
    assert (found["SESSION_COOKIE_SECURE"], found["SESSION_COOKIE_NAME"]) == (True, "__Secure-sessionid")
    assert found["DATABASES"]["default"] == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "blog",
        "USER": "blog",
        "PASSWORD": "p",
        "HOST": "/run/postgresql",
        "PORT": "5432",
        "OPTIONS": {},
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
    assert found["CACHES"]["default"]["BACKEND"] == "webstack_cache_redis.TolerantRedisCache"
    assert found["SESSION_ENGINE"] == "django.contrib.sessions.backends.cached_db"
    assert found["STORAGES"]["staticfiles"] == {"BACKEND": "webstack_static.TolerantManifestStorage"}
    assert found["LOGGING"]["root"] == {"handlers": ["webstack"], "level": "WARNING"}


@pytest.mark.parametrize(
    ("settings", "silenced"),
    [
        ({}, False),
        ({"MAILERS": CONSOLE}, True),  # as `startproject` of Django 6.1 writes it
        ({"MAILERS": {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}}, False),
        ({"MAILERS": {}}, False),
    ],
)
def test_a_project_without_a_mail_server_is_deployed(
    settings: dict[str, Any], silenced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = applied({**settings, "SILENCED_SYSTEM_CHECKS": ["own.W001"]}, monkeypatch, (6, 1))
    expected = ["own.W001", "security.W004", "security.W005", "security.W008", "security.W021"]
    assert found["SILENCED_SYSTEM_CHECKS"] == expected + (["mail.E001"] if silenced else [])


def test_what_goes_through_a_pooler_keeps_nothing_beyond_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = {**SITE["database"], "host": "10.0.0.3", "sslmode": "require"}
    own = {"ENGINE": "django.db.backends.postgresql", "DISABLE_SERVER_SIDE_CURSORS": False}
    options = {"prepare_threshold": 5, "sslmode": "verify-full", "connect_timeout": 3}
    settings = {"DATABASES": {"default": {**own, "OPTIONS": options}}}
    past = applied(settings, monkeypatch, database=remote)["DATABASES"]["default"]
    assert (past["HOST"], past["PASSWORD"], past["DISABLE_SERVER_SIDE_CURSORS"]) == ("10.0.0.3", "p", False)
    assert past["OPTIONS"] == {**options, "sslmode": "require"}
    monkeypatch.setenv("WEBSTACK_POOLER", "/run/pgbouncer:6432")
    assert applied(settings, monkeypatch, database=remote)["DATABASES"]["default"] == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "blog",
        "USER": "blog",
        "PASSWORD": "",
        "HOST": "/run/pgbouncer",
        "PORT": "6432",
        "OPTIONS": {"prepare_threshold": None, "connect_timeout": 3},
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def test_what_a_project_says_of_its_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    storages = {"default": {"BACKEND": "storages.S3"}, "staticfiles": {"BACKEND": "whitenoise.X"}}
    own = {
        "DATABASES": {
            "default": {"ENGINE": "django.contrib.gis.db.backends.postgis", "OPTIONS": {"pool": True}},
            "other": {"ENGINE": "x"},
        },
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}},
        "STORAGES": storages,
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "MEDIA_URL": "/uploads/",
        "CSRF_TRUSTED_ORIGINS": ["https://other.example.com"],
    }
    found = applied(own, monkeypatch)
    assert found["DATABASES"]["default"]["ENGINE"] == "django.contrib.gis.db.backends.postgis"
    assert found["DATABASES"]["default"]["CONN_MAX_AGE"] == 0
    assert found["DATABASES"]["other"] == {"ENGINE": "x"}
    assert found["CACHES"] == own["CACHES"]
    assert found["STORAGES"] == storages
    assert found["SESSION_ENGINE"] == "django.contrib.sessions.backends.signed_cookies"
    assert found["MEDIA_URL"] == "/uploads/"
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://other.example.com", "https://blog.example.com"]


def test_a_log_file_in_the_release_becomes_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = {"class": "logging.FileHandler", "filename": "/srv/blog/releases/one/code/debug.log", "level": "INFO"}
    found = applied({"LOGGING": {"version": 1, "handlers": {"file": handler}}}, monkeypatch)
    assert found["LOGGING"]["handlers"]["file"] == {"class": "logging.StreamHandler", "level": "INFO"}


LAYER = "channels_redis.core.RedisChannelLayer"


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([("127.0.0.1", 6379)], ["unix:///run/x.sock"]),
        (["redis://localhost:6379/1"], ["unix:///run/x.sock"]),
        ([{"address": ("redis", 6379)}], ["unix:///run/x.sock"]),
        ([], ["unix:///run/x.sock"]),
        (["redis://queue.example.com:6379/1"], ["redis://queue.example.com:6379/1"]),
    ],
)
def test_channel_layers_find_the_redis_of_the_site(monkeypatch: pytest.MonkeyPatch, hosts: Any, expected: Any) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///run/x.sock")
    config = {"hosts": hosts, "capacity": 9}
    found = applied({"CHANNEL_LAYERS": {"default": {"BACKEND": LAYER, "CONFIG": config}}}, monkeypatch)
    assert found["CHANNEL_LAYERS"]["default"] == {"BACKEND": LAYER, "CONFIG": {"hosts": expected, "capacity": 9}}


def test_other_channel_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert applied({"CHANNEL_LAYERS": memory}, monkeypatch)["CHANNEL_LAYERS"] == memory


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("redis://localhost:6379/0", "redis+socket:///run/q.sock"),
        ("redis://", "redis+socket:///run/q.sock"),
        ("redis://:secret@redis:6379/0", "redis+socket:///run/q.sock"),
        ("django-db", "django-db"),
        ("redis://results.example.com/0", "redis://results.example.com/0"),
    ],
)
def test_results_of_celery_go_where_its_tasks_are(monkeypatch: pytest.MonkeyPatch, given: str, expected: str) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis+socket:///run/q.sock")
    assert applied({"CELERY_RESULT_BACKEND": given}, monkeypatch)["CELERY_RESULT_BACKEND"] == expected


# Databases ---------------------------------------------------------------------------------------

HERE = {"engine": "mysql", "name": "blog", "user": "blog", "host": "localhost", "port": None}
THERE = {**HERE, "host": "10.0.0.3", "port": 3306}
STRICT = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"
MYSQL = {"charset": "utf8mb4", "init_command": STRICT, "isolation_level": "read committed"}
FILE = {"engine": "sqlite3", "name": "/srv/blog/shared/database/db.sqlite3"}
WAL = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864"


def driver(monkeypatch: pytest.MonkeyPatch, version: tuple[Any, ...], file: str = "/x/MySQLdb/__init__.py") -> None:
    module = types.ModuleType("MySQLdb")
    module.__file__, module.version_info = file, version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "MySQLdb", module)


def test_mariadb_of_the_same_host_is_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBSTACK_DATABASE_PASSWORD", raising=False)
    found = applied({"DATABASES": SQLITE, "INSTALLED_APPS": []}, monkeypatch, database=HERE)
    assert found["INSTALLED_APPS"] == []
    assert found["DATABASES"]["default"] == {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "blog",
        "USER": "blog",
        "PASSWORD": "p",
        "HOST": "localhost",
        "PORT": "",
        "OPTIONS": {**MYSQL, "unix_socket": "/run/mysqld/mysqld.sock"},
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


@pytest.mark.parametrize(
    ("version", "file", "database", "tls"),
    [
        ((2, 2, 7, "final", 0), "/x/MySQLdb/__init__.py", THERE, {"ssl_mode": "REQUIRED"}),
        ((2, 1, 1, "final", 0), "/x/MySQLdb/__init__.py", THERE, {"ssl": {"cipher": "HIGH"}}),
        ((1, 4, 6, "final", 1), "/x/pymysql/__init__.py", THERE, {"ssl": {"check_hostname": False}}),
        ((2, 2, 7, "final", 0), "/x/MySQLdb/__init__.py", {**THERE, "sslmode": "disable"}, {}),
        ((2, 2, 7, "final", 0), "/x/MySQLdb/__init__.py", {**THERE, "host": "127.0.0.1"}, {}),
    ],
)
def test_mariadb_of_another_host_is_encrypted(
    version: tuple[Any, ...], file: str, database: Any, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, version, file)
    found = applied({}, monkeypatch, database=database)["DATABASES"]["default"]
    assert found["OPTIONS"] == {**MYSQL, **tls}
    assert (found["HOST"], found["PORT"]) == (database["host"], "3306")


def test_options_of_a_project_for_mariadb_stay_but_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "ENGINE": "django.contrib.gis.db.backends.mysql",
        "OPTIONS": {"isolation_level": "repeatable read", "read_default_file": "/x", "ssl": {}, "connect_timeout": 3},
        "ATOMIC_REQUESTS": True,
    }
    found = applied({"DATABASES": {"default": own}}, monkeypatch, database=HERE)["DATABASES"]["default"]
    assert found["ENGINE"] == "django.contrib.gis.db.backends.mysql"
    assert found["ATOMIC_REQUESTS"] is True
    assert found["OPTIONS"] == {
        **MYSQL,
        "isolation_level": "repeatable read",
        "connect_timeout": 3,
        "unix_socket": "/run/mysqld/mysqld.sock",
    }


@pytest.mark.parametrize(
    ("own", "engine", "options"),
    [
        (
            {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},
            "django.db.backends.sqlite3",
            {"timeout": 20, "init_command": WAL, "transaction_mode": "IMMEDIATE"},
        ),
        (
            {
                "ENGINE": "django.contrib.gis.db.backends.spatialite",
                "OPTIONS": {"timeout": 5, "init_command": "PRAGMA cache_size = 1", "transaction_mode": "EXCLUSIVE"},
            },
            "django.contrib.gis.db.backends.spatialite",
            {"timeout": 5, "init_command": WAL + "; PRAGMA cache_size = 1", "transaction_mode": "EXCLUSIVE"},
        ),
        (
            {"ENGINE": "django.contrib.gis.db.backends.postgis", "OPTIONS": {"pool": True}},
            "django.contrib.gis.db.backends.spatialite",
            {"timeout": 20, "init_command": WAL, "transaction_mode": "IMMEDIATE"},
        ),
    ],
)
def test_sqlite(own: Any, engine: str, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = applied({"DATABASES": {"default": own}}, monkeypatch, database=FILE)["DATABASES"]["default"]
    assert found == {"ENGINE": engine, "NAME": FILE["name"], "OPTIONS": options, "CONN_MAX_AGE": 60}


MEMCACHED = "django.core.cache.backends.memcached."
SESSIONS = "django.contrib.sessions.backends.cached_db"


@pytest.mark.parametrize(
    ("own", "url", "location"),
    [
        ({}, "memcached:///run/memcached-x/memcached.sock", "unix:/run/memcached-x/memcached.sock"),
        ({"BACKEND": MEMCACHED + "PyMemcacheCache", "LOCATION": "a:1"}, "memcached://10.0.0.3:11211", "10.0.0.3:11211"),
        ({"BACKEND": MEMCACHED + "PyLibMCCache"}, "memcached://10.0.0.3:11211", "10.0.0.3:11211"),
        ({"BACKEND": MEMCACHED + "MemcachedCache"}, "memcached://10.0.0.3:11211", "10.0.0.3:11211"),
        ({"BACKEND": "django_pylibmc.memcached.PyLibMCCache"}, "memcached://[fd00::1]:11211", "[fd00::1]:11211"),
    ],
)
def test_memcached(own: dict[str, Any], url: str, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"CACHES": {"default": {**own, "TIMEOUT": 7}}} if own else {}
    found = applied(settings, monkeypatch, (3, 2), cache=url)
    cache = found["CACHES"]["default"]
    assert cache["BACKEND"] == "webstack_cache_memcached.TolerantMemcachedCache"
    assert (cache["LOCATION"], cache["KEY_PREFIX"]) == (location, "blog")
    assert cache.get("TIMEOUT") == (7 if own else None)
    assert found["SESSION_ENGINE"] == SESSIONS


@pytest.mark.parametrize(
    ("backend", "url", "version"),
    [
        ("django_redis.cache.RedisCache", "memcached:///run/x.sock", (5, 2)),
        (MEMCACHED + "PyLibMCCache", "unix:///run/x.sock", (5, 2)),
        (MEMCACHED + "MemcachedCache", "memcached:///run/x.sock", (3, 1)),
    ],
)
def test_a_cache_of_another_kind_stays(
    backend: str, url: str, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = {"default": {"BACKEND": backend, "LOCATION": "elsewhere"}}
    assert applied({"CACHES": caches}, monkeypatch, version, cache=url)["CACHES"] == caches
