# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drop-ins and copies of units that nobody declared, and sockets that nobody reaches."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import unit_files

OURS = "#\n# Ansible managed\n#\n# webstack.django.nginx: few rights\n[Service]\n"
KEPT = "# webstack.django: keep\n[Service]\nNice=5\n"


def found(root: Path, unit: str) -> list[str]:
    places = (str(root / "etc"), str(root / "run"))
    return [os.path.relpath(one, root) for one in unit_files.undeclared(unit, places, (str(root / "usr"),))]


def write(path: Path, text: str = "[Service]\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_names_of_a_unit() -> None:
    assert unit_files.names("nginx.service") == ["nginx.service"]
    assert unit_files.names("blog-night-mail.service") == [
        "blog-night-mail.service",
        "blog-.service",
        "blog-night-.service",
    ]
    assert unit_files.names("redis-server@blog-cache.service")[:2] == [
        "redis-server@blog-cache.service",
        "redis-server@.service",
    ]


def test_drop_ins(tmp_path: Path) -> None:
    write(tmp_path / "usr/nginx.service")
    write(tmp_path / "usr/nginx.service.d/packaged.conf")
    write(tmp_path / "etc/nginx.service.d/webstack.conf", OURS)
    write(tmp_path / "etc/service.d/all.conf")
    assert found(tmp_path, "nginx.service") == []
    write(tmp_path / "etc/nginx.service.d/override.conf", OURS)  # not by our name
    write(tmp_path / "etc/nginx.service.d/webstack-x.conf")  # not in our words
    write(tmp_path / "etc/nginx.service.d/mine.conf", KEPT)
    write(tmp_path / "run/nginx.service.d/50-CPUWeight.conf")
    (tmp_path / "etc/nginx.service.d/10-masked.conf").symlink_to("/dev/null")
    assert found(tmp_path, "nginx.service") == [
        "etc/nginx.service.d/10-masked.conf",
        "etc/nginx.service.d/override.conf",
        "etc/nginx.service.d/webstack-x.conf",
        "run/nginx.service.d/50-CPUWeight.conf",
    ]


def test_drop_ins_of_templates_and_beginnings(tmp_path: Path) -> None:
    write(tmp_path / "etc/redis-server@.service.d/x.conf")
    write(tmp_path / "etc/blog-.service.d/x.conf")
    assert found(tmp_path, "redis-server@blog.service") == ["etc/redis-server@.service.d/x.conf"]
    assert found(tmp_path, "blog-web.service") == ["etc/blog-.service.d/x.conf"]
    assert found(tmp_path, "shop-web.service") == []


def test_a_copy_of_a_packaged_unit(tmp_path: Path) -> None:
    write(tmp_path / "etc/mine.service")
    assert found(tmp_path, "mine.service") == []  # no package has it: the administrator's own
    write(tmp_path / "usr/nginx.service")
    write(tmp_path / "usr/redis-server@.service")
    write(tmp_path / "etc/nginx.service", "[Service]\nExecStart=/bin/evil\n")
    write(tmp_path / "etc/redis-server@blog.service", KEPT)
    assert found(tmp_path, "nginx.service") == ["etc/nginx.service"]
    assert found(tmp_path, "redis-server@blog.service") == []
    write(tmp_path / "etc/redis-server@blog.service", "[Service]\n")
    assert found(tmp_path, "redis-server@blog.service") == ["etc/redis-server@blog.service"]


def test_an_empty_directory_goes_as_well(tmp_path: Path) -> None:
    write(tmp_path / "etc/nginx.service.d/a.conf")
    write(tmp_path / "etc/nginx.service.d/b.conf")
    unit_files.remove(str(tmp_path / "etc/nginx.service.d/a.conf"), str(tmp_path / "kept"))
    assert (tmp_path / "etc/nginx.service.d").is_dir()
    unit_files.remove(str(tmp_path / "etc/nginx.service.d/b.conf"), str(tmp_path / "kept"))
    assert not (tmp_path / "etc/nginx.service.d").exists()


def test_a_socket_that_nobody_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a path of a socket is short
    path = tmp_path / "web.sock"
    shown = {"Listen": f"{path} (Stream)", "SocketMode": "0660"}
    assert unit_files.deaf(shown) == f"{path} is gone"
    path.write_text("")
    assert unit_files.deaf(shown) == f"{path} is gone"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("web.sock")
        path.chmod(0o660)
        assert unit_files.deaf(shown) == ""
        path.chmod(0o666)
        assert unit_files.deaf(shown) == f"{path} has mode 0666 instead of 0660"
    assert unit_files.deaf({"Listen": "127.0.0.1:8001 (Stream)"}) == ""
