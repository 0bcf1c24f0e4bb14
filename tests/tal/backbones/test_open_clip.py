"""open_clip beyond pooled vectors: tokens and layers of its towers, text, and no network found out in seconds."""

import time

import pytest
import torch

from tal.backbones import load_backbone
from tal.backbones.hub import quick_hub, reachable
from tal.backbones.text import load_text_encoder
from tal.errors import TalError

SMALL = "open_clip:ViT-S-32"


@pytest.fixture(scope="module")
def whole():
    """The same random weights as `weights="random"` gives, in open_clip's own model."""
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.create_model("ViT-S-32").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder(SMALL, weights="random")


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(2, 1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def test_tokens_are_the_towers_places_without_the_class_token(whole, pictures):
    backbone = load_backbone(SMALL, weights="random", tokens=True, layers=("transformer.resblocks.11", "features"))
    given = backbone(pictures)
    hidden = whole.visual.transformer(whole.visual._embeds(pictures[:, 0]))
    torch.testing.assert_close(given["transformer.resblocks.11"], hidden[:, 1:])
    torch.testing.assert_close(given["features"], whole.visual.ln_post(hidden)[:, 1:])
    assert given["features"].shape == (2, 49, 384)
    assert backbone.inner.visual.output_tokens is False


@pytest.mark.full
@pytest.mark.parametrize(("name", "tokens", "width"), [("RN50", 49, 2048), ("ViT-B-16-SigLIP", 196, 768)])
def test_tokens_of_other_towers(name, tokens, width):
    spec = load_backbone(f"open_clip:{name}", weights="random", tokens=True).spec
    assert (spec.tokens, spec.width) == (tokens, width)


def test_half_precision_is_near(pictures):
    wide, narrow = (load_backbone(SMALL, weights="random", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert wide.spec.weights_hash == narrow.spec.weights_hash
    with torch.inference_mode():
        exact, near = wide(pictures), narrow(pictures)
    assert 0 < float((near - exact).norm() / exact.norm()) < 2e-2


def test_text_vectors_are_those_of_encode_text(whole, encoder):
    import open_clip

    texts = ["a person jumps", "someone opens a door", "a person jumps"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (3, encoder.spec.width)
    torch.testing.assert_close(vectors, whole.encode_text(open_clip.get_tokenizer("ViT-S-32")(texts)))
    torch.testing.assert_close(vectors[0], vectors[2])
    assert float((vectors[0] - vectors[1]).abs().max()) > 1e-3
    assert encoder.encode([]).shape == (0, encoder.spec.width)
    assert encoder.spec.scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert (encoder.spec.weights, encoder.spec.context) == ("random", 77)


def test_many_texts_are_encoded_in_parts(encoder, monkeypatch):
    texts = [f"step {number}" for number in range(5)]
    at_once = encoder.encode(texts)
    monkeypatch.setattr("tal.backbones.text._AT_ONCE", 2)
    torch.testing.assert_close(encoder.encode(texts), at_once, atol=1e-5, rtol=1e-4)


def test_what_is_no_text_tower(encoder):
    with pytest.raises(TalError, match="text tower 'timm:resnet18'"):
        load_text_encoder("timm:resnet18", weights="random")
    with pytest.raises(TalError, match="expected: a list of texts"):
        encoder.encode("a person jumps")


def test_without_a_network_published_weights_fail_within_seconds(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr("tal.backbones.hub.reachable", lambda _: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(TalError, match="could not be loaded") as caught:
        load_backbone("open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert time.monotonic() - began < 10
    assert "--weights FILE" in str(caught.value)


def test_a_network_that_answers_leaves_the_client_as_it_is(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for answers, offline in ((True, False), (False, True)):
        monkeypatch.setattr("tal.backbones.hub.reachable", lambda _, answers=answers: answers)
        with quick_hub():
            assert constants.is_offline_mode() is offline
        assert constants.is_offline_mode() is False


def test_any_answer_is_a_network_and_silence_is_none():
    import http.server
    import threading

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Refuses)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert reachable(address)
    thread.join()
    server.server_close()
    assert not reachable(address, patience_s=1)
