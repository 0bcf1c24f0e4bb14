"""The diagnosis page in a real headless browser: its style applies, it fits, links lead to cases, no text runs."""

import os
import shutil

import pytest

from tal.annotations.records import Annotations, VideoRecord
from tal.diagnosis.run import diagnose
from tal.report.diagnosis import render
from tal.segments import Segments

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
HOSTILE = '</style></svg><script>window.broken=1</script><img src=x onerror="window.broken=1"> \'a\' & "b"'

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    def segments(rows, score=None):
        starts, ends, names = zip(*rows, strict=True)
        return Segments.from_names(starts, ends, names, classes=(HOSTILE, "walk"), score=score)

    truth = segments([(0, 10, HOSTILE), (20, 30, "walk"), (50, 60, "walk")])
    found = segments([(0, 10, HOSTILE), (1, 10, HOSTILE), (20, 30, HOSTILE), (26, 38, "walk")], [0.9, 0.8, 0.7, 0.6])
    videos = {name: VideoRecord(video=name, duration_s=80.0, instances=truth) for name in (HOSTILE, "b")}
    annotations = Annotations(classes=(HOSTILE, "walk"), videos=videos)
    better = segments([(0, 10, HOSTILE), (20, 30, "walk")], [0.9, 0.8])
    result = diagnose("generic", annotations, {HOSTILE: found}, against={HOSTILE: better}, resamples=20)
    path = tmp_path_factory.mktemp("page") / "diagnosis.html"
    path.write_text(render(result), encoding="utf-8")
    return path


@pytest.fixture
def opened(page_file):
    """A function that opens the page at a width; fails the test on anything in the console."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    complaints = []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        def open_page(width):
            page = chromium.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(page_file.as_uri())
            return page

        yield open_page
        chromium.close()
    assert not complaints


@pytest.mark.parametrize("width", [380, 1300])
def test_it_fits_is_styled_and_no_text_runs(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.querySelector('.k-wrong_label')).fill") != "rgb(0, 0, 0)"
    assert page.evaluate("window.broken") is None
    assert HOSTILE in page.inner_text("#classes")


def test_links_lead_to_the_video_and_back(opened):
    page = opened(1300)
    page.click("#kind-double_detection article p a")
    assert page.evaluate("document.querySelector(':target').className") == "whole"
    assert page.evaluate("document.querySelector(':target').getBoundingClientRect().top") < 900
    page.click(":target svg a .ring >> nth=0")
    assert page.evaluate("document.querySelector(':target').tagName") == "ARTICLE"
