"""Image, Compose file and Kubernetes base: each by its public judge, and none asks for what another does not give."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from mtls_gateway import __version__
from mtls_gateway.config import read_configuration
from tests.deploy.alerts import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "docker" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
#: The newest versions of Kubernetes whose schemas the judge has, and an old one that is still met.
VERSIONS = ("1.29", "1.31", "1.33")
YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 160}, document-start: disable, braces: {max-spaces-inside: 0}}}"
)


def tool(*words: str) -> str:
    """What a linter that came with the packages says; nothing is good."""
    path = Path(sys.executable).parent / words[0]
    done = subprocess.run([str(path), *words[1:]], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- image ---------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say_against_the_image() -> None:
    assert tool("hadolint", str(DOCKERFILE)) == ""


def test_the_image_is_built_from_what_is_there_and_runs_as_nobody_in_particular() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    let_in = [
        line[1:].strip()
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / path).exists() for path in copied)
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "pip" not in last and "apt-get" not in last
    assert {line.split()[0] for line in re.findall(r"^FROM (.*)$", text, re.MULTILINE)} == {"python:3.11-slim-bookworm"}


# --- Compose -------------------------------------------------------------------------------------


def test_the_compose_file_is_one_and_gives_all_that_it_asks_for() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    read = PyCompose.from_yaml(text)
    assert sorted(read.service_names()) == ["database", "gateway", "signer"]
    whole = yaml.safe_load(text)
    for name, service in whole["services"].items():
        assert set(service.get("secrets", [])) <= set(whole["secrets"]), name
        assert {one["source"] for one in service.get("configs", [])} <= set(whole["configs"]), name
        assert {one.partition(":")[0] for one in service.get("volumes", [])} <= set(whole["volumes"]), name
        assert set(service.get("networks", [])) <= set(whole["networks"]), name
    for name in ("gateway", "signer"):
        service = whole["services"][name]
        assert service["image"] == f"mtls-gateway:{__version__}"
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    # The keys reach the signer only, and nobody reaches it but by its socket.
    assert whole["services"]["signer"]["network_mode"] == "none"
    holders = {name for name, service in whole["services"].items() if "issuing-key" in service.get("secrets", [])}
    assert holders == {"signer"}


# --- Kubernetes ----------------------------------------------------------------------------------


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    for name in kustomization["resources"]:
        for document in yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")):
            yield f"{name} {document['kind']} {document['metadata']['name']}", document


DOCUMENTS = dict(documents())
POD = next(one for one in DOCUMENTS.values() if one["kind"] == "StatefulSet")["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_schemas_know_all_of_it(version: str) -> None:
    for name, document in DOCUMENTS.items():
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error.message}")


def test_every_file_of_the_base_is_in_it() -> None:
    listed = {name.partition(" ")[0] for name in DOCUMENTS}
    assert {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"} == listed


def test_yamllint_has_nothing_to_say() -> None:
    assert tool("yamllint", "--strict", "-d", YAMLLINT, "deploy") == ""


def containers() -> list[dict[str, Any]]:
    spec = POD["spec"]
    return [*spec["initContainers"], *spec["containers"]]


@pytest.mark.parametrize("container", containers(), ids=lambda one: str(one["name"]))
def test_a_container_may_nothing_that_the_restricted_standard_forbids(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] in (10001, 10002)
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]


def test_names_ports_and_volumes_fit_each_other() -> None:
    claims = next(one for one in DOCUMENTS.values() if one["kind"] == "StatefulSet")["spec"]["volumeClaimTemplates"]
    given = {one["name"] for one in POD["spec"]["volumes"]} | {one["metadata"]["name"] for one in claims}
    mounted = {mount["name"] for container in containers() for mount in container["volumeMounts"]}
    assert mounted == given
    ports = {port["name"]: port["containerPort"] for one in containers() for port in one.get("ports", [])}
    labels = POD["metadata"]["labels"]
    for name, document in DOCUMENTS.items():
        spec = document.get("spec", {})
        match document["kind"]:
            case "Service":
                assert spec["selector"].items() <= labels.items(), name
                assert {port["targetPort"] for port in spec["ports"]} <= set(ports), name
            case "PodDisruptionBudget" | "StatefulSet":
                assert spec["selector"]["matchLabels"].items() <= labels.items(), name
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = next(one for one in containers() if one["name"] == "gateway")[probe]["httpGet"]
        assert asked["port"] in ports and asked["path"] in ("/healthz", "/readyz")
    policy = next(one for name, one in DOCUMENTS.items() if name.endswith("NetworkPolicy gateway"))
    let_in = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert let_in == set(ports.values())


def test_the_keys_are_mounted_for_the_signer_alone() -> None:
    holders = {one["name"] for one in containers() for mount in one["volumeMounts"] if mount["name"] == "issuing-ca"}
    holders |= {one["name"] for one in containers() for mount in one["volumeMounts"] if mount["name"] == "signer-keys"}
    assert holders == {"signer-files", "signer"}
    assert "10002" in str(next(one for one in containers() if one["name"] == "signer")["securityContext"])


def test_the_base_configuration_is_one_and_names_only_what_is_mounted() -> None:
    configuration = read_configuration(KUBERNETES / "gateway.toml")
    ports = {port["containerPort"] for one in containers() for port in one.get("ports", [])}
    listening = [*configuration.public.listen, *configuration.certificate.listen, configuration.operations.listen]
    assert {int(address.rpartition(":")[2]) for address in listening} == ports
    mounts = {mount["mountPath"] for one in containers() for mount in one["volumeMounts"]}
    raw = tomllib.loads((KUBERNETES / "gateway.toml").read_text(encoding="utf-8"))
    paths = set(re.findall(r"'(?:file:)?(/[\w./-]+)'", str(raw)))
    # Paths of the legacy backend begin with a slash too.
    for path in paths - {"/login", "/home"}:
        assert any(path.startswith(f"{mount}/") or path == mount for mount in mounts), path


@pytest.mark.needs("nft")
def test_the_firewall_is_one_that_nft_takes() -> None:
    # In a network namespace of its own: even a check asks the kernel.
    file = DEPLOY / "nftables" / "mtls-gateway.nft"
    done = subprocess.run(
        ["unshare", "--net", "/usr/sbin/nft", "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
