"""A network namespace with a real server in it, and a cable to it that a test can cut. Needs root and `ip`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import pytest
from real_server import RealServer

PREFIX = "10.213.77"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@final
class Cable:
    """The link between this namespace and that of the server."""

    def __init__(self, name: str) -> None:
        self._name = name

    def cut(self) -> None:
        """Let no packet pass, in either direction; no side is informed."""
        ip("netns", "exec", self._name, "ip", "link", "set", f"{self._name}b", "down")

    def mend(self) -> None:
        ip("netns", "exec", self._name, "ip", "link", "set", f"{self._name}b", "up")


@contextmanager
def server_behind_a_cable() -> Iterator[tuple[RealServer, Cable]]:
    """Start a server in a namespace of its own. Skips the test where that is not possible."""
    name = f"ct{os.getpid() % 100_000}"
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and ip")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        try:
            ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no virtual cables here: {error.stderr.decode().strip()}")
        ip("addr", "add", f"{PREFIX}.1/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        inside = ("netns", "exec", name, "ip")
        ip(*inside, "addr", "add", f"{PREFIX}.2/24", "dev", f"{name}b")
        ip(*inside, "link", "set", f"{name}b", "up")
        server = RealServer(
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
            host=f"{PREFIX}.2",
            within=("ip", "netns", "exec", name),
        )
        server.start()
        try:
            yield server, Cable(name)
        finally:
            server.kill()
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
