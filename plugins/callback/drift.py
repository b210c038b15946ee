# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: aggregate
short_description: Reports what differs on each server, what it should be and since when
version_added: 0.1.0
description:
  - At the end of a run, names for each server and role the things that differ from what is declared, what they should be,
    what they are and since when they are so, where that can be known.
  - Turns check mode and diffs on for the playbook C(webstack.django.drift), so that nobody can forget that, and sets its exit
    status, V(0) where all servers are clean, else the sum of V(2) where something differs, V(4) where a server cannot be
    reached and V(1) where one could not be looked at as a whole.
  - Works with any other run as well. What a run without check mode reports, it has put right. The exit status is Ansible's then.
  - As O(ignore:ANSIBLE_STDOUT_CALLBACK) it prints nothing but the report.
  - Secrets are replaced by stars, and results of tasks with C(no_log) are not shown.
options:
  report:
    description: Whether the report is printed; V(auto) is only at the end of the playbook C(webstack.django.drift).
    type: str
    choices: [auto, always, never]
    default: auto
    env: [{name: WEBSTACK_DRIFT_REPORT}]
    ini: [{section: callback_webstack_drift, key: report}]
  json:
    description: A file that gets the report as JSON.
    type: path
    env: [{name: WEBSTACK_DRIFT_JSON}]
    ini: [{section: callback_webstack_drift, key: json}]
  html:
    description: A file that gets the report as one page that needs no other file.
    type: path
    env: [{name: WEBSTACK_DRIFT_HTML}]
    ini: [{section: callback_webstack_drift, key: html}]
  junit:
    description: A file that gets the report as JUnit XML, with a test suite for each server and a test for each of its roles.
    type: path
    env: [{name: WEBSTACK_DRIFT_JUNIT}]
    ini: [{section: callback_webstack_drift, key: junit}]
  prometheus:
    description: >-
      A file that gets the report as metrics, for the textfile collector of Prometheus' node_exporter, which reads what is called
      C(*.prom). All may read it.
    type: path
    env: [{name: WEBSTACK_DRIFT_PROMETHEUS}]
    ini: [{section: callback_webstack_drift, key: prometheus}]
requirements:
  - Enabled in the configuration of Ansible, C(callbacks_enabled = webstack.django.drift).
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: An ansible.cfg that leaves every report where others find it
  ini: |
    [defaults]
    callbacks_enabled = webstack.django.drift

    [callback_webstack_drift]
    json = /var/tmp/drift.json
"""

import datetime
import os
import shutil
import sys
from typing import Any

from ansible import constants as C
from ansible.plugins.callback import CallbackBase
from ansible_collections.webstack.django.plugins.plugin_utils.drift import files, html, junit, prometheus, text
from ansible_collections.webstack.django.plugins.plugin_utils.drift.differences import differences
from ansible_collections.webstack.django.plugins.plugin_utils.drift.report import Report, status

MARK = "webstack_drift"  # a variable of plays in playbooks/drift.yml
_WRITTEN = {"json": files.as_json, "html": html.page, "junit": junit.suites, "prometheus": prometheus.metrics}
_MODES = {"prometheus": 0o644}  # node_exporter is a user of its own
_COLOURS = {
    "clean": "COLOR_OK",
    "drift": "COLOR_CHANGED",
    "failed": "COLOR_ERROR",
    "unreachable": "COLOR_UNREACHABLE",
}


class CallbackModule(CallbackBase):
    """Collects the differences of all tasks and reports them at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "webstack.django.drift"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._report = Report()
        self._forced = False
        self._place = ""  # which of the marked plays of drift.yml this is
        self._whole: set[str] = set()
        self._variables: Any = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        plays = playbook.get_plays()
        self._forced = any(play.vars.get(MARK) for play in plays)
        self._report = Report(self._forced or bool(plays and plays[0].check_mode))
        self._whole = set()
        if self._forced:
            _only_check(plays)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._place = str(play.vars.get(MARK) or "")
        self._variables = play.get_variable_manager()
        if self._forced:
            # Also those that a run does not get to are in the report.
            for host in self._variables._inventory.get_hosts(play.hosts):
                self._report.host(host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._look(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._look(result)
        if not ignore_errors or self._forced:
            words = str(result.result.get("msg") or "it failed").strip()
            self._report.failed(self._host(result), _role(result), _task(result), words)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._look(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._look(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._report.unreachable(self._host(result), " ".join(str(result.result.get("msg") or "").split()))

    def _look(self, result: Any) -> None:
        try:
            self._see(result)
        except Exception as error:  # Ansible would go on with a warning, and the report would be a clean one
            words = f"the report could not read what it returned ({type(error).__name__}: {error})"
            self._report.failed(self._host(result), _role(result), _task(result), words)

    def _host(self, result: Any) -> str:
        """The server that a result is about: of a delegated task the other one, where that is among those looked at."""
        # Those of the task as it was run; the task itself has the template (before ansible-core 2.21).
        to = str(result._task_fields.get("delegate_to") or "") if result.task.delegate_to else ""
        return to if to in self._report.hosts else str(result.host.get_name())

    def _see(self, result: Any) -> None:
        report, host = self._report, self._host(result)
        report.host(host, _role(result))
        if self._place == "end":
            self._whole.add(host)
        if "results" in result.result and result.task.loop is not None:
            return  # its items were seen one by one
        found = differences(result.result, result.task.action, _task(result))
        report.differs(host, _role(result), _task(result), found)

    def _plans(self) -> None:
        """The secrets and the names of the sites are in the plans, which no result shows."""
        inventory = self._variables._inventory
        for name in self._report.hosts:
            known = self._variables.get_vars(host=inventory.get_host(name), include_hostvars=False)
            for key in ("webstack_plan", "webstack_sites"):
                self._report.secrets.learn(known.get(key))
            self._report.sites.update(str(site["given"]["name"]) for site in known.get("webstack_sites") or [])

    def v2_playbook_on_stats(self, stats: Any) -> None:
        try:
            code = self._end(stats)
        except Exception as error:
            self._display.error(f"webstack.django.drift: there is no report: {type(error).__name__}: {error}")
            code = 1
        if self._forced and code:
            # The exit status of ansible-playbook. Callbacks that come after this one in callbacks_enabled miss the end.
            raise SystemExit(code)

    def _end(self, stats: Any) -> int:
        if self._forced:
            self._report.ended(self._whole)
        else:
            self._report.forgive(stats.failures)
        shown = self.get_option("report")
        printed = shown == "always" or (shown == "auto" and (self._forced or _alone()))
        if not (printed or self._forced or any(self.get_option(name) for name in _WRITTEN)):
            return 0
        if self._variables:
            self._plans()
        report = self._report.as_dict()
        report["time"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if printed:
            self._print(report)
        code = status(report)
        for name, made in _WRITTEN.items():
            path = self.get_option(name)
            try:
                if path:
                    files.write(str(path), made(report), _MODES.get(name))
            except OSError as error:
                self._display.error(f"webstack.django.drift: {path} cannot be written: {error.strerror}")
                code |= 1
        return code

    def _print(self, report: dict[str, Any]) -> None:
        size = shutil.get_terminal_size() if sys.stdout.isatty() else os.terminal_size((0, 0))
        for state, line in text.text(report, size.columns, size.lines):
            self._display.display(line, color=getattr(C, _COLOURS.get(state, ""), None))


def _only_check(plays: list[Any]) -> None:
    """What ``--check --diff`` does, for all plays; and no server keeps another one from being looked at.

    Where a task of a role fails, the rest of that server is looked at all the same.
    """
    roles = False
    for play in plays:
        roles = roles or bool(play.roles)
        play.check_mode = play.diff = True
        play.any_errors_fatal = False
        play.serial = []
        if roles:
            play.ignore_errors = True
        play.get_variable_manager()._options_vars.update(ansible_check_mode=True, ansible_diff_mode=True)


def _alone() -> bool:
    """Whether nothing else is printed."""
    return str(C.DEFAULT_STDOUT_CALLBACK) == CallbackModule.CALLBACK_NAME


def _role(result: Any) -> str:
    role = result.task._role
    return str(role.get_name()).rpartition(".")[2] if role else ""


def _task(result: Any) -> str:
    return str(result.task_name).rpartition(" : ")[2]
