"""Files in a request: a picture and a PDF. A worker whose provider takes no PDF is skipped.

The first worker that takes both breaks off in the middle, and the next one answers. `from_path` finds the media type.
An empty file, or a picture that is none, is an error before anything is sent. Runs on simulated providers in memory:
no API keys, no network.
"""

import base64
import tempfile
from pathlib import Path

import trio

from cortex_trio import File, Image, InvalidRequest, open_cortex, user
from cortex_trio.simulator import Behaviour, open_simulator

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plot, report, empty = (Path(folder) / name for name in ("plot.png", "report.pdf", "empty.pdf"))
        plot.write_bytes(PIXEL)
        report.write_bytes(b"%PDF-1.7 ...")
        empty.touch()
        question = user("Does the plot fit the report?", Image.from_path(plot), File.from_path(report))
        try:
            File.from_path(empty)
        except InvalidRequest as error:
            print(error)

    async with open_simulator() as simulator:
        simulator.add("groq", Behaviour(text="groq has no field for a PDF, so it is not asked."))
        simulator.add("anthropic", Behaviour(text="It fits the rep", cut_after=3))
        simulator.add("gemini", Behaviour(text="It fits the report."))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            reply = await cortex.complete([question])

        print(f"{reply.worker}: {reply.text}")
        print("asked:", ", ".join(attempt.worker for attempt in reply.attempts))
        sent = simulator["gemini"].requests[-1].body["contents"][0]["parts"]
        print("sent:", ", ".join(part["inlineData"]["mimeType"] for part in sent if "inlineData" in part))


if __name__ == "__main__":
    trio.run(main)
