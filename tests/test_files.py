"""Files are written whole or not at all, where they were meant to be, as open as any other."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xnornet.files import remove_partial, replacing, write_csv


def write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_failure_leaves_what_was_there(tmp_path):
    write(tmp_path / "file", "old")
    with pytest.raises(TypeError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half") + "and then an error"
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/file")
    for text in ("new", "newer"):  # at first the link leads nowhere
        write(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_text() == text


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path, message in (
        (tmp_path / "pipe", "no regular file"),
        (tmp_path / "link", "no regular file"),
        (Path("/dev/null"), "no regular file"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(OSError, match=f"there already, and {message}: give another name") as caught:
            write(path, "text")
        assert caught.value.filename == str(path)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_an_error_names_the_file_that_was_meant(tmp_path):
    name = "n" * 250  # which leaves too little room for the temporary file's
    with pytest.raises(OSError, match="File name too long") as caught:
        write(tmp_path / name, "text")
    assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(OSError, match="No such file") as caught, replacing(tmp_path / "file") as temporary:
        temporary.unlink()
    assert (caught.value.filename, caught.value.errno) == (str(tmp_path / "file"), errno.ENOENT)


UMASK = """
import os, sys
from xnornet.files import replacing
os.umask(0o027)
os.umask = None  # nobody may change it, not for a moment: other threads make files too
with replacing(sys.argv[1]) as temporary:
    print(oct(temporary.stat().st_mode & 0o777))
"""


def test_files_are_as_open_as_the_umask_says(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", UMASK, str(tmp_path / "file")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0o640" == oct((tmp_path / "file").stat().st_mode & 0o777)


def test_what_a_killed_process_left_is_removed(tmp_path):
    write_csv(tmp_path / "metrics.csv", [{"a": 1}])
    for name in (".metrics.csv.0123abcd.partial", ".metrics.csv.s3vg3r2s.partial", ".other.csv.0123abcd.partial"):
        (tmp_path / name).write_text("half")
    remove_partial(tmp_path / "metrics.csv")
    assert sorted(os.listdir(tmp_path)) == [".other.csv.0123abcd.partial", "metrics.csv"]


def test_parts_that_are_being_written_stay_and_may_vanish(tmp_path):
    """Between being listed and being looked at, too."""

    def write(number: int) -> None:
        for _ in range(100):
            with replacing(tmp_path / "file") as temporary:
                temporary.write_text("whole")

    def remove(number: int) -> None:
        for _ in range(300):
            remove_partial(tmp_path / "file", older_than=3600)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(act, i) for i in range(2) for act in (write, remove)]:
            done.result()
    assert (tmp_path / "file").read_text() == "whole"
    assert os.listdir(tmp_path) == ["file"]
