"""Timing packed models beside other implementations. Peers are imported only where they are timed."""

from .layers import bench_layer
from .networks import bench_file, bench_network
from .record import Record

__all__ = ["Record", "bench_file", "bench_layer", "bench_network"]
