# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: mask
short_description: Hide the secrets of a plan
version_added: 0.1.0
description: Replaces passwords, keys and every value of an environment or a file by stars, at any depth.
options:
  _input:
    description: The plan.
    type: dict
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Print the plan
  ansible.builtin.debug:
    msg: "{{ webstack_plan | webstack.django.mask }}"
"""

RETURN = r"""
_value:
  description: The same plan without secrets.
  type: dict
"""

import re
from typing import Any

STARS = "********"
_SECRET = ("password", "secret_key", "content", "key_pem")
# The password of a URL; of http also a name alone, which is a token.
_URL = re.compile(r"(\w+://[^:/@\s]*:|https?://)[^@/\s]+@")


def mask(value: Any) -> Any:
    """Replace the secrets of a plan."""
    if isinstance(value, dict):
        return {
            key: STARS if (key in _SECRET and one) else dict.fromkeys(one, STARS) if key == "env" else mask(one)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [mask(one) for one in value]
    return _URL.sub(rf"\1{STARS}@", value) if isinstance(value, str) else value


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"mask": mask}
