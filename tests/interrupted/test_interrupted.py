"""ansible-playbook killed in the middle of the first converge: the next run ends well, in the state of an undisturbed one.

INTERRUPT_FRESH=1 takes a bare server for every point of interruption; without it the points follow each other on one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import bed as tools_bed  # noqa: E402

# A task whose beginning is waited for, and the seconds after it.
POINTS = [
    ("Install the base packages", 3.0),
    ("Install PostgreSQL", 6.0),
    ("Write the configuration; one that the server would not start with is refused", 0.5),
    ("Fetch and build the releases", 2.0),
    ("Try the releases, switch to them, and see that they answer", 1.5),
]
FRESH = bool(os.environ.get("INTERRUPT_FRESH"))
NAMES = ["interrupted-not", *(f"interrupted-{number}" for number in range(len(POINTS) if FRESH else 1))]


def bed(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "tools/bed.py", *words], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def inventories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """An inventory for each server; the same host name and key, so that the results can be the same."""
    directory = tmp_path_factory.mktemp("interrupted")
    project = directory / "projects"
    make = [sys.executable, str(ROOT / "tests/projects/make.py"), str(project), "plain"]
    subprocess.run(make, check=True)
    found = {}
    try:
        for name in NAMES:
            made = json.loads(
                bed("up", name, "--image", "debian13", "--hostname", "shape", "--scenario", "interrupted")
            )
            site = {"name": "shape", "domains": ["shape.example.com"], "path": str(project / "plain")}
            variables = {
                "django_sites": [site],
                "webstack_master_key": "a-master-key-of-the-test-bed-that-nobody-else-has",
                "webstack_memory_mb": 2048,
                "os_swap_mb": 0,
            }
            found[name] = directory / f"{name}.yml"
            found[name].write_text(
                yaml.safe_dump({"all": {"hosts": {"shape": tools_bed.ansible_variables(made)}, "vars": variables}})
            )
        yield found
    finally:
        bed("down", *NAMES)


def converge(inventory: Path) -> str:
    done = subprocess.run(
        ["ansible-playbook", "site.yml", "-i", str(inventory)], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def interrupt(inventory: Path, task: str, seconds: float) -> None:
    """Start a converge and kill it with SIGKILL so many seconds into a task."""
    process: subprocess.Popen[str] = subprocess.Popen(
        ["ansible-playbook", "site.yml", "-i", str(inventory)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if line.startswith("TASK [") and task in line:
            break
    else:
        pytest.fail(f"the converge ended before {task!r}:\n{seen[-4000:]}")
    time.sleep(seconds)
    assert process.poll() is None, f"the converge ended within {seconds} s after {task!r}"
    process.send_signal(signal.SIGKILL)
    # Its workers die with it or go on for a moment, as they would for a user; nobody reads what they say.
    threading.Thread(target=process.stdout.read, daemon=True).start()
    process.wait()


def state(name: str) -> list[str]:
    script = (ROOT / "tests/interrupted/state.py").read_text()
    container = json.loads(bed("up", name))["container"]
    done = subprocess.run(
        ["docker", "exec", "-i", container, "python3", "-"], input=script, text=True, capture_output=True, check=True
    )
    return done.stdout.splitlines()


def disturbed(inventories: dict[str, Path]) -> dict[str, Any]:
    """Interrupt at every point, then let each server be finished."""
    for number, (task, seconds) in enumerate(POINTS):
        inventory = inventories[NAMES[1 + number] if FRESH else NAMES[1]]
        interrupt(inventory, task, seconds)
        if FRESH:
            converge(inventory)
    if not FRESH:
        converge(inventories[NAMES[1]])
    return {name: state(name) for name in NAMES[1:]}


@pytest.fixture(scope="module")
def results(inventories: dict[str, Path]) -> dict[str, list[str]]:
    """The states of all servers after their last converge."""
    with ThreadPoolExecutor() as pool:
        undisturbed = pool.submit(converge, inventories[NAMES[0]])
        found: dict[str, list[str]] = disturbed(inventories)
        undisturbed.result()
    return {NAMES[0]: state(NAMES[0]), **found}


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_state_is_that_of_an_undisturbed_converge(results: dict[str, list[str]], name: str) -> None:
    expected, found = set(results[NAMES[0]]), set(results[name])
    assert len(expected) > 1000
    assert (sorted(expected - found), sorted(found - expected)) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_the_next_run_changes_nothing(results: dict[str, list[str]], inventories: dict[str, Path], name: str) -> None:
    assert re.search(r"^shape +: ok=\d+ +changed=0 +unreachable=0 +failed=0", converge(inventories[name]), re.MULTILINE)
