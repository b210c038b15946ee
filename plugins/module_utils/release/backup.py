# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A dump of a site's database, before migrations change it."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    Result,
    as_account,
    base_environment,
    failed,
)
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

DIRECTORY = "/var/backups/webstack"
KEPT = 3
_ADVICE = "nothing was migrated, and the old release keeps serving. Repair it, or set backup_before_migrate: false"
# A consistent copy, whoever writes meanwhile (sqlite.org/lang_vacuum.html#vacuuminto).
_SQLITE = """\
import os, shutil, sqlite3, sys, tempfile
with tempfile.TemporaryDirectory(dir=os.path.dirname(sys.argv[1])) as directory:
    copy = os.path.join(directory, "copy")
    sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", (copy,))
    with open(copy, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
"""


def _command(database: dict[str, Any]) -> tuple[list[str], dict[str, str], str]:
    """What writes a dump to its output, its environment, and the ending of the file's name."""
    host, port, user = str(database["host"] or ""), str(database["port"] or ""), database["user"]
    secret = {} if host.startswith("/") else {"password": str(database["password"] or "")}
    if database["engine"] == "postgresql":
        environment = {"PGHOST": host, "PGPORT": port, "PGUSER": user, "PGDATABASE": database["name"]}
        if secret:
            environment["PGPASSWORD"] = secret["password"]
        if database["sslmode"]:
            environment["PGSSLMODE"] = database["sslmode"]
        return ["pg_dump", "--format=custom", "--no-owner", "--no-password"], environment, "dump"
    argv = ["mariadb-dump", "--single-transaction", "--quick", "--routines", "--triggers", "--user=" + user]
    if host and host != "localhost":
        argv += ["--host=" + host, "--port=" + (port or "3306")]
    if database["sslmode"]:
        argv += ["--ssl", "--skip-ssl-verify-server-cert"]
    environment = {"MYSQL_PWD": secret["password"]} if secret.get("password") else {}
    return [*argv, database["name"]], environment, "sql"


def make(site: Site) -> str:
    """Dump the database of a site; says where it is. The newest ones are kept."""
    database = site["database"]
    if not database:
        raise site.error("backup", "the site has no database that is known here", "set backup_before_migrate: false")
    directory = os.path.join(DIRECTORY, site.name)
    os.makedirs(directory, 0o700, exist_ok=True)
    name = "%s-%s" % (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), site.release_id)
    if database["engine"] == "sqlite3":
        none: dict[str, str] = {}
        argv, environment, ending = ["python3", "-c", _SQLITE, database["name"]], none, "sqlite3"
    else:
        argv, environment, ending = _command(database)
    path = os.path.join(directory, name + "." + ending)
    temporary = path + ".part"
    try:
        _run(site, argv, environment, temporary)
        os.rename(temporary, path)
    finally:
        files.remove(temporary)
    for old in sorted(os.listdir(directory))[:-KEPT]:
        files.remove(os.path.join(directory, old))
    return "%s: back the database up to %s" % (site.name, path)


def _run(site: Site, argv: list[str], environment: dict[str, str], target: str) -> None:
    """As the site's user, who may read its database and not the dumps: root opens the file."""
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as output:
        try:
            done = subprocess.run(
                as_account(site, argv),
                env={**base_environment(site), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                check=False,
            )
        except FileNotFoundError as error:
            raise site.error("backup", str(error), _ADVICE) from error
        if done.returncode:
            raise failed(site, "backup", argv, Result(done.returncode, done.stderr.decode("utf-8", "replace")), _ADVICE)
        output.flush()
        os.fsync(output.fileno())
