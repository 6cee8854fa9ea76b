"""`plimsoll render`: what it writes, prints and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.rendering import render
from plimsoll.cli import FAILED, GOOD, main
from support import require_program, said_by

PRESETS = len(load_catalogue().presets)

FILE = Path(__file__).parents[1] / "fixtures" / "alerts" / "pairs" / "in-design.yml"
BAD = Path(__file__).parents[1] / "fixtures" / "alerts" / "bad" / "thresholds.yml"


def tool_path() -> str:
    """Give a PATH on which promtool and amtool are."""
    return str(Path(require_program("promtool")).parent)


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", tool_path())


def contents(output: Path) -> dict[str, str]:
    names = ("rules/alerts.yml", "rules/recording.yml", "alertmanager/alertmanager.yml")
    return {name: (output / name).read_text("utf-8") for name in names}


def test_what_is_written_is_what_the_file_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "rendered"

    assert main(["render", f"--config.file={FILE}", f"--output={output}"]) == GOOD
    version = (output / "current").readlink()
    assert (
        capsys.readouterr().out
        == f"{PRESETS + 1} alerts, 1 overrides, told to default, ops: written as {output}/{version}\n"
    )
    assert contents(output) == render(FILE).files
    said_by(require_program("promtool"), "check", "rules", "--lint=none", output / "rules" / "alerts.yml")
    said_by(require_program("amtool"), "check-config", output / "alertmanager" / "alertmanager.yml")


def test_the_same_file_gives_the_same_text_and_another_another_version() -> None:
    assert render(FILE).files == render(FILE).files
    assert render(FILE).version != render(None).version


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", {"alertmanager": "http://127.0.0.1:9093"}),
        (
            'alertmanager: {urls: ["https://kim:hunter2@a.example.com/am/", "http://b:9093"]}',
            {"alertmanager": "https://a.example.com/am"},
        ),
        (
            'links: {alertmanager: "https://alerts.example.com/", runbooks: "https://wiki.example.com/?v=1"}',
            {"alertmanager": "https://alerts.example.com", "runbooks": "https://wiki.example.com/?v=1"},
        ),
    ],
    ids=["nothing", "urls", "links"],
)
def test_where_the_links_of_dashboards_lead(tmp_path: Path, text: str, labels: dict[str, str]) -> None:
    file = tmp_path / "plimsoll.yml"
    file.write_text(text, "utf-8")
    rendered = render(file).files["rules/alerts.yml"]
    (table,) = [group for group in yaml.safe_load(rendered)["groups"] if group["name"] == "alert_table"]

    (info,) = [rule for rule in table["rules"] if rule["record"] == "plimsoll:links_info"]
    assert info == {"record": "plimsoll:links_info", "expr": "vector(1)", "labels": labels}
    assert "hunter2" not in rendered


def test_check_changes_nothing_and_tells_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rendered"
    assert main(["render", f"--output={output}"]) == GOOD
    before = contents(output)
    capsys.readouterr()

    assert main(["render", "--check", f"--output={output}"]) == GOOD
    assert capsys.readouterr().out == f"{PRESETS} alerts, 0 overrides, told to default: good\n"
    assert main(["render", "--check", f"--config.file={FILE}", f"--output={output}"]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith(f"plimsoll: {output} is not what the file gives; render it anew:\n")
    assert "-          threshold: 20 %\n+          threshold: 30 %\n" in said
    assert contents(output) == before
    assert len(list((output / "versions").iterdir())) == 1


def test_check_without_output_looks_at_the_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render", "--check", f"--config.file={FILE}"]) == GOOD
    assert list(tmp_path.iterdir()) == []
    assert main(["render", "--check", f"--config.file={BAD}"]) == FAILED
    assert capsys.readouterr().err == BAD.with_suffix(".txt").read_text("utf-8").replace("{file}", str(BAD))


def test_a_bad_file_leaves_what_is_there(tmp_path: Path) -> None:
    output = tmp_path / "rendered"
    assert main(["render", f"--config.file={FILE}", f"--output={output}"]) == GOOD
    before = contents(output)

    assert main(["render", f"--config.file={BAD}", f"--output={output}"]) == FAILED
    assert contents(output) == before


def test_what_promtool_refuses_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """We do not parse templates; promtool does."""
    file = tmp_path / "plimsoll.yml"
    file.write_text("alerts: {ContainerDown: {description: '{{ nonsense }}'}}\n", "utf-8")

    assert main(["render", f"--config.file={file}", f"--output={tmp_path}/out"]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith("plimsoll: promtool: ")
    assert 'function "nonsense" not defined' in said
    assert said.endswith("nothing was changed\n")
    assert not (tmp_path / "out").exists()


def test_without_the_programs_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["render", "--check"]) == GOOD
    assert capsys.readouterr().out.splitlines()[1:] == [
        "(not checked with promtool, which is not on PATH)",
        "(not checked with amtool, which is not on PATH)",
    ]


def test_a_directory_that_is_somebody_elses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules").mkdir()
    assert main(["render", f"--output={tmp_path}"]) == FAILED
    assert f"plimsoll: {tmp_path}/rules is there already and not made by plimsoll" in capsys.readouterr().err


def test_the_resource_of_kubernetes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", f"--config.file={FILE}", "--format=prometheusrule"]) == GOOD
    resource = yaml.safe_load(capsys.readouterr().out)

    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    files = render(FILE).files
    groups = [
        group
        for name in ("recording", "alerts")
        for group in yaml.safe_load(files[f"rules/{name}.yml"])["groups"]
    ]
    assert resource["spec"]["groups"] == groups
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(resource["spec"]), "utf-8")
    said_by(require_program("promtool"), "check", "rules", "--lint=none", rules)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output is required, unless --check or --format=prometheusrule is given"),
        (
            ["--check", "--reload"],
            "--reload stands neither beside --check nor beside --format=prometheusrule",
        ),
        (["--format=prometheusrule", "--reload"], "--reload stands neither beside --check"),
        (["--format=json"], "invalid choice: 'json'"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
