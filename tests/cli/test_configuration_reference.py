from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mtls_gateway.cli.configuration_reference import reference
from mtls_gateway.config import read_configuration

from .conftest import Command

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_model_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference(), (
        "write it anew: mtls-gateway config-reference > docs/configuration.md"
    )


def test_the_example_is_a_configuration() -> None:
    configuration = read_configuration(ROOT / "conf" / "gateway.toml")
    assert configuration.public.authority == "ib.localhost:8443"


def test_what_the_example_has_commented_out_is_a_default_that_can_be_given() -> None:
    text = (ROOT / "conf" / "gateway.toml").read_text(encoding="utf-8")
    given = re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    assert given != text
    from mtls_gateway.config import validate_configuration

    validate_configuration(tomllib.loads(given), ROOT / "conf" / "gateway.toml")


def test_a_page_that_is_out_of_date_is_refused(command: Command, tmp_path: Path) -> None:
    page = tmp_path / "configuration.md"
    page.write_text("old")
    assert "is not what the model says" in command("config-reference", "--check", page).err
    page.write_text(reference(), encoding="utf-8")
    assert command("config-reference", "--check", page).status == 0
