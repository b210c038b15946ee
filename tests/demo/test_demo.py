"""`make demo` as a user runs it: over SSH, to a page in a browser."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible_mitogen
import pytest

ROOT = Path(__file__).parents[2]
NAME = "demo-test"
BROWSER = "demo-browser"
PASSWORD = "correct-horse-9"
SECONDS = 360  # to a page, from nothing


def run(*argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run something in the checkout; its output is shown when it fails."""
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, "WEBSTACK_DEMO_NAME": NAME, **more},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"{argv}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def demo(port: int) -> Iterator[str]:
    """What the first run printed."""
    started = time.monotonic()
    try:
        output = run("scripts/demo", WEBSTACK_DEMO_PORT=str(port)).stdout
        assert time.monotonic() - started < SECONDS
        yield output
    finally:
        run(sys.executable, "tools/bed.py", "down", NAME, BROWSER)


def browse(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What tests/client.py gets from this machine."""
    done = subprocess.run(
        [sys.executable, "tests/client.py"],
        cwd=ROOT,
        input=json.dumps(steps),
        text=True,
        capture_output=True,
        check=True,
    )
    return list(json.loads(done.stdout))


def server(command: str) -> str:
    return run(sys.executable, "tools/bed.py", "ssh", NAME, command).stdout


def log_in(port: int) -> str:
    """The administration's page after a log-in."""
    url = f"https://127.0.0.1:{port}/admin/login/?next=/admin/"
    _form, inside = browse({"url": url}, {"url": url, "form": {"username": "admin", "password": PASSWORD}})
    assert inside["status"] == 200
    return str(inside["body"])


def test_it_says_what_runs_and_where(demo: str, port: int) -> None:
    assert f"https://127.0.0.1:{port}/" in demo
    for unit in ("demo-web.service", "nginx.service", "postgresql@17-main.service", "redis-server@demo-cache.service"):
        assert re.search(rf"^  {re.escape(unit)} +running$", demo, re.MULTILINE), demo[-2000:]


def test_the_page_and_its_stylesheet(demo: str, port: int) -> None:
    (page,) = browse({"url": f"https://127.0.0.1:{port}/"})
    assert page["status"] == 200
    assert "Welcome to your new Wagtail site!" in page["body"]
    href = re.search(r'href="(/static/css/demo\.[0-9a-f]{12}\.css)"', page["body"])
    assert href, page["body"]
    (style,) = browse({"url": f"https://127.0.0.1:{port}{href.group(1)}"})
    assert style["status"] == 200
    assert style["headers"]["server"] == "nginx"
    assert style["headers"]["cache-control"] == "max-age=31536000, public, immutable"


def test_an_admin_logs_in_and_data_survives_a_restart_of_the_server(demo: str, port: int) -> None:
    run("scripts/demo-admin", DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    assert "Dashboard - Wagtail" in log_in(port)
    container = json.loads(run(sys.executable, "tools/bed.py", "up", NAME).stdout)["container"]
    run("docker", "restart", "--time=30", container)
    run(sys.executable, "tools/bed.py", "up", NAME)
    deadline = time.monotonic() + 60
    while browse({"url": f"https://127.0.0.1:{port}/"})[0]["status"] != 200:
        assert time.monotonic() < deadline, server("systemctl --failed; sudo journalctl -b -n 50")
        time.sleep(1)
    assert "Dashboard - Wagtail" in log_in(port)


def test_nothing_failed(demo: str) -> None:
    assert server("systemctl --failed --plain --no-legend").strip() == ""


def test_again_changes_nothing(demo: str, port: int) -> None:
    output = run("scripts/demo", WEBSTACK_DEMO_PORT=str(port)).stdout
    assert re.search(r"^demo +: ok=\d+ +changed=0 +unreachable=0 +failed=0", output, re.MULTILINE), output[-3000:]


def test_with_mitogen_it_is_the_same(demo: str, port: int) -> None:
    """Also a change of SSH, which is kept where sshd answers after it."""
    strategies = Path(ansible_mitogen.__file__).parent / "plugins/strategy"
    mitogen = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}
    given = {**mitogen, "ANSIBLE_HOST_KEY_CHECKING": "False", "WEBSTACK_DEMO_PORT": str(port)}
    again = "echo '# mine' | sudo tee -a /etc/nginx/nginx.conf /etc/ssh/sshd_config.d/00-webstack.conf"
    server(again)
    for changed in (2, 0):
        output = run("scripts/demo", **given).stdout
        assert re.search(rf"^demo +: ok=\d+ +changed={changed} +unreachable=0 +failed=0", output, re.MULTILINE), output[
            -3000:
        ]
    output = run("scripts/demo", WEBSTACK_DEMO_PORT=str(port)).stdout
    assert re.search(r"^demo +: ok=\d+ +changed=0 +unreachable=0 +failed=0", output, re.MULTILINE), output[-3000:]


def colours(png: bytes) -> int:
    """The number of different bytes of all pixels; a blank page has two or three."""
    position, packed = 8, b""
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        if png[position + 4 : position + 8] == b"IDAT":
            packed += png[position + 8 : position + 8 + length]
        position += length + 12
    return len(set(zlib.decompress(packed)))


def test_a_browser_shows_it(demo: str, tmp_path: Path) -> None:
    """Headless Chromium on a second machine draws the page, with its stylesheet and picture."""
    address = json.loads(run(sys.executable, "tools/bed.py", "up", NAME).stdout)["address"]
    browser = json.loads(run(sys.executable, "tools/bed.py", "up", BROWSER, "--scenario", NAME).stdout)["container"]
    install = (
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium"
    )
    run("docker", "exec", browser, "sh", "-c", install)
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-sync --no-first-run"
    common = f"chromium {flags} --ignore-certificate-errors --host-resolver-rules='MAP localhost {address}'"
    shot = f"{common} --window-size=1200,900 --virtual-time-budget=5000 --screenshot=/root/page.png https://localhost/"
    run("docker", "exec", browser, "sh", "-c", f"{shot}")
    run("docker", "cp", f"{browser}:/root/page.png", str(tmp_path / "page.png"))
    picture = (tmp_path / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert colours(picture) > 64
    seen = run("docker", "exec", browser, "sh", "-c", f"{common} --dump-dom https://localhost/").stdout
    assert "Welcome to your new Wagtail site!" in seen


def test_demo_down_leaves_nothing(demo: str) -> None:
    run(sys.executable, "tools/bed.py", "down", BROWSER)
    run("scripts/demo-down")
    names = subprocess.run(["docker", "ps", "-a", "--format", "{{.Names}}"], text=True, capture_output=True, check=True)
    assert [name for name in names.stdout.split() if name.endswith((NAME, BROWSER))] == []
