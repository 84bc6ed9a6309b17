"""Which paths are served, and how a base URL may be written."""

import attrs
import pytest
from api_clients import CHAT, IDENTITY, MODEL, ask

from cortex_trio.server.api.ingress import route_of
from cortex_trio.server.exchange import ServedRequest
from cortex_trio.simulator import open_gateway, open_simulator


@pytest.mark.parametrize(
    ("method", "path", "is_served"),
    [
        ("POST", "/v1/chat/completions", True),
        ("GET", "/v1/chat/completions", False),
        ("POST", "/v1/models/m:generateContent", True),
        ("POST", "/v1beta/models/a/b:streamGenerateContent", True),
        ("POST", "/v1beta/models/m:other", False),
        ("GET", "/v1/models", True),
        ("GET", "/v1/models/m", True),
        ("HEAD", "/v1/models", True),
        ("HEAD", "/v1/chat/completions", False),
        ("GET", "/models", True),
        ("GET", "//models/a", True),
        ("POST", "/v1beta/v1beta/models/m:generateContent", True),
        ("POST", "/v1/v1/v1/messages", True),
        ("POST", "/messages/count_tokens", True),
        ("POST", "/v1beta/v1/messages", False),
        ("POST", "/v1/chat/completions/chat/completions", False),
        ("POST", "/openai/deployments/a/b", False),
        ("POST", "/", False),
        ("GET", "//metrics", False),
        ("GET", "/metrics", False),
        ("POST", "/v1/completions", False),
    ],
)
def test_routes(method: str, path: str, is_served: bool) -> None:
    assert (route_of(method, path) is not None) is is_served


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/v1/chat/completions",
        "/openai/v1/chat/completions",
        f"/openai/deployments/openai/{MODEL}/chat/completions",
    ],
)
async def test_a_base_url_may_have_a_part_too_many_or_none(path: str) -> None:
    async with open_simulator() as sim:
        sim.add("groq", models=["other-1"])
        sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            name = "other-1" if "deployments" in path else MODEL
            got = await ask(cortex, attrs.evolve(CHAT.request(model=name), path=path))
    assert (got.status, got.headers["x-cortex-model"]) == (200, MODEL)


async def test_a_head_of_a_list_is_that_of_the_list() -> None:
    listed = ServedRequest(id=IDENTITY, method="GET", path="/v1/models", query={}, headers=(), body=b"")
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, attrs.evolve(listed, method="HEAD"))
            assert got.body == (await ask(cortex, listed)).body
