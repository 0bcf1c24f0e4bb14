// What stands beside the player and below it: the table of segments, the videos, the numbers, the worst misses.

function makeTable({ onSelect }) {
  const columns = [
    { name: "class", value: (each) => nameOf(each.label) },
    { name: "start", value: (each) => each.start, number: true },
    { name: "end", value: (each) => each.end, number: true },
    { name: "length", value: (each) => each.end - each.start, number: true },
    { name: "score", value: (each) => each.score ?? Infinity, number: true, falling: true },
    { name: "verdict", value: (each) => verdictOf(each, threshold), judged: true },
  ];
  const scroller = document.querySelector("#segments .scroll");
  let video = null, threshold = 0, selected = null, sort = columns[1], falling = false, items = [];

  const list = lazyRows(scroller, $("rows"), (each) => {
    const row = make("tr", each.kind);
    row.segment = each;
    row.classList.toggle("selected", each === selected);
    const name = make("td", "name");
    const dot = make("i", "dot");
    dot.style.setProperty("--hue", hueOf(each.label));
    name.append(dot, make("span", "", nameOf(each.label)));
    name.title = nameOf(each.label);
    row.append(name, make("td", "number", clock(each.start, 2)), make("td", "number", clock(each.end, 2)));
    row.append(make("td", "number", (each.end - each.start).toFixed(2)));
    row.append(make("td", "number", each.score === null ? "truth" : each.score.toFixed(3)));
    if (video.truth !== null) {
      const verdict = make("td", "verdict", verdictOf(each, threshold));
      verdict.classList.add(verdictOf(each, threshold).replace(" ", "-"));
      if (each.kind === "detection") verdict.title = `tIoU ${each.tiou.toFixed(2)} to the nearest instance of this class`;
      row.append(verdict);
    }
    return row;
  });

  function render() {
    items = segmentsOf(video).filter((each) => isShown(each, threshold));
    const value = sort.value, sign = falling ? -1 : 1;
    items.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a.start - b.start;
    });
    $("no-rows").hidden = items.length > 0;
    list.show(items);
  }

  function renderHead() {
    $("columns").replaceChildren(...columns.filter((each) => !each.judged || video.truth !== null).map((each) => {
      const head = make("th", each.number ? "number" : "");
      const button = make("button", "", each.name);
      button.addEventListener("click", () => {
        falling = sort === each ? !falling : Boolean(each.falling);
        sort = each;
        renderHead();
        render();
        scroller.scrollTop = 0;
      });
      head.setAttribute("aria-sort", sort !== each ? "none" : falling ? "descending" : "ascending");
      head.append(button);
      return head;
    }));
  }

  $("rows").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) onSelect(row.segment);
  });

  return {
    show(newVideo, newThreshold) {
      [video, threshold, selected] = [newVideo, newThreshold, null];
      renderHead();
      render();
      scroller.scrollTop = 0;
    },
    filter(newThreshold) {
      threshold = newThreshold;
      render();
    },
    select(segment) {
      selected = segment;
      for (const row of $("rows").querySelectorAll(".selected")) row.classList.remove("selected");
      const position = items.indexOf(segment);
      if (position < 0) return;
      const row = list.reach(position);
      row.classList.add("selected");
      scrollInto(scroller, row);
    },
  };
}

function makeVideoList({ onOpen }) {
  const body = $("video-list");
  let current = 0, threshold = 0, order = data.videos.map((_, position) => position);

  const list = lazyRows(body, body, (position) => {
    const video = data.videos[position], counts = countsOf(video, threshold);
    const row = make("li");
    const button = make("button", "video");
    button.dataset.position = position;
    if (position === current) button.setAttribute("aria-current", "true");
    const said = video.truth === null
      ? `${counts.detections} detected`
      : `${counts.found}/${counts.truth} found · ${counts.wrong} wrong`;
    const name = make("span", "id", video.id);
    name.title = video.id;
    button.append(name, make("span", "meta", `${clock(video.duration, 0)} · ${said}`));
    row.append(button);
    return row;
  });

  function render() {
    const words = $("search").value.toLowerCase();
    order = data.videos.map((_, position) => position)
      .filter((position) => data.videos[position].id.toLowerCase().includes(words));
    if ($("order").value === "name") {
      order.sort((a, b) => data.videos[a].id.localeCompare(data.videos[b].id, undefined, { numeric: true }));
    } else if ($("order").value === "worst") {
      const mistakes = new Map(order.map((position) => {
        const counts = countsOf(data.videos[position], threshold);
        return [position, counts.truth - counts.found + counts.wrong];
      }));
      order.sort((a, b) => mistakes.get(b) - mistakes.get(a));
    }
    list.show(order);
  }

  $("videos").hidden = data.videos.length < 2;
  $("order").querySelector("[value=worst]").hidden = data.videos.every((video) => video.truth === null);
  $("search").addEventListener("input", render);
  $("order").addEventListener("change", render);
  body.addEventListener("click", (event) => {
    const button = event.target.closest(".video");
    if (button) onOpen(Number(button.dataset.position));
  });

  return {
    filter(newThreshold) {
      threshold = newThreshold;
      if (!$("videos").hidden) render();
    },
    mark(position) {
      current = position;
      for (const button of body.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
      const at = order.indexOf(position);
      if ($("videos").hidden || at < 0) return;
      const row = list.reach(at);
      row.firstChild.setAttribute("aria-current", "true");
      scrollInto(body, row);
    },
    after: (step) => order[order.indexOf(current) + step],
  };
}

function showNumbers() {
  $("title").textContent = data.title;
  $("subtitle").textContent = data.subtitle;
  for (const [name, value] of data.metrics) {
    const item = make("div");
    item.append(make("dt", "", name), make("dd", "", value === null ? "none" : value.toFixed(3)));
    $("metrics").append(item);
  }
  for (const [name, value] of data.facts) $("facts").append(make("dt", "", name), make("dd", "", value));
}

function showClasses() {
  if (!data.perClass.length) return;
  $("classes").hidden = false;
  const mean = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0;
  };
  const head = make("tr");
  const single = data.columns.length === 1;
  for (const name of ["class", "instances", single ? data.columns[0] : "mean", "", ...(single ? [] : data.columns)]) {
    head.append(make("th", name === "class" || name === "" ? "" : "number", name));
  }
  const table = $("class-table");
  table.append(make("thead"), make("tbody"));
  table.tHead.append(head);
  for (const [label, count, values] of [...data.perClass].sort((a, b) => mean(b[2]) - mean(a[2]))) {
    const row = make("tr");
    const name = make("td", "name");
    const dot = make("i", "dot");
    dot.style.setProperty("--hue", hueOf(label));
    name.append(dot, make("span", "", nameOf(label)));
    name.title = nameOf(label);
    const bar = make("td", "bar");
    const fill = make("i");
    fill.style.setProperty("--hue", hueOf(label));
    fill.style.width = `${mean(values) * 100}%`;
    bar.append(fill);
    row.append(name, make("td", "number", count), make("td", "number strong", mean(values).toFixed(3)), bar);
    if (!single) row.append(...values.map((value) => make("td", "number", value === null ? "" : value.toFixed(3))));
    table.tBodies[0].append(row);
  }
}

function showMisses(onOpen) {
  const kinds = [
    ["missed", "Missed", "instances that no detection of their class touches"],
    ["false", "False", "detections where nothing of their class happens, highest scores first"],
    ["boundary", "Wrong ends", `right class and place, tIoU below ${data.tiou}`],
  ];
  for (const [kind, title, about] of kinds) {
    const mine = data.misses.filter((miss) => miss.kind === kind);
    if (!mine.length) continue;
    $("misses").hidden = false;
    const group = make("div", "group"), cards = make("div", "cards"), head = make("h3", "", title);
    head.append(make("small", "", about));
    for (const miss of mine) {
      const card = make("button", "card");
      if (miss.thumbnail) {
        const picture = make("img");
        [picture.src, picture.alt, picture.loading] = [miss.thumbnail, "", "lazy"];
        card.append(picture);
      }
      const name = make("b", "", miss.name);
      const score = miss.score === null ? "" : `${miss.score.toFixed(2)} · `;
      const where = make("small", "where", data.videos[miss.video].id);
      card.title = data.videos[miss.video].id;
      card.append(name, make("small", "", `${score}${clock(miss.start)} to ${clock(miss.end)}`));
      card.append(make("small", "", miss.detail), where);
      card.addEventListener("click", () => onOpen(miss));
      cards.append(card);
    }
    group.append(head, cards);
    $("miss-groups").append(group);
  }
}
