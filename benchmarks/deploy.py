#!/usr/bin/env python3
"""Measure deployments under a strict load: failed requests, the longest answer, and seconds beside a shell script.

    make setup && .venv/bin/python benchmarks/deploy.py [--deploys 10] [--only apache] [--full] [--write]

A server of the test bed gets a site; then, for each combination of web server, application server and process manager
(pairwise, or all with --full), visitors ask for its page 60 times a second, by HTTP/1.1 with and without keep-alive and by
HTTP/2, while changed code is deployed again and again, and once more while nothing is. Every answer but 200 and every
refused or reset connection is a failure. After it, without visitors: an unchanged commit, a rollback, and deployments of
changed code in turn with by-hand.sh, which pulls, collects static files, migrates and restarts.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/deploy")]

from servers import Run, Server, bed, project  # noqa: E402
from site_under_load import Site  # noqa: E402

PAGE = ROOT / "docs/benchmarks.md"
MARK = "<!-- table: made by benchmarks/deploy.py -->"
CHOICES = {
    "web_server": ("nginx", "apache"),
    "app_server": ("gunicorn", "uwsgi"),
    "process_manager": ("systemd", "supervisord"),
}
# Every two of the six appear together once.
PAIRWISE = [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]


def combinations(full: bool, only: str) -> list[dict[str, str]]:
    """The combinations to measure."""
    numbers = list(itertools.product((0, 1), repeat=3)) if full else PAIRWISE
    found = [{key: choices[n] for (key, choices), n in zip(CHOICES.items(), row)} for row in numbers]
    return [one for one in found if only in one.values() or not only]


def timed(action: Any) -> float:
    """Seconds that an action takes; it must succeed."""
    began = time.monotonic()
    run = action()
    if run is not None and run.rc:
        sys.exit(run.end)
    return time.monotonic() - began


def play(of: Site, playbook: str, **variables: Any) -> Run:
    """The program itself, whose start counts; the tests have it loaded."""
    argv = of.command(playbook, **variables)
    done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=False)
    return Run(done.returncode, done.stdout + done.stderr)


def by_hand(site: Site) -> Any:
    """Set the same project up beside the site, for the script; what pulls the newest commit and runs it."""
    server = site.server
    user = f"{bed.ansible_variables(server.facts)['ansible_user']}"
    server.run(
        "command -v git >/dev/null || apt-get -qq install -y git >/dev/null 2>&1; git init -q --bare /srv/plain.git;"
        f"chown -R {user} /srv/plain.git; git config --system --add safe.directory '*'"
    )
    values = bed.ansible_variables(server.facts)
    ssh = f"ssh -i {values['ansible_ssh_private_key_file']} -p {values.get('ansible_port', 22)} {values['ansible_ssh_common_args']}"
    where = f"{user}@{values['ansible_host']}"

    def push() -> None:
        argv = ["git", "push", "--quiet", "--force", f"{where}:/srv/plain.git", "HEAD:main"]
        subprocess.run(argv, cwd=site.code, check=True, env={"GIT_SSH_COMMAND": ssh, "PATH": "/usr/bin:/bin"})

    push()
    server.run(
        "cd /srv && git clone -q -b main plain.git plain-by-hand && cp -a plain/current/venv/. plain-by-hand/venv"
        " && sed -e 's#/srv/plain/releases/[^/:\"]*/code#/srv/plain-by-hand#g' plain/current/env > plain-by-hand/env"
        " && cp -a plain/current/overlay plain-by-hand/overlay"
        " && sed -i 's#/srv/plain/releases/[^/:\"]*/overlay#/srv/plain-by-hand/overlay#g' plain-by-hand/env"
        " && chown -R plain:plain plain-by-hand && sed -i \"s#'static_root': [^,]*,#'static_root': '/srv/plain-by-hand/collected',#\" plain-by-hand/overlay/webstack_settings.py"
    )
    server.run("cat > /root/by-hand.sh", (ROOT / "benchmarks/by-hand.sh").read_text())

    def deploy() -> None:
        push()
        subprocess.run([*ssh.split(), where, "sudo sh /root/by-hand.sh plain"], check=True)

    return deploy


def measure(choices: dict[str, str], deploys: int) -> str:
    """One combination on a server of its own; its line of the table."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server("bench-deploy", "debian13", "bench-deploy", Path(directory))
        server.up()
        try:
            site = Site([server], Path(project(Path(directory) / "projects", "plain")), **choices)
            timed(lambda: play(site, "site"))
            with site.load():
                time.sleep(15)
            quiet = site.seen
            with site.load():
                for number in range(deploys):
                    site.say(f"words {number}")
                    timed(lambda: play(site, "deploy", site="plain"))
            seen = site.seen
            unchanged = statistics.median(timed(lambda: play(site, "deploy", site="plain")) for _ in range(3))
            back = timed(lambda: play(site, "rollback", site="plain"))
            script = by_hand(site)
            times, hands = [], []
            for number in range(5):  # in turn, with no visitors
                site.say(f"deployed {number}")
                times.append(timed(lambda: play(site, "deploy", site="plain")))
                site.say(f"by hand {number}")
                hands.append(timed(script))
        finally:
            server.down()
    middle, hand = statistics.median(times), statistics.median(hands)
    return (
        f"| {' '.join(choices.values())} | {deploys} | {seen['requests']} | {seen['failed']} | {seen['longest']:.2f} |"
        f" {quiet['longest']:.2f} | {middle:.1f} | {hand:.1f} | {middle / hand:.1f} | {unchanged:.1f} | {back:.1f} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploys", type=int, default=10)
    parser.add_argument("--only", default="", help="only combinations with this part")
    parser.add_argument("--full", action="store_true", help="all eight combinations")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    table = (
        "| | deploys | requests | failed | longest (s) | longest without (s) | deploy (s) | by hand (s) | ratio |"
        " unchanged (s) | rollback (s) |\n" + "|---" * 11 + "|\n"
    )
    for choices in combinations(given.full, given.only):
        line = measure(choices, given.deploys)
        print(line, end="", flush=True)
        table += line
    print("\n" + table)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n{MARK}{rest.partition(MARK)[2]}")


if __name__ == "__main__":
    main()
