"""A whole small world to try the gateway in: a bank that knows nothing of it, certificates, users, and a walk.

``bank``       the legacy internet bank, a process of its own; imports nothing of this project
``cast``       companies, users and certificates, one for every case
``material``   all that they need below one directory: ``certificates``, configuration, database
``run``        starts the bank and ``serve``, waits until both answer, ends them again
``guide``      what a person is told: addresses, accounts, how to import the certificates
``client``     an HTTP client over real TLS sockets, as unlike the gateway's own code as the standard library allows
``walk``       every case as a client meets it (``walk_signin``, ``walk_traffic``, ``walk_disturbances``)
``report``     what was expected, what was got
"""
