"""Images that clients send before a worker with another API: what a browser would show is read, the rest is named."""

import pytest
from api_clients import CHAT, MODEL, ask

from cortex_trio.simulator import open_gateway, open_simulator


@pytest.mark.parametrize(
    ("image", "media_type"),
    [
        ({"url": "data:image/png;base64,iVBO\r\n Rw0K\n"}, "image/png"),
        ({"url": "data:image/png;base64,iVBORw0"}, "image/png"),
        ({"url": "data:image/png;name=a b.png;base64,iVBORw=="}, "image/png"),
        ({"url": "data:image/jpg;base64,iVBORw=="}, "image/jpeg"),
        ("data:image/png;base64,iVBORw==", "image/png"),
    ],
    ids=range(5),
)
async def test_an_image_is_read_as_a_browser_reads_it(image: object, media_type: str) -> None:
    content = [{"type": "image_url", "image_url": image}]
    async with open_simulator() as sim:
        gemini = sim.add("gemini", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(messages=[{"role": "user", "content": content}]))
    assert got.status == 200, got.body
    [part] = gemini.requests[0].body["contents"][0]["parts"]
    assert part["inlineData"]["mimeType"] == media_type
    assert part["inlineData"]["data"].startswith("iVBOR")


@pytest.mark.parametrize(
    ("image", "place"),
    [
        ({"url": "data:image/png;base64,iVBOR"}, "image_url.url"),
        ({"url": "data:image/png;base64,!"}, "image_url.url"),
        ({"url": "data:image/png,iVBORw=="}, "image_url.url"),
        ({"url": "https://example.org/a.png", "detail": "much"}, "image_url.detail"),
    ],
    ids=range(4),
)
async def test_an_image_that_is_none_is_named(image: object, place: str) -> None:
    content = [{"type": "image_url", "image_url": image}]
    async with open_simulator() as sim:
        sim.add("gemini", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(messages=[{"role": "user", "content": content}]))
    assert got.status == 400
    assert f"'messages[0].content[0].{place}'" in CHAT.error_message(got.json)
