// Runs once, in the element of the conversation; Gradio gives `element` and `trigger`.
// What a reader opened lives here, because the server renders the same HTML for everyone who looks.
const opened = new Set();
let chosen = null;
let newest = null;
let turnCount = 0;
let cameFrom = null;
let thanked = null;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const live = document.createElement("div");
live.className = "vauban-live";
live.setAttribute("role", "status");
live.setAttribute("aria-live", "polite");
document.body.append(live);

const all = (selector) => [...document.querySelectorAll(selector)];
const tell = (text) => {
	if (live.textContent !== text) live.textContent = text;
};

function arrange() {
	const turns = document.querySelector("#conversation .turns");
	if (!turns) return;
	if (document.documentElement.lang !== turns.dataset.language) document.documentElement.lang = turns.dataset.language;
	const count = all("#conversation .turn").length;
	if (count === 0) opened.clear();
	if (count > turnCount) reveal(all("#conversation .turn").at(-1), "start");
	turnCount = count;
	const groups = all("#sources .group");
	const last = groups.length ? groups.at(-1).id : null;
	if (last !== newest) newest = chosen = last;
	for (const group of groups) setHidden(group, group.id !== chosen);
	for (const part of all("#sources details[id]")) if (opened.has(part.id) && !part.open) part.open = true;
	for (const form of all("#conversation form.opinion")) setHidden(form, !opened.has(form.id));
	for (const thumb of all("#conversation .down")) {
		const open = String(opened.has(thumb.getAttribute("aria-controls")));
		if (thumb.getAttribute("aria-expanded") !== open) thumb.setAttribute("aria-expanded", open);
	}
	const thanks = thanked && document.querySelector(`#turn-${thanked} .thanks`);
	if (thanks) {
		thanked = null;
		thanks.focus();
	}
}

function announce() {
	const turns = document.querySelector("#conversation .turns");
	if (turns) tell(turns.dataset.said);
}

function setHidden(part, hidden) {
	if (part.hidden !== hidden) part.hidden = hidden;
}

function reveal(part, block) {
	part.scrollIntoView({ block, behavior: calm.matches ? "auto" : "smooth" });
}

function show(mark) {
	const card = document.getElementById(mark.dataset.source);
	if (!card) return;
	cameFrom = mark;
	chosen = card.closest(".group").id;
	opened.add(card.id);
	arrange();
	for (const words of all("#sources mark")) {
		const here = card.contains(words) && (words.dataset.claims || "").split(" ").includes(mark.dataset.claim);
		words.classList.toggle("now", here);
	}
	for (const other of all("#sources .source")) other.classList.toggle("current", other === card);
	card.querySelector("summary").focus({ preventScroll: true });
	const side = document.querySelector("#aside");
	if (getComputedStyle(side).overflowY === "auto") {
		const top = side.scrollTop + card.getBoundingClientRect().top - side.getBoundingClientRect().top - 8;
		side.scrollTo({ top, behavior: calm.matches ? "auto" : "smooth" });
	} else {
		reveal(card, "start");
	}
}

function goBack() {
	const target = cameFrom?.isConnected ? cameFrom : document.querySelector("#question textarea");
	target.focus({ preventScroll: true });
	reveal(target, "center");
}

async function copy(button) {
	const was = button.textContent;
	let done = true;
	try {
		await navigator.clipboard.writeText(button.dataset.copy);
	} catch {
		done = copyOldWay(button.dataset.copy); // without https, browsers offer nothing else
		button.focus();
	}
	button.textContent = done ? button.dataset.done : button.dataset.failed;
	tell(button.textContent);
	setTimeout(() => (button.textContent = was), 2500);
}

function copyOldWay(text) {
	const field = document.createElement("textarea");
	field.value = text;
	document.body.append(field);
	field.select();
	const done = document.execCommand("copy");
	field.remove();
	return done;
}

function judge(turn, thumb, reason, comment) {
	thanked = turn;
	trigger("submit", { turn: Number(turn), thumb, reason, comment });
}

document.addEventListener("click", (event) => {
	const at = (selector) => event.target.closest?.(selector);
	const mark = at(".cite");
	if (mark) return show(mark);
	if (at(".back")) return goBack();
	const part = at("#sources summary")?.parentElement;
	if (part) return part.open ? opened.delete(part.id) : opened.add(part.id);
	const example = at(".example");
	if (example) return trigger("select", { question: example.dataset.question });
	const copier = at(".copy");
	if (copier) return copy(copier);
	const up = at(".tool.up");
	if (up) return judge(up.dataset.turn, "up");
	const down = at(".tool.down");
	if (down) {
		const id = down.getAttribute("aria-controls");
		opened.has(id) ? opened.delete(id) : opened.add(id);
		arrange();
		if (opened.has(id)) document.querySelector(`#${id} input`).focus();
		return;
	}
	const cancel = at(".tool.cancel");
	if (cancel) {
		const form = cancel.closest("form");
		opened.delete(form.id);
		arrange();
		document.querySelector(`[aria-controls="${form.id}"]`).focus();
		return;
	}
	if (at(".skip")) {
		event.preventDefault();
		document.querySelector("#question textarea").focus();
	}
});

document.addEventListener("submit", (event) => {
	const form = event.target.closest("form.opinion");
	if (!form) return;
	event.preventDefault();
	opened.delete(form.id);
	const reason = form.querySelector("input:checked")?.value ?? null;
	judge(form.dataset.turn, "down", reason, form.querySelector("textarea").value);
	arrange();
});

document.addEventListener("keydown", (event) => {
	if (event.key === "Escape" && event.target.closest?.("#sources")) goBack();
});

// A session that has ended answers 401 to whatever the page does next, and only the browser sees that. It alone sees,
// too, that the connection broke on which an answer was coming; Gradio then waits for ever.
const ask = window.fetch;
window.fetch = async (...given) => {
	const path = new URL(given[0]?.url ?? given[0], document.baseURI).pathname;
	let response;
	try {
		response = await ask(...given);
	} catch (error) {
		if (path.includes("/queue/") && error.name !== "AbortError") setLost(true);
		throw error;
	}
	const over = document.querySelector(".session-over");
	if (over && (response.ok || response.status === 401)) setHidden(over, response.ok);
	if (path.endsWith("/queue/join") && response.ok) setLost(false);
	if (!path.endsWith("/queue/data") || !response.ok) return response;
	return new Response(followed(response.body), { status: response.status, headers: response.headers });
};

let streams = 0;
function followed(body) {
	const reader = body.getReader();
	streams += 1;
	const ended = () => {
		streams -= 1;
		setTimeout(() => setLost(streams === 0 && unfinished()), 2000);
	};
	return new ReadableStream({
		async pull(out) {
			try {
				const { done, value } = await reader.read();
				if (!done) return out.enqueue(value);
				out.close();
				ended();
			} catch (error) {
				out.error(error);
				ended();
			}
		},
		cancel(reason) {
			ended();
			return reader.cancel(reason);
		},
	});
}

function unfinished() {
	const status = all("#conversation .status").at(-1);
	return Boolean(status?.matches(".is-searching, .is-waiting, .is-drafting, .is-writing"));
}

function setLost(lost) {
	const told = document.querySelector(".connection-lost");
	if (told) setHidden(told, !lost);
}

const watched = { childList: true, subtree: true, attributes: true };
const observer = new MutationObserver(() => {
	arrange();
	announce();
});
for (const id of ["conversation", "sources"]) {
	const part = document.getElementById(id);
	if (part) observer.observe(part, watched);
}
observer.observe(element, watched);
arrange();
