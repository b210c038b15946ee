# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Change what may end access to a server, and go back unless a new connection proves that it did not."""

from __future__ import annotations

import contextlib
import shlex
import time
import uuid
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.webstack.django.plugins.action import config_files
from ansible_collections.webstack.django.plugins.module_utils.payload import pack
from ansible_collections.webstack.django.plugins.plugin_utils import second_connection
from ansible_collections.webstack.django.plugins.plugin_utils.second_connection import TimeLimit

_MODULE = "webstack.django.access_apply"
_STATE = "/var/lib/webstack/access"
_ARGVS = {"type": "list", "elements": "list", "default": []}
_LIVE = {
    "name": {"type": "str"},
    "argv": {"type": "list", "elements": "str"},
    "unit": {"type": "str"},
    "paths": {"type": "list", "elements": "str", "default": []},
}
_ATTEMPT = 12  # seconds that one new connection may take
_REFUSED = 2  # log-ins that may be refused: a server counts them
_OPEN = 20  # seconds for an answer through the connection that is open
_WRITE = 45  # seconds to write and apply
_KEPT, _UNDONE, _OTHER, _NOT_YET, _FAILED = 0, 3, 4, 5, 6  # exit codes of `confirm`
# Goes back if that has not happened yet; done when nothing is pending.
_BACK = f"[ ! -d {_STATE}/pending ] || systemctl start webstack-access.service; [ ! -d {_STATE}/pending ] && [ ! -d {_STATE}/undoing ]"


class ActionModule(config_files.ActionModule):
    """See the documentation of the module of the same name."""

    user = ""
    answered = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super(config_files.ActionModule, self).run(tmp, task_vars)
        self.variables = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={
                **config_files.SPEC,
                "services": config_files.SERVICES,
                "apply": _ARGVS,
                "undo": _ARGVS,
                "live": {"type": "list", "elements": "dict", "default": [], "options": _LIVE},
                "save": {"type": "list", "elements": "str"},
                "trial": {"type": "str", "choices": ["none", "sshd"], "default": "none"},
                "port": {"type": "int"},
                "connect_port": {"type": "int"},
                "seconds": {"type": "int", "default": 60},
                "hint": {"type": "str", "default": ""},
            }
        )
        self.args = args
        for one in args["live"]:
            if bool(one.get("argv")) == bool(one.get("unit")):
                raise AnsibleActionFail("access: each of `live` takes either argv or unit")
        if args["seconds"] < 30:
            raise AnsibleActionFail("access: seconds: give at least 30; a new connection needs some of them")
        self.token = uuid.uuid4().hex[:12]
        # That of Mitogen has no other one beside it.
        self.over_ssh = self._connection.transport.rpartition(".")[2] == "ssh" and hasattr(
            self._connection, "_build_command"
        )
        self.payload = {**self.rendered(args, {**self.variables, "access_user": self._user()}), "token": self.token}
        self.payload.update({key: args[key] for key in ("apply", "undo", "live", "save", "seconds", "services")})
        seen = self._step("look")
        if seen.get("failed") or self._task.check_mode or not (seen["changed_paths"] or seen["not_live"]):
            return seen
        done = self._change(seen)
        return done if done.get("failed") or not args["services"] else self._services(done)

    # The steps ---------------------------------------------------------------------------------

    def _step(self, step: str) -> dict[str, Any]:
        arguments = {"step": step, "payload": pack(self.payload)}
        result: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args=arguments, task_vars=self.variables
        )
        return result

    def _services(self, done: dict[str, Any]) -> dict[str, Any]:
        """The units, now that the change is kept."""
        more = self._step("services")
        both = {key: [*done.get(key, []), *more.get(key, [])] for key in ("drift", "diff", "warnings")}
        return {**done, **more, **both, "changed": True, "changed_paths": done["changed_paths"]}

    def _change(self, seen: dict[str, Any]) -> dict[str, Any]:
        port = self._port()
        # A server that converges itself has no way in that could be tried: then sshd has to answer as it did before.
        self.answered = not self.over_ssh and self._answers()
        if self.args["trial"] == "sshd" and self.over_ssh:
            seen["trial"] = self._trial()
        try:
            with second_connection.bounded(_WRITE):
                made = self._step("change")
        except (AnsibleError, TimeLimit) as error:  # the connection ended, which says nothing about the next one
            made = {"failed": False, "applied": None, "log": str(error)}
            self._leave()
        if (
            made.get("failed") and "changed_paths" in made
        ):  # its own words; else it was killed, and nobody knows how far it got
            return {**seen, **made}
        if made.get("applied"):
            problem = f"what makes the new settings live failed: {second_connection.reason(made['log'])}"
        else:
            problem = self._prove(port)
        if problem:
            raise AnsibleActionFail(self._message(f"{problem}. {self._back()}"))
        seen.update(changed=True, proof="connection" if self.over_ssh else "no")
        if self.over_ssh and port != self._connection.get_option("port"):
            seen["connect_port"] = port
            host = self.variables.get("inventory_hostname", "this host")
            seen["warnings"] = [
                f"{host} takes connections at port {port} from now on, and the rest of this run uses it; put "
                f"`ansible_port: {port}` into the inventory before the next one"
            ]
        return seen

    def _prove(self, port: int | None) -> str:
        """Confirm the change through a new connection; what is in the way of that, or an empty text."""
        deadline = time.monotonic() + min(15.0, self.args["seconds"] / 2)
        refused = 0
        while True:
            silent = self.answered and not self._answers()
            code, words = (-1, "sshd does not answer any more") if silent else self._confirm(port)
            if code == _KEPT:
                return ""
            if code in (_UNDONE, _OTHER):
                return "the timer on the server was faster than the confirmation, or another run put the change back"
            if code == _FAILED:
                return f"what makes the new settings live failed: {second_connection.reason(words)}"
            refused += code != _NOT_YET and "ermission denied" in words
            if refused >= _REFUSED or time.monotonic() > deadline:
                return (
                    f"with the new settings no new connection {self._as_user(port)} could be made and used: "
                    f"{second_connection.reason(words)}"
                )
            time.sleep(1)

    def _confirm(self, port: int | None) -> tuple[int, str]:
        command = f"/bin/sh {_STATE}/pending/confirm {self.token}"
        try:
            with second_connection.bounded(_ATTEMPT), self._other(port):
                done = self._low_level_execute_command(command, sudoable=True)
        except (AnsibleError, TimeLimit) as error:
            return -1, str(error)
        words = f"{done['stdout']}\n{done['stderr']}".strip()
        if done["rc"] not in (_KEPT, _NOT_YET, _FAILED, _OTHER) and f"{_STATE}/pending/confirm" in words:
            return _UNDONE, words  # sh does not find the script
        return done["rc"], words

    def _answers(self) -> bool:
        """Whether sshd answers to a client on the server itself."""
        done = self._low_level_execute_command(shlex.join(["python3", "-c", second_connection.ANSWERS]), sudoable=True)
        return bool(done["rc"] == 0)

    def _back(self) -> str:
        """Go back at once if possible, else when the timer does; what the user is told of it."""
        began = time.monotonic()
        with contextlib.suppress(AnsibleError, TimeLimit), second_connection.bounded(_OPEN):
            if self._low_level_execute_command(_BACK, sudoable=True)["rc"] == 0:
                return "The old settings are in force again; nothing was changed."
        self._leave()
        while time.monotonic() - began < self.args["seconds"] + 60:
            with contextlib.suppress(AnsibleError, TimeLimit), second_connection.bounded(_ATTEMPT), self._other(None):
                if self._low_level_execute_command(_BACK, sudoable=True)["rc"] == 0:
                    took = time.monotonic() - began
                    return (
                        f"The old settings are in force again, and a new connection works (after {took:.0f} seconds)."
                    )
            time.sleep(3)
        return (
            f"The timer on the server should have put the old settings back after {self.args['seconds']} seconds, but no "
            "connection works yet. On the server's console, `systemctl start webstack-access.service` does it, and "
            f"{_STATE}/undone/log says what was done."
        )

    # The trial ---------------------------------------------------------------------------------

    def _trial(self) -> str:
        """Log in to an sshd that has the new settings, through the connection that is open."""
        plugin = self._connection
        if plugin.get_option("password") and not getattr(plugin, "_persistent", False):
            return "not possible: the connection has a password and is not kept open"
        started = self._step("trial")
        if started.get("failed") or started.get("unavailable"):
            return f"not possible: {started.get('unavailable') or started.get('msg')}"
        socket = f"/run/webstack/trial-{self.token}/socket"
        facts = self.variables.get("ansible_facts", {})
        python = self.variables.get("ansible_python_interpreter") or facts.get("discovered_interpreter_python", "")
        python = self._templar.template(python) if python else ""
        if not python or str(python).startswith("auto"):
            python = "python3"
        executable = plugin.get_option("ssh_executable")
        command = plugin._build_command(
            executable, "ssh", plugin.host, shlex.join([python, "-c", second_connection.JOIN, socket])
        )
        proxy = second_connection.proxy_command(command, executable)
        problem = ""
        try:
            with second_connection.bounded(_ATTEMPT + 8), self._other(None, proxy):
                done = self._low_level_execute_command("id -u", sudoable=True)
            if done["rc"] != 0:
                problem = f"{done['stdout']}\n{done['stderr']}"
        except (AnsibleError, TimeLimit) as error:
            problem = str(error)
        said = self._step("trial_end").get("log", "")
        if not problem:
            return "passed"
        if "not from a permitted host" in said:
            return "not possible: the key is bound to addresses (from=)"
        raise AnsibleActionFail(
            self._message(
                f"the new settings would not let in {self._user()}: {second_connection.reason(problem)}. Nothing was "
                f"changed.\nsshd says:\n{said or '(nothing)'}"
            )
        )

    # Connections -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _other(self, port: int | None, proxy: str | None = None) -> Iterator[None]:
        """Commands go through a connection of their own; without ssh, through the one there is."""
        if not self.over_ssh:
            yield
            return
        mine = self._connection
        loader = self._shared_loader_obj.connection_loader
        other = loader.get(mine._load_name, self._play_context, new_stdin=None, task_uuid=self._task._uuid)
        for name, value in mine.get_options().items():
            other.set_option(name, value)
        other.set_option("ssh_args", second_connection.ssh_args(mine.get_option("ssh_args"), proxy))
        other.set_option("reconnection_retries", 0)
        if port is not None:
            other.set_option("port", port)
        other.set_become_plugin(mine.become)
        self._connection = other
        try:
            yield
        finally:
            self._connection = mine

    def _leave(self) -> None:
        """Give up a connection that does not answer: neither this run nor the next one waits for it."""
        with contextlib.suppress(AttributeError):
            self._connection.reset()

    def _port(self) -> int | None:
        """The port of new connections."""
        if not self.over_ssh:
            return None
        own, wanted, via = self._connection.get_option("port"), self.args["port"], self.args["connect_port"]
        present = None
        if wanted is not None:
            said = self._low_level_execute_command('echo "$SSH_CONNECTION"', sudoable=False)
            present = second_connection.server_port(said["stdout"])
        try:
            return second_connection.target(own and int(own), present, wanted, via)
        except second_connection.PortError as error:
            raise AnsibleActionFail(self._message(f"{error}. Nothing was changed.")) from None

    # Words -------------------------------------------------------------------------------------

    def _user(self) -> str:
        """Who is logged in; asked for where the inventory does not say it.

        On a server that converges itself it is root by another way, and the settings stay those for who logs in otherwise.
        """
        if not self.user:
            said = self.variables.get("ansible_user")
            given = (
                self._connection.get_option("remote_user") if self.over_ssh else said and self._templar.template(said)
            )
            self.user = str(given or self._low_level_execute_command("id -un", sudoable=False)["stdout"].strip())
        return self.user

    def _as_user(self, port: int | None) -> str:
        plugin = self._connection
        if not self.over_ssh:
            return "through the present one"
        host = plugin.get_option("host") or self._play_context.remote_addr
        return f"as {self._user()} to {host}, port {port or 22},"

    def _message(self, words: str) -> str:
        role = self._task._role
        parts = [f"{role.get_name(include_role_fqcn=False) if role else 'access'}: {words}", self.args["hint"]]
        return "\n".join(part for part in parts if part)
