"""Tables: whatever is written in whatever way comes back, or is refused with its line."""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.candidate import Candidate
from campaigns.dataset import read_dataset, whole_steps
from campaigns.layout import Layout, Wanted
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter
from campaigns.pool import Pool
from campaigns.space import Component, CompositionSpace, Space
from campaigns.tables import LARGEST, head_of, read_rows, stem_and_unit
from campaigns.toml_file import FileFaults

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
NUMBERS = st.floats(-LARGEST, LARGEST)
ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(
    names=st.lists(WORDS.filter(lambda w: not w[0].isdigit()), min_size=2, max_size=5, unique=True),
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    told=st.booleans(),
)
def test_numbers_come_back_as_they_were_written(
    tmp_path: Path,
    names: list[str],
    rows: list[tuple[float, float]],
    delimiter: str,
    encoding: str,
    end: str,
    told: bool,
) -> None:
    names = [f"n{n}" for n in names]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([[repr(a), repr(b), *("x" for _ in names[2:])] for a, b in rows])
    path = tmp_path / "t.csv"
    first = f"sep={delimiter}{end}" if told else ""  # for Excel
    path.write_bytes((first + out.getvalue()).encode(encoding))
    head = head_of(path)
    assert head.names == tuple(names)
    read = read_rows(head, {"a": names[0], "b": names[1]}, text=set(), optional=set())
    assert [*zip(read.columns["a"], read.columns["b"], strict=True)] == rows
    assert list(read.lines) == list(range(2 + told, len(rows) + 2 + told))


@ANY
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    try:
        head = head_of(path)
        read_rows(head, {n: n for n in head.names if n}, text=set(), optional=set(head.names))
    except FileFaults as faults:
        assert faults.path == path
        assert all(f.message and f.line is not None for f in faults.faults)


@pytest.mark.parametrize(
    ("text", "names", "line"),
    [
        ("# exported on Monday\n\n# by the tester, twice\nFe,cond\n1,2\n", ("Fe", "cond"), 5),
        ("# exported on Monday\n# Fe; cond\n1;2\n", ("Fe", "cond"), 3),  # as numpy writes it
        ("#,Fe\n1,2\n", ("#", "Fe"), 2),
        ("sep=;\n# raw\nFe;cond\n1;2\n", ("Fe", "cond"), 4),
    ],
)
def test_remarks_above_the_header_are_passed_over(tmp_path: Path, text: str, names: tuple[str, ...], line: int) -> None:
    head = head_of(table_of(tmp_path, text))
    assert head.names == names
    read = read_rows(head, {"a": names[0], "b": names[1]}, text=set(), optional=set())
    assert (read.columns["a"].tolist(), read.columns["b"].tolist(), read.lines.tolist()) == ([1], [2], [line])


def test_a_quoted_cell_may_hold_lines_and_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('name,"value, raw"\n"a\nb",1\nc,x\n')
    head = head_of(path)
    with pytest.raises(FileFaults) as caught:
        read_rows(head, {"v": "value, raw"}, text=set(), optional=set())
    (fault,) = caught.value.faults
    assert fault.line == 4


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("conductivity (S/cm)", ("conductivity", "S/cm")),
        ("Conductivity (measured) [mS/cm]", ("Conductivity (measured)", "mS/cm")),
        ("(x)", ("(x)", "")),
        ("plain", ("plain", "")),
    ],
)
def test_names_and_units_of_headers(header: str, expected: tuple[str, str]) -> None:
    assert stem_and_unit(header) == expected


@ANY
@given(
    st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=20),
    st.sampled_from([1, 10, 100, 10**6]),
)
def test_whole_steps_sum_to_the_whole_and_are_the_nearest(shares: list[list[float]], steps: int) -> None:
    table = np.array(shares) / np.sum(shares, axis=1)[:, None]
    counts = whole_steps(table, steps)
    assert (counts.sum(axis=1) == steps).all()
    assert (counts == counts.round()).all()
    assert abs(counts - table * steps).max() <= 1


MIX = CompositionSpace(components=tuple(Component(name=n, formula=n) for n in ("Fe", "Co", "Ni")), step=Fraction(1, 20))
PROCESS = (
    FloatParameter(name="anneal", low=0, high=10),
    IntegerParameter(name="cycles", low=1, high=9),
    CategoricalParameter(name="gas", choices=("air", "argon")),
)
CANDIDATES = st.builds(
    lambda a, b, t, n, gas: Candidate(
        {"Fe": Fraction(a, 20), "Co": Fraction(min(b, 20 - a), 20), "Ni": Fraction(20 - a - min(b, 20 - a), 20)},
        {"anneal": t, "cycles": n, "gas": gas},
    ),
    st.integers(0, 20), st.integers(0, 20), st.floats(0, 10), st.integers(1, 9), st.sampled_from(["air", "argon"]),
)  # fmt: skip


@ANY
@given(st.lists(CANDIDATES, min_size=1, max_size=30))
def test_a_pool_is_the_sequence_of_its_candidates(candidates: list[Candidate]) -> None:
    space = Space(composition=MIX, process=PROCESS, pool=candidates)  # type: ignore[arg-type]
    pool = space.pool
    assert isinstance(pool, Pool)
    assert list(pool) == candidates
    assert list(pool[1:]) == candidates[1:]
    assert all(pool[pool.index(c)] == c and c in pool for c in candidates)
    assert list(pool.rows(pool.first)) == list(dict.fromkeys(candidates))
    assert Candidate({"Fe": Fraction(1, 3), "Co": Fraction(2, 3)}, candidates[0].process) not in pool


def test_rows_that_are_written_as_amounts_are_normalised(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Fe,Co,Ni\n1,1,2\n3,0,\n")
    data = read_dataset(path, Layout(fractions="amount"), Wanted(composition=MIX, process=()))
    assert data.shares.tolist() == [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]


def test_a_minus_is_read_as_publishers_set_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Fe;Co;Ni;cond\n1;0;0;\N{MINUS SIGN}0,5\n0;1;0;2\n", encoding="utf-8")
    assert read_dataset(path, Layout(), MEASURED).values["cond"].tolist() == [-0.5, 2.0]


MEASURED = Wanted(composition=MIX, process=(), quantities={"cond": "mS/cm"})


def table_of(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("unit", ["S/cm", "S·cm⁻¹", "S cm⁻¹", "S cm-1", "S cm^-1", "S*cm^-1", "S/cm, 25 °C"])
def test_a_unit_is_understood_as_people_spell_it(tmp_path: Path, unit: str) -> None:
    path = table_of(tmp_path, f'Fe,Co,Ni,"cond ({unit})","u ({unit})"\n1,0,0,0.01,0.002\n0,1,0,0.02,0.002\n')
    data = read_dataset(path, Layout(), MEASURED)
    assert data.values["cond"] == pytest.approx([10, 20])
    assert data.u["cond"] == pytest.approx([2, 2])
    assert len([n for n in data.notes if "is converted from S" in n]) == 2


@pytest.mark.parametrize("remark", ["log10", "foo", "log10, S/cm"])
def test_a_unit_that_is_not_understood_is_said(tmp_path: Path, remark: str) -> None:
    data = read_dataset(
        table_of(tmp_path, f'Fe,Co,Ni,"cond ({remark})"\n0.5,0.3,0.2,1\n0.2,0.5,0.3,2\n'), Layout(), MEASURED
    )
    assert data.notes == (f"column 'cond ({remark})': {remark!r} is not understood as a unit: taken as mS/cm",)


def test_a_unit_in_the_campaigns_own_words_needs_no_note(tmp_path: Path) -> None:
    path = table_of(tmp_path, "Fe,Co,Ni,cond (mS cm-1),u(cond)\n0.5,0.3,0.2,1,0.1\n0.2,0.5,0.3,2,0.1\n")
    assert read_dataset(path, Layout(), MEASURED).notes == ()


def test_an_uncertainty_has_the_unit_of_its_value_whatever_the_campaign_calls_it(tmp_path: Path) -> None:
    path = table_of(tmp_path, "Fe,Co,Ni,cond (S/cm),u(cond)\n1,0,0,0.01,0.002\n")
    wanted = Wanted(composition=MIX, process=(), quantities={"conductivity": "mS/cm"})
    columns = {"conductivity": "cond (S/cm)", "u(conductivity)": "u(cond)"}
    assert read_dataset(path, Layout(columns=columns), wanted).u["conductivity"] == pytest.approx([2])


@pytest.mark.parametrize("others", ["2", ""], ids=["all filled", "some empty"])
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1_0", "'1_0' is not a number"),
        ("1e200", "'1e200' is beyond what can be reckoned with, 1e+100"),
        ("-1e308", "'-1e308' is beyond what can be reckoned with, 1e+100"),
        ("1e999", "'1e999' is not a finite number"),
    ],
)
@pytest.mark.parametrize("column", ["cond", "u(cond)", "anneal"])
def test_a_number_that_is_none_is_refused_in_any_column(
    tmp_path: Path, column: str, cell: str, said: str, others: str
) -> None:
    cells = {"anneal": "1", "cond": others, "u(cond)": others} | {column: cell}
    path = table_of(tmp_path, f"Fe,Co,Ni,{','.join(cells)}\n1,0,0,2,2,1\n0,1,0,{','.join(cells.values())}\n")
    wanted = Wanted(composition=MIX, process=PROCESS[:1], quantities={"cond": "mS/cm"})
    with pytest.raises(FileFaults) as caught:
        read_dataset(path, Layout(), wanted)
    (fault,) = caught.value.faults
    assert (fault.line, fault.value, fault.message) == (3, cell, f"column {column!r}: {said}")
    assert "leave the cell empty" in fault.hint


@pytest.mark.parametrize("name", ["Fe", "cond", "u(cond)", "state"])
def test_a_name_that_two_columns_carry_is_refused_where_it_is_needed(tmp_path: Path, name: str) -> None:
    names = ["Fe", "Co", "Ni", "cond", "u(cond)", "state", "remark", "remark", name]
    path = table_of(tmp_path, f"{','.join(names)}\n1,0,0,1,1,done,a,b,1\n")
    with pytest.raises(FileFaults) as caught:
        read_dataset(path, Layout(), MEASURED)
    (fault,) = caught.value.faults
    assert (fault.line, fault.message) == (1, f"2 columns may mean {name!r}: {name}, {name}")
    assert fault.hint == f"give one of them another name than {name!r} in the table"


ROWS = ["0.2,0.3,0.5", "0.3,0.3,0.4", "0.6,0.1,0.3", "0.1,0.7,0.2"] * 5


def in_percent(row: str) -> str:
    return ",".join(f"{100 * float(x):g}" for x in row.split(","))


@pytest.mark.parametrize(
    ("header", "rows", "bad", "said"),
    [
        ("Fe (%),Co (%),Ni (%)", [*map(in_percent, ROWS)], "20,30,55", "percentages sum to 105, not 100"),
        ("Fe,Co,Ni", [*map(in_percent, ROWS)], "20,30,55", "percentages sum to 105, not 100"),
        ("Fe,Co,Ni", ROWS, "20,30,50", "fractions sum to 100, not 1"),
        ("Fe,Co,Ni", ROWS, "0.2,0.3,0.47", "fractions sum to 0.97, not 1"),
    ],
)
def test_only_the_row_that_does_not_fit_is_at_fault(
    tmp_path: Path, header: str, rows: list[str], bad: str, said: str
) -> None:
    path = table_of(tmp_path, "\n".join([header, *rows, bad, *rows]))
    with pytest.raises(FileFaults) as caught:
        read_dataset(path, Layout(), Wanted(composition=MIX, process=()))
    (fault,) = caught.value.faults
    assert (fault.line, fault.message) == (22, said)
    assert fault.hint == "correct the row: up to 2 % are allowed"


def test_where_many_rows_do_not_fit_they_may_be_amounts(tmp_path: Path) -> None:
    with pytest.raises(FileFaults) as caught:
        read_dataset(table_of(tmp_path, "Fe,Co,Ni\n1,2,3\n2,2,3\n"), Layout(), Wanted(composition=MIX, process=()))
    assert all('fractions = "amount"' in f.hint for f in caught.value.faults)


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_quote_that_is_never_closed_does_not_swallow_the_rows_below_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b,note\n1,2,\n3,4,"tube cracked\n5,6,\n7,8,' + end)
    with pytest.raises(FileFaults) as caught:
        read_rows(head_of(path), {"a": "a", "b": "b"}, text=set(), optional=set())
    (fault,) = caught.value.faults
    assert (fault.line, fault.message) == (3, "a quote mark is opened and never closed")


@pytest.mark.parametrize("factor", [1, 100])
def test_rows_that_miss_their_sum_by_two_percent_are_scaled_and_counted(tmp_path: Path, factor: int) -> None:
    rows = [[0.17, 0.55, 0.26], [0.08, 0.89, 0.03], [0.15, 0.17, 0.70]]
    path = table_of(tmp_path, "Fe,Co,Ni\n" + "\n".join(",".join(f"{x * factor:g}" for x in row) for row in rows))
    data = read_dataset(path, Layout(), Wanted(composition=MIX, process=()))
    assert data.shares.sum(axis=1) == pytest.approx([1, 1, 1])
    assert data.notes[-1] == f"2 of 3 rows were scaled to sum to {factor}, which they missed by up to 2 %"


def test_headers_that_say_percent_above_fractions_are_said(tmp_path: Path) -> None:
    path = table_of(tmp_path, "\n".join(["Fe (%),Co (%),Ni (%)", *ROWS]))
    data = read_dataset(path, Layout(), Wanted(composition=MIX, process=()))
    assert data.shares[0] == pytest.approx([0.2, 0.3, 0.5])
    assert data.notes == ("the headers of the components say %, but the rows sum to 1: taken as fractions",)


BALANCED = Wanted(
    composition=CompositionSpace(components=MIX.components, step=Fraction(1, 20), balance="Ni"), process=()
)


@pytest.mark.parametrize(
    ("text", "shares", "note"),
    [
        ("Fe (%),Co (%)\n0.5,1\n1,0.5\n", [0.005, 0.01], "compositions are in percent"),
        ("Fe,Co\n50,10\n1,0.5\n20,10\n", [0.5, 0.1], "compositions are in percent"),
        ("Fe (ppm),Co\n0.5,0.1\n0.1,0.5\n", [0.5, 0.1], "column 'Fe (ppm)': 'ppm' is not understood as a unit of shares: taken as a fraction"),
    ],
)  # fmt: skip
def test_without_the_balance_headers_or_most_rows_tell_percent(
    tmp_path: Path, text: str, shares: list[float], note: str
) -> None:
    data = read_dataset(table_of(tmp_path, text), Layout(), BALANCED)
    assert data.shares[0] == pytest.approx([*shares, 1 - sum(shares)])
    assert data.notes == (note,)


def in_ppm(row: str) -> str:
    return ",".join(f"{1e6 * float(x):.10g}" for x in row.split(","))


@pytest.mark.parametrize("header", ["Fe (ppm),Co (ppm),Ni (ppm)", "Fe,Co,Ni"])
def test_a_table_in_ppm_is_read_like_one_in_percent(tmp_path: Path, header: str) -> None:
    path = table_of(tmp_path, "\n".join([header, *map(in_ppm, ROWS), "200000,300000,400000"]))
    with pytest.raises(FileFaults) as caught:
        read_dataset(path, Layout(), Wanted(composition=MIX, process=()))
    assert [f.message for f in caught.value.faults] == ["ppm sum to 900000, not 1000000"]
    path = table_of(tmp_path, "\n".join([header, *map(in_ppm, ROWS)]))
    for layout in (Layout(), Layout(fractions="ppm")):
        data = read_dataset(path, layout, Wanted(composition=MIX, process=()))
        assert data.shares[0] == pytest.approx([0.2, 0.3, 0.5])
        assert data.notes == (("compositions are in ppm",) if layout == Layout() else ())


def test_headers_in_ppm_without_the_balance_are_ppm(tmp_path: Path) -> None:
    data = read_dataset(table_of(tmp_path, "Fe (ppm),Co (wt ppm)\n500,1\n1,0.5\n"), Layout(), BALANCED)
    assert data.shares[0] == pytest.approx([0.0005, 0.000001, 0.999499])
    assert data.notes == ("compositions are in ppm",)


def test_among_amounts_of_one_sum_another_is_said(tmp_path: Path) -> None:
    path = table_of(tmp_path, "\n".join(["Fe,Co,Ni", *map(in_percent, ROWS), "20,30,55"]))
    data = read_dataset(path, Layout(fractions="amount"), Wanted(composition=MIX, process=()))
    assert data.notes == ("most rows sum to 100; of another sum: line 22",)
