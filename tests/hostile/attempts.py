"""What code of the site `ada` tries on the site `bob`, and what it is told: a word of the refusal for each.

Each is Python that runs in ada's web process. `{pid}` is a process of bob's, `{old}` a password that is not bob's any more.
"""

from __future__ import annotations

DENIED = "PermissionError: [Errno 13]"
NOT_PERMITTED = "PermissionError: [Errno 1]"
MISSING = "FileNotFoundError: [Errno 2]"
UNSEEN = "ProcessLookupError: [Errno 3]"
CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect('{}')"
COMMAND = "import subprocess; print(subprocess.run({!r}, shell=True, capture_output=True, text=True).stderr)"
POSTGRESQL = "import psycopg; psycopg.connect({}).execute({!r})"
MARIADB = "from django.db import connection; connection.cursor().execute({!r})"

LISTED = [
    "/srv/bob",
    "/srv/bob/releases",
    "/srv/bob/shared",
    "/srv/bob/shared/media",
    "/etc/webstack/bob",
    "/run/webstack/bob",
]
READ = [
    "/etc/webstack/bob/env", "/srv/bob/current/env", "/srv/bob/current/code/manage.py", "/srv/bob/shared/media/letter.txt",
    "/srv/bob/shared/notes.txt", "/var/backups/webstack/bob.sql", "/etc/webstack/tls/bob/privkey.pem",
]  # fmt: skip


def made(refusal: str) -> dict[str, tuple[str, str]]:
    """Where it would make something: the sandbox says no, or with supervisord, whose sandbox is one for all, the modes."""
    return {
        "write to its public files": ("open('/srv/bob/public/ada', 'w')", refusal),
        "make a release": ("import os; os.mkdir('/srv/ada/releases/x')", refusal),
        "lead to another release": ("import os; os.symlink('x', '/srv/ada/next')", refusal),
        "write to its static files": ("open('/srv/ada/public/static/x', 'w')", refusal),
        "add to its code": ("open('/srv/ada/current/code/x.py', 'w')", refusal),
    }


# name: (the attempt, the refusal)
ANYWHERE: dict[str, tuple[str, str]] = {
    **{f"list {path}": (f"import os; print(os.listdir('{path}'))", DENIED) for path in LISTED},
    **{f"read {path}": (f"print(open('{path}').read())", DENIED) for path in READ},
    "list the cache of its builds": ("import os; os.listdir('/var/cache/webstack/bob')", DENIED),
    "write to its media": ("open('/srv/bob/shared/media/ada', 'w')", DENIED),
    **{
        f"read /proc of it: {name}": (f"print(open('/proc/{{pid}}/{name}').read())", MISSING)
        for name in ("environ", "cmdline", "maps", "mem", "status")
    },
    **{
        f"follow its /proc: {name}": (f"import os; os.listdir('/proc/{{pid}}/{name}')", MISSING)
        for name in ("fd", "root", "cwd")
    },
    "see its processes": ("import os; print('{pid}' in os.listdir('/proc'))", "False"),
    "see its control group": ("import os; os.listdir('/sys/fs/cgroup')", DENIED),
    "kill it": ("import os; os.kill({pid}, 9)", NOT_PERMITTED),
    "kill all": ("import os; os.kill(-1, 0) or os.kill({pid}, 15)", NOT_PERMITTED),
    "stop it for a while": ("import os; os.kill({pid}, 19)", NOT_PERMITTED),
    "trace it": (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); print(c.ptrace(16, {pid}, 0, 0), os.strerror(ctypes.get_errno()))",
        "-1 Operation not permitted",
    ),
    "read its memory": (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); b = ctypes.create_string_buffer(8);\n"
        "v = (ctypes.c_void_p * 2)(ctypes.addressof(b), 8); print(c.process_vm_readv({pid}, v, 1, v, 1, 0))",
        "-1",
    ),
    "give it another priority": ("import os; os.setpriority(os.PRIO_PROCESS, {pid}, 19)", NOT_PERMITTED),
    "connect to its web process": (CONNECT.format("/run/webstack/bob/web.sock"), DENIED),
    "ask D-Bus": (CONNECT.format("/run/dbus/system_bus_socket"), DENIED),
    "ask systemd": (CONNECT.format("/run/systemd/private"), DENIED),
    "ask systemctl what it runs": (COMMAND.format("systemctl status bob-web.service"), "Failed to connect"),
    "stop its unit": (COMMAND.format("systemctl stop bob-web.service"), "Failed to connect"),
    "start a unit": (COMMAND.format("systemd-run --uid=bob id"), "Failed to connect"),
    "read the journal": (COMMAND.format("journalctl -q -n1 _UID=0"), "insufficient permissions"),
    "find its files in shared memory": ("import glob; print(glob.glob('/dev/shm/*bob*'))", "[]"),
    "see its queues of System V": ("print(open('/proc/sysvipc/shm').read().count('\\n'))", "1"),
    "find an abstract socket of it": (
        "print([line for line in open('/proc/net/unix') if '@' in line and 'bob' in line])",
        "[]",
    ),
    "become another user": ("import os; os.setuid(0)", NOT_PERMITTED),
    "become another user by a program": (COMMAND.format("su bob -s /bin/sh -c id; sudo -u bob id"), "su"),
    "make a job of cron": (COMMAND.format("echo '* * * * * id' | crontab -; echo id | at now"), "at: not found"),
    "mount something": (COMMAND.format("unshare --mount --map-root-user true"), "Operation not permitted"),
    "load a module of the kernel": ("open('/proc/sys/kernel/core_pattern', 'w')", "OSError: [Errno 30]"),
    "write to its own environment": ("open('/etc/webstack/ada/env', 'a')", DENIED),
    "write to its own code": ("open('/srv/ada/current/code/manage.py', 'a')", DENIED),
    "write to its own settings": ("open('/srv/ada/current/overlay/webstack_settings.py', 'a')", DENIED),
    "write to its own packages": ("import django; open(django.__file__, 'a')", DENIED),
    "link to a file of it": (
        "import os; os.link('/srv/bob/public/static/notes/style.css', '/srv/ada/shared/media/hard')",
        "Error: [Errno",
    ),
}
FIRST = {
    **made("OSError: [Errno 30]"),
    "connect to its cache": (CONNECT.format("/run/redis-bob-cache/redis.sock"), DENIED),
    "list the directory of its cache": ("import os; os.listdir('/run/redis-bob-cache')", DENIED),
    "read the settings of its cache": ("open('/etc/redis/redis-bob-cache.conf')", DENIED),
    "read the data of its cache": ("import os; os.listdir('/var/lib/redis/bob-cache')", DENIED),
    "connect to its database": (POSTGRESQL.format("dbname='bob'", "select 1"), "does not have CONNECT privilege"),
    "connect to its database as bob": (
        POSTGRESQL.format("dbname='bob', user='bob'", "select 1"),
        "Peer authentication failed",
    ),
    "connect without a password": (
        POSTGRESQL.format("host='127.0.0.1', dbname='bob', user='bob'", "select 1"),
        "no password supplied",
    ),
    "connect with the old password": (
        POSTGRESQL.format("host='127.0.0.1', dbname='bob', user='bob', password='{old}'", "select 1"),
        "password authentication failed",
    ),
    "connect as the superuser": (
        POSTGRESQL.format("dbname='postgres', user='postgres'", "select 1"),
        "Peer authentication failed",
    ),
    "connect to the database of nobody": (
        POSTGRESQL.format("dbname='postgres'", "select 1"),
        "does not have CONNECT privilege",
    ),
    "change the template of databases": (
        POSTGRESQL.format("dbname='template1'", "select 1"),
        "does not have CONNECT privilege",
    ),
    "become the other role": (POSTGRESQL.format("dbname='ada'", "set role bob"), "permission denied to set role"),
    "read a file as the server": (
        POSTGRESQL.format("dbname='ada'", "copy t from '/etc/passwd'"),
        "InsufficientPrivilege",
    ),
    "run a program as the server": (
        POSTGRESQL.format("dbname='ada'", "copy (select 1) to program 'id'"),
        "InsufficientPrivilege",
    ),
    "read its queries": (
        "import psycopg; print(psycopg.connect('dbname=ada').execute("
        "\"select count(*) from pg_stat_activity where usename = 'bob' and query not like '%insufficient%'\").fetchone())",
        "(0,)",
    ),
    "end its connections": (
        "import psycopg; print(psycopg.connect('dbname=ada').execute("
        "\"select pg_terminate_backend(pid) from pg_stat_activity where usename = 'bob' or usename = 'postgres'\"))",
        "permission denied to terminate process",
    ),
    "read its requests": ("print(open('/var/log/nginx/access.log').read())", DENIED),
    "read the log of its database": ("import glob; open(glob.glob('/var/log/postgresql/*.log')[0])", DENIED),
    "find its temporary files": ("import os; print(os.listdir('/tmp'), os.listdir('/var/tmp'))", "[] []"),
}
SECOND = {
    **made(DENIED),
    "connect to its cache": (CONNECT.format("/run/memcached-bob-cache/memcached.sock"), DENIED),
    "list the directory of its cache": ("import os; os.listdir('/run/memcached-bob-cache')", DENIED),
    "read the statistics of its processes": (CONNECT.format("/run/webstack/bob/uwsgi/stats.sock"), DENIED),
    "reload its processes": ("open('/run/webstack/bob/uwsgi/reload', 'w')", DENIED),
    "ask supervisord": (CONNECT.format("/run/supervisor/supervisor.sock"), DENIED),
    "read its launcher": ("open('/etc/supervisor/webstack/bob-web')", DENIED),
    "change its database": (MARIADB.format("use bob"), "Access denied for user 'ada'"),
    "read a table of its database": (MARIADB.format("select * from bob.notes_note"), "denied to user 'ada'"),
    "read the accounts": (MARIADB.format("select * from mysql.user"), "denied to user 'ada'"),
    "see its database": (
        "from django.db import connection as c; u = c.cursor(); u.execute('show databases'); print('bob' in str(u.fetchall()))",
        "False",
    ),
    "see its connections": (
        "from django.db import connection as c; u = c.cursor(); u.execute('show processlist'); print('bob' in str(u.fetchall()))",
        "False",
    ),
    "read a file as the server": (
        MARIADB.format("select load_file('/etc/passwd') into outfile '/tmp/x'"),
        "Access denied",
    ),
    "connect as bob": (
        "import MySQLdb; MySQLdb.connect(user='bob', db='bob')",
        "Access denied for user 'bob'@'localhost'",
    ),
    "connect with the old password": (
        "import MySQLdb; MySQLdb.connect(host='127.0.0.1', user='bob', passwd='{old}', db='bob')",
        "Access denied for user 'bob'",
    ),
    "connect as the superuser": ("import MySQLdb; MySQLdb.connect(user='root')", "Access denied for user 'root'"),
    "read its requests": ("print(open('/var/log/apache2/access.log').read())", DENIED),
    "read its words": ("print(open('/var/log/supervisor/bob-web.log').read())", DENIED),
    "find its temporary files": ("import os; print(os.listdir('/tmp'))", DENIED),
    "find its temporary files that stay": ("import os; print(os.listdir('/var/tmp'))", DENIED),
    "find its shared memory": ("import os; print(os.listdir('/dev/shm'))", DENIED),
}
