"""Settings: all faults at once, one line each, durations, and faults between settings."""

import pytest

from stream.core.durations import format_duration, parse_duration
from stream.core.rules import Rules
from stream.settings import SettingsError, load_settings

DAY = 86_400_000


@pytest.fixture
def env(monkeypatch):
    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"STREAM_{name}", value)

    return put


def faults(**options):
    with pytest.raises(SettingsError) as caught:
        load_settings(options)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_the_defaults_are_sound_and_those_of_the_rules():
    settings = load_settings()
    assert settings.rules() == Rules()
    assert (settings.kafka, settings.redis_url) == ("127.0.0.1:9092", "redis://127.0.0.1:6379/0")
    assert (settings.partitions, settings.kafka_session_timeout) == (4, 10_000)


def test_all_faults_are_told_at_once_one_line_each(env):
    env(PARTITIONS="none", TIMEZONE="Mars/Base", BOUNCE="often", HTTP_PORT="0")
    env(SESSION_TIMEOUT="half an hour", METRICS_WINDOWS="5m,3m", GROUP="a b", SESSION_SPLIT="noon")
    told = faults()
    assert [line.split(":")[0] for line in told] == [
        "STREAM_BOUNCE",
        "STREAM_GROUP",
        "STREAM_HTTP_PORT",
        "STREAM_METRICS_WINDOWS",
        "STREAM_PARTITIONS",
        "STREAM_SESSION_SPLIT",
        "STREAM_SESSION_TIMEOUT",
        "STREAM_TIMEZONE",
    ]
    for line, wrong in zip(
        told,
        ("often", "a b", "0", "3m", "none", "noon", "half an hour", "Mars/Base"),
        strict=True,
    ):
        assert f"'{wrong}" in line or f",{wrong}'" in line or "'0'" in line


def test_faults_between_settings_are_told_beside_those_of_others(env):
    env(DEDUPE_HORIZON="1m", FCR_REOPEN_WINDOW="300d", PARTITIONS="none", ALLOWED_LATENESS="5m")
    told = faults()
    assert [line.split(":")[0] for line in told] == [
        "STREAM_DEDUPE_HORIZON",
        "STREAM_PARTITIONS",
        "STREAM_TICKET_RETENTION",
    ]
    assert "STREAM_ALLOWED_LATENESS (5m)" in told[0]
    assert "STREAM_FCR_REOPEN_WINDOW (600d)" in told[2]


def test_a_wrong_setting_does_not_make_another_wrong(env):
    env(ALLOWED_LATENESS="ages", DEDUPE_HORIZON="1m", FCR_REOPEN_WINDOW="x")
    assert [line.split(":")[0] for line in faults()] == [
        "STREAM_ALLOWED_LATENESS",
        "STREAM_FCR_REOPEN_WINDOW",
    ]


def test_the_dedupe_horizon_is_at_least_the_lateness(env):
    env(ALLOWED_LATENESS="45m")
    assert load_settings().rules().dedupe_horizon_ms == 45 * 60_000
    env(ALLOWED_LATENESS="1m")
    assert load_settings().rules().dedupe_horizon_ms == 600_000
    env(DEDUPE_HORIZON="1m")
    assert load_settings().rules().dedupe_horizon_ms == 60_000
    env(DEDUPE_HORIZON="59s")
    assert len(faults()) == 1


def test_tickets_are_kept_at_least_twice_the_reopen_window(env):
    env(TICKET_RETENTION="144h")
    assert load_settings().rules().ticket_retention_ms == 144 * 3_600_000
    env(TICKET_RETENTION="143h")
    assert len(faults()) == 1


def test_an_option_goes_before_its_variable_and_is_the_one_that_is_told(env):
    env(PARTITIONS="7", TIMEZONE="UTC")
    assert load_settings({"partitions": 3, "timezone": None}).partitions == 3
    assert load_settings().partitions == 7
    [line] = faults(partitions="many")
    assert "'many'" in line
    assert "'7'" not in line


def test_an_empty_list_of_fcr_conditions_is_a_list(env):
    assert load_settings().fcr_conditions == "single_contact"
    env(FCR_CONDITIONS="")
    assert load_settings().fcr_conditions == "none"
    assert load_settings({"fcr_conditions": "no_reassignment"}).fcr_conditions == "no_reassignment"
    env(FCR_CONDITIONS="single_contact,no_customer_wait")
    assert load_settings().fcr_conditions == "single_contact,no_customer_wait"
    env(FCR_CONDITIONS="single_contact,quick")
    [line] = faults()
    assert line.startswith("STREAM_FCR_CONDITIONS: 'quick' is not one of")


def test_other_variables_that_are_empty_mean_the_default(env):
    default = load_settings()
    env(PARTITIONS="", DEDUPE_HORIZON="", METRICS_LEVELS="", REPLICATION="")
    assert load_settings() == default


def test_ids_are_held_together_as_long_as_sessions_unless_told_otherwise(env):
    env(SESSION_TIMEOUT="20m")
    assert load_settings().rules().session_id_timeout_ms == 20 * 60_000
    env(SESSION_ID_TIMEOUT="2h")
    assert load_settings().rules().session_id_timeout_ms == 2 * 3_600_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("10s", 10_000),
        ("30m", 1_800_000),
        ("72h", 259_200_000),
        ("400d", 400 * DAY),
        ("250ms", 250),
    ],
)
def test_durations_are_a_number_and_a_unit(text, ms):
    assert parse_duration(text) == parse_duration(f" {text} ") == ms
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize("text", ["", "10", "s", "-5s", "1.5h", "10 s", "1h30m", "5w", "5S", "٥m"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="10s, 30m, 72h"):
        parse_duration(text)


def test_time_outs_are_longer_than_nothing_but_lateness_need_not_be(env):
    env(ALLOWED_LATENESS="0s")
    assert load_settings().rules().allowed_lateness_ms == 0
    env(SESSION_TIMEOUT="0s", SESSION_MAX="0s", FCR_REOPEN_WINDOW="0s")
    assert len(faults()) == 3


def test_whatever_shapes_state_gives_another_definition_and_nothing_else_does(env):
    before = load_settings().rules().definition_id
    for name, value in (
        ("ALLOWED_LATENESS", "9m"),
        ("SESSION_TIMEOUT", "29m"),
        ("SESSION_ID_TIMEOUT", "31m"),
        ("SESSION_MAX", "11h"),
        ("SESSION_SPLIT", "midnight"),
        ("TIMEZONE", "Europe/Paris"),
        ("FCR_REOPEN_WINDOW", "71h"),
        ("TICKET_RETENTION", "399d"),
        ("DEDUPE_HORIZON", "11m"),
        ("DEDUPE_MAX_IDS", "5"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(f"STREAM_{name}", value)
            assert load_settings().rules().definition_id != before, name
    env(BOUNCE="ga4", FCR_CONDITIONS="", METRICS_WINDOWS="1h", PARTITIONS="9", GROUP="other")
    assert load_settings().rules().definition_id == before
