# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Command lines that lead people to a site on its servers. Only how a server is reached is taken, never a password."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# Management commands that ask, and what they are given to ask nothing.
_ASKING = {
    "createsuperuser": ("--noinput", "--no-input"),
    "flush": ("--noinput", "--no-input"),
    "changepassword": (),
    "shell": ("-c", "--command"),
    "dbshell": ("-c", "--"),
}


def ssh(host: str, variables: Mapping[str, Any], command: str) -> str:
    """The line that runs a command with a terminal on one server."""
    kind = str(variables.get("ansible_connection") or "ssh").rpartition(".")[2]
    if kind == "local":
        return command
    address = str(variables.get("ansible_host") or host)
    if kind in ("docker", "podman"):
        return " ".join([kind, "exec", "-it", shlex.quote(address), command])
    words = ["ssh", "-t"]
    if variables.get("ansible_port"):
        words += ["-p", str(variables["ansible_port"])]
    key = variables.get("ansible_ssh_private_key_file") or variables.get("ansible_private_key_file")
    if key:
        words += ["-i", shlex.quote(str(key))]
    more = [
        str(variables[name]) for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args") if variables.get(name)
    ]
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    target = f"{user}@{address}" if user else address
    return " ".join([*words, *more, shlex.quote(target), *([shlex.quote(command)] if command else [])])


def _as_root(variables: Mapping[str, Any], command: str) -> str:
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    return command if user == "root" else f"sudo {command}"


def _log(site: Mapping[str, Any]) -> str:
    if site.get("process_manager") == "supervisord":
        return f"tail -F /var/log/supervisor/{site['name']}-web.log"
    return f"journalctl -u {site['name']}-web -f"


def _root(variables: Mapping[str, Any]) -> str:
    """A shell of root; over SSH as root it is what one gets without a command."""
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    kind = str(variables.get("ansible_connection") or "ssh").rpartition(".")[2]
    return ("" if kind not in ("local", "docker", "podman") else "bash") if user == "root" else "sudo -i"


def lines(site: Mapping[str, Any], variables: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> str:
    """All lines for one site.

    Args:
        site: name and process_manager.
        variables: of each server, with ``webstack_tiers``.
        hosts: the servers.
    """
    name = site["name"]
    found = []
    for host in hosts:
        own = variables[host]
        tiers = own["webstack_tiers"]
        commands = []
        if "app" in tiers:
            for title, words in (("Django shell", "shell"), ("database shell", "dbshell")):
                commands.append((title, _as_root(own, f"webstack-manage {name} {words}")))
            commands.append(("log, as it comes", _as_root(own, _log(site))))
        commands.append(("root shell", _root(own)))
        found.append(f"{host} ({', '.join(tiers) or 'nothing'})")
        for title, command in commands:
            found += [f"  # {title}", f"  {ssh(host, own, command)}"]
        found.append("")
    return "\n".join(found).rstrip()


def refusal(command: str, site: str, host: str, variables: Mapping[str, Any]) -> str:
    """Why a management command cannot run without a terminal, and how it can; empty where it can.

    Args:
        command: name and arguments, as for a shell.
        site: name of the site.
        host: a server that has it.
        variables: of that server.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"site {site}: command: {command!r} cannot be read: {error}; close its quotes"
    if not words:
        return f"site {site}: command: is empty; give one, like -e \"command='showmigrations'\""
    options = _ASKING.get(words[0])
    if options is None or set(options) & {word.partition("=")[0] for word in words}:
        return ""
    there = ssh(host, variables, _as_root(variables, f"webstack-manage {site} {command}"))
    without = f", or give it {options[0]}" if options else ""
    return f"site {site}: `{words[0]}` asks questions, and there is no terminal here. Run it there:\n{there}\n{without[2:]}".rstrip()
