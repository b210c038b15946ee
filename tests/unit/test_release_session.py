# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One process of a project that runs many commands; what stands for Django here only knows how commands are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import session
from ansible_collections.webstack.django.plugins.module_utils.release.session import Session
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

MANAGEMENT = """
import atexit, sys
COUNT = 0
def execute_from_command_line(argv):
    global COUNT
    if argv[1] == "shell":
        return exec(argv[3], {})
    COUNT += 1
    atexit.register(print, "at the end")
    print(argv[1:], COUNT, repr(sys.stdin.read()))
    if argv[1] == "fail":
        print("no", file=sys.stderr)
        sys.exit(3)
    if argv[1] == "raise":
        raise ValueError("wrong")
"""
Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(session, "as_account", lambda _site, argv: argv)
    library = tmp_path / "library"
    (library / "django/core").mkdir(parents=True)
    (library / "django/__init__.py").write_text("")
    (library / "django/core/__init__.py").write_text("")
    (library / "django/core/management.py").write_text(MANAGEMENT)
    (library / "django/db.py").write_text("class connections:\n    close_all = staticmethod(lambda: None)\n")
    site = Site({"name": "blog", "root": str(tmp_path), "release_id": "one"})
    code = Path(site.code)
    code.mkdir(parents=True)
    started = []

    def begin(first: str, argv: tuple[str, ...] = ("-c",), **files: str) -> Session:
        for name, text in files.items():
            (code / f"{name}.py").write_text(text)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{library}:{code}"}  # no PYTHONUNBUFFERED
        started.append(Session(site, [sys.executable, *argv], first, environment))
        return started[-1]

    yield begin
    for one in started:
        one.close()
        assert one._process.returncode is not None


def test_each_command_is_as_in_a_process_of_its_own(start: Start) -> None:
    one = start("print('loaded')")
    assert (one.first.status, one.first.text, one.alive) == (0, "loaded\n", True)
    for words, status in ((["check", "--deploy"], 0), (["fail"], 3), (["check"], 0)):
        done = one.ask(words=words)
        assert done
        said = f"{words} 1 ''\n" + "no\n" * (status == 3) + "at the end\n"
        assert (done.status, sorted(done.text.splitlines())) == (status, sorted(said.splitlines()))
    done = one.ask(words=["raise"])
    assert done and done.status == 1
    assert "ValueError: wrong" in done.text
    done = one.ask(code="import os\nprint(6 * 7)\nos._exit(9)")
    assert done and done.status == 9
    done = one.ask(code="print(6 * 7)")
    assert done and (done.status, done.text) == (0, "42\n")
    assert one.alive


@pytest.mark.parametrize(("words", "status"), [(("check", "--deploy"), 0), (("fail",), 3)])
def test_a_command_beside_others(start: Start, words: tuple[str, ...], status: int) -> None:
    one = start("print('loaded')")
    assert one.begin(words)
    other = one.ask(words=["collectstatic"])
    assert other and (other.status, other.text) == (0, "['collectstatic'] 1 ''\nat the end\n")
    done = one.end()
    assert done and (done.status, done.text.count("at the end")) == (status, 1)
    assert f"{list(words)} 1 ''" in done.text
    assert one.ask(code="pass")


def test_a_project_that_cannot_be_loaded(start: Start) -> None:
    one = start("print('before')\nraise SystemExit('not configured')")
    assert (one.first.status, one.alive) == (1, False)
    assert sorted(one.first.text.splitlines()) == ["before", "not configured"]
    assert one.ask(words=["check"]) is None


@pytest.mark.parametrize(
    ("first", "files"),
    [
        ("import config", {"config": "import sys\nTESTS = 'test' in sys.argv\n"}),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1,)).start()", {}),
    ],
    ids=["asks which command it is", "has threads"],
)
def test_a_project_that_wants_processes_of_its_own(start: Start, first: str, files: dict[str, str]) -> None:
    one = start(first + "\nprint('loaded')", **files)
    assert (one.first.status, one.first.text, one.alive) == (0, "loaded\n", False)
    assert one.ask(words=["check"]) is None


_MANAGE = """
import logging, sys
if __name__ == "__main__":
    from django.core import management
    try:
        management.execute_from_command_line({given})
    except Exception:
        logging.exception("failed: %s", " ".join(sys.argv))
        raise
"""


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        (_MANAGE.format(given="sys.argv"), True),
        (_MANAGE.format(given="sys.argv") + "import sys\nTESTS = sys.argv[1:2] == ['test']\n", False),
    ],
    ids=["runs it and tells it", "has a mind of its own"],
)
def test_manage_py_knows_the_command(start: Start, tmp_path: Path, text: str, alive: bool) -> None:
    path = tmp_path / "releases/one/code/manage.py"
    one = start("print('loaded')", argv=(str(path), "shell", "-c"), manage=text)
    assert (one.first.status, one.first.text.splitlines()[-1], one.alive) == (0, "loaded", alive)


def test_a_process_that_dies(start: Start) -> None:
    one = start("print('loaded')")
    one._process.kill()
    one._process.wait()
    assert one.ask(words=["check"]) is None
    assert not one.alive
