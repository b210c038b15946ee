"""Which commands fill a virtual environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import commands, dependencies
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site

UV = "/opt/webstack/uv/bin/uv"


class Host:
    """A host whose commands are written down; `pip list` and imports answer as they are told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: list[str] = []
        self.installed = {"Django": "5.2.8"}
        self.imports: set[str] = set()
        self.fails: tuple[str, ...] = ()

    def run(self, site: Site, argv: list[str], cwd: str, environment: dict[str, str], *_: Any) -> commands.Result:
        line = " ".join(argv).replace(str(self.root), "ROOT")
        if argv[:4] == [UV, "pip", "list", "--quiet"]:
            return commands.Result(0, json.dumps([{"name": k, "version": v} for k, v in self.installed.items()]))
        if argv[:3] == [UV, "pip", "freeze"]:
            return commands.Result(0, "".join(f"{k}=={v}\n" for k, v in self.installed.items()))
        if argv[1:2] == ["-c"]:
            return commands.Result(0 if argv[2].removeprefix("import ") in self.imports else 1, "")
        if argv[1:3] not in (["venv", "--quiet"], ["pip", "check"]):
            self.lines.append(line)
        return commands.Result(int(line.endswith(self.fails)) if self.fails else 0, "it said this")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(commands, "run", made.run)
    monkeypatch.setattr(dependencies, "run", made.run)
    monkeypatch.setattr(dependencies, "build_environment", lambda site: {})
    monkeypatch.setattr(dependencies, "UV", UV)
    monkeypatch.setattr(dependencies.os, "access", lambda path, mode: path == UV)
    # Files are written for the account that runs the tests.
    monkeypatch.setattr(dependencies.Builder, "_write", write)
    return made


def write(builder: dependencies.Builder, name: str, lines: list[str]) -> str:
    path = Path(builder.site.release) / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def install(host: Host, files: dict[str, str], **more: Any) -> list[str]:
    site = Site({"name": "blog", "root": str(host.root), "release_id": "one", **more})
    for name, text in files.items():
        path = Path(site.code) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    dependencies.Builder(site).install("/usr/bin/python3")
    return host.lines


PIP = f"{UV} pip install --python ROOT/releases/one/venv/bin/python"
CODE = "ROOT/releases/one/code"


@pytest.mark.parametrize(
    ("tool", "files", "lines"),
    [
        (
            {"tool": "uv", "file": "uv.lock", "groups": ["live"], "extras": ["s3"]},
            {"uv.lock": ""},
            [f"{UV} sync --frozen --no-dev --python ROOT/releases/one/venv/bin/python --group live --extra s3"],
        ),
        (
            {"tool": "requirements", "file": "requirements/live.txt"},
            {"requirements/live.txt": "Django\n"},
            [f"{PIP} --requirement {CODE}/requirements/live.txt"],
        ),
        (
            {"tool": "requirements", "file": "requirements.txt"},
            {"requirements.txt": "Django==5.2.8 \\\n    --hash=sha256:00\n# comment\n"},
            [f"{PIP} --require-hashes --requirement {CODE}/requirements.txt"],
        ),
        (
            {"tool": "project", "file": "pyproject.toml", "extras": ["s3"]},
            {"pyproject.toml": "[project]\nname='x'\n"},
            [f"{PIP} --extra s3 --requirement {CODE}/pyproject.toml"],
        ),
        (
            {"tool": "project", "file": "pyproject.toml", "groups": ["live"], "extras": ["s3", "x"]},
            {"pyproject.toml": "[build-system]\n"},
            [f"{PIP} --group live --editable .[s3,x]"],
        ),
        ({"tool": "project", "file": "setup.py"}, {"setup.py": ""}, [f"{PIP} --editable ."]),
        ({"tool": "none"}, {"README": ""}, []),
    ],
)
def test_each_tool(host: Host, tool: dict[str, Any], files: dict[str, str], lines: list[str]) -> None:
    assert install(host, files, dependencies=tool) == lines


def test_pipenv(host: Host) -> None:
    lock = {
        "default": {"django": {"version": "==5.2.8", "hashes": ["sha256:00"]}},
        "live": {"x": {"version": "==1"}},
        "develop": {"y": {"version": "==1"}},
    }
    given = {"tool": "pipenv", "file": "Pipfile.lock", "groups": ["live"]}
    assert install(host, {"Pipfile.lock": json.dumps(lock)}, dependencies=given) == [
        f"{PIP} --requirement ROOT/releases/one/requirements.txt"
    ]
    text = (host.root / "releases/one/requirements.txt").read_text()
    assert text == "django==5.2.8 --hash=sha256:00\nx==1\n"


def test_poetry_in_a_directory_with_sources(host: Host) -> None:
    given = {"tool": "poetry", "file": "app/poetry.lock", "directory": "app", "groups": ["live"], "extras": ["s3"]}
    host.root.joinpath("releases/one/code/app/src").mkdir(parents=True)
    export, install_file, own = install(host, {"app/poetry.lock": ""}, dependencies=given)
    target = "/var/cache/webstack/blog/poetry-requirements.txt"
    assert export == (
        f"{UV} tool run --from poetry>=2,<3 --with poetry-plugin-export poetry export --no-interaction "
        f"--format requirements.txt --output {target} --with live --extras s3"
    )
    assert install_file == f"{PIP} --requirement {target}"
    assert own == f"{PIP} --no-deps --editable ."


def test_a_project_that_is_no_package_has_its_dependencies_installed(host: Host) -> None:
    host.fails = ("--editable .",)
    given = {"tool": "project", "file": "pyproject.toml"}
    assert install(host, {"pyproject.toml": "[build-system]\n"}, dependencies=given) == [
        f"{PIP} --editable .",
        f"{PIP} --requirement {CODE}/pyproject.toml",
    ]


def test_a_package_is_the_project(host: Host) -> None:
    source = {"kind": "package", "package": "some-project==1.2"}
    host.root.joinpath("releases/one/code").mkdir(parents=True)
    assert install(host, {}, source=source) == [f"{PIP} some-project==1.2"]


NONE: dict[str, Any] = {"tool": "none"}
POSTGRESQL = {"engine": "postgresql", "name": "blog"}
ADD = f"{PIP} --constraint ROOT/releases/one/constraints.txt "


@pytest.mark.parametrize(
    ("installed", "imports", "more", "added"),
    [
        ({"Django": "5.2"}, set(), {"dependencies": {**NONE, "add": ["gunicorn>=23"]}}, "gunicorn>=23"),
        ({"Django": "5.2", "gunicorn": "20.0"}, set(), {"dependencies": {**NONE, "add": ["Gunicorn>=23"]}}, None),
        ({"Django": "5.2"}, set(), {"database": POSTGRESQL}, "psycopg[binary]>=3.1.8"),
        ({"Django": "3.2"}, set(), {"database": POSTGRESQL}, "psycopg2-binary"),
        ({"Django": "5.2", "psycopg": "3.2.1"}, set(), {"database": POSTGRESQL}, "psycopg[binary]==3.2.1"),
        ({"Django": "5.2"}, {"psycopg2"}, {"database": POSTGRESQL}, None),
        ({"Django": "5.2"}, set(), {"database": {"engine": "mysql", "name": "blog"}}, "mysqlclient"),
        ({"Django": "5.2"}, {"pymysql"}, {"database": {"engine": "mysql", "name": "blog"}}, None),
        ({"Django": "5.2"}, set(), {"cache": {"url": "x"}}, "redis>=4"),
        ({"Django": "5.2", "redis": "5.0"}, set(), {"cache": {"url": "x"}}, None),
        ({"Django": "3.2"}, set(), {"cache": {"url": "x"}}, None),
        ({"Django": "5.2"}, set(), {"cache": {"url": "x"}, "settings_overlay": False}, None),
        ({"Django": "5.2"}, set(), {"cache": {"url": "memcached:///run/x.sock"}}, "pymemcache>=4"),
        ({"Django": "5.2", "pymemcache": "4.0"}, set(), {"cache": {"url": "memcached:///run/x.sock"}}, None),
        ({"Django": "3.2"}, set(), {"cache": {"url": "memcached://10.0.0.3:11211"}}, "pymemcache>=4"),
        ({"Django": "2.2"}, set(), {"cache": {"url": "memcached://10.0.0.3:11211"}}, None),
    ],
)
def test_what_is_missing_is_added_and_nothing_else_changes(
    host: Host, installed: dict[str, str], imports: set[str], more: dict[str, Any], added: str | None
) -> None:
    host.installed, host.imports = installed, imports
    assert install(host, {"README": ""}, **{"dependencies": NONE, **more}) == ([ADD + added] if added else [])
    if added:
        pinned = (host.root / "releases/one/constraints.txt").read_text()
        assert pinned == "".join(f"{name}=={version}\n" for name, version in installed.items())


GUNICORN, UWSGI = {"app_server": "gunicorn"}, {"app_server": "uwsgi"}
ASGI = {**GUNICORN, "interface": "asgi"}


@pytest.mark.parametrize(
    ("installed", "more", "added"),
    [
        ({}, GUNICORN, "gunicorn>=23,<26"),
        ({}, {**GUNICORN, "dependencies": {**NONE, "add": ["gunicorn>=23,<26"]}}, "gunicorn>=23,<26"),
        ({}, {**UWSGI, "dependencies": {**NONE, "add": ["uWSGI>2"]}}, "uWSGI>2 pyuwsgi>=2.0.30"),
        ({"gunicorn": "20.0"}, GUNICORN, None),
        ({}, UWSGI, "pyuwsgi>=2.0.30"),
        ({"uWSGI": "2.0.21"}, UWSGI, None),
        ({"pyuwsgi": "2.0.21"}, UWSGI, None),
        ({}, ASGI, "gunicorn>=23,<26 uvicorn uvicorn-worker websockets"),
        ({}, {**GUNICORN, "asgi": "x.asgi:application"}, "gunicorn>=23,<26 uvicorn uvicorn-worker websockets"),
        ({"gunicorn": "21", "uvicorn": "0.29.0", "websockets": "12"}, ASGI, None),
        ({"gunicorn": "23", "uvicorn": "0.30.1", "wsproto": "1"}, ASGI, "uvicorn-worker"),
        ({"gunicorn": "23", "uvicorn": "1.0", "uvicorn-worker": "0.4"}, ASGI, "websockets"),
    ],
)
def test_the_application_server(host: Host, installed: dict[str, str], more: dict[str, Any], added: str | None) -> None:
    host.installed = {"Django": "5.2", **installed}
    assert install(host, {"README": ""}, **{"dependencies": NONE, **more}) == ([ADD + added] if added else [])


def test_what_uwsgi_cannot_serve(host: Host) -> None:
    with pytest.raises(ReleaseError, match=r"site blog, build: uWSGI cannot serve ASGI\nWhat to do: set app_server to"):
        install(host, {"README": ""}, dependencies=NONE, app_server="uwsgi", interface="asgi")


def test_without_django(host: Host) -> None:
    host.installed = {"Flask": "3.0"}
    with pytest.raises(ReleaseError, match=r"site blog, build: Django is not among what was installed \(uv.lock\)"):
        install(host, {"uv.lock": ""}, dependencies={"tool": "uv", "file": "uv.lock"})


def test_a_command_that_fails(host: Host) -> None:
    host.fails = ("requirements.txt",)
    with pytest.raises(ReleaseError) as error:
        install(host, {"requirements.txt": ""}, dependencies={"tool": "requirements"})
    assert "requirements.txt` failed with status 1; it said last:\n    it said this\nWhat to do: " in str(error.value)


def test_a_file_that_is_not_there(host: Host) -> None:
    with pytest.raises(ReleaseError, match=r"there is no .*/code/live.txt\nWhat to do: set dependencies.file"):
        install(host, {"README": ""}, dependencies={"tool": "requirements", "file": "live.txt"})


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"version": "==1.0"}, "x==1.0"),
        ({"version": "==1.0", "extras": ["a", "b"]}, "x[a,b]==1.0"),
        (
            {"version": "==1.0", "markers": "os_name == 'nt'", "hashes": ["sha256:0"]},
            "x==1.0 ; os_name == 'nt' --hash=sha256:0",
        ),
        ({"git": "https://example.com/x.git", "ref": "abc"}, "x @ git+https://example.com/x.git@abc"),
        ({"file": "https://example.com/x.whl", "hashes": ["sha256:0"]}, "x @ https://example.com/x.whl"),
        ({"path": ".", "editable": True}, "-e ."),
        ({}, "x"),
    ],
)
def test_lines_of_a_pipfile(entry: dict[str, Any], line: str) -> None:
    assert dependencies.pipfile_lines({"x": entry}) == [line]


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("a==1 --hash=sha256:0\n", True),
        ("--index-url https://example.com\n# x\na==1 \\\n  --hash=sha256:0\n", True),
        ("a==1 --hash=sha256:0\nb==1\n", False),
        ("", False),
        ("# nothing\n", False),
    ],
)
def test_files_in_which_everything_has_a_hash(text: str, hashed: bool) -> None:
    assert dependencies.all_hashed(text) is hashed
