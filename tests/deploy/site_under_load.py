"""A site on a server of the test bed, its repository, and visitors who miss nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import ROOT, Run, Server, command, inventory, play

HOST = "plain.example.com"
SAYING = """

_index = index


def index(request):
    answer = _index(request)
    answer["X-Words"] = "{words}"
    return answer
"""
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]


class Site:
    """The server, the project's repository, and what the visitors saw."""

    def __init__(
        self, servers: list[Server], code: Path, groups: dict[str, list[str]] | None = None, **choices: Any
    ) -> None:
        self.servers, self.code, self.groups = servers, code, groups or {}
        self.server = servers[0]  # the web server
        self.application = servers[-1]
        self.given: dict[str, Any] = {
            "name": "plain",
            "domains": [HOST],
            "repo": str(code),
            "keep_releases": 3,
            **choices,
        }
        self.seen: dict[str, Any] = {}
        self.original = (code / "notes/views.py").read_text()

    def play(self, playbook: str, *words: str, **variables: Any) -> Run:
        """``ansible-playbook playbooks/<playbook>.yml``."""
        return play(self.command(playbook, *words, **variables))

    def command(self, playbook: str, *words: str, **variables: Any) -> list[str]:
        """The same, to be started in ROOT."""
        return command(playbook, inventory(self.servers, [self.given], self.groups), *words, extra=variables)

    def git(self, *words: str) -> str:
        """git in the project's repository."""
        return subprocess.run([*GIT, *words], cwd=self.code, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        """Write files of the project and commit them; the commit."""
        for name, text in files.items():
            (self.code / name).parent.mkdir(parents=True, exist_ok=True)
            (self.code / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "next")
        return self.git("rev-parse", "HEAD")

    def say(self, words: str) -> str:
        """Commit code that says something else in a header of the page."""
        return self.commit({"notes/views.py": self.original + SAYING.format(words=words)})

    def words(self) -> str:
        """What the site says now."""
        (answer,) = self.server.browse({"url": f"https://{HOST}/"})
        assert answer["status"] == 200, answer
        return str(answer["headers"].get("x-words", ""))

    @contextmanager
    def load(self, rate: float = 60, path: str = "/") -> Iterator[None]:
        """Visitors, whose failures are in `seen` afterwards."""
        argv = [sys.executable, "tests/deploy/load.py", HOST, self.server.facts["address"], "--rate", str(rate)]
        argv += ["--path", path]
        with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            yield
            output, _error = process.communicate(timeout=120)
        self.seen = json.loads(output)
        print(json.dumps(self.seen))

    def serving(self) -> str:
        return self.application.run("readlink /srv/plain/current").strip().removeprefix("releases/")

    def log(self) -> list[dict[str, Any]]:
        """The site's log of deployments."""
        text = self.application.run("cat /var/log/webstack/plain-deploys.jsonl")
        return [json.loads(line) for line in text.splitlines()]
