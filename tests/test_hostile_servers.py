"""Servers and archives that are not what they should be: a line, and nothing of theirs is kept."""

import tarfile
import time

import pytest
from helpers.layouts import make_layout

from sslbench.data import download as downloads
from sslbench.data import stl10_archive
from sslbench.data.download import Unavailable, check_available, download
from sslbench.data.stl10_archive import unpack

SECRET = "s3cr3t"


# Downloads


@pytest.mark.parametrize(
    "url",
    [
        *("", "host/a", "ftp://host/a", "gopher://host/a", "data:text/plain,x", "javascript:x"),
        *("http://", "https:///a", "http://:80/a", "http://host:port/a", "http://host:99999/a"),
        *("http://[::1/a", "http://[zz]/a", "http://ho st/a", "http://host/a b", "http://host/a\n"),
        *("http://host/\x00", "http://host/\x1b[2J", "http://hést/a", "http://host/日本"),
        *(
            "http://host/\u202egz",
            f"http://me:{SECRET}@host:port/a",
            f"http://me:{SECRET} x@host/a",
        ),
    ],
)
def test_what_is_no_address_is_refused_in_a_line(url):
    with pytest.raises(ValueError, match=r"^data\.url=.*must be an address") as refused:
        check_available(url, 10)
    message = str(refused.value)
    assert SECRET not in message
    assert message.isascii()
    assert message.isprintable()


ANSWERS = {
    "a page": ({"Content-Type": "text/html; charset=utf-8"}, r"a page \(text/html\)"),
    "a page of the right size": ({"Content-Type": "TEXT/HTML"}, "a page"),
    "an xhtml page": ({"Content-Type": "application/xhtml+xml"}, "a page"),
    "a negative length": ({"Content-Length": "-1"}, "a Content-Length of '-1'"),
    "a length in words": ({"Content-Length": "ten"}, "a Content-Length of 'ten'"),
    "a huge length": ({"Content-Length": "9" * 30}, "a Content-Length of '9999"),
    "another length": ({"Content-Length": "11"}, "a file of 11 bytes"),
    "arabic digits": ({"Content-Length": "\xb2"}, "a Content-Length of"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_not_the_file_is_a_line_and_no_part(answer, server, tmp_path):
    server.archive = b"x" * 10
    server.headers, message = ANSWERS[answer]
    with pytest.raises(ValueError, match=message) as refused:
        check_available(server.url, 10)
    assert not isinstance(refused.value, Unavailable)
    assert "\n" not in str(refused.value)
    part = tmp_path / "a.part"
    part.write_bytes(b"begun")
    server.archive = b"x" * 15
    with pytest.raises(ValueError, match="the same command resumes it"):
        download(server.url, tmp_path / "a", 20, "")
    assert part.read_bytes() == b"begun"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/a", "gopher://host/a"])
def test_a_server_leads_to_no_file_of_this_machine(target, server):
    server.redirect = target
    with pytest.raises(Unavailable, match="(?i)redirect"):
        check_available(server.url, 10)


def test_a_server_that_sends_more_is_cut(server, tmp_path):
    server.archive, server.headers = b"x" * 5_000_000, {"Content-Length": None}
    with pytest.raises(ValueError, match=r"10 bytes with md5 .* deleted"):
        download(server.url, tmp_path / "a", 10, "")
    assert not list(tmp_path.iterdir())


def test_another_part_than_was_asked_for_is_not_kept(server, tmp_path):
    server.archive = b"x" * 20
    server.headers = {"Content-Range": "bytes 0-14/20"}
    (tmp_path / "a.part").write_bytes(b"begun")
    with pytest.raises(ValueError, match="another part"):
        download(server.url, tmp_path / "a", 20, "")
    assert (tmp_path / "a.part").read_bytes() == b"begun"


def test_a_drip_is_given_up_and_what_came_is_kept(server, tmp_path, monkeypatch):
    server.archive = b"x" * 20
    server.breaks_after = 5
    monkeypatch.setattr(downloads, "RATE_SECONDS", 1e-9)
    monkeypatch.setattr(downloads, "MIN_BYTES_PER_SECOND", 10**12)
    with pytest.raises(ValueError, match=r"after 5 of 20 bytes \(less than .* in a second"):
        download(server.url, tmp_path / "a", 20, "")
    assert (tmp_path / "a.part").read_bytes() == b"x" * 5


def test_a_head_that_never_ends_is_given_up(server, monkeypatch):
    server.sends_head = False
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer within 0.1 seconds"):
        check_available(server.url, 10)
    assert time.monotonic() - began < 3
    server.sends_head = True


def test_a_malformed_proxy_tells_no_password(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}")
    with pytest.raises(Unavailable, match="http_proxy") as refused:
        check_available("http://host.invalid/a", 10)
    assert SECRET not in str(refused.value)


# Archives


@pytest.mark.parametrize("kind", ["bytes", "members", "plain tar", "cut", "no archive"])
def test_an_archive_that_is_not_as_it_should_be_leaves_nothing(kind, tmp_path, monkeypatch):
    folder = make_layout(tmp_path / "published", num_unlabeled=2)
    archive, root = tmp_path / "a.tar.gz", tmp_path / "data"
    with tarfile.open(archive, "w" if kind == "plain tar" else "w:gz") as tar:
        tar.add(folder, "stl10_binary")
        for number in range(5 if kind == "members" else 0):
            tar.addfile(tarfile.TarInfo(f"{number}"))
    if kind == "cut":
        archive.write_bytes(archive.read_bytes()[:-1000])
    if kind == "no archive":
        archive.write_bytes(b"<html>")
    root.mkdir()
    limit = {"max_bytes": 1000} if kind == "bytes" else {}
    monkeypatch.setattr(stl10_archive, "MAX_MEMBERS", 11)
    with pytest.raises(ValueError, match="not unpacked"):
        unpack(archive, root, **limit)
    assert not list(root.iterdir())
