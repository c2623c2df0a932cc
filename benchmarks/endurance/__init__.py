"""Endurance: what must hold for minutes under load while everything is changed, or killed (clauses E.1 and E.4).

``changes``: reloads, upgrades, new host keys and CRLs, and not one failed request. ``kills``: any process dies every
two seconds, and nothing that was acknowledged is lost. Both are bounded in count and time; the last line of each is
JSON.
"""
