"""One file per migration, never changed once it was released."""
