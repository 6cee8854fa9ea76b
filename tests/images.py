"""What the project's image is built from where there is no registry and no network: a base, and wheels.

The base holds the Python that runs the tests, its libraries, and nothing else: no shell, no pip, no users. So
it is less than any base that can be downloaded. The builder has a shell and pip besides.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pip
from packaging.requirements import Requirement

from engines import PROGRAMS, Engine

ROOT = Path(__file__).parents[1]
BASE = "python:test"
BUILDER = "python:test-builder"
IMAGE = "plimsoll:test"

_LEFT_OUT = {"site-packages", "dist-packages", "test", "idlelib", "lib2to3", "tkinter", "ensurepip"}
"""Folders of the standard library that no server needs, or that are not of it."""


def build_image(engine: Engine, folder: Path) -> None:
    """Build the project's image as IMAGE, from its Dockerfile; `folder` is for what it is made of."""
    _make_bases(engine, folder / "python.tar")
    context = folder / "context"
    _make_wheels(context / "wheels")
    shutil.copy(ROOT / ".dockerignore", context)
    bases = [f"--build-arg=BASE={BASE}", f"--build-arg=BUILDER={BUILDER}"]
    file = ROOT / "exporter" / "Dockerfile"
    engine.cli("build", "--network=none", f"--file={file}", f"--tag={IMAGE}", *bases, context)


# --- the base -----------------------------------------------------------------------------------------------


def _make_bases(engine: Engine, archive: Path) -> None:
    """Make BASE, and BUILDER by adding to it."""
    python = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    files = [python, *_libraries([python, *(library / "lib-dynload").glob("*.so"), *_extensions()])]
    with tarfile.open(archive, "w") as tar:
        for folder_of_it in sorted({parent for file in [*files, library] for parent in file.parents}):
            _add_folder(tar, folder_of_it)
        for file in files:
            _add_file(tar, file)
        for name in {"python3", "python"} - {python.name}:
            _add_link(tar, python.with_name(name), python)
        tar.add(library, filter=_of_use)
    path = f"--change=ENV PATH={python.parent}"
    engine.cli("import", path, archive, BASE)
    with tarfile.open(archive, "a") as tar:
        tar.add(PROGRAMS / "bin" / "busybox", "bin/sh")
        tar.add(Path(pip.__file__).parent, "pip/pip")
    engine.cli("import", path, "--change=ENV PYTHONPATH=/pip", archive, BUILDER)
    archive.unlink()


def _add_folder(tar: tarfile.TarFile, path: Path) -> None:
    """Add an empty folder which all may enter, although here it may be root's own."""
    entry = tarfile.TarInfo(str(path))
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(entry)


def _add_link(tar: tarfile.TarFile, path: Path, target: Path) -> None:
    link = tarfile.TarInfo(str(path))
    link.type, link.linkname = tarfile.SYMTYPE, str(target)
    tar.addfile(link)


def _add_file(tar: tarfile.TarFile, path: Path) -> None:
    """Add what a path leads to, by that path."""
    with path.open("rb") as content:
        entry = tar.gettarinfo(arcname=str(path), fileobj=content)
        tar.addfile(entry, content)


def _of_use(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(entry.name)
    unused = path.name in _LEFT_OUT or path.name.startswith(("config-", "_tkinter"))
    optimized = re.search(r"\.opt-[12]\.pyc$", path.name)
    return None if unused or optimized else entry


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """Give the shared libraries that programs need, and the loader, by the paths where they are found."""
    linked = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    found = {Path(path) for path in re.findall(r"^\t.*?(/\S+) \(0x", linked, re.MULTILINE)}
    return sorted(path for path in found if not path.is_relative_to(sys.prefix))  # wheels bring some along


def _extensions() -> Iterator[Path]:
    """Give what needs libraries of every real base that Python itself does not need."""
    for name in _needed(Requirement("plimsoll"), set()):
        files = distribution(name).files or ()
        yield from (Path(str(file.locate())) for file in files if file.name.endswith(".so"))


# --- the wheels ---------------------------------------------------------------------------------------------


def _make_wheels(folder: Path) -> None:
    """Make wheels of what is installed: Plimsoll, and all that it needs.

    `pip wheel` does it better, but has to fetch everything, hatchling too.
    """
    folder.mkdir(parents=True)
    for name in sorted(_needed(Requirement("plimsoll"), set())):
        found = distribution(name)
        with zipfile.ZipFile(folder / _wheel_name(found), "w") as wheel:
            for file, arcname in _ours(found) if name == "plimsoll" else _theirs(found):
                wheel.write(file, arcname)


def _needed(requirement: Requirement, known: set[str]) -> set[str]:
    """Add the distributions that a requirement leads to."""
    known.add(requirement.name)
    for line in distribution(requirement.name).requires or ():
        further = Requirement(line)
        extras = ("", *requirement.extras)
        wanted = not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in extras)
        if wanted and further.name not in known:
            _needed(further, known)
    return known


def _wheel_name(found: Distribution) -> str:
    name = re.sub(r"[-_.]+", "_", found.metadata["Name"])
    (tag, *_) = re.findall(r"^Tag: (\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    return f"{name}-{found.version}-{tag}.whl"


def _theirs(found: Distribution) -> Iterator[tuple[Path, str]]:
    """Give the files of a distribution; those outside of site-packages are scripts, which pip writes anew."""
    for file in found.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            yield Path(str(file.locate())), str(file)


def _ours(found: Distribution) -> Iterator[tuple[Path, str]]:
    """Give the files of our own, which stand in the checkout, as pyproject.toml places them."""
    yield from (pair for pair in _theirs(found) if ".dist-info/" in pair[1])
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    packages = {package: Path(package).name for package in wheel["packages"]}
    for source, target in (packages | wheel["force-include"]).items():
        for file in (ROOT / source).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                yield file, str(target / file.relative_to(ROOT / source))
