"""Which fraction a metric is read with: the settings' choice, or the one a query asks for."""

from stream.core.catalogue import BOUNCE_RULES, Fraction, Metric, conditions_of, fcr_key
from stream.settings import Settings


def default_key(metric: Metric, settings: Settings) -> str | None:
    """The key of the definition that the settings choose; None for a metric with only one."""
    if metric.choice == "bounce":
        return settings.bounce
    if metric.choice == "fcr":
        return fcr_key(conditions_of(settings.fcr_conditions))
    return None


def asked_key(metric: Metric, text: str) -> str:
    """The key of the definition that a parameter's value names; ValueError lists them."""
    if metric.choice == "fcr":
        return fcr_key(conditions_of(text))
    if text not in BOUNCE_RULES:
        raise ValueError(f"'{text}' is not one of {', '.join(BOUNCE_RULES)}")
    return text


def fraction_of(metric: Metric, key: str | None) -> Fraction:
    """The fraction under a definition's key."""
    return metric.fraction if key is None else metric.definitions[key]


def default_fraction(metric: Metric, settings: Settings) -> Fraction:
    """The fraction that the settings choose."""
    return fraction_of(metric, default_key(metric, settings))
