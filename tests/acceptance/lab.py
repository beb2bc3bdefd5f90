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
        kind: str = "electrolyte",
    ) -> LabFolder:
        """A fresh lab with a small and fast campaign."""
        subprocess.run([*LABCTL, "init", str(folder), "--lab", kind], check=True, capture_output=True)
        lab = cls(folder, kind)
        lab.edit("labctl.toml", {"speed": f"{speed:g}", "faults": f'"{faults}"'})
        lab.edit(lab.campaign, {"experiments": str(experiments), "seed": str(seed)})
        return lab

    @property
    def campaign(self) -> str:
        """The file of its campaign."""
        return f"campaigns/{'hardness' if self.kind == 'alloy' else 'conductivity'}.toml"

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
