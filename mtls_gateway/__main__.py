"""``python -m mtls_gateway``: the same as the command ``mtls-gateway``."""

from mtls_gateway.cli import main

if __name__ == "__main__":
    main()
