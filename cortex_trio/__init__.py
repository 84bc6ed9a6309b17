"""cortex_trio: a supervised gateway to many LLM providers, embedded in your Trio program."""
