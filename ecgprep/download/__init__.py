"""Getting a database: lists of checksums, sources in order, transfers that go on after a stop."""
