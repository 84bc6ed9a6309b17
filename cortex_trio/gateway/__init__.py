"""How a request becomes an answer. All files, in the order in which they are best read:

what we are told    config, worker_config, fields (one setting each), mapping, environment; secrets, ollama_probe;
                    options (of one call)
a request's way     cortex → stream → failover → admission → attempt → transport
  … as jobs         jobs (chat, continuation, embeddings), dialects (the border to them), whole, overlap
  … who is asked    selection, strategies, roster; plan (who is next), retries; verdict (when nobody answered)
who may be asked    worker, breaker, keys, registry: the actors; status and health: how they are
the house           tree (who watches over it), runtime (what all share), calls, changes (who comes and goes), flat
 the way out         way (proxy, CAs, HTTP/2), proxies, trust, redirects, transport_failures
HTTP                transport, pooled_transport, pool, exchange, http1, watchdog (deadlines)
  … and below it     network, sockets, tls, causes (why there is no connection)
"""
