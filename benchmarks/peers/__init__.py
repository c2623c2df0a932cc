"""What a bank would otherwise deploy, set up alike: same keys, same backend, one core, no access log."""
