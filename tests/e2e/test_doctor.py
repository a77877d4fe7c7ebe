import json

from tests.support.cli import Cli


def test_the_doctor_reports_on_this_machine(cli: Cli) -> None:
    done = cli.run("doctor", "--json")
    report = json.loads(done.stdout)
    found = {finding["subject"]: finding for finding in report["findings"]}
    assert found["engine.llamacpp"]["level"] == "ok", found["engine.llamacpp"]
    assert found["disk"]["facts"]["folder"] == str(cli.folder)
    assert done.code == 0 and report["healthy"]


def test_people_read_it_too(cli: Cli) -> None:
    text = cli.run("doctor").stdout.decode()
    assert "cores" in text and "a sync takes" in text
