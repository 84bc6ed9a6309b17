"""The socket with snapshots: real Unix sockets, virtual time."""

import os
import socket
import stat
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
import trio.testing

from cortex_trio import Config, ConfigError, Cortex, open_cortex
from cortex_trio.otp import Supervisor
from cortex_trio.simulator import Simulator, open_simulator
from cortex_trio.telemetry.socket_client import find_running, open_snapshots, read_snapshot
from cortex_trio.telemetry.socket_path import find_sockets
from cortex_trio.telemetry.socket_server import INTERVAL_SECONDS, MOST_CLIENTS

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cortex.sock"


def gateway_of(sim: Simulator, observe: str | bool) -> AbstractAsyncContextManager[Cortex]:
    """A gateway with one worker and a socket."""
    if not sim.providers:
        sim.add("openai")
    workers = {name: provider.worker() for name, provider in sim.providers.items()}
    config = Config(workers=workers, health_check_interval=0)
    return open_cortex(config, http_transport=sim.transport, observe=observe)


def is_there(path: Path) -> bool:
    return path.exists()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_client_receives_a_snapshot_at_once_and_then_each_second(
    path: Path, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}") as cortex, open_snapshots(path) as snapshots:
            start = trio.current_time()
            first = await snapshots.receive()
            assert trio.current_time() - start < INTERVAL_SECONDS
            assert [worker.name for worker in first.workers] == ["openai"]
            await cortex.complete("Hi")
            await snapshots.receive()
            assert (await snapshots.receive()).totals.served == 1
            assert trio.current_time() - start >= INTERVAL_SECONDS


async def test_only_the_owner_may_connect(path: Path, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}"):
            assert mode_of(path) == 0o600


async def test_the_socket_is_removed_at_the_end_and_its_clients_are_disconnected(
    path: Path, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}"):
            client = await trio.open_unix_socket(path)
        assert not is_there(path)
        while await client.receive_some():
            pass
        await client.aclose()


async def test_the_socket_is_removed_when_the_block_raises(path: Path, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        with pytest.raises(LookupError):
            async with gateway_of(sim, f"unix:{path}"):
                raise LookupError
    assert not is_there(path)


async def test_the_socket_of_a_program_that_was_killed_is_replaced(
    path: Path, autojump_clock: object
) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(os.fspath(path))
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}"):
            assert len((await read_snapshot(path)).workers) == 1


async def test_the_socket_of_another_gateway_is_not_replaced(path: Path, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}"):
            with pytest.raises(ConfigError, match="another program listens"):
                async with gateway_of(sim, f"unix:{path}"):
                    pass
            await read_snapshot(path)


@pytest.mark.parametrize(
    ("observe", "message"),
    [
        ("/run/cortex.sock", "expected True or an address"),
        ("unix:", "expected True or an address"),
        ("unix:/missing/folder/cortex.sock", "cannot listen on /missing/folder/cortex.sock: No such file"),
        ("unix:/" + 200 * "x", "too long"),
        ("unix:/dev/null", "is no socket"),
    ],
)
async def test_a_path_that_cannot_be_used_is_a_configuration_error(
    observe: str, message: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        with pytest.raises(ConfigError, match=message):
            async with gateway_of(sim, observe):
                pass


async def test_a_client_that_does_not_read_is_disconnected_and_delays_no_other(
    path: Path, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}") as cortex:
            for _ in range(50):  # so that a snapshot is long
                await cortex.complete("Hi")
            idle = await trio.open_unix_socket(path)
            await trio.sleep(60)
            await read_snapshot(path)
            received = 0
            with trio.fail_after(10):  # what was sent before it was disconnected, then the end
                while data := await idle.receive_some():
                    received += len(data)
            assert received > 0
            await idle.aclose()


async def test_a_client_that_leaves_harms_nothing(path: Path, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}") as cortex:
            for _ in range(3 * MOST_CLIENTS):
                await (await trio.open_unix_socket(path)).aclose()
                await trio.sleep(2 * INTERVAL_SECONDS)
            observe = next(
                actor for actor in (await read_snapshot(path)).tree.children if actor.name == "observe"
            )
            assert (observe.state, observe.restarts) == ("running", 0)
            assert "observe" in cortex.tree()


async def test_one_client_too_many_is_disconnected(path: Path, autojump_clock: object) -> None:
    async with open_simulator() as sim, trio.open_nursery() as nursery:
        async with gateway_of(sim, f"unix:{path}"):
            clients = [await trio.open_unix_socket(path) for _ in range(MOST_CLIENTS)]
            for client in clients:
                assert await client.receive_some()
            with pytest.raises(EOFError):
                await read_snapshot(path)
            for client in clients:
                nursery.start_soon(client.aclose)
            await trio.sleep(2 * INTERVAL_SECONDS)
            await read_snapshot(path)


async def test_a_server_that_was_killed_is_started_again_on_the_same_socket(
    path: Path, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        async with gateway_of(sim, f"unix:{path}") as cortex:
            (*_, observe) = await cortex.root.call(Supervisor.which_children)
            observe.ref.kill()
            await trio.sleep(5)
            tree = (await read_snapshot(path)).tree
            assert [(actor.name, actor.restarts) for actor in tree.children][-1] == ("observe", 1)
            await cortex.complete("Hi")


# ------------------------------------------------------------------ observe=True


async def test_a_socket_without_a_name_is_in_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    async with open_simulator() as sim:
        async with gateway_of(sim, True), gateway_of(sim, True):
            found = find_sockets(os.environ)
            assert {path.name for path in found} == {f"{os.getpid()}.sock", f"{os.getpid()}-2.sock"}
            assert mode_of(found[0].parent) == 0o700
            for path in found:
                await read_snapshot(path)
        assert find_sockets(os.environ) == ()


async def test_a_running_program_is_found_beside_sockets_that_were_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    assert await find_running(os.environ) is None
    async with open_simulator() as sim:
        async with gateway_of(sim, True) as cortex:
            folder = find_sockets(os.environ)[0].parent
            with socket.socket(socket.AF_UNIX) as left_behind:
                left_behind.bind(os.fspath(folder / "1.sock"))
            found = await find_running(os.environ)
            assert found is not None
            assert found[0].name == f"{os.getpid()}.sock"
            assert found[1].opened_at == cortex.snapshot().opened_at
        assert await find_running(os.environ) is None


async def test_a_folder_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    (tmp_path / "cortex-trio").mkdir(mode=0o777)
    (tmp_path / "cortex-trio").chmod(0o777)
    async with open_simulator() as sim:
        with pytest.raises(ConfigError, match="other users may enter"):
            async with gateway_of(sim, True):
                pass
    (tmp_path / "cortex-trio" / "1.sock").touch()
    assert find_sockets(os.environ) == ()


# ------------------------------------------------------------------ the client


async def test_what_is_no_snapshot_is_an_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        async with open_snapshots(path) as snapshots:
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(b'{"hello": 1}\n')
                with pytest.raises(ValueError, match="no snapshot"):
                    await snapshots.receive()
                accepted.sendall(b"SSH-2.0\r\n")
                with pytest.raises(ValueError, match="no snapshot"):
                    await snapshots.receive()


async def test_a_server_that_sends_nothing_is_a_timeout(path: Path, autojump_clock: object) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        with pytest.raises(TimeoutError, match="sent no snapshot for 5 s"):
            await read_snapshot(path)
