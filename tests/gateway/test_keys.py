"""Keys are known by their digest only."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from streamer.config import KeySection
from streamer.errors import InvalidRequest
from streamer.gateway.keys import KeyRing, digest, new_key, read_keys


def test_the_digest_is_sha256_with_its_name() -> None:
    """The scheme is written down, so that another one can follow."""
    assert digest("hush") == "sha256:" + hashlib.sha256(b"hush").hexdigest()


def test_find() -> None:
    """A key finds its own section among others, one that is nearly it or empty finds none."""
    keys = {name: new_key() for name in ("ada", "bob", "cleo")}
    ring = KeyRing(KeySection(name=name, hash=digest(key)) for name, key in keys.items())
    for name, key in keys.items():
        assert ring.find(key) is ring.named(name)
        for wrong in (key[:-1], key + " ", key.swapcase(), digest(key), ""):
            assert ring.find(wrong) is None


def test_every_digest_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding a key takes as many comparisons as there are keys, whichever it is and whether it is there."""
    import hmac

    compared: list[bool] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(real(a, b)) or compared[-1])
    ring = KeyRing(KeySection(name=name, hash=digest(name)) for name in ("ada", "bob", "cleo"))
    for key, found in (("ada", 1), ("cleo", 1), ("nobody", 0), ("", 0)):
        compared.clear()
        ring.find(key)
        assert (len(compared), sum(compared)) == (3, found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([("ada", "1"), ("ada", "2")], "setting access.keys: expected each name once, got a second 'ada'"),
        ([("ada", "1"), ("bob", "1")], "setting access.keys: 'bob' and 'ada' are the same key"),
    ],
)
def test_names_and_keys_are_unique(keys: list[tuple[str, str]], message: str) -> None:
    """Two keys of one name, or two names of one key, are a mistake that is named."""
    with pytest.raises(InvalidRequest) as caught:
        KeyRing(KeySection(name=name, hash=digest(key)) for name, key in keys)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= 1", "keys file {file} is not TOML: Invalid statement (at line 1, column 1)"),
        ("[[key]]", "keys file {file}: key: extra inputs are not permitted"),
        ("[[keys]]\nname = 'ada'", "keys file {file}: keys.0.hash: field required"),
        (
            "[[keys]]\nname = 'ada'\nhash = 'streamer_hush'",
            "keys file {file}: keys.0.hash: string should match pattern '^sha256:[0-9a-f]{{64}}$'",
        ),
    ],
)
def test_a_bad_keys_file_is_named_and_its_secrets_are_not(tmp_path: Path, text: str, message: str) -> None:
    """The file, the place and what was expected; never a value, which may be a key."""
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read_keys(file)
    assert str(caught.value) == message.format(file=file)


def test_a_missing_keys_file(tmp_path: Path) -> None:
    """A file that is not there is no empty list of keys."""
    with pytest.raises(InvalidRequest, match=r"^cannot read keys file .*none\.toml: No such file or directory$"):
        read_keys(tmp_path / "none.toml")
