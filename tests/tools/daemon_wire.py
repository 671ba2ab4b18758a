"""What the drivers of daemons and their clients share: stores that lie elsewhere,
the alphabet of the protocols of `nix-daemon` and `nix-store --serve`, and what
goes over them: archives, and the names of store paths."""

import hashlib
import os
import struct
import time
from pathlib import Path

from private_store import DIGITS, Store

CLIENT_HELLO, SERVER_HELLO = 0x6E697863, 0x6478696F
SERVE_CLIENT_HELLO, SERVE_SERVER_HELLO = 0x390C9DEB, 0x5452EECB
NEWEST, SERVE_NEWEST = 0x126, 0x207
LAST, ERROR, NEXT = 0x616C7473, 0x63787470, 0x6F6C6D67
START, STOP, RESULT = 0x53545254, 0x53544F50, 0x52534C54
EXPORT_MAGIC = 0x4558494E


class Elsewhere(Store):
    """A store whose paths are named as those of another one."""

    def __init__(self, root, names):
        super().__init__(root)
        self.names = names

    def environment(self):
        uri = f"local?real={self.dir}&state={self.state}&log={self.root / 'log'}"
        return super().environment() | {"NIX_STORE_DIR": str(self.names), "NIX_REMOTE": uri}


def processes():
    """The processes that are there, with their parents; dead ones that nobody
    waits for as well."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            found[int(entry)] = int(status.rsplit(")", 1)[1].split()[1])
    return found


def children(parent):
    return [process for process, of in processes().items() if of == parent]


def wait_until(condition, seconds):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def number(value):
    return struct.pack("<Q", value & (1 << 64) - 1)


def text(value):
    value = value if isinstance(value, bytes) else str(value).encode()
    return number(len(value)) + value + bytes(-len(value) % 8)


def texts(values):
    return number(len(values)) + b"".join(map(text, values))


def frames(content, size=1 << 16):
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(number(len(piece)) + piece for piece in pieces) + number(0)


class Closed(Exception):
    """The other side has gone."""


class Stream:
    """The reading side of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.file = connection.makefile("rb")

    def take(self, count):
        content = self.file.read(count)
        if len(content) < count:
            raise Closed
        return content

    def number(self):
        return struct.unpack("<Q", self.take(8))[0]

    def text(self):
        size = self.number()
        return self.take(size + -size % 8)[:size]

    def texts(self):
        return [self.text() for _ in range(self.number())]

    def frames(self):
        return b"".join(iter(lambda: self.take(self.number()), b""))

    def description(self):
        """A path and all that is said of it."""
        self.text(), self.text(), self.text(), self.texts(), self.take(24), self.texts(), self.text()

    def archive(self):
        """An archive: how deep it is in parentheses says where it ends."""
        self.text()
        depth = 0
        while True:
            word = self.text()
            depth += (word == b"(") - (word == b")")
            if word in (b"name", b"target", b"contents"):
                self.text()
            if depth == 0:
                return


def archive(tree):
    """The archive of a tree: bytes are a file, (bytes,) is a program, a string
    the target of a link, and a dictionary a directory."""
    return text("nix-archive-1") + node(tree)


def node(tree):
    if isinstance(tree, dict):
        words = [text("directory")]
        for name in sorted(tree):
            words += [text("entry"), text("("), text("name"), text(name), text("node"), node(tree[name]), text(")")]
    elif isinstance(tree, str):
        words = [text("symlink"), text("target"), text(tree)]
    elif isinstance(tree, tuple):
        words = [text("regular"), text("executable"), text(""), text("contents"), text(tree[0])]
    else:
        words = [text("regular"), text("contents"), text(tree)]
    return text("(") + text("type") + b"".join(words) + text(")")


def base32(digest):
    value = int.from_bytes(digest, "little")
    return "".join(DIGITS[value >> 5 * at & 31] for at in reversed(range((len(digest) * 8 + 4) // 5)))


def from_base32(digits):
    value = 0
    for digit in digits:
        value = value << 5 | DIGITS.index(digit)
    return value.to_bytes(len(digits) * 5 // 8, "little")


def store_path(directory, kind, inner, name):
    """The path of what has the digest `inner`."""
    digest = hashlib.sha256(f"{kind}:sha256:{inner.hex()}:{directory}:{name}".encode()).digest()
    folded = bytearray(20)
    for at, byte in enumerate(digest):
        folded[at % 20] ^= byte
    return f"{directory}/{base32(folded)}-{name}"


def content_addressed(directory, name, address, references=()):
    """The path of what has a content address (`fixed:r:sha256:…`)."""
    method, algorithm, digits = address.rsplit(":", 2)
    digest = from_base32(digits)
    references = sorted(references)
    if method == "text":
        return store_path(directory, ":".join(["text", *references]), digest, name)
    if (method, algorithm) == ("fixed:r", "sha256"):
        return store_path(directory, ":".join(["source", *references]), digest, name)
    mode = "r:" if method == "fixed:r" else ""
    inner = hashlib.sha256(f"fixed:out:{mode}{algorithm}:{digest.hex()}:".encode()).digest()
    return store_path(directory, "output:out", inner, name)
