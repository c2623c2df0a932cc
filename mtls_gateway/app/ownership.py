"""What root has prepared belongs to the user that the workers become."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from mtls_gateway.config import Configuration
from mtls_gateway.errors import ConfigurationError


def give_state_to_user(configuration: Configuration, path: Path) -> None:
    """Make ``operations.user`` and ``operations.group`` the owners of the state directory; only root can.

    Raises:
        ConfigurationError: there is no such user or group; names ``path``, the file that says so.
    """
    operations = configuration.operations
    if os.geteuid() != 0 or (operations.user is None and operations.group is None):
        return
    try:
        user = -1 if operations.user is None else pwd.getpwnam(operations.user).pw_uid
    except KeyError as error:
        raise ConfigurationError(str(path), "operations.user", f"there is no user {operations.user!r}") from error
    try:
        group = -1 if operations.group is None else grp.getgrnam(operations.group).gr_gid
    except KeyError as error:
        raise ConfigurationError(str(path), "operations.group", f"there is no group {operations.group!r}") from error
    for directory, _, files in os.walk(configuration.state):
        os.chown(directory, user, group)
        for file in files:
            os.chown(Path(directory) / file, user, group, follow_symlinks=False)
