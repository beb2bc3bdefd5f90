"""Answers of people from the terminal: the sample in hand is named, and what does not fit changes nothing."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from pydantic_core import SchemaValidator, core_schema

from labctl import wiring
from labctl.app import main
from labctl.finding import database_place
from materials_db import glance
from materials_db import records as db
from tests.labctl.test_cli import LABCTL, labctl
from tests.records import AT

TURBIDITY = {"name": "turbidity", "unit": "1", "low": 0.0, "high": 10.0}


@pytest.fixture
def asked(small_lab: Path) -> Path:
    """T-00001 has one sample and one value to be read off, T-00002 a question in doubt, T-00003 two samples."""
    store = wiring.open_lab(small_lab).store
    with store.transaction() as tx:
        for number, (kind, samples, fields) in enumerate(
            [("step", [1], [TURBIDITY]), ("in_doubt", [2], []), ("step", [1, 3], [])], 1
        ):
            task = db.Task(
                id=f"T-{number:05d}", question=kind, job_id=f"E-{samples[0]:05d}/measure", instrument="bench-1",
                samples=[f"S-{n:05d}" for n in samples], title="look", prompt={"text": "Look.", "fields": fields}, asked_at=AT,
            )  # fmt: skip
            tx.add(task, at=AT, actor="test")
    store.close()
    return small_lab


def test_a_tray_that_two_campaigns_share_names_both(asked: Path) -> None:
    store = wiring.open_lab(asked).store
    with store.transaction() as tx:
        new = (
            {"id": "C-0002"},
            {"id": "E-00009", "campaign_id": "C-0002"},
            {"id": "S-00009", "experiment_id": "E-00009"},
        )
        old = tx.get(db.Campaign, "C-0001"), tx.get(db.Experiment, "E-00001"), tx.get(db.Sample, "S-00001")
        for record, changes in zip(old, new, strict=True):
            tx.add(record.model_copy(update=changes), at=AT, actor="test")
        task = tx.get(db.Task, "T-00003")
        tx.add(task.model_copy(update={"id": "T-00004", "samples": ["S-00001", "S-00009"]}), at=AT, actor="test")
    store.close()
    assert [row["campaigns"] for row in glance.tasks(database_place(asked))] == 3 * [["C-0001"]] + [
        ["C-0001", "C-0002"]
    ]
    assert "C-0001, C-0002" in labctl("task", "show", "4")[0]


def typed(words: str, *args: str) -> str:
    """Run a command at a terminal where somebody types this; what is seen."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*LABCTL, *args], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.write(master, words.encode())
    seen = b""
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other end was closed
            break
    process.wait()
    os.close(master)
    return seen.decode().replace("\r\n", "\n")


READ = ("--value", "turbidity=2.5")


MISFITS = [
    (("done", "1", *READ), 2, "T-00001 needs the label of the sample in hand, typed or scanned: --sample ID"),
    (("fail", "1", "--reason", "cracked"), 2, "T-00001 needs the label of the sample in hand"),
    (("done", "2", "--happened"), 2, "T-00002 needs the label of the sample in hand"),
    (("done", "3"), 2, "T-00003 needs the label of each of its 2 samples"),
    (("done", "3", "--sample", "S-1"), 2, "T-00003 is about S-00001, S-00003, not S-1: check the label"),
    (("done", "1", "--sample", "S-2", *READ), 2, "T-00001 is about S-00001, not S-2: check the label"),
    (("done", "1", "--sample", "1", *READ), 2, "T-00001 is about S-00001, not 1: check the label"),
    (("done", "1", "--sample", "S-1"), 2, "T-00001 asks for turbidity; add --value turbidity=NUMBER"),
    (("done", "1", "--sample", "S-1", "--value", "turbidity=11"), 2, "turbidity = 11 is outside 0 to 10"),
    (("done", "1", "--sample", "S-1", "--value", "turbidity=nan"), 2, "--value 'turbidity=nan' is no NAME=NUMBER"),
    (("done", "1", "--sample", "S-1", "--value", "turbidity=inf"), 2, "--value 'turbidity=inf' is no NAME=NUMBER"),
    (("done", "1", "--sample", "S-1", "--value", "turbidity=2,5"), 2, "--value 'turbidity=2,5' is no NAME=NUMBER"),
    (("done", "1", "--sample", "S-1", *READ, *READ), 2, "--value turbidity is given twice"),
    (("done", "1", "--sample", "S-1", "--value", "haze=1"), 2, "T-00001 does not ask for 'haze'"),
    (("done", "1", "--sample", "S-1", *READ, "--happened"), 2, "T-00001 is no question in doubt"),
    (("done", "1", "--sample", "S-1", *READ, "--by", " "), 2, "--by is empty"),
    (
        ("done", "2", "--sample", "S-2", "--happened", "--not-started"),
        2,
        "--happened and --not-started are two answers",
    ),
    (("done", "2", "--sample", "S-2"), 2, "T-00002 asks whether it happened; say --happened or --not-started"),
    (("done", "2", "--sample", "S-2", "--happened", *READ), 2, "T-00002 does not ask for 'turbidity'"),
    (("done", "2", "--sample", "S-2", "--happened", "--lost", "S-2=gone"), 2, "T-00002 is about one held sample"),
    (("done", "3", "--sample", "S-1", "--sample", "S-3", "--lost", "S-2=gone"), 2, "T-00003 is about S-00001, S"),
    (("fail", "1", "--sample", "S-1", "--reason", " "), 2, "--reason is empty"),
    (("done", "9", "--sample", "S-1"), 3, "there is no task '9'"),
    (("show", "T-x"), 3, "there is no task"),
]


def test_answers_that_do_not_fit_are_one_error_each_and_change_nothing(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, message in MISFITS:
        monkeypatch.setattr("sys.argv", ["labctl", "task", *words])
        assert main() == code, words
        out, error = capsys.readouterr()
        assert (out, error.splitlines()[0].partition(": ")[2][: len(message)]) == ("", message)
    assert [row["id"] for row in glance.tasks(database_place(asked))] == ["T-00001", "T-00002", "T-00003"]


def test_at_a_terminal_the_sample_is_asked_for(asked: Path) -> None:
    wrong = typed("S-00002\n", "task", "done", "1", *READ)
    assert "scan or type the sample: " in wrong
    assert "T-00001 is about S-00001, not S-00002: check the label; nothing was written" in wrong
    assert "T-00001 is answered; S-00001 goes on" in typed("s-1\n", "task", "done", "1", *READ)
    one_lost = typed("S-00003\nS-00001\n", "task", "done", "3", "--lost", "S-1=gone")
    assert "T-00003 is answered; S-00003 goes on; S-00001 is given up" in one_lost
    assert "needs the label" in typed("\n", "task", "done", "2", "--happened")
    assert labctl("task", "list", "-o", "name")[0].split() == ["T-00002"]


def test_ctrl_c_at_the_question_writes_nothing_and_says_what_to_type(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(count: int) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("labctl.asking.scanned", pressed)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["labctl", "task", "done", "1", *READ])
    assert main() == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C; the same command can be typed again\n"
    assert len(glance.tasks(database_place(asked))) == 3


def test_ctrl_c_while_a_check_is_built_in_rust_is_ctrl_c(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(pattern: str) -> None:
        raise KeyboardInterrupt

    def loaded(count: int) -> None:
        monkeypatch.setattr("re.compile", pressed)
        schema = core_schema.nullable_schema(core_schema.str_schema(pattern="S-[0-9]+"))
        SchemaValidator(schema, core_schema.CoreConfig(regex_engine="python-re"))

    monkeypatch.setattr("labctl.asking.scanned", loaded)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["labctl", "task", "done", "1", *READ])
    assert main() == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C; the same command can be typed again\n"


def test_what_was_answered_is_not_answered_again_by_another(asked: Path) -> None:
    labctl("task", "done", "1", "--sample", "S-1", *READ, "--by", "Ada")
    _, error = labctl("task", "fail", "1", "--sample", "S-1", "--reason", "cracked", "--by", "Ben", code=6)
    assert "T-00001 was answered already, by Ada (done); nothing was written" in error


def test_the_page_of_a_task_leaves_the_label_to_be_read_off_the_sample(asked: Path) -> None:
    assert labctl("task", "show", "3")[0].splitlines()[2:] == [
        "  when it is done:   labctl task done T-00003 --sample LABEL --sample LABEL",
        '  if it went wrong:  labctl task fail T-00003 --sample LABEL --sample LABEL --reason "..."',
    ]
