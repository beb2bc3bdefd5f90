"""`labctl optimizer` for people who have a table and no lab: good tables of any writing, and bad ones."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from campaigns.campaign_file import read_campaign
from campaigns.candidate import Candidate
from campaigns.optimizer import LeaveOneOut, Observation, Proposal
from campaigns.optimizers.random_search import RandomSearch
from campaigns.plan import Plan
from campaigns.space import Space
from campaigns.spec import Spec
from campaigns.toml_file import FileFaults
from labctl import optimizers
from labctl.app import app, main
from labctl.suggesting import read_history
from tests.labctl.test_cli import on_terminal

DATA = Path(__file__).parents[3] / "shared" / "data"
CAMPAIGN = """
[campaign]
name = "alloy"

[objective]
quantity = "hardness"
direction = "maximize"
unit = "GPa"

[composition]
balance = "Fe"

[composition.components.Fe]
[composition.components.Co]
[composition.components.filler]

[process.anneal]
type = "float"
unit = "degC"
min = "100 degC"
max = "500 degC"
"""
HEADER = "Fe,Co,filler,anneal,hardness"
SHARES = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.2), (0.7, 0.1), (0.2, 0.6), (0.4, 0.4)]
ROWS = [(x, y, 1 - x - y, 200 + 50 * i, 10 * x - 3 * y + 0.1 * i) for i, (x, y) in enumerate(SHARES)]


def line(row: tuple[float, ...], sign: str = ",") -> str:
    return sign.join(f"{x:.6g}" for x in row)


GOOD = "\n".join([HEADER, *map(line, ROWS)]) + "\n"


class Screen:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in a folder with this table and this campaign; nothing else may be written there."""
    monkeypatch.chdir(tmp_path)

    def work(*words: str, table: str | bytes = GOOD, campaign: str = CAMPAIGN) -> Screen:
        (tmp_path / "c.toml").write_text(campaign)
        (tmp_path / "d.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        monkeypatch.setattr(sys, "argv", ["labctl", *words])
        code = main()
        seen = capsys.readouterr()
        assert "Traceback" not in seen.err
        return Screen(code, seen.out, seen.err)

    return work


REPLAY = (
    "optimizer",
    "replay",
    "d.csv",
    "--campaign",
    "c.toml",
    "--budget",
    "4",
    "--seeds",
    "2",
    "--against",
    "random",
    "-o",
    "json",
)
SUGGEST = ("optimizer", "suggest", "c.toml", "--history", "d.csv", "-o", "json")


# -- replay -------------------------------------------------------------------------------------


def test_a_replay_carries_the_picked_rows_of_every_seed(run: Any) -> None:
    document = run(*REPLAY).json
    assert document["kind"] == "replay"
    assert document["data"]["candidates"] == 6
    assert [item["method"] for item in document["items"]] == ["labctl", "random"]
    values = {
        tuple(r["data_lines"][i]): r["values"][i] for item in document["items"] for r in item["runs"] for i in range(4)
    }
    assert all(abs(value - ROWS[n - 1][-1]) < 1e-5 for (n,), value in values.items())
    for item in document["items"]:
        assert [r["seed"] for r in item["runs"]] == [0, 1]
        assert all(len(set(r["rows"])) == 4 for r in item["runs"])
        assert len(item["curve"]) == 4
        assert item["curve"][-1] == item["top"]


def test_random_starts_are_shared_by_all_methods(run: Any) -> None:
    words = (
        *REPLAY[:-4],
        "--against",
        "random,plain",
        "--start",
        "random",
        "--initial",
        "2",
        "--first-seed",
        "5",
        "-o",
        "json",
    )
    items = run(*words).json["items"]
    starts = {item["method"]: [r["rows"][:2] for r in item["runs"]] for item in items}
    assert starts["labctl"] == starts["random"] == starts["plain"]
    assert starts["labctl"][0] != starts["labctl"][1]
    assert run(*words).json["items"][0]["runs"][0]["rows"] == items[0]["runs"][0]["rows"]


def test_a_replay_that_picks_every_row_finds_the_best(run: Any) -> None:
    screen = run(*REPLAY[:5], "--budget", "50", "--seeds", "1", "--against", "plain", "--batch", "4", "-o", "json")
    for item in screen.json["items"]:
        assert (item["top"], item["found_best"], item["budget"]) == (1.0, 1.0, 6)


def test_replicates_are_averaged_and_it_is_said(run: Any) -> None:
    table = GOOD + line((*ROWS[0][:4], ROWS[0][4] + 2.0)) + "\n"
    screen = run(*REPLAY[:6], "6", *REPLAY[7:], table=table)
    assert "7 rows with 6 different inputs: replicates are averaged" in screen.err
    run_ = screen.json["items"][0]["runs"][0]
    at = run_["data_lines"].index([1, 7])
    assert run_["values"][at] == pytest.approx(ROWS[0][4] + 1.0)


def test_the_other_formats_of_a_replay(run: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(run(*REPLAY[:-1], "csv").out)))
    assert [r["method"] for r in rows] == ["labctl", "random"]
    lines = [json.loads(text) for text in run(*REPLAY[:-1], "jsonl").out.splitlines()]
    assert [r["method"] for r in lines] == ["labctl", "random"]
    assert run(*REPLAY[:-1], "table").out.splitlines()[0].startswith("labctl\t")


def test_a_replay_draws_a_figure(run: Any, tmp_path: Path) -> None:
    run(*REPLAY, "--plot", "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [40, 80])
def test_a_replay_on_a_terminal_fits_and_has_a_plot(run: Any, width: int) -> None:
    run(*SUGGEST)
    seen = on_terminal(*REPLAY[:-2], columns=width)
    lines = [text.rsplit("\r", 1)[-1] for text in seen.split("\n") if not text.startswith("note:")]
    assert max(map(len, lines)) <= width
    assert "top 5 % found" in seen
    assert "random: campaign 2 of 2" in seen


class Honest:
    """An optimizer whose model is wrong by as much as it says."""

    name = "honest"

    def propose(self, space: Space, objective: Any, history: Any, pending: Any, n: int, seed: int) -> list[Proposal]:
        return RandomSearch().propose(space, objective, history, pending, n, seed)

    def leave_one_out(self, space: Space, objective: Any, history: Any, seed: int) -> LeaveOneOut:
        values = np.array([o.value for o in history])
        away = np.where(np.arange(len(values)) % 2, 0.5, 1.0)
        return LeaveOneOut(
            predicted=tuple(values + away),
            sd=(1.0,) * len(values),
            away=tuple(-away),
            measured=tuple(values),
            numbers=tuple(o.number for o in history),
        )

    def outliers(self, space: Space, objective: Any, history: Any, seed: int) -> dict[int, float]:
        return {}


@pytest.mark.parametrize("words", [(*SUGGEST[:-2], "--quality"), REPLAY[:-2]], ids=["suggest", "replay"])
def test_the_quality_of_the_model_is_shown(run: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setattr(optimizers, "optimizer", lambda plan: Honest())
    said = run(*words).err
    assert "model quality: 6 values, each predicted without itself" in said
    assert "50% within the 50% interval, 100% within the 80% interval" in said
    quality = run(*words, "-o", "json").json["quality"]
    assert quality["inside"] == {"0.50": 0.5, "0.80": 1.0, "0.95": 1.0}
    assert quality["rmse"] == pytest.approx(0.625**0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "baybe"], "there is no method 'baybe'"),
        (["--start", "random", "--initial", "4"], "leaves nothing of --budget 4"),
        (["--plot", "f.docx"], "cannot be written as '.docx'"),
        (["--plot", "nowhere/f.png"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_it_begins(run: Any, words: list[str], said: str) -> None:
    screen = run(*REPLAY[:-2], *words)
    assert screen.code == 2
    assert screen.out == ""
    assert said in screen.err


# -- tables of any writing ----------------------------------------------------------------------


def rewritten(how: str) -> tuple[str | bytes, str]:
    """The good table in another writing, and what must be added to the campaign file."""
    percent = [(*(100 * x for x in r[:3]), *r[3:]) for r in ROWS]
    if how == "byte-order mark and Windows lines":
        return b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), ""
    if how == "UTF-16 and tabs":
        return GOOD.replace(",", "\t").encode("utf-16"), ""
    if how == "semicolons and decimal commas":
        return GOOD.replace(",", ";").replace(".", ","), ""
    if how == "percent":
        return "\n".join([HEADER, *map(line, percent)]), ""
    if how == "amounts":
        parts = [(*(7 * i * x for x in r[:3]), *r[3:]) for i, r in enumerate(ROWS, start=1)]
        return "\n".join([HEADER, *map(line, parts)]), '[data]\nfractions = "amount"\n'
    if how == "without the balance":
        return "\n".join([HEADER[3:], *(line(r[1:]) for r in ROWS)]), ""
    if how == "percent without the balance":
        return "\n".join([HEADER[3:], *(line(r[1:]) for r in percent)]), '[data]\nfractions = "percent"\n'
    if how == "quoted headers with units":
        header = '"Fe [at%]","Co [at%]","filler, pure","anneal (K)","Hardness (MPa)",remarks'
        lines = [line((*r[:3], r[3] + 273.15, r[4] * 1000)) + ',"soft, ""very"""' for r in percent]
        return "\n".join([header, *lines]), '[data.columns]\nfiller = "filler, pure"\n'
    if how == "units told in the campaign":
        lines = [line((*r[:4], r[4] * 1000)) for r in ROWS]
        return "\n".join([HEADER, *lines]), '[data.units]\nhardness = "MPa"\n'
    if how == "no header":
        return "\n".join(map(line, ROWS)), "[data]\nheader = false\n"
    raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "byte-order mark and Windows lines", "UTF-16 and tabs", "semicolons and decimal commas", "percent", "amounts",
        "without the balance", "percent without the balance", "quoted headers with units", "units told in the campaign",
        "no header",
    ],
)  # fmt: skip
def test_the_same_table_in_another_writing_gives_the_same_answer(run: Any, how: str) -> None:
    assert run(*SUGGEST).code == 0
    expected = observations()
    table, more = rewritten(how)
    screen = run(*SUGGEST, table=table, campaign=CAMPAIGN + more)
    assert screen.code == 0, screen.err
    for read, meant in zip(observations(), expected, strict=True):
        assert read.candidate.fractions == meant.candidate.fractions
        assert read.candidate.process == pytest.approx(dict(meant.candidate.process))
        assert read.actual == pytest.approx(dict(meant.actual), abs=1e-9)
        assert read.value == pytest.approx(meant.value)


def observations() -> list[Observation]:
    """What is read from the table of the last command."""
    plan = Plan.from_spec(read_campaign(Path("c.toml"), for_a_lab=False)[0])
    return read_history(Path("d.csv"), plan)[0]


def test_what_is_not_used_is_said_once(run: Any) -> None:
    table = "\n".join([f"operator,{HEADER}", *(f"Ann,{line(r)}" for r in ROWS)])
    assert run(*SUGGEST, table=table).err == "note: not used: column 'operator'\n"


def test_blocks_and_uncertainties_are_read(run: Any) -> None:
    table = "\n".join([f"{HEADER},u,tray", *(f"{line(r)},0.2,T-{i % 2}" for i, r in enumerate(ROWS))])
    screen = run(*SUGGEST, table=table)
    assert screen.code == 0
    assert screen.err == ""


def test_a_campaign_file_without_recipe_is_for_proposals_only(tmp_path: Path) -> None:
    with pytest.raises(FileFaults) as caught:
        read_campaign(write(tmp_path / "c.toml", CAMPAIGN))
    said = " ".join(f.message for f in caught.value.faults)
    assert "'recipe' is missing" in said
    assert "'budget' is missing" in said
    assert "filler gives no formula" in said
    assert any("labctl optimizer suggest" in f.hint for f in caught.value.faults)
    assert (
        Spec.from_json(read_campaign(tmp_path / "c.toml", for_a_lab=False)[0].json()).objective.quantity == "hardness"
    )


# -- bad tables ---------------------------------------------------------------------------------

SECOND = line(ROWS[1])
WITH = {
    name: GOOD.replace(SECOND, new)
    for name, new in {
        "nan": SECOND.replace("0.3", "nan", 1),
        "infinity": SECOND.replace("250", "inf"),
        "word": SECOND.replace("0.4", "some", 1),
        "short": SECOND.rsplit(",", 1)[0],
        "long": SECOND + ",7",
        "off": line((0.3, 0.3, 0.3, 250, 1)),
        "negative": line((1.3, -0.3, 0.0, 250, 1)),
    }.items()
}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (WITH["nan"], ["d.csv:3", "'nan' is not a finite number"]),
        (WITH["infinity"], ["d.csv:3", "'inf' is not a finite number", "leave the cell empty"]),
        (WITH["word"], ["d.csv:3", "'some' is not a number"]),
        (WITH["short"], ["d.csv:3", "4 cells, but the first line has 5"]),
        (WITH["long"], ["d.csv:3", "6 cells, but the first line has 5"]),
        (WITH["off"], ["d.csv:3", "fractions sum to 0.9, not 1", 'fractions = "amount"']),
        (WITH["negative"], ["d.csv:3", "a fraction is below 0: Co = -0.3"]),
        (GOOD.replace("filler", "fill"), ["no column 'filler'", '[data.columns] filler = "fill"']),
        (GOOD.replace("hardness", "hardness (K)"), ["is in K, but the campaign has hardness in GPa"]),
        ("", ["no column 'Co'", "columns there: none"]),
        (GOOD.split("\n", 1)[1], ["the first line holds numbers", "header = false"]),
        (b"Fe,Co\xff\xfe\n", ["no UTF-8"]),
        (GOOD.replace("hardness", "Hardness (GPa),HARDNESS (MPa)").replace("\n", ",1\n").replace(",1\n", "\n", 1), ["2 columns may mean 'hardness'"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [SUGGEST, REPLAY], ids=["suggest", "replay"])
def test_a_bad_table_is_one_clear_error(run: Any, words: tuple[str, ...], table: str | bytes, said: list[str]) -> None:
    screen = run(*words[:-2], table=table)
    assert screen.code == 2, screen.err
    assert screen.out == ""
    assert screen.err.startswith("error LAB-02")
    for text in said:
        assert text in screen.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (HEADER + "\n", "no rows"),
        (f"{HEADER}\n{line(ROWS[0])}\n", "only one row"),
        ("\n".join([HEADER, *(line((*r[:4], 3.0)) for r in ROWS)]), "every value of hardness is 3"),
        ("\n".join([HEADER, *(line((*ROWS[0][:4], v)) for v in (1.0, 2.0))]), "all rows have the same inputs"),
        ("\n".join([HEADER, *(line(r[:4]) + "," for r in ROWS)]), "no row has a value"),
        (GOOD.replace(line(ROWS[2]), line((*ROWS[2][:3], 900, 1))), "anneal = 900 degC is outside 100 to 500 degC"),
    ],
)
def test_a_table_in_which_nothing_can_be_found_is_refused(run: Any, table: str, said: str) -> None:
    screen = run(*REPLAY, table=table)
    assert screen.code == 2
    assert said in json.loads(screen.err)["error"]["message"] + str(json.loads(screen.err)["error"]["where"])


@pytest.mark.parametrize(
    "table",
    [
        HEADER + "\n",
        f"{HEADER}\n{line(ROWS[0])}\n",
        "\n".join([HEADER, *(line((*r[:4], 3.0)) for r in ROWS)]),
        "\n".join([HEADER, *(line((*ROWS[0][:4], v)) for v in (1.0, 2.0))]),
        "\n".join([HEADER, *(line((*r[:3], 200, r[4])) for r in ROWS)]),
        "\n".join([HEADER, *(line((*r[:4], r[4] * 1e-12)) for r in ROWS)]),
        "\n".join([HEADER, *(line((*r[:4], r[4] * 1e12)) for r in ROWS)]),
    ],
    ids=["no rows", "one row", "all values equal", "replicates that differ", "a constant column", "1e-12", "1e12"],
)
def test_a_poor_history_still_gives_proposals(run: Any, table: str) -> None:
    screen = run(*SUGGEST, "-n", "3", table=table, campaign=CAMPAIGN + "[optimizer]\ninitial = 1\n")
    assert screen.code == 0, screen.err
    assert len(screen.json["items"]) == 3
    assert len({str(sorted(i.items())) for i in screen.json["items"]}) == 3


def test_a_constant_column_is_said(run: Any) -> None:
    table = "\n".join([HEADER, *(line((*r[:3], 200, r[4])) for r in ROWS)])
    assert "the same in every row, so that nothing is learned from it: anneal" in run(*SUGGEST, table=table).err


def test_contradictory_constraints_are_refused(run: Any) -> None:
    more = '[[composition.constraints]]\nname = "much"\ncoefficients = { Fe = 1.0 }\nmin = 0.6\n'
    more += '[[composition.constraints]]\nname = "little"\ncoefficients = { Fe = 1.0 }\nmax = 0.5\n'
    screen = run(*SUGGEST[:-2], campaign=CAMPAIGN + more)
    assert screen.code == 2
    assert (
        "no composition satisfies all of these together: constraint 'much', constraint 'little', the bounds"
        in screen.err
    )


LISTED = CAMPAIGN.split("[process")[0] + '[candidates]\nfile = "list.csv"\n'


def test_a_list_that_is_smaller_than_the_batch_and_then_used_up(run: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("Fe,Co,filler\n0.5,0.5,0\n0.4,0.4,0.2\n0.1,0.1,0.8\n0.5,0.5,0\n")
    screen = run(*SUGGEST, "-n", "5", table="Fe,Co,filler,hardness\n0.5,0.5,0,3\n", campaign=LISTED)
    assert len(screen.json["items"]) == 2
    assert "5 proposals were asked for, only 2 are left" in screen.err
    used_up = "Fe,Co,filler,hardness\n0.5,0.5,0,3\n0.4,0.4,0.2,4\n0.1,0.1,0.8,5\n"
    screen = run(*SUGGEST[:-2], table=used_up, campaign=LISTED)
    assert screen.code == 2
    assert "nothing is left to propose" in screen.err


ON_TRAYS = """
[process.anneal]
type = "float"
unit = "degC"
min = "100 degC"
max = "500 degC"
step = "100 degC"
[candidates]
file = "list.csv"
[optimizer]
tray = { size = 4, shared = ["anneal"] }
"""


@pytest.mark.parametrize("other", [500, None])
def test_shared_settings_of_a_tray_that_are_used_up_are_told_from_a_space_that_is(
    run: Any, tmp_path: Path, other: int | None
) -> None:
    rows = [f"{x},{1 - x},0,{t}" for t in (400, other) if t for x in (0.5, 0.25)]
    (tmp_path / "list.csv").write_text("Fe,Co,filler,anneal\n" + "\n".join(rows) + "\n")
    screen = run(*SUGGEST, "-n", "4", table=HEADER + "\n", campaign=CAMPAIGN.split("[process")[0] + ON_TRAYS)
    settings = {item["anneal"] for item in screen.json["items"]}
    assert len(screen.json["items"]) == 2
    assert len(settings) == 1
    if other:
        assert (
            f"only 2 here: with anneal {settings.pop():.1f}, which a tray has in common, no more are left" in screen.err
        )
        assert "left in the space" not in screen.err
    else:
        assert "4 proposals were asked for, only 2 are left in the space" in screen.err


def test_without_a_lab_the_campaign_file_says_what_components_cost(run: Any) -> None:
    def iron(price: str) -> float:
        cost = f'[cost]\naware = true\nper_experiment = "1 EUR"\nfeedstock = {{ Fe = "{price}" }}\n'
        items = run(*SUGGEST, "-n", "3", campaign=CAMPAIGN + "[optimizer]\ninitial = 1\n" + cost).json["items"]
        return max(float(item["Fe"]) for item in items)

    assert iron("100000 EUR/g") < 0.2 < 0.5 < iron("0 EUR/g")


def test_a_bad_list_names_file_line_and_value(run: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("Fe,Co,filler\n0.5,0.5,0\n0.403,0.4,0.197\n")
    screen = run(*SUGGEST[:-2], campaign=LISTED)
    assert screen.code == 2
    assert "list.csv:3" in screen.err
    assert "not on the dispenser's grid" in screen.err


def test_columns_that_are_nothing_are_refused(run: Any) -> None:
    screen = run(*SUGGEST[:-2], campaign=CAMPAIGN + '[data.columns]\nFee = "Fe"\n')
    assert screen.code == 2
    assert "'Fee' is nothing that a table tells" in screen.err


# -- a campaign file to start from --------------------------------------------------------------


def test_a_campaign_file_is_written_from_the_columns_of_a_table(run: Any, tmp_path: Path) -> None:
    table = "sample;Fe (at%);Co (at%);anneal (degC);furnace;hardness (GPa)\n" + "\n".join(
        f"S{i};{10 * i};{100 - 10 * i};{200 + i}.5;{'big' if i % 2 else 'small'};{i * (9 - i)}" for i in range(1, 9)
    )
    text = run("optimizer", "columns", "d.csv", table=table).out
    spec, _ = read_campaign(write(tmp_path / "made.toml", text), for_a_lab=False)
    assert spec.space.names == ("Fe", "Co", "anneal", "furnace")
    assert (spec.objective.quantity, spec.objective.unit) == ("hardness", "GPa")
    screen = run(*REPLAY[:3], "--campaign", "made.toml", *REPLAY[5:], table=table)
    assert screen.code == 0, screen.err


SOLVENTS = [f"{i},{90 - 2 * i},{10 + i},{20 + i % 7},{i * (40 - i)}" for i in range(1, 31)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("10,70,25,22,9", "EC, DMC, EMC sum to 100 and none is below 0, except in line 12 (sum 105): correct this first"),
        ("-10,80,30,22,9", "EC, DMC, EMC sum to 100 and none is below 0, except in line 12 (sum 100): correct this first"),
        ("10,n/a,20,22,9", "column 'DMC' holds numbers, except in line 12: correct this first"),
        ("10,70,20,22,1_0", "column 'cond' holds numbers, except in line 12: correct this first"),
    ],
)  # fmt: skip
def test_a_bad_row_makes_no_settings_of_components_and_is_named(run: Any, tmp_path: Path, bad: str, said: str) -> None:
    table = "\n".join(["EC,DMC,EMC,T,cond", *SOLVENTS[:10], bad, *SOLVENTS[10:]])
    screen = run("optimizer", "columns", "d.csv", table=table)
    assert screen.err == f"note: {said}\n"
    assert f"# {said}\n" in screen.out
    spec, _ = read_campaign(write(tmp_path / "made.toml", screen.out), for_a_lab=False)
    assert spec.space.composition is not None
    assert spec.space.composition.names == ("EC", "DMC", "EMC")
    assert [p.name for p in spec.space.process] == ["T"]
    assert max(float(c.high) for c in spec.space.composition.components) == pytest.approx(0.88)
    assert spec.space.composition.components[0].low > 0


def test_a_header_of_two_lines_does_not_break_out_of_its_comment(run: Any, tmp_path: Path) -> None:
    table = "\n".join(['"EC\n(%)",DMC,"EMC\nx = 1",T,"cond\ny"', *SOLVENTS, "10,70,25,22,none"])
    screen = run("optimizer", "columns", "d.csv", table=table)
    assert "sum to 100" in screen.err
    spec, _ = read_campaign(write(tmp_path / "made.toml", screen.out), for_a_lab=False)
    assert spec.space.composition is not None


def test_rows_that_sum_to_98_percent_and_to_the_whole_are_one_composition(run: Any, tmp_path: Path) -> None:
    rows = [f"0.{10 + i},0.{50 - i},{0.4 - 0.02 * (i % 3 > 0):g},{i * (40 - i)}" for i in range(1, 31)]
    screen = run("optimizer", "columns", "d.csv", table="\n".join(["EC,DMC,EMC,cond", *rows]))
    assert screen.err == ""
    spec, _ = read_campaign(write(tmp_path / "made.toml", screen.out), for_a_lab=False)
    assert spec.space.names == ("EC", "DMC", "EMC")
    assert spec.data.fractions == "fraction"


def test_a_setting_that_is_mostly_zero_is_no_component(run: Any, tmp_path: Path) -> None:
    rows = [f"{row.rsplit(',', 2)[0]},{5 * (i == 7)},{i}" for i, row in enumerate(SOLVENTS)]
    screen = run("optimizer", "columns", "d.csv", table="\n".join(["EC,DMC,EMC,soak,cond", *rows]))
    assert screen.err == ""
    spec, _ = read_campaign(write(tmp_path / "made.toml", screen.out), for_a_lab=False)
    assert [p.name for p in spec.space.process] == ["soak"]


def test_two_columns_of_one_name_start_no_campaign(run: Any) -> None:
    screen = run("optimizer", "columns", "d.csv", table="\n".join(["EC,DMC,EMC,cond,cond", *SOLVENTS]))
    assert screen.code == 2
    assert "2 columns are named 'cond'" in screen.err


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--objective", "nothing"], "no column with numbers is named 'nothing'"), (["--minimise"], "no such option")],
)
def test_columns_that_cannot_be_used(run: Any, words: list[str], said: str) -> None:
    screen = run("optimizer", "columns", "d.csv", *words)
    assert screen.code == 2
    assert said in screen.err


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data are not here")
@pytest.mark.parametrize("name", ["p3ht", "perovskite", "crossed_barrel", "agnp", "oer_3496"])
def test_measured_data_of_real_laboratories(run: Any, tmp_path: Path, name: str) -> None:
    text = run("optimizer", "columns", str(DATA / f"{name}.csv"), "--minimize").out
    write(tmp_path / "made.toml", text)
    words = [
        "--budget",
        "12",
        "--seeds",
        "1",
        "--against",
        "plain,random",
        "--start",
        "random",
        "--no-quality",
        "-o",
        "json",
    ]
    screen = run("optimizer", "replay", str(DATA / f"{name}.csv"), "--campaign", "made.toml", *words)
    assert screen.code == 0, screen.err
    assert all(len(item["runs"][0]["rows"]) == 12 for item in screen.json["items"])


# -- large lists --------------------------------------------------------------------------------


def test_a_large_list_is_read_as_a_stream(tmp_path: Path) -> None:
    import tracemalloc

    size = 200_000
    with (tmp_path / "list.csv").open("w") as file:
        file.write("Fe,Co,filler\n")
        file.writelines(row_of(i) for i in range(size))
    path = write(tmp_path / "c.toml", LISTED)
    tracemalloc.start()
    spec, _ = read_campaign(path, for_a_lab=False)
    pool = spec.space.pool
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pool is not None
    assert len(pool) == 101 * 102 // 2  # each candidate once
    assert peak < 80e6
    assert pool.counts.shape == (len(pool), 3)
    assert isinstance(pool[17], Candidate)
    assert pool.index(pool[4000]) == 4000


def row_of(i: int) -> str:
    n = i % 5151
    iron = 0
    while n > 100 - iron:
        n -= 101 - iron
        iron += 1
    return f"{iron / 100:g},{n / 100:g},{(100 - iron - n) / 100:g}\n"


def test_help_has_examples() -> None:
    assert "Example: labctl optimizer replay" in " ".join(
        CliRunner().invoke(app, ["optimizer", "replay", "-h"]).stdout.split()
    )


def test_the_librarys_own_model_answers_without_a_word_on_its_quality(run: Any) -> None:
    single = CAMPAIGN + '\n[optimizer]\nmodel = "single-gp"\n'
    asked = run(*SUGGEST, "--quality", campaign=single)
    assert asked.code == 0
    assert "quality" not in asked.json
    assert "quality" not in run(*REPLAY, campaign=single).json


def test_the_outlook_comes_with_the_models_quality(run: Any) -> None:
    told = run(*SUGGEST, "--quality").json["outlook"]
    assert told["within"]["0.50"] <= told["within"]["0.80"] <= told["within"]["0.95"]
