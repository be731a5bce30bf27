"""What is said about QUBO files: how they are written, which way is better, how a value is bounded."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]


class Format(StrEnum):
    """How the file is written."""

    RUDY = "rudy"
    BQP = "bqp"
    QBSOLV = "qbsolv"
    JSON = "json"
    BIQMAC = "biqmac"
    MQLIB = "mqlib"
    COO = "coo"
    BQM = "bqm"
    LP = "lp"
    NPZ = "npz"


class Sense(StrEnum):
    """Which way is better, in the file's own terms."""

    MIN = "min"
    MAX = "max"
