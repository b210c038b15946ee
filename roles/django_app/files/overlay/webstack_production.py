# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What production needs beyond a project's own settings; called by the generated webstack_settings."""

import importlib.util
import os
import re

import webstack_database

# Tools for development that a project may list while its DEBUG is true, and not install in production.
_DEVELOPMENT = frozenset(
    "debug_toolbar django_browser_reload django_extensions django_watchfiles livereload nplusone query_inspector "
    "silk template_profiler_panel zeal".split()
)
_POSTGRES = "django.contrib.postgres"
_LOCAL_CACHES = ("", "locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache", "db.DatabaseCache")
# By kind: the first Django that has the backend, ours, what a project's own of this kind is called, and its options.
# Seconds: a page asks a cache that hangs a few times; pymemcache leaves one alone for a while.
_CACHES = {
    "redis": ((4, 0), "webstack_cache_redis.TolerantRedisCache", ("redis",), {"socket_timeout": 2}),
    "memcached": (
        (3, 2),
        "webstack_cache_memcached.TolerantMemcachedCache",
        ("memcache", "pylibmc"),
        {"connect_timeout": 2, "timeout": 2, "retry_attempts": 0, "dead_timeout": 5, "no_delay": True},
    ),
}
_PLAIN_STORAGE = "django.contrib.staticfiles.storage.StaticFilesStorage"
_STORAGE = "webstack_static.TolerantManifestStorage"
# Django 6.1 refuses these in production (mail.E001), and `startproject` writes the first one.
_DEVELOPMENT_MAIL = ("console", "dummy", "filebased", "locmem")
_LOCAL_REDIS = re.compile(r"rediss?://([^@/]*@)?(localhost|127\.0\.0\.1|redis)?(:\d+)?(/|$)")
_SESSIONS_IN_DATABASE = "django.contrib.sessions.backends.db"


def apply(settings, site, version=None):
    """Change a settings module's names in place.

    `site` holds what differs between sites (see webstack_settings.py); secrets come from the environment.
    """
    if version is None:
        from django import VERSION as version
    _development(settings)
    _requests(settings, site)
    _database(settings, site, version)
    _cache(settings, site, version)
    _queues(settings)
    _files(settings, site, version)
    _logging(settings, site)


def _development(settings):
    was_debug = bool(settings.get("DEBUG"))
    settings["DEBUG"] = False
    for engine in settings.get("TEMPLATES") or []:
        if engine.get("OPTIONS", {}).get("debug"):
            engine["OPTIONS"]["debug"] = False
    if was_debug:
        for name in ("INSTALLED_APPS", "MIDDLEWARE"):
            listed = settings.get(name)
            if listed:
                settings[name] = type(listed)(one for one in listed if not _lacking(one))


def _lacking(dotted):
    """Whether this is part of a development tool that is not installed here."""
    package = dotted.split(".")[0]
    return package in _DEVELOPMENT and importlib.util.find_spec(package) is None


def _requests(settings, site):
    if site["secret_key"]:
        settings["SECRET_KEY"] = os.environ["WEBSTACK_SECRET_KEY"]
    settings["ALLOWED_HOSTS"] = list(site["allowed_hosts"])
    known = list(settings.get("CSRF_TRUSTED_ORIGINS") or [])
    settings["CSRF_TRUSTED_ORIGINS"] = known + [one for one in site["trusted_origins"] if one not in known]
    # The web server sets this header, and drops what a client sends under its name.
    settings["SECURE_PROXY_SSL_HEADER"] = ("HTTP_X_FORWARDED_PROTO", "https")
    settings["USE_X_FORWARDED_HOST"] = False
    settings["SESSION_COOKIE_SECURE"] = settings["CSRF_COOKIE_SECURE"] = True
    name = settings.get("SESSION_COOKIE_NAME", "sessionid")
    if not name.startswith(("__Secure-", "__Host-")):
        settings["SESSION_COOKIE_NAME"] = "__Secure-" + name
    # CSRF_COOKIE_NAME stays: scripts of the project read that cookie by its name (Django's documentation shows how).
    silenced = list(settings.get("SILENCED_SYSTEM_CHECKS") or [])
    # HSTS (W004), with its subdomains (W005) and preload (W021), and the redirect to HTTPS (W008) are the web server's.
    silenced += ["security." + one for one in ("W004", "W005", "W008", "W021")]
    backend = ((settings.get("MAILERS") or {}).get("default") or {}).get("BACKEND")
    if backend in ["django.core.mail.backends.%s.EmailBackend" % one for one in _DEVELOPMENT_MAIL]:
        # A site without a mail server is deployed all the same; the deployment says that its mail goes nowhere.
        silenced.append("mail.E001")
    settings["SILENCED_SYSTEM_CHECKS"] = silenced


def _database(settings, site, version):
    wanted = site["database"]
    if not wanted:
        return
    databases = dict(settings.get("DATABASES") or {})
    databases["default"] = webstack_database.connection(databases.get("default") or {}, wanted, version)
    settings["DATABASES"] = databases
    postgresql = wanted["engine"] == "postgresql"
    if postgresql and not any(one.startswith(_POSTGRES) for one in settings.get("INSTALLED_APPS") or []):
        # Packages that find PostgreSQL use its full-text search, whose checks ask for this app; it has no models.
        settings["INSTALLED_APPS"] = [*(settings.get("INSTALLED_APPS") or []), _POSTGRES]


def _cache(settings, site, version):
    kind = site["cache"]
    if not kind or version < _CACHES[kind][0]:
        return
    _since, backend, families, options = _CACHES[kind]
    caches = dict(settings.get("CACHES") or {})
    old = caches.get("default") or {}
    local = old.get("BACKEND", "").replace("django.core.cache.backends.", "") in _LOCAL_CACHES
    kept = ("TIMEOUT", "KEY_PREFIX", "VERSION", "KEY_FUNCTION")
    caches["default"] = {
        "KEY_PREFIX": site["name"],
        **{key: old[key] for key in kept if key in old},
        "BACKEND": backend,
        "LOCATION": _location(os.environ["WEBSTACK_CACHE_URL"]),
        "OPTIONS": dict(options),
    }
    if local or any(word in old.get("BACKEND", "").lower() for word in families):
        settings["CACHES"] = caches
    # Read from the cache, kept in the database: sessions survive a dead cache.
    if settings.get("SESSION_ENGINE", _SESSIONS_IN_DATABASE) == _SESSIONS_IN_DATABASE and "CACHES" in settings:
        settings["SESSION_ENGINE"] = "django.contrib.sessions.backends.cached_db"


def _queues(settings):
    """Celery and Channels that look for Redis on this machine's port, where none listens, find the site's own."""
    queue = os.environ.get("CELERY_BROKER_URL")  # which Celery itself prefers to its settings
    backend = settings.get("CELERY_RESULT_BACKEND")
    if queue and isinstance(backend, str) and _LOCAL_REDIS.match(backend):
        settings["CELERY_RESULT_BACKEND"] = queue
    layers = os.environ.get("REDIS_URL", "")
    if not layers.startswith(("unix:", "redis")):
        return
    found = dict(settings.get("CHANNEL_LAYERS") or {})
    for name, layer in found.items():
        config = layer.get("CONFIG") or {}
        if layer.get("BACKEND", "").startswith("channels_redis.") and all(
            map(_on_this_port, config.get("hosts") or [])
        ):
            found[name] = {**layer, "CONFIG": {**config, "hosts": [layers]}}
    if found:
        settings["CHANNEL_LAYERS"] = found


def _on_this_port(host):
    """Whether a host of channels_redis (a URL, a pair, or a mapping with one of these) is Redis on this machine."""
    address = host.get("address", "") if isinstance(host, dict) else host
    if isinstance(address, (list, tuple)):
        address = "redis://%s/" % address[0]
    return bool(_LOCAL_REDIS.match(str(address)))


def _location(url):
    """Redis takes URLs; Memcached host:port, or unix:/path."""
    scheme, _colon, rest = url.partition("://")
    if scheme != "memcached":
        return url
    return "unix:" + rest if rest.startswith("/") else rest


def _files(settings, site, version):
    settings["STATIC_ROOT"] = site["static_root"]
    settings["MEDIA_ROOT"] = site["media_root"]
    if not settings.get("MEDIA_URL"):
        settings["MEDIA_URL"] = site["media_url"]
    storages = settings.get("STORAGES")
    old_names = {"STATICFILES_STORAGE", "DEFAULT_FILE_STORAGE"} & set(settings)
    if version < (4, 2) or (old_names and not storages):
        if settings.get("STATICFILES_STORAGE", _PLAIN_STORAGE) == _PLAIN_STORAGE:
            settings["STATICFILES_STORAGE"] = _STORAGE
        return
    storages = dict(storages or {})
    storages.setdefault("default", {"BACKEND": "django.core.files.storage.FileSystemStorage"})
    if storages.get("staticfiles", {}).get("BACKEND", _PLAIN_STORAGE) == _PLAIN_STORAGE:
        storages["staticfiles"] = {**storages.get("staticfiles", {}), "BACKEND": _STORAGE}
    settings["STORAGES"] = storages


def _logging(settings, site):
    """Everything goes to standard error, which is the journal; a release is read-only, so no file lies in it."""
    config = dict(settings.get("LOGGING") or {})
    config.setdefault("version", 1)
    config.setdefault("disable_existing_loggers", False)
    handlers = {name: _to_stderr(handler, site) for name, handler in (config.get("handlers") or {}).items()}
    handlers["webstack"] = {"class": "logging.StreamHandler"}
    config["handlers"] = handlers
    loggers = dict(config.get("loggers") or {})
    if "" not in loggers:
        root = dict(config.get("root") or {})
        if not root.get("handlers"):
            root["handlers"] = ["webstack"]
            root.setdefault("level", "WARNING")
        config["root"] = root
    config["loggers"] = loggers
    settings["LOGGING"] = config


def _to_stderr(handler, site):
    path = str(handler.get("filename") or "")
    if not path or not isinstance(handler.get("class"), str):
        return handler
    inside = os.path.abspath(path).startswith(site["release"] + os.sep)
    if not inside and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        return handler
    kept = {key: handler[key] for key in ("level", "formatter", "filters") if key in handler}
    return {"class": "logging.StreamHandler", **kept}
