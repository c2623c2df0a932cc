"""Who may pass: from a certificate to a user, a company, its method, a session.

In the workers::

    gate ─▶ visitor ─┬▶ guard ─▶ readings     where does the path lead (the legacy login in every spelling)
                     │       └─▶ parameters   … where only a parameter of the query or form tells
                     ├▶ person ─┬▶ shown      what does ``trust`` say of the certificate
                     │          ├▶ identity   certificate → user → company ─▶ method: may it sign in so
                     │          └▶ session    token → session, bound to the certificate
                     └▶ seal, context         what the backend, the browser and the portal are told
    follow ─▶ knowledge (identity, session)   the changes feed: forget, look again, cut

In the portal: ``sign_in`` (one password attempt from start to session), ``lockout``, ``legacy_form``,
``local_passwords``; in both ``session_backend``. ``ports`` is all that this room asks of the store and of the network.
"""
