# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is of a site on a host, told by the files of the roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import site_parts
from ansible_collections.webstack.django.plugins.module_utils.site_parts import Process, Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (site_parts.UNITS, site_parts.PROGRAMS, site_parts.LAUNCHERS, site_parts.CRON):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def unit(root: Path, name: str, site: str, *kinds: str) -> None:
    directory = root / site_parts.UNITS
    text = f"# webstack.django.systemd: {name}\n[Service]\nWorkingDirectory=/srv/{site}/current/project\n"
    (directory / f"{name}.service").write_text(text)
    for kind in kinds:
        (directory / f"{name}.{kind}").write_text("")


def program(root: Path, name: str, site: str, directory: str = site_parts.PROGRAMS, text: str = "") -> None:
    suffix = ".conf" if directory == site_parts.PROGRAMS else ""
    (root / directory / f"webstack-{name}{suffix}").write_text(text)
    (root / site_parts.LAUNCHERS / name).write_text(f"exec /srv/{site}/current/run/x\n")


def test_units(root: Path) -> None:
    unit(root, "blog-worker", "blog")
    unit(root, "blog-web", "blog", "socket")
    unit(root, "blog-night", "blog", "timer")
    unit(root, "blog-api-web", "blog-api")  # of another site
    (root / site_parts.UNITS / "blog-old.service").write_text("WorkingDirectory=/srv/blog/\n")  # of somebody else
    assert site_parts.processes("blog", str(root)) == [
        Process("web", "systemd", "blog-web"),
        Process("night", "systemd", "blog-night", timed=True),
        Process("worker", "systemd", "blog-worker"),
    ]
    assert site_parts.processes("blog-api", str(root)) == [Process("web", "systemd", "blog-api-web")]


def test_programs_and_what_cron_starts(root: Path) -> None:
    program(root, "blog-web", "blog")
    program(root, "blog-night", "blog", site_parts.CRON)
    program(root, "blog-api-web", "blog-api")
    assert site_parts.processes("blog", str(root)) == [
        Process("web", "supervisord", "blog-web"),
        Process("night", "cron", "blog-night", timed=True),
    ]


def test_caches(root: Path) -> None:
    for server in ("redis", "valkey"):
        (root / "etc" / server).mkdir()
    (root / "etc/redis/redis-blog-cache.conf").write_text("# webstack.django.redis\n")
    (root / "etc/redis/redis-blog-broker.conf").write_text("# mine\n")
    (root / site_parts.UNITS / "memcached@blog-broker.service").write_text("# webstack.django.memcached\n")
    assert site_parts.stores("blog", str(root)) == [
        Store(
            "cache",
            "redis",
            "redis-server@blog-cache.service",
            (
                "/etc/systemd/system/redis-server@blog-cache.service.d",
                "/etc/redis/redis-blog-cache.acl",
                "/etc/redis/redis-blog-cache.conf",
            ),
        ),
        Store(
            "broker",
            "memcached",
            "memcached@blog-broker.service",
            ("/etc/systemd/system/memcached@blog-broker.service",),
        ),
    ]


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        (f"{site_parts.UNITS}/blog-web.socket", "[Socket]\nListenStream=/run/webstack/blog/web.sock\n", ("socket", "/run/webstack/blog/web.sock")),
        (f"{site_parts.UNITS}/blog-web.socket", "ListenStream=10.0.0.2:8001\n", ("address", "10.0.0.2:8001")),
        (f"{site_parts.PROGRAMS}/webstack-blog-web.conf", "socket=unix:///run/webstack/blog/web.sock\n", ("socket", "/run/webstack/blog/web.sock")),
        (f"{site_parts.PROGRAMS}/webstack-blog-web.conf", "socket=tcp://10.0.0.2:8001\n", ("address", "10.0.0.2:8001")),
    ],
)  # fmt: skip
def test_where_the_web_process_listens(root: Path, path: str, text: str, found: tuple[str, str]) -> None:
    assert site_parts.endpoint("blog", str(root)) == {"socket": None, "address": None}
    (root / path).write_text(text)
    assert site_parts.endpoint("blog", str(root)) == {"socket": None, "address": None, found[0]: found[1]}
