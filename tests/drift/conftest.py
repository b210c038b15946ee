"""Two servers of Debian 13, and with --full one of Debian 12; which mutations are done to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drifted
import killed
import pytest
from servers import Server

MACHINES = ["first", "second"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="all points of interruption, all mutations, also each by itself"
    )
    parser.addoption("--mutation", action="append", default=[], help="only those whose id contains this")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Without --full: on one server, and by --mutation only (one batch of them is done where a converge is killed)."""
    full = metafunc.config.getoption("full")
    if "which" in metafunc.fixturenames:
        metafunc.parametrize("which", [_param(one, one) for one in (MACHINES if full else MACHINES[:1])])
    if "chosen" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("mutation") or [""] * full
        params: list[Any] = []
        for which in MACHINES:
            chosen = [one for one in drifted.mutations(which) if any(words in one["id"] for words in wanted)]
            alone = "alone" in metafunc.fixturenames
            groups = [[one] for one in chosen] if alone else drifted.batches(chosen)
            params += [_param(which, (which, group), group[0]["id"]) for group in groups]
        metafunc.parametrize("chosen", params, indirect=True)


def _param(which: str, value: Any, name: str = "") -> Any:
    return pytest.param(value, id=f"{which}-{name}".strip("-"), marks=pytest.mark.xdist_group(which))


@pytest.fixture(scope="session")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[killed.Shape]:
    """Two servers, one of them converged."""
    found = killed.Shape(tmp_path_factory.mktemp("shape"))
    servers = (found.calm.server, found.disturbed.server)
    try:
        for server in servers:
            server.up()
        found.tasks = found.run(found.calm)
        yield found
    finally:
        for server in servers:
            server.down()


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[drifted.Drifting]:
    """A server with all that the first one has not."""
    server = Server("drift-second", "debian12", "drift", tmp_path_factory.mktemp("second"), called="second")
    found = drifted.make("second", server)
    server.up()
    try:
        run = found.converge()
        assert run.rc == 0, run.end
        yield found
    finally:
        server.down()


@pytest.fixture
def converged(which: str, request: pytest.FixtureRequest) -> drifted.Drifting:
    """One of the servers, converged."""
    return _converged(which, request)


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> tuple[drifted.Drifting, list[drifted.Mutation]]:
    """A server, converged and clean, and what is done to it."""
    which, group = request.param
    return _converged(which, request), group


def _converged(which: str, request: pytest.FixtureRequest) -> drifted.Drifting:
    found: drifted.Drifting = (
        request.getfixturevalue("shape").calm if which == "first" else request.getfixturevalue("second")
    )
    return found


@pytest.fixture
def alone() -> None:
    """For tests of one mutation after another."""
