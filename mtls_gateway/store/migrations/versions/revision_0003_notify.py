"""PostgreSQL tells its listeners of new lines in the feed; SQLite has nobody to tell."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        """
        CREATE FUNCTION mtls_gateway_notify() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('mtls_gateway_changes', '');
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        "CREATE TRIGGER mtls_gateway_notify AFTER UPDATE ON feed "
        "FOR EACH STATEMENT EXECUTE FUNCTION mtls_gateway_notify()"
    )
