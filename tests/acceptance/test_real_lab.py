"""A lab of real addresses whose machines misbehave: one error, the right exit code, nothing half done."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instruments.sim.control import running
from tests.acceptance.lab import LABCTL, LabFolder

Behaviour = Callable[[socket.socket], None]


def refuse(_: socket.socket) -> None:
    """Closed at once."""


def garbage(line: socket.socket) -> None:
    while line.recv(4096):
        line.sendall(b"\xff\xfe\x00garbage\n")


def freeze(line: socket.socket) -> None:
    while line.recv(4096):
        pass


def impostor(line: socket.socket) -> None:
    while line.recv(4096):
        line.sendall(b"espresso machine,3000,1,1.0\n")


@contextmanager
def machines(behaviour: Behaviour) -> Iterator[int]:
    """A port behind which every connection behaves so."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=lived, args=(line,), daemon=True).start()

    def lived(line: socket.socket) -> None:
        with line:
            try:
                behaviour(line)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(timeout=5)


def real_lab(folder: Path, port: int) -> LabFolder:
    """The template as a lab of real addresses."""
    lab = LabFolder.make(folder)
    path = folder / "labctl.toml"
    text = path.read_text().replace("simulated = true ", "simulated = false ").replace('simulator = "electrolyte"', "")
    for driver in ("gravimetric-doser", "thermostat", "impedance-analyser"):
        text = text.replace(
            f'driver = "{driver}"', f'address = "tcp://127.0.0.1:{port}"\ntimeout = "0.3 s"\ndriver = "{driver}"'
        )
    path.write_text(text)
    return lab


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(lab: LabFolder, said: str) -> None:
    done = lab("campaign", "run", "campaigns/conductivity.toml", check=5)
    assert (
        "error LAB-0501: doser-1, thermostat-1, analyser-1 do not answer as they should; nothing was started"
        in done.stderr
    )
    assert said in done.stderr
    assert "labctl doctor" in done.stderr
    assert "Traceback" not in done.stderr
    doctor = lab("doctor", check=1)
    assert doctor.stdout.count("wrong") == 3
    assert lab.json("campaign", "list") == []


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [(refuse, "closed the connection"), (garbage, "something else"), (freeze, "did not answer '*IDN?' within 0.3 s")],
    ids=["refuses", "garbage", "freezes"],
)
def test_machines_that_misbehave_start_nothing(tmp_path: Path, behaviour: Behaviour, said: str) -> None:
    with machines(behaviour) as port:
        check(real_lab(tmp_path / "lab", port), said)


def test_nobody_listens(tmp_path: Path) -> None:
    check(real_lab(tmp_path / "lab", closed_port()), "connection refused")


def test_a_simulation_is_no_machine_of_a_real_lab(tmp_path: Path) -> None:
    """Its values would count as measured."""
    simulated = LabFolder.make(tmp_path / "simulated", experiments=1)
    simulated("campaign", "run", "campaigns/conductivity.toml")
    lab = real_lab(tmp_path / "lab", closed_port())
    path = lab.folder / "labctl.toml"
    text = path.read_text()
    machines_there = running(simulated.folder / ".labctl" / "simulator")
    assert machines_there is not None
    for name, address in machines_there.addresses.items():
        head, tail = text.split(f"[instruments.{name}]\n")
        text = f"{head}[instruments.{name}]\n" + re.sub(r"tcp://[0-9.:]+", address, tail, count=1)
    path.write_text(text)
    refused = lab("campaign", "run", "campaigns/conductivity.toml", check=5)
    assert "error LAB-0504: doser-1, thermostat-1, analyser-1: a simulation answers" in refused.stderr
    assert lab.json("campaign", "list") == []
    assert lab("doctor", check=1).stdout.count("a simulation in a lab of real machines") == 3
    simulated.close()


def test_a_real_machine_is_not_tested_without_a_yes(tmp_path: Path) -> None:
    with machines(impostor) as port:
        lab = real_lab(tmp_path / "lab", port)
        assert "runs real jobs" in lab("instrument", "test", "doser-1", check=2).stderr


@pytest.mark.timeout(400)
def test_chaos_on_every_wire_and_machine_with_kills_in_between(tmp_path: Path) -> None:
    lab = LabFolder.make(tmp_path / "lab", experiments=8, speed=20000, faults="chaos")
    path = tmp_path / "lab" / "labctl.toml"
    path.write_text(path.read_text().replace('driver = "', 'timeout = "0.2 s"\ndriver = "'))
    for seconds in (2.0, 3.0):
        process = lab.start("campaign", "run", "campaigns/conductivity.toml")
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for _ in range(4):  # a lab in chaos may pause itself after many machine failures in a row
        done = lab("campaign", "run", "campaigns/conductivity.toml", check=None)
        if lab.json("campaign", "list")[0]["state"] == "done":
            break
        assert done.returncode in (1, 5), done.stderr
    assert {job: n for job, n in lab.acts().items() if n != 1} == {}
    assert {e["state"] for e in lab.json("experiment", "list")} <= {"done", "failed", "held"}
    for row in lab.json("measurement", "list"):
        if row["quantity"] == "ionic_conductivity":
            sample = lab.json("sample", "show", row["sample"])[0]
            truth = lab.simulator.truth(sample["measured"], 25.0)
            assert row["value"] == pytest.approx(truth, rel=0.6)
    lab("audit", "verify")
    lab.close()


def test_stop_ends_after_the_running_jobs(tmp_path: Path) -> None:
    lab = LabFolder.make(tmp_path / "lab", experiments=20, speed=1000)
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    while not (lab.folder / ".labctl" / "lab.sqlite").exists() or len(lab.json("experiment", "list")) < 2:
        assert process.poll() is None
    lab("campaign", "stop", "C-0001")
    process.wait(timeout=120)
    (campaign,) = lab.json("campaign", "list")
    assert (campaign["state"], campaign["reason"]) == ("stopped", "stopped by request")
    assert {e["state"] for e in lab.json("experiment", "list")} <= {"done", "failed", "aborted"}
    assert lab.json("queue", "list") == []
    assert "is stopped" in lab("campaign", "resume", "C-0001", check=6).stderr
    lab.close()


def test_python_can_run_labctl_as_a_module() -> None:
    done = subprocess.run([sys.executable, *LABCTL[1:], "version"], capture_output=True, text=True, check=True)
    assert done.stdout == "labctl 0.1.0\n"
