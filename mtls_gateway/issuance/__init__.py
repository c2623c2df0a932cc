"""issuance: a certificate's life.

``code`` makes and reads the enrolment codes that begin it. ``letter`` says what the procedure letter that brings one
contains, ``letter_printer`` makes the PDF by ``letter_layout``, ``typesetting`` and ``typeface``. ``validity`` says how
long a certificate lasts, ``business_days`` when the bank is open next. ``development_ca`` issues certificates from keys
in plain files, for development and demonstrations; ``development_profiles`` says what they contain.

``signer`` is the process that holds the CA keys; everybody else knows only ``orders``, what it is asked for, and
``signer_client``, how it is reached over its socket.
"""
