"""The implementations that are timed, by name. None is imported here: each runs in processes of its own."""

from .base import Loaded, Peer, PeerUnavailable
from .registry import PEERS, choose, peer_class

__all__ = ["PEERS", "Loaded", "Peer", "PeerUnavailable", "choose", "peer_class"]
