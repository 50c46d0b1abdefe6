"""What the header of a library for macOS says (mach-o/loader.h), and its signature (XNU's cs_blobs.h)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

_ARM64, _LOAD_DYLIB, _CODE_SIGNATURE, _BUILD_VERSION = 0x0100000C, 0x0C, 0x1D, 0x32
_SUPER_BLOB, _CODE_DIRECTORY, _SHA256 = 0xFADE0CC0, 0xFADE0C02, 2


class MachO:
    """A library of one processor.

    Args:
        data: of the whole file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        magic, processor = struct.unpack_from("<II", data)
        assert magic == 0xFEEDFACF, "a 64-bit Mach-O"
        self.is_arm64 = processor == _ARM64

    @property
    def needs(self) -> list[str]:
        """Paths of the libraries it is linked with."""
        return [
            command[struct.unpack_from("<I", command, 8)[0] :].split(b"\0")[0].decode()
            for command in self._commands(_LOAD_DYLIB)
        ]

    @property
    def oldest_macos(self) -> tuple[int, int]:
        (command,) = self._commands(_BUILD_VERSION)
        (version,) = struct.unpack_from("<I", command, 12)
        return version >> 16, version >> 8 & 0xFF

    def is_signed(self) -> bool:
        """Whether it has a signature, whose hashes are those of its pages."""
        for command in self._commands(_CODE_SIGNATURE):
            start, size = struct.unpack_from("<II", command, 8)
            blob = self.data[start : start + size]
            magic, _, count = struct.unpack_from(">III", blob)
            assert magic == _SUPER_BLOB
            for place in range(count):
                (at,) = struct.unpack_from(">I", blob, 16 + 8 * place)
                if struct.unpack_from(">I", blob, at) == (_CODE_DIRECTORY,):
                    return self._has_hashes(blob[at:])
        return False

    def _has_hashes(self, directory: bytes) -> bool:
        hashes, _, _, pages, end, width, kind, _, shift = struct.unpack_from(">IIIIIBBBB", directory, 16)
        assert (kind, width) == (_SHA256, 32)
        page = 1 << shift
        assert pages == -(-end // page) > 0
        return all(
            hashlib.sha256(self.data[i * page : min(end, (i + 1) * page)]).digest()
            == directory[hashes + i * width : hashes + (i + 1) * width]
            for i in range(pages)
        )

    def _commands(self, kind: int) -> Iterator[bytes]:
        (count,) = struct.unpack_from("<I", self.data, 16)
        at = 32
        for _ in range(count):
            this, size = struct.unpack_from("<II", self.data, at)
            if this == kind:
                yield self.data[at : at + size]
            at += size
