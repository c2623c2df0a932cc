"""Alembic's script directory; run by ``mtls_gateway.store.migration``, not by the ``alembic`` command."""
