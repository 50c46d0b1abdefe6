"""Timing packed models beside other implementations. Peers are imported only where they are timed."""

from .networks import bench_file
from .record import Record

__all__ = ["Record", "bench_file"]
