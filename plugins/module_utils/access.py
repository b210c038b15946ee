# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of a server that may end access to it, and the way back if nobody confirms them.

Before anything changes, copies of the old files, a script that puts them back and a timer that runs it lie on the disk
of the server. They need systemd and a shell, and neither Ansible nor Python. One change at a time is pending:

``pending``    the change is made, or about to be; ``confirm`` renames it away, and so does the timer: one of them wins
``confirming`` the change stays; what was kept is being removed
``undoing``    the old files are being put back; repeated until it is done
``undone``     the last change that was put back, and what its commands said
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import config_files, drift, services
from ansible_collections.webstack.django.plugins.module_utils.changes import newest
from ansible_collections.webstack.django.plugins.module_utils.ensure import run

STATE_DIR = "/var/lib/webstack/access"
UNIT_DIR = "/etc/systemd/system"
UNIT = "webstack-access"
APPLY_UNIT = "webstack-access-apply"
APPLY_SECONDS = 20.0  # after which a reply is given without the result
ATTEMPTS = 5  # of the commands that make the old files live

SERVICE = """\
# {header}
# webstack.django.access: goes back to the files before a change that nobody confirmed.
[Unit]
Description=Go back to the configuration before a change that may have ended access
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cd {state} && {{ [ -d undoing ] || mv -T pending undoing 2>/dev/null; }}; \
[ ! -d undoing ] || exec sh {state}/undoing/undo; {clean}'
Restart=on-failure
RestartSec=5
[Install]
WantedBy=multi-user.target
"""
TIMER = """\
# {header}
# webstack.django.access: as long as this file is here, a change waits for its confirmation.
[Unit]
Description=Wait for the confirmation of a change that may have ended access
[Timer]
OnActiveSec={seconds}
AccuracySec=100ms
Unit={unit}.service
[Install]
WantedBy=timers.target
"""
HEADER = "Ansible managed"


class AccessError(Exception):
    """What went wrong, in words for the user."""


def wants(unit_dir: str = UNIT_DIR) -> dict[str, str]:
    """The links that enable the timer and, for a restart of the server in between, what it runs."""
    names = {f"{UNIT}.timer": "timers.target", f"{UNIT}.service": "multi-user.target"}
    return {f"{unit_dir}/{target}.wants/{name}": f"{unit_dir}/{name}" for name, target in names.items()}


def clean_up(unit_dir: str = UNIT_DIR) -> str:
    """The shell commands that remove the timer."""
    links = wants(unit_dir)
    return f"systemctl stop {UNIT}.timer; rm -f {' '.join([*links, *links.values()])}; systemctl daemon-reload"


def units(seconds: int, state_dir: str = STATE_DIR, unit_dir: str = UNIT_DIR) -> dict[str, str]:
    """The paths and texts of the timer and of what it runs."""
    service = SERVICE.format(header=HEADER, state=state_dir, clean=clean_up(unit_dir))
    timer = TIMER.format(header=HEADER, seconds=seconds, unit=UNIT)
    return {f"{unit_dir}/{UNIT}.service": service, f"{unit_dir}/{UNIT}.timer": timer}


def _commands(argvs: list[list[str]]) -> str:
    """A shell function that runs commands until one fails."""
    lines = [f"  {shlex.join(argv)} || return $?" for argv in argvs]
    return "\n".join(["commands() {", *lines, "  return 0", "}"])


def _remember(live: list[dict[str, Any]]) -> str:
    """A shell function that writes down when a unit has read its files, as the module ``services`` does."""
    names = [services.full_name(one["unit"]) for one in live if one.get("unit")]
    directory = services.LOADED_DIR
    lines = [
        f"  invocation=$(systemctl show --property=InvocationID --value -- {shlex.quote(name)})\n"
        f'  echo "${{invocation:--}} $moment" >{directory}/{shlex.quote(name)}.new\n'
        f"  mv {directory}/{shlex.quote(name)}.new {directory}/{shlex.quote(name)}"
        for name in names
    ]
    return "\n".join(["remember() {", f"  mkdir -p {directory}" if lines else "  :", *lines, "}"])


def undo_steps(changes: list[config_files.Change], keep: Callable[[str], str]) -> list[str]:
    """Shell commands that bring back what is there now, the last change first; ``keep`` copies a path and names the copy."""
    steps = []
    view = config_files.View()
    for change in changes:
        item, quoted = change.item, shlex.quote(change.item.path)
        found = view.find(item.path)
        attributes = f"chmod {found.mode:04o} {quoted} && chown {found.uid}:{found.gid} {quoted}" if found else ""
        if found is None:
            # A directory that somebody else uses by now stays.
            steps.append(f"rmdir {quoted} 2>/dev/null || :" if item.state == "directory" else f"rm -f {quoted}")
        elif found.kind == "directory" and item.state == "directory":
            steps.append(attributes)
        elif found.kind == "directory":
            steps.append(f"rm -f {quoted} && mkdir -p {quoted} && {attributes}")
        else:
            remove = f"rmdir {quoted} 2>/dev/null; " if item.state == "directory" else ""
            steps.append(f"{remove}put {keep(item.path)} {quoted}")
    return steps[::-1]


UNDO = """\
#!/bin/sh
# webstack.django.access: brings back the files and the running state from before a change.
cd {state}/undoing || exit 1
exec >>log 2>&1
systemctl stop {apply}.service 2>/dev/null
put() {{ # a kept file, its place
  rm -f "$2.webstack-undo"
  if cp -a "$1" "$2.webstack-undo" && mv -fT "$2.webstack-undo" "$2"; then return 0; fi
  rm -f "$2.webstack-undo"
  cat "$1" >"$2" # something is mounted there
}}
{commands}
{remember}
failed=0
{steps}
[ $failed = 0 ] || {{ sleep 1; exit 1; }}
sync
moment=$(date +%s.%6N)
if commands; then
  remember
else
  echo "x" >>attempts
  [ "$(wc -l <attempts)" -ge {attempts} ] || exit 1
fi
cd ..
rm -rf undone
mv -T undoing undone
rm -rf undone/old undone/saved
{clean}
"""
APPLY = """\
#!/bin/sh
# webstack.django.access: makes a change live.
cd {state}/pending || exit 1
exec >>log 2>&1
sleep 0.3 # for the answer to the controller that this is about to happen
{commands}
{remember}
moment=$(date +%s.%6N)
commands
code=$?
[ $code != 0 ] || remember
echo $code >applied.new
mv applied.new applied
"""
CONFIRM = """\
#!/bin/sh
# webstack.django.access: keeps a change. Exit codes: 3 it was put back, 4 it is another one, 5 not yet made, 6 it failed.
cd {state}/pending 2>/dev/null || exit 3
[ "$(cat token)" = "$1" ] || exit 4
[ -e applied ] || exit 5
[ "$(cat applied)" = 0 ] || {{ cat log; exit 6; }}
cd {state}
mv -T pending confirming || exit 3
{clean}
rm -rf confirming
exit 0
"""


class Deadman:
    """The pending change of this host."""

    def __init__(self, state_dir: str = STATE_DIR, unit_dir: str = UNIT_DIR) -> None:
        self.state_dir = state_dir
        self.unit_dir = unit_dir

    def path(self, *names: str) -> str:
        """A path in the directory of states."""
        return os.path.join(self.state_dir, *names)

    def pending(self) -> bool:
        """Whether a change waits for its confirmation, or is being put back."""
        return os.path.isdir(self.path("pending")) or os.path.isdir(self.path("undoing"))

    def heal(self) -> bool:
        """Put back what an earlier run left without a confirmation; whether there was such a thing."""
        if not self.pending():
            return False
        if not os.path.exists(os.path.join(self.unit_dir, f"{UNIT}.service")):
            self._install(60)
        code, words = run(["systemctl", "start", f"{UNIT}.service"], timeout=60)
        if self.pending():
            raise AccessError(
                "an earlier change was never confirmed, and it cannot be put back; "
                f"see `journalctl -u {UNIT}.service` and {self.path('undoing', 'log')}. It says: {words} ({code})"
            )
        return True

    def arm(
        self,
        changes: list[config_files.Change],
        token: str,
        seconds: int,
        apply: list[list[str]],
        undo: list[list[str]],
        live: list[dict[str, Any]],
        save: list[str] | None = None,
    ) -> None:
        """Keep what is there and start the timer; nothing else changes."""
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        os.chmod(self.state_dir, 0o700)
        for name in os.listdir(self.state_dir):
            if name.startswith(("new-", "confirming")):
                shutil.rmtree(self.path(name))
        new = self.path(f"new-{token}")
        os.makedirs(os.path.join(new, "old"), mode=0o700)
        kept: list[str] = []

        def keep(path: str) -> str:
            name = f"old/{len(kept)}"
            kept.append(path)
            subprocess.run(["cp", "-a", "--", path, os.path.join(new, name)], check=True, capture_output=True)
            return name

        steps = [f"{{ {step}; }} || failed=1" for step in undo_steps(changes, keep)]
        if save:
            code, words = run(save)
            if code != 0:
                raise AccessError(f"`{shlex.join(save)}` failed (exit status {code}), so nothing was changed:\n{words}")
            _write(os.path.join(new, "saved"), words + "\n")
        common = {"state": self.state_dir, "clean": clean_up(self.unit_dir), "apply": APPLY_UNIT}
        remember = _remember(live)
        undo_text = UNDO.format(
            commands=_commands(undo or apply), remember=remember, steps="\n".join(steps), attempts=ATTEMPTS, **common
        )
        _write(os.path.join(new, "undo"), undo_text)
        _write(os.path.join(new, "apply"), APPLY.format(commands=_commands(apply), remember=remember, **common))
        _write(os.path.join(new, "confirm"), CONFIRM.format(**common))
        _write(os.path.join(new, "token"), token + "\n")
        _write(os.path.join(new, "log"), "")
        self._install(seconds)
        os.sync()
        os.rename(new, self.path("pending"))
        os.sync()
        code, words = run(["systemctl", "restart", f"{UNIT}.timer"])
        if code != 0:
            self.disarm()
            raise AccessError(f"the timer for the way back cannot be started, so nothing was changed: {words}")

    def _install(self, seconds: int) -> None:
        for path, text in units(seconds, self.state_dir, self.unit_dir).items():
            _write(path, text, 0o644)
        for link, path in wants(self.unit_dir).items():
            os.makedirs(os.path.dirname(link), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.symlink(path, link)
        run(["systemctl", "daemon-reload"])

    def disarm(self) -> None:
        """Forget the pending change, whose files were not written or have been put back already."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path("pending"), self.path("confirming"))
        run(["sh", "-c", clean_up(self.unit_dir)])
        shutil.rmtree(self.path("confirming"), ignore_errors=True)

    def apply(self) -> tuple[int | None, str]:
        """Make the change live, in a unit of its own; the exit status (None: not known yet) and what was said.

        It goes on where the connection through which it was asked for ends.
        """
        run(["systemctl", "stop", f"{APPLY_UNIT}.service"])
        run(["systemctl", "reset-failed", f"{APPLY_UNIT}.service"])
        script = self.path("pending", "apply")
        code, words = run(["systemd-run", "--quiet", "--collect", f"--unit={APPLY_UNIT}", "/bin/sh", script])
        if code != 0:
            return code, words
        deadline = time.monotonic() + APPLY_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                with open(self.path("pending", "applied"), encoding="utf-8") as file:
                    code = int(file.read())
                with open(self.path("pending", "log"), encoding="utf-8", errors="replace") as file:
                    return code, file.read().strip()
            if not os.path.isdir(self.path("pending")):
                break
            time.sleep(0.05)
        return None, ""


def stale(
    live: list[dict[str, Any]],
    show: Callable[[list[dict[str, Any]]], list[services.Unit]],
    found: list[dict[str, Any]] | None = None,
) -> list[str]:
    """Why the running state is not that of the files; empty where it is. Reads only. ``found`` gets it for a report."""
    reasons = []
    entries = found if found is not None else []
    for one in live:
        if one.get("argv"):
            code, words = run(list(one["argv"]), timeout=60)
            if code != 0:
                said = f": {words.splitlines()[-1]}" if words else ""
                reasons.append(f"`{shlex.join(one['argv'])}` ends with {code}{said}")
                thing = one.get("name") or shlex.join(one["argv"])
                entries.append(drift.entry(thing, "as declared", drift.short(words.splitlines()) or f"status {code}"))
            continue
        unit = show([{"name": one["unit"]}])[0]
        changed = newest(list(one.get("paths") or []))
        if unit.up and changed > unit.loaded():
            entries.append(drift.entry(unit.name, "runs with its files as they are", "has read older ones", changed))
            reasons.append(f"{unit.name} has not read its files since they changed")
    return reasons


def _write(path: str, text: str, mode: int = 0o600) -> None:
    temporary = path + ".webstack-new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    os.rename(temporary, path)
