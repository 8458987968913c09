"""What knows nothing of adapters: errors, settings, linear algebra, bootstrap, strangers' files, background jobs."""
