# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The master key itself."""

from __future__ import annotations

DOCUMENTATION = r"""
name: master_key
short_description: The master key that all secrets are derived from
version_added: 0.1.0
author: webstack.django maintainers (@webstack)
description:
  - Returns the master key, from where P(webstack.django.secret#lookup) has it. Its only use is to hand it on to a server that converges
    itself (C(os_pull)); whoever has it has all secrets of the inventory.
options:
  _terms:
    description: None.
    required: false
"""

EXAMPLES = r"""
- name: A server that looks at itself
  ansible.builtin.include_role:
    name: webstack.django.os
  vars:
    os_pull:
      repository: https://example.com/you/ops.git
      inventory: inventories/production
      variables:
        webstack_master_key: "{{ lookup('webstack.django.master_key') }}"
"""

RETURN = r"""
_raw:
  description: The master key.
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
        """Read the key; it is made where there is none yet."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [secret.of_run(variables or {}, self._templar.template).decode()]
        except secret.SecretError as error:
            raise AnsibleLookupError(str(error)) from error
