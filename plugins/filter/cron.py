# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: cron
short_description: Turn a calendar event of systemd into the fields of a crontab line
version_added: 0.1.0
description:
  - Takes the syntax of C(OnCalendar), see systemd.time(7).
  - What cron cannot say is an error, for instance seconds, years, time zones, and a weekday together with a day of the month.
options:
  _input:
    description: The calendar event.
    type: str
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Every 15 minutes on working days
  ansible.builtin.debug:
    msg: "{{ 'Mon..Fri *:0/15' | webstack.django.cron }}" # 0-59/15 * * * 1-5
"""

RETURN = r"""
_value:
  description: Minute, hour, day of the month, month and day of the week.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.module_utils import calendar_cron


def cron(calendar: str) -> str:
    """The fields of a crontab line."""
    try:
        return calendar_cron.cron(calendar)
    except ValueError as error:
        raise AnsibleFilterError(f"webstack.django.cron: {error}") from None


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"cron": cron}
