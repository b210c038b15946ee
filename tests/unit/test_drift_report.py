# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report, in all its formats."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.drift import files, html, junit, prometheus
from ansible_collections.webstack.django.plugins.plugin_utils.drift.report import Report, status
from ansible_collections.webstack.django.plugins.plugin_utils.drift.text import text

# The report --------------------------------------------------------------------------------------


def entry(thing: str, expected: str = "1", found: str = "2", since: str | None = None) -> dict[str, Any]:
    return {"thing": thing, "expected": expected, "found": found, "since": since, "site": None}


def drifted(*clean: str) -> Report:
    """One server with one edited file, and these without any difference."""
    report = Report(check=True)
    for name in clean:
        report.host(name, "nginx")
    conf = entry("/etc/nginx/webstack.d/blog.conf", "listen 443;", "listen 444;", "2026-11-30T03:12:45Z")
    report.host("web2", "os")
    report.differs("web2", "nginx", "Write the configuration", [conf])
    return report


def lines(report: Report, **size: int) -> list[str]:
    return [line for _state, line in text(report.as_dict(), **size)]


def test_the_json_names_all_there_is_to_know() -> None:
    report = drifted("web1")
    report.sites = {"blog"}
    data = report.as_dict()
    assert json.loads(files.as_json(data)) == {
        "check": True,
        "hosts": {
            "web1": {"state": "clean", "drift": [], "errors": [], "roles": ["nginx"]},
            "web2": {
                "state": "drift",
                "drift": [
                    {
                        "role": "nginx",
                        "site": "blog",
                        "thing": "/etc/nginx/webstack.d/blog.conf",
                        "expected": "listen 443;",
                        "found": "listen 444;",
                        "since": "2026-11-30T03:12:45Z",
                        "task": "Write the configuration",
                    }
                ],
                "errors": [],
                "roles": ["os", "nginx"],
            },
        },
        "clean": 1,
        "drift": 1,
        "failed": 0,
        "unreachable": 0,
    }
    assert list(data["hosts"]["web2"]["drift"][0]) == ["role", "site", "thing", "expected", "found", "since", "task"]


def test_a_clean_server_is_one_line() -> None:
    report = Report(check=True)
    report.host("web1")
    assert lines(report) == ["web1  clean", "1 server: 1 clean; nothing was changed"]


def test_a_drifted_server_for_people() -> None:
    report = drifted("app10")
    report.sites = {"blog"}
    assert lines(report) == [
        "app10  clean",
        "web2   1 thing differs",
        "  nginx (blog)  /etc/nginx/webstack.d/blog.conf, since 2026-11-30 03:12 UTC",
        "      expected  listen 443;",
        "      found     listen 444;",
        "2 servers: 1 clean, 1 drifted; nothing was changed",
    ]


def test_20_servers_with_one_drifted_fit_a_screen() -> None:
    names = [f"web{number}" for number in range(10, 29)]
    shown = lines(drifted(*names), width=80, height=24)
    assert len(shown) < 24  # and the prompt
    assert max(len(line) for line in shown) <= 80
    assert len([line for line in shown if line.endswith("  clean")]) == 19
    assert [line for line in shown if "blog.conf" in line] == [
        "  nginx  /etc/nginx/webstack.d/blog.conf  listen 444;, not listen 443;"
    ]
    assert "      expected  listen 443;" in lines(drifted(*names), width=80, height=50)


def test_each_thing_once_in_the_order_of_the_tasks() -> None:
    report = Report()
    report.differs("h", "redis", "t1", [entry("b"), entry("a"), entry("/f", "x")])
    report.differs("h", "redis", "t2", [entry("b"), entry("b", found="3"), entry("/f", "y")])
    report.differs("h", "nginx", "t3", [entry("/f", "y")])
    things = [(one["role"], one["thing"], one["found"]) for one in report.as_dict()["hosts"]["h"]["drift"]]
    assert things == [
        ("redis", "b", "2"),
        ("redis", "a", "2"),
        ("redis", "/f", "2"),
        ("redis", "b", "3"),
        ("nginx", "/f", "2"),
    ]


@pytest.mark.parametrize(
    ("thing", "site"),
    [
        ("/srv/blog/current", "blog"),
        ("/srv/blog-api/current", "blog-api"),
        ("/etc/nginx/webstack.d/blog.conf", "blog"),
        ("blog-web.service", "blog"),
        ("blog-api-web.service", "blog-api"),
        ("redis-server@blog-cache.service", "blog"),
        ("/etc/redis/redis-blog-cache.conf", "blog"),
        ("role blog: password", "blog"),
        ("account 'blog'@'10.0.0.2'", "blog"),
        ("/etc/apache2/sites-available/webstack-blog.conf", "blog"),
        ("/etc/myblog.conf", None),
        ("/etc/blogger/x", None),
        ("nginx.service", None),
    ],
)
def test_the_site_of_a_thing(thing: str, site: str | None) -> None:
    report = Report()
    report.sites = {"blog", "blog-api"}
    assert report.site_of(thing) == site


def test_states_and_exit_status() -> None:
    report = Report(check=True)
    assert status(report.as_dict()) == 0
    report.host("clean")
    assert status(report.as_dict()) == 0
    report.unreachable("gone", "no route to host")
    assert status(report.as_dict()) == 4
    report.differs("drifted", "os", "t", [entry("x")])
    assert status(report.as_dict()) == 6
    report.failed("failed", "redis", "Ask", "no answer\nat all")
    report.differs("failed", "os", "t", [entry("x")])
    assert status(report.as_dict()) == 7
    assert lines(report) == [
        "clean    clean",
        "drifted  1 thing differs",
        "  os  x",
        "      expected  1",
        "      found     2",
        "failed   not looked at to the end (redis: no answer); 1 thing differs",
        "  os  x",
        "      expected  1",
        "      found     2",
        "gone     unreachable (no route to host)",
        "4 servers: 1 clean, 1 drifted, 1 not looked at to the end, 1 unreachable; nothing was changed",
    ]


def test_failures_alone_are_1() -> None:
    report = Report()
    report.failed("a", "", "t", "x")
    assert status(report.as_dict()) == 1


def test_a_server_that_the_run_did_not_get_to_is_not_clean() -> None:
    report = Report(check=True)
    for name in ("a", "b", "c"):
        report.host(name)
    report.failed("b", "", "t", "broken")
    report.ended(["a"])
    states = {name: one["state"] for name, one in report.as_dict()["hosts"].items()}
    assert states == {"a": "clean", "b": "failed", "c": "failed"}
    assert report.as_dict()["hosts"]["c"]["errors"][0]["message"] == "the run ended before all of it was looked at"


def test_what_was_rescued_has_not_failed() -> None:
    report = Report()
    report.failed("a", "", "t", "x")
    report.failed("b", "", "t", "x")
    report.forgive({"b": 1})
    assert [one["state"] for one in report.as_dict()["hosts"].values()] == ["clean", "failed"]


def test_secrets_are_in_no_format(tmp_path: Path) -> None:
    report = Report(check=True)
    report.differs("h", "r", "hunter-22", [entry("hunter-22", "a hunter-22", "hunter-22 b")])
    report.failed("h", "r", "t", "it is hunter-22")
    report.secrets.learn({"password": "hunter-22"})
    data = report.as_dict()
    for words in (files.as_json(data), html.page(data), junit.suites(data), repr(text(data))):
        assert "hunter" not in words
        assert "********" in words
    assert "hunter" not in prometheus.metrics({**data, "time": "2026-11-30T07:00:00Z"})


# JUnit, HTML -------------------------------------------------------------------------------------


def test_junit_has_a_suite_for_each_server_and_a_test_for_each_role() -> None:
    report = drifted("web1")
    report.failed("web3", "redis", "Ask", "no <answer>\x00")
    report.unreachable("web4", "gone")
    root = ElementTree.fromstring(junit.suites(report.as_dict()).encode())
    assert root.attrib == {"name": "drift", "tests": "5", "failures": "1", "errors": "2"}
    found = [
        (suite.get("name"), case.get("name"), [(one.tag, one.get("type"), one.get("message")) for one in case])
        for suite in root
        for case in suite
    ]
    assert found == [
        ("web1", "nginx", []),
        ("web2", "os", []),
        ("web2", "nginx", [("failure", "drift", "1 thing: /etc/nginx/webstack.d/blog.conf")]),
        ("web3", "redis", [("error", "failed", "no <answer>?")]),
        ("web4", "server", [("error", "unreachable", "gone")]),
    ]
    failure = root.find(".//failure")
    assert failure is not None and failure.text == (
        "/etc/nginx/webstack.d/blog.conf (since 2026-11-30T03:12:45Z)\n  expected: listen 443;\n  found: listen 444;"
    )


class Page(HTMLParser):
    """The texts of a page, its tags, and what it refers to."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta",):
            self.open.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append(data.strip())


def test_the_page_needs_nothing_else_and_shows_what_a_file_holds_as_text() -> None:
    report = drifted("web1")
    report.differs("web2", "os", "t", [entry("/etc/motd", "hello", "<script>alert(1)</script> & more")])
    report.failed("web3", "", "t", "first <b>\nsecond")
    words = html.page({**report.as_dict(), "time": "2026-11-30T07:00:00Z"})
    page = Page(words)
    assert page.open == [] and page.links == [] and "url(" not in words and "<script" not in words
    assert page.texts == [
        *("Drift of the servers", "Drift of the servers"),
        *("3 servers: 1 clean, 1 drifted, 1 not looked at to the end; nothing was changed.", "2026-11-30 07:00 UTC"),
        *("web1", "clean", "web2", "2 things differ"),
        *("Role", "Site", "What", "Expected", "Found", "Since"),
        *("nginx", "/etc/nginx/webstack.d/blog.conf", "listen 443;", "listen 444;", "2026-11-30 03:12 UTC"),
        *("os", "/etc/motd", "hello", "<script>alert(1)</script> & more"),
        *("web3", "not looked at to the end (first <b>)", "first <b>\nsecond"),
    ]


# Prometheus --------------------------------------------------------------------------------------


def samples(words: str) -> dict[str, str]:
    """The lines that are no comments: what is before the value, and the value."""
    found = dict(line.rsplit(" ", 1) for line in words.splitlines() if not line.startswith("#"))
    assert len(found) == len([line for line in words.splitlines() if not line.startswith("#")])  # no series twice
    return found


def test_the_metrics_have_each_role_and_each_state() -> None:
    report = drifted("web1")
    words = prometheus.metrics({**report.as_dict(), "time": "2026-11-30T07:00:00Z"})
    assert words == (
        "# HELP webstack_drift_things Things that differ from what is declared, or that the run has put right, by server and role.\n"
        "# TYPE webstack_drift_things gauge\n"
        'webstack_drift_things{host="web1",role="nginx"} 0\n'
        'webstack_drift_things{host="web2",role="os"} 0\n'
        'webstack_drift_things{host="web2",role="nginx"} 1\n'
        "# HELP webstack_drift_state 1 for the state that the server is in, 0 for the others.\n"
        "# TYPE webstack_drift_state gauge\n"
        'webstack_drift_state{host="web1",state="clean"} 1\n'
        'webstack_drift_state{host="web1",state="drift"} 0\n'
        'webstack_drift_state{host="web1",state="failed"} 0\n'
        'webstack_drift_state{host="web1",state="unreachable"} 0\n'
        'webstack_drift_state{host="web2",state="clean"} 0\n'
        'webstack_drift_state{host="web2",state="drift"} 1\n'
        'webstack_drift_state{host="web2",state="failed"} 0\n'
        'webstack_drift_state{host="web2",state="unreachable"} 0\n'
        "# HELP webstack_drift_check 1 if the run only looked, 0 if it has put right what differed.\n"
        "# TYPE webstack_drift_check gauge\n"
        "webstack_drift_check 1\n"
        "# HELP webstack_drift_last_run_exit_code Sum of 2 (something differs), 4 (a server cannot be reached), 1 (not looked at to the end).\n"
        "# TYPE webstack_drift_last_run_exit_code gauge\n"
        "webstack_drift_last_run_exit_code 2\n"
        "# HELP webstack_drift_last_run_timestamp_seconds When the last run ended, in seconds since 1970.\n"
        "# TYPE webstack_drift_last_run_timestamp_seconds gauge\n"
        "webstack_drift_last_run_timestamp_seconds 1796022000\n"
    )


def test_what_a_converge_has_put_right_is_no_error_in_the_metrics() -> None:
    report = drifted("web1")
    report.check = False
    report.failed("web3", "redis", "Ask", "no answer")
    found = samples(prometheus.metrics({**report.as_dict(), "time": "2026-11-30T07:00:00Z"}))
    assert found["webstack_drift_check"] == "0"
    assert found["webstack_drift_last_run_exit_code"] == "1"
    assert found['webstack_drift_things{host="web2",role="nginx"}'] == "1"
    assert found['webstack_drift_state{host="web3",state="failed"}'] == "1"


def test_names_are_escaped_in_the_metrics() -> None:
    report = Report(check=True)
    report.host('a"b\\c\nd', "os")
    found = samples(prometheus.metrics({**report.as_dict(), "time": "2026-11-30T07:00:00Z"}))
    assert found['webstack_drift_things{host="a\\"b\\\\c\\nd",role="os"}'] == "0"


# Files -------------------------------------------------------------------------------------------


def test_the_mode_of_a_file_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(str(tmp_path / "a.prom"), "one", 0o644)
        files.write(str(tmp_path / "a.json"), "one")
    finally:
        os.umask(before)
    assert (tmp_path / "a.prom").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "new" / "drift.json"
    files.write(str(target), "one")
    with target.open() as before:
        files.write(str(target), "two")
        assert before.read() == "one"
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["drift.json"]
