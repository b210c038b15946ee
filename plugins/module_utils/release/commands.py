# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run commands of a site: as its user, in a clean environment, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator

from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LAST_LINES = 30
LOCK_WAIT = 900  # seconds to wait for what a killed run left running
_NETWORK = re.compile(
    r"SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_.*|UV_.*|NPM_CONFIG_.*|npm_config_.*|"
    r"NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO|(https?|no|all|ftp)_proxy|(HTTPS?|NO|ALL|FTP)_PROXY"
)
_UNREACHABLE = re.compile(
    r"dns error|failed to lookup address|Temporary failure in name resolution|Could not resolve host|client error \(Connect\)|"
    r"npm (?:error|ERR!) code (?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT)"
)
_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)


class Result:
    """How a command ended; ``text`` is what it said on both streams."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text

    def tail(self, lines: int = LAST_LINES) -> str:
        """The last lines, indented."""
        kept = [line for line in self.text.rstrip().splitlines() if line.strip()][-lines:]
        return "\n".join("    " + line for line in kept)


def network_environment() -> dict[str, str]:
    """How this host reaches package indexes: proxies and certificates from its own configuration."""
    found: dict[str, str] = {}
    if os.path.exists(CA_BUNDLE):
        found.update(dict.fromkeys(_CA_VARIABLES, CA_BUNDLE))
    with contextlib.suppress(OSError), open("/etc/environment", encoding="utf-8") as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and _NETWORK.fullmatch(name):
                found[name] = value.strip("\"'")
    found.update({name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)})
    return found


def account(site: Site) -> pwd.struct_passwd:
    """The site's account."""
    return pwd.getpwnam(site.user)


def base_environment(site: Site) -> dict[str, str]:
    """What a process of the site starts with."""
    return {
        "HOME": account(site).pw_dir,
        "USER": site.user,
        "LOGNAME": site.user,
        "SHELL": "/bin/sh",
        "PATH": PATH,
        "LANG": "C.UTF-8",
    }


def build_environment(site: Site) -> dict[str, str]:
    """What builds start with: caches of their own, and the network of the host."""
    environment = base_environment(site)
    environment.update(network_environment())
    environment.update(
        HOME=site.cache,
        XDG_CACHE_HOME=os.path.join(site.cache, "cache"),
        UV_CACHE_DIR=os.path.join(site.cache, "uv"),
        UV_LINK_MODE="copy",  # a hard link would let the cache's owner write into a release
        UV_NO_PROGRESS="1",
        UV_PROJECT_ENVIRONMENT=site.environment,
        VIRTUAL_ENV=site.environment,
        NPM_CONFIG_CACHE=os.path.join(site.cache, "npm"),
        NPM_CONFIG_UPDATE_NOTIFIER="false",
        CI="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    return environment


def as_account(site: Site, argv: list[str], *options: str) -> list[str]:
    """A command as the site's user, without the way to become another one."""
    ids = ["--reuid=%d" % account(site).pw_uid, "--regid=%d" % grp.getgrnam(site.group).gr_gid]
    return ["setpriv", *ids, "--init-groups", "--no-new-privs", *options, "--", *argv]


def kept_open(site: Site) -> list[int]:
    """What a child inherits: one that outlives a killed run keeps the lock, so that the next run does not meet it."""
    lock = _LOCKS.get(site.name)
    return [lock] if lock is not None else []


def run(
    site: Site,
    argv: list[str],
    cwd: str,
    environment: dict[str, str],
    as_root: bool = False,
    stdin: int | None = None,
    timeout: float | None = None,
) -> Result:
    """Run a command as the site's user (or root) and wait for it."""
    if not as_root:
        argv = as_account(site, argv)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o027,
            pass_fds=kept_open(site),
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            status = 124
        output.seek(0)
        return Result(status, output.read().decode("utf-8", "replace"))


def check(
    site: Site,
    step: str,
    argv: list[str],
    cwd: str,
    environment: dict[str, str],
    advice: str,
    as_root: bool = False,
    stdin: int | None = None,
) -> Result:
    """Run a command that must succeed."""
    result = run(site, argv, cwd, environment, as_root, stdin)
    if result.status:
        raise failed(site, step, argv, result, advice)
    return result


def failed(site: Site, step: str, argv: list[str], result: Result, advice: str) -> Exception:
    """The error for a command that failed."""
    if disk_is_full(result.text):
        advice = "the disk is full: free some space (`df -h`) and run this again. " + advice
    elif _UNREACHABLE.search(result.text):
        advice = "this host cannot reach that address: see its network, name server and proxy (/etc/environment)"
    shown = " ".join(shlex.quote(one) for one in argv)
    if len(shown) > 300:
        shown = shown[:300] + " ..."
    text = "`%s` failed with status %d; it said last:\n%s" % (shown, result.status, result.tail() or "    (nothing)")
    return site.error(step, text, advice)


def disk_is_full(text: str) -> bool:
    """Whether a command failed for want of space."""
    return os.strerror(errno.ENOSPC) in text or "No space left on device" in text or "Disk quota exceeded" in text


_LOCKS: dict[str, int] = {}


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Keep other runs away from a site, also the remains of one that was killed."""
    fd = os.open("/run/webstack-%s.lock" % site.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise site.error(
                        "lock",
                        "another deployment of this site has been running for %d minutes" % (LOCK_WAIT // 60),
                        "wait for it, or look for its processes with `ps -u %s`" % site.user,
                    ) from None
                time.sleep(0.5)
        _LOCKS[site.name] = fd
        yield
    finally:
        _LOCKS.pop(site.name, None)
        os.close(fd)
