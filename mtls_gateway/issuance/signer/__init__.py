"""The signer: the one process that holds the CA keys. It takes orders and nothing else (clause D.7).

::

    server    who may ask, frames in and out          orders come in over a private unix socket …
    desk      one thread, several orders at a time     … are lined up …
    rules     what may be signed                       … held against the profile …
    journal   what was intended, what was signed       … written down before anything is signed …
    key       key_file, key_pkcs11                      … signed, checked once more, written down, handed out

``profile`` says what certificates contain, ``crl`` what CRLs do, ``der`` writes it down. ``opening`` checks everything
before the first order is taken. ``ceremony`` makes root and issuing CAs, on a machine that is not connected;
``minutes`` is the sheet that is signed there.

Only ``app.signer`` and the commands ``ca`` and ``signer`` may import this package: no other process may hold a key.
"""
