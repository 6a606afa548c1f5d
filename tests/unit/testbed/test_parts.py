"""What the testbed writes: images without a builder, certificates that fit each other."""

import json
import tarfile
from pathlib import Path

from cryptography import x509

from testbed.certificates import KUBECONFIGS, make_certificates
from testbed.images import Image, write_archive
from testbed.layout import NODE, NODE_ADDRESS, State


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_images_of_an_archive_share_their_layer_and_keep_their_entrypoints(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"layer")

    images = [Image("base:1", layer), Image("pause:1", layer, ["/bin/sleep", "infinity"])]
    write_archive(tmp_path / "images.tar", images)

    with tarfile.open(tmp_path / "images.tar") as archive:
        manifest = json.loads(archive.extractfile("manifest.json").read())
        configs = [json.loads(archive.extractfile(image["Config"]).read()) for image in manifest]
        layers = {layer for image in manifest for layer in image["Layers"]}
        assert [archive.extractfile(name).read() for name in layers] == [b"layer"]
    assert [image["RepoTags"] for image in manifest] == [["base:1"], ["pause:1"]]
    assert [config["config"]["Entrypoint"] for config in configs] == [None, ["/bin/sleep", "infinity"]]
    assert {f"{digest.removeprefix('sha256:')}/layer.tar" for digest in configs[0]["rootfs"]["diff_ids"]} == layers


def test_every_certificate_comes_from_the_clusters_own_authority_and_names_its_host(tmp_path: Path) -> None:
    state = State(tmp_path)

    make_certificates(state)

    authority = certificate(state.certificates, "ca")
    for name in ("apiserver", NODE, "admin"):
        certificate(state.certificates, name).verify_directly_issued_by(authority)
    hosts = certificate(state.certificates, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert NODE_ADDRESS in {str(address) for address in hosts.value.get_values_for_type(x509.IPAddress)}


def test_keys_and_kubeconfigs_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = State(tmp_path)

    make_certificates(state)

    secrets = [*state.certificates.glob("*.key"), *(state.kubeconfig(user) for user in KUBECONFIGS)]
    assert {oct(file.stat().st_mode & 0o777) for file in secrets} == {"0o600"}
