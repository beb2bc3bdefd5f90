"""Whole screens of the terminal, in a pipe and on a terminal of 80 columns."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labctl.app import NAMES
from materials_db.errors import DamagedDatabaseError
from tests.records import AT, RAW

LABCTL = [sys.executable, "-m", "labctl"]


def labctl(*args: str, code: int = 0) -> tuple[str, str]:
    """Run a command in a pipe; stdout and stderr."""
    done = subprocess.run([*LABCTL, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def on_terminal(*args: str, columns: int = 80) -> str:
    """Run a command on a terminal of that width; what is seen, without colours."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen([*LABCTL, *args], stdout=slave, stderr=slave, stdin=slave, env=environment)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    process.wait()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).replace("\r\n", "\n")


def test_help_names_every_noun() -> None:
    out, _ = labctl("--help")
    assert all(re.search(rf"^  {name} +\S", out, re.MULTILINE) for name in NAMES)


@pytest.mark.parametrize("name", list(NAMES))
def test_every_command_has_help_with_an_example(name: str) -> None:
    out, _ = labctl(name, "--help")
    verbs = re.findall(r"^  ([a-z]+)  +\S", out.split("Commands:")[1], re.MULTILINE) if "Commands:" in out else []
    for words in [[name, verb] for verb in verbs] or [[name]]:
        text, _ = labctl(*words, "--help")
        assert "Example: labctl " + " ".join(words) in " ".join(text.split())


@pytest.mark.usefixtures("small_lab")
def test_a_list_in_a_pipe_is_tab_separated_and_whole() -> None:
    out, _ = labctl("experiment", "list", "--campaign", "1")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [r[0] for r in rows] == ["E-00001", "E-00002", "E-00003"]
    assert rows[0][2:6] == ["S-00001", "EC 0.9 LiPF6 0.1", "11", "0.05"]
    assert labctl("campaign", "list")[0].split("\t")[10] == AT.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert "\x1b" not in out


@pytest.mark.usefixtures("small_lab")
def test_the_same_list_on_a_terminal_of_80_columns() -> None:
    seen = on_terminal("experiment", "list")
    assert max(len(line) for line in seen.splitlines()) <= 80
    assert "composition" in seen
    assert "EC 0.9 LiPF6 0.1" in seen
    assert "-o json has all" in seen


@pytest.mark.usefixtures("small_lab")
def test_an_empty_list_says_what_there_is_none_of() -> None:
    assert on_terminal("task", "list") == "no task is open; answered ones: labctl task list --all\n"


@pytest.mark.usefixtures("small_lab")
@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_list_fits_the_terminal(width: int) -> None:
    for words in (
        ["campaign", "list"],
        ["candidate", "list"],
        ["measurement", "list"],
        ["instrument", "list"],
        ["sample", "list"],
    ):
        assert max(len(line) for line in on_terminal(*words, columns=width).splitlines()) <= width


LISTS = [
    ["campaign", "list"], ["campaign", "show", "last"], ["experiment", "list"], ["sample", "list"], ["sample", "show", "last"],
    ["measurement", "list"], ["candidate", "list"], ["trace", "S-00001"], ["instrument", "list"], ["queue", "list"],
    ["audit", "list"], ["doctor"],
]  # fmt: skip


def steady(item: dict[str, Any]) -> dict[str, Any]:
    """A row without what changes from one moment to the next: the space left on the disk."""
    return {**item, "found": ""} if item.get("check") == "disk" else item


@pytest.mark.usefixtures("small_lab")
@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_every_list_and_show_command_speaks_every_format(words: list[str]) -> None:
    out, _ = labctl(*words, "-o", "json")
    document = json.loads(out)
    assert document["schema"] == "labctl/v1"
    items = document["items"]
    lines, _ = labctl(*words, "-o", "jsonl")
    assert [steady(json.loads(line)) for line in lines.splitlines()] == [steady(item) for item in items]
    table, _ = labctl(*words, "-o", "csv")
    assert len(list(csv.reader(io.StringIO(table)))) == len(items) + 1
    names, _ = labctl(*words, "-o", "name")
    assert len(names.splitlines()) == len(items)


@pytest.mark.usefixtures("small_lab")
def test_one_instrument_as_csv_is_its_line_of_the_list() -> None:
    (listed, *_), (shown,) = (
        list(csv.DictReader(io.StringIO(labctl("instrument", *words, "-o", "csv")[0])))
        for words in (["list"], ["show", "doser-1"])
    )
    assert {**shown, "identity": ""} == {**listed, "identity": ""}
    assert (shown["does"], shown["hardware"]) == ("dose_and_mix", "never")


@pytest.mark.usefixtures("small_lab")
def test_a_priority_may_be_below_the_usual_one() -> None:
    assert "C-0001 is done" in labctl("campaign", "priority", "C-0001", "-5", code=6)[1]
    assert "unexpected extra argument" in labctl("campaign", "priority", "C-0001", "5", "--levl", code=2)[1]


@pytest.mark.usefixtures("small_lab")
def test_a_trace_as_csv_has_a_row_for_each_value() -> None:
    (row,) = csv.DictReader(io.StringIO(labctl("trace", "S-00002", "-o", "csv")[0]))
    assert (row["sample_id"], row["value"], row["unit"], row["campaign"]) == ("S-00002", "12.0", "mS/cm", "C-0001")
    assert all(row[key] for key in ("job_id", "instrument", "candidate", "recipe"))


def test_raw_files_are_written_out_and_over_nothing(small_lab: Path) -> None:
    out, _ = labctl("trace", "S-00002", "--raw-files", "raw")
    (path,) = (small_lab / "raw").iterdir()
    assert path.read_bytes() == RAW
    assert out.endswith(f"raw/{path.name}\n")
    labctl("trace", "S-00002", "--raw-files", "raw", "-o", "json")
    path.write_text("mine")
    _, said = labctl("trace", "S-00002", "--raw-files", "raw", code=2)
    assert "says something else" in said
    assert path.read_text() == "mine"
    _, said = labctl("trace", "S-00002", "--raw-files", "labctl.toml", code=2)
    assert "this is no folder" in said


@pytest.mark.usefixtures("small_lab")
def test_ids_may_be_said_short() -> None:
    for said in ("S-00002", "S-2", "s-2", "2"):
        assert labctl("sample", "show", said, "-o", "name")[0] == "S-00002\n"
    assert labctl("sample", "show", "last", "-o", "name")[0] == "S-00003\n"
    _, error = labctl("sample", "show", "S-0000", code=3)
    assert "could be S-00001, S-00002, S-00003" in error


@pytest.mark.usefixtures("small_lab")
def test_a_sample_on_one_page() -> None:
    assert labctl("sample", "show", "1")[0] == (
        "S-00001   E-00001 of C-0001   done   6000 mg   bench-A   simulated\n"
        "  component    intended    measured\n"
        "  EC             0.9000  \n"
        "  LiPF6          0.1000  \n"
        "  jobs\n"
        "    R-00001  measure      analyser-1     done     2026-03-01 09:34\n"
        "  measurements\n"
        "    M-00001  ionic_conductivity   11.000 +- 0.050 mS/cm  n=3  ok\n"
    )


@pytest.mark.parametrize(
    ("words", "message", "help_of"),
    [
        (["task", "done"], "missing argument 'TASK'", "labctl task done -h"),
        (["campain", "list"], "no such command 'campain'. Did you mean 'campaign'?", "labctl -h"),
        (["queue", "list", "--lob"], "no such option: --lob (Possible options: --all, --lab)", "labctl queue list -h"),
        (
            ["campaign", "due", "C-1", "tomorrow"],
            "invalid value for 'WHEN': 'tomorrow' does not",
            "labctl campaign due -h",
        ),
    ],
)
def test_a_command_that_cannot_be_understood_is_one_error_like_any_other(
    words: list[str], message: str, help_of: str
) -> None:
    out, error = labctl(*words, code=2)
    assert out == ""
    first, usage, hint = error.splitlines()
    assert first.startswith(f"error LAB-0101: {message}")
    assert usage.startswith("  Usage: labctl ")
    assert hint == f"  try: {help_of}"
    _, error = labctl(*words, "-o", "json", code=2)
    assert json.loads(error)["error"]["message"]


def test_outside_of_a_lab_one_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["campaign", "list"], ["queue", "list"], ["doctor"], ["campaign", "run", "x.toml"]):
        out, error = labctl(*words, code=2)
        assert out == ""
        assert error == (
            f"error LAB-0102: no labctl.toml in {tmp_path} or any folder above it\n"
            "  try: cd into a lab, add --lab DIR, or make one: labctl init my-lab --lab electrolyte\n"
        )


def test_the_lab_may_be_named_before_the_command(
    small_lab: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_LAB", "")  # what the command sets is undone with this
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    before, _ = labctl("--lab", str(small_lab), "campaign", "list", "-o", "json")
    behind, _ = labctl("campaign", "list", "--lab", str(small_lab), "-o", "json")
    assert json.loads(before)["items"] == json.loads(behind)["items"] != []


@pytest.mark.usefixtures("small_lab")
def test_the_doctor_goes_on_past_a_database_that_cannot_be_read() -> None:
    for file in Path(".labctl").glob("lab.sqlite*"):
        file.unlink()
    Path(".labctl/lab.sqlite").write_text("this was a database once")
    out, _ = labctl("doctor", code=1)
    states = {line.split("\t")[1]: line.split("\t") for line in out.splitlines()}
    assert states["database"][0] == "wrong"
    assert states["database"][3] == DamagedDatabaseError.remedy
    assert states["worker"][0] == "ok"
    _, error = labctl("campaign", "list", code=1)
    assert error.endswith(f"try: {DamagedDatabaseError.remedy}\n")


@pytest.mark.usefixtures("small_lab")
def test_a_folder_in_the_place_of_the_database_is_said() -> None:
    for file in Path(".labctl").glob("lab.sqlite*"):
        file.unlink()
    Path(".labctl/lab.sqlite").mkdir()
    out, _ = labctl("doctor", code=1)
    states = {line.split("\t")[1]: line.split("\t") for line in out.splitlines()}
    assert states["database"][2].endswith("lab.sqlite is a folder; move it away, or name another file in labctl.toml")
    _, error = labctl("campaign", "list", code=1)
    assert "lab.sqlite is a folder" in error


@pytest.mark.usefixtures("small_lab")
@pytest.mark.parametrize(("ends", "state"), [("2026-02-01", "wrong"), ("2099-01-01", "")])
def test_the_doctor_speaks_of_certificates_that_have_ended(ends: str, state: str) -> None:
    file = Path("labctl.toml")
    file.write_text(re.sub(r"valid_to = .*", f"valid_to = {ends}", file.read_text()))
    out, _ = labctl("doctor", code=1 if state else 0)
    found = {line.split("\t")[1]: line.split("\t")[0] for line in out.splitlines()}
    assert found.get("analyser-1 calibration", "") == state


def test_errors_are_json_for_those_who_asked_for_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, error = labctl("campaign", "list", "-o", "json", code=2)
    assert json.loads(error)["error"]["code"] == "LAB-0102"


@pytest.mark.usefixtures("small_lab")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["campaign", "show", "C-0009"], 3, "near it: C-0001\n  try: labctl campaign list"),
        (["trace", "S-77"], 3, "there is no sample 'S-77'"),
        (["campaign", "run", "nothere.toml"], 2, "there is no such file"),
        (["campaign", "resume", "C-0099"], 3, "there is no campaign"),
        (["instrument", "show", "dozer-1"], 3, "did you mean doser-1?"),
        (["campagn"], 2, "Did you mean 'campaign'?"),
        (["campaign", "lst"], 2, "Did you mean 'list'?"),
        (["campaign", "list", "-o", "yaml"], 2, "'yaml' is not one of"),
        (["candidate", "list", "--top", "0"], 2, "greater than or equal to 1"),
        (["init", ".", "--lab", "electrolyte"], 2, "nothing was written"),
        (["init", "new", "--lab", "alchemy"], 2, "there are: alloy, electrolyte"),
    ],
)
def test_bad_commands_say_what_is_wrong_and_change_nothing(
    words: list[str], code: int, said: str, small_lab: Path
) -> None:
    before = sorted(str(p) for p in small_lab.rglob("*") if "lab.sqlite" not in p.name)
    _, error = labctl(*words, code=code)
    assert said in error
    assert sorted(str(p) for p in small_lab.rglob("*") if "lab.sqlite" not in p.name) == before


def test_a_database_from_a_newer_version_is_refused(small_lab: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.execute("UPDATE labctl_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    for words in (("audit", "verify"), ("campaign", "list"), ("queue", "list")):
        _, error = labctl(*words, code=2)
        assert "LAB-0302" in error
        assert "Upgrade labctl" in error


def test_damage_to_the_log_is_told(small_lab: Path) -> None:
    import sqlite3

    assert labctl("audit", "verify")[0].endswith("lines, chain unbroken\n")
    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.executescript("DROP TRIGGER event_no_update; UPDATE event SET actor = 'nobody' WHERE seq = 4")
    connection.close()
    _, error = labctl("audit", "verify", code=1)
    assert "line 4 of the audit log" in error


def test_a_campaign_file_is_checked_before_anything_is_started(small_lab: Path) -> None:
    path = small_lab / "campaigns" / "conductivity.toml"
    path.write_text(path.read_text().replace('temperature = "25 degC"', 'temperature = "250 degC"'))
    _, error = labctl("campaign", "run", str(path), code=2)
    assert "at most 80 degC" in error
    assert not (small_lab / ".labctl" / "simulator").exists()
    assert len(json.loads(labctl("campaign", "list", "-o", "json")[0])["items"]) == 1


def test_a_dry_run_tells_and_starts_nothing(small_lab: Path) -> None:
    out, _ = labctl("campaign", "run", "campaigns/conductivity.toml", "--dry-run")
    assert "30 x 6 g = 180 g" in out
    assert out.endswith("nothing was started\n")
    assert not (small_lab / ".labctl" / "simulator").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_the_usual_shells(shell: str) -> None:
    script = {"_LABCTL_COMPLETE": f"source_{shell}"}  # what the installed line asks for
    done = subprocess.run([*LABCTL], capture_output=True, text=True, env={**os.environ, **script}, check=True)
    assert f"complete_{shell}" in done.stdout


HISTORY = "LiPF6,EC,DMC,EMC,ionic_conductivity,u,state\n0.10,0.30,0.30,0.30,12.9,0.06,done\n0.20,0.10,0.40,0.30,,,failed\n0.12,0.34,0.30,0.24,13.2,0.06,done\n0.11,0.31,0.29,0.29,,,pending\n"


def suggest(folder: Path, history: str, *more: str, code: int = 0) -> tuple[str, str]:
    (folder / "data.csv").write_text(history)
    return labctl("optimizer", "suggest", "campaigns/conductivity.toml", "--history", "data.csv", *more, code=code)


def test_the_share_of_the_balance_need_not_be_told(small_lab: Path) -> None:
    short = "LiPF6,EC,DMC,ionic_conductivity\n0.1,0.3,0.3,12.9\n0.12,0.34,0.3,13.2\n"
    whole = "LiPF6,EC,DMC,EMC,ionic_conductivity\n0.1,0.3,0.3,0.3,12.9\n0.12,0.34,0.3,0.24,13.2\n"
    assert suggest(small_lab, short, "-o", "json")[0] == suggest(small_lab, whole, "-o", "json")[0]


def test_proposals_need_no_lab(small_lab: Path) -> None:
    (small_lab / "labctl.toml").unlink()
    out, _ = suggest(small_lab, HISTORY, "-n", "4", "-o", "json")
    items = json.loads(out)["items"]
    assert len(items) == 4
    assert all(abs(sum(i[c] for c in ("LiPF6", "EC", "DMC", "EMC")) - 1) < 1e-12 for i in items)
    assert suggest(small_lab, HISTORY, "-n", "4", "-o", "json")[0] == out


def test_what_labctl_exports_it_reads(small_lab: Path) -> None:
    plain = "LiPF6,EC,DMC,EMC,ionic_conductivity\n0.1,0.3,0.3,0.3,12.9\n0.12,0.34,0.3,0.24,13.2\n"
    export = (
        "id,quantity,value,unit,DMC,EC,EMC,LiPF6\n"
        "X-00001,ionic_conductivity,1.29,S/m,0.3,0.3,0.3,0.1\nX-00002,ionic_conductivity,1.32,S/m,0.3,0.34,0.24,0.12\n"
    )
    assert json.loads(suggest(small_lab, export, "-o", "json")[0]) == json.loads(
        suggest(small_lab, plain, "-o", "json")[0]
    )
    for there, other, said in (
        ("X-00002,ionic_conductivity", "X-00002,viscosity", "viscosity"),
        ("1.32,S/m", "13.2,mS/cm", "the first in S/m"),
    ):
        assert said in suggest(small_lab, export.replace(there, other), code=2)[1]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("LiPF6,EC,DMCC,EMC,ionic_conductivity\n", "no column 'DMC'"),
        ("LiPF6,EC,DMC,EMC\n", "no column 'ionic_conductivity'"),
        ("LiPF6,EC,DMC,EMC,ionic_conductivity\n0.1,0.3,0.3,0.3,high\n", "data.csv:2"),
        ("LiPF6,EC,DMC,EMC,ionic_conductivity\n0.1,0.3,0.3,0.3,nan\n", "not a finite number"),
        ("LiPF6,EC,DMC,EMC,ionic_conductivity\n0.1,0.3,0.3,0.1,9\n", "fractions sum to 0.8"),
        ("LiPF6,EC,DMC,EMC,ionic_conductivity,state\n0.1,0.3,0.3,0.3,9,maybe\n", "'maybe' is none of"),
        ("", "no column"),
        ("LiPF6,EC,DMC,ionic_conductivity\n0.5,0.5,0.3,9\n", "a fraction is below 0"),
    ],
)
def test_a_bad_table_names_file_line_and_column(small_lab: Path, history: str, said: str) -> None:
    _, error = suggest(small_lab, history, code=2)
    assert said in error
    assert "data.csv" in error
