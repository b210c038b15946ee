# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute the plan on the controller; no connection is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils.plan import inspect, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World, broker
from ansible_collections.webstack.django.plugins.plugin_utils.plan.parts import unwanted
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, tiers
from ansible_collections.webstack.django.plugins.plugin_utils.secret import VARIABLE, SecretError, master_key

_IGNORED = ("webstack_ignore_variables", "webstack_ignore_groups")
_OF_A_SERVER = ("private_address", "webstack_memory_mb")
_COLLECTION = Path(__file__).resolve().parents[2]


def _label(site: Any, number: int) -> str:
    """The name of a site whose templates are not resolved yet."""
    name = site.get("name") if isinstance(site, Mapping) else None
    return str(name) if name and "{{" not in str(name) else f"number {number + 1}"


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
        hostvars, groups = variables["hostvars"], variables["groups"]
        hosts = list(variables.get("ansible_play_hosts_all") or groups["all"])
        names = sorted({name for host in hosts for name in hostvars[host]})
        errors: list[Error] = []
        ignored = {name: self._names(name, variables, errors) for name in _IGNORED}
        errors += validate.variables(names, _role_options(), ignored["webstack_ignore_variables"])
        errors += validate.group_names(groups, ignored["webstack_ignore_groups"])
        raw = [self._value("django_sites", hostvars, host, errors) for host in hosts]
        if all(one is None for one in raw):
            self._display.warning("django_sites is not defined: the servers are prepared, and no site is deployed")
        if any(one != raw[0] for one in raw):
            errors.append(Error("", "django_sites", "differs between servers; define it once, for the group all"))
        sites, found = validate.sites(raw[0] if raw else [])
        unresolved = {(error.site, error.key) for error in errors}
        # A place of the code that cannot be resolved is not missing.
        unresolved |= {(site, "repo") for site, key in unresolved if key in validate.SOURCES}
        errors += [error for error in found if (error.site, error.key) not in unresolved]
        for host in hosts:
            errors += validate.server(host, {name: self._value(name, hostvars, host, errors) for name in _OF_A_SERVER})
        wrong = {error.site for error in errors}
        sound = [site for site in sites if site["name"] not in (None, *wrong) and site["state"] == "present"]
        try:
            self._master(variables)
        except SecretError as error:
            errors.append(Error("", "webstack_master_key", str(error)))
        looked = []
        for site in sites:
            if site not in sound:
                looked.append(Site(site))
                continue
            complete, problems = inspect.look(site)
            errors += problems
            looked.append(complete)
        found_sites = [one for one in looked if one.given in sound]
        errors += inspect.together(found_sites)
        errors += validate.topology(groups, [{**one.given, "broker": broker(one)} for one in found_sites])
        self._fail(list(dict.fromkeys(errors)))
        return {"webstack_sites": [site.as_dict() for site in looked]}

    def _value(self, name: str, hostvars: Any, host: str, errors: list[Error]) -> Any:
        """A variable of a server; templates in it that cannot be resolved are mistakes, each at its place."""
        try:
            return hostvars[host].get(name)
        except AnsibleError:
            raw = hostvars.raw_get(host)
            templar = self._templar.copy_with_new_env(available_variables=raw)
            return self._resolved(templar, raw[name], "", name, errors)

    def _resolved(self, templar: Any, value: Any, site: str, key: str, errors: list[Error]) -> Any:
        if isinstance(value, Mapping):
            prefix = f"{key}." if key else ""
            return {one: self._resolved(templar, below, site, f"{prefix}{one}", errors) for one, below in value.items()}
        if isinstance(value, (list, tuple)) and key == "django_sites":
            return [self._resolved(templar, one, _label(one, number), "", errors) for number, one in enumerate(value)]
        if isinstance(value, (list, tuple)):
            return [self._resolved(templar, one, site, f"{key}[{number}]", errors) for number, one in enumerate(value)]
        try:
            return templar.template(value)
        except AnsibleError as error:
            words = " ".join(str(error).split())
            errors.append(Error(site, key or "django_sites", f"a template in it cannot be resolved: {words}"))
            return None

    def _names(self, name: str, variables: Mapping[str, Any], errors: list[Error]) -> list[str]:
        """A list of names."""
        value = self._value(name, variables["hostvars"], variables["inventory_hostname"], errors) or []
        if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
            return [str(one) for one in value]
        errors.append(Error("", name, "must be a list of names, like [nginx_of_mine]"))
        return []

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
        self._fail(validate.addresses(world))
        if name in world.tiers["app"]:
            self._fail(inspect.python_versions(world, hosts[name]))
        absent = unwanted(
            {key: self._value(key, hostvars, name, []) for key in hostvars[name] if key.endswith("_state")}
        )
        plan = for_host(name, world, absent)
        self._fail(
            [
                Error("", f"{part}_state", f"is absent for {name}, and a site needs {part} there; remove the line")
                for part in absent
                if part in plan["parts"]
            ]
        )
        return {"webstack_plan": plan}


def _host_of(name: str, variables: Mapping[str, Any]) -> Host:
    facts = variables.get("ansible_facts") or {}
    address = (
        variables.get("private_address")
        or (facts.get("default_ipv4") or {}).get("address")
        or (facts.get("default_ipv6") or {}).get("address")
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
        known=bool(facts or variables.get("private_address")),
        distribution=f"{facts.get('distribution', '')} {facts.get('distribution_major_version', '')}".strip(),
    )
