"""The lab's data on a PostgreSQL server: one line in labctl.toml, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from campaigns.toml_file import FileFaults
from labctl import checking, errors, finding, wiring
from labctl.initialise import initialise
from labctl.locks import ServerLock, host_lock
from materials_db import glance, looking, waiting
from materials_db.errors import (
    DamagedFileError,
    MaterialsDBError,
    NetworkDriveError,
    NewerDatabaseError,
    UnreachableError,
)
from materials_db.raw import RawFolder
from materials_db.sql import store as sql
from materials_db.sql.store import SqlStore
from tests import postgres
from tests.labctl.test_imports import HEAVY, imported
from tests.records import RAW, fill

NOBODY = "postgresql+psycopg://lab@127.0.0.1:9/lab"  #: the discard port: nobody listens there


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    fresh = postgres.fresh_database(postgres_url)
    yield fresh
    looking.server(fresh).close()


def lab_on(folder: Path, url: str) -> Path:
    """A lab whose one line says that its data are there."""
    initialise(folder)
    path = folder / "labctl.toml"
    path.write_text(path.read_text().replace("[lab]\n", f'[lab]\ndatabase = "{url}"\n'))
    return folder


VIEWS: dict[str, Any] = {
    "campaigns": glance.campaigns,
    "experiments": glance.experiments,
    "some experiments": lambda place: glance.experiments(place, "C-0001", last=2),
    "progress": lambda place: glance.progress(place, "C-0001"),
    "queue": waiting.queue,
    "instruments": glance.instruments,
    "candidates": glance.candidates,
    "samples": glance.samples,
    "sample": lambda place: glance.sample(place, "S-00001"),
    "measurements": glance.measurements,
    "measurements of one": lambda place: glance.measurements(place, "C-0001"),
    "resolve": lambda place: glance.resolve(place, "S", "last"),
}


@pytest.mark.postgres
def test_every_quick_view_is_the_same_on_both_databases(url: str, tmp_path: Path) -> None:
    places = [f"sqlite:///{tmp_path}/lab.sqlite", url]
    for place in places:
        store = SqlStore.open(place, tmp_path / "raw")
        with store.transaction() as tx:
            fill(tx, experiments=3)
        store.close()
    for name, view in VIEWS.items():
        on_file, on_server = (view(finding.place_of(place)) for place in places)
        assert on_file == on_server, name
        assert on_file or name == "queue", name


@pytest.mark.postgres
def test_the_quick_views_import_neither_sqlalchemy_nor_the_engine(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab_on(tmp_path / "lab", url))
    assert "psycopg" in (found := imported("campaign", "list"))
    assert found & HEAVY == set()


@pytest.mark.postgres
def test_a_quick_view_cannot_write(url: str) -> None:
    with pytest.raises(MaterialsDBError, match="read-only"):
        looking.server(url).rows("CREATE TABLE t (x int)", ())


@pytest.mark.postgres
def test_a_database_of_a_newer_labctl_is_refused_by_views_and_store(url: str, tmp_path: Path) -> None:
    SqlStore.open(url, tmp_path / "raw").close()
    with psycopg.connect(looking.libpq(url), autocommit=True) as connection:
        connection.execute("UPDATE labctl_version SET version_num = '9999'")
    with pytest.raises(NewerDatabaseError, match="9999"):
        glance.campaigns(url)
    with pytest.raises(NewerDatabaseError, match="9999"):
        SqlStore.open(url, tmp_path / "raw")


@pytest.mark.postgres
def test_raw_files_lie_in_the_database_where_every_machine_reads_them(url: str, tmp_path: Path) -> None:
    here, there = (SqlStore.open(url, tmp_path / machine / "raw") for machine in ("here", "there"))
    with here.transaction() as tx:
        sha256 = fill(tx)
    assert list(tmp_path.iterdir()) == []
    with there.transaction() as tx:
        assert tx.read_raw(sha256) == RAW
    with psycopg.connect(looking.libpq(url), autocommit=True) as connection:
        for change in ("UPDATE raw_bytes SET content = ''", "DELETE FROM raw_bytes"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(change)
        connection.execute("ALTER TABLE raw_bytes DISABLE TRIGGER USER")
        connection.execute("UPDATE raw_bytes SET content = 'x'")
    with there.transaction() as tx, pytest.raises(DamagedFileError, match="in the database is not what its name says"):
        tx.read_raw(sha256)
    here.close()
    there.close()


@pytest.mark.postgres
def test_raw_files_that_an_earlier_labctl_left_beside_a_server_are_read(url: str, tmp_path: Path) -> None:
    sha256 = RawFolder(tmp_path / "raw").put(RAW)
    store = SqlStore.open(url, tmp_path / "raw")
    with store.transaction() as tx:
        assert tx.read_raw(sha256) == RAW
    store.close()


@pytest.mark.postgres
def test_at_most_one_worker_of_all_machines(url: str) -> None:
    first, second = ServerLock(url, "worker"), ServerLock(url, "worker")
    assert first.take()
    assert not second.take()
    assert not second.is_free()
    assert ServerLock(url, "another").is_free()
    first.release()
    assert second.take()
    second.release()


@pytest.mark.postgres
def test_a_lock_that_was_lost_with_its_connection_is_taken_again_unless_another_has_it(url: str) -> None:
    first, second = ServerLock(url, "worker"), ServerLock(url, "worker")
    first.take()
    cut(url, first)
    assert first.keep()
    cut(url, first)
    assert second.take()
    assert not first.keep()
    second.release()


def cut(url: str, lock: ServerLock) -> None:
    """The server drops the connection of that lock."""
    with psycopg.connect(looking.libpq(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", [lock.me]
        )


@pytest.mark.postgres
def test_two_processes_of_one_machine_are_told_apart_also_when_the_server_forgot_one(url: str, tmp_path: Path) -> None:
    lab = wiring.open_lab(lab_on(tmp_path / "lab", url))
    first, second = host_lock(lab), host_lock(lab)
    assert first.take()
    server_side = first.locks[1]
    assert isinstance(server_side, ServerLock)
    cut(url, server_side)
    assert not second.take()
    first.release()


def run(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labctl", *args], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "words",
    [
        ("campaign", "list"),
        ("campaign", "run", "campaigns/conductivity.toml"),
        ("audit", "verify"),
        ("campaign", "pause", "C-0001"),
    ],
    ids=" ".join,
)
def test_a_server_that_does_not_answer_is_one_error_with_its_code(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(lab_on(tmp_path / "lab", NOBODY), *words)
    assert done.returncode == 5
    assert done.stderr.startswith(f"error LAB-0303: the database {NOBODY} does not answer")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lab" / ".labctl" / "raw").exists()


def test_the_doctor_says_that_the_server_does_not_answer(tmp_path: Path) -> None:
    done = run(lab_on(tmp_path / "lab", NOBODY), "doctor")
    assert done.returncode == 1
    assert "wrong\tdatabase" in done.stdout.replace("database\twrong", "wrong\tdatabase")
    assert "see that the server runs" in done.stdout


SECRETS = [
    "postgresql+psycopg://lab:hunter2@db/lab",
    "postgresql://lab:hunt/er2@db/lab",
    "postgresql://db/lab?user=lab&password=hunter2",
    "postgres://lab:hunter2@db/lab",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_password_in_the_address_is_refused_and_never_shown(tmp_path: Path, url: str) -> None:
    folder = lab_on(tmp_path / "lab", url)
    for words in (("campaign", "list"), ("doctor",), ("--debug", "queue", "list")):
        done = run(folder, *words)
        assert done.returncode in (1, 2)
        said = done.stdout + done.stderr
        assert "lab.database" in said
        assert "hunt" not in said
        assert "er2" not in said


@pytest.mark.parametrize(
    "url", ["mysql://db/lab", "postgresql+psycopg:/lab", "sqlite://", "lab.sqlite", "postgresql+asyncpg://db/lab"]
)
def test_other_addresses_are_refused_with_what_to_write(tmp_path: Path, url: str) -> None:
    with pytest.raises(FileFaults) as caught:
        wiring.open_lab(lab_on(tmp_path / "lab", url))
    said = "\n".join(errors.report(caught.value).where)
    assert "lab.database" in said
    assert "postgresql+psycopg://" in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://lab@db/lab",
        "postgresql://db:5433/lab?sslmode=require",
        "postgresql:///?service=lab",
        "postgresql+psycopg:///lab?host=/run/postgresql",
    ],
)
def test_addresses_as_libpq_knows_them(url: str) -> None:
    assert finding.fault_of(url) == ""
    assert finding.resolved(url, Path("/")).startswith("postgresql+psycopg://")


def test_without_psycopg_the_lab_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.labfile.find_spec", lambda name: None)
    with pytest.raises(FileFaults) as caught:
        wiring.open_lab(lab_on(tmp_path / "lab", NOBODY))
    assert "pip install 'labctl[postgres]'" in "\n".join(errors.report(caught.value).where)


def test_sqlite_on_a_network_drive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a share"
    folder.mkdir()
    mounts = tmp_path / "mounts"
    escaped = str(folder).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda1 / ext4 rw 0 0\nserver:/export {escaped} nfs4 rw 0 0\n")
    monkeypatch.setattr("materials_db.drives.MOUNTS", mounts)
    with pytest.raises(MaterialsDBError, match=r"network drive \(nfs4\)"):
        SqlStore.open(f"sqlite:///{folder}/lab.sqlite", tmp_path / "raw")
    assert list(folder.iterdir()) == []
    initialise(folder / "lab")
    found = {row["check"]: row for row in checking.examine(folder / "lab")}["database"]
    assert (found["state"], found["remedy"]) == ("wrong", NetworkDriveError.remedy)
    SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw").close()


@pytest.mark.postgres
def test_a_transaction_that_the_server_broke_off_says_so(url: str, tmp_path: Path) -> None:
    store = SqlStore.open(url, tmp_path / "raw")
    with pytest.raises(UnreachableError), store.transaction() as tx:
        tx.connection.execute(sql.sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with store.transaction() as tx:
        assert tx.events() == []
    store.close()


def test_another_host_needs_a_server(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    initialise(folder)
    path = folder / "labctl.toml"
    path.write_text(path.read_text().replace("[instruments.doser-1]\n", '[instruments.doser-1]\nhost = "far"\n'))
    with pytest.raises(FileFaults) as caught:
        wiring.open_lab(folder)
    said = "\n".join(errors.report(caught.value).where)
    assert 'instruments.doser-1.host = "far"' in said
    assert "postgresql+psycopg://" in said
