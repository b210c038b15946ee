# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The master key of a run, as people write it in an inventory."""

from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.webstack.django.plugins.plugin_utils import secret


def test_a_template_is_resolved_and_never_the_key_itself() -> None:
    variables = {"vault_key": "k" * 40, "webstack_master_key": trust_as_template("{{ vault_key }}")}
    templar = Templar(DataLoader(), variables=variables)
    assert secret.of_run(variables, templar.template) == b"k" * 40
