"""A lab folder driven through the real command line, as a scientist would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instruments.sim.control import SimulatorControl

LABCTL = [sys.executable, "-m", "labctl"]


@dataclass
class LabFolder:
    """A lab made by `labctl init`, and the simulator behind it."""

    folder: Path
    kind: str = "electrolyte"
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        experiments: int = 6,
        speed: float = 36000,
        seed: int = 1,
        faults: str = "none",
        database: str = "",
        kind: str = "electrolyte",
    ) -> LabFolder:
        """A fresh lab with a small and fast campaign; without a `database` on the SQLite file."""
        subprocess.run([*LABCTL, "init", str(folder), "--lab", kind], check=True, capture_output=True)
        lab = cls(folder, kind)
        lab.edit("labctl.toml", {"speed": f"{speed:g}", "faults": f'"{faults}"'})
        if kind == "alloy":  # at such a speed labctl's own moments are hours of the lab
            path = folder / "labctl.toml"
            path.write_text(path.read_text().replace('tray_wait = "24 h"', 'tray_wait = "2000 h"'))
        if database:
            lab.keep_data_at(database)
        lab.edit(lab.campaign, {"experiments": str(experiments), "seed": str(seed)})
        return lab

    @property
    def campaign(self) -> str:
        """The file of its campaign."""
        return f"campaigns/{'hardness' if self.kind == 'alloy' else 'conductivity'}.toml"

    def keep_data_at(self, database: str) -> None:
        """The one line of the lab file that says where the data are."""
        path = self.folder / "labctl.toml"
        path.write_text(path.read_text().replace("[lab]\n", f'[lab]\ndatabase = "{database}"\n'))

    def edit(self, name: str, values: dict[str, str]) -> None:
        """Set `key = value` lines; every key must be there."""
        path = self.folder / name
        lines = path.read_text().splitlines()
        for key, value in values.items():
            at = next(i for i, line in enumerate(lines) if line.split("=")[0].strip() == key)
            lines[at] = f"{key} = {value}"
        path.write_text("\n".join(lines) + "\n")

    def __call__(self, *args: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab and wait for it."""
        done = subprocess.run([*LABCTL, *args], cwd=self.folder, capture_output=True, text=True, timeout=170)
        if check is not None:
            assert done.returncode == check, (
                f"labctl {' '.join(args)} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Run a command in the lab in a process group of its own and go on."""
        with (self.folder / "worker.out").open("ab") as out:
            process = subprocess.Popen(
                [*LABCTL, *args], cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
        self.started.append(process)
        return process

    def json(self, *args: str) -> Any:
        """The items that a list or show command gives as JSON."""
        return json.loads(self(*args, "-o", "json").stdout)["items"]

    def wait_for(self, *noun: str, process: subprocess.Popen[bytes]) -> Any:
        """Rows of a list command, once there are any; the process must go on meanwhile."""
        while not (rows := self.json(*noun, "list")):
            assert process.poll() is None
        return rows

    @property
    def simulator(self) -> SimulatorControl:
        """The simulator's control port."""
        return SimulatorControl(self.folder / ".labctl" / "simulator")

    def acts(self) -> dict[str, int]:
        """How often each job was really begun by a machine."""
        return dict(self.simulator.acts())

    def close(self) -> None:
        """End what was started, and the simulator."""
        for process in self.started:
            if process.poll() is None:
                kill(process)
        if (self.folder / ".labctl" / "simulator" / "simulator.json").exists():
            self.simulator.stop()


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the whole process group: no chance to clean up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
