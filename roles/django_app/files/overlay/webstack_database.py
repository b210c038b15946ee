# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database of a site: what Django is told of PostgreSQL, MariaDB and SQLite."""

import os

# Engine of Django, the same with geometries, and what an engine of a project's own is known by.
_ENGINES = {
    "postgresql": ("django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis", ("postg", "psql")),
    "mysql": ("django.db.backends.mysql", "django.contrib.gis.db.backends.mysql", ("mysql", "mariadb")),
    "sqlite3": ("django.db.backends.sqlite3", "django.contrib.gis.db.backends.spatialite", ("sqlite", "spatialite")),
}
_GIS = "django.contrib.gis."
_KEPT = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "CONN_MAX_AGE", "DISABLE_SERVER_SIDE_CURSORS", "TEST", "TIME_ZONE")
_HERE = ("", "localhost", "127.0.0.1", "::1")
_SOCKET = "/run/mysqld/mysqld.sock"
_STRICT = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"
# Readers and one writer at a time, none of which waits for the disk at each commit: a power cut may lose the last
# commits, and damages nothing (sqlite.org/pragma.html#pragma_synchronous). Foreign keys are switched on by Django.
_PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864"
_BUSY = 20  # seconds that a writer waits for another one; Django's default is 5


def connection(old, wanted, version):
    """What DATABASES["default"] becomes; `old` is the project's own."""
    family = wanted["engine"]
    plain, gis, words = _ENGINES[family]
    known = old.get("ENGINE", "")
    related = any(word in known for word in words)
    new = {"CONN_MAX_AGE": 60}
    new.update((key, old[key]) for key in _KEPT if key in old and (related or key == "ATOMIC_REQUESTS"))
    options = dict(old.get("OPTIONS") or {}) if related else {}
    new["ENGINE"] = known if related else gis if known.startswith(_GIS) else plain
    if family == "sqlite3":
        new.update(NAME=wanted["name"], OPTIONS=_sqlite(options, version))
        return new
    if family == "mysql":
        _mysql(options, wanted)
    elif wanted.get("sslmode"):
        options["sslmode"] = wanted["sslmode"]
    pooler = os.environ.get("WEBSTACK_POOLER") if family == "postgresql" else None
    if pooler:
        options.pop("sslmode", None)
        # A connection is the site's for one transaction: what lasts longer would be somebody else's.
        new["DISABLE_SERVER_SIDE_CURSORS"] = True
        if "prepare_threshold" in options:
            options["prepare_threshold"] = None
    if options.get("pool"):
        new["CONN_MAX_AGE"] = 0  # Django pools these connections itself, and refuses both
    elif version >= (4, 1):
        new["CONN_HEALTH_CHECKS"] = True
    new.update(
        NAME=wanted["name"],
        USER=wanted["user"],
        PASSWORD=os.environ.get("WEBSTACK_DATABASE_PASSWORD", ""),
        HOST=wanted["host"],
        PORT=str(wanted.get("port") or ""),
        OPTIONS=options,
    )
    if pooler:
        new["HOST"], _colon, new["PORT"] = pooler.rpartition(":")
        new["PASSWORD"] = ""  # the account of the process is the proof
    return new


def _mysql(options, wanted):
    options["charset"] = "utf8mb4"
    options.setdefault("init_command", _STRICT)
    seconds = int(os.environ.get("WEBSTACK_LOCK_TIMEOUT") or 0)
    if seconds:  # a migration, behind which everybody else would wait
        options["init_command"] += "; SET SESSION lock_wait_timeout = %d, innodb_lock_wait_timeout = %d" % (
            seconds,
            seconds,
        )
    options.setdefault("isolation_level", "read committed")  # what Django is made for, and its default
    for name in ("read_default_file", "unix_socket", "ssl_mode", "ssl"):
        options.pop(name, None)  # of the server that the project had before
    host, mode = wanted["host"] or "", wanted.get("sslmode")
    if host == "localhost":
        options["unix_socket"] = _SOCKET  # what libmariadb does by itself, and PyMySQL does not
    if mode == "disable" or (not mode and (host in _HERE or host.startswith("/"))):
        return
    options.update(_encrypted())


def _encrypted():
    """What makes the installed driver talk TLS and nothing else. Like `sslmode=require`, it asks for no certificate."""
    import MySQLdb

    if "pymysql" in getattr(MySQLdb, "__file__", ""):
        return {"ssl": {"check_hostname": False}}  # an empty mapping would be none
    if tuple(MySQLdb.version_info[:3]) >= (2, 2, 5):
        return {"ssl_mode": "REQUIRED"}
    # Older ones know no mode with the library of MariaDB. A cipher makes that use TLS; the account asks for it as well.
    return {"ssl": {"cipher": "HIGH"}}


def _sqlite(options, version):
    options.setdefault("timeout", _BUSY)
    if version >= (5, 1):
        own = options.get("init_command")
        options["init_command"] = _PRAGMAS + ("; " + own if own else "")
        # A transaction that reads first and writes then would fail at once where another one wrote in between.
        options.setdefault("transaction_mode", "IMMEDIATE")
        return options
    from django.db.backends.signals import connection_created

    connection_created.connect(_tune_sqlite, dispatch_uid="webstack_database")
    return options


def _tune_sqlite(sender, connection, **_kwargs):
    """The same for Django before 5.1, which has no options for it."""
    if connection.alias != "default" or connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        for pragma in _PRAGMAS.split("; "):
            cursor.execute(pragma)
    # Looked up for each transaction: django/db/backends/sqlite3/base.py.
    connection._start_transaction_under_autocommit = lambda: connection.cursor().execute("BEGIN IMMEDIATE")
