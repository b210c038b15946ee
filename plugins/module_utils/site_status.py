# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a site is like on this host. Only asks: nothing is changed, and no argument or environment of a process is read."""

from __future__ import annotations

import glob
import http.client
import json
import os
import subprocess
import time
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import site_parts, supervisord
from ansible_collections.webstack.django.plugins.module_utils.acme.state import DAY
from ansible_collections.webstack.django.plugins.module_utils.acme.state import read as read_certificate
from ansible_collections.webstack.django.plugins.module_utils.processes import started
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release import lock as deploys
from ansible_collections.webstack.django.plugins.module_utils.release.backup import DIRECTORY as DUMPS
from ansible_collections.webstack.django.plugins.module_utils.release.health import ask, good
from ansible_collections.webstack.django.plugins.module_utils.services import seconds
from ansible_collections.webstack.django.plugins.module_utils.site_parts import Process
from ansible_collections.webstack.django.plugins.module_utils.vhosts import drained, page_file

Runner = Callable[[list[str]], tuple[int, str, str]]
HEALTH_SECONDS = 10.0
OWN_DAYS = 14  # of a self-signed certificate, which a run renews 30 days before its end
DU_SECONDS = "20"  # that adding up a large site may take
_TAIL = 65536
_UNIT = (
    "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,MemoryCurrent,ActiveEnterTimestamp,InactiveEnterTimestamp"
)
_STATES = {"active": "running", "activating": "starting", "deactivating": "stopping", "inactive": "stopped"}
_PROGRAM_STATES = {"RUNNING": "running", "STARTING": "starting", "STOPPING": "stopping", "STOPPED": "stopped"}
_DEPLOY = ("time", "who", "what", "from", "to", "result", "seconds", "step", "message")


def run(argv: list[str]) -> tuple[int, str, str]:
    """Run a command; one that is not there is like one that fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        return done.returncode, done.stdout, done.stderr
    except OSError as error:
        return 127, "", str(error)


# Processes ---------------------------------------------------------------------------------------


def show(names: list[str], runner: Runner = run) -> dict[str, dict[str, str]]:
    """What systemd says of units, by name, in one call."""
    if not names:
        return {}
    _code, output, _error = runner(["systemctl", "show", "--timestamp=us+utc", "--property=" + _UNIT, "--", *names])
    blocks = output.strip("\n").split("\n\n")
    return {
        name: dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for name, block in zip(names, blocks)
    }


def _number(text: Any) -> int | None:
    return int(text) if str(text or "").isdigit() and int(text) < 2**63 else None


def resident_mb(pid: int) -> int | None:
    """Memory of a process and of all below it in MB (VmRSS of proc(5): what they share counts for each)."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        fields = site_parts.read("/proc/%s/stat" % entry).rpartition(")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(entry))
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        for line in site_parts.read("/proc/%d/status" % one).splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total // 1024 or None


def _row(process: str, name: str, state: str, ok: bool, **more: Any) -> dict[str, Any]:
    row = {"process": process, "name": name, "state": state, "ok": ok}
    return {**row, **{key: more.get(key) for key in ("pid", "since", "memory_mb", "restarts")}}


def of_unit(process: str, name: str, shown: dict[str, str], timed: bool = False) -> dict[str, Any]:
    """A row of a unit. One that runs at times is well between two of them, unless the last one failed."""
    active = shown.get("ActiveState", "")
    state = _STATES.get(active, active or "unknown")
    if active == "activating" and shown.get("SubState") == "auto-restart":
        state = "crashing"
    ok = active == "active"
    if timed:
        good_end = shown.get("Result", "success") == "success"
        ok = active != "failed" and good_end
        state = "waiting" if active == "inactive" and good_end else state
    stamp = shown.get("ActiveEnterTimestamp" if active == "active" else "InactiveEnterTimestamp", "")
    memory = _number(shown.get("MemoryCurrent"))
    pid = _number(shown.get("MainPID")) or None
    return _row(
        process,
        name,
        state,
        ok,
        pid=pid,
        since=seconds(stamp) or None,
        memory_mb=memory // 2**20 if memory is not None and pid else None,
        restarts=None if timed else _number(shown.get("NRestarts")),
    )


def of_program(process: Process, found: dict[str, Any]) -> dict[str, Any]:
    """A row of a program of supervisord, which counts no restarts."""
    if not found:
        return _row(process.process, process.name, "unknown", False)
    state = {"BACKOFF": "crashing", "FATAL": "failed", "EXITED": "stopped"}.get(found["state"])
    pid = int(found.get("pid") or 0)
    return _row(
        process.process,
        process.name,
        state or _PROGRAM_STATES.get(found["state"], str(found["state"]).lower()),
        found["state"] in ("RUNNING", "STARTING"),
        pid=pid or None,
        since=(started(pid) if pid else None) or None,
        memory_mb=resident_mb(pid) if pid else None,
    )


def processes(site: str, runner: Runner = run, root: str = "/") -> list[dict[str, Any]]:
    """A row for each process, cache and broker of a site."""
    found = site_parts.processes(site, root)
    stores = site_parts.stores(site, root)
    units = show([one.name + ".service" for one in found if one.manager == "systemd"], runner)
    timers = show([one.name + ".timer" for one in found if one.manager == "systemd" and one.timed], runner)
    programs: dict[str, Any] = {}
    if any(one.manager == "supervisord" for one in found):
        code, output, _error = runner([supervisord.COMMAND, "--json", "status"])
        programs = json.loads(output) if code == 0 else {}
    rows = []
    for one in found:
        if one.manager == "cron":
            rows.append(_row(one.process, one.name, "waiting", True))
        elif one.manager == "supervisord":
            rows.append(of_program(one, programs.get(one.name, {})))
        else:
            row = of_unit(one.process, one.name + ".service", units.get(one.name + ".service", {}), one.timed)
            if one.timed and timers.get(one.name + ".timer", {}).get("ActiveState") != "active":
                row.update(state="timer stopped", ok=False)
            rows.append(row)
    shown = show([one.unit for one in stores], runner)
    return rows + [of_unit("%s (%s)" % (one.purpose, one.server), one.unit, shown.get(one.unit, {})) for one in stores]


# The site ----------------------------------------------------------------------------------------


def release(path: str) -> dict[str, Any] | None:
    """The release that a link leads to."""
    directory = os.path.realpath(path)
    known = files.load(directory)
    if not os.path.islink(path) or not known:
        return None
    return {
        "id": known.get("id"),
        "commit": known.get("commit") or None,
        "since": files.state(directory).get("activated_at") or known.get("built"),
    }


def health(site: dict[str, Any], up: bool, timeout: float = HEALTH_SECONDS, root: str = "/") -> dict[str, Any]:
    """One request through the socket that the web servers use.

    Args:
        site: name, protocol, host, path and status.
        up: whether the web process runs. If not it is not asked: systemd would start it for that.
    """
    place = site_parts.endpoint(site["name"], root)
    result: dict[str, Any] = {"ok": False, "path": site["path"], "status": None, "ms": None, "error": None}
    if not up:
        return {**result, "error": "web does not run"}
    if not place["socket"] and not place["address"]:
        return {**result, "error": "no socket is configured"}
    began = time.monotonic()
    try:
        status, _proved = ask({**site, **place}, timeout)
    except (OSError, http.client.HTTPException) as error:
        return {**result, "error": str(error) or type(error).__name__}
    milliseconds = int((time.monotonic() - began) * 1000)
    return {**result, "ok": good(status, site["status"]), "status": status, "ms": milliseconds}


def certificate(path: str, now: float, runner: Runner = run) -> dict[str, Any]:
    """Days until a certificate ends, whether it signs itself, and whether somebody should look after it."""
    result: dict[str, Any] = {"days": None, "error": None, "own": False, "ending": True}
    if not os.path.exists(path):
        return {**result, "error": "there is none"}
    found = read_certificate(path, runner)
    if found is None:
        return {**result, "error": "it cannot be read"}
    days = int(found.left(now) // DAY)
    return {**result, "days": days, "own": found.own, "ending": days < OWN_DAYS if found.own else found.ending(now)}


def last_deploy(path: str) -> dict[str, Any] | None:
    """The last line of the log of deployments that can be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        found = as_object(line)
        if found:
            return {key: found.get(key) for key in _DEPLOY}
    return None


def as_object(text: str) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def lock(path: str) -> dict[str, Any] | None:
    """Who deploys just now."""
    if not os.path.exists(path):
        return None
    found = as_object(site_parts.read(path)) or {}
    return {key: found.get(key) for key in ("who", "since", "step")}


def backup(directory: str) -> dict[str, Any] | None:
    """The newest backup."""
    newest: tuple[float, str, int] | None = None
    for path in glob.glob(os.path.join(glob.escape(directory), "**"), recursive=True):
        if os.path.isfile(path):
            info = os.stat(path)
            one = (info.st_mtime, os.path.basename(path), info.st_size)
            newest = max(newest, one) if newest else one
    return {"time": newest[0], "file": newest[1], "mb": newest[2] // 2**20} if newest else None


def size_mb(path: str, runner: Runner = run) -> int | None:
    """Room that a tree takes; None where that takes too long."""
    code, output, _error = runner(["timeout", DU_SECONDS, "du", "-skx", "--", path])
    return int(output.split()[0]) // 1024 if code == 0 and output.split() else None


def of_site(site: dict[str, Any], tiers: list[str], now: float, runner: Runner = run) -> dict[str, Any]:
    """All of one site on this host, as far as the host serves it."""
    name = site["name"]
    result: dict[str, Any] = {"processes": processes(name, runner)}
    if "app" in tiers:
        result["release"] = release("/srv/%s/current" % name)
        result["previous"] = release("/srv/%s/previous" % name)
        up = any(one["process"] == "web" and one["ok"] for one in result["processes"])
        result["health"] = health(site, up) if result["release"] else None
        result["size_mb"] = size_mb("/srv/" + name, runner) if os.path.isdir("/srv/" + name) else None
        result["last_deploy"] = last_deploy(deploys.log(name))
        result["lock"] = lock(deploys.path(name))
    if "web" in tiers:
        if site.get("tls") != "off":
            result["certificate"] = certificate("/etc/webstack/tls/%s/fullchain.pem" % name, now, runner)
        result["maintenance"] = os.path.exists(page_file(name))
        result["drained"] = drained(name)
    if "app" in tiers or "database" in tiers:
        result["backup"] = backup(os.path.join(DUMPS, name))
    return result
