# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calendar events of systemd.time(7) as the five fields of crontab(5)."""

from __future__ import annotations

import re
from typing import NamedTuple


class _Field(NamedTuple):
    name: str
    low: int
    high: int


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day", 1, 31), _Field("month", 1, 12)
_SHORT = {
    "minutely": "* * * * *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 1,4,7,10 *",
    "semiannually": "0 0 1 1,7 *",
    "yearly": "0 0 1 1 *",
    "annually": "0 0 1 1 *",
}
_WEEKDAYS = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)  # 1 to 7, as cron counts them
_PART = re.compile(r"(\d+)(?:\.\.(\d+))?(?:/(\d+))?")
_WEEKDAY_LIST = re.compile(r"[A-Za-z,.-]+")


def _number(text: str, field: _Field) -> int:
    value = int(text)
    if not field.low <= value <= field.high:
        raise ValueError(f"{text} is no {field.name}, which is from {field.low} to {field.high}")
    return value


def _component(text: str, field: _Field) -> str:
    """``*``, or a list of numbers, ranges and repetitions (``0/15``: every 15 from 0 on)."""
    parts = []
    for part in text.split(","):
        if part == "*":
            return "*"
        if part.startswith("*/"):  # which systemd refuses
            raise ValueError(f"{part!r} has no beginning: write {field.low}{part[1:]}")
        found = _PART.fullmatch(part)
        if not found:
            raise ValueError(f"{part!r} is no {field.name} that cron knows")
        first, last, step = found.groups()
        words = str(_number(first, field))
        if last is not None:
            if _number(last, field) < int(first):
                raise ValueError(f"{part!r} ends before it begins")
            words += f"-{int(last)}"
        if step is not None:
            if int(step) == 0:
                raise ValueError(f"{part!r} repeats every 0")
            words = (words if last is not None else f"{int(first)}-{field.high}") + f"/{int(step)}"
        parts.append(words)
    return ",".join(parts)


def _weekday(text: str) -> int:
    for number, name in enumerate(_WEEKDAYS, 1):
        if text.lower() in (name, name[:3]):
            return number
    raise ValueError(f"{text!r} is no day of the week")


def _weekdays(text: str) -> str:
    parts = []
    for part in text.strip(",").split(","):
        first, dots, last = part.replace("..", "-").partition("-")
        begin = _weekday(first)
        end = _weekday(last) if dots else begin
        if end < begin:
            raise ValueError(f"{part!r} goes over the end of the week: write two ranges")
        parts.append(f"{begin}-{end}" if end > begin else str(begin))
    return ",".join(parts)


def _date(text: str) -> tuple[str, str]:
    """Day and month."""
    words = text.split("-")
    if len(words) not in (2, 3):
        raise ValueError(f"{text!r} is no date like '*-*-01'")
    if len(words) == 3 and words[0] != "*":
        raise ValueError(f"the year {words[0]} cannot be given: cron knows no years")
    return _component(words[-1], _DAY), _component(words[-2], _MONTH)


def _time(text: str) -> tuple[str, str]:
    """Minute and hour."""
    words = text.split(":")
    if len(words) not in (2, 3):
        raise ValueError(f"{text!r} is no time like '03:30'")
    if len(words) == 3 and not re.fullmatch("0{1,2}", words[2]):
        raise ValueError(f"the second {words[2]} cannot be given: cron knows whole minutes only")
    return _component(words[1], _MINUTE), _component(words[0], _HOUR)


def _fields(text: str) -> str:
    words = text.split()
    if words and words[-1] == "UTC":  # of a server whose own time it is
        words.pop()
    if len(words) == 1 and words[0].lower() in _SHORT:
        return _SHORT[words[0].lower()]
    weekdays, (day, month), (minute, hour) = "*", ("*", "*"), ("0", "0")
    rest = list(words)
    if rest and _WEEKDAY_LIST.fullmatch(rest[0]) and rest[0][0].isalpha():
        weekdays = _weekdays(rest.pop(0))
    if rest and "-" in rest[0]:
        day, month = _date(rest.pop(0))
    if rest and ":" in rest[0]:
        minute, hour = _time(rest.pop(0))
    if rest and "/" in rest[0] and rest[0][0].isalpha():
        raise ValueError(f"the time zone {rest[0]} cannot be given: cron runs in the server's own")
    if rest or not words:
        raise ValueError(f"{' '.join(rest) or text!r} is not understood")
    if weekdays != "*" and day != "*":
        raise ValueError("a day of the week and a day of the month together cannot be given: cron takes either")
    return f"{minute} {hour} {day} {month} {weekdays}"


def cron(calendar: str) -> str:
    """The fields of a crontab line for an OnCalendar expression: ``Mon..Fri *:0/15`` is ``0-59/15 * * * 1-5``.

    Times are in the server's own time zone; ``UTC`` is accepted, for servers that run in it.
    Raises ``ValueError`` for what cron cannot say: seconds, years, other time zones, days counted from the end of
    the month (``~``), and a weekday together with a day of the month, of which cron takes either.
    """
    text = " ".join(calendar.split())
    try:
        if "~" in text:
            raise ValueError("days cannot be counted from the end of the month ('~')")
        return _fields(text)
    except ValueError as error:
        raise ValueError(
            f"the calendar {calendar!r} cannot be run by cron: {error}. Examples of what can: daily, 03:30, *:0/15, "
            "Mon..Fri 09:00, *-*-01 03:30"
        ) from None
