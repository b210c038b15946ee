# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as JUnit XML: a test suite for each server, in it a test for each of its roles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def suites(report: Mapping[str, Any]) -> str:
    """The document."""
    root = ElementTree.Element("testsuites", name="drift")
    for name, host in report["hosts"].items():
        _suite(root, name, host, str(report.get("time") or ""))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, name: str, host: Mapping[str, Any], time: str) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=name, timestamp=time.rstrip("Z"))
    problems = host["drift"] + host["errors"]
    roles = list(dict.fromkeys([*host["roles"], *(one["role"] for one in problems)])) or [""]
    failures = errors = 0
    for role in roles:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=role or "server")
        things = [one for one in host["drift"] if one["role"] == role]
        if things:
            count = f"{len(things)} thing{'s' if len(things) != 1 else ''}: {', '.join(one['thing'] for one in things)}"
            failure = ElementTree.SubElement(case, "failure", type="drift", message=_clean(count))
            failure.text = _clean("\n".join(_words(one) for one in things))
            failures += 1
        failed = [one["message"] for one in host["errors"] if one["role"] == role]
        if failed:
            error = ElementTree.SubElement(case, "error", type=host["state"], message=_clean(failed[0].split("\n")[0]))
            error.text = _clean("\n".join(failed))
            errors += 1
    for key, value in (("tests", len(roles)), ("failures", failures), ("errors", errors)):
        suite.set(key, str(value))


def _words(one: Mapping[str, Any]) -> str:
    since = f" (since {one['since']})" if one["since"] else ""
    site = f"site {one['site']}: " if one["site"] else ""
    return f"{site}{one['thing']}{since}\n  expected: {one['expected']}\n  found: {one['found']}"


def _clean(words: str) -> str:
    """Without what XML cannot hold."""
    return _CONTROL.sub("?", words)
