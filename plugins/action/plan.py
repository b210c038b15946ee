# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute the plan on the controller; no connection is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils.plan import inspect, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, tiers
from ansible_collections.webstack.django.plugins.plugin_utils.secret import VARIABLE, SecretError, master_key

_COLLECTION = Path(__file__).resolve().parents[2]


def _role_options() -> dict[str, list[str]]:
    """The options of every role of the collection."""
    found = {}
    for path in _COLLECTION.glob("roles/*/meta/argument_specs.yml"):
        specs = yaml.safe_load(path.read_text())["argument_specs"]
        found[path.parts[-3]] = [name for spec in specs.values() for name in spec.get("options", {})]
    return found


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={"phase": {"type": "str", "choices": ["validate", "host"], "required": True}}
        )
        facts = self._validate(variables) if args["phase"] == "validate" else self._host(variables)
        # The plan holds passwords: it is not to be printed at any verbosity.
        result.update(changed=False, ansible_facts=facts, _ansible_no_log=True)
        return result

    def _fail(self, errors: list[Error]) -> None:
        if errors:
            lines = "\n".join(f"  - {error}" for error in errors)
            count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
            raise AnsibleActionFail(f"{count} in the inventory; no server was touched:\n{lines}")

    def _validate(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that can be said without a server."""
        hostvars = variables["hostvars"]
        hosts = list(variables.get("ansible_play_hosts_all") or variables["groups"]["all"])
        ignored = variables.get("webstack_ignore_variables") or []
        names = sorted({name for host in hosts for name in hostvars[host]})
        errors = validate.variables(names, _role_options(), ignored)
        raw = [hostvars[host].get("django_sites") for host in hosts]
        if any(one != raw[0] for one in raw):
            errors.append(Error("", "django_sites", "differs between servers; define it once, for the group all"))
        sites, found = validate.sites(raw[0] if raw else [])
        errors += found
        wrong = {error.site for error in errors}
        sound = [site for site in sites if site["name"] not in wrong and site["state"] == "present"]
        errors += validate.topology(variables["groups"], sound)
        try:
            self._master(variables)
        except SecretError as error:
            errors.append(Error("", "webstack_master_key", str(error)))
        wrong = {error.site for error in errors}
        looked = []
        for site in sites:
            if site["name"] in wrong or site["state"] != "present":
                looked.append(Site(site))
                continue
            complete, problems = inspect.look(site)
            errors += problems
            looked.append(complete)
        self._fail(errors)
        return {"webstack_sites": [site.as_dict() for site in looked]}

    def _master(self, variables: Mapping[str, Any]) -> bytes:
        given = variables.get(VARIABLE)
        return master_key(
            [str(source) for source in variables.get("ansible_inventory_sources") or []],
            # Often a template that names a vaulted variable; its text alone would be a key that everybody knows.
            None if given is None else str(self._templar.template(given)),
        )

    def _host(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The slice of one server, from its facts and the addresses of the others."""
        if "webstack_sites" not in variables:
            raise AnsibleActionFail("run webstack.django.plan with phase: validate first")
        name = variables["inventory_hostname"]
        hostvars = variables["hostvars"]
        everyone = list(variables["groups"]["all"])
        hosts = {one: _host_of(one, hostvars[one]) for one in everyone}
        sites = [Site.from_dict(one) for one in variables["webstack_sites"]]
        world = World(sites, tiers(variables["groups"], everyone, name), hosts, self._master(variables))
        if name in world.tiers["app"]:
            self._fail(inspect.python_versions(world, hosts[name]))
        return {"webstack_plan": for_host(name, world)}


def _host_of(name: str, variables: Mapping[str, Any]) -> Host:
    facts = variables.get("ansible_facts") or {}
    address = (
        variables.get("private_address")
        or (facts.get("default_ipv4") or {}).get("address")
        or variables.get("ansible_host")
        or name
    )
    memory = variables.get("webstack_memory_mb") or facts.get("memtotal_mb") or 1024
    return Host(
        name=name,
        address=str(address),
        memory_mb=int(memory),
        cpus=int(facts.get("processor_vcpus") or 1),
        python=".".join(str(facts.get("python_version") or "").split(".")[:2]),
        distribution=f"{facts.get('distribution', '')} {facts.get('distribution_major_version', '')}".strip(),
    )
