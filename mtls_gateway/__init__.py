"""mtls-gateway: a mutual-TLS authenticating reverse proxy for a bank that stays unchanged."""

__version__ = "0.1.0"
