from __future__ import annotations

import csv
import io
import json
import re
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.cleaning import clean
from labctl.emit import Column, emit, figures, fitting, moment, value_and_u
from labctl.errors import UsageError, show
from labctl.options import Format

COLUMNS = [Column("id", "id", rank=0), Column("note", "note", rank=2), Column("value", "value", right=True)]
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["note [see lab book]", "bottle [/lot 7]", "\x1b[31mred", "a\tb", "=SUM(A1)", "@x", "-1"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.floats(allow_nan=False, allow_infinity=False)), max_size=4))
def test_no_data_can_steer_the_terminal_or_break_a_format(
    capsys: pytest.CaptureFixture[str], rows: list[tuple[str, str, float]]
) -> None:
    items = [{"id": a, "note": b, "value": v} for a, b, v in rows]
    for format in Format:
        emit(items, COLUMNS, format, kind="things")
        out = capsys.readouterr().out
        if format is Format.json:
            assert json.loads(out)["items"] == items
        elif format is Format.csv:
            table = list(csv.reader(io.StringIO(out)))
            assert len(table) == len(items) + 1
        else:
            assert len(out.splitlines()) >= len(items)
        if format in (Format.table, Format.name):
            assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in out)


def test_text_that_a_spreadsheet_would_run_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"id": "=cmd()", "note": "-", "value": -1.5}], COLUMNS, Format.csv, kind="things")
    emit([{"id": "\t=1+1", "note": " @x", "value": 1}], COLUMNS, Format.csv, kind="things")
    assert capsys.readouterr().out == "id,note,value\n'=cmd(),'-,-1.5\nid,note,value\n'\t=1+1,' @x,1\n"


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(UsageError("the column \x1b[2Jx is not known", hint="name \x1b]0;y\x07 another"))
    assert "\x1b" not in capsys.readouterr().err


def test_a_narrow_terminal_loses_the_least_important_column_first() -> None:
    rows = [{"id": "S-00001", "note": "x" * 60, "value": 1.0}]
    assert [c.key for c in fitting(rows, COLUMNS, 40)] == ["id", "value"]
    assert [c.key for c in fitting(rows, COLUMNS, 200)] == ["id", "note", "value"]


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (13.4438, 0.0679, "13.444 +- 0.068 V"),
        (8654.0, 120.0, "8654 +- 120 V"),
        (0.00123, 0.000045, "0.001230 +- 0.000045 V"),
        (1.5, None, "1.5 V"),
        (None, None, "-"),
    ],
)
def test_a_value_has_the_figures_that_its_uncertainty_allows(value: float | None, u: float | None, text: str) -> None:
    assert value_and_u(value, u, "V") == text


def test_line_breaks_in_data_stay_on_their_line() -> None:
    assert clean("one\ntwo\x1b[2J") == "one two\ufffd[2J"


def test_a_pipe_gets_whole_values_and_words_for_yes_and_no(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column("value", "value", figures(4)), Column("at", "at", moment), Column("kept", "kept", lambda k: "NO")]
    row = {"value": 13.848401743300853, "at": "2026-11-25T14:52:32.188768Z", "kept": False}
    emit([row], columns, Format.table, kind="things")
    assert capsys.readouterr().out == "13.848401743300853\t2026-11-25T14:52:32.188768Z\tNO\n"


def test_a_sentence_is_wrapped_where_it_would_be_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "64")
    columns = [
        Column("check", "check", rank=0),
        Column("found", "found", rank=0, wrap=True),
        Column("try", "try", wrap=True),
    ]
    emit(
        [{"check": "doser-1", "found": "silent " * 12, "try": "check power and cable " * 2}],
        columns,
        Format.table,
        kind="f",
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert shown.count("silent") == 12
    assert shown.count("power") == 2
    assert max(len(line) for line in shown.splitlines()) <= 64
