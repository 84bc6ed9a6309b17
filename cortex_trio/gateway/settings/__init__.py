"""Configuration: what users write, checked once, and the secrets in it. Loads neither httpx nor a connection pool.

config                of a gateway
worker_config         of one worker
fields                checks of single fields
mapping               configuration from JSON or TOML
gateway_settings      the entry of that JSON that is about no worker
aliases               names for lists of models
prices                the table of prices
environment           configuration from environment variables
process_environ       the environment of this process
ollama_probe          whether an Ollama server runs on this machine
secrets               API keys and other values that must not be shown
connection_settings   proxy, TLS context and HTTP version of one worker
proxies               which proxy an address is reached by
"""
