"""Secrets never reach run.json, junit.xml or the page; what only looks like one stays readable."""

from __future__ import annotations

import pytest

from harness.runtime.redact import MASK, redact, redact_text, secrets_of

SECRET = "s3cr3t-V4lue"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://alice:{SECRET}@db.internal:5432/mlflow",
        f"http://:{SECRET}@proxy:3128",
        f"--registry-token={SECRET}",
        f"--password {SECRET} --user alice",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f'{{"api_key": "{SECRET}", "rows": 3}}',
        f"https://host/path?rows=1&key={SECRET}&x=2",
        f"https://host/path?access_token={SECRET}",
        f"Authorization: Bearer {SECRET}abc",
        f"authorization: basic {SECRET}==",
        f"export MLFLOW_TRACKING_PASSWORD='{SECRET}'",
        f"password: {SECRET}",
    ],
)
def test_a_secret_in_text_is_masked_and_the_rest_stays(text: str) -> None:
    masked = redact_text(text)

    assert SECRET not in masked
    assert MASK in masked
    assert masked.split(MASK)[0] == text.split(SECRET)[0]


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_that_is_known_by_its_form_is_masked_anywhere(secret: str) -> None:
    assert redact_text(f"before {secret} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd: Permission denied",
        "23 of 198 requests (11.62%), 1.00% is allowed",
        "http://127.0.0.1:40213/api?run=1",
        "rehearse run --config rehearsal.toml",
        "sha256:5f0b0a5c9f1be77bd3c25cd15b0a4d0d",
        "the keyboard, a monkey and 3 tokens",
        "column key has 4 levels",
        "HISTFAAAAB14nJNpmSzMwMDAxAABzFCaEUoz2X+AMIKpwDsn==",
        "user@example.com",
    ],
)
def test_text_without_a_secret_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_nested_data_is_masked_by_name_at_any_depth() -> None:
    data = {
        "env": [{"name": "A", "DB_PASSWORD": SECRET}],
        "token": {"value": SECRET, "parts": [SECRET]},
        "url": f"http://u:{SECRET}@h/",
        "params": {"max_tokens": 512, "secret": None, "key": SECRET},
        "keys": ["a"],
    }

    assert redact(data) == {
        "env": [{"name": "A", "DB_PASSWORD": MASK}],
        "token": {"value": MASK, "parts": [MASK]},
        "url": f"http://u:{MASK}@h/",
        "params": {"max_tokens": 512, "secret": None, "key": MASK},
        "keys": ["a"],
    }


def test_masking_twice_changes_nothing() -> None:
    once = redact_text(f"password={SECRET} http://u:{SECRET}@h/ Bearer {SECRET}")

    assert redact_text(once) == once


def test_the_environments_secrets_are_known_by_name_and_from_urls() -> None:
    """Paths, users and short values are none: they would be found in ordinary words."""
    environment = {
        "HF_TOKEN": "abcdef123",
        "PWD": "/home/me/clone",
        "DEBUG_TOKEN": "on",
        "HTTPS_PROXY": "http://me:hunter22@proxy:3128",
        "USER": "somebody",
    }
    assert secrets_of(environment) == ("abcdef123", "hunter22")


def test_a_secret_of_the_environment_is_masked_whatever_stands_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's code prints it without its name."""
    monkeypatch.setattr("harness.runtime.redact.environment_secrets", lambda: ("abcdef123",))
    assert redact_text("connected with abcdef123!") == "connected with ***!"
    assert redact({"message": ["abcdef123"]}) == {"message": ["***"]}
