"""What the tests of every scenario can use.

`host` (from testinfra) is one machine of the scenario, as root; each test runs once for each of them.
`playbook` runs the scenario's converge play again on it, `Run.changed` says what came of it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import ansible_runs


@dataclass(frozen=True)
class Run:
    """Result of one ansible-playbook."""

    rc: int
    output: str

    @property
    def changed(self) -> int:
        """Number of changed tasks, added up over the hosts."""
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))


@pytest.hookimpl(wrapper=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[Any]) -> Generator[None]:
    """The tests of one machine run one after another; two machines wait for each other only in a stack."""
    config = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
    independent = not any(platform.get("groups") for platform in config["platforms"])
    for item in items:
        host = getattr(item, "callspec", None) and item.callspec.params.get("_testinfra_host")
        item.add_marker(pytest.mark.xdist_group(host.backend.host if host and independent else "all"))
    return (yield)


@pytest.fixture
def machine(host: Any) -> str:
    """The inventory name of `host`."""
    return str(host.backend.host)


@pytest.fixture
def variables(host: Any) -> dict[str, Any]:
    """The inventory's variables of `host`."""
    return dict(host.ansible.get_variables())


@pytest.fixture
def browse(host: Any) -> Callable[..., list[dict[str, Any]]]:
    """browse({"url": ...}, ...): what tests/client.py on `host` got, for each step."""
    client = (Path(__file__).parents[1] / "tests/client.py").read_text()

    def run(*steps: dict[str, Any]) -> list[dict[str, Any]]:
        done = host.run("printf %%s %s | python3 -c %s", json.dumps(steps), client)
        assert done.rc == 0, done.stderr
        return list(json.loads(done.stdout))

    return run


@pytest.fixture
def other() -> Callable[[str], Any]:
    """other("app1"): another machine of the scenario, as testinfra sees it."""
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
    return lambda name: testinfra.get_host(f"ansible://{name}", ansible_inventory=str(inventory))


def run_playbook(*arguments: str, variables: dict[str, Any] | None = None, path: str | Path | None = None) -> Run:
    """ansible-playbook on the scenario's inventory; its converge play unless `path` names another."""
    config = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    play = scenario / (path or config["ansible"]["playbooks"]["converge"])
    # Molecule's verifier sets these for testinfra; the play must ask for become itself.
    testinfras = ("ANSIBLE_BECOME", "ANSIBLE_SSH_EXTRA_ARGS")
    environment = {key: value for key, value in os.environ.items() if key not in testinfras}
    environment |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
    extra = [f"--extra-vars={json.dumps(variables)}"] if variables else []
    argv = ["ansible-playbook", f"--inventory={inventory}", "--diff", *extra, *arguments, str(play)]
    done = ansible_runs.run(argv, Path.cwd(), environment, timeout=600)
    return Run(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def playbook(machine: str) -> Callable[..., Run]:
    """playbook({"nginx_sites": []}, "-vvv", check=True, path=None) -> Run: the converge play on this machine."""

    def run(
        variables: dict[str, Any] | None = None, *arguments: str, check: bool = False, path: str | None = None
    ) -> Run:
        more = [*arguments, *(["--check"] if check else [])]
        return run_playbook(f"--limit={machine}", *more, variables=variables, path=path)

    return run
