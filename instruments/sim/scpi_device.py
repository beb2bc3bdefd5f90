"""What the simulated machines have in common: a SCPI command line, an error queue, programs and runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from instruments.sim.machine import Machine
from instruments.sim.memory_of_machines import PastRun
from instruments.sim.world import World

Reply = str | bytes | None
QUOTED = re.compile(r'"([ -!#-~]{0,64})"')
LONGEST = 4096


class Refused(Exception):
    """The machine does not accept the command; its error queue says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.entry = f'{code},"{text}"'


class ScpiDevice(Machine):
    """One machine, without its wire: a line in, a reply or nothing out.

    Subclasses say what their program consists of, how long it takes and what it gives.
    """

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.errors: list[str] = []
        self._headers: dict[str, Callable[[str], Reply]] = {}
        self.program: dict[str, Any] = {}
        self.commands: dict[str, Callable[[str], Reply]] = {
            "*IDN?": lambda _: f"labctl simulation,{self.model},{name},1.0",
            "*CLS": lambda _: self.errors.clear(),
            "SYSTem:ERRor?": lambda _: self.errors.pop(0) if self.errors else '0,"No error"',
            "STATus:MODE?": lambda _: self.mode(),
            "PROGram:CLEar": lambda _: self.clear(),
            "PROGram:SAMPle": lambda a: self.program.update(sample=self.text(a)),
            "PROGram:LABel": lambda a: self.program.update(label=self.text(a)),
            "PROGram?": lambda _: self.echo(),
            "PROGram:STARt": lambda _: self.start(),
            "RUN:COUNt?": lambda _: str(self.count()),
            "RUN:LAST?": lambda _: self.last(),
            "RUN:STATe?": lambda a: self.state(self.run(a)),
            "RUN:RESult?": lambda a: self.result(self.finished(a)),
            "RUN:DATA?": lambda a: self.given(a).encode("ascii"),
            "ABORt": lambda _: self.stop(),
        }
        self.clear()

    # -- the command line -----------------------------------------------------------------

    def handle(self, line: str) -> Reply:
        """One line. A machine never breaks down over what it is told; it files an error."""
        if len(line) > LONGEST or not line.isascii() or not line.isprintable():
            self.file('-102,"Syntax error"')
            return None
        header, _, argument = line.strip().partition(" ")
        if not header:
            return None
        command = self.lookup(header)
        if command is None:
            self.file('-113,"Undefined header"')
            return None
        try:
            return command(argument.strip())
        except Refused as refused:
            self.file(refused.entry)
            return None

    def lookup(self, header: str) -> Callable[[str], Reply] | None:
        """The command that a header names, in short or long form and any case."""
        if len(self._headers) == 0:
            for pattern, command in self.commands.items():
                for nodes in itertools.product(*(forms(node) for node in pattern.split(":"))):
                    self._headers[":".join(nodes)] = command
        return self._headers.get(header.upper())

    def file(self, entry: str) -> None:
        """Put an error into the queue, which holds the newest 32."""
        self.errors = [*self.errors, entry][-32:]

    def text(self, argument: str) -> str:
        """A string in quotes."""
        match = QUOTED.fullmatch(argument)
        if match is None:
            raise Refused(-151, "Invalid string data")
        return match.group(1)

    def number(self, argument: str, low: float, high: float) -> float:
        """A number within bounds."""
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", argument.strip()):
            raise Refused(-120, "Numeric data error")
        value = float(argument)
        if not low <= value <= high:
            raise Refused(-222, f"Data out of range; {low:g} to {high:g}")
        return value

    # -- programs and runs ----------------------------------------------------------------

    def clear(self) -> None:
        """Empty the program."""
        self.program = {"sample": "", "label": ""}

    def echo(self) -> str:
        """The program as understood."""
        parts = [f'SAMP="{self.program["sample"]}"', f'LAB="{self.program["label"]}"', *self.echo_settings()]
        return ";".join(parts)

    def last(self) -> str:
        """The newest run."""
        run = self.world.memory.last(self.name)
        return f'{run.number},"{run.label}","{run.sample}"' if run else '0,"",""'

    def start(self) -> None:
        """Begin: from here on matter changes."""
        if self.mode() != "READY":
            raise Refused(-221, f"Settings conflict; {self.mode()}")
        if not self.program["sample"]:
            raise Refused(-221, "Settings conflict; no sample")
        self.check()
        sample = str(self.program["sample"])
        attempt = len(self.world.memory.of_sample(sample, self.name))
        rng = self.world.rng(self.name, sample, attempt)
        program, typical_s = self.carry_out(dict(self.program), rng)
        code, message = self.trouble(rng, program)
        self.world.memory.add(
            PastRun(
                device=self.name,
                number=self.count() + 1,
                label=str(self.program["label"]),
                sample=sample,
                program=program,
                started=self.world.clock.now(),
                duration_s=self.world.duration(typical_s, rng),
                attempt=attempt,
                code=code,
                message=message,
                aborted=None,
            )
        )

    def run(self, argument: str) -> PastRun:
        """The run that is asked for."""
        number = int(self.number(argument, 0, 1e12))
        run = self.world.memory.run(self.name, number)
        if run is None:
            raise Refused(-230, "Data corrupt or stale; no such run")
        return run

    def finished(self, argument: str) -> PastRun:
        """The run that is asked for, if it ended well."""
        run = self.run(argument)
        if run.code or run.aborted or not self.world.over(run):
            raise Refused(-230, "Data corrupt or stale; not done")
        return run

    def given(self, argument: str) -> str:
        """The raw file of a finished run; of one that was stopped, the rows for which there was time."""
        run = self.run(argument)
        if run.aborted is None:
            return self.data(self.finished(argument))
        if run.code:
            return ""  # it would have ended with a fault: there is nothing sound to tell of
        head, *rows = self.data(run).splitlines(keepends=True)
        return "".join([head, *rows[: int(len(rows) * (run.aborted - run.started).total_seconds() / run.duration_s)]])

    def state(self, run: PastRun) -> str:
        """Where a run stands."""
        left = max(0.0, run.duration_s - self.world.since(run.started))
        if run.aborted:
            state, code, message = "ABORTED", 0, ""
        elif left > 0:
            state, code, message = "RUNNING", 0, ""
        else:
            state, code, message = ("FAILED" if run.code else "DONE"), run.code, run.message
            left = 0.0
        return f'{run.number},"{run.label}",{state},{0.0 if run.aborted else left:.3f},{code},"{message}"'

    # -- what each machine says for itself --------------------------------------------------

    def echo_settings(self) -> list[str]:
        """Its settings, as `PROG?` writes them."""
        return []

    def check(self) -> None:
        """Refuse a program that cannot be carried out."""

    def carry_out(self, program: dict[str, Any], rng: Any) -> tuple[dict[str, Any], float]:
        """What really happens, kept with the run, and how long it usually takes, lab seconds."""
        return program, 1.0

    def trouble(self, rng: Any, program: dict[str, Any]) -> tuple[int, str]:
        """With which fault the run will end."""
        if self.world.happens("interlock", self.name, rng):
            return 5, "interlock opened"
        return 0, ""

    def result(self, run: PastRun) -> str:
        """The result line of a finished run."""
        return f'"{run.sample}"'

    def data(self, run: PastRun) -> str:
        """The raw file of a finished run."""
        return ""


def forms(node: str) -> set[str]:
    """Short and long form of a header's node: PROGram? -> PROG?, PROGRAM?."""
    return {"".join(c for c in node if not c.islower()), node.upper()}


def block(content: bytes) -> bytes:
    """IEEE 488.2 definite-length block."""
    digits = str(len(content)).encode()
    return b"#" + str(len(digits)).encode() + digits + content + b"\n"
