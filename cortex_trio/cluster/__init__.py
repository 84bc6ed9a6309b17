"""State that several processes share: the protocol of a store, in memory, and in Valkey. Knows no gateway."""
