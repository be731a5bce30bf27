"""Binds: addresses as written, sockets that are opened all or not at all, and files of sockets that come and go in order."""

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from gateway.door.binds import Bind, NotBound, PortTaken, exposed, open_entrances, parse, parse_all


@pytest.mark.parametrize(
    "text,bind",
    [
        ("127.0.0.1:8070", Bind("127.0.0.1:8070", "127.0.0.1", 8070, is_secure=True)),
        ("[::1]:80", Bind("[::1]:80", "::1", 80, is_secure=True)),
        ("http://localhost:80", Bind("http://localhost:80", "localhost", 80)),
        ("https://localhost:443", Bind("https://localhost:443", "localhost", 443, is_secure=True)),
        ("scaling=localhost:8071", Bind("scaling", "localhost", 8071, is_secure=True)),
        ("unix:/run/gavel.sock", Bind("unix:/run/gavel.sock", path="/run/gavel.sock")),
        ("local=unix:/run/a=b.sock", Bind("local", path="/run/a=b.sock")),
        ("systemd", Bind("systemd", is_secure=True)),
    ],
)
def test_an_address_says_what_is_spoken_there(text: str, bind: Bind):
    assert parse(text, has_certificate=True) == bind


@pytest.mark.parametrize(
    "text", ["", "8070", "localhost:99999", "unix:relative", "https://localhost:443", "x=", "=a:1"]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ValueError, match=r"not an address|no certificate"):
        parse(text)


def test_an_address_counts_once_and_none_is_too_few():
    assert len(parse_all(["a:1", "b:1", "a:1"])) == 2
    with pytest.raises(ValueError, match="no address"):
        parse_all([])


def test_what_other_machines_reach_is_named_unless_it_is_secured():
    texts = [
        "http://0.0.0.0:1",
        "https://0.0.0.0:2",
        "127.0.0.1:3",
        "http://gavel.example:4",
        "http://[::1]:5",
        "unix:/x",
    ]
    assert exposed(parse_all(texts, has_certificate=True)) == ["http://0.0.0.0:1", "http://gavel.example:4"]


async def test_all_are_opened_or_none(tmp_path: Path) -> None:
    first, path = await open_entrances([parse("127.0.0.1:0"), parse(f"unix:{tmp_path}/door")])
    port = first.address[1]
    with pytest.raises(PortTaken, match=str(port)):
        await open_entrances([parse(f"unix:{tmp_path}/other"), parse(f"127.0.0.1:{port}")])
    assert not (tmp_path / "other").exists()
    assert (first.is_unix, path.is_unix, path.address) == (False, True, (f"{tmp_path}/door", 0))
    first.close()
    path.close()
    assert not (tmp_path / "door").exists()


@pytest.mark.parametrize(
    "text,reason",
    [
        ("192.0.2.1:0", "192.0.2.1:0 can't be listened on"),
        ("nowhere.invalid:0", "can't be listened on"),
        ("unix:/nowhere/door", "No such file"),
        ("unix:/" + "x" * 200, "path too long"),
        ("systemd", "no socket"),
    ],
)
async def test_what_cannot_be_opened_is_named_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotBound, match=reason):
        await open_entrances([parse(text)])


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_the_file_of_a_socket_has_its_mode_and_goes_with_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "door"
    (entrance,) = await open_entrances([parse(f"unix:{path}")], mode=mode)
    assert stat.S_IMODE(path.lstat().st_mode) == mode
    with pytest.raises(PortTaken, match=str(path)):
        await open_entrances([parse(f"unix:{path}")])
    entrance.close()
    assert not path.exists()


async def test_a_file_that_a_killed_process_left_is_replaced_and_no_other(tmp_path: Path) -> None:
    stale, file = tmp_path / "stale", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    (entrance,) = await open_entrances([parse(f"unix:{stale}")])
    file.write_text("precious")
    with pytest.raises(NotBound, match="no socket"):
        await open_entrances([parse(f"unix:{file}")])
    stale.unlink()
    (successor,) = await open_entrances([parse(f"unix:{stale}")])
    entrance.close()
    assert stale.exists()  # it is the successor's by now
    successor.close()
    assert (file.read_text(), stale.exists()) == ("precious", False)


async def test_sockets_that_a_service_manager_has_opened_are_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr("gateway.door.binds.FIRST_INHERITED", min(one.fileno(), other.fileno()))
        handed = sorted((one, other), key=lambda listening: listening.fileno())
        assert handed[1].fileno() == handed[0].fileno() + 1
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"}
        entrances = await open_entrances([parse("systemd")], environ=environ)
        assert [entrance.name for entrance in entrances] == ["web", "systemd-1"]
        for entrance, listening in zip(entrances, handed, strict=True):
            async with await trio.open_tcp_stream(*listening.getsockname()), await entrance.listener.accept():
                entrance.close()
        with pytest.raises(NotBound):
            await open_entrances([parse("systemd")], environ=environ | {"LISTEN_PID": "1"})
        assert exposed([parse("systemd")], environ) == []
