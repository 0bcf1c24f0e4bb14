// The page: what is open, where the player stands, and what the keys do.

const player = $("video");
let current = null, currentIdx = -1, time = 0, threshold = data.threshold, selected = null;

const hasPlayer = () => Boolean(current.src) && !player.hidden;

function seek(seconds) {
  time = Math.min(Math.max(seconds, 0), current.duration);
  if (hasPlayer()) player.currentTime = time + current.offset;
  showTime(false);
}

function showTime(follow) {
  $("now").textContent = clock(time);
  timeline.move(time, follow);
}

function select(segment) {
  selected = segment;
  timeline.select(segment);
  table.select(segment);
  seek(segment.start);
}

function step(direction) {
  const detections = segmentsOf(current).filter((each) => each.kind === "detection" && each.score >= threshold);
  const all = detections.length ? detections : segmentsOf(current);
  const at = all.indexOf(selected);
  const near = selected && Math.abs(time - selected.start) < 0.05 && at >= 0;
  const next = near
    ? all[at + direction]
    : direction > 0 ? all.find((each) => each.start > time) : all.findLast((each) => each.start < time);
  if (next) select(next);
}

function open(position) {
  if (position === undefined || position === currentIdx) return;
  [current, currentIdx, time, selected] = [data.videos[position], position, 0, null];
  $("video-name").textContent = current.id;
  $("video-name").title = current.id;
  $("duration").textContent = clock(current.duration);
  player.hidden = !current.src;
  if (current.src) player.src = current.src;
  else player.removeAttribute("src");
  player.load();
  $("play").disabled = !current.src;
  // Without a file there is nothing to say but the table; a file that cannot be played says why.
  $("stage").classList.toggle("without-video", !current.src && !current.note);
  say(current.note);
  timeline.show(current, threshold);
  table.show(current, threshold);
  videoList.mark(position);
  showCount();
  seek(0);
}

function say(text) {
  $("no-video").textContent = text;
  $("no-video").hidden = !text;
}

function showCount() {
  const counts = countsOf(current, threshold);
  $("shown").textContent = current.truth === null
    ? `${counts.detections} of ${current.pred.length} detections`
    : `${counts.found} of ${counts.truth} found · ${counts.detections} detections, ${counts.wrong} wrong`;
}

const refilter = oncePerFrame(() => {
  timeline.filter(threshold);
  table.filter(threshold);
  videoList.filter(threshold);
  showCount();
});

function setThreshold(value) {
  threshold = value;
  $("threshold-value").textContent = value.toFixed(2);
  refilter();
}

function openMiss(miss) {
  open(miss.video);
  const kind = miss.kind === "missed" ? "truth" : "detection";
  const segment = segmentsOf(current).find((each) =>
    each.kind === kind && nameOf(each.label) === miss.name &&
    Math.abs(each.start - miss.start) < 0.002 && Math.abs(each.end - miss.end) < 0.002);
  if (segment && isShown(segment, threshold)) select(segment);
  else seek(miss.start);
  $("viewer").scrollIntoView({ behavior: "smooth", block: "start" });
}

function togglePlay() {
  if (!hasPlayer()) return;
  if (player.paused) player.play().catch(() => {});
  else player.pause();
}

function frame() {
  if (player.paused || player.ended) return;
  time = player.currentTime - current.offset;
  showTime(true);
  requestAnimationFrame(frame);
}

const timeline = makeTimeline({ onSeek: (seconds) => { selected = null; seek(seconds); }, onSelect: select });
const table = makeTable({ onSelect: select });
const videoList = makeVideoList({ onOpen: open });

player.addEventListener("play", () => { $("play").textContent = "Pause"; requestAnimationFrame(frame); });
player.addEventListener("pause", () => { $("play").textContent = "Play"; });
player.addEventListener("seeked", () => {
  if (Math.abs(player.currentTime - current.offset - time) > 0.05) {
    time = player.currentTime - current.offset;
    showTime(true);
  }
});
player.addEventListener("error", () => {
  if (!current.src) return;
  player.hidden = true;
  $("play").disabled = true;
  say("The video cannot be played here: it was moved away from this page, or this browser does not know its format.");
});

$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("play").addEventListener("click", togglePlay);
$("zoom-in").addEventListener("click", () => timeline.zoom(2));
$("zoom-out").addEventListener("click", () => timeline.zoom(0.5));
$("zoom-fit").addEventListener("click", () => timeline.fit());
$("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));

const KEYS = {
  " ": togglePlay,
  ArrowLeft: (event) => seek(time - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => seek(time + (event.shiftKey ? 10 : 1)),
  n: () => step(1),
  p: () => step(-1),
  j: () => open(videoList.after(1)),
  k: () => open(videoList.after(-1)),
  "+": () => timeline.zoom(2),
  "=": () => timeline.zoom(2),
  "-": () => timeline.zoom(0.5),
  0: () => timeline.fit(),
};
document.addEventListener("keydown", (event) => {
  const work = KEYS[event.key];
  const typing = event.target.closest("input, select");
  const pressing = event.key === " " && event.target.closest("button");
  if (!work || typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  work(event);
});

const keys = [["space", "play or pause"], ["← →", "one second, with shift ten"], ["n p", "next, previous detection"],
  ["+ − 0", "zoom"]];
if (data.videos.length > 1) keys.push(["j k", "next, previous video"]);
for (const [key, about] of keys) $("keys").append(make("kbd", "", key), ` ${about}   `);

const judged = data.videos.some((video) => video.truth !== null);
const legend = judged
  ? [["truth found", "ground truth, found"], ["truth missed", "missed"], ["correct", `correct (tIoU at least ${data.tiou})`],
    ["boundary", "wrong ends"], ["false", "false or duplicate"]]
  : [];
for (const [kind, text] of legend) {
  const entry = make("span");
  entry.append(make("i", `key ${kind}`), text);
  $("legend").append(entry);
}

$("threshold").value = threshold;
$("threshold-value").textContent = threshold.toFixed(2);
showNumbers();
showClasses();
showMisses(openMiss);
videoList.filter(threshold);
open(0);
