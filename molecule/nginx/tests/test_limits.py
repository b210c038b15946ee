"""What nginx lets one address ask of applications, and what an outside auditor says of its configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

SITE = "--resolve pair.example.com:443:127.0.0.1 'https://pair.example.com"


def statuses(host, path, *options):
    """How often each status was answered to requests one after another."""
    told = f"curl -sk {' '.join(options)} {SITE}{path}' -o /dev/null -w '%{{http_code}}\\n'"
    return Counter(host.check_output(told).split())


def visitor(number):
    """Through a proxy that is believed."""
    return "--interface", "127.0.0.2", "-H", f"'X-Forwarded-For: 203.0.113.{number}'"


def test_one_address_cannot_ask_for_everything(host, playbook):
    assert playbook({"nginx_limit_requests": 0, "nginx_limit_connections": 0}, check=True).rc == 0
    run = playbook({"nginx_limit_requests": 5, "nginx_limit_connections": 10})
    assert run.rc == 0, run.output
    try:
        # Fifty at once and five a second.
        first = statuses(host, "/?[1-150]", *visitor(1))
        assert set(first) == {"200", "429"}
        assert first["200"] >= 50
        told = host.check_output(f"curl -sk -D - {' '.join(visitor(1))} {SITE}/?[1-60]'").replace("\r", "")
        assert "HTTP/2 429" in told
        assert "\nretry-after: 10\n" in told
        assert "\nx-content-type-options: nosniff\n" in told
        assert "Please try again in a moment." in told
        assert statuses(host, "/static/plain.css?[1-150]", *visitor(1)) == {"200": 150}  # files are not counted
        assert statuses(host, "/?[1-30]", *visitor(2)) == {"200": 30}  # nor are others behind the same proxy
        at_once = statuses(host, "/slow?[1-25]", "-Z --http1.1 --parallel-immediate --parallel-max 25", *visitor(3))
        assert set(at_once) == {"200", "429"}
        assert at_once["200"] >= 10
    finally:
        run = playbook()
    assert run.rc == 0, run.output


# What gixy says beside the truth, and why.
KNOWN = {
    # Open files are limited by systemd (LimitNOFILE of the unit), four times as many as connections.
    ("worker_rlimit_nofile_vs_connections", "events"),
    # `set` in an `if` in a location: nothing else is in there, and nginx runs it in the phase of rewriting.
    ("if_is_evil", "set"),
    # The server for unknown names gives no answer.
    ("hsts_header", "server_name _"),
}


def test_gixy_has_nothing_to_say(host, tmp_path):
    file = tmp_path / "nginx.conf"
    file.write_text(host.run("nginx -T").stdout)
    gixy = Path(sys.executable).with_name("gixy")
    done = subprocess.run([gixy, "-l", "-f", "json", file], capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)
    assert [one for one in found if not known(one)] == []


def known(one):
    return any(one["plugin"] == name and words in json.dumps(one) for name, words in KNOWN)
