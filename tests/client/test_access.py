"""Keys and certificates, shown and checked over real connections on both transports."""

from __future__ import annotations

import pytest

from streamer.client import Tls, connect
from streamer.client.access import Access
from streamer.client.models import Model, list_models
from streamer.errors import Draining, InvalidRequest, Unauthenticated
from tests.gateway.fake_host import FakeHost
from tests.gateway.fake_voice import FakeVoiceHost
from tests.gateway.keyring import ADA, OLD, access_settings
from tests.gateway.serving import CONFIG, serving, with_loop
from tests.gateway.test_tls import Authority

every_scheme = pytest.mark.parametrize("scheme", ["grpc", "ws"])


def url(addresses, scheme, secure=False):
    port = addresses.grpc_port if scheme == "grpc" else addresses.http_port
    return f"{scheme}{'s' if secure else ''}://127.0.0.1:{port}"


@every_scheme
@with_loop
async def test_the_key_lets_in(scheme):
    """Without it, and with one that has expired, the server refuses; also the list of models."""
    async with serving(FakeHost(), access=access_settings()) as addresses:
        async with connect(url(addresses, scheme), CONFIG, api_key=ADA) as stream:
            assert stream.ready.model == "echo@1"
        assert [model.key for model in await list_models(url(addresses, scheme), Access(ADA))] == ["echo@1"]
        for key in (None, OLD):
            with pytest.raises(Unauthenticated):
                async with connect(url(addresses, scheme), CONFIG, api_key=key):
                    pass
            with pytest.raises(Unauthenticated):
                await list_models(url(addresses, scheme), Access(key))


@every_scheme
@with_loop
async def test_the_key_is_shown_again_by_a_resumable_stream(scheme):
    """Each of its connections is made like the first."""
    host = FakeHost()
    async with (
        serving(host, access=access_settings()) as addresses,
        connect(url(addresses, scheme), CONFIG, resumable=True, api_key=ADA) as stream,
    ):
        host.streams[0].end(Draining("leaving"))
        await stream.end()
        assert [type(message).__name__ async for message in stream] == ["Warning", "Warning", "Done"]


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel"])
def test_keys_that_no_header_carries_are_refused(key):
    """Before anything is sent, and without showing them."""
    with pytest.raises(InvalidRequest, match=r"^api_key: expected visible ASCII characters without spaces$"):
        Access(key)


def test_a_key_does_not_show():
    """Neither in logs nor in tracebacks that print their locals."""
    assert "secret" not in repr(Access("secret"))


@every_scheme
@with_loop
async def test_certificates_are_checked_both_ways(tmp_path, scheme):
    """The server's against an authority of one's own; the client's if the server wants one."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    server, client = ours.certify(), ours.certify("client")
    settings = server.model_copy(update={"client_ca": ours.file})
    async with serving(FakeHost(), tls=settings) as addresses:
        shown = Tls(ca_file=ours.file, cert_file=client.cert, key_file=client.key)
        async with connect(url(addresses, scheme, secure=True), CONFIG, tls=shown) as stream:
            assert stream.ready.model == "echo@1"
        assert len(await list_models(url(addresses, scheme, secure=True), Access(tls=shown))) == 1
        for wrong in (Tls(ca_file=ours.file), Tls(ca_file=theirs.file, cert_file=client.cert, key_file=client.key)):
            with pytest.raises(ConnectionError):
                async with connect(url(addresses, scheme, secure=True), CONFIG, tls=wrong):
                    pass


@every_scheme
@with_loop
async def test_certificates_that_are_not_there_are_named(tmp_path, scheme):
    """They are the caller's mistake, not the connection's."""
    with pytest.raises(InvalidRequest, match=r"^tls: cannot load the certificates: .*No such file"):
        async with connect(f"{scheme}s://127.0.0.1:1", CONFIG, tls=Tls(ca_file=tmp_path / "none.pem")):
            pass
    with pytest.raises(InvalidRequest, match=r"^tls: expected cert_file and key_file together, got one of them$"):
        Tls(cert_file="a.pem")


@every_scheme
@with_loop
async def test_models_are_listed_alike(scheme):
    """All that the server tells of a model, in the same types over both transports."""
    async with serving(FakeHost()) as addresses:
        listed = await list_models(url(addresses, scheme), Access())
    assert listed == (
        Model("echo", "1", "transcribe", "says how many bytes it got", ("en",), 16000, 160.0, 200.0, True),
    )


@every_scheme
@with_loop
async def test_voices_are_listed(scheme):
    """Those of each model that speaks, in its order."""
    async with serving(FakeVoiceHost()) as addresses:
        listed = await list_models(url(addresses, scheme), Access())
    assert {model.name: model.voices for model in listed} == {"echo": (), "tenor": (), "voice": ("ada", "bob")}
    assert {model.name for model in listed if model.word_times} == {"voice"}


@every_scheme
@with_loop
async def test_a_list_without_a_server_is_a_connection_error(scheme):
    """As it is for streams."""
    async with serving(FakeHost()) as addresses:
        pass
    with pytest.raises(ConnectionError):
        await list_models(url(addresses, scheme), Access())
