"""Sets of rendered files: whole, one in force, and there for others to read, whatever happens."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from plimsoll.alerts.rollout.releases import KEPT, ReleaseError, content_hash, opened, publish
from plimsoll.demo.processes import workspace
from waiting import eventually

PRELUDE = """\
import os, resource, signal, sys, time
from pathlib import Path
from plimsoll.alerts.rollout.releases import ReleaseError, opened, publish

directory = Path(sys.argv[1])

def files(text):
    names = ("rules/alerts.yml", "rules/recording.yml", "alertmanager/alertmanager.yml")
    return {name: text for name in names}
"""

KILLED_AT = """\
steps = int(sys.argv[2])

def count(event, arguments):
    global steps
    opens = event == "open" and not str(arguments[0]).startswith((sys.prefix, sys.base_prefix))
    if opens or event.startswith(("os.", "shutil.", "fcntl.")):
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
publish(directory, files("new"))
"""

LOOPING = """\
import itertools

for number in itertools.count():
    try:
        publish(directory, files(f"{os.getpid()} {number}"))
    except ReleaseError as error:
        assert "another plimsoll is changing it" in str(error), error
    print(flush=True)
    time.sleep(0.001)  # the other one's chance
"""

LIMITED = """\
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    publish(directory, files("x" * 100_001))
except ReleaseError as error:
    print(error)
"""

AS_NOBODY = """\
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    publish(directory, files("new"))
except ReleaseError as error:
    print(error)
"""


def files(text: str) -> dict[str, str]:
    names = ("rules/alerts.yml", "rules/recording.yml", "alertmanager/alertmanager.yml")
    return dict.fromkeys(names, text)


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(script: str, *arguments: object) -> str:
    """Give what a script prints that ends well."""
    with child(script, *arguments) as process:
        text, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    return text.strip()


def in_force(directory: Path) -> str:
    """Give the text that every file of the set in force must have, through the paths that stay."""
    texts = {(directory / name).read_text() for name in files("")}
    assert len(texts) == 1
    return texts.pop()


def versions(directory: Path) -> list[str]:
    return names(directory / "versions")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check_that_all_is_whole(directory: Path, texts: Sequence[str]) -> None:
    """See that a link to a set leads to a whole one, and so does every name of a version."""
    for name in ("current", "accepted"):
        if (directory / name).is_symlink():
            assert (directory / name).is_dir()
    for version in (directory / "versions").glob("[0-9]*"):
        found = {path.relative_to(version).as_posix(): path.read_text() for path in version.glob("*/*")}
        assert found in [files(text) for text in texts]


def test_a_set_is_published(tmp_path: Path) -> None:
    version = publish(tmp_path / "new" / "output", files("one"))
    output = tmp_path / "new" / "output"
    assert in_force(output) == "one"
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-" + content_hash(files("one")), version)
    assert names(output) == [".lock", "alertmanager", "current", "rules", "versions"]
    assert (output / "current").readlink() == Path(f"versions/{version}")
    assert (output / "rules").readlink() == Path("current/rules")
    assert (output / "alertmanager").readlink() == Path("current/alertmanager")


def test_the_directory_can_be_moved(tmp_path: Path) -> None:
    publish(tmp_path / "here", files("one"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert in_force(tmp_path / "there") == "one"


def test_the_same_set_is_published_once(tmp_path: Path) -> None:
    first = publish(tmp_path, files("one"))
    assert publish(tmp_path, files("one")) == first
    second = publish(tmp_path, files("two"))
    third = publish(tmp_path, files("one"))
    assert versions(tmp_path) == [first, second, third]
    assert in_force(tmp_path) == "one"


@pytest.mark.parametrize("change", ["edited", "lost", "no UTF-8"])
def test_a_set_that_was_changed_by_hand_is_published_anew(tmp_path: Path, change: str) -> None:
    first = publish(tmp_path, files("one"))
    file = tmp_path / "versions" / first / "rules" / "alerts.yml"
    if change == "lost":
        file.unlink()
    else:
        file.write_bytes(b"two" if change == "edited" else b"\xff")
    assert publish(tmp_path, files("one")) != first
    assert in_force(tmp_path) == "one"


def test_a_set_that_was_removed_by_hand_is_published_anew(tmp_path: Path) -> None:
    first = publish(tmp_path, files("one"))
    (tmp_path / "versions" / first).rename(tmp_path / "elsewhere")
    assert publish(tmp_path, files("one")) != first
    assert in_force(tmp_path) == "one"


def test_going_back(tmp_path: Path) -> None:
    first = publish(tmp_path, files("one"))
    publish(tmp_path, files("two"))
    with opened(tmp_path) as sets:
        sets.link(first)
        assert (sets.current, sets.accepted) == (first, None)
        sets.accept(first)
        assert (sets.current, sets.accepted) == (first, first)
        assert sets.files(first) == files("one")
        with pytest.raises(ReleaseError, match=r"versions/20010101T000000\.000000Z-0 is not there"):
            sets.link("20010101T000000.000000Z-0")
    assert in_force(tmp_path) == "one"


def test_others_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        publish(tmp_path / "new" / "output", files("one"))
    finally:
        os.umask(before)
    for path in (tmp_path / "new").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        expected = 0o777 if path.is_symlink() else 0o755 if path.is_dir() else 0o644
        assert path.name == ".lock" or mode == expected, path
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755


def test_old_sets_are_removed_but_not_the_accepted_one(tmp_path: Path) -> None:
    first = publish(tmp_path, files("0"))
    with opened(tmp_path) as sets:
        sets.accept(first)
    others = [publish(tmp_path, files(str(number))) for number in range(1, KEPT + 3)]
    assert versions(tmp_path) == [first, *others[-KEPT:]]
    (tmp_path / "versions" / "of-somebody").mkdir()
    with opened(tmp_path) as sets:
        sets.accept(others[-1])
        sets.link(others[-KEPT])
    last = publish(tmp_path, files("last"))
    assert versions(tmp_path) == [*others[-KEPT + 1 :], last, "of-somebody"]


def test_the_set_in_force_stays_though_newer_ones_exist(tmp_path: Path) -> None:
    made = [publish(tmp_path, files(str(number))) for number in range(KEPT)]
    with opened(tmp_path) as sets:
        sets.link(made[0])
        (tmp_path / "versions" / made[0].replace(made[0][:4], "9999")).mkdir()  # by a clock that was ahead
        sets.prune()
        assert sets.current == made[0]
        assert len(versions(tmp_path)) == KEPT + 1


@pytest.mark.parametrize("name", ["rules", "alertmanager", "current", "accepted", "versions"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_files_of_others_are_refused_and_nothing_is_changed(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
        if name == "versions":
            (tmp_path / "rules").mkdir()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to("/etc")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReleaseError, match="is there already and not made by plimsoll: move it away"):
        publish(tmp_path, files("one"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_instead_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ReleaseError, match=rf"cannot write {tmp_path}/file\S*: "):
            publish(path, files("one"))


@pytest.mark.parametrize("name", ["alerts.yml", "/rules/a.yml", "rules/../../a.yml", "other/a.yml", "rules"])
def test_paths_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no path below rules or alertmanager"):
        publish(tmp_path, {name: ""})
    assert not (tmp_path / "current").is_symlink()


def test_a_full_disk_leaves_the_former_set(tmp_path: Path) -> None:
    """A limit on the size of files gives at the same place what a full disk gives."""
    first = publish(tmp_path, files("one"))
    message = said(LIMITED, tmp_path)
    assert re.fullmatch(
        rf"cannot write {tmp_path}/versions/\.new-\S+/rules/alerts\.yml: File too large", message
    )
    assert in_force(tmp_path) == "one"
    assert versions(tmp_path) == [first], "what had been written is in nobody's way"
    publish(tmp_path, files("x" * 100_001))
    assert in_force(tmp_path) == "x" * 100_001


def test_a_directory_that_may_not_be_written_to() -> None:
    with workspace() as directory:
        first = publish(directory, files("one"))
        (directory / ".lock").chmod(0o666)  # else that is refused first
        (directory / "versions").chmod(0o555)
        try:
            message = said(AS_NOBODY, directory)
        finally:
            (directory / "versions").chmod(0o755)
        assert re.fullmatch(rf"cannot write {directory}/versions/\.new-\S+: Permission denied", message)
        assert in_force(directory) == "one"
        assert versions(directory) == [first]
        publish(directory, files("two"))
        assert in_force(directory) == "two"


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    message = f"{tmp_path}: another plimsoll is changing it; try again when it is done"
    with opened(tmp_path) as sets:
        with pytest.raises(ReleaseError, match=re.escape(message)):
            publish(tmp_path, files("two"))
        sets.publish(files("one"))
    assert in_force(tmp_path) == "one"
    publish(tmp_path, files("two"))
    assert in_force(tmp_path) == "two"


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    publish(tmp_path, files("one"))
    seen = {"one"}

    def enough() -> bool:
        """Tell whether both have been at work, often."""
        seen.add(read_at_once(tmp_path))
        return len(seen) > 30 and len({text.split()[0] for text in seen}) == 3

    with child(LOOPING, tmp_path) as one, child(LOOPING, tmp_path) as two:
        try:
            eventually(enough)
        finally:
            for process in (one, two):
                process.kill()
                assert process.communicate()[1] == ""
    publish(tmp_path, files("last"))
    assert in_force(tmp_path) == "last"


def read_at_once(directory: Path) -> str:
    """Read one set while others are made, as a program does that reads all its files after a swap."""
    while True:
        version = (directory / "current").resolve()
        try:
            texts = {(version / name).read_text() for name in files("")}
        except FileNotFoundError:
            assert version != (directory / "current").resolve(), "the set in force is whole"
            continue
        assert len(texts) == 1
        return texts.pop()


def kill(directory: Path, step: int) -> bool:
    """Publish a set, and kill that before its n-th step; tells whether it had so many."""
    with child(KILLED_AT, directory, step) as process:
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGKILL or (process.returncode, errors) == (0, "")
    return process.returncode == -signal.SIGKILL


def check_that_the_next_one_succeeds(directory: Path, text: str) -> None:
    publish(directory, files(text))
    assert in_force(directory) == text
    left = {name for name in (*names(directory), *versions(directory)) if name.startswith(".")}
    assert left == {".lock"}


def test_killed_at_any_step(tmp_path: Path) -> None:
    """Before each thing that it does to the file system, in turn; the removal of an old set is one."""
    texts = [f"before {number}" for number in range(KEPT + 1)]
    for text in texts:
        publish(tmp_path, files(text))
    seen = set()
    for step in itertools.count(1):
        killed = kill(tmp_path, step)
        check_that_all_is_whole(tmp_path, [*texts, "new"])
        seen.add(in_force(tmp_path) if in_force(tmp_path) != texts[-1] else "former")
        if not killed:
            break
        texts.append(f"after {step}")
        check_that_the_next_one_succeeds(tmp_path, texts[-1])
    assert step > 30
    assert seen == {"former", "new"}


def test_the_first_one_killed_at_any_step(tmp_path: Path) -> None:
    seen = set()
    for step in itertools.count(1):
        directory = tmp_path / str(step)
        killed = kill(directory, step)
        check_that_all_is_whole(directory, ["new"])
        seen.add(text_in_force(directory))
        if not killed:
            break
        check_that_the_next_one_succeeds(directory, "next")
    assert step > 20
    assert seen == {"", "new"}


def text_in_force(directory: Path) -> str:
    return in_force(directory) if (directory / "current").is_symlink() else ""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(7)
    publish(tmp_path, files("one"))
    for _ in range(15):
        with child(LOOPING, tmp_path) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.02))  # where it is killed, not how long something takes
            process.kill()
            assert process.communicate()[1] == ""
        in_force(tmp_path)
    publish(tmp_path, files("last"))
    assert in_force(tmp_path) == "last"
    assert len(versions(tmp_path)) == KEPT


def test_all_is_on_the_disk_before_the_link_is_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        assert not (tmp_path / "current").is_symlink() or path == tmp_path
        synced.append(re.sub(r"[^/]*Z-\w{12}", "*", str(path.relative_to(tmp_path))))

    monkeypatch.setattr(os, "fsync", fsync)
    publish(tmp_path, files("one"))
    draft = [f"versions/{name}" for name in ("*", "*/rules", "*/alertmanager")]
    assert set(synced) == {".", "versions", *draft, *(f"versions/*/{name}" for name in files(""))}
    assert synced[-1] == "."
