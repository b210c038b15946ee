"""One server with one site, for all tests that deploy to one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, project
from site_under_load import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("deploy")
    server = Server("deploy", "debian13", "deploy", directory)
    server.up()
    try:
        found = Site([server], Path(project(directory / "projects", "plain")))
        run = found.play("site")
        assert run.rc == 0, run.end
        yield found
    finally:
        server.down()
