#!/usr/bin/env python3
"""Run checks and scenarios side by side; one line for each, a log for each, the sum at the end.

    run_tests.py [name ...]     lint unit sanity controllers matrix demo switching processes deploy day2 drift pull lockout hostile
                          and the scenarios in molecule/ (default: all)

Environment: JOBS (2) at a time, and one more of those that mostly wait; TEST_MINUTES (85) for all of them together.
Ends with a line `N passed, N failed`: pytest's tests, and one for each check or scenario as a whole.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "logs"
CHECKS = {
    "lint": ["scripts/lint"],
    "unit": ["pytest", "tests/unit", "-n2"],  # some tests wait for seconds
    "sanity": ["scripts/sanity"],
    "controllers": ["scripts/controllers"],
    "matrix": ["pytest", "tests/matrix"],
    "demo": ["pytest", "tests/demo"],
    "switching": ["pytest", "tests/switching"],
    "processes": ["pytest", "tests/processes"],
    "deploy": ["pytest", "tests/deploy"],
    "day2": ["pytest", "tests/day2"],
    "drift": ["pytest", "tests/drift"],
    "pull": ["pytest", "tests/pull"],
    "lockout": ["pytest", "tests/lockout"],
    "hostile": ["pytest", "tests/hostile", "-n2", "--dist=loadgroup"],
}
# pytest runs in these; one that ran no test has not passed.
WITHOUT_PYTEST = {"lint", "sanity"}
# Timers of minutes are what these wait for, one after another beside the others.
WAITING = ("lockout", "firewall")
TAIL = 60
# The longest first, so that none of them is left alone at the end, where the short checks are.
FIRST = (
    "matrix", "deploy", "switching", "processes", "django_app", "stack_single", "stack_tiers", "apache", "nginx",
    "tls", "controllers", "drift", "day2", "lockout", "hostile",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What came of one check or scenario."""

    name: str
    passed: int
    failed: int
    seconds: float


class Stopped(Exception):
    """A signal, or a command that cannot be started."""


class Runner:
    """Starts the commands, each in a process group of its own, so that none outlives the run."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.results: list[Result] = []
        self.lock = threading.Lock()
        self.stopping = False

    def run(self, name: str) -> None:
        started = time.monotonic()
        report = LOGS / f"{name}.xml"
        report.unlink(missing_ok=True)
        command = CHECKS.get(name, ["scripts/molecule", "test", "-s", name])
        environment = os.environ | {
            "PYTEST_ADDOPTS": f"--junitxml={report}",
            "ANSIBLE_FORCE_COLOR": "0",
            "NO_COLOR": "1",
        }
        with (LOGS / f"{name}.log").open("wb") as log:
            with self.lock:
                if self.stopping:
                    return
                try:
                    process = subprocess.Popen(
                        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                        env=environment, start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    raise Stopped(f"{command[0]}: {error}") from error
                self.running[name] = process
            try:
                rc = process.wait(timeout=max(1.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.write(b"\nrun_tests: the time for all tests together is up (TEST_MINUTES)\n")
                self.end(process)
                rc = 124
            finally:
                with self.lock:
                    self.running.pop(name, None)
        passed, failed, skipped = counts(report)
        if rc == 0 and failed == 0 and (passed or name in WITHOUT_PYTEST):
            passed += 1
        else:
            failed += 1
        result = Result(name, passed, failed, time.monotonic() - started)
        self.results.append(result)
        tell(result, skipped)

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(process.pid, sign)
                process.wait(timeout=seconds)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def stop(self) -> None:
        """End everything, quickly; a second call does nothing."""
        with self.lock:
            self.stopping = True
            left = list(self.running.values())
        for process in left:
            self.end(process)


def counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests in pytest's report; zeros when it wrote none."""
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 0, 0
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def tell(result: Result, skipped: int) -> None:
    """The line of one check, and the end of its log when it failed."""
    state = "FAILED" if result.failed else "ok"
    rest = f", {skipped} skipped" if skipped else ""
    line = f"{state:6} {result.name:20} {result.passed} passed, {result.failed} failed{rest}, {result.seconds:.0f} s"
    if result.failed:
        log = LOGS / f"{result.name}.log"
        tail = log.read_text(errors="replace").splitlines()[-TAIL:]
        line = "\n".join([f"--- end of {log.relative_to(ROOT)}", *tail, "---", line])
    print(line, flush=True)


def everything() -> list[str]:
    """All scenarios and checks, in the order in which they are started."""
    names = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return [*FIRST, *(name for name in [*names, *CHECKS] if name not in FIRST)]


def main() -> int:
    available = everything()
    names = sys.argv[1:] or available
    if unknown := [name for name in names if name not in available]:
        print(f"run_tests: unknown: {', '.join(unknown)}; there are: {', '.join(available)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    runner = Runner(started + 60 * float(os.environ.get("TEST_MINUTES", "85")))
    interrupted = False

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    pool, beside = ThreadPoolExecutor(max_workers=int(os.environ.get("JOBS", "2"))), ThreadPoolExecutor(max_workers=1)
    try:
        waiting = beside.map(runner.run, [name for name in names if name in WAITING])
        list(pool.map(runner.run, [name for name in names if name not in WAITING]))
        list(waiting)
    except Stopped as reason:
        interrupted = True
        print(f"run_tests: stopped by {reason}", file=sys.stderr)
    finally:
        # Nothing may interrupt the cleaning up.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        runner.stop()
        pool.shutdown(cancel_futures=True)
        beside.shutdown(cancel_futures=True)
        bed = [sys.executable, str(ROOT / "tools" / "bed.py")]
        subprocess.run([*bed, "down", *(f"--scenario={name}" for name in names)], check=False)
        subprocess.run([ROOT / "scripts" / "teardown"], check=False)
    passed = sum(result.passed for result in runner.results)
    failed = sum(result.failed for result in runner.results)
    print(f"{time.monotonic() - started:.0f} s; logs in {LOGS.relative_to(ROOT)}")
    print(f"{passed} passed, {failed + interrupted} failed")
    return 1 if failed or interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
