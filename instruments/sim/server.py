"""The simulated lab as its own process: one port per machine, one for control.

    python -m instruments.sim.server --state DIR --device doser-1=gravimetric-doser ...

It outlives the labctl that started it, as real machines do. A kill loses nothing that a
machine had begun: runs are on disk before a START is acknowledged, and lab time goes on
from where it stood. It stops by itself when nobody has talked to it for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from instruments.clock import ScaledClock, WallClock
from instruments.sim import modbus_frame
from instruments.sim.catalogue import machines
from instruments.sim.furnace import TrayFurnace
from instruments.sim.lab import SimulatedLab
from instruments.sim.machine import Machine
from instruments.sim.memory_of_machines import MachineMemory, PastRun
from instruments.sim.scpi_device import ScpiDevice, block
from instruments.sim.world import PROFILES, World

LATE_S = 8.0  #: wall seconds by which a late answer comes too late
LOCK, INFO = "simulator.lock", "simulator.json"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Sockets in front of a simulated lab."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.idle_s = options.idle_minutes * 60.0
        memory = MachineMemory(folder / "machines.sqlite", full_sync=not options.fast)
        clock = ScaledClock(resumed(memory), options.speed)
        world = World(
            clock=clock,
            memory=memory,
            seed=options.seed,
            rates=dict(PROFILES[options.faults]),
            durations=options.durations,
        )
        self.lab = SimulatedLab(world, dict(d.split("=", 1) for d in options.device), machines(options.simulator))
        self.ports: dict[str, int] = {}
        self.stopping = asyncio.Event()
        self.touched = clock.monotonic()
        self._writers: dict[str, asyncio.StreamWriter] = {}

    async def run(self, announce: Callable[[dict[str, Any]], None]) -> None:
        """Serve until told to stop, or left alone."""
        servers = []
        for name in self.lab.machines:
            server = await self._listen(name)
            self.ports[name] = server.sockets[0].getsockname()[1]
            self.lab.world.memory.note(f"port of {name}", str(self.ports[name]))
            servers.append(server)
        control = await asyncio.start_server(self._control, "127.0.0.1", 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        schemes = {name: machine.scheme for name, machine in self.lab.machines.items()}
        port = control.sockets[0].getsockname()[1]
        known = {"ports": self.ports, "schemes": schemes, "control": port, "options": stated(self.options)}
        announce({"pid": os.getpid(), **known})
        while not self.stopping.is_set():
            self._keep_time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.5)
            if self._left_alone():
                break
        self._keep_time()
        for server in [*servers, control]:
            server.close()
        self.lab.world.memory.close()

    async def _listen(self, name: str) -> asyncio.Server:
        """The port where the machine was found before, as a real one keeps its address; another if that is taken."""
        before = int(self.lab.world.memory.noted(f"port of {name}") or 0)
        try:
            return await asyncio.start_server(self._machine(name), "127.0.0.1", before)
        except OSError:
            return await asyncio.start_server(self._machine(name), "127.0.0.1", 0)

    def _keep_time(self) -> None:
        self.lab.world.memory.note("lab time", self.lab.world.clock.now().isoformat())

    def _left_alone(self) -> bool:
        """Nobody talks to it and nothing runs."""
        quiet = self.lab.world.clock.monotonic() - self.touched > self.idle_s
        return quiet and all(m.mode() != "BUSY" for m in self.lab.machines.values())

    # -- machines -------------------------------------------------------------------------

    def _machine(self, name: str) -> Handler:
        machine = self.lab.machines[name]
        speak = self._lines if isinstance(machine, ScpiDevice) else self._frames

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if (old := self._writers.get(name)) is not None:
                old.transport.abort()  # one client at a time: the newest
            self._writers[name] = writer
            with contextlib.suppress(
                ConnectionError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, ValueError
            ):
                await speak(name, reader, writer)
            writer.close()

        return serve

    async def _lines(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SCPI: a line in, a line, a block or nothing out."""
        machine = self.lab.machines[name]
        assert isinstance(machine, ScpiDevice)
        while line := await reader.readline():
            self.touched = self.lab.world.clock.monotonic()
            reply = machine.handle(line.decode("ascii", "replace").rstrip("\r\n"))
            if reply is not None:
                content = block(reply) if isinstance(reply, bytes) else reply.encode("ascii") + b"\n"
                await self._answer(name, writer, content)

    async def _frames(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Modbus: a frame in, a frame out; what is no frame ends the connection."""
        machine = self.lab.machines[name]
        assert isinstance(machine, TrayFurnace)
        while True:
            header = await reader.readexactly(modbus_frame.HEADER)
            frame = header + await reader.readexactly(modbus_frame.rest(header))
            self.touched = self.lab.world.clock.monotonic()
            await self._answer(name, writer, modbus_frame.answer(machine, frame))

    async def _answer(self, name: str, writer: asyncio.StreamWriter, content: bytes) -> None:
        """The reply, through whatever strikes the line."""
        fault = self.lab.wire_fault(name)
        if fault in ("mute", "freeze"):
            return
        if fault == "garbage":
            content = b"\xff\x00\xfe" + content[3:]
        elif fault == "late":
            await asyncio.sleep(LATE_S)
        elif fault == "duplicate":
            content *= 2
        elif fault == "drop":
            writer.transport.abort()
            return
        elif fault == "split":
            writer.write(content[: len(content) // 2])
            await writer.drain()
            await asyncio.sleep(LATE_S)
            content = content[len(content) // 2 :]
        writer.write(content)
        await writer.drain()

    # -- control --------------------------------------------------------------------------

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One JSON object a line, in and out."""
        with contextlib.suppress(ConnectionError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                self.touched = self.lab.world.clock.monotonic()
                try:
                    answer = self.order(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order of the control port."""
        world = self.lab.world
        match order["op"]:
            case "ping":
                return {"ok": True}
            case "status":
                return {
                    "machines": {
                        n: {"model": m.model, "mode": m.mode(), "runs": m.count()} for n, m in self.lab.machines.items()
                    }
                }
            case "clock":
                clock = world.clock
                return {"now": clock.now().isoformat(), "speed": clock.speed if isinstance(clock, ScaledClock) else 1.0}
            case "speed":
                world.clock = ScaledClock(world.clock.now(), float(order["value"]))
                return {"ok": True}
            case "seed":
                world.seed = int(order["value"])
                return {"ok": True}
            case "faults":
                world.rates.update({k: float(v) for k, v in order.get("rates", {}).items()})
                for name, faults in order.get("next", {}).items():
                    world.once.setdefault(name, []).extend(faults)
                return {"rates": world.rates, "next": world.once}
            case "mode":
                self.lab.machines[order["machine"]].mode_override = order["value"]
                return {"ok": True}
            case "acts":
                return {"acts": world.memory.acts(), "made": world.memory.made(), "on": world.memory.acts_on()}
            case "record":
                return {
                    "runs": [account(m, run) for m in self.lab.machines.values() for run in world.memory.runs(m.name)]
                }
            case "truth":
                return {k: v for machine in self.lab.machines.values() for k, v in machine.truth(order).items()}
            case "knob":
                furnace = self.lab.machines[order["machine"]]
                if not isinstance(furnace, TrayFurnace):
                    raise ValueError(f"{furnace.name} has no knob")
                furnace.write(2, [furnace.raw(float(order["celsius"]))])
                return {"ok": True}
            case "stop":
                self.stopping.set()
                return {"ok": True}
            case unknown:
                raise ValueError(f"unknown order {unknown!r}")


def account(machine: Machine, run: PastRun) -> dict[str, Any]:
    """What a machine itself says of a run: whose it was, and what came out."""
    ended_well = not run.code and run.aborted is None and machine.world.over(run)
    said = machine if ended_well and isinstance(machine, ScpiDevice) else None  # furnaces hand over nothing
    return {
        "machine": machine.name,
        "number": run.number,
        "label": run.label,
        "sample": run.sample,
        "tray": run.program.get("tray", {}),
        "started": run.started.isoformat(),
        "result": said.result(run) if said else None,
        "sha256": hashlib.sha256(said.data(run).encode("ascii")).hexdigest() if said else None,
    }


def resumed(memory: MachineMemory) -> datetime:
    """Lab time where it stood when the simulator last ran; now, when it never did."""
    noted = memory.noted("lab time")
    last = memory.db.execute("SELECT max(started) FROM run").fetchone()[0]
    known = [datetime.fromisoformat(text) for text in (noted, last) if text]
    return max(known, default=WallClock().now())


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="instruments.sim.server", description="A simulated lab.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--simulator", default="electrolyte", help="which simulated lab")
    parser.add_argument("--device", action="append", default=[], metavar="NAME=DRIVER")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", choices=sorted(PROFILES), default="none")
    parser.add_argument("--durations", type=float, default=1.0)
    parser.add_argument("--idle-minutes", type=float, default=10.0)
    parser.add_argument("--fast", action="store_true", help="do not wait for the disk (benchmarks)")
    parser.add_argument("--ready-fd", type=int, help="file descriptor to say 'ready' on")
    return parser.parse_args(arguments)


def stated(options: argparse.Namespace) -> dict[str, Any]:
    """With what it was started, as far as lab files can say it; nothing where it is not as they would have it."""
    if options.fast or options.durations != 1.0:
        return {}
    names = ("speed", "seed", "simulator", "faults", "idle_minutes")
    return {"devices": dict(d.split("=", 1) for d in options.device), **{n: getattr(options, n) for n in names}}


def main() -> int:
    """Serve, unless another simulator already serves this folder."""
    options = parse()
    options.state.mkdir(parents=True, exist_ok=True)
    lock = (options.state / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        ready(options.ready_fd, b"taken\n")
        return 0

    def announce(info: dict[str, Any]) -> None:
        draft = options.state / f"{INFO}.{os.getpid()}"
        draft.write_text(json.dumps(info))
        draft.replace(options.state / INFO)
        ready(options.ready_fd, b"ready\n")

    async def serve() -> None:
        await Server(options.state, options).run(announce)

    asyncio.run(serve())
    (options.state / INFO).unlink(missing_ok=True)
    return 0


def ready(handle: int | None, word: bytes) -> None:
    """Tell whoever started us."""
    if handle is not None:
        with contextlib.suppress(OSError):
            os.write(handle, word)
            os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
