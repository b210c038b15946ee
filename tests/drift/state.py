#!/usr/bin/env python3
"""The state of a server as sorted lines, for comparing two of them; runs on the server as root.

Left out is what differs between any two servers: keys, certificates, times, logs, caches, journals of programs.
"""

import grp
import hashlib
import os
import pwd
import re
import stat
import subprocess

ROOTS = ["/etc", "/srv", "/opt/webstack", "/usr/local", "/var/lib/webstack", "/var/www", "/var/spool/cron"]
VARIES = re.compile(
    r"/etc/(machine-id|hostname|hosts|resolv\.conf|mtab|ld\.so\.cache|adjtime|\.pwd\.lock|\.updated|.*-|subuid|subgid)"
    r"|/etc/(passwd|group|shadow|gshadow)"  # numbers depend on the order; names are listed below
    r"|/etc/ssh/ssh_host_.*|/etc/ssl/(certs|private)/.*|/etc/webstack/tls/.*\.pem|/etc/apparmor\.d/cache.*"
    r"|/etc/(alternatives|ssl/certs)|.*/__pycache__.*|/srv/[^/]+/releases/[^/]+/(\.state|release)\.json"
    r"|/srv/[^/]+/(releases|environments)/[^/]+/\.manifest\.json|/srv/[^/]+/shared/\.webstack/.*|/var/lib/webstack/removed.*|/opt/webstack/uv/(bin/activate.*|\.lock)"
)
COMMANDS = [
    "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'",
    "apt-mark showmanual",
    "systemctl list-unit-files --plain --no-legend --state=enabled",
    "systemctl list-units --plain --no-legend --state=running --type=service,socket | cut -d' ' -f1 | grep -v '^user@'",
    "systemctl --failed --plain --no-legend",
    "getent passwd | cut -d: -f1,5-",
    "getent group | cut -d: -f1,4",
    "cd /; setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtc "
    "'select rolname, rolsuper, rolcanlogin from pg_roles union all "
    "select datname, datistemplate, datallowconn from pg_database'",
    "cd /; setpriv --reuid=postgres --regid=postgres --init-groups psql -XAt -d plain -c "
    "\"select app, name from django_migrations union all select 'row', count(*)::text from notes_note\"",
]


def name(function, number, field):
    try:
        return getattr(function(number), field)
    except KeyError:
        return str(number)


def main():
    lines = []
    for root in ROOTS:
        for base, directories, names in os.walk(root):
            for one in sorted(directories + names):
                path = os.path.join(base, one)
                # An empty directory of drop-ins says nothing.
                if VARIES.fullmatch(path) or (path.endswith(".d") and os.path.isdir(path) and not os.listdir(path)):
                    continue
                info = os.lstat(path)
                owner = name(pwd.getpwuid, info.st_uid, "pw_name") + ":" + name(grp.getgrgid, info.st_gid, "gr_name")
                what = ""
                if stat.S_ISLNK(info.st_mode):
                    what = os.readlink(path)
                elif stat.S_ISREG(info.st_mode) and not re.search(r"/(venv|uv|python)/", path):
                    with open(path, "rb") as file:
                        what = hashlib.sha256(file.read()).hexdigest()[:16]
                lines.append("%s %s %s %s" % (path, oct(info.st_mode), owner, what))
    for command in COMMANDS:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        lines += [command.split()[0] + ": " + line for line in done.stdout.splitlines()]
        if done.returncode:
            lines.append(command + ": status %d" % done.returncode)
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
