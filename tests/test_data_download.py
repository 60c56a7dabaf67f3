import io
import os
import socket
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from make_layout import make_archive, make_layout, make_release

from sslbench.data.download import Unavailable, check_available
from sslbench.data.stl10 import obtain_stl10, open_stl10, unpack

FILES = {"train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin"}


class Server(ThreadingHTTPServer):
    """Offers one archive, as well or badly as a test wants."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = b""
        self.knows_ranges = True
        self.status = 200
        self.breaks_after = None
        self.ranges = []
        self.url = f"http://127.0.0.1:{self.server_port}/stl10_binary.tar.gz"

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        body = server.archive
        if wanted and server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.breaks_after is None else body[: server.breaks_after])

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    return make_layout(tmp_path / "published", num_unlabeled=12, folds=True)


@pytest.fixture
def release(tmp_path, folder, server):
    """What the server offers."""
    archive = tmp_path / "published" / "stl10_binary.tar.gz"
    release = make_archive(archive, folder)
    server.archive = archive.read_bytes()
    return release


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def part(root):
    return root / "stl10_binary.tar.gz.part"


def refused_url():
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/stl10_binary.tar.gz"


def is_there(root, release, folder):
    found = open_stl10(root, release)
    same = (found.unlabeled_images == open_stl10(folder.parent, release).unlabeled_images).all()
    visible = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    return same and visible == {"stl10_binary"} and len(found.folds) == 10


def test_it_is_downloaded_unpacked_and_tidied_up(root, server, release, folder):
    obtain_stl10(root, server.url, release)
    assert is_there(root, release, folder)
    requests = len(server.ranges)
    obtain_stl10(root, server.url, release)
    assert len(server.ranges) == requests


def test_a_file_address_is_a_mirror(root, release, folder):
    archive = folder.parent / "stl10_binary.tar.gz"
    obtain_stl10(root, archive.as_uri(), release)
    assert is_there(root, release, folder)
    assert archive.exists()


def test_a_broken_download_is_resumed_by_the_same_command(root, part, server, release, folder):
    server.breaks_after = 100_000
    with pytest.raises(ValueError, match=r"after 100,000 of .* the same command resumes it"):
        obtain_stl10(root, server.url, release)
    assert part.read_bytes() == server.archive[:100_000]
    assert not (root / "stl10_binary").exists()

    server.breaks_after = None
    obtain_stl10(root, server.url, release)
    assert server.ranges[-1] == "bytes=100000-"
    assert is_there(root, release, folder)


def test_a_server_without_ranges_sends_all_again(root, part, server, release, folder):
    server.knows_ranges = False
    root.mkdir()
    part.write_bytes(b"what another server sent")
    obtain_stl10(root, server.url, release)
    assert server.ranges[-1] == "bytes=24-"
    assert is_there(root, release, folder)


def test_a_wrong_md5_deletes_the_download(root, part, server, release):
    server.archive = server.archive[:-1] + bytes([server.archive[-1] ^ 1])
    with pytest.raises(ValueError, match=f"expected .*{release.archive_md5}.*deleted"):
        obtain_stl10(root, server.url, release)
    assert not part.exists()
    assert not (root / "stl10_binary").exists()


def test_a_file_of_another_size_is_not_downloaded(root, server, release):
    server.archive = b"<html>Please log in to this network</html>"
    with pytest.raises(ValueError, match=r"a file of 42 bytes, expected .*data.url") as error:
        obtain_stl10(root, server.url, release)
    assert not isinstance(error.value, Unavailable)
    assert not root.exists()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses_leaves_nothing_behind(root, server, release, status):
    server.status = status
    with pytest.raises(Unavailable, match=str(status)):
        obtain_stl10(root, server.url, release)
    assert not root.exists()


def test_nobody_listens(root, release):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        obtain_stl10(root, refused_url(), release)
    assert not root.exists()


def test_a_download_that_was_begun_is_never_given_up_silently(root, part, release):
    root.mkdir()
    part.write_bytes(b"begun")
    with pytest.raises(ValueError, match="the same command resumes it") as error:
        obtain_stl10(root, refused_url(), release)
    assert not isinstance(error.value, Unavailable)
    assert part.read_bytes() == b"begun"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "stl10.tar.gz"])
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match=r"data\.url=.*http://"):
        check_available(url, 1)


def test_an_archive_that_lies_there_is_used_without_a_network(root, server, release, folder):
    root.mkdir()
    (root / "stl10_binary.tar.gz").write_bytes(server.archive)
    obtain_stl10(root, refused_url(), release)
    assert is_there(root, release, folder)


def test_two_processes_download_once(root, server, release, folder):
    threads = [
        threading.Thread(target=obtain_stl10, args=(root, server.url, release)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_there(root, release, folder)
    assert len(server.ranges) <= 3  # each may ask whether it is there; one reads it


def test_a_lack_of_space_is_said_before_the_download(root, part, server, release, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match="1,000 bytes are free"):
        obtain_stl10(root, server.url, release)
    assert not part.exists()


@contextmanager
def writing(archive):
    with tarfile.open(archive, "w:gz") as tar:

        def add(name, contents=b"", **fields):
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            for key, value in fields.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(contents))

        yield tar, add


MALICIOUS = {
    "a path out of the folder": {"name": "stl10_binary/../../outside", "contents": b"x"},
    "a link out of the folder": {
        "name": "stl10_binary/class_names.txt",
        "type": tarfile.SYMTYPE,
        "linkname": "../../../outside",
    },
    "a device": {"name": "stl10_binary/train_X.bin", "type": tarfile.CHRTYPE},
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_malicious_archive_is_refused(tmp_path, root, folder, kind):
    archive = tmp_path / "malicious.tar.gz"
    with writing(archive) as (tar, add):
        tar.add(folder, "stl10_binary")
        add(**MALICIOUS[kind])
    root.mkdir()
    with pytest.raises(ValueError, match="not unpacked"):
        unpack(archive, root)
    assert not list(root.iterdir())
    assert not (tmp_path / "outside").exists()


def test_other_members_are_left_out(tmp_path, root, folder):
    archive = tmp_path / "more.tar.gz"
    with writing(archive) as (tar, add):
        add("stl10_binary/._train_X.bin", b"x")
        add("/stl10_binary/passwd", b"x")
        tar.add(folder, "./stl10_binary")
    root.mkdir()
    unpack(archive, root)
    assert {path.name for path in (root / "stl10_binary").iterdir()} == FILES | {
        "class_names.txt",
        "fold_indices.txt",
    }


def test_an_archive_without_a_file_is_refused(tmp_path, root, folder):
    (folder / "test_y.bin").unlink()
    archive = tmp_path / "less.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "stl10_binary")
    root.mkdir()
    with pytest.raises(ValueError, match=r"no test_y.bin in it"):
        unpack(archive, root)
    assert not list(root.iterdir())


@pytest.fixture
def reads(monkeypatch):
    """The files whose MD5 was taken."""
    from sslbench.data import stl10

    names, file_md5 = [], stl10.file_md5

    def counting(path):
        names.append(path.name)
        return file_md5(path)

    monkeypatch.setattr(stl10, "file_md5", counting)
    return names


def test_md5s_are_checked_once(folder, reads):
    release = make_release(folder)
    open_stl10(folder.parent, release)
    assert set(reads) == FILES
    open_stl10(folder.parent, release)
    assert len(reads) == 5
    os.utime(folder / "test_X.bin")
    open_stl10(folder.parent, release)
    assert len(reads) == 10


def test_md5s_are_checked_each_time_where_nothing_can_be_written(folder, reads, monkeypatch):
    def refuse(path, value):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sslbench.data.stl10.write_json", refuse)
    for _ in range(2):
        open_stl10(folder.parent, make_release(folder))
    assert len(reads) == 10


def test_a_changed_byte_is_found_even_where_the_fingerprint_does_not_look(folder):
    release = make_release(folder)
    contents = bytearray((folder / "unlabeled_X.bin").read_bytes())
    contents[len(contents) // 2] ^= 1
    (folder / "unlabeled_X.bin").write_bytes(contents)
    with pytest.raises(ValueError, match=r"unlabeled_X.bin: md5 .*move .* away and run again"):
        open_stl10(folder.parent, release)


def test_fewer_images_are_not_stl10(folder):
    with pytest.raises(ValueError, match=r"20 images, expected STL-10's 5,000.*data=layout"):
        open_stl10(folder.parent)
