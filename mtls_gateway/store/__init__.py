"""store: rows.

One file per table family; ``engine`` alone knows which database it is, ``schema`` which tables. Every write that
workers must hear of appends its line to ``changes`` in the same transaction, every operator's deed one to ``audit``.

Open it with :func:`mtls_gateway.store.opening.open_store`, after ``migration.migrate`` has been run once.
"""
