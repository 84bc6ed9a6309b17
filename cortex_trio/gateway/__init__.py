"""How a request becomes an answer. All files, in the order in which they are best read:

configuration       config, worker_config, fields (one setting each), mapping, environment, process_environ; secrets,
                    ollama_probe; options (of one call)
a request's way     cortex → stream → failover → admission → attempt → transport
  … as jobs         jobs (chat, continuation, embeddings), dialects (the border to them), whole, overlap
  … who is asked    selection, strategies, roster; plan (who is next), retries; verdict (when no worker answered)
  … what came back  content_encoding (packed bodies), error_response (a status and a body, as a Failure)
who may be asked    worker, endpoint, breaker, keys, registry; cooldowns (what is not asked, until when), openings (who
                    waits for that); status and health
the house           tree (who watches over it), runtime (what all share), calls, changes (who comes and goes), flat
the way out         way (proxy, CAs, HTTP/2), proxies, trust (TLS contexts), redirects, foreign_transport (of httpx, or
                    of the user's), transport_failures (what an exception proves), causes (why there is no connection)
HTTP                transport, pooled_transport, pool, exchange, http1, watchdog (deadlines)
  … and below it    network, sockets, tls
"""
