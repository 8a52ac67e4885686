"""Targets of the figures on the screens: `ctr=3%,fcr=70%,tickets_waiting=20`. Pure."""

_RATIO, _COUNT = (1.0, "3%"), (1e9, "100")
TARGETED = {
    "ctr": _RATIO,
    "bounce_rate": _RATIO,
    "conversion_rate": _RATIO,
    "fcr": _RATIO,
    "active_sessions": _COUNT,
    "tickets_waiting": _COUNT,
}
"""What may have a target, with the highest there can be and an example."""


def parse_targets(text: str) -> dict[str, float]:
    """Targets by name; ratios become fractions. ValueError says what is wrong."""
    targets = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, _, number = (part.strip() for part in pair.partition("="))
        if name not in TARGETED:
            raise ValueError(f"'{name}' has no target; there are {', '.join(TARGETED)}")
        most, example = TARGETED[name]
        try:
            target = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
        except ValueError:
            target = -1.0
        if not 0 <= target <= most:
            raise ValueError(f"'{pair}' is not a target; write one like {name}={example}")
        targets[name] = target
    return targets
