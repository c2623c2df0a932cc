"""A signer's world for each test; some tests go through it once with keys in files and once in a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from .world import MODULE, World, make_token


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Keys in files."""
    return World(tmp_path)


@pytest.fixture
def token_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Keys in a token of its own."""
    import pkcs11

    folder = tmp_path / "tokens"
    folder.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    make_token(folder, "signer")
    # The library of this process has read the configuration of the test before.
    pkcs11.lib(str(MODULE)).reinitialize()
    return World(tmp_path, token="signer")


@pytest.fixture(params=["pem", pytest.param("pkcs11", marks=pytest.mark.needs("softhsm2"))])
def either(request: pytest.FixtureRequest) -> World:
    """Both seams, one suite."""
    name = "world" if request.param == "pem" else "token_world"
    made: World = request.getfixturevalue(name)
    return made
