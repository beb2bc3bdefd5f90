"""A lab's file that a disk or another program has damaged: one clear sentence, whatever is typed."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from instruments.sim.control import SimulatorControl
from labctl import wiring
from labctl.worker import named
from materials_db.errors import DamagedDatabaseError
from materials_db.looking import ask, is_damage
from materials_db.sql.agreement import agreement

LABCTL = [sys.executable, "-m", "labctl"]
PAGE = 4096
COMMANDS = [
    ("campaign", "list"),
    ("queue", "list"),
    ("experiment", "list"),
    ("audit", "verify"),
    ("campaign", "run", "campaigns/conductivity.toml", "--quiet"),
]


@pytest.fixture
def file(small_lab: Path) -> Path:
    """The database of a lab at rest, all of it in one file."""
    path = small_lab / ".labctl" / "lab.sqlite"
    assert not path.with_name("lab.sqlite-wal").exists()
    return path


def junk(path: Path, first: int, last: int) -> bytes:
    """Write noise over these bytes; what the file is then."""
    content = bytearray(path.read_bytes())
    content[first:last] = random.Random(first).randbytes(last - first)
    path.write_bytes(content)
    return bytes(content)


def damage_tables(path: Path) -> bytes:
    """Write noise over the roots of all tables and indices but the one that tells the version."""
    connection = sqlite3.connect(path)
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0 AND tbl_name <> 'labctl_version'")
    pages = [row[0] for row in roots]
    connection.close()
    for page in pages:
        junk(path, (page - 1) * PAGE, page * PAGE)
    return path.read_bytes()


def refused(*args: str) -> str:
    """What a command says that cannot go on."""
    done = subprocess.run([*LABCTL, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("args", [*COMMANDS, ("db", "check")], ids=" ".join)
def test_a_file_whose_header_is_gone_is_named(file: Path, args: tuple[str, ...]) -> None:
    before = junk(file, 0, 100)
    said = refused(*args)
    assert said.startswith(f"error LAB-0703: the database {file} is damaged (file is not a database)")
    assert "try: move that file away, restore a backup in its place" in said
    assert file.read_bytes() == before


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_file_whose_pages_were_written_over_is_named(file: Path, args: tuple[str, ...]) -> None:
    before = damage_tables(file)
    said = refused(*args)
    assert said.startswith(f"error LAB-0703: the database {file} is damaged (database disk image is malformed)")
    assert file.read_bytes() == before


def test_as_json_the_error_has_the_shape_of_all_others(file: Path) -> None:
    junk(file, 0, 100)
    error = json.loads(refused("campaign", "list", "-o", "json"))["error"]
    assert (error["code"], error["hint"]) == ("LAB-0703", DamagedDatabaseError.remedy)


@pytest.mark.parametrize("command", [("db", "check"), ("doctor",)], ids=" ".join)
def test_check_and_doctor_tell_the_damage_in_one_line(file: Path, command: tuple[str, ...]) -> None:
    before = damage_tables(file)
    done = subprocess.run([*LABCTL, *command, "-o", "json"], capture_output=True, text=True, timeout=60)
    wrong = [row for row in json.loads(done.stdout)["items"] if row["state"] == "wrong"]
    assert (done.returncode, done.stderr) == (1, "")
    assert [(row["check"], row["remedy"]) for row in wrong] == [("file", DamagedDatabaseError.remedy)]
    assert str(file) in wrong[0]["found"]
    assert file.read_bytes() == before


def test_a_page_that_no_list_reads_is_found_by_looking_at_all(file: Path) -> None:
    connection = sqlite3.connect(file)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_lot_component'").fetchone()
    connection.close()
    junk(file, (page - 1) * PAGE, page * PAGE)
    assert ask(file, "SELECT id FROM campaign")
    done = subprocess.run([*LABCTL, "db", "check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [["wrong", "file"]]


def test_a_large_file_is_left_to_db_check(file: Path) -> None:
    from labctl import checking

    lab = wiring.open_lab(file.parent.parent)
    (row,) = checking.file_of(lab, largest=1000)
    assert (row["state"], row["remedy"]) == ("note", "labctl db check")


def test_the_worker_names_the_file_in_which_the_engine_found_damage(small_lab: Path) -> None:
    import sqlalchemy as sa

    lab = wiring.open_lab(small_lab)
    path = small_lab / "notes.sqlite"
    path.write_text("no database" * 100)
    with pytest.raises(sa.exc.DatabaseError) as caught, sa.create_engine(f"sqlite:///{path}").connect() as connection:
        connection.exec_driver_sql("SELECT * FROM sqlite_master")
    assert is_damage(caught.value)
    assert str(lab.glance_path) in str(named(lab, caught.value))
    assert str(small_lab / ".labctl" / "journal") in str(named(lab, caught.value.orig))  # type: ignore[arg-type]


def test_other_refusals_of_the_database_are_no_damage() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT * FROM nothing")
    connection.close()
    assert not is_damage(caught.value)


def test_who_only_looks_is_told_which_file(file: Path) -> None:
    damage_tables(file)
    lab = wiring.open_lab(file.parent.parent)
    with pytest.raises(DamagedDatabaseError, match=str(file)):
        agreement(lab.reader)


def test_a_damaged_journal_is_named_and_what_to_do_about_it(file: Path) -> None:
    path = file.parent / "journal" / "doser-1.sqlite"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(random.Random(1).randbytes(PAGE))
    for words in (["campaign", "run", "campaigns/conductivity.toml", "--fresh"], ["worker", "run"]):
        said = refused(*words)
        assert said.startswith(f"error LAB-0606: the journal {path} is damaged (file is not a database)")
        assert "--journal-lost" in said
    told = subprocess.run([*LABCTL, "doctor"], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (1, "")
    assert f"wrong\tjournal\tthe journal {path} is damaged" in told.stdout
    SimulatorControl(file.parent / "simulator").stop()
