# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute the plan on the controller; no connection is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils import deliver, packing
from ansible_collections.webstack.django.plugins.plugin_utils.plan import certificates, inspect, pooler, roles, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World, broker
from ansible_collections.webstack.django.plugins.plugin_utils.plan.inventory import Inventory, mistakes
from ansible_collections.webstack.django.plugins.plugin_utils.plan.parts import unwanted
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.selection import override, select
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, tiers
from ansible_collections.webstack.django.plugins.plugin_utils.secret import SecretError, of_run

_TLS = "tls_email"
_OF_A_SERVER = ("private_address", "webstack_memory_mb")
_PHASES = ("inventory", "validate", "host", "deploy")


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
                "phase": {"type": "str", "choices": list(_PHASES), "required": True},
                "site": {"type": "raw", "default": []},
                "version": {"type": "raw", "default": ""},
                "steps": {"type": "list", "elements": "str", "choices": deliver.STEPS, "default": []},
                "message": {"type": "str", "default": ""},
            }
        )
        changed = False
        if args["phase"] == "host":
            facts = self._host(variables)
        elif args["phase"] == "inventory":
            facts = self._inventory(variables, args["site"])
        elif args["phase"] == "validate":
            facts = self._validate(variables, args["site"], args["version"])
        else:
            changed, facts = self._deploy(variables, args)
        # The plan holds passwords: it is not to be printed at any verbosity.
        result.update(changed=changed, ansible_facts=facts, _ansible_no_log=True)
        return result

    def _fail(self, errors: list[Error]) -> None:
        if errors:
            raise AnsibleActionFail(mistakes(errors))

    def _inventory(self, variables: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
        """What one server's own variables say, with no look at any code: the repositories may be down."""
        name, groups = variables["inventory_hostname"], variables["groups"]
        inventory = Inventory(variables, self._templar)
        sites = inventory.sites([name])
        selected, wrong = select(sites, wanted, absent=True)
        self._fail(inventory.errors + wrong)
        served = tiers(groups, list(groups["all"]), name)
        return {
            "webstack_sites_given": sites,
            "webstack_selected": [site["name"] for site in selected],
            "webstack_tiers": [tier for tier, members in served.items() if name in members],
        }

    def _deploy(self, variables: Mapping[str, Any], args: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        """The working copies, the plan, and where there is one server its slice, in one task."""
        changed = False

        def ready(selected: list[dict[str, Any]]) -> None:
            nonlocal changed
            steps, message = args["steps"], args["message"]
            changed = deliver.deliver(steps, selected, message, self._task.check_mode, self._display)

        with packing.beside(self, "webstack.django.release_apply", variables):
            facts = self._validate(variables, args["site"], args["version"], ready)
        if len(variables["groups"]["all"]) == 1:
            facts.update(self._host({**variables, **facts}))
        return changed, facts

    def _validate(
        self,
        variables: Mapping[str, Any],
        wanted: Any,
        version: Any,
        ready: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> dict[str, Any]:
        """Everything that can be said without a server; ``ready`` comes before any code is looked at."""
        groups = variables["groups"]
        hosts = list(variables.get("ansible_play_hosts_all") or groups["all"])
        inventory = Inventory(variables, self._templar)
        sites = inventory.sites(hosts)
        if not inventory.defined:
            self._display.warning("django_sites is not defined: the servers are prepared, and no site is deployed")
        inventory.options(hosts)
        errors = inventory.errors
        selected, wrong = select(sites, wanted)
        errors += wrong or override(selected, version)
        if ready:
            self._fail(errors)
            ready(selected)
        for host in hosts:
            errors += validate.server(host, {name: inventory.value(name, host) for name in (*_OF_A_SERVER, _TLS)})
        errors += self._certificates(sites)
        unsound = {error.site for error in errors}
        sound = [site for site in sites if site["name"] not in (None, *unsound) and site["state"] == "present"]
        try:
            of_run(variables, self._templar.template)
        except SecretError as error:
            errors.append(Error("", "webstack_master_key", str(error)))
        found = inspect.look_at_all(sound)
        errors += [problem for _site, problems in found for problem in problems]
        complete = {site.name: site for site, _problems in found}
        errors += inspect.together(list(complete.values()))
        errors += validate.topology(groups, [{**one.given, "broker": broker(one)} for one in complete.values()])
        self._fail(errors)
        return {
            "webstack_sites": [complete.get(site["name"], Site(site)).as_dict() for site in sites],
            "webstack_selected": [site["name"] for site in selected],
        }

    def _certificates(self, sites: list[dict[str, Any]]) -> list[Error]:
        """Read the certificates that are provided in place of their names, and look at them."""
        errors: list[Error] = []
        for site in sites:
            given = site["tls"]
            if (
                site["state"] != "present"
                or given["mode"] not in ("provided", "auto")
                or not (given["certificate"] and given["key"])
            ):
                continue
            for key in ("certificate", "key"):
                try:
                    given[key] = certificates.load(given[key], self._contents)
                except (AnsibleError, OSError, ValueError) as error:
                    words = "is not text" if isinstance(error, ValueError) else f"cannot be read: {error}"
                    errors.append(Error(site["name"], f"tls.{key}", f"the file {words}"))
            if not any(error.site == site["name"] for error in errors):
                found = certificates.examine(given["certificate"], given["key"], certificates.names(site))
                errors += [Error(site["name"], f"tls.{key}", text) for key, text in found]
        return errors

    def _contents(self, path: str) -> bytes:
        """A file on the controller, decrypted where it is vaulted."""
        real = self._loader.get_real_file(self._loader.path_dwim(path))
        try:
            return Path(real).read_bytes()
        finally:
            self._loader.cleanup_tmp_file(real)

    def _host(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The slice of one server, from its facts and the addresses of the others."""
        if "webstack_sites" not in variables:
            raise AnsibleActionFail("run webstack.django.plan with phase: validate first")
        name = variables["inventory_hostname"]
        hostvars = variables["hostvars"]
        everyone = list(variables["groups"]["all"])
        hosts = {one: _host_of(one, hostvars[one]) for one in everyone}
        sites = [Site.from_dict(one) for one in variables["webstack_sites"]]
        inventory = Inventory(variables, self._templar)
        served = tiers(variables["groups"], everyone, name)
        store = next(iter(served["database"]), name)
        world = World(
            sites,
            served,
            hosts,
            of_run(variables, self._templar.template),
            str(inventory.value(_TLS, name) or ""),
            _connections(hostvars[store]),
        )
        self._fail(validate.addresses(world))
        if name in served["web"]:
            self._fail([Error(*found) for found in certificates.topology(world, served["web"])])
        if name in world.tiers["app"]:
            self._fail(pooler.too_many(world, store))
            self._fail(inspect.python_versions(world, hosts[name]))
        absent = unwanted({key: inventory.value(key, name) for key in hostvars[name] if key.endswith("_state")})
        plan = for_host(name, world, absent)
        self._fail(
            [
                Error("", f"{part}_state", f"is absent for {name}, and a site needs {part} there; remove the line")
                for part in absent
                if part in plan["parts"]
            ]
        )
        if hosts[name].distribution:  # a deployment goes without facts, and sets up nothing
            self._fail(self._options(inventory, name, plan))
        return {"webstack_plan": plan}

    def _options(self, inventory: Inventory, name: str, plan: Mapping[str, Any]) -> list[Error]:
        """What is wrong with the options of the roles that the server is to have."""
        inventory.options([name], facts=True)
        everywhere = ["os", "sshd", *(["python"] if "app" in plan["tiers"] else [])]
        return inventory.errors or [
            error
            for role in (*everywhere, *plan["parts"])
            for error in roles.unmet(role, inventory.variables, plan, self._templar)
        ]


def _connections(variables: Mapping[str, Any]) -> int:
    """How many connections PostgreSQL takes on a server; what is no number, the role itself refuses."""
    settings = variables.get("postgresql_settings")
    given = settings.get("max_connections") if isinstance(settings, Mapping) else None
    number = str(given or variables.get("postgresql_max_connections") or "")
    return int(number) if number.isdecimal() else World.connections


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
