// The timeline: a lane per class, ground truth above detections, one ruler and playhead for all.

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const MAX_ROWS = 3;

function makeTimeline({ onSeek, onSelect }) {
  const plane = $("plane"), lanes = $("lanes"), ruler = $("ruler"), strip = $("strip"), map = $("map");
  let video = null, segments = [], shown = [], threshold = 0, selected = null, time = 0;
  let view = [0, 1];

  const duration = () => Math.max(video.duration, 0.1);
  const width = () => Math.max(ruler.clientWidth, 1);
  const fraction = (t) => (t - view[0]) / (view[1] - view[0]);
  const isWhole = () => view[0] <= 0 && view[1] >= duration();

  // Overlapping detections of one class share the lane's rows; the highest scores take the first.
  function pack(detections) {
    const ends = [];
    for (const each of [...detections].sort((a, b) => b.score - a.score)) {
      let row = ends.findIndex((taken) => taken.every(([s, e]) => each.end <= s || each.start >= e));
      if (row < 0) row = Math.min(ends.length, MAX_ROWS - 1);
      (ends[row] ||= []).push([each.start, each.end]);
      each.row = row;
    }
    return Math.max(ends.length, 1);
  }

  function layOut() {
    shown = segments.filter((each) => isShown(each, threshold));
    const labels = [...new Set(shown.map((each) => each.label))].sort((a, b) => a - b);
    lanes.replaceChildren(...labels.map((label) => {
      const mine = shown.filter((each) => each.label === label);
      const detections = mine.filter((each) => each.kind === "detection");
      const lane = make("div", "lane");
      const name = make("div", "lane-name", nameOf(label));
      name.title = nameOf(label);
      const track = make("div", "track");
      track.style.setProperty("--hue", hueOf(label));
      track.style.setProperty("--rows", detections.length ? pack(detections) : 0);
      lane.append(name, track);
      lane.classList.toggle("with-truth", video.truth !== null);
      lane.segments = mine;
      return lane;
    }));
    if (!labels.length) lanes.append(make("p", "empty", "Nothing to show at this threshold."));
    draw();
  }

  function drawLane(lane) {
    const track = lane.querySelector(".track");
    if (!track) return;
    const bars = document.createDocumentFragment();
    for (const each of lane.segments) {
      if (each.end < view[0] || each.start > view[1]) continue;
      const left = Math.max(fraction(each.start), 0), share = Math.min(fraction(each.end), 1) - left;
      const bar = make("button", `segment ${each.kind}`);
      bar.tabIndex = -1;
      bar.segment = each;
      bar.style.left = `${left * 100}%`;
      bar.style.width = `${share * 100}%`;
      const verdict = video.truth === null ? "" : verdictOf(each, threshold);
      if (each.kind === "detection") {
        bar.classList.add(VERDICT_CLASSES[each.outcome]);
        bar.style.setProperty("--row", each.row);
        bar.style.setProperty("--strength", 0.35 + 0.65 * Math.min(Math.max(each.score, 0), 1));
        if (share * width() > 34) bar.textContent = each.score.toFixed(2);
      } else {
        bar.classList.add(verdict);
      }
      bar.classList.toggle("selected", each === selected);
      const score = each.score === null ? "ground truth" : `score ${each.score.toFixed(3)}`;
      bar.title = `${nameOf(each.label)}\n${clock(each.start, 2)} to ${clock(each.end, 2)}, ${score}${verdict && `, ${verdict}`}`;
      bar.setAttribute("aria-label", bar.title.replace("\n", ", "));
      bars.append(bar);
    }
    track.replaceChildren(bars);
  }

  function drawRuler() {
    const span = view[1] - view[0];
    const step = STEPS.find((each) => (each / span) * width() >= 84) || STEPS[STEPS.length - 1];
    const ticks = document.createDocumentFragment();
    for (let t = Math.ceil(view[0] / step - 1e-9) * step; t <= view[1] + 1e-9; t += step) {
      const roomy = (1 - fraction(t)) * width() > 56;
      const tick = make("span", "tick", roomy ? clock(t, step < 1 ? 1 : 0) : "");
      tick.style.left = `${fraction(t) * 100}%`;
      ticks.append(tick);
    }
    ruler.replaceChildren(ticks);
  }

  function drawStrip() {
    strip.hidden = !video.strip.length;
    const near = video.strip.filter(([t]) => fraction(t) > -0.1 && fraction(t) < 1.1);
    strip.replaceChildren(...near.map(([t, picture]) => {
      const image = make("img");
      image.src = picture;
      image.alt = image.title = `Frame at ${clock(t)}`;
      image.dataset.time = t;
      image.draggable = false;
      image.style.left = `${fraction(t) * 100}%`;
      return image;
    }));
  }

  function drawMap() {
    map.hidden = isWhole();
    if (map.hidden) return;
    const canvas = map.querySelector("canvas"), box = map.getBoundingClientRect();
    const density = window.devicePixelRatio || 1;
    canvas.width = box.width * density;
    canvas.height = box.height * density;
    const pen = canvas.getContext("2d");
    pen.scale(density, density);
    for (const each of shown) {
      const truth = each.kind === "truth";
      pen.fillStyle = truth ? getComputedStyle(map).color : `oklch(0.65 0.14 ${hueOf(each.label)})`;
      pen.globalAlpha = truth ? 0.45 : 0.8;
      const x = (each.start / duration()) * box.width;
      const w = Math.max(((each.end - each.start) / duration()) * box.width, 1);
      pen.fillRect(x, truth ? 3 : box.height / 2 + 1, w, box.height / 2 - 4);
    }
    const frame = $("window");
    frame.style.left = `${(view[0] / duration()) * 100}%`;
    frame.style.width = `${((view[1] - view[0]) / duration()) * 100}%`;
  }

  function drawPlayhead() {
    const at = fraction(time);
    $("playhead").hidden = at < 0 || at > 1;
    $("playhead").style.setProperty("--at", at);
  }

  function draw() {
    drawRuler();
    drawStrip();
    for (const lane of lanes.children) drawLane(lane);
    drawMap();
    drawPlayhead();
  }
  const drawSoon = oncePerFrame(draw);

  function look(first, last) {
    const span = Math.min(Math.max(last - first, Math.min(1, duration())), duration());
    const start = Math.min(Math.max((first + last - span) / 2, 0), duration() - span);
    view = [start, start + span];
    drawSoon();
  }

  function zoom(factor, around = time) {
    const centre = around >= view[0] && around <= view[1] ? around : (view[0] + view[1]) / 2;
    look(centre - (centre - view[0]) / factor, centre + (view[1] - centre) / factor);
  }

  const timeAt = (event) => {
    const box = ruler.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return view[0] + share * (view[1] - view[0]);
  };

  plane.addEventListener("click", (event) => {
    const bar = event.target.closest(".segment");
    if (bar) onSelect(bar.segment);
  });
  plane.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".segment, .lane-name")) return;
    if (event.target.dataset.time) { onSeek(Number(event.target.dataset.time)); return; }
    plane.setPointerCapture(event.pointerId);
    onSeek(timeAt(event));
  });
  plane.addEventListener("pointermove", (event) => {
    if (plane.hasPointerCapture(event.pointerId)) onSeek(timeAt(event));
  });
  plane.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), timeAt(event));
    } else if (!isWhole() && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      event.preventDefault();
      const shift = ((event.deltaX || event.deltaY) / width()) * (view[1] - view[0]);
      look(view[0] + shift, view[1] + shift);
    }
  }, { passive: false });
  const moveView = (event) => {
    const box = map.getBoundingClientRect(), half = (view[1] - view[0]) / 2;
    const centre = ((event.clientX - box.left) / box.width) * duration();
    look(centre - half, centre + half);
  };
  map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); moveView(event); });
  map.addEventListener("pointermove", (event) => { if (map.hasPointerCapture(event.pointerId)) moveView(event); });
  new ResizeObserver(() => video && drawSoon()).observe(plane);

  return {
    zoom,
    fit: () => look(0, duration()),
    show(newVideo, newThreshold) {
      [video, threshold, selected, time] = [newVideo, newThreshold, null, 0];
      segments = segmentsOf(video);
      view = [0, duration()];
      layOut();
    },
    filter(newThreshold) {
      threshold = newThreshold;
      layOut();
    },
    select(segment) {
      selected = segment;
      if (segment && (segment.end < view[0] || segment.start > view[1])) {
        const half = (view[1] - view[0]) / 2, middle = (segment.start + segment.end) / 2;
        look(middle - half, middle + half);
      }
      for (const bar of lanes.querySelectorAll(".segment")) bar.classList.toggle("selected", bar.segment === selected);
    },
    move(newTime, follow) {
      time = newTime;
      const span = view[1] - view[0];
      if (follow && !isWhole() && (time < view[0] || time > view[1])) look(time - span * 0.1, time + span * 0.9);
      drawPlayhead();
    },
  };
}
