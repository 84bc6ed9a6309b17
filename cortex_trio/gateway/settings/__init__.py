"""Configuration: what users write, checked once, and the secrets in it.

config                what a gateway is made from
worker_config         … and each worker
fields                checks of single settings
mapping               configuration from JSON or TOML
environment           … from environment variables; process_environ reads this process's own
ollama_probe          whether an Ollama server runs on this machine
secrets               API keys and other values that must not show
connection_settings   proxy, TLS context and HTTP version of one worker; proxies finds the proxy
"""
