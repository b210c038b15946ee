#!/usr/bin/env python3
"""Measure how fast a site is served, beside the same project on the defaults of the distribution.

    make setup && .venv/bin/python benchmarks/serve.py [--seconds 8] [--rounds 3] [--write]

Two servers of the test bed get the project of `make demo`: one from site.yml, one from serve-defaults.sh. A third one asks them
with wrk, over HTTPS, 16 connections that stay open, with the header of a browser that takes compressed answers. They are
asked in turn, never both at the same time; the median of the rounds counts. Then the site's pages are kept (`page_cache`), and
the page of those who are not logged in is asked for again.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from servers import Server  # noqa: E402

PAGE = ROOT / "docs/benchmarks.md"
MARK = "<!-- table: made by benchmarks/serve.py -->"
HOST = "demo.example.com"
CONNECTIONS = 16
LEAST = {"anonymous": 1.0, "anonymous, kept": 3.0, "logged in": 1.3, "static file": 1.0}
# A visitor with a session, as the log-in page would make one; printed is the cookie.
LOG_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
user = get_user_model().objects.create_superuser("ada", "ada@example.com", "x" * 20)
session = import_module(settings.SESSION_ENGINE).SessionStore()
session.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0]})
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print("cookie", settings.SESSION_COOKIE_NAME + "=" + session.session_key)
"""
DEFAULTS = "cd /srv/demo && DJANGO_SETTINGS_MODULE=demo.settings.production venv/bin/python manage.py"


class Measured(NamedTuple):
    """What wrk says."""

    rate: float  # requests per second
    slow: float  # milliseconds that 99 of 100 took at most
    size: float  # bytes of an answer, with its header


class Site(NamedTuple):
    """A server that is asked, and what for."""

    address: str
    cookie: str
    static: str  # path of a file that the page names


def number(text: str) -> float:
    """A number of wrk with its unit, in milliseconds or bytes."""
    value, unit = re.fullmatch(r"([\d.]+)(\w*)", text).groups()  # type: ignore[union-attr]
    scale = {"us": 0.001, "ms": 1, "s": 1000, "m": 60000, "": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
    return float(value) * scale[unit]


def wrk(load: Server, site: Site, path: str, seconds: int, cookie: str = "") -> Measured:
    """Ask for one thing for some seconds."""
    headers = ["Accept-Encoding: gzip, deflate, br", *([f"Cookie: {cookie}"] if cookie else [])]
    words = " ".join(f"-H '{one}'" for one in headers)
    load.run(f"echo '{site.address} {HOST}' > /etc/hosts")
    said = load.run(f"wrk -t1 -c{CONNECTIONS} -d{seconds}s --timeout 20s --latency {words} https://{HOST}{path}")
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"not every answer was a good one:\n{said}")
    total, unit = re.search(r"requests in [\d.]+\w+, ([\d.]+)(\w+) read", said).groups()  # type: ignore[union-attr]
    count = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec: +([\d.]+)", said)[1])  # type: ignore[index]
    return Measured(rate, number(re.search(r"99% +(\S+)", said)[1]), number(total + unit) / count)  # type: ignore[index]


def prepare(server: Server, shell: str) -> Site:
    """Log somebody in, and look what the page needs."""
    cookie = re.search(r"^cookie (\S+)$", server.run(f"{shell} shell", LOG_IN), re.MULTILINE)
    curl = f"curl -sk --resolve {HOST}:443:127.0.0.1 https://{HOST}"
    page = server.run(f"{curl}/")
    files = re.findall(r'(?:href|src)="(/static/[^"]+\.css)"', page)
    if not cookie or not files:
        sys.exit(f"{server.name}: nobody could log in, or the page names no file:\n{page[:2000]}")
    return Site(server.facts["address"], cookie[1], max(files, key=lambda one: len(server.run(curl + one))))


def compare(
    load: Server, what: dict[str, tuple[str, str]], sites: list[Site], seconds: int, rounds: int
) -> dict[str, list[Measured]]:
    """Medians of each thing on each site, asked in turn."""
    found = {}
    for name, (path, cookie) in what.items():
        runs: list[list[Measured]] = [[] for _site in sites]
        for site in sites:
            wrk(load, site, path.format(site), 2, cookie.format(site))  # everything is loaded
        for _round in range(rounds):
            for site, of in zip(sites, runs):
                of.append(wrk(load, site, path.format(site), seconds, cookie.format(site)))
        found[name] = [Measured(*(statistics.median(column) for column in zip(*of))) for of in runs]
        print(name, *(f"{one.rate:.0f}/s {one.slow:.1f} ms {one.size:.0f} B" for one in found[name]), flush=True)
    return found


def converge(server: Server, kept: bool) -> None:
    """site.yml; one client sends everything here, so it is not to be limited."""
    site = {"name": "demo", "domains": [HOST], "path": str(ROOT / ".demo/project"), "page_cache": {"enabled": kept}}
    run = server.converge([site], nginx_limit_requests=0, nginx_limit_connections=0)
    if run.rc:
        sys.exit(run.end)


def measure(seconds: int, rounds: int) -> dict[str, list[Measured]]:
    """Everything, on servers that are removed again."""
    with tempfile.TemporaryDirectory() as directory:
        names = ("bench-serve", "bench-defaults", "bench-load")
        ours, plain, load = servers = [Server(one, "debian13", "bench-serve", Path(directory)) for one in names]
        try:
            for one in servers:
                one.up()
                one.run("apt-get -qq update; apt-get -qq -y install --no-install-recommends curl wrk >/dev/null 2>&1")
            copy_project(plain)
            plain.run("sh /root/serve-defaults.sh >&2")
            converge(ours, kept=False)
            sites = [prepare(plain, DEFAULTS), prepare(ours, "webstack-manage demo")]
            what = {"anonymous": ("/", ""), "logged in": ("/", "{0.cookie}"), "static file": ("{0.static}", "")}
            found = compare(load, what, sites, seconds, rounds)
            converge(ours, kept=True)
            return {**found, **compare(load, {"anonymous, kept": ("/", "")}, sites, seconds, rounds)}
        finally:
            for one in servers:
                one.down()


def copy_project(server: Server) -> None:
    """The project and the script."""
    server.run("mkdir -p /srv/demo")
    for source, target in (
        (".demo/project/.", "/srv/demo"),
        ("benchmarks/serve-defaults.sh", "/root/serve-defaults.sh"),
    ):
        subprocess.run(
            ["docker", "cp", f"{ROOT}/{source}", f"{server.facts['container']}:{target}"],
            check=True,
            capture_output=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=int, default=8, choices=range(1, 21), help="of each measurement", metavar="1-20"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    subprocess.run([ROOT / "scripts/demo-project"], check=True)
    found = measure(given.seconds, given.rounds)
    table = (
        "| | requests/s | defaults | ratio | wanted | p99 (ms) | defaults | bytes | defaults |\n" + "|---" * 9 + "|\n"
    )
    missed = []
    for name, least in LEAST.items():
        plain, ours = found[name]
        ratio = ours.rate / plain.rate
        missed += [name] if ratio < least else []
        table += f"| {name} | {ours.rate:.0f} | {plain.rate:.0f} | {ratio:.1f} | {least} | {ours.slow:.0f} | {plain.slow:.0f} |"
        table += f" {ours.size:.0f} | {plain.size:.0f} |\n"
    print("\n" + table)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n{MARK}{rest.partition(MARK)[2]}")
    if missed:
        sys.exit(f"less than wanted: {', '.join(missed)}")


if __name__ == "__main__":
    main()
