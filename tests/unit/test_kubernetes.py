"""The manifests of docs/kubernetes fit the schemas of their kinds, and what they name exists."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests import FOLDER, ROOT, Manifest, built, complaints, name_of, with_component
from plimsoll.alerts.merging import OWN_GROUP
from plimsoll.alerts.rendering import Rendered, prometheus_rule, render
from plimsoll.cli import main
from plimsoll.cli.arguments import GOOD
from plimsoll.relay.settings import load_settings as load_relay_settings
from plimsoll.serve import self_metrics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.settings import load_settings

PAGE = (ROOT / "docs/kubernetes.md").read_text("utf-8")
IMAGE = (ROOT / "exporter/Dockerfile").read_text("utf-8")
CONFIG = FOLDER / "plimsoll.yml"
PROGRAMS = {"plimsoll": FOLDER, "plimsoll-relay": FOLDER / "relay"}
"""The folder of each, by its name."""

MOST_BYTES = 256 * 1024
"""Of all annotations; `kubectl apply` puts the whole manifest into one."""


def snippet(name: str) -> str:
    """Give a block of the page, by the comment before it."""
    found = re.search(rf"^( *)<!-- {name} -->\n *```\w+\n(.*?)\n *```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return re.sub(f"^{found[1]}", "", found[2], flags=re.MULTILINE)


def read(file: str, folder: Path = FOLDER) -> Any:
    return yaml.safe_load((folder / file).read_text("utf-8"))


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render(CONFIG)


@pytest.fixture(scope="module")
def installed(rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder as the page says to fill it."""
    checkout = tmp_path_factory.mktemp("checkout")
    folder = checkout / "docs" / "kubernetes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets", "prometheusrule.yaml"))
    shutil.copytree(ROOT / "grafana/dashboards", checkout / "grafana/dashboards")
    shutil.copy(ROOT / "grafana/kustomization.yaml", checkout / "grafana")
    for secrets in ("secrets", "relay secrets"):
        subprocess.run(["sh", "-euc", snippet(secrets)], cwd=folder, check=True)
    (folder / "prometheusrule.yaml").write_text(prometheus_rule(rendered), "utf-8")
    return folder


@pytest.fixture(scope="module")
def manifests(installed: Path) -> dict[str, Manifest]:
    """Give all of them by kind and name."""
    found = {name_of(manifest): manifest for manifest in built(installed)}
    assert len(found) == 17
    return found


@pytest.fixture(scope="module")
def relayed(installed: Path, manifests: dict[str, Manifest]) -> dict[str, Manifest]:
    """Give all of them with the relay."""
    found = {
        name_of(manifest): manifest for manifest in with_component(manifests.values(), installed / "relay")
    }
    assert len(found) == 23
    return found


@pytest.fixture(params=PROGRAMS)
def folder(request: pytest.FixtureRequest) -> Path:
    """Give the folder of the exporter, and then of the relay."""
    return PROGRAMS[request.param]


@pytest.fixture
def pod(folder: Path) -> dict[str, Any]:
    """Give what the deployment runs."""
    spec: dict[str, Any] = read("deployment.yaml", folder)["spec"]["template"]["spec"]
    return spec


# --- Schemas ----------------------------------------------------------------------------------------------


def test_every_manifest_fits_the_schema_of_its_kind(
    manifests: dict[str, Manifest], relayed: dict[str, Manifest]
) -> None:
    patched = relayed["AlertmanagerConfig plimsoll"]
    own = [manifest for name, manifest in relayed.items() if name not in manifests]
    assert complaints([*manifests.values(), patched, *own]) == {}


def test_mistakes_are_found(manifests: dict[str, Manifest]) -> None:
    """Otherwise that nothing is found says nothing."""
    monitor = json.loads(json.dumps(manifests["ServiceMonitor plimsoll"]))
    monitor["spec"]["endpoints"][0] |= {"intervall": "30s", "scrapeTimeout": "ten seconds"}
    deployment = json.loads(json.dumps(manifests["Deployment plimsoll"]))
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readonly"] = True
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "bad"}}
    found = complaints([monitor, deployment, {**rule, "spec": {"groups": [{"rules": [{"alert": "A"}]}]}}])
    assert "scrapeTimeout" in found["ServiceMonitor plimsoll"][0]
    assert found["Deployment plimsoll"] == [
        "/spec/template/spec/containers/0/securityContext/readonly is unknown"
    ]
    assert "must have required property" in found["PrometheusRule bad"][0]
    monitor["spec"]["endpoints"][0]["scrapeTimeout"] = "10s"
    assert complaints([monitor]) == {"ServiceMonitor plimsoll": ["/spec/endpoints/0/intervall is unknown"]}


def test_each_is_small_enough_to_be_applied(manifests: dict[str, Manifest]) -> None:
    sizes = {name: len(json.dumps(manifest)) for name, manifest in manifests.items()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


# --- Exporter and relay -----------------------------------------------------------------------------------


def test_each_is_locked_up(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE)
    assert (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"])) == user
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_each_takes_its_arguments(pod: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (container,) = pod["containers"]
    with pytest.raises(SystemExit) as ended:
        main([*container["args"], "--help"])
    assert ended.value.code == 0
    flags = [argument.partition("=")[0] for argument in container["args"][1:]]
    known = capsys.readouterr().out
    assert [flag for flag in flags if f"  {flag} " not in known] == []


def test_everybody_means_the_same_port(pod: dict[str, Any], folder: Path) -> None:
    (container,) = pod["containers"]
    (port,) = container["ports"]
    assert f"--web.listen-address=:{port['containerPort']}" in container["args"]
    assert str(port["containerPort"]) in re.findall(r"^EXPOSE (.*)$", IMAGE, re.MULTILINE)[0].split()
    (of_service,) = read("service.yaml", folder)["spec"]["ports"]
    assert (of_service["port"], of_service["targetPort"]) == (port["containerPort"], port["name"])
    (endpoint,) = read("servicemonitor.yaml", folder)["spec"]["endpoints"]
    assert endpoint["port"] == of_service["name"]
    probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    }
    assert {probe["port"] for probe in probes.values()} == {port["name"]}


def test_who_is_chosen_has_the_labels(folder: Path) -> None:
    files = ("deployment.yaml", "service.yaml", "servicemonitor.yaml")
    deployment, service, monitor = (read(file, folder) for file in files)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


@pytest.mark.parametrize("folder", ["plimsoll"], indirect=True)
def test_the_exporter_finds_its_files(
    pod: dict[str, Any], manifests: dict[str, Manifest], tmp_path: Path
) -> None:
    (container,) = pod["containers"]
    config, servers = pod["volumes"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (name,) = manifests[f"ConfigMap {config['configMap']['name']}"]["data"]
    assert f"--config.file={places[config['name']]}/{name}" in container["args"]
    (key,) = manifests[f"Secret {servers['secret']['secretName']}"]["data"]
    (server,) = read("plimsoll.yml")["postgres"]["servers"]
    assert server["dsn_file"] == f"{places[servers['name']]}/{key}"
    (tmp_path / key).write_text("postgresql://plimsoll@db/postgres")
    (tmp_path / name).write_text(CONFIG.read_text("utf-8").replace(places[servers["name"]], str(tmp_path)))
    assert [server.name for server in load_settings(tmp_path / name).servers] == ["main"]


@pytest.mark.parametrize("folder", ["plimsoll-relay"], indirect=True)
def test_the_relay_finds_its_files(
    pod: dict[str, Any], relayed: dict[str, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = pod["containers"]
    config, secrets = pod["volumes"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    ((name, text),) = relayed[f"ConfigMap {config['configMap']['name']}"]["data"].items()
    assert f"--config.file={places[config['name']]}/{name}" in container["args"]
    for source in secrets["projected"]["sources"]:
        for key, content in relayed[f"Secret {source['secret']['name']}"]["data"].items():
            (tmp_path / key).write_bytes(base64.b64decode(content))
    for variable in container["env"]:
        origin = variable["valueFrom"]["secretKeyRef"]
        value = base64.b64decode(relayed[f"Secret {origin['name']}"]["data"][origin["key"]]).decode()
        monkeypatch.setenv(variable["name"], value)
    (tmp_path / name).write_text(text.replace(places[secrets["name"]], str(tmp_path)))

    settings = load_relay_settings(tmp_path / name)

    assert settings.receivers["default"].url == "https://hooks.example.com/all"
    assert settings.receivers["default"].is_signed
    assert settings.history


def test_alertmanager_posts_to_the_relay_as_render_would_have_it(
    relayed: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_URL", "https://hooks.example.com/all")
    files = render(FOLDER / "relay" / "plimsoll.yml").files
    (usual,) = yaml.safe_load(files["alertmanager/alertmanager.yml"])["receivers"]
    (posted,) = usual["webhook_configs"]
    (receiver,) = relayed["AlertmanagerConfig plimsoll"]["spec"]["receivers"]
    (webhook,) = receiver["webhookConfigs"]
    assert (receiver["name"], webhook["url"], webhook["sendResolved"]) == (
        usual["name"],
        posted["url"],
        posted["send_resolved"],
    )
    token = webhook["httpConfig"]["authorization"]["credentials"]
    assert Path(posted["http_config"]["authorization"]["credentials_file"]).name == token["key"]
    assert token["key"] in relayed[f"Secret {token['name']}"]["data"]
    service = relayed["Service plimsoll-relay"]
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert webhook["url"].startswith(f"http://{address}/")


def test_the_relay_is_added_where_the_page_says() -> None:
    text = (FOLDER / "kustomization.yaml").read_text("utf-8")
    assert "components" not in yaml.safe_load(text)
    uncommented = text.replace("# components:", "components:").replace("#   - relay", "  - relay")
    (component,) = yaml.safe_load(uncommented)["components"]
    assert read("kustomization.yaml", FOLDER / component)["kind"] == "Component"


def test_the_labels_that_the_operator_adds_are_free() -> None:
    """Otherwise ours would be renamed, to `exported_…`."""
    families = [family for collector in COLLECTORS for family in collector.families] + [
        *self_metrics.FAMILIES
    ]
    ours = {label for family in families for label in family.labels}
    assert ours & {"container", "endpoint", "instance", "job", "namespace", "pod", "service"} == set()


# --- Rules and routes -------------------------------------------------------------------------------------


def test_the_rules_know_the_job(folder: Path) -> None:
    rules = (ROOT / "rules/recording.yml").read_text("utf-8")
    assert f'up{{job="{read("service.yaml", folder)["metadata"]["name"]}"}}' in rules
    assert "jobLabel" not in read("servicemonitor.yaml", folder)["spec"]


def test_the_scrape_is_that_of_the_rules(folder: Path) -> None:
    usual = yaml.safe_load((ROOT / "rules/prometheus.yml").read_text("utf-8"))["global"]
    (endpoint,) = read("servicemonitor.yaml", folder)["spec"]["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (
        usual["scrape_interval"],
        usual["scrape_timeout"],
    )


def test_the_commands_of_the_page_are_taken(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check, rendering, apply = snippet("apply").splitlines()
    monkeypatch.chdir(installed)
    assert main(check.split()[1:]) == GOOD
    capsys.readouterr()
    command, _, file = rendering.partition(" > ")
    assert main(command.split()[1:]) == GOOD
    assert capsys.readouterr().out == (installed / file).read_text("utf-8")
    assert apply == "kubectl apply --kustomize ."


def matchers(text: list[str]) -> list[dict[str, str]]:
    """Write Alertmanager's matchers as the operator has them."""
    parts = [re.fullmatch(r'(\w+)(=~|!=|!~|=)"(.*)"', matcher) for matcher in text]
    return [{"name": part[1], "matchType": part[2], "value": part[3]} for part in parts if part]


def test_the_routes_are_what_render_writes(rendered: Rendered, manifests: dict[str, Manifest]) -> None:
    config = yaml.safe_load(rendered.files["alertmanager/alertmanager.yml"])
    spec = read("alertmanagerconfig.yaml")["spec"]
    route = config["route"]
    assert {key: value for key, value in spec["route"].items() if key != "matchers"} == {
        "receiver": route["receiver"],
        "groupBy": route["group_by"],
        "groupWait": route["group_wait"],
        "groupInterval": route["group_interval"],
        "repeatInterval": route["repeat_interval"],
    }
    assert spec["inhibitRules"] == [
        {
            "sourceMatch": matchers(rule["source_matchers"]),
            "targetMatch": matchers(rule["target_matchers"]),
            "equal": rule["equal"],
        }
        for rule in config["inhibit_rules"]
    ]
    (receiver,) = spec["receivers"]
    (webhook,) = receiver["webhookConfigs"]
    (usual,) = config["receivers"]
    assert (receiver["name"], webhook["sendResolved"]) == (
        usual["name"],
        usual["webhook_configs"][0]["send_resolved"],
    )
    assert webhook["urlSecret"]["key"] in manifests[f"Secret {webhook['urlSecret']['name']}"]["data"]


def test_the_route_takes_every_alert_of_ours(rendered: Rendered) -> None:
    assert read("alertmanagerconfig.yaml")["spec"]["route"]["matchers"] == matchers(['category=~".+"'])
    rules = [rule for group in rendered.groups for rule in group["rules"] if "alert" in rule]
    assert [rule["alert"] for rule in rules if not rule["labels"].get("category")] == []
    assert OWN_GROUP, "an alert without a preset has this one"


def test_alertmanager_takes_what_the_page_says() -> None:
    alertmanager = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Alertmanager",
        "metadata": {"name": "main"},
    }
    assert complaints([{**alertmanager, "spec": yaml.safe_load(snippet("alertmanager"))}]) == {}


# --- Dashboards -------------------------------------------------------------------------------------------


def test_every_dashboard_is_one_that_the_sidecar_finds(manifests: dict[str, Manifest]) -> None:
    found = [each for name, each in manifests.items() if name.startswith("ConfigMap plimsoll-dashboard-")]
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in found} == {"1"}
    given = {name: text for each in found for name, text in each["data"].items()}
    files = (ROOT / "grafana/dashboards").glob("*.json")
    assert given == {file.name: file.read_text("utf-8") for file in files}


# --- The page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)", PAGE))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


def test_every_file_is_told_of() -> None:
    files = {file.name for file in FOLDER.iterdir() if file.is_file()} - {"kustomization.yaml", ".gitignore"}
    assert {file for file in files if f"`{file}`" not in PAGE} == set()
