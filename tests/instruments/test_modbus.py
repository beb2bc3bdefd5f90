"""Registers over a wire that does everything that wires do: never a wrong number."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments import registry
from instruments.contract import InstrumentConfig
from instruments.errors import BadReply, DeviceRefused, InstrumentError, LinkLost, ReplyTimeout, UnknownDriver
from instruments.modbus import ModbusTcp, complaint

Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
PATIENCE_S = 0.25


class Device:
    """Registers that hold their own address; the next answers may be told beforehand."""

    def __init__(self) -> None:
        self.next: list[Answer] = []
        self.written: list[bytes] = []
        self.registers = {i: i for i in range(1000)}
        self.links: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links.append(writer)
        try:
            while True:
                head = await reader.readexactly(6)
                asked = head + await reader.readexactly(int.from_bytes(head[4:6], "big"))
                reply = self.proper(asked)
                await (self.next.pop(0) if self.next else say)(writer, reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def proper(self, asked: bytes) -> bytes:
        address, count = struct.unpack(">HH", asked[8:12])
        if address + count > 1000:
            return frame(asked, bytes([asked[7] | 0x80, 2]))
        if asked[7] == 3:
            values = b"".join(struct.pack(">H", self.registers[a]) for a in range(address, address + count))
            return frame(asked, bytes([3, len(values)]) + values)
        self.written.append(asked[8:])
        return frame(asked, asked[7:12])


def frame(asked: bytes, content: bytes) -> bytes:
    return asked[:4] + struct.pack(">H", 1 + len(content)) + asked[6:7] + content


async def say(writer: asyncio.StreamWriter, reply: bytes) -> None:
    writer.write(reply)
    await writer.drain()


def changed(change: Callable[[bytes], bytes], wait_s: float = 0.0) -> Answer:
    async def answer(writer: asyncio.StreamWriter, reply: bytes) -> None:
        await asyncio.sleep(wait_s)
        await say(writer, change(reply))

    return answer


async def split(writer: asyncio.StreamWriter, reply: bytes) -> None:
    for byte in reply:
        await say(writer, bytes([byte]))
        await asyncio.sleep(0)


async def closing(writer: asyncio.StreamWriter, reply: bytes) -> None:
    writer.close()


async def nothing(writer: asyncio.StreamWriter, reply: bytes) -> None:
    pass


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    made = Device()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for link in made.links:
        link.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def wire(device: Device) -> AsyncIterator[ModbusTcp]:
    made = ModbusTcp("127.0.0.1", device.port, timeout_s=PATIENCE_S)
    yield made
    await made.close()
    await asyncio.sleep(0)


FAULTS = [
    ("no answer", nothing, ReplyTimeout),
    ("half an answer", changed(lambda r: r[:9]), ReplyTimeout),
    ("an answer that comes too late", changed(lambda r: r, 2 * PATIENCE_S), ReplyTimeout),
    ("the answer to another question", changed(lambda r: b"\x7f\x00" + r[2:]), BadReply),
    ("the answer to no question in particular", changed(lambda r: b"\x00\x00" + r[2:]), BadReply),
    ("another unit", changed(lambda r: r[:6] + b"\x09" + r[7:]), BadReply),
    ("another function", changed(lambda r: r[:7] + b"\x04" + r[8:]), BadReply),
    ("fewer registers", changed(lambda r: r[:4] + b"\x00\x05\x01\x03\x02\x00\x01"), BadReply),
    ("more registers", changed(lambda r: r[:4] + b"\x00\x09\x01\x03\x06\x00\x01\x00\x02\x00\x03"), BadReply),
    ("a length that is not its own", changed(lambda r: r[:4] + b"\xff\xff" + r[6:]), BadReply),
    ("text", changed(lambda r: b"HTTP/1.1 400 Bad Request\r\n\r\n"), BadReply),
    ("the answer twice", changed(lambda r: r + r), BadReply),
    ("a megabyte", changed(lambda r: r * (1 << 16)), InstrumentError),
    ("a closed connection", closing, LinkLost),
]


@pytest.mark.parametrize(("name", "fault", "error"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_a_fault_is_an_error_and_the_next_answer_is_the_right_one(
    device: Device, wire: ModbusTcp, name: str, fault: Answer, error: type[Exception]
) -> None:
    assert await wire.read(1, 2) == [1, 2]
    device.next.append(fault)
    with pytest.raises(error):
        await wire.read(7, 2)
    assert await wire.read(300, 2) == [300, 301]
    assert device.next == []


async def test_an_answer_in_crumbs_is_an_answer(device: Device, wire: ModbusTcp) -> None:
    device.next.append(split)
    assert await wire.read(5, 3) == [5, 6, 7]


async def test_bytes_that_nobody_asked_for_drop_the_link(device: Device, wire: ModbusTcp) -> None:
    await wire.read(1, 1)
    await say(device.links[-1], b"\x00\x02\x00\x00\x00\x05\x01\x03\x02\x00\x63")
    while wire._link is not None and not wire._link.trouble.done():
        await asyncio.sleep(0.001)
    with pytest.raises(BadReply, match="before it was asked"):
        await wire.read(1, 1)
    assert await wire.read(1, 1) == [1]
    assert len(device.links) == 2


async def test_a_link_closed_while_idle_is_opened_again(device: Device, wire: ModbusTcp) -> None:
    await wire.read(1, 1)
    device.links[-1].close()
    while wire._link is not None and not wire._link.trouble.done():
        await asyncio.sleep(0.001)
    assert await wire.read(1, 1) == [1]


async def test_what_the_device_refuses_is_said_in_words(device: Device, wire: ModbusTcp) -> None:
    with pytest.raises(DeviceRefused, match=r"registers 999 to 1000.*no such register"):
        await wire.write(999, [1, 2])
    with pytest.raises(BadReply, match="no such register"):
        await wire.read(1000, 1)
    await wire.write(10, [0, 65535])
    assert device.written == [struct.pack(">HHBHH", 10, 2, 4, 0, 65535)]
    assert len(device.links) == 1


async def test_an_answer_lost_is_not_asked_for_twice(device: Device, wire: ModbusTcp) -> None:
    device.next.append(nothing)
    with pytest.raises(ReplyTimeout):
        await wire.write(10, [1])
    assert len(device.written) == 1


async def test_another_device_on_the_port_is_noticed(device: Device, wire: ModbusTcp) -> None:
    wire.pin(122, 2)
    await wire.read(1, 1)
    await wire.close()
    device.registers[123] = 9
    with pytest.raises(LinkLost, match="another device"):
        await wire.read(1, 1)


async def test_nobody_listens(unused_tcp_port: int) -> None:
    with pytest.raises(LinkLost, match=str(unused_tcp_port)):
        await ModbusTcp("127.0.0.1", unused_tcp_port, timeout_s=PATIENCE_S).open()


async def test_a_device_that_freezes_after_connecting(unused_tcp_port: int) -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", unused_tcp_port))
        frozen.listen()
        wire = ModbusTcp("127.0.0.1", unused_tcp_port, timeout_s=PATIENCE_S)
        wire.pin(122, 1)
        with pytest.raises(ReplyTimeout):
            await wire.open()
        await wire.close()


async def test_a_cancelled_question_leaves_no_answer_behind(device: Device, wire: ModbusTcp) -> None:
    await wire.read(1, 1)
    device.next.append(changed(lambda r: r, 0.05))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.read(7, 1), 0.01)
    assert await wire.read(1, 1) == [1]


async def test_numbers_that_are_no_registers_are_never_sent(device: Device, wire: ModbusTcp) -> None:
    for values in ([], [-1], [65536], [0] * 124):
        with pytest.raises(ValueError, match="16 bits"):
            await wire.write(1, values)
    assert device.links == []


READING = bytes.fromhex("0007000000060103000a0002")
WRITING = bytes.fromhex("0008000000090110000a0001020063")


@given(st.binary(max_size=40), st.sampled_from([READING, WRITING]))
def test_only_the_answer_is_let_through(got: bytes, asked: bytes) -> None:
    if not complaint(asked, got) and len(got) >= 9:
        assert got[:4] == asked[:4]
        assert (got[6], got[7] & 0x7F) == (asked[6], asked[7])
        assert len(got) <= (13 if asked is READING else 12)


@given(st.integers(0, 13))
def test_a_beginning_of_the_answer_is_waited_for(cut: int) -> None:
    answer = bytes.fromhex("00070000000701030400010002")
    assert complaint(READING, answer[:cut]) == ""
    assert complaint(READING, answer + b"\x00") == "1 bytes more than that"


def test_the_scheme_of_an_address_picks_the_wire() -> None:
    config = InstrumentConfig(instrument_id="doser-1", driver="gravimetric-doser", address="modbus://192.0.2.7:502/3")
    with pytest.raises(UnknownDriver, match="tcp://HOST:PORT"):
        registry.connect(config)
