# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets derived from one master key."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A secret derived from the master key
version_added: 0.1.0
author: webstack.django maintainers (@webstack)
description:
  - Derives a secret from one master key with HKDF-SHA256 (RFC 5869), by name and version. Nothing is stored, every
    controller that has the master key derives the same secrets.
  - The master key comes from the environment variable E(WEBSTACK_MASTER_KEY), else from the variable
    C(webstack_master_key), which belongs in a vault, else from the file C(webstack.key) beside the inventory. That file
    is made when it is missing, also in check mode, with mode 0600 and ignored by git.
  - A secret is rotated by raising its version.
options:
  _terms:
    description: Names of secrets, for instance V(blog/database).
    required: true
    type: list
    elements: str
  version:
    description: Raise it to get a new secret under the same name.
    type: int
    default: 1
  length:
    description: Number of characters, from 8 to 2048. The format V(django) has at least 50.
    type: int
    default: 32
  format:
    description:
      - The alphabet. V(alnum) is letters and digits, safe in URLs, SQL and shells. V(hex) is hexadecimal digits.
      - V(urlsafe) is letters, digits, C(-) and C(_), with a letter or digit first. V(django) is the same with at least
        50 characters, for C(SECRET_KEY).
    type: str
    choices: [urlsafe, alnum, hex, django]
    default: alnum
"""

EXAMPLES = r"""
- name: Show nothing, but use the password of a database
  ansible.builtin.command: /usr/local/bin/needs-a-password
  environment:
    PGPASSWORD: "{{ lookup('webstack.django.secret', 'blog/database') }}"

- name: The same secret after it was rotated once
  ansible.builtin.set_fact:
    blog_secret_key: "{{ lookup('webstack.django.secret', 'blog/secret_key', version=2, format='django') }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The secrets, in the order of their names.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.webstack.django.plugins.plugin_utils import secret


class LookupModule(LookupBase):
    """See the documentation above."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Derive a secret for each name."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            master = secret.of_run(variables or {}, self._templar.template)
            return [
                secret.derive(
                    master,
                    str(term),
                    version=self.get_option("version"),
                    length=self.get_option("length"),
                    form=self.get_option("format"),
                )
                for term in terms
            ]
        except secret.SecretError as error:
            raise AnsibleLookupError(str(error)) from error
