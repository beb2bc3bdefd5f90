"""What can go wrong between us and a device.

InstrumentError
├── TransportError       the wire: retry may help before START is proven
│   ├── LinkLost         refused, closed, reset, or another device answered
│   ├── ReplyTimeout     no answer in time; the link has been dropped
│   └── BadReply         an answer that cannot be trusted; the link has been dropped
├── DeviceRefused        the device said no (its error queue says why)
├── OutOfLimits          a set-point outside hard limits; nothing was sent
├── Fenced               a later holder has the instrument; nothing was sent
└── UnknownDriver        no such driver is installed
"""

from __future__ import annotations

from instruments.contract import Fault


class InstrumentError(Exception):
    """Something is wrong with an instrument."""

    fault: Fault = Fault.UNKNOWN


class TransportError(InstrumentError):
    """The wire to the device failed."""

    fault = Fault.TRANSPORT


class LinkLost(TransportError):
    """The device closed the connection, refused it, or is not the device it was."""


class ReplyTimeout(TransportError):
    """The device did not answer in time."""

    fault = Fault.TIMEOUT


class BadReply(TransportError):
    """The device answered something that cannot be its answer."""

    fault = Fault.BAD_REPLY


class DeviceRefused(InstrumentError):
    """The device refused the command."""

    fault = Fault.REJECTED


class OutOfLimits(InstrumentError):
    """A set-point lies outside the hard limits. Nothing was sent."""

    fault = Fault.OUT_OF_LIMITS


class Fenced(InstrumentError):
    """Whoever asks held the instrument once; somebody else has held it since. Nothing was sent."""


class InvalidMeasurement(InstrumentError):
    """The device measured, but the numbers cannot be true."""

    fault = Fault.MEASUREMENT_INVALID


class UnknownDriver(InstrumentError):
    """No driver of that name is installed."""
