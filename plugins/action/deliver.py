# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Test, commit and push working copies on the controller; no connection is opened."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils import checkout, deliver
from ansible_collections.webstack.django.plugins.plugin_utils.plan.inventory import Inventory, mistakes
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.selection import override, select
from ansible_collections.webstack.django.plugins.plugin_utils.source import SourceError


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={
                "steps": {"type": "list", "elements": "str", "choices": list(deliver.STEPS), "default": deliver.STEPS},
                "site": {"type": "raw", "default": []},
                "version": {"type": "raw", "default": ""},
                "message": {"type": "str", "default": ""},
            }
        )
        inventory = Inventory(variables, self._templar)
        sites = inventory.sites(list(variables.get("ansible_play_hosts_all") or variables["groups"]["all"]))
        selected, wrong = select(sites, args["site"])
        errors = inventory.errors + (wrong or override(selected, args["version"]))
        if errors:
            raise AnsibleActionFail(mistakes(errors))
        changed, text = False, []
        for step in [one for one in deliver.STEPS if one in args["steps"]]:
            for name, outcome in self._deliver(step, selected, args["message"]).items():
                changed = changed or outcome.changed
                text.append(f"site {name}: {outcome.text}")
                if outcome.changed or step == "tests":
                    self._display.display(f"  {text[-1]}")
        result.update(changed=changed, msg=text or ["no site has a working copy here"])
        return result

    def _deliver(self, step: str, selected: list[dict[str, Any]], message: str) -> dict[str, deliver.Outcome]:
        done: dict[str, deliver.Outcome] = {}
        tested = set()
        errors = []
        for site in selected:
            try:
                found = checkout.find(site)
                if found is None or (step == "tests" and (found.path, found.tests) in tested):
                    continue
                outcome = deliver.run(step, found, message, self._task.check_mode)
            except (checkout.CheckoutError, SourceError) as error:
                errors.append(Error(site["name"], error.key, str(error)))
                if step != "look":  # which says all that is wrong at once
                    break
                continue
            done[site["name"]] = outcome
            tested.add(() if outcome.warning else (found.path, found.tests))
            if outcome.warning:
                self._display.warning(f"site {site['name']}: {outcome.warning}")
        if errors:
            nothing = "no server was touched" if step == "push" else "nothing was pushed, no server was touched"
            raise AnsibleActionFail(f"{nothing}:\n" + "\n".join(f"  - {error}" for error in errors))
        return done
