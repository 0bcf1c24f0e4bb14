// Words, numbers and elements. Text from the data only ever becomes textContent or an attribute's value.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

const UNKNOWN = 0, CORRECT = 1, BOUNDARY = 2, FALSE = 3, DUPLICATE = 4;
const VERDICTS = ["", "correct", "wrong ends", "false", "duplicate"];
const VERDICT_CLASSES = ["unknown", "correct", "boundary", "false", "duplicate"];

function make(tag, className = "", text = null) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  return element;
}

// Seconds as m:ss.d or h:mm:ss.d
function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const whole = Math.round(Math.max(seconds, 0) * scale);
  const s = (whole % (60 * scale)) / scale;
  const minutes = Math.floor(whole / (60 * scale));
  const ss = s.toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  if (minutes < 60) return `${minutes}:${ss}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${ss}`;
}

// Each class keeps its colour everywhere; neighbours in the class list are far apart on the colour circle.
const hueOf = (label) => (25 + label * 137.508) % 360;
const nameOf = (label) => data.classes[label] || "(no class)";

// The segments of a video as objects, made when the video is first looked at.
function segmentsOf(video) {
  if (!video.segments) {
    const truth = (video.truth || []).map(([start, end, label, found]) =>
      ({ kind: "truth", start, end, label, score: null, found }));
    const detections = video.pred.map(([start, end, label, score, outcome, tiou]) =>
      ({ kind: "detection", start, end, label, score, outcome, tiou }));
    video.segments = truth.concat(detections);
  }
  return video.segments;
}

const isShown = (segment, threshold) => segment.kind === "truth" || segment.score >= threshold;

function verdictOf(segment, threshold) {
  if (segment.kind === "detection") return VERDICTS[segment.outcome];
  return segment.found >= Math.max(threshold, 0) ? "found" : "missed";
}

// What is right and wrong in one video at a threshold, without making its segment objects.
function countsOf(video, threshold) {
  const counts = { truth: 0, found: 0, detections: 0, wrong: 0 };
  for (const row of video.truth || []) {
    counts.truth += 1;
    if (row[3] >= Math.max(threshold, 0)) counts.found += 1;
  }
  for (const row of video.pred) {
    if (row[3] < threshold) continue;
    counts.detections += 1;
    if (row[4] !== CORRECT) counts.wrong += 1;
  }
  return counts;
}

// Rows that are made only when they are scrolled to: a list of thousands costs what is seen of it.
function lazyRows(scroller, body, makeRow, chunk = 60) {
  let items = [], made = 0;
  const grow = () => {
    while (made < items.length && scroller.scrollTop + scroller.clientHeight * 2 >= scroller.scrollHeight) more();
  };
  const more = (count = chunk) => {
    const rows = document.createDocumentFragment();
    const last = Math.min(made + count, items.length);
    while (made < last) rows.append(makeRow(items[made++]));
    body.append(rows);
  };
  scroller.addEventListener("scroll", grow, { passive: true });
  return {
    show(newItems) {
      items = newItems;
      made = 0;
      body.replaceChildren();
      more();
    },
    reach(position) {
      if (position >= made) more(position - made + chunk);
      return body.children[position];
    },
  };
}

// Scrolls within its own box only: the page stays where the reader put it.
function scrollInto(scroller, element) {
  if (!element) return;
  const box = scroller.getBoundingClientRect(), own = element.getBoundingClientRect();
  const head = scroller.querySelector("thead")?.offsetHeight || 0;
  if (own.top < box.top + head) scroller.scrollTop -= box.top + head - own.top;
  else if (own.bottom > box.bottom) scroller.scrollTop += own.bottom - box.bottom;
}

function oncePerFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; work(); });
  };
}
