"""The page in a real headless browser: it shows, seeks, filters, sorts, and hostile text does nothing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tal.report.data import Media, Report, ReportVideo
from tal.report.judge import worst_misses
from tal.report.media import link, media_of
from tal.report.page import write_report
from tal.report.thumbnails import strip_times, thumbnails
from tal.segments import Segments
from tal.video import probe

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = "</script><img src=x onerror=\"window.broken=1\"> 'a' #?% [x]"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that writes a report and opens it; fails the test on any console error."""
    complaints = []

    def open_report(report, **options):
        path = tmp_path / "out" / "report.html"
        write_report(path, report)
        page = browser.new_page(viewport={"width": 1400, "height": 900}, **options)
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("#rows tr")
        return page

    yield open_report
    assert not complaints


@pytest.fixture(scope="module")
def clip(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("clip") / "a clip #1 100%?.mp4", frames=250)


def detections(*rows):
    return Segments.from_names(*[[row[i] for row in rows] for i in range(3)], score=[row[3] for row in rows])


PREDICTIONS = detections((1.0, 2.0, "wave", 0.9), (4.0, 6.0, "jump", 0.6), (8.0, 9.0, "wave", 0.2))
TRUTH = Segments.from_names([1.1, 7.0], [2.0, 7.5], ["wave", "kick"])


def a_report(media=None, **changes):
    values = {"video": "clip", "duration_s": 10.0, "predictions": PREDICTIONS, "truth": TRUTH, "media": media}
    return Report(title="A report", videos=[ReportVideo(**values | changes)])


def current_time(page):
    return page.evaluate("document.getElementById('video').currentTime")


def until(page, condition):
    """Wait for it; Playwright's own waiting evaluates strings in the page, which the page's policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def settle(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_the_timeline_shows_the_segments_where_they_are(opened):
    page = opened(a_report())
    assert page.locator(".lane-name").all_inner_texts() == ["jump", "kick", "wave"]
    assert page.locator(".segment.detection").count() == 3
    assert page.locator(".segment.truth").count() == 2
    track = page.locator("#ruler").bounding_box()
    bar = page.locator(".segment.detection[title*=jump]").bounding_box()
    assert (bar["x"] - track["x"]) / track["width"] == pytest.approx(0.4, abs=0.01)
    assert bar["width"] / track["width"] == pytest.approx(0.2, abs=0.01)
    assert "found" in page.locator(".segment.truth[title*=wave]").get_attribute("class")
    assert "missed" in page.locator(".segment.truth[title*=kick]").get_attribute("class")


def test_clicks_seek_the_player(opened, clip, tmp_path):
    page = opened(a_report(Media(src=link(clip, tmp_path / "out" / "report.html"))))
    until(page, "document.getElementById('video').readyState >= 2")
    page.locator(".segment.detection[title*=jump]").click()
    assert current_time(page) == pytest.approx(4.0)
    assert "jump" in page.locator("#rows tr.selected").inner_text()
    page.locator("#rows tr", has_text="kick").click()
    assert current_time(page) == pytest.approx(7.0)
    box = page.locator("#ruler").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert current_time(page) == pytest.approx(2.5, abs=0.02)
    page.keyboard.press("n")
    assert current_time(page) == pytest.approx(4.0)
    page.keyboard.press("p")
    assert current_time(page) == pytest.approx(1.0)
    page.keyboard.press("ArrowRight")
    assert current_time(page) == pytest.approx(2.0)


def test_the_playhead_moves_with_the_video(opened, clip, tmp_path):
    page = opened(a_report(Media(src=link(clip, tmp_path / "out" / "report.html"))))
    until(page, "document.getElementById('video').readyState >= 2")
    before = page.locator("#playhead").bounding_box()["x"]
    page.keyboard.press(" ")
    until(page, "document.getElementById('video').currentTime > 0.3")
    page.keyboard.press(" ")
    settle(page)
    assert page.evaluate("document.getElementById('video').paused")
    track = page.locator("#ruler").bounding_box()
    moved = (page.locator("#playhead").bounding_box()["x"] - before) / track["width"] * 10
    assert moved == pytest.approx(current_time(page), abs=0.2)


def test_a_video_that_starts_late_is_sought_by_its_own_clock(opened, make_video, tmp_path):
    late = make_video(tmp_path / "late.mkv", frames=200, start_s=5.0)
    media, _ = media_of({"v": probe(late)}, tmp_path / "out" / "report.html", {"v": tmp_path / "c.mp4"}, embed_mb=0)
    page = opened(a_report(media["v"], duration_s=8.0))
    until(page, "document.getElementById('video').readyState >= 2")
    page.locator("#rows tr", has_text="jump").click()
    until(page, "!document.getElementById('video').seeking")
    assert current_time(page) == pytest.approx(9.0, abs=0.05)
    assert page.locator("#now").inner_text() == "0:04.0"


def test_an_embedded_and_re_encoded_video_plays(opened, make_video, tmp_path):
    old = make_video(tmp_path / "old.avi", codec="mpeg4", frames=50)
    media, _ = media_of({"v": probe(old)}, tmp_path / "out" / "report.html", {"v": tmp_path / "c.mp4"}, embed_mb=5)
    page = opened(a_report(media["v"], duration_s=2.0))
    until(page, "document.getElementById('video').readyState >= 2")
    assert page.evaluate("document.getElementById('video').videoWidth") == 64


def test_the_slider_filters_everything(opened):
    page = opened(a_report())
    page.locator("#threshold").fill("0.5")
    settle(page)
    assert page.locator(".segment.detection").count() == 2
    assert page.locator("#rows tr.detection").count() == 2
    page.locator("#threshold").fill("0.95")
    settle(page)
    assert page.locator(".segment.detection").count() == 0
    assert "missed" in page.locator(".segment.truth[title*=wave]").get_attribute("class")
    assert "0 of 2 found" in page.locator("#shown").inner_text()


def test_the_table_sorts(opened):
    page = opened(a_report())
    page.locator("th button", has_text="score").click()
    scores = page.locator("#rows tr td:nth-child(5)").all_inner_texts()
    assert scores == ["truth", "truth", "0.900", "0.600", "0.200"]
    page.locator("th button", has_text="length").click()
    lengths = [float(text) for text in page.locator("#rows tr td:nth-child(4)").all_inner_texts()]
    assert lengths == sorted(lengths)


def test_hostile_text_is_inert(opened, tmp_path):
    predictions = detections((1.0, 2.0, HOSTILE, 0.9))
    video = ReportVideo(video=HOSTILE, duration_s=5, predictions=predictions, truth=TRUTH, note=HOSTILE)
    report = Report(
        title=HOSTILE,
        subtitle=HOSTILE,
        facts={HOSTILE: HOSTILE},
        videos=[video, video],
        metrics={HOSTILE: 0.5},
        per_class={HOSTILE: {HOSTILE: 0.5}},
        misses=worst_misses([video], 0.0),
    )
    page = opened(report)
    assert page.title() == HOSTILE
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.locator(".lane-name").first.text_content() == HOSTILE
    assert page.locator("img").count() == 0
    assert page.evaluate("window.broken") is None


def test_a_script_that_found_its_way_in_does_not_run(opened):
    page = opened(a_report())
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<svg onload=\"window.broken=1\"></svg>')")
    settle(page)
    assert page.evaluate("window.broken") is None


def test_many_videos_and_worst_misses(opened, clip, tmp_path):
    videos = [
        ReportVideo(video=f"video {number}", duration_s=10, predictions=PREDICTIONS, truth=TRUTH)
        for number in range(1000)
    ]
    misses = worst_misses(videos, 0.0)
    page = opened(
        Report(title="Many", videos=videos, misses=misses, per_class={"wave": {"AP@0.50": 0.5, "AP@0.70": 0.2}})
    )
    assert 10 < page.locator(".video").count() < 300
    page.locator("#search").fill("video 777")
    page.locator(".video").click()
    assert page.locator("#video-name").inner_text() == "video 777"
    assert page.locator(".card").count() == len(misses) > 0
    page.locator(".card").first.click()
    assert page.locator("#video-name").inner_text() == f"video {misses[0].video_idx}"
    assert page.locator("#rows tr.selected").count() == 1
    page.keyboard.press("j")
    assert "0.350" in page.locator("#class-table").inner_text()


def test_ten_hours_zoomed(opened):
    rng = np.random.default_rng(0)
    start = np.sort(rng.uniform(0, 35_990, 2000))
    names = [("jump", "wave", "kick")[number % 3] for number in range(2000)]
    many = Segments.from_names(start, start + 5, names, score=rng.random(2000))
    page = opened(a_report(predictions=many, truth=None, duration_s=36_000))
    assert page.locator(".segment").count() == 2000
    assert page.locator("#rows tr").count() < 300
    for _ in range(6):
        page.keyboard.press("+")
        settle(page)
    assert 0 < page.locator(".segment").count() < 120
    assert page.locator("#map").is_visible()
    page.keyboard.press("0")
    settle(page)
    assert page.locator(".segment").count() == 2000


def test_no_video_says_why(opened):
    page = opened(a_report(note="decode failed: no frames"))
    assert page.locator("#no-video").inner_text() == "decode failed: no frames"
    assert page.locator("#play").is_disabled()
    page.locator("#rows tr", has_text="jump").click()
    assert page.locator("#now").inner_text() == "0:04.0"


def test_a_moved_video_is_said(browser, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, a_report(Media(src="gone.mp4")))
    page = browser.new_page()
    page.goto(Path(path).as_uri())
    page.wait_for_selector("#no-video:visible")
    assert "moved away" in page.locator("#no-video").inner_text()


def test_a_strip_of_frames_seeks(opened, clip):
    times = strip_times(10.0, 5)
    strip = tuple(zip(times, thumbnails(clip, times), strict=True))
    page = opened(a_report(strip=strip))
    assert page.locator("#strip img").count() == 5
    page.locator("#strip img").nth(2).click()
    assert page.locator("#now").inner_text() == "0:05.0"
