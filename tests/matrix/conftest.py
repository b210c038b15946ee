"""The combinations to try: a pairwise selection, several on a server, or with --full each on a server of its own; then
what came of each is kept for the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cells import RESULTS, Cell, every, shared
from servers import Server, project


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="every combination on Debian 13, a pairwise selection on Debian 12"
    )
    parser.addoption("--cell", action="append", default=[], help="only those whose name contains this")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [[cell] for cell in every()] if metafunc.config.getoption("full") else shared()
    wanted = metafunc.config.getoption("cell")
    chosen = [[cell for cell in cells if not wanted or any(one in str(cell) for one in wanted)] for cells in given]
    marks = [
        pytest.param(cells, id="+".join(map(str, cells)), marks=pytest.mark.xdist_group(str(cells[0])))
        for cells in chosen
        if cells
    ]
    metafunc.parametrize("cells", marks, scope="module", indirect=True)


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest) -> list[Cell]:
    found: list[Cell] = request.param
    return found


@pytest.fixture(scope="module")
def server(cells: list[Cell], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("matrix")
    found = Server(f"matrix-{cells[0]}", cells[0].image, "matrix", directory)
    found.up()
    try:
        yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def sites(cells: list[Cell], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = project(tmp_path_factory.getbasetemp() / "projects", "plain")
    names = ["plain", *(f"plain{number}" for number in range(2, len(cells) + 1))]
    return [
        {"name": name, "domains": [f"{name}.example.com"], "path": path, **cell.choices}
        for name, cell in zip(names, cells)
    ]


@pytest.fixture(scope="module", autouse=True)
def note(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    """What is known of this combination in the end; of one that has a server of its own it is kept."""
    found: dict[str, Any] = {"cell": str(cells[0]), "date": time.strftime("%Y-%m-%d")}
    yield found
    if len(cells) == 1:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{cells[0]}.json").write_text(json.dumps(found))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Iterator[None]:
    report = yield
    found = item.funcargs.get("note")
    if found is not None and report.when == "call":
        found.setdefault("tests", {})[item.originalname] = report.outcome
    return report
