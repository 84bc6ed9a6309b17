"""Types as JSON Schemas, and JSON as values of these types. Knows no provider and no gateway."""
