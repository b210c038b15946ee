"""Calendar events of systemd as lines of cron."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.filter.cron import FilterModule
from ansible_collections.webstack.django.plugins.module_utils.calendar_cron import cron


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ("minutely", "* * * * *"),
        ("hourly", "0 * * * *"),
        ("Daily", "0 0 * * *"),
        ("weekly", "0 0 * * 1"),
        ("monthly", "0 0 1 * *"),
        ("quarterly", "0 0 1 1,4,7,10 *"),
        ("semiannually", "0 0 1 1,7 *"),
        ("yearly", "0 0 1 1 *"),
        ("annually", "0 0 1 1 *"),
        ("daily UTC", "0 0 * * *"),
        ("03:30", "30 3 * * *"),
        ("03:30:00", "30 3 * * *"),
        ("*:0/15", "0-59/15 * * * *"),
        ("*:*", "* * * * *"),
        ("*:05/10", "5-59/10 * * * *"),
        ("0/2:00", "0 0-23/2 * * *"),
        ("8..18:00,30", "0,30 8-18 * * *"),
        ("8..18/2:00", "0 8-18/2 * * *"),
        ("Mon..Fri 09:00", "0 9 * * 1-5"),
        ("Mon,Wed,sunday", "0 0 * * 1,3,7"),
        ("Sat..Sun,Wed 07:00", "0 7 * * 6-7,3"),
        ("Fri *-*-* 12:00", "0 12 * * 5"),
        ("Mon *-1,7-* 04:00", "0 4 * 1,7 1"),
        ("*-*-01 03:30", "30 3 1 * *"),
        ("12-24", "0 0 24 12 *"),
        ("*-*-1..7,15 00:05", "5 0 1-7,15 * *"),
        ("*-1/3-1", "0 0 1 1-12/3 *"),
        ("  Mon..Fri   *:0/15 ", "0-59/15 * * * 1-5"),
    ],
)
def test_what_cron_can_say(calendar: str, expected: str) -> None:
    assert cron(calendar) == expected


@pytest.mark.parametrize(
    ("calendar", "words"),
    [
        ("*:*:30", "second 30 cannot be given"),
        ("*:*:0/10", "second 0/10 cannot be given"),
        ("2027-01-01 00:00", "year 2027 cannot be given"),
        ("12:00 Europe/Berlin", "time zone Europe/Berlin"),
        ("*-*~01", "end of the month"),
        ("Mon *-*-1..7 03:00", "cron takes either"),
        ("Sat..Mon", "write two ranges"),
        ("25:00", "25 is no hour"),
        ("*-13-01", "13 is no month"),
        ("*-*-0", "0 is no day"),
        ("*:0/0", "repeats every 0"),
        ("*/2:00", "write 0/2"),
        ("Mon.. 10:00", "'' is no day of the week"),
        ("*:30..10", "ends before it begins"),
        ("*:x", "'x' is no minute"),
        ("noon", "'noon' is no day of the week"),
        ("03:30 daily", "'daily' is not understood"),
        ("@1700000000", "is not understood"),
        ("1:2:3:4", "is no time"),
        ("1-2-3-4", "is no date"),
        ("", "is not understood"),
        ("UTC", "is not understood"),
    ],
)
def test_what_it_cannot_is_said(calendar: str, words: str) -> None:
    with pytest.raises(ValueError, match="cannot be run by cron") as caught:
        cron(calendar)
    assert words in str(caught.value)
    assert repr(calendar) in str(caught.value)


def test_the_filter_says_the_same() -> None:
    run = FilterModule().filters()["cron"]
    assert run("03:30") == "30 3 * * *"
    with pytest.raises(AnsibleFilterError, match="year 2027"):
        run("2027-01-01")
