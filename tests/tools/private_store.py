"""What the drivers beside this file share: stores of their own in a temporary
directory, and programs run on them with a cleared environment."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# Longest time one command may take; what takes longer hangs.
TIMEOUT = 300
DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
CONFIGURATION = "build-users-group =\nsandbox = false\nsubstituters =\n"
# What a check of the store prints when something is wrong.
COMPLAINTS = ("error:", "disappeared", "was modified", "not all store errors")


class Failure(Exception):
    """Something a program should not have done."""


def program(bindir):
    """The nix-store of a directory of programs."""
    path = Path(bindir).resolve() / "nix-store"
    if not os.access(path, os.X_OK):
        sys.exit(f"there is no program '{path}'")
    return path


def remove_tree(path):
    """Removes a tree, read-only directories included."""
    if os.path.lexists(path):
        subprocess.run(["chmod", "-R", "u+rwX", path], check=True)
        subprocess.run(["rm", "-rf", path], check=True)


def copy_tree(source, target):
    """Copies a tree with modes and times."""
    subprocess.run(["cp", "-a", source, target], check=True)


def copy_entries(source, target):
    """Copies all entries of one directory into another."""
    subprocess.run(["cp", "-a", "--", f"{source}/.", target], check=True)


class Workplace:
    """A temporary directory that goes with the block it is used in."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="nival-")).resolve()
        return self.path

    def __exit__(self, *_):
        remove_tree(self.path)


class Store:
    """A store below one directory: `store`, `state`, `log`, and the rest that
    a program might look at."""

    def __init__(self, root):
        self.root = root
        self.dir = root / "store"
        self.state = root / "state"

    def create(self):
        """Makes the directories that programs do not make themselves."""
        for name in ("conf", "home", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "conf/nix.conf").write_text(CONFIGURATION)

    def environment(self):
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "NIX_STORE_DIR": str(self.dir),
            "NIX_STATE_DIR": str(self.state),
            "NIX_LOG_DIR": str(self.root / "log"),
            "NIX_CONF_DIR": str(self.root / "conf"),
            "NIX_USER_CONF_FILES": "",
        }

    def start(self, command, *arguments, stdin=None):
        """Starts a program as the head of a process group."""
        return subprocess.Popen(
            [command, *arguments],
            env=self.environment(),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(self, command, *arguments, stdin=None):
        """Runs a program to its end: status, output, messages."""
        process = self.start(command, *arguments, stdin=stdin)
        return self.finish(process)

    def finish(self, process):
        """Waits for a program: status, output, messages."""
        try:
            output, messages = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{shown(process.args)} hangs") from None
        finally:
            kill(process)
        return process.returncode, output, messages

    def succeed(self, command, *arguments, stdin=None):
        """As `run`, and fails unless the program succeeds: output, messages."""
        status, output, messages = self.run(command, *arguments, stdin=stdin)
        if status != 0:
            raise Failure(f"{shown([command, *arguments])} ended with {status}: {messages.strip()}")
        return output, messages

    def verify(self, command):
        """Fails unless a full check finds nothing wrong."""
        _, messages = self.succeed(command, "--verify", "--check-contents")
        for line in messages.splitlines():
            if any(complaint in line for complaint in COMPLAINTS):
                raise Failure(f"{command} --verify --check-contents says: {line}")

    def entries(self):
        """What lies in the store directory beside the links."""
        return set(os.listdir(self.dir)) - {".links"}


def kill(process):
    """Kills a program and its children, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def shown(arguments):
    """A command line for messages, not too long."""
    text = " ".join(map(str, arguments))
    return text if len(text) <= 300 else text[:300] + "…"


def paths_of_dump(text):
    """The paths of a dump of the database."""
    lines = iter(text.splitlines())
    paths = []
    for path in lines:
        paths.append(path)
        _hash, _size, _deriver, count = next(lines), next(lines), next(lines), next(lines)
        for _ in range(int(count)):
            next(lines)
    return paths


def random_name(rng, name):
    """The base name of a store path that nothing else has."""
    return "".join(rng.choices(DIGITS, k=32)) + "-" + name


def free_space(path):
    """Bytes that are free where `path` lies."""
    return shutil.disk_usage(path).free
