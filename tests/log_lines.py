"""What Python prints to stderr, without a logging configuration, when a provider of a program fails as it should."""

import re

LOG_LINE = re.compile(
    r"^(?:worker \w+ is (?:unavailable|rate_limited|quota_exceeded) \(\w+\)|call failed: .*)\n", re.MULTILINE
)
