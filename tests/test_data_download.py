"""STL-10's archive: downloaded, checked and unpacked, whatever the server and the disk do."""

import tarfile
import threading

import pytest
from helpers.layouts import make_layout, make_release
from helpers.server import refused_url

from sslbench.data import stl10
from sslbench.data.download import Unavailable
from sslbench.data.stl10 import open_stl10
from sslbench.data.stl10_archive import obtain_stl10, unpack

FILES = {"train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin"}


@pytest.fixture
def folder(tmp_path):
    return make_layout(tmp_path / "published", num_unlabeled=12, folds=True)


class Download:
    """A small STL-10 on a server, and where it is to go."""

    def __init__(self, folder, server, root):
        self.folder, self.server, self.root = folder, server, root
        self.archive = folder.parent / "stl10_binary.tar.gz"
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.add(folder, "stl10_binary")
        self.release = make_release(folder, self.archive)
        self.part = root / "stl10_binary.tar.gz.part"
        server.archive = self.archive.read_bytes()

    def obtain(self, url=None):
        obtain_stl10(self.root, url or self.server.url, self.release)

    def is_there(self):
        published, found = (
            open_stl10(it, self.folder.parent, self.release)
            for it in (self.folder.parent, self.root)
        )
        visible = {path.name for path in self.root.iterdir() if not path.name.startswith(".")}
        same = (found.images["unlabeled"] == published.images["unlabeled"]).all()
        return same and len(found.folds) == 10 and visible == {"stl10_binary"}


@pytest.fixture
def stl(folder, server, tmp_path):
    return Download(folder, server, tmp_path / "data")


def test_it_is_downloaded_once_unpacked_and_tidied_up(stl):
    for _ in range(2):
        stl.obtain()
        assert stl.is_there()
    assert stl.server.ranges == [None, None]  # is it there, and all of it


def test_a_file_address_is_a_mirror(stl):
    stl.obtain(stl.archive.as_uri())
    assert stl.is_there()
    assert stl.archive.exists()


@pytest.mark.parametrize(
    ("name", "num_bytes", "knows_ranges", "expected"),
    [
        ("stl10_binary.tar.gz", None, True, []),  # without a network
        ("stl10_binary.tar.gz", 1000, True, ["bytes=1000-"]),
        ("stl10_binary.tar.gz.part", 24, False, [None, "bytes=24-"]),  # all is sent again
    ],
)
def test_an_archive_there_is_used_or_completed(stl, name, num_bytes, knows_ranges, expected):
    stl.root.mkdir()
    (stl.root / name).write_bytes(stl.server.archive[:num_bytes])
    stl.server.knows_ranges = knows_ranges
    stl.obtain()
    assert stl.server.ranges == expected
    assert stl.is_there()


def test_a_broken_download_is_resumed_by_the_same_command(stl):
    stl.server.breaks_after = 100_000
    with pytest.raises(ValueError, match=r"after 100,000 of .* the same command resumes it"):
        stl.obtain()
    assert stl.part.read_bytes() == stl.server.archive[:100_000]
    assert not (stl.root / "stl10_binary").exists()
    stl.server.breaks_after = None
    stl.obtain()
    assert stl.server.ranges[-1] == "bytes=100000-"
    assert stl.is_there()


def test_two_processes_download_once(stl):
    threads = [threading.Thread(target=stl.obtain) for _ in range(2)]
    for each in (threading.Thread.start, threading.Thread.join):
        list(map(each, threads))
    assert stl.is_there()
    assert len(stl.server.ranges) <= 3  # each may ask whether it is there; one reads it


def test_a_wrong_md5_deletes_the_download(stl):
    stl.server.archive = stl.server.archive[:-1] + bytes([stl.server.archive[-1] ^ 1])
    with pytest.raises(ValueError, match=f"expected .*{stl.release.archive_md5}.*deleted"):
        stl.obtain()
    assert not stl.part.exists()
    assert not (stl.root / "stl10_binary").exists()


@pytest.mark.parametrize("status", [404, None])
def test_a_server_that_refuses_or_is_not_there_leaves_nothing_behind(stl, status):
    stl.server.status = status
    url, message = (stl.server.url, str(status)) if status else (refused_url(), r"127\.0\.0\.1")
    with pytest.raises(Unavailable, match=message):
        stl.obtain(url)
    assert not stl.root.exists()


@pytest.mark.parametrize("begun", [False, True])
def test_a_wrong_file_or_a_download_that_was_begun_is_no_reason_to_do_without_stl10(stl, begun):
    if begun:
        stl.root.mkdir()
        stl.part.write_bytes(b"begun")
    stl.server.archive = b"<html>Please log in to this network</html>"
    message = "same command resumes it" if begun else r"a file of 42 bytes, expected .*data.url"
    with pytest.raises(ValueError, match=message) as error:
        stl.obtain(refused_url() if begun else None)
    assert not isinstance(error.value, Unavailable)
    assert [path.read_bytes() for path in stl.root.glob("stl10*")] == [b"begun"] * begun


def member(name, kind=tarfile.REGTYPE, linkname=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, linkname
    return found


MALICIOUS = {
    "a path out of the folder": member("stl10_binary/../../outside"),
    "a link": member("stl10_binary/class_names.txt", tarfile.SYMTYPE, "../../../outside"),
    "a device": member("stl10_binary/train_X.bin", tarfile.CHRTYPE),
}


def unpack_packed(folder, root, *members):
    archive = folder.parent / "packed.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "./stl10_binary")
        for each in members:
            tar.addfile(each)
    root.mkdir()
    unpack(archive, root)


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_malicious_archive_is_refused(tmp_path, folder, kind):
    with pytest.raises(ValueError, match="not unpacked"):
        unpack_packed(folder, tmp_path / "data", MALICIOUS[kind])
    assert not list((tmp_path / "data").iterdir())
    assert not (tmp_path / "outside").exists()


def test_other_members_are_left_out_and_a_missing_file_is_refused(tmp_path, folder):
    unpack_packed(folder, tmp_path / "data", member("stl10_binary/._train_X.bin"))
    found = {path.name for path in (tmp_path / "data" / "stl10_binary").iterdir()}
    assert found == FILES | {"class_names.txt", "fold_indices.txt"}
    (folder / "test_y.bin").unlink()
    with pytest.raises(ValueError, match=r"no test_y.bin in it"):
        unpack_packed(folder, tmp_path / "less")


def test_md5s_are_checked_once_for_files_as_they_are(folder, monkeypatch):
    reads, file_md5, release = [], stl10.file_md5, make_release(folder)
    monkeypatch.setattr(stl10, "file_md5", lambda path: reads.append(path.name) or file_md5(path))
    for _ in range(2):
        open_stl10(folder.parent, folder.parent, release)
    assert sorted(reads) == sorted(FILES)
    names = (folder / "class_names.txt").read_text()
    (folder / "class_names.txt").write_text(names.replace("bird\ncar", "car\nbird"))
    with pytest.raises(ValueError, match="airplane, car, bird.* in their order"):
        open_stl10(folder.parent, folder.parent, release)


def test_other_content_or_fewer_images_are_not_stl10(folder):
    release = make_release(folder)
    with pytest.raises(ValueError, match=r"20 images, expected STL-10's 5,000.*data=layout"):
        open_stl10(folder.parent, folder.parent)
    contents = bytearray((folder / "unlabeled_X.bin").read_bytes())
    contents[len(contents) // 2] ^= 1
    (folder / "unlabeled_X.bin").write_bytes(contents)
    with pytest.raises(ValueError, match=r"unlabeled_X.bin: md5 .*move .* away and run again"):
        open_stl10(folder.parent, folder.parent, release)
