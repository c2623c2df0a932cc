"""Bytes: TLS, HTTP/1.1 on both sides, buffers, time-outs. Knows no user and no table.

A connection's journey::

    listener ─▶ hello ─▶ handshake ─▶ transport ─▶ frontend ─▶ exchange ─▶ backend
    accept,     which    one TLS       a stream     heads,      one request  pooled
    limits      host?    context                    pipeline    and answer   connections

An exchange moves through the table in ``phase``; its request's body is an ``upload``, its answer a
``download``, and after an upgrade a ``tunnel`` takes its place. What goes wrong before a request is
admitted is a ``refusal``; ``deadlines`` finds whoever is too slow.

Which backend it is, ``pool`` chooses; what it knows of them is ``health``, heard from requests and from ``checks``.

``gate`` holds the Protocol that ``signin`` implements: for each request the visitor is asked,
synchronously, whether it may pass. ``live`` knows the open connections by what was admitted on
them, so that they can be cut when that is no longer good.
"""
