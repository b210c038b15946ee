# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read ``django_sites`` and what surrounds it from an inventory, without a server and without a look at any code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError  # type: ignore[import-untyped]
from ansible_collections.webstack.django.plugins.plugin_utils.plan import roles, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error

_IGNORED = ("webstack_ignore_variables", "webstack_ignore_groups")


def mistakes(errors: Sequence[Error]) -> str:
    """The message that lists all mistakes."""
    found = list(dict.fromkeys(errors))
    lines = "\n".join(f"  - {error}" for error in found)
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return f"{count} in the inventory; no server was touched:\n{lines}"


def _label(site: Any, number: int) -> str:
    """The name of a site whose templates are not resolved yet."""
    name = site.get("name") if isinstance(site, Mapping) else None
    return str(name) if name and "{{" not in str(name) else f"number {number + 1}"


class Inventory:
    """The variables of an inventory; mistakes in them are gathered in ``errors``.

    Args:
        variables: those of the task, with ``hostvars`` and ``groups``.
        templar: Ansible's, of the task.
    """

    def __init__(self, variables: Mapping[str, Any], templar: Any) -> None:
        self.variables = variables
        self.templar = templar
        self.errors: list[Error] = []
        self.defined = True  # whether any server has django_sites

    def sites(self, hosts: Sequence[str]) -> list[dict[str, Any]]:
        """The sites with their defaults, as these servers have them; names of variables and groups are checked too."""
        hostvars, groups = self.variables["hostvars"], self.variables["groups"]
        names = sorted({name for host in hosts for name in hostvars[host]})
        ignored = {name: self._names(name) for name in _IGNORED}
        self.errors += validate.variables(names, roles.specs(), ignored["webstack_ignore_variables"])
        self.errors += validate.group_names(groups, ignored["webstack_ignore_groups"])
        raw = [self.value("django_sites", host) for host in hosts]
        self.defined = any(one is not None for one in raw)
        if any(one != raw[0] for one in raw):
            self.errors.append(Error("", "django_sites", "differs between servers; define it once, for the group all"))
        sites, found = validate.sites(raw[0] if raw else [])
        unresolved = {(error.site, error.key) for error in self.errors}
        # A place of the code that cannot be resolved is not missing.
        unresolved |= {(site, "repo") for site, key in unresolved if key in validate.SOURCES}
        self.errors += [error for error in found if (error.site, error.key) not in unresolved]
        return sites

    def options(self, hosts: Sequence[str], facts: bool = False) -> None:
        """Check the values of the options of roles; those that need facts are left while there are none."""
        known = {name for options in roles.specs().values() for name in options}
        for host in hosts:
            given = self.variables["hostvars"][host]
            for name in sorted(known.intersection(given)):
                try:
                    wrong = roles.mistyped(name, self.templar.template(given[name]))
                except AnsibleError as error:
                    wrong = f"a template in it cannot be resolved: {' '.join(str(error).split())}" if facts else ""
                if wrong:
                    self.errors.append(Error("", name, wrong))

    def value(self, name: str, host: str) -> Any:
        """A variable of a server; templates in it that cannot be resolved are mistakes, each at its place."""
        hostvars = self.variables["hostvars"]
        try:
            return hostvars[host].get(name)
        except AnsibleError:
            raw = hostvars.raw_get(host)
            templar = self.templar.copy_with_new_env(available_variables=raw)
            return self._resolved(templar, raw[name], "", name)

    def _resolved(self, templar: Any, value: Any, site: str, key: str) -> Any:
        if isinstance(value, Mapping):
            prefix = f"{key}." if key else ""
            return {one: self._resolved(templar, below, site, f"{prefix}{one}") for one, below in value.items()}
        if isinstance(value, (list, tuple)) and key == "django_sites":
            return [self._resolved(templar, one, _label(one, number), "") for number, one in enumerate(value)]
        if isinstance(value, (list, tuple)):
            return [self._resolved(templar, one, site, f"{key}[{number}]") for number, one in enumerate(value)]
        try:
            return templar.template(value)
        except AnsibleError as error:
            words = " ".join(str(error).split())
            self.errors.append(Error(site, key or "django_sites", f"a template in it cannot be resolved: {words}"))
            return None

    def _names(self, name: str) -> list[str]:
        """A list of names."""
        value = self.value(name, self.variables["inventory_hostname"]) or []
        if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
            return [str(one) for one in value]
        self.errors.append(Error("", name, "must be a list of names, like [nginx_of_mine]"))
        return []
