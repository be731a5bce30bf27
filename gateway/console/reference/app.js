/** The reference of the interface: a list of all there is, a search, and what was chosen. It is drawn from the two documents alone. */

import { html, render } from "../vendor/htm-preact.js";
import { ThemeChoice } from "../parts/theme.js";
import { entriesOf, matching } from "./model.js";
import { Channel, Operation, Paragraphs, Problem } from "./parts.js";

const VIEWS = { operations: Operation, channels: Channel, problems: Problem };

const state = { openapi: null, asyncapi: null, entries: [], groups: [], search: "", example: "", trouble: "" };

function chosen() {
  const [, kind, id] = location.hash.split("/");
  return state.entries.find((entry) => entry.kind === kind && entry.id === decodeURIComponent(id ?? ""));
}

function Overview() {
  const { info } = state.openapi;
  return html`
    <article id="entry" tabindex="-1" aria-labelledby="entry-title">
      <h1 id="entry-title">${info.title} ${info.version}</h1>
      <${Paragraphs} text=${info.description} />
      <p>The documents: <a href="/openapi.json">openapi.json</a>, <a href="/asyncapi.json">asyncapi.json</a>. Press <kbd>/</kbd> to search,
        <kbd>↓</kbd> and <kbd>↑</kbd> to go through what was found, <kbd>Escape</kbd> to clear the search.</p>
    </article>
  `;
}

function List({ found, current }) {
  return state.groups.map((group) => {
    const own = found.filter((entry) => entry.group === group.name);
    return (
      own.length > 0 &&
      html`
        <section key=${group.name}>
          <h2 title=${group.description}>${group.name}</h2>
          <ul>
            ${own.map(
              (entry) => html`
                <li key=${entry.id}>
                  <a href=${`#/${entry.kind}/${entry.id}`} aria-current=${entry === current ? "true" : "false"} title=${entry.path ?? entry.meaning}>
                    ${entry.method && html`<span class=${`method ${entry.method}`}>${entry.method.toUpperCase()}</span>`}
                    <span class=${entry.deprecated ? "gone" : ""}>${entry.id.replaceAll("_", " ")}</span>
                  </a>
                </li>
              `,
            )}
          </ul>
        </section>
      `
    );
  });
}

function Page() {
  const current = chosen();
  const found = matching(state.entries, state.search);
  const View = current && VIEWS[current.kind];
  return html`
    <header class="bar">
      <a class="brand" href="/"><img src="/console/icon.svg" alt="" width="20" height="20" /><h1>Gavel</h1></a>
      <a href="#/">The interface</a>
      <${ThemeChoice} />
    </header>
    ${state.trouble && html`<p class="alone" role="alert">${state.trouble}</p>`}
    ${state.openapi &&
    html`<div class="reference">
      <nav aria-label="All there is">
        <input type="search" id="search" placeholder="Search (press /)" aria-label="Search" value=${state.search} onInput=${search} />
        <p role="status" class="quiet">${state.search && `${found.length} found`}</p>
        <${List} found=${found} current=${current} />
      </nav>
      <main>
        ${View ? html`<${View} key=${`${current.kind}/${current.id}`} entry=${current} state=${state} choose=${choose} />` : html`<${Overview} />`}
      </main>
    </div>`}
  `;
}

function search(event) {
  state.search = event.target.value;
  draw();
}

function choose(example) {
  state.example = example;
  draw();
}

const root = document.getElementById("root");

function draw() {
  const current = chosen();
  document.title = current ? `${current.id.replaceAll("_", " ")} – Gavel` : "Gavel: the interface";
  render(html`<${Page} />`, root);
}

/** From link to link with the arrows; what is focused is opened by Enter, as any link. */
function step(event, by) {
  const links = [...document.querySelectorAll("nav a")];
  const next = links[links.indexOf(document.activeElement) + by];
  if (next) next.focus();
  else if (by < 0) document.getElementById("search").focus();
  event.preventDefault();
}

addEventListener("keydown", (event) => {
  const field = document.getElementById("search");
  const inside = document.activeElement?.closest?.("nav");
  if (event.key === "/" && document.activeElement !== field) {
    field?.focus();
    event.preventDefault();
  } else if (event.key === "Escape" && inside) {
    state.search = "";
    draw();
    field.focus();
  } else if (event.key === "ArrowDown" && inside) step(event, 1);
  else if (event.key === "ArrowUp" && inside) step(event, -1);
});

addEventListener("hashchange", () => {
  state.example = "";
  draw();
  scrollTo(0, 0);
  document.getElementById("entry")?.focus({ preventScroll: true });
});

async function load(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer.json();
}

async function start() {
  try {
    [state.openapi, state.asyncapi] = await Promise.all([load("/openapi.json"), load("/asyncapi.json")]);
    Object.assign(state, entriesOf(state.openapi, state.asyncapi));
  } catch (error) {
    state.trouble = `The documents could not be read: ${error.message}`;
  }
  root.replaceChildren();
  draw();
}

void start();
