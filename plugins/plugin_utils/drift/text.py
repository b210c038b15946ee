# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report for a terminal: a line for each server, and below it what differs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LINES = 4  # of one value
_ENDS = {"drift": "drifted", "failed": "not looked at to the end", "unreachable": "unreachable"}

Line = tuple[str, str]  # the state of the server, for its colour, and the words


def text(report: Mapping[str, Any], width: int = 0, height: int = 0) -> list[Line]:
    """The whole report.

    Args:
        report: of ``Report.as_dict``.
        width: columns of the terminal. 0: whole lines.
        height: its lines; where the report has more of them, each thing gets one line only. 0: no such limit.
    """
    whole = list(_lines(report, width, compact=False))
    return list(_lines(report, width, compact=True)) if height and len(whole) >= height else whole


def _lines(report: Mapping[str, Any], width: int, compact: bool) -> Iterator[Line]:
    hosts = report["hosts"]
    longest = max((len(name) for name in hosts), default=0)
    for name, host in hosts.items():
        yield host["state"], _cut(f"{name:<{longest}}  {summary(report, host)}", width)
        things = _compact(host["drift"], width) if compact else _detailed(host["drift"], width)
        for line in things:
            yield "drift", line
    yield "", total(report)


def summary(report: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    """The state of one server, in words."""
    count = len(host["drift"])
    verb = ("differs" if count == 1 else "differ") if report["check"] else "differed"
    words = [f"{count} thing{'s' if count != 1 else ''} {verb}"] if count else []
    if host["state"] in ("failed", "unreachable"):
        problem = next((one for one in host["errors"] if one["message"]), None)
        said = problem["message"].split("\n")[0] if problem else ""
        role = f"{problem['role']}: " if problem and problem["role"] else ""
        words.insert(0, _ENDS[host["state"]] + (f" ({role}{said})" if said else ""))
    return "; ".join(words) or "clean"


def total(report: Mapping[str, Any]) -> str:
    """The last line."""
    count = len(report["hosts"])
    parts = [f"{report['clean']} clean"]
    parts += [f"{report[state]} {words}" for state, words in _ENDS.items() if report[state]]
    rest = "; nothing was changed" if report["check"] else ""
    return f"{count} server{'s' if count != 1 else ''}: {', '.join(parts)}{rest}"


def when(since: str | None) -> str:
    """``2026-11-30T03:12:45Z`` for people."""
    return f"{since[:10]} {since[11:16]} UTC" if since else ""


def _whose(one: Mapping[str, Any]) -> str:
    return " ".join(part for part in (one["role"], f"({one['site']})" if one["site"] else "") if part)


def _detailed(things: list[Mapping[str, Any]], width: int) -> Iterator[str]:
    roles = max((len(_whose(one)) for one in things), default=0)
    for one in things:
        since = f", since {when(one['since'])}" if one["since"] else ""
        yield f"  {_whose(one):<{roles}}  {one['thing']}{since}"
        for label, key in (("expected", "expected"), ("found   ", "found")):
            values = [value.strip() for value in one[key].split("\n")]
            shown = values[:_LINES] + [f"(and {len(values) - _LINES} more lines)"] * (len(values) > _LINES)
            for number, value in enumerate(shown):
                yield _cut(f"      {label if not number else ' ' * 8}  {value}", width)


def _compact(things: list[Mapping[str, Any]], width: int) -> Iterator[str]:
    roles = max((len(_whose(one)) for one in things), default=0)
    longest = max((len(one["thing"]) for one in things), default=0)
    for one in things:
        words = [" | ".join(value.strip() for value in one[key].split("\n")) for key in ("expected", "found")]
        left = f"  {_whose(one):<{roles}}  {one['thing']:<{min(longest, width // 2 or longest)}}"
        yield _cut(f"{left}  {words[1]}, not {words[0]}", width)


def _cut(line: str, width: int) -> str:
    return line if not width or len(line) <= width else line[: width - 3] + "..."
