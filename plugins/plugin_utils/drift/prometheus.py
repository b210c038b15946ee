# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as metrics of Prometheus, for the textfile collector of node_exporter.

Names and units are those of https://prometheus.io/docs/practices/naming/, the format is that of
https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.drift.report import STATES, status

_DRIFT = 2  # the bit of the exit status
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_FAMILIES = {
    "webstack_drift_things": "Things that differ from what is declared, or that the run has put right, by server and role.",
    "webstack_drift_state": "1 for the state that the server is in, 0 for the others.",
    "webstack_drift_check": "1 if the run only looked, 0 if it has put right what differed.",
    "webstack_drift_last_run_exit_code": "Sum of 2 (something differs), 4 (a server cannot be reached), 1 (not looked at to the end).",
    "webstack_drift_last_run_timestamp_seconds": "When the last run ended, in seconds since 1970.",
}

Sample = tuple[str, dict[str, str], float]


def metrics(report: Mapping[str, Any]) -> str:
    """The metrics of a report with a ``time``; all series of a server are there in each run, also those that are 0."""
    found: list[Sample] = []
    for name, host in report["hosts"].items():
        # Not `instance` or `job`, which Prometheus sets itself; a role that ended before is not 0 but unknown.
        roles = list(dict.fromkeys([*host["roles"], *(one["role"] for one in host["drift"])]))
        found += [
            ("webstack_drift_things", {"host": name, "role": role}, sum(one["role"] == role for one in host["drift"]))
            for role in roles
        ]
        found += [("webstack_drift_state", {"host": name, "state": state}, host["state"] == state) for state in STATES]
    code = status(report)
    found.append(("webstack_drift_check", {}, bool(report["check"])))
    # What was put right is no problem any more.
    found.append(("webstack_drift_last_run_exit_code", {}, code if report["check"] else code & ~_DRIFT))
    ended = datetime.datetime.strptime(str(report["time"]), _TIME).replace(tzinfo=datetime.timezone.utc)
    found.append(("webstack_drift_last_run_timestamp_seconds", {}, ended.timestamp()))
    return exposition(_FAMILIES, found)


def exposition(families: Mapping[str, str], samples: Iterable[Sample]) -> str:
    """Gauges in the text format, the samples of each one together; the last line ends as the format asks for."""
    listed = list(samples)
    lines = []
    for name, words in families.items():
        own = [sample for sample in listed if sample[0] == name]
        if own:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(labels)} {value:.0f}" for _name, labels, value in own]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
