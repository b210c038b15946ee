# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the page of a site on the controller and hand it to the web server."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils import maintenance
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import nearest, shown

_STATES = {
    "on": "on",
    "true": "on",
    "yes": "on",
    "off": "off",
    "false": "off",
    "no": "off",
}  # YAML 1.1 reads on as true


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={"site": {"type": "str"}, "state": {"type": "raw"}, "content": {"type": "str"}}
        )
        state = _STATES.get(str(args["state"]).lower())
        if not args["site"]:
            raise AnsibleActionFail("maintenance: site is missing; say which one, like -e site=blog")
        if state is None:
            given = "is missing" if args["state"] in (None, "") else f"must be on or off, not {shown(args['state'])}"
            raise AnsibleActionFail(f"maintenance of site {args['site']}: state {given}; like -e state=on")
        module_args = {"site": args["site"], "state": state}
        if state == "on":
            module_args["content"] = args["content"] or self._page(args["site"], variables)
        result: dict[str, Any] = self._execute_module(module_args=module_args, task_vars=variables)
        return result

    def _page(self, name: str, variables: dict[str, Any]) -> str:
        if "webstack_sites_given" not in variables:
            raise AnsibleActionFail(
                "maintenance: run webstack.django.plan with phase: inventory first, or give content"
            )
        sites = {str(site["name"]): site for site in variables["webstack_sites_given"]}
        if name not in sites:
            raise AnsibleActionFail(f"maintenance: django_sites has no site {name!r}; {nearest(name, sites)}")
        text, warning = maintenance.page(sites[name])
        if warning:
            self._display.warning(warning)
        return text
