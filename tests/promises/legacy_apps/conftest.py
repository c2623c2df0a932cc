"""One running instance of each application for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.promises.legacy_apps.application import LegacyApplication
from tests.promises.legacy_apps.django_admin import running_django
from tests.promises.legacy_apps.tomcat import running_tomcat


@pytest.fixture(scope="session")
def tomcat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyApplication]:
    with running_tomcat(tmp_path_factory.mktemp("legacy")) as application:
        yield application


@pytest.fixture(scope="session")
def django_admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyApplication]:
    with running_django(tmp_path_factory.mktemp("legacy")) as application:
        yield application
