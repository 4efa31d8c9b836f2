"""A stand-in for the worker's Julia, in Python: run as that, it answers by the protocol of bridge/wire.jl.

Its functions are Python expressions of NumPy, called with arrays; FORWARD keeps the pullback ȳ ↦ 2ȳ. As in Julia,
SIGINT interrupts the call under way, or else the next.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.backends.find_julia import Julia
from diffprog.interop.wire import CODES, DTYPES, NUMBER, Status, What


def julia(folder: Path) -> Julia:
    """A Julia whose executable is this file."""
    path = folder / "fake-julia"
    root = Path(__file__).parents[2]
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" "{__file__}" "$@"\n')
    path.chmod(0o755)
    return Julia(str(path), str(folder), "1.11.3", "a fake", True)


class Memory:
    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDWR)
        self.follow(os.fstat(self.file).st_size)

    def follow(self, size: int) -> None:
        self.size, self.bytes = size, np.frombuffer(mmap.mmap(self.file, size), dtype=np.uint8)


class Server:
    def __init__(self, requests: str, replies: str, source: str, target: str) -> None:
        self.requests, self.replies = Memory(requests), Memory(replies)
        self.source, self.target = int(source), int(target)
        self.functions: dict[int, Any] = {}
        self.kept: dict[int, Any] = {}
        self.interruptible = self.interrupted = False
        signal.signal(signal.SIGINT, self.interrupt)
        self.waiting: tuple[int, int, list[Any]] | None = None

    def interrupt(self, *_: Any) -> None:
        self.interrupted = True
        if self.interruptible:
            self.interruptible = False
            raise KeyboardInterrupt

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = os.read(self.source, count - len(found))
            if not part:
                sys.exit(0)
            found += part
        return found

    def serve(self) -> None:
        while True:
            (count,) = struct.unpack("=q", self.read(8))
            words = list(struct.unpack(f"={count}q", self.read(8 * count)))
            capacity, identity, what, key, number, releases = words[:6]
            waiting, self.waiting = self.waiting, None
            if what == What.MEMORY:
                self.remember(number, key, words[7:])
                self.reply(identity, *(waiting or (Status.OK, 0, [])))
                continue
            if waiting:
                self.kept.pop(waiting[1], None)
            if capacity > self.requests.size:
                self.requests.follow(capacity)
            for released in words[6 : 6 + releases]:
                self.kept.pop(released, None)
            arrays = self.arrays(words[6 + releases :])
            before = set(self.kept)
            try:
                self.interruptible = True
                if self.interrupted:
                    raise KeyboardInterrupt
                found = self.answer(What(what), identity, key, arrays)
                self.interruptible = False
                reply = (Status.OK, *found)
            except KeyboardInterrupt:
                self.interrupted = False
                self.kept = {kept: True for kept in self.kept if kept in before}
                reply = (Status.INTERRUPTED, 0, [])
            except LookupError as error:
                reply = (Status.GONE, 0, [np.frombuffer(str(error).encode(), np.uint8)] * 3)
            except Exception as error:
                reply = (Status.FAILED, 0, [np.frombuffer(repr(error).encode(), np.uint8)] * 3)
            self.interruptible = False
            self.reply(identity, *reply)

    def remember(self, number: int, size: int, words: list[int]) -> None:
        path = struct.pack(f"={len(words) - 1}q", *words[1:])[: words[0]].decode()
        name = ("requests", "replies")[number]
        if path:
            setattr(self, name, Memory(path))
        else:
            getattr(self, name).follow(size)

    def arrays(self, words: list[int]) -> list[Any]:
        found: list[Any] = []
        at = 1
        for _ in range(words[0]):
            if words[at] == 0:
                found.append(None)
                at += 1
                continue
            dtype, dimensions = DTYPES[words[at] - 1], words[at + 1]
            shape, start = words[at + 2 : at + 2 + dimensions], words[at + 2 + dimensions]
            at += 3 + dimensions
            part = self.requests.bytes[start : start + int(np.prod(shape)) * dtype.itemsize]
            found.append(part.view(dtype).reshape(shape))
        return found

    def answer(self, what: What, new: int, key: int, arrays: list[Any]) -> tuple[int, list[Any]]:
        if what == What.NOTHING:
            return len(self.kept), []
        if what == What.LOAD:
            names = bytes(arrays[1]).decode().split("\n")
            data = dict(zip(names, [np.array(a) for a in arrays[2:]], strict=False))
            space = {"np": np, "time": time, "os": os, "data": data}
            self.functions[new] = eval(bytes(arrays[0]).decode(), space)
            return new, []
        if what == What.PULLBACK:
            if key not in self.kept:
                raise LookupError(f"pullback {key} is gone")
            return 0, [2 * bar for bar in arrays]
        if key not in self.functions:
            raise LookupError(f"there is no function {key}")
        results = [np.asarray(y) for y in self.functions[key](*arrays)]
        if what == What.FORWARD:
            self.kept[new] = True
            return new, results
        return 0, results

    def reply(self, identity: int, status: int, key: int, results: list[Any]) -> None:
        words: list[int] = []
        places, total = [], 0
        for y in results:
            if y.shape == () and y.dtype == np.float64:
                words += [NUMBER, *struct.unpack("=q", struct.pack("=d", float(y)))]
                places.append(-1)
                continue
            words += [CODES[y.dtype], y.ndim, *y.shape, total, 0]
            places.append(len(words) - 2)
            total += -(-y.nbytes // 64) * 64
        header = -(-8 * len(words) // 64) * 64
        if header + total > self.replies.size:
            self.waiting = status, key, results
            status, key, results, words = Status.NO_ROOM, header + total, [], []
        for place, y in zip(places, results, strict=bool(results)):
            if place >= 0:
                words[place] += header
                self.replies.bytes[words[place] : words[place] + y.nbytes] = np.frombuffer(y.tobytes(), np.uint8)
        self.replies.bytes[: 8 * len(words)] = np.frombuffer(struct.pack(f"={len(words)}q", *words), np.uint8)
        os.write(self.target, struct.pack("=5q", identity, status, key, len(results), len(words)))


if __name__ == "__main__":
    Server(*sys.argv[-4:]).serve()
