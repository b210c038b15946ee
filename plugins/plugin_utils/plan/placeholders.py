# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``${database.host}`` and friends in the ``env`` and ``files`` of a site.

Not Jinja, because Ansible would resolve that before the plan knows the values. ``$${`` is a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import nearest

_PLACEHOLDER = re.compile(r"\$(\$)?\{([^}\n]*)\}")

NAMES = (
    "site.name",
    "site.root",
    "site.shared",
    "site.release",
    "domain",
    "domains",
    "secret_key",
    "database.engine",
    "database.host",
    "database.port",
    "database.name",
    "database.user",
    "database.password",
    "database.url",
    "cache.url",
    "broker.url",
    "static.root",
    "static.url",
    "media.root",
    "media.url",
)


def unknown(text: str) -> list[str]:
    """What is wrong with the placeholders of a text, in words."""
    return [
        f"${{{name}}} is no value of the plan; {nearest(name, NAMES)} (Write $${{{name}}} for the text itself.)"
        for escaped, name in _PLACEHOLDER.findall(text)
        if not escaped and name not in NAMES
    ]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a text. Raises ``KeyError`` for one that is not in ``values``."""
    return _PLACEHOLDER.sub(lambda found: found.group(0)[1:] if found.group(1) else values[found.group(2)], text)
