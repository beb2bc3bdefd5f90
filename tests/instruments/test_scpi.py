"""The wire does everything that wires do; the transport never gives a wrong answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import BadReply, DeviceRefused, InstrumentError, LinkLost, ReplyTimeout
from instruments.scpi import ScpiTcp, accepted, fields, number, quoted, whole
from instruments.scripted import ScriptedTransport

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 0.25


class Machine:
    """A machine whose next answers are told beforehand; otherwise it answers properly."""

    def __init__(self) -> None:
        self.identity = "maker,model,1,1.0"
        self.next: list[Answer] = []
        self.heard: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                command = line.decode().strip()
                self.heard.append(command)
                if command == "*IDN?":
                    writer.write(self.identity.encode() + b"\n")
                elif "?" in command:
                    await (self.next.pop(0) if self.next else self.proper)(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def proper(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"42.5\n")


def saying(*parts: bytes, pause_s: float = 0.0) -> Answer:
    """An answer in parts."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for i, part in enumerate(parts):
            if i:
                await asyncio.sleep(pause_s)
            writer.write(part)
            await writer.drain()

    return answer


async def closing(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    made = Machine()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def wire(machine: Machine) -> AsyncIterator[ScpiTcp]:
    made = ScpiTcp("127.0.0.1", machine.port, timeout_s=PATIENCE_S)
    yield made
    await made.close()
    await asyncio.sleep(0)


FAULTS = [
    ("no answer", saying(), ReplyTimeout),
    ("half an answer", saying(b"42"), ReplyTimeout),
    ("an answer that comes too late", saying(b"", b"13.0\n", pause_s=2 * PATIENCE_S), ReplyTimeout),
    ("an answer whose end comes too late", saying(b"13", b".0\n", pause_s=2 * PATIENCE_S), ReplyTimeout),
    ("bytes that are no text", saying(b"\xff\xfe\x00\n"), BadReply),
    ("four megabytes", saying(b"x" * (1 << 22) + b"\n"), BadReply),
    ("an answer and another line", saying(b"42.5\n13.0\n"), BadReply),
    ("a closed connection", closing, LinkLost),
    ("a line cut off by a close", saying(b"42"), InstrumentError),
]


@pytest.mark.parametrize(("name", "fault", "error"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_a_fault_is_an_error_and_the_next_answer_is_the_right_one(
    machine: Machine, wire: ScpiTcp, name: str, fault: Answer, error: type[Exception]
) -> None:
    assert await wire.query("MEAS?") == "42.5"
    machine.next.append(fault)
    with pytest.raises(error) as told:
        await wire.query("MEAS?")
    assert "codec" not in str(told.value)
    assert await wire.query("MEAS?") == "42.5"


async def test_a_line_that_nobody_asked_for_is_no_answer(machine: Machine, wire: ScpiTcp) -> None:
    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(b"42.5\n")
        await writer.drain()
        asyncio.get_running_loop().call_later(0.05, writer.write, b"13.0\n")

    machine.next.append(twice)
    first = await wire.query("MEAS?")
    assert first == "42.5"
    while wire._reader is not None and not wire._reader._buffer:  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
    with pytest.raises(BadReply, match="before it was asked"):
        await wire.query("MEAS?")
    assert await wire.query("MEAS?") == "42.5"


async def test_another_machine_on_the_port_is_noticed(machine: Machine, wire: ScpiTcp) -> None:
    await wire.query("MEAS?")
    await wire.close()
    machine.identity = "maker,model,2,1.0"
    with pytest.raises(LinkLost, match="another instrument"):
        await wire.query("MEAS?")


async def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LinkLost, match=str(port)):
        await ScpiTcp("127.0.0.1", port, timeout_s=PATIENCE_S).open()


async def test_a_machine_that_freezes_after_connecting(unused_tcp_port: int) -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", unused_tcp_port))
        frozen.listen()
        wire = ScpiTcp("127.0.0.1", unused_tcp_port, timeout_s=PATIENCE_S)
        with pytest.raises(ReplyTimeout):
            await wire.open()
        await wire.close()


async def test_slow_loris_runs_into_the_time_out(machine: Machine, wire: ScpiTcp) -> None:
    machine.next.append(saying(*[b"1"] * 40, pause_s=PATIENCE_S / 8))
    with pytest.raises(ReplyTimeout):
        await wire.query("MEAS?")


async def test_a_block_comes_whole_or_not_at_all(machine: Machine, wire: ScpiTcp) -> None:
    machine.next += [
        saying(b"#15he\nlo\n"),
        saying(b"#15he"),
        saying(b"#9999999999\n"),
        saying(b"42\n"),
        saying(b"#13abcX\n"),
    ]
    assert await wire.query_block("DATA?") == b"he\nlo"
    for error in (ReplyTimeout, BadReply, BadReply, BadReply):
        with pytest.raises(error):
            await wire.query_block("DATA?")
    assert await wire.query("MEAS?") == "42.5"


async def test_a_cancelled_question_leaves_no_answer_behind(machine: Machine, wire: ScpiTcp) -> None:
    await wire.query("MEAS?")
    machine.next.append(saying(b"", b"13.0\n", pause_s=0.05))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.query("MEAS?"), 0.01)
    assert await wire.query("MEAS?") == "42.5"


async def test_what_is_no_line_is_never_sent(wire: ScpiTcp) -> None:
    for command in ("PROG:STAR\nABOR", "µ?"):
        with pytest.raises(ValueError, match="not one line of ASCII"):
            await wire.write(command)


async def test_refusals_are_read_from_the_error_queue() -> None:
    script = ScriptedTransport([("SYST:ERR?", '-222,"Data out of range"'), ("SYST:ERR?", '0,"No error"')])
    with pytest.raises(DeviceRefused, match="Data out of range"):
        await accepted(script, "the program")
    assert script.finished()


@given(st.text(max_size=80))
def test_any_text_is_a_value_or_a_bad_reply(text: str) -> None:
    for read in (lambda: number(text, "x"), lambda: whole(text, "x"), lambda: fields(text, 3, "x")):
        try:
            read()
        except BadReply:
            pass


@pytest.mark.parametrize("text", ["9.9E37", "9.91E37", "-9.9e37", "nan", "inf", "1,2", "", "0x10", "1 V", "0\x1f"])
def test_overload_and_what_is_no_number_are_no_data(text: str) -> None:
    with pytest.raises(BadReply):
        number(text, "resistance")


@pytest.mark.parametrize("text", ['S"1', "S\n1", "é", "x" * 65])
def test_what_cannot_be_quoted_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        quoted(text)
