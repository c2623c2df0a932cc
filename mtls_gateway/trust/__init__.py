"""Is this certificate good now?

::

    bundle (the bank's CAs) ─▶ chain (profile, path)     ─┐
    feed ─▶ crl (checked) ─▶ revocation (compiled index) ─┴▶ verdict: Accepted | Refused(code)

In the workers nothing here waits or reads more than a memory-mapped index; ``feed`` runs in the clerk.
"""
