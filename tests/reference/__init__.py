"""The independent judge: a slow, obvious reading of the specification ("sort, then count").

It must not import anything of `stream`: two readings of one specification are the point.
"""

from tests.reference.clicks import ClickTruth, clicks_of
from tests.reference.model import (
    ALL,
    D1,
    DIMENSIONS,
    H1,
    M1,
    NOT_SET,
    S10,
    SIZES,
    Cells,
    Record,
    Rules,
    fully_kept,
)
from tests.reference.partition import PartitionTruth, partition_truth
from tests.reference.sessions import SessionTruth, sessions_of
from tests.reference.tickets import TicketTruth, tickets_of

__all__ = [
    "ALL",
    "D1",
    "DIMENSIONS",
    "H1",
    "M1",
    "NOT_SET",
    "S10",
    "SIZES",
    "Cells",
    "ClickTruth",
    "PartitionTruth",
    "Record",
    "Rules",
    "SessionTruth",
    "TicketTruth",
    "clicks_of",
    "fully_kept",
    "partition_truth",
    "sessions_of",
    "tickets_of",
]
