"""Container images without a registry or a builder: a Debian root by debootstrap, or one program and nothing else."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.commands import run
from testbed.layout import BASE_IMAGES, PAUSE_IMAGE, Cache

SUITE, MIRROR = "trixie", "http://deb.debian.org/debian"
PACKAGES = ("busybox", "python3")  # not busybox-static, whose wget and nslookup crash
LEFT_OUT = ("var/cache", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Image:
    name: str
    layer: Path
    entrypoint: Sequence[str] | None = None


def ensure_base_images(cache: Cache, tell: Callable[[str], None]) -> Path:
    """Make the archive of the base images, and of the pause image on the same layer, if it is not there."""
    recipe = hashlib.sha256(json.dumps([SUITE, PACKAGES, LEFT_OUT, BASE_IMAGES, PAUSE_IMAGE]).encode()).hexdigest()
    archive = cache.images / f"base-{recipe[:16]}.tar"
    if archive.is_file():
        return archive
    tell("making the base images (debootstrap; a minute, once)")
    cache.images.mkdir(parents=True, exist_ok=True)
    with cache.unfinished() as folder:
        root, layer = folder / "root", folder / "layer.tar"
        run(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), MIRROR])
        left_out = [f"--exclude=./{name}/*" for name in LEFT_OUT]
        run(["tar", "--directory", str(root), *left_out, "--create", "--file", str(layer), "."])
        unfinished = folder / archive.name
        pause = Image(PAUSE_IMAGE, layer, ["/bin/sleep", "infinity"])
        write_archive(unfinished, [*(Image(name, layer) for name in BASE_IMAGES), pause])
        unfinished.rename(archive)
    return archive


def ensure_program_images(cache: Cache, key: str, programs: Mapping[str, Path], tell: Callable[[str], None]) -> Path:
    """Make the archive with an image of each program; the key says which builds they are."""
    archive = cache.images / f"programs-{key}.tar"
    if archive.is_file():
        return archive
    tell(f"making the images of {', '.join(programs)}")
    cache.images.mkdir(parents=True, exist_ok=True)
    with cache.unfinished() as folder:
        images = []
        for name, program in programs.items():
            layer = folder / f"{name}.tar"
            with tarfile.open(layer, "w") as tar:
                tar.add(program, arcname=name)
            images.append(Image(program_image(name), layer, [f"/{name}"]))
        unfinished = folder / archive.name
        write_archive(unfinished, images)
        unfinished.rename(archive)
    return archive


def program_image(name: str) -> str:
    """The image's name in `manifests/addons`. What is on the node already is never pulled."""
    return f"localhost/{name}:testbed"


def write_archive(archive: Path, images: Sequence[Image]) -> None:
    """Write images of one layer each; a layer that several have is written once."""
    digests = {layer: _digest(layer) for layer in {image.layer: None for image in images}}
    manifest: list[dict[str, Any]] = []
    with tarfile.open(archive, "w") as tar:
        for layer, digest in digests.items():
            tar.add(layer, arcname=f"{digest}/layer.tar")
        for image in images:
            digest = digests[image.layer]
            config = json.dumps(_config(digest, image.entrypoint)).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(tar, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": [f"{digest}/layer.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _config(layer_digest: str, entrypoint: Sequence[str] | None) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": [PATH]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{}],
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
