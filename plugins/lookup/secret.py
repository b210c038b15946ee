# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A secret derived from the master key
version_added: 0.1.0
description:
  - Derives secrets from one master key with HKDF-SHA256 (RFC 5869). Stateless, so the same on every controller that
    has the key; no secret is stored.
  - The master key comes from the environment variable E(WEBSTACK_MASTER_KEY), from the (vaulted) variable
    C(webstack_master_key), or from the file C(webstack.key) beside the inventory, which is made on the first run
    with mode 0600 and added to C(.gitignore).
  - Whoever loses the master key loses all secrets derived from it. Keep a copy of it where you keep your passwords.
options:
  _terms:
    description: Names of the secrets, for instance V(blog/database).
    required: true
    type: list
    elements: str
  version:
    description: Raise it to rotate the secret.
    type: int
    default: 1
  length:
    description: Characters of the secret for O(format=alnum), bytes for the other formats.
    type: int
    default: 32
  format:
    description: How the secret is written.
    type: str
    choices: [alnum, hex, urlsafe]
    default: alnum
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Show a password
  ansible.builtin.debug:
    msg: "{{ lookup('webstack.django.secret', 'reports/database', version=2) }}"
"""

RETURN = r"""
_raw:
  description: The secrets, in the order of the names.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.webstack.django.plugins.plugin_utils.secret import SecretError, derive, master_key


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        given = variables.get("webstack_master_key")
        try:
            master = master_key(
                list(variables.get("ansible_inventory_sources") or []),
                self._templar.template(given) if given else None,
            )
            return [
                derive(
                    master,
                    str(term),
                    int(self.get_option("version")),
                    int(self.get_option("length")),
                    str(self.get_option("format")),
                )
                for term in terms
            ]
        except SecretError as error:
            raise AnsibleLookupError(f"webstack.django.secret: {error}") from error
