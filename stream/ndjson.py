"""Lines of a file, a gzip file or standard input, read ahead in a thread of its own.

Owns reading and counting lines; what a line holds is not looked at. The thread is a daemon that
reads without buffers, so that a program waiting for input can end at any time.
"""

import asyncio
import os
import stat
import threading
import zlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from stream.errors import UserError

BLOCK_BYTES = 512 * 1024
CHUNKS_AHEAD = 4
LINE_BYTES_MAX = 64 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
STDIN = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines without their line feeds.

    `first` is the number of the first line (from 1); `position` is how far the file is read, in
    bytes of the file itself.
    """

    lines: list[bytes]
    first: int
    position: int


class Source:
    """An open input; `-` is standard input. `size` is its length in bytes where that is known.

    `waiting` says whether there is nothing to read at the moment.
    """

    def __init__(self, file: str) -> None:
        self.name = "standard input" if file == "-" else file
        try:
            self._descriptor = os.dup(STDIN) if file == "-" else os.open(file, os.O_RDONLY)
            status = os.fstat(self._descriptor)
            if stat.S_ISDIR(status.st_mode):
                os.close(self._descriptor)
                raise UserError(f"{self.name}: is a folder, not a file")
        except OSError as fault:
            raise UserError(f"{self.name}: {fault.strerror}") from fault
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._position = 0
        self._queue: asyncio.Queue[Chunk | UserError | None] = asyncio.Queue()
        self._room = threading.Semaphore(CHUNKS_AHEAD)
        self._given_up = False

    @property
    def waiting(self) -> bool:
        """Whether the next chunk is still to be read."""
        return self._queue.empty()

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """All chunks in order. Raises UserError where the input cannot be read on."""
        loop = asyncio.get_running_loop()
        reader = threading.Thread(target=self._read, args=(loop,), name="ndjson", daemon=True)
        reader.start()
        try:
            while (chunk := await self._queue.get()) is not None:
                if isinstance(chunk, UserError):
                    raise chunk
                yield chunk
                self._room.release()
        finally:
            self._given_up = True
            self._room.release()

    def end(self) -> None:
        """Behave as if the input ended where it has been read to."""
        self._queue.put_nowait(None)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        end: UserError | None = None
        try:
            number = 1
            for lines in _lines(_inflated(self._blocks())):
                self._room.acquire()
                if self._given_up:
                    return
                chunk = Chunk(lines, number, self._position)
                loop.call_soon_threadsafe(self._queue.put_nowait, chunk)
                number += len(lines)
        except (OSError, ValueError, zlib.error) as fault:
            end = UserError(f"{self.name}: {fault}")
        finally:
            os.close(self._descriptor)
            if not loop.is_closed() and not self._given_up:
                loop.call_soon_threadsafe(self._queue.put_nowait, end)

    def _blocks(self) -> Iterator[bytes]:
        while block := os.read(self._descriptor, BLOCK_BYTES):
            self._position += len(block)
            yield block


def _inflated(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks themselves, or what they hold where they are gzip (several members too)."""
    first = next(blocks, b"")
    if not first.startswith(GZIP_MAGIC):
        yield first
        yield from blocks
        return
    inflater, block = zlib.decompressobj(wbits=31), first
    while True:
        while block:
            yield inflater.decompress(block, BLOCK_BYTES)
            block = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if inflater.eof and block:
                inflater = zlib.decompressobj(wbits=31)
        block = next(blocks, b"")
        if not block:
            break
        if inflater.eof:
            inflater = zlib.decompressobj(wbits=31)
    yield inflater.flush()
    if not inflater.eof:
        raise ValueError("the gzip file ends in the middle")


def _lines(blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise ValueError(f"a line is longer than {LINE_BYTES_MAX >> 20} MB")
        if lines:
            yield lines
    if rest:
        yield [rest]
