"""The combinations to try: a pairwise selection, or all of them with --full; what came of each is kept for the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cells import RESULTS, Cell, every, pairwise
from servers import Server, project


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="every combination on Debian 13, a pairwise selection on Debian 12"
    )
    parser.addoption("--cell", action="append", default=[], help="only those whose name contains this")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cells = every() if metafunc.config.getoption("full") else pairwise()
    wanted = metafunc.config.getoption("cell")
    cells = [cell for cell in cells if not wanted or any(one in str(cell) for one in wanted)]
    marks = [pytest.param(cell, id=str(cell), marks=pytest.mark.xdist_group(str(cell))) for cell in cells]
    metafunc.parametrize("cell", marks, scope="module", indirect=True)


@pytest.fixture(scope="module")
def cell(request: pytest.FixtureRequest) -> Cell:
    found: Cell = request.param
    return found


@pytest.fixture(scope="module")
def server(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("matrix")
    found = Server(f"matrix-{cell}", cell.image, "matrix", directory)
    found.up()
    try:
        yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def sites(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = project(tmp_path_factory.getbasetemp() / "projects", "plain")
    return [{"name": "plain", "domains": ["plain.example.com"], "path": path, **cell.choices}]


@pytest.fixture(scope="module", autouse=True)
def note(cell: Cell) -> Iterator[dict[str, Any]]:
    """What is known of this combination in the end."""
    found: dict[str, Any] = {"cell": str(cell), "date": time.strftime("%Y-%m-%d")}
    yield found
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{cell}.json").write_text(json.dumps(found))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Iterator[None]:
    report = yield
    found = item.funcargs.get("note")
    if found is not None and report.when == "call":
        found.setdefault("tests", {})[item.originalname] = report.outcome
    return report
