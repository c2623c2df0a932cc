"""What gunicorn asks for its settings, and each process for its generation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from mtls_gateway.app.generation import Generation
from mtls_gateway.app.listening import addresses
from mtls_gateway.app.role import RoleWorker
from mtls_gateway.config import Configuration

if TYPE_CHECKING:
    from mtls_gateway.app.arbiter import RoleArbiter


class GatewayApplication(BaseApplication):
    """``roles`` says which processes a configuration wants, the gateway workers first."""

    def __init__(self, generation: Generation, roles: Callable[[Configuration], list[type[RoleWorker]]]) -> None:
        self.generation = generation
        self._roles = roles
        super().__init__()

    @property
    def roles(self) -> list[type[RoleWorker]]:
        """The roles to fork, each as often as the generation wants it."""
        return self._roles(self.generation.configuration)

    def load_config(self) -> None:
        """Translate the configuration into gunicorn's settings."""
        configuration = self.generation.configuration
        operations = configuration.operations
        settings: dict[str, object] = {
            "bind": addresses(configuration),
            "workers": len(self.roles),
            "worker_class": RoleWorker,
            "timeout": operations.worker_timeout,
            "graceful_timeout": int(configuration.timeouts.drain) + 5,
            "proc_name": "mtls-gateway",
            "pidfile": str(self.pid_file(configuration.state)),
            "control_socket_disable": True,
            "backlog": 2048,
            # The portal's socket is for this user only.
            "umask": 0o177,
            "post_fork": _let_go,
            "child_exit": _note_exit,
            "loglevel": "info",
        }
        if operations.user is not None:
            settings["user"] = operations.user
        if operations.group is not None:
            settings["group"] = operations.group
        for name, value in settings.items():
            self.cfg.set(name, value)

    def take_up(self, generation: Generation) -> None:
        """Go on with another generation."""
        self.generation = generation
        self.load_default_config()
        self.load_config()

    @staticmethod
    def pid_file(state: Path) -> Path:
        """Where the master writes its process ID."""
        return state / "run" / "master.pid"

    def load(self) -> Any:
        """There is no WSGI application; gunicorn wants something to hold."""
        return self


def _let_go(arbiter: RoleArbiter, worker: RoleWorker) -> None:
    arbiter.forked(worker)


def _note_exit(arbiter: RoleArbiter, worker: RoleWorker) -> None:
    arbiter.note_exit(worker)
