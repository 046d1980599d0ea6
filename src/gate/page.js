// The status page: asks /status every second and shows the answer. What comes from the daemon gets
// into the page as textContent only, never as HTML.
"use strict";

const SPAN = 300;       // seconds that a plot shows
const PERIOD = 1000;    // ms between two looks
const LONGEST = 10000;  // ms between two, while nobody answers
const PATIENCE = 5000;  // ms for one answer
const LONG = 5;         // seconds after which a request is shown as a long one
const ROWS = 12;        // longest running requests

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const pools = new Map(); // name: what the page has of a pool
let before = null;       // the last answer, and when it came
let delay = PERIOD;
let timer = 0;
let asking = false;
let gone = 0;            // since when nobody answers

function make(tag, parent, name, text) {
	const element = document.createElement(tag);
	if (name) element.className = name;
	if (text !== undefined) element.textContent = text;
	if (parent) parent.append(element);
	return element;
}

function draw(tag, parent, attributes) {
	const element = document.createElementNS(SVG, tag);
	for (const name in attributes) element.setAttribute(name, attributes[name]);
	parent.append(element);
	return element;
}

// Touches the page only where something is different.
function say(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

function label(element, text) {
	if (element.getAttribute("aria-label") !== text) element.setAttribute("aria-label", text);
}

const known = (n) => typeof n === "number" && isFinite(n);
const sum = (list, of) => list.reduce((all, one) => all + (known(of(one)) ? of(one) : 0), 0);

function number(n) {
	if (!known(n)) return "\u2013";
	if (Math.abs(n) < 10 && n % 1 !== 0) return n.toFixed(1);
	return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function seconds(s) {
	if (!known(s) || s < 0) return "\u2013";
	if (s > 0 && s < 0.0009995) return (s * 1e6).toFixed(0) + " \u00b5s";
	if (s > 0 && s < 0.0995) return (s * 1e3).toFixed(s < 0.00995 ? 1 : 0) + " ms";
	if (s < 10) return s.toFixed(2) + " s";
	s = Math.round(s);
	if (s < 60) return s + " s";
	if (s < 3600) return Math.floor(s / 60) + " min " + s % 60 + " s";
	if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
	return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}

function bytes(n) {
	if (!known(n)) return "\u2013";
	for (const unit of ["B", "KiB", "MiB", "GiB"]) {
		const digits = unit === "B" || n >= 10 ? 0 : 1;
		if (n < 1000 || unit === "GiB") return n.toFixed(digits) + " " + unit;
		n /= 1024;
	}
}

const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");
const many = (n, word) => number(n) + " " + word + (n === 1 ? "" : "s");

// Plots

function newPlot(parent, title) {
	const box = make("div", parent, "plot");
	const plot = { samples: [], title };
	make("h4", box, "", title);
	const figures = make("div", box);
	plot.value = make("b", figures);
	plot.most = make("small", figures);
	plot.svg = draw("svg", box, { viewBox: "0 0 300 56", preserveAspectRatio: "none",
		role: "img" });
	for (const x of [60, 120, 180, 240])
		draw("line", plot.svg, { class: "grid", x1: x, x2: x, y1: 52, y2: 56 });
	plot.area = draw("path", plot.svg, { class: "area" });
	plot.line = draw("path", plot.svg, { class: "line" });
	return plot;
}

// A line for each stretch without a gap, and the area under it. What is unknown is a gap.
function paths(samples, now, top) {
	let line = "", area = "", last = null, at = 0, start = 0;
	const close = () => { if (last !== null) area += "L" + last + " 56L" + start + " 56Z"; };
	for (const [t, v] of samples) {
		const x = (300 - (now - t) * 300 / SPAN).toFixed(1);
		const y = known(v) ? (54 - v * 50 / top).toFixed(1) : 0;
		const joined = known(v) && last !== null && t - at < 4;
		if (!joined) close();
		if (!known(v)) { last = null; continue; }
		if (!joined) { start = x; area += "M" + x + " 56"; }
		line += (joined ? "L" : "M") + x + " " + y;
		area += "L" + x + " " + y;
		last = x;
		at = t;
	}
	close();
	return [line, area];
}

function addSample(plot, now, value) {
	plot.samples.push([now, value]);
	while (plot.samples[0][0] < now - SPAN) plot.samples.shift();
	const most = Math.max(0, ...plot.samples.map(([, v]) => known(v) ? v : 0));
	const [line, area] = paths(plot.samples, now, most || 1);
	plot.line.setAttribute("d", line);
	plot.area.setAttribute("d", area);
	say(plot.value, number(value));
	say(plot.most, "at most " + number(most) + " in 5 min");
	label(plot.svg, plot.title + ": " + number(value) + " now, at most " + number(most) +
		" in the last five minutes");
}

// Pools

const STATES = ["idle", "busy", "starting", "retiring", "unknown"];
const stateOf = (pool) => pool.state === "backoff" ? "back-off" :
	pool.state === "serving" && pool.draining ? "draining" : pool.state;

function newPool(pool, at) {
	const card = make("article", null, "card");
	const view = { card, at, cells: [], selected: 0 };
	const head = make("div", card, "head");
	make("h2", head, "", pool.name);
	view.state = make("span", head, "state");
	view.program = make("span", head, "program");
	view.why = make("p", card, "why");
	view.facts = make("p", card, "facts");
	const plots = make("div", card, "plots");
	view.rate = pool.requests === null ? null : newPlot(plots, "requests per second");
	view.busy = newPlot(plots, "busy workers");
	view.queue = newPlot(plots, "waiting connections");
	const key = make("ul", card, "key");
	view.counts = STATES.map((state) => {
		const item = make("li", key);
		make("span", item, "cell " + state).setAttribute("aria-hidden", "true");
		make("span", item);
		return item;
	});
	const item = make("li", key);
	make("span", item, "cell long").setAttribute("aria-hidden", "true");
	make("span", item, "", "longer than " + LONG + " s");
	view.grid = make("div", card, "cells");
	view.grid.setAttribute("role", "listbox");
	view.grid.tabIndex = 0;
	view.one = make("p", card, "one");
	view.one.setAttribute("aria-live", "polite");
	listen(view, "w" + at);
	return view;
}

// One stop for the tab key; arrows go from worker to worker.
function listen(view, id) {
	const at = (element) => view.cells.indexOf(element);
	view.id = id;
	view.grid.addEventListener("click", (e) => select(view, at(e.target)));
	view.grid.addEventListener("mouseover", (e) => {
		const worker = view.pool.list[at(e.target)];
		if (worker) e.target.title = describe(worker);
	});
	view.grid.addEventListener("keydown", (e) => {
		const n = view.cells.length, row = perRow(view);
		const now = view.pool.list.findIndex((w) => w.pid === view.selected);
		const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[e.key];
		const ends = { Home: 0, End: n - 1 }[e.key];
		const to = by === undefined ? ends : now < 0 ? 0 : now + by;
		if (e.key === "Escape") select(view, -1);
		else if (to !== undefined && to >= 0 && to < n) select(view, to);
		else if (to === undefined) return;
		e.preventDefault();
	});
}

function perRow(view) {
	const top = view.cells.length ? view.cells[0].offsetTop : 0;
	const n = view.cells.findIndex((cell) => cell.offsetTop !== top);
	return n < 0 ? view.cells.length : n;
}

function select(view, index) {
	const worker = view.pool.list[index];
	view.selected = worker && worker.pid !== view.selected ? worker.pid : 0;
	showSelected(view);
}

function showSelected(view) {
	const index = view.pool.list.findIndex((w) => w.pid === view.selected);
	view.cells.forEach((cell, i) => {
		const is = String(i === index);
		if (cell.ariaSelected !== is) cell.ariaSelected = is;
	});
	if (index < 0) view.grid.removeAttribute("aria-activedescendant");
	else view.grid.setAttribute("aria-activedescendant", view.cells[index].id);
	if (index >= 0) say(view.one, describe(view.pool.list[index]));
	else if (view.selected) say(view.one, "Process " + view.selected + " has ended.");
	else say(view.one, view.pool.list.length ? "Choose a worker to see what it does." : "");
}

function describe(w) {
	const parts = ["worker " + w.slot, "pid " + w.pid, w.state];
	if (w.request) parts.push((w.request.method + " " + w.request.path).trim() + " for " +
		seconds(w.request.seconds));
	if (known(w.requests)) parts.push(many(w.requests, "request"));
	if (known(w.total_seconds)) parts.push("in " + seconds(w.total_seconds) + " altogether");
	if (known(w.last_seconds)) parts.push("the last took " + seconds(w.last_seconds));
	if (known(w.bytes_out))
		parts.push(bytes(w.bytes_in) + " received, " + bytes(w.bytes_out) + " sent");
	if (known(w.connections)) parts.push(many(w.connections, "connection"));
	if (known(w.cpu_seconds)) parts.push("processor " + seconds(w.cpu_seconds));
	if (known(w.resident_bytes)) parts.push("memory " + bytes(w.resident_bytes));
	if (known(w.started) && before) parts.push("age " + seconds(before.status.now - w.started));
	parts.push("generation " + w.generation);
	return parts.join(", ");
}

function looksOf(w) {
	if (!STATES.includes(w.state)) return "cell";
	const long = w.state === "busy" && w.request && w.request.seconds > LONG;
	return "cell " + (long ? "long" : w.state);
}

function showCells(view, list) {
	while (view.cells.length > list.length) view.cells.pop().remove();
	while (view.cells.length < list.length) {
		const cell = make("div", view.grid, "cell");
		cell.id = view.id + "-" + view.cells.length;
		cell.setAttribute("role", "option");
		view.cells.push(cell);
	}
	list.forEach((w, i) => {
		const looks = looksOf(w);
		if (view.cells[i].className === looks && view.cells[i].slot === w.slot) return;
		view.cells[i].className = looks;
		view.cells[i].slot = w.slot;
		label(view.cells[i], "worker " + w.slot + ", " +
			(looks === "cell long" ? "busy for long" : w.state));
	});
	const size = list.length > 600 ? " crowd" : list.length > 100 ? " many" : "";
	if (view.grid.className !== "cells" + size) view.grid.className = "cells" + size;
	const counts = STATES.map((s) => list.filter((w) => w.state === s).length + " " + s);
	counts.forEach((count, i) => say(view.counts[i].lastChild, count));
	view.counts[STATES.length - 1].hidden = counts[STATES.length - 1].startsWith("0");
	label(view.grid, "Workers of pool " + view.pool.name + ": " + counts.join(", "));
	showSelected(view);
}

// The bound of the bucket below which so many of a hundred requests stayed.
function within(latency, percent) {
	const bucket = latency.buckets.find((b) => b.count >= latency.count * percent / 100);
	if (bucket && known(bucket.le)) return percent + " % within " + seconds(bucket.le);
	return percent + " % in longer than " + seconds(latency.buckets.at(-2).le);
}

function factsOf(pool) {
	const w = pool.workers, d = pool.died;
	const range = w.min === w.max ? w.max : w.min + " to " + w.max;
	const parts = [range + (w.max === 1 ? " worker" : " workers"), w.live + " live",
		w.wanted + " wanted"];
	for (const l of pool.listeners)
		parts.push(l.address + ": " + number(l.queue) + " of " + number(l.queue_limit) +
			" wait");
	if (known(pool.requests)) parts.push(many(pool.requests, "request"));
	if (pool.latency && pool.latency.count > 0 && pool.latency.buckets.length > 1)
		parts.push(within(pool.latency, 50), within(pool.latency, 95));
	if (known(pool.bytes_out))
		parts.push(bytes(pool.bytes_in) + " received, " + bytes(pool.bytes_out) + " sent");
	const ended = [["exited", d.exited], ["by a signal", d.signal], ["by timeout", d.timeout],
		["before ready", d.failed_start], ["retired", d.retired]].filter(([, n]) => n > 0);
	if (ended.length)
		parts.push("ended: " + ended.map(([what, n]) => n + " " + what).join(", "));
	parts.push("generation " + pool.generation);
	return parts.join(" \u00b7 ");
}

function whyOf(pool) {
	const parts = [];
	if (!pool.healthy) parts.push(pool.reason || "not healthy");
	if (pool.backoff.active) parts.push("back-off of " + seconds(pool.backoff.delay) +
		", next try in " + seconds(pool.backoff.ends_in));
	return parts.join("; ");
}

function showPool(view, pool, now, rate) {
	view.pool = pool;
	const state = stateOf(pool);
	say(view.state, state);
	view.state.className = "state" + (state === "serving" && pool.healthy ? "" :
		pool.state === "backoff" || !pool.healthy && !pool.draining ? " bad" : " warn");
	say(view.program, pool.kind + " " + pool.program);
	say(view.why, whyOf(pool));
	say(view.facts, factsOf(pool));
	if (view.rate) addSample(view.rate, now, rate);
	addSample(view.busy, now, pool.workers.busy);
	addSample(view.queue, now, sum(pool.listeners, (l) => l.queue));
	showCells(view, pool.list);
}

// Requests a second since the last look; null where nobody can say.
function rateOf(pool, status, now) {
	if (!before || before.status.pid !== status.pid || before.status.started !== status.started)
		return null;
	const old = before.status.pools.find((p) => p.name === pool.name);
	if (!old || !known(old.requests) || !known(pool.requests) || pool.requests < old.requests)
		return null;
	return (pool.requests - old.requests) / (now - before.at);
}

let made = 0; // pools that the page has ever had

function showPools(status, now) {
	let total = null;
	for (const [name, view] of pools)
		if (!status.pools.some((p) => p.name === name)) {
			view.card.remove();
			pools.delete(name);
		}
	status.pools.forEach((pool, i) => {
		let view = pools.get(pool.name);
		if (view && (view.rate === null) !== (pool.requests === null)) {
			view.card.remove(); // it runs something else now
			view = null;
		}
		if (!view) pools.set(pool.name, view = newPool(pool, made++));
		if ($("pools").children[i] !== view.card)
			$("pools").insertBefore(view.card, $("pools").children[i] || null);
		const rate = rateOf(pool, status, now);
		if (known(rate)) total = (total || 0) + rate;
		showPool(view, pool, now, rate);
	});
	return total;
}

// The rest

const tiles = new Map();

function tile(title, value, small) {
	if (!tiles.has(title)) {
		const box = make("div", $("tiles"), "card");
		make("dt", box, "", title);
		const dd = make("dd", box);
		tiles.set(title, [make("span", dd), make("small", dd)]);
	}
	const [big, below] = tiles.get(title);
	say(big, value);
	say(below, small);
}

function showTiles(status, total) {
	const all = (of) => sum(status.pools, of);
	const sick = status.pools.filter((p) => !p.healthy).length;
	const reloads = status.reloads;
	tile("pools", number(status.pools.length), sick ? sick + " not healthy" : "all healthy");
	tile("requests per second", number(total), number(all((p) => p.requests)) + " so far");
	tile("busy workers", number(all((p) => p.workers.busy)),
		"of " + number(all((p) => p.workers.live)) + " live");
	tile("waiting connections", number(all((p) => sum(p.listeners, (l) => l.queue))),
		"room for " + number(all((p) => sum(p.listeners, (l) => l.queue_limit))));
	tile("reloads", number(reloads.done), (reloads.failed ? reloads.failed + " failed, " : "") +
		(reloads.last.result === "running" ? "one runs" :
			known(reloads.last.at) ? "last at " + clock(reloads.last.at) : "none yet"));
	tile("up", seconds(status.now - status.started), "since " +
		new Date(status.started * 1000).toLocaleString("en-GB"));
}

function showSlow(status) {
	const running = status.pools.flatMap((pool) => pool.list.filter((w) => w.request)
		.map((w) => ({ pool: pool.name, pid: w.pid, ...w.request })));
	running.sort((a, b) => b.seconds - a.seconds);
	const rows = running.slice(0, ROWS).map((r) => {
		const row = make("tr");
		make("td", row, "number", seconds(r.seconds));
		make("td", row, "", r.pool);
		make("td", row, "wide", String(r.pid));
		make("td", row, "path", (r.method + " " + r.path).trim());
		return row;
	});
	$("slowrows").replaceChildren(...rows);
	$("slow").hidden = rows.length === 0;
	$("noslow").hidden = rows.length > 0;
}

let shownEvents = "";

function showEvents(events) {
	const mark = JSON.stringify(events);
	if (mark === shownEvents) return;
	shownEvents = mark;
	$("events").replaceChildren(...events.map((e) => {
		const line = make("li", null, ["error", "warning"].includes(e.level) ? e.level : "");
		make("time", line, "", clock(e.at));
		make("b", line, "", e.level);
		make("span", line, "", e.text);
		return line;
	}).reverse());
	$("noevents").hidden = events.length > 0;
}

function showIcon(colour) {
	const href = "data:image/svg+xml,%3Csvg xmlns='" + SVG + "' viewBox='0 0 8 8'%3E" +
		"%3Ccircle cx='4' cy='4' r='3.5' fill='%23" + colour + "'/%3E%3C/svg%3E";
	if ($("icon").getAttribute("href") !== href) $("icon").setAttribute("href", href);
}

function failure(what, changes) {
	return changes.last.result === "failed" ? "The last " + what + " failed: " +
		changes.last.reason : "";
}

// How programs are retired, where that can cut a request or take long.
function retirementOf(status) {
	if (!status.pools.some((p) => p.kind === "command")) return "";
	if (status.retirement === "signal")
		return "Programs are told to stop wherever they are, which can cut a request: " +
			"preforkd may not look into them.";
	if (status.retirement === "stop")
		return "Programs are retired when they are found without a connection, which in a " +
			"pool that is never idle can take until stop-timeout: they cannot be traced.";
	return "";
}

function show(status, now) {
	const sick = status.pools.some((p) => !p.healthy);
	const well = status.state === "serving" && !sick;
	const bad = [failure("reload", status.reloads), failure("upgrade", status.upgrades)]
		.filter((text) => text).join(" ");
	say($("state"), status.state === "serving" && sick ? "not healthy" : status.state);
	$("state").className = "state" + (well ? "" : sick ? " bad" : " warn");
	say($("about"), "version " + status.version + ", pid " + status.pid);
	say($("failed"), bad);
	$("failed").hidden = bad === "";
	say($("retirement"), retirementOf(status));
	$("retirement").hidden = $("retirement").textContent === "";
	document.title = (sick ? "\u25b2 " : "") + "preforkd";
	showIcon(well ? "2b7a57" : "c62b2b");
	showTiles(status, showPools(status, now));
	showSlow(status);
	showEvents(status.events);
	before = { status, at: now };
}

function showAway(reason) {
	gone = gone || Date.now();
	delay = Math.min(delay * 2, LONGEST);
	say($("awaytext"), "No answer since " + new Date(gone).toLocaleTimeString("en-GB") + " (" +
		reason + "). Next try in " + delay / 1000 + " s.");
	$("away").hidden = false;
	document.body.classList.add("stale");
	say($("state"), "not reachable");
	$("state").className = "state bad";
	showIcon("7b8691");
}

function showBack() {
	gone = 0;
	delay = PERIOD;
	$("away").hidden = true;
	document.body.classList.remove("stale");
}

async function ask() {
	const signal = AbortSignal.timeout(PATIENCE);
	const answer = await fetch("status", { cache: "no-store", signal });
	if (answer.ok) return answer.json();
	const said = await answer.json().catch(() => ({}));
	throw new Error(said.message || "HTTP status " + answer.status);
}

async function look() {
	if (asking) return;
	asking = true;
	clearTimeout(timer);
	const begin = performance.now();
	let status = null;
	try {
		status = await ask();
		showBack();
	} catch (e) {
		showAway({ TimeoutError: "it is too slow", TypeError: "no connection" }[e.name] ||
			e.message);
	}
	asking = false;
	timer = setTimeout(look, Math.max(delay - (performance.now() - begin), 100));
	if (status) show(status, performance.now() / 1000);
}

$("again").addEventListener("click", look);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
