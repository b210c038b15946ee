# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The answers of ``webstack.django.site_status`` as one table, and what in them needs attention."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

WIDTH = 100
LEAST_PERCENT, LEAST_MB = 10, 1024  # of a disk; the preflight of a deployment asks for as much as the second
LOCK_HOURS = 1
_LABEL = 13
_COLUMNS = ("process", "state", "pid", "since", "memory", "restarts")
_RIGHT = ("pid", "memory", "restarts")


def age(seconds: float) -> str:
    """``2 days``: the largest unit that counts to two or more."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} seconds"


def epoch(stamp: float | str | None) -> float | None:
    """Seconds since the epoch from such, or from ISO 8601; None for anything else."""
    if isinstance(stamp, (int, float)):
        return float(stamp)
    try:
        found = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def moment(stamp: float | str | None, now: float) -> str:
    """``2026-11-29 10:00 UTC (2 hours ago)``."""
    seconds = epoch(stamp)
    if seconds is None:
        return str(stamp or "-")
    return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(seconds))} UTC ({age(now - seconds)} ago)"


def size(megabytes: int | None) -> str:
    """``5.2 GB`` or ``80 MB``."""
    if megabytes is None:
        return "-"
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes} MB"


class Block:
    """The lines of one server in one block; those with something wrong are marked, and noted for the end."""

    def __init__(self, about: str, problems: list[str]) -> None:
        self.about = about
        self.problems = problems
        self.lines: list[str] = []

    def add(self, label: str, value: str, wrong: str | None = None) -> None:
        """One line. ``wrong`` is what to say of it at the end."""
        begin = f"{'!' if wrong else ' '}   {label:<{_LABEL}}"
        wrapped = textwrap.wrap(value, WIDTH - len(begin), break_on_hyphens=False) or [""]
        self.lines += [(begin + wrapped[0]).rstrip(), *(" " * len(begin) + line for line in wrapped[1:])]
        if wrong:
            self.problems.append(f"{self.about}: {wrong}")

    def table(self, rows: Sequence[tuple[Sequence[str], str | None]]) -> None:
        """Aligned rows, each with what is wrong with it."""
        if not rows:
            return
        cells = [_COLUMNS, *(row for row, _wrong in rows)]
        widths = [max(len(row[number]) for row in cells) for number in range(len(_COLUMNS))]
        for row, wrong in [(_COLUMNS, None), *rows]:
            shown = [
                cell.rjust(width) if name in _RIGHT else cell.ljust(width)
                for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
            ]
            self.lines.append(f"{'!' if wrong else ' '}   {'  '.join(shown)}".rstrip())
            if wrong:
                self.problems.append(f"{self.about}: {wrong}")


def _release(block: Block, site: Mapping[str, Any], now: float) -> None:
    found = site["release"]
    if not found:
        block.add("release", "none", "no release serves; deploy it")
    else:
        commit = f", commit {str(found['commit'])[:12]}" if found["commit"] else ""
        block.add("release", f"{found['id']}{commit}")
        block.add("since", moment(found["since"], now))
    before = site["previous"]
    if before:
        block.add("before", f"{before['id']}, {moment(before['since'], now)}")
    health = site["health"]
    if health:
        words = f"{health['status']} in {health['ms']} ms" if health["status"] else f"no answer: {health['error']}"
        block.add("health", f"{words} (GET {health['path']})", None if health["ok"] else f"health: {words}")
    block.add("size", size(site["size_mb"]))
    last = site["last_deploy"]
    if last:
        text = f"{last['what'] or 'deploy'} {last['result'] or '?'}, {moment(last['time'], now)}"
        text += f", by {last['who']}" * bool(last["who"]) + f", {last['seconds']} s" * bool(last["seconds"])
        failed = last["result"] not in ("ok", None)
        if failed:
            text += f", at {last['step']}" * bool(last["step"])
            text += f": {' '.join(str(last['message']).split())[:200]}" * bool(last["message"])
        block.add("last deploy", text, f"the last deployment: {last['result']}" if failed else None)
    lock = site["lock"]
    if lock:
        words = f"deployed just now by {lock['who'] or 'somebody'}, step {lock['step'] or '?'}"
        since = epoch(lock["since"])
        old = since is not None and now - since > LOCK_HOURS * 3600
        block.add("lock", f"{words}, {moment(since, now)}", "locked for a long time by a deployment" if old else None)


def _site(block: Block, site: Mapping[str, Any], now: float) -> None:
    """One site on one server."""
    if "release" in site:
        _release(block, site, now)
    certificate = site.get("certificate")
    if certificate:
        days = certificate["days"]
        text = certificate["error"] if days is None else f"{days} days left" if days >= 0 else f"ended {-days} days ago"
        if certificate["own"]:
            text += ", self-signed"
            what = "run the playbook webstack.django.site, which makes another one"
        else:
            what = "its renewal fails (journalctl -t webstack-tls), or one that was provided has to be replaced"
        what = what if days is not None else "run the playbook webstack.django.site"
        block.add("certificate", text, f"certificate: {text}; {what}" if certificate["ending"] else None)
    if site.get("maintenance"):
        block.add("maintenance", "on", "maintenance is on: visitors get status 503")
    if site.get("drained"):
        text = ", ".join(site["drained"])
        block.add("drained", text, f"{text} gets no requests; it will with the next deployment, if none is under way")
    if "backup" in site:
        saved = site["backup"]
        text = f"{saved['file']}, {size(saved['mb'])}, {moment(saved['time'], now)}" if saved else "none"
        block.add("last backup", text)
    rows = []
    for one in site["processes"]:
        cells = (
            one["process"],
            one["state"],
            str(one["pid"] or "-"),
            age(now - one["since"]) if one["since"] else "-",
            size(one["memory_mb"]),
            "-" if one["restarts"] is None else str(one["restarts"]),
        )
        rows.append((cells, None if one["ok"] else f"the process {one['process']} is {one['state']}"))
    if site.get("release") and not any(one["process"] == "web" for one in site["processes"]):
        rows.append((("web", "missing", "-", "-", "-", "-"), "the process web is not set up"))
    block.table(rows)


def _host(block: Block, host: Mapping[str, Any], tiers: Sequence[str]) -> None:
    block.add("serves", ", ".join(tiers) or "nothing")
    for disk in host["disks"]:
        free, total = disk["free_mb"], disk["total_mb"]
        text = f"{disk['path']} {size(free)} of {size(total)} free"
        low = free < LEAST_MB or free * 100 < total * LEAST_PERCENT
        block.add("disk", text, f"disk {text}" if low else None)
    ports = [
        f"{'' if one['public'] else 'local '}{one['port']} {'+'.join(one['programs']) or 'unknown'}"
        for one in host["ports"]
    ]
    block.add("ports", ", ".join(ports) or "none")
    down = [f"{one['name']} is {one['state']}" for one in host["services"] if not one["ok"]]
    block.add(
        "servers",
        ", ".join(one["name"] if one["ok"] else f"{one['name']} ({one['state']})" for one in host["services"])
        or "none",
        ", ".join(down) or None,
    )
    failed = ", ".join(host["failed_units"])
    block.add("failed units", failed or "none", f"failed units: {failed}" if failed else None)


def _differing(name: str, answers: Mapping[str, Mapping[str, Any]], problems: list[str]) -> None:
    """Servers of one site that serve different releases."""
    seen = {host: (one["sites"][name].get("release") or {}).get("id") for host, one in answers.items()}
    serving = {host: release for host, release in seen.items() if release}
    if len(set(serving.values())) > 1:
        shown = ", ".join(f"{host} {release}" for host, release in serving.items())
        problems.append(f"{name}: the servers serve different releases: {shown}")


def table(results: Mapping[str, Mapping[str, Any]], sites: Sequence[str]) -> str:
    """All of it as text. ``results`` are the registered results by server, ``sites`` the names in order."""
    text, _problems = _report(results, sites)
    return text


def _report(results: Mapping[str, Mapping[str, Any]], sites: Sequence[str]) -> tuple[str, list[str]]:
    problems: list[str] = []
    answers = {host: one for host, one in results.items() if "sites" in one}
    lines: list[str] = []
    for name in sites:
        lines += [name]
        for host, one in answers.items():
            found = one["sites"].get(name)
            if found is None or not (found["processes"] or set(one["tiers"]) & {"app", "web"} or found.get("backup")):
                continue
            block = Block(f"{host}: {name}", problems)
            _site(block, found, one["now"])
            lines += [f"  {host}", *block.lines]
        _differing(name, {host: one for host, one in answers.items() if name in one["sites"]}, problems)
        lines.append("")
    lines.append("servers")
    for host, one in results.items():
        block = Block(host, problems)
        if host in answers:
            _host(block, one["host"], one["tiers"])
        else:
            words = " ".join(str(one.get("msg") or "no answer").split())
            kind = "unreachable" if one.get("unreachable") else "cannot be asked"
            block.add(kind, words, kind)
        lines += [f"  {host}", *block.lines]
    lines.append("")
    lines += [f"! {problem}" for problem in problems]
    count = len(problems)
    lines.append("all well" if not count else f"{count} thing{'s need' if count > 1 else ' needs'} attention")
    return "\n".join(lines), problems


def as_json(results: Mapping[str, Mapping[str, Any]], sites: Sequence[str]) -> str:
    """The same as JSON, for programs."""
    _text, problems = _report(results, sites)
    hosts = {}
    for host, one in results.items():
        if "sites" in one:
            hosts[host] = {key: one[key] for key in ("now", "tiers", "sites", "host")}
        else:
            hosts[host] = {"unreachable": bool(one.get("unreachable")), "message": str(one.get("msg") or "")}
    return json.dumps({"servers": hosts, "attention": problems}, indent=2)
