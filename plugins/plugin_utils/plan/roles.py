# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles ask of their options, asked on the controller: all of it before the first server is changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError  # type: ignore[import-untyped]
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # type: ignore[import-untyped]
from ansible.module_utils.errors import UnsupportedError  # type: ignore[import-untyped]
from ansible.template import trust_as_template  # type: ignore[import-untyped]
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where PyYAML has it
_ROLES = Path(__file__).resolve().parents[3] / "roles"


@cache
def specs() -> dict[str, dict[str, Any]]:
    """The options of every role, with their types."""
    found = {}
    for path in _ROLES.glob("*/meta/argument_specs.yml"):
        entries = _load(path)["argument_specs"]
        found[path.parts[-3]] = {
            name: one for spec in entries.values() for name, one in spec.get("options", {}).items()
        }
    return found


def mistyped(name: str, value: Any) -> str:
    """What is wrong with the value of an option, in words; nothing where it is right or the option of no role."""
    spec = next((options[name] for options in specs().values() if name in options), None)
    if spec is None:
        return ""
    result = ArgumentSpecValidator({name: spec}).validate({name: value}, validate_role_argument_spec=True)
    known = [f"unknown: {error}" if isinstance(error, UnsupportedError) else str(error) for error in result.errors]
    return "; ".join(known)


def unmet(role: str, variables: Mapping[str, Any], plan: Mapping[str, Any], templar: Any) -> list[Error]:
    """What the role's own preflight says, which would come when other roles have changed the server.

    Args:
        role: a role of the collection.
        variables: those of the server, facts included.
        plan: what the plan hands to the roles, by the names of their options.
        templar: Ansible's, of the task.
    """
    path = _ROLES / role / "tasks/preflight.yml"
    if not path.exists():
        return []
    known = {**_variables(role, "defaults"), **variables, **_variables(role, "vars")}
    known.update({name: value for name, value in plan.items() if name in specs()[role]})
    asker = templar.copy_with_new_env(available_variables=known)
    errors = []
    for task in _load(path):
        asked = task["ansible.builtin.assert"]
        conditions = asked["that"] if isinstance(asked["that"], list) else [asked["that"]]
        try:
            if not all(asker.evaluate_conditional(trust_as_template(one)) for one in conditions):
                errors.append(Error("", role, str(asker.template(trust_as_template(asked["fail_msg"])))))
        except AnsibleError as error:
            errors.append(Error("", role, " ".join(str(error).split())))
    return errors


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)


def _variables(role: str, kind: str) -> dict[str, Any]:
    """The variables of a role, with templates in them."""
    place = _ROLES / role / kind
    files = sorted((place / "main").glob("*.yml")) or [place / "main.yml"]
    return {name: _trusted(value) for file in files if file.exists() for name, value in (_load(file) or {}).items()}


def _trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _trusted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_trusted(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value
