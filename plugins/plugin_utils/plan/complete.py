# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check values against the table of options, and fill in its defaults."""

from __future__ import annotations

import datetime
import re
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.checks import line, relative
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import (
    PROCESS_NAME,
    Error,
    Option,
    kind_of,
    nearest,
    shown,
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
    "dict": "a mapping",
    "scalar": "text, a number, true or false",
}


def _wrong_type(option: Option, value: Any, key: str) -> str:
    # Variables and contents of files may be secret.
    what = "" if option.kind in ("scalar", "map") or key.endswith((".content", "tls.key")) else f" {shown(value)}"
    return f"must be {_KINDS.get(option.kind, option.kind)}, not {kind_of(value)}{what}"


def complete(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> Any:
    """Check one value and fill in the defaults below it; mistakes are added to ``errors``."""
    if value is None:
        if option.required or not option.nullable:
            errors.append(Error(site, key, "is empty; give it a value or remove the line"))
        value = option.default
        if value is None:
            return None
    if option.kind == "dict":
        return _complete_dict(option.keys, value, site, key, errors)
    if option.kind == "list" and option.items is not None:
        return _complete_list(option.items, value, site, key, errors)
    if option.kind == "map":
        return _complete_map(option, value, site, key, errors)
    return _complete_scalar(option, value, site, key, errors)


def _complete_dict(keys: dict[str, Option], value: Any, site: str, key: str, errors: list[Error]) -> dict[str, Any]:
    prefix = f"{key}." if key else ""
    if not isinstance(value, dict):
        errors.append(Error(site, key, f"must be a mapping, not {kind_of(value)} {shown(value)}"))
        return {
            name: None if option.required else complete(option, option.default, "", "", [])
            for name, option in keys.items()
        }
    for name in value:
        if name not in keys:
            errors.append(Error(site, f"{prefix}{name}", f"unknown key; {nearest(str(name), keys)}"))
    result: dict[str, Any] = {}
    for name, option in keys.items():
        if option.required and name not in value:
            errors.append(Error(site, f"{prefix}{name}", "is missing; it is required"))
            result[name] = None
        else:
            result[name] = complete(option, value.get(name, option.default), site, f"{prefix}{name}", errors)
    return result


def _complete_list(items: Option, value: Any, site: str, key: str, errors: list[Error]) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        hint = f"; write [{value}]" if isinstance(value, (str, int)) and value not in ("", True, False) else ""
        errors.append(Error(site, key, f"must be a list, not {kind_of(value)} {shown(value)}{hint}"))
        return []
    result = []
    for number, one in enumerate(value):
        if one is None:
            errors.append(Error(site, f"{key}[{number}]", "is empty; give it a value or remove the line"))
        else:
            result.append(complete(items, one, site, f"{key}[{number}]", errors))
    return result if len(result) == len(value) else []  # later messages count the items as the user does


def _complete_map(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> dict[str, Any]:
    if not isinstance(value, dict) or option.items is None:
        errors.append(Error(site, key, _wrong_type(option, value, key)))
        return {}
    if option.items.kind == "process":
        return _complete_processes(option.items, value, site, key, errors)
    result: dict[str, Any] = {}
    for name, one in value.items():
        if option.names:
            problem = option.names(name) if isinstance(name, str) else "is no text; put quotes around it"
            if problem:
                errors.append(Error(site, f"{key}.{name}", problem))
                continue
        elif not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            hint = (
                "use letters, digits and '_'"
                if isinstance(name, str)
                else "YAML reads it as no text, so put quotes around it"
            )
            errors.append(Error(site, f"{key}.{name}", f"is not a name of an environment variable; {hint}"))
            continue
        result[name] = complete(option.items, one, site, f"{key}.{name}", errors)
    return result


def _complete_scalar(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> Any:
    if option.kind == "command":
        return _complete_command(value, site, key, errors)
    if option.kind == "process":
        return _complete_process(option, value, site, key, errors)
    if option.kind == "scalar":
        if isinstance(value, bool):
            value = "True" if value else "False"
        elif isinstance(value, (int, float)):
            value = str(value)
    wanted: dict[str, type] = {"str": str, "int": int, "bool": bool, "scalar": str}
    expected = wanted.get(option.kind)
    if (
        option.kind in ("str", "scalar")
        and isinstance(value, (int, float, datetime.date))
        and not isinstance(value, bool)
    ):
        # Not with quotes around what YAML made of it: 1.10 has become 1.1, and 0640 416.
        what = f"YAML reads it as {kind_of(value)} {shown(value)}"
        errors.append(Error(site, key, f"must be text, and {what}; put quotes around what you wrote"))
        return None
    if expected and (not isinstance(value, expected) or (expected is int and isinstance(value, bool))):
        errors.append(Error(site, key, _wrong_type(option, value, key)))
        return None
    if isinstance(value, str) and not isinstance(option.default, bool):
        value = str(value)  # without Ansible's tags
    problem = _problem(option, value)
    if problem:
        errors.append(Error(site, key, problem))
        return None
    return value


def _problem(option: Option, value: Any) -> str:
    if option.choices and not any(
        value is choice or (value == choice and not isinstance(choice, bool)) for choice in option.choices
    ):
        return f"{shown(value)} is not one of {', '.join(str(choice) for choice in option.choices)}"
    if isinstance(value, int) and not isinstance(value, bool):
        if option.low is not None and value < option.low:
            return f"{value} is too small; at least {option.low}"
        if option.high is not None and value > option.high:
            return f"{value} is too large; at most {option.high}"
    return option.check(value) if option.check and isinstance(value, str) else ""


def _complete_command(value: Any, site: str, key: str, errors: list[Error]) -> dict[str, str]:
    if isinstance(value, str):
        value = {"run": value}
    elif not isinstance(value, dict):
        text = f"must be a command line, or a mapping with run and dir, not {kind_of(value)} {shown(value)}"
        errors.append(Error(site, key, text))
        return {"run": "", "dir": ""}
    keys = {
        "run": Option("str", "The command line.", required=True, check=line),
        "dir": Option("str", "Directory in the checkout.", "", check=relative),
    }
    return _complete_dict(keys, value, site, key, errors)


def _complete_processes(
    item: Option, value: dict[Any, Any], site: str, key: str, errors: list[Error]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, one in value.items():
        if not isinstance(name, str) or not PROCESS_NAME.fullmatch(name):
            text = "is not a name of a process; use lower-case letters, digits, '-' and '_', and quotes around on, off, yes and no"
            errors.append(Error(site, f"{key}.{name}", text))
        elif name == "web":
            errors.append(
                Error(site, f"{key}.web", "is the application server itself; see app_server, workers and timeout")
            )
        else:
            result[str(name)] = complete(item, one, site, f"{key}.{name}", errors) if one not in (None, False) else None
    return result


def _complete_process(option: Option, value: Any, site: str, key: str, errors: list[Error]) -> dict[str, Any] | None:
    if isinstance(value, str):
        value = {"run": value}
    elif not isinstance(value, dict):
        text = f"must be a command line, a mapping with run, or false, not {kind_of(value)} {shown(value)}"
        errors.append(Error(site, key, text))
        return None
    return _complete_dict(option.keys, value, site, key, errors)
