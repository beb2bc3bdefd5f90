"""The report as a file and as a page in a real browser; the notebook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

import labctl
from labctl.columns import export_rows
from labctl.initialise import initialise
from labctl.report.data import gather
from labctl.report.html import render, write_report
from labctl.report.terminal import convergence
from materials_db import records as db
from materials_db.frames import experiment_row
from materials_db.memory import MemoryStore
from tests.records import AT, campaign, experiment_line, fill, floor
from tests.virtual_lab import VirtualLab

CHROMIUM = shutil.which("chromium")


def test_the_report_tells_everything_that_a_reader_needs(finished: tuple[VirtualLab, str], tmp_path: Path) -> None:
    lab, id = finished
    with lab.store.transaction() as tx:
        path = write_report(tx, id, tmp_path)
        data = gather(tx, id)
    page = path.read_text()
    assert data.best is not None
    for words in (
        "SIMULATED",
        data.best.sample.id,
        "Not yet confirmed",
        "Composition map",
        "Instruments over time",
        data.campaign.file_sha256,
    ):
        assert words in page
    assert page.count("<svg") >= 3
    assert all(line.sample.id in page for line in data.lines)
    assert path.stat().st_size < 2_000_000


def test_the_same_data_give_the_same_bytes(finished: tuple[VirtualLab, str]) -> None:
    lab, id = finished
    with lab.store.transaction() as tx:
        assert render(gather(tx, id)) == render(gather(tx, id))


def test_nothing_in_the_page_reaches_outside(finished: tuple[VirtualLab, str]) -> None:
    lab, id = finished
    with lab.store.transaction() as tx:
        page = render(gather(tx, id))
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) == []
    assert "<script" not in page


@pytest.mark.parametrize("experiments", [0, 1, 3])
def test_small_campaigns_have_a_report_too(experiments: int) -> None:
    store = MemoryStore()
    with store.transaction() as tx:
        if experiments:
            fill(tx, experiments)
        else:
            tx.add(*floor(), campaign(), at=AT, actor="a")
        assert "<h1>C-0001 conductivity</h1>" in render(gather(tx, "C-0001"))


def test_a_campaign_in_which_everything_failed_says_so() -> None:
    store = MemoryStore()
    with store.transaction() as tx:
        tx.add(*floor(), campaign(), *experiment_line(), at=AT, actor="a")
        tx.move(db.Experiment, "E-00001", at=AT, actor="a", state="failed", outcome="vial <b>dropped</b> [again]")
        page = render(gather(tx, "C-0001"))
    assert "all 1 experiments ended without a value" in page
    assert "vial &lt;b&gt;dropped&lt;/b&gt; [again]" in page


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
@pytest.mark.filterwarnings("ignore")
def test_the_page_is_readable_offline_on_a_phone_and_on_a_screen(
    finished: tuple[VirtualLab, str], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    lab, id = finished
    with lab.store.transaction() as tx:
        path = write_report(tx, id, tmp_path)
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for width in (400, 1280):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: problems.append(message.text))
            page.on(
                "request", lambda request: problems.append(request.url) if not request.url.startswith("file:") else None
            )
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("figure svg").count() >= 3
            assert page.locator("tbody tr").count() == 20
        browser.close()
    assert problems == []


def test_a_plot_in_the_terminal_has_no_escape_codes_in_a_pipe() -> None:
    drawn = convergence([(1, 9.0), (2, 11.0), (4, 10.5)], "maximize", "kappa [mS/cm]")
    assert "\x1b" not in drawn
    assert "best so far" in drawn
    assert max(len(line) for line in drawn.splitlines()) <= 80


def test_the_plot_counts_experiments_in_whole_numbers() -> None:
    drawn = convergence([(n, 1.0 * n) for n in range(1, 31)], "maximize", "kappa [mS/cm]")
    assert drawn.splitlines()[-2].split() == ["1", "8", "16", "23", "30"]


def test_a_notebook_sees_a_campaign_with_units(small_lab: Path) -> None:
    with labctl.connect(small_lab) as view:
        frame = view.campaign("1").to_pandas()
        assert list(frame["ionic_conductivity [mS/cm]"]) == [11.0, 12.0, 13.0]
        assert frame["LiPF6 [mass fraction]"].iloc[0] == 0.1
        assert frame.attrs["units"]["ionic_conductivity [mS/cm]"] == "mS/cm"
        assert "3 experiments" in repr(view.campaign("last"))
        assert repr(view.campaign(1)) == repr(view.campaign("last"))
        assert list(view.campaigns().index) == ["C-0001"]
        assert view.trace("S-00002").problems == []
        assert len(view.measurements()) == 3


def test_a_notebook_on_a_lab_that_has_run_nothing_finds_empty_tables_and_leaves_no_trace(tmp_path: Path) -> None:
    initialise(tmp_path / "lab#1 %20")
    with labctl.connect(tmp_path / "lab#1 %20") as view:
        assert (len(view.campaigns()), view.campaigns().index.name) == (0, "id")
        assert list(view.measurements())[:3] == ["id", "sample", "quantity"]
    assert not (tmp_path / "lab#1 %20" / ".labctl").exists()


def test_a_notebook_cannot_write(small_lab: Path) -> None:
    hold = db.Hold(id="H-0001", instrument="doser-1", mode="hold", reason="me", placed_by="mei", placed_at=AT)
    with labctl.connect(small_lab) as view, pytest.raises(sa.exc.OperationalError, match="readonly"):
        view._read(lambda tx: tx.add(hold, at=AT, actor="mei"))


def test_a_component_that_was_left_out_is_zero_and_not_unknown(small_lab: Path) -> None:
    with labctl.connect(small_lab) as view:
        row = view._read(lambda tx: experiment_row(tx, tx.get(db.Experiment, "E-00001"), ["LiPF6", "EC", "DMC"]))
    assert [row[f"{name} [mass fraction]"] for name in ("LiPF6", "EC", "DMC")] == [0.1, 0.9, 0.0]
    rows = [
        {"campaign": "C-1", "fractions": {"EC": 0.9, "LiPF6": 0.1}, "process": {}, "samples": ["S-1"], "values": {}},
        {"campaign": "C-1", "fractions": {"DMC": 1.0}, "process": {}, "samples": ["S-2"], "values": {}},
    ]
    keys = dict.fromkeys(("id", "quantity", "value", "u", "unit", "n", "origin"))
    exported = export_rows([{**keys, **row} for row in rows])
    assert [r["DMC"] for r in exported] == [0.0, 1.0]
