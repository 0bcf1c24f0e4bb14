"""What the page's player loads."""

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

from tal.report.media import link, media_of, playable_file, plays_in_browsers
from tal.video import probe


@pytest.fixture(scope="module")
def small_video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("small") / "small.mp4", frames=12)


HOSTILE = [
    "a b.mp4",
    "100%.mp4",
    "what?.mp4",
    "tag#1.mp4",
    "[x](y).mp4",
    "quo\"te's.mp4",
    "<b>.mp4",
    "javascript:x.mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_link_leads_to_the_file_whatever_its_name(tmp_path, name):
    page = tmp_path / "out" / "report.html"
    target = urljoin(page.as_uri(), link(tmp_path / "videos" / name, page))
    assert target.startswith("file:///")
    assert Path(unquote(target.removeprefix("file://"))) == tmp_path / "videos" / name
    assert not set(link(tmp_path / name, page)) & set("\"'<>?#: ")


def test_names_that_are_no_text_get_a_link(tmp_path):
    assert link(tmp_path / "\udcff.mp4", tmp_path / "a.html") == "%FF.mp4"


@pytest.mark.parametrize(
    ("changes", "plays"),
    [
        ({}, True),
        ({"pix_fmt": "yuv420p10le"}, False),
        ({"codec": "hevc"}, False),
        ({"codec": "mpeg4"}, False),
        ({"codec": "vp9", "path": "a.webm", "pix_fmt": "yuv420p10le"}, True),
        ({"codec": "av1", "path": "a.mkv"}, True),
        ({"path": "a.avi"}, False),
        ({"path": "A.MP4"}, True),
    ],
)
def test_what_plays(small_video, changes, plays):
    assert plays_in_browsers(replace(probe(small_video), **changes)) is plays


def test_a_copy_is_made_once_and_only_where_needed(tmp_path, small_video, make_video):
    copy = tmp_path / "media" / "copy.mp4"
    assert playable_file(probe(small_video), copy) == small_video
    assert not copy.parent.exists()
    old = make_video(tmp_path / "old.avi", codec="mpeg4", frames=12)
    made = playable_file(probe(old), copy)
    assert made.parent == copy.parent
    assert probe(made).codec == "h264"
    first = made.stat().st_mtime_ns
    assert playable_file(probe(old), copy) == made
    assert made.stat().st_mtime_ns == first


def test_another_or_a_changed_source_has_a_copy_of_its_own(tmp_path, make_video):
    copy = tmp_path / "media" / "film.mp4"
    one = make_video(tmp_path / "one" / "film.avi", codec="mpeg4", frames=12)
    other = make_video(tmp_path / "other" / "film.avi", codec="mpeg4", frames=20)
    os.utime(other, (1, 1))  # older than the first copy
    first, second = (playable_file(probe(each), copy) for each in (one, other))
    assert [probe(each).duration_s for each in (first, second)] == pytest.approx([0.48, 0.8])
    make_video(one, codec="mpeg4", frames=6)
    assert probe(playable_file(probe(one), copy)).duration_s == pytest.approx(0.24)


def test_embedded_below_a_size_and_linked_above(tmp_path, small_video):
    infos, copies = {"v": probe(small_video)}, {"v": tmp_path / "c.mp4"}
    media, failed = media_of(infos, tmp_path / "a.html", copies, embed_mb=1)
    assert media["v"].src.startswith("data:video/mp4;base64,")
    assert not failed
    media, _ = media_of(infos, tmp_path / "a.html", copies, embed_mb=0)
    assert media["v"].src == link(small_video, tmp_path / "a.html")


def test_the_raw_start_is_added_for_players(tmp_path, make_video):
    late = make_video(tmp_path / "late.mkv", start_s=3.0)
    media, _ = media_of({"v": probe(late)}, tmp_path / "a.html", {"v": tmp_path / "c.mp4"}, embed_mb=0)
    assert media["v"].offset_s == probe(late).start_s == pytest.approx(3.0, abs=0.01)
