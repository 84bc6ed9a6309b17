"""flake8-async is run on every file in which one of its enabled rules can be broken, and on few others."""

import pytest
from async_files import can_break_a_rule

BROKEN = {
    "yield in a nursery": "async def f():\n  async with trio.open_nursery():\n    yield",
    "yield in a scope": "def f():\n  with trio.CancelScope():\n    if x:\n      yield 1",
    "yield from": "def f():\n  with trio.CancelScope():\n    yield from x",
    "another decorator": "@final\nasync def f():\n  with x:\n    yield",
    "a fixture of another name": "@pytest_trio.trio_fixture\nasync def f():\n  with x:\n    yield",
    "an inner function": "@asynccontextmanager\nasync def f():\n  async def g():\n    with x:\n      yield",
    "a method": "class C:\n  async def f(self):\n    with x:\n      yield",
    "await in finally": "async def f():\n  try:\n    x()\n  finally:\n    if x:\n      await y()",
    "async with in finally": "async def f():\n  try:\n    x\n  except* X:\n    y\n  finally:\n    async with y: z",
    "async for in finally": "async def f():\n  try:\n    x()\n  finally:\n    async for x in y:\n      z()",
    "aclose that waits": "async def f():\n  try:\n    x()\n  finally:\n    await x.aclose(1)",
    "aexit": "class C:\n  async def __aexit__(self, *_):\n    await x()",
    "bare except": "try:\n  x()\nexcept:\n  y()",
    "bare except with a comment": "try:\n  x()\nexcept : # all\n  y()",
    "BaseException": "try:\n  x()\nexcept BaseException:\n  y()",
    "Cancelled in a tuple": "try:\n  x()\nexcept (\n  X,\n  trio.Cancelled,\n):\n  y()",
    "another name": "from trio import Cancelled as C\ntry:\n  x()\nexcept C:\n  y()",
    "get_cancelled_exc_class": "try:\n  x()\nexcept get_cancelled_exc_class():\n  y()",
    "one way does not raise": "try:\n  x()\nexcept trio.Cancelled:\n  if x:\n    raise",
    "one way returns": "def f():\n  try:\n    x()\n  except BaseException:\n    if y:\n      return\n    raise",
    "another error": "try:\n  x()\nexcept BaseException:\n  raise X",
    "a checkpoint": "async def f():\n  try:\n    x()\n  except BaseException:\n    await y()\n    raise",
}
SAFE = {
    "context manager": "@contextlib.asynccontextmanager\nasync def f():\n  async with x:\n    yield",
    "fixture": "@pytest.fixture(scope='module')\nasync def f():\n  async with x:\n    yield",
    "yield after with": "async def f():\n  with x:\n    y()\n  yield",
    "aclose": "async def f():\n  try:\n    x()\n  finally:\n    await x.aclose()",
    "finally that does not wait": "async def f():\n  try:\n    await x()\n  finally:\n    y()",
    "raises again": "async def f():\n  try:\n    await x()\n  except BaseException:\n    y()\n    raise",
    "another handler": "async def f():\n  try:\n    await x()\n  except Exception:\n    return",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_can_break_a_rule_is_checked(text: str) -> None:
    assert can_break_a_rule(text)


@pytest.mark.parametrize("text", SAFE.values(), ids=SAFE)
def test_a_file_that_cannot_is_not(text: str) -> None:
    assert not can_break_a_rule(text)
