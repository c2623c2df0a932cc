"""mail: what was posted goes out.

==========  ================================================================
texts       what each mail says, Japanese first and English below
message     the mail as it goes over the wire; its Message-ID never changes
server      SMTP: accepted, refused, not now, or the server is away
postman     takes from the outbox, sends, writes down how that ended
ports       what it asks of the outbox
==========  ================================================================

aiosmtplib only in ``server``. The room knows no rule of when something is said: see ``issuance.notices``.
"""
