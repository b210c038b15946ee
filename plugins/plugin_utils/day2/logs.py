# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The answers of ``webstack.django.site_logs`` as one text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any


class UnknownProcess(ValueError):
    """No server has the process; the message is for the user."""


def text(results: Mapping[str, Mapping[str, Any]], site: str, process: str | None = None) -> str:
    """Server by server and process by process; each line says whose it is where there are several.

    Raises:
        UnknownProcess: a process was asked for that no server has.
    """
    answers = {host: one for host, one in results.items() if "logs" in one}
    known: list[str] = list(dict.fromkeys(name for one in answers.values() for name in one["known"]))
    if process and answers and process not in known:
        raise UnknownProcess(_unknown(site, process, known))
    found = [(host, log["process"], log["lines"]) for host, one in answers.items() for log in one["logs"]]
    servers = {host for host, _process, _lines in found}
    names = {name for _host, name, _lines in found}
    width = max((len(_prefix(host, name, servers, names)) for host, name, _lines in found), default=0)
    lines = []
    for host, name, written in found:
        prefix = _prefix(host, name, servers, names)
        begin = f"{prefix:<{width}} | " if width else ""
        lines += [begin + line for line in written or ["(no lines)"]]
    for host, one in results.items():
        if host not in answers:
            lines.append(f"! {host}: {' '.join(str(one.get('msg') or 'no answer').split())}")
    return "\n".join(lines) or f"site {site}: there are no logs; no server has anything of it"


def _prefix(host: str, name: str, servers: set[str], names: set[str]) -> str:
    return " ".join([host] * (len(servers) > 1) + [name] * (len(names) > 1))


def _unknown(site: str, process: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(process, known, 1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return f"site {site}: process: {process!r} is none of {', '.join(known) or '(the site has none)'}{guess}"
