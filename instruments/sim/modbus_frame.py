"""Modbus/TCP from the device's side: a frame in, a frame out. Written by the specification, not by our client.

Modbus application protocol 1.1b3, sections 6.3, 6.6, 6.12 and 7; Modbus messaging on TCP/IP 1.0b, section 3.1.3.
"""

from __future__ import annotations

import struct
from typing import Protocol

from instruments.sim.furnace import IllegalRequest

READ, WRITE_ONE, WRITE_MANY = 3, 6, 16
NO_FUNCTION, NOT_ALLOWED = 1, 3
HEADER = 6  #: bytes that say how many more come


class Table(Protocol):
    """A machine that is a table of registers."""

    def read(self, address: int, count: int) -> list[int]: ...

    def write(self, address: int, values: list[int]) -> None: ...


def rest(header: bytes) -> int:
    """How many bytes follow the first six. Raises ValueError when they begin no frame."""
    _, protocol, length = struct.unpack(">HHH", header)
    if protocol or not 2 <= length <= 254:
        raise ValueError("no Modbus frame")
    return int(length)


def answer(machine: Table, frame: bytes) -> bytes:
    """The reply to a whole frame."""
    unit, function, content = frame[6:7], frame[7], frame[8:]
    try:
        reply = bytes([function]) + carried_out(machine, function, content)
    except IllegalRequest as refused:
        reply = bytes([function | 0x80, refused.code])
    return frame[:4] + struct.pack(">H", 1 + len(reply)) + unit + reply


def carried_out(machine: Table, function: int, content: bytes) -> bytes:
    """What follows the function code in the reply."""
    if function not in (READ, WRITE_ONE, WRITE_MANY):
        raise IllegalRequest(NO_FUNCTION)
    if len(content) < 4:
        raise IllegalRequest(NOT_ALLOWED)
    address, number = struct.unpack(">HH", content[:4])
    if function == READ:
        values = machine.read(address, number)
        return struct.pack(f">B{len(values)}H", 2 * len(values), *values)
    if function == WRITE_ONE:
        machine.write(address, [number])
        return content[:4]
    if not 1 <= number <= 123 or len(content) != 5 + 2 * number or content[4] != 2 * number:
        raise IllegalRequest(NOT_ALLOWED)
    machine.write(address, list(struct.unpack(f">{number}H", content[5:])))
    return content[:4]
