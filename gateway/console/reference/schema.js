/** A JSON schema as a list of fields: what each is called, of which type it is, within which bounds. */

import { html } from "../vendor/htm-preact.js";
import { resolved } from "./model.js";

const DEPTH_MAX = 4;

/** What a field's type is, in few words. */
export function typeOf(schema, document) {
  const name = schema.$ref?.split("/").at(-1);
  const found = resolved(schema, document);
  if (found.enum) return found.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.anyOf) return found.anyOf.map((each) => typeOf(each, document)).join(" or ");
  if (found.type === "array") return `list of ${typeOf(found.items ?? {}, document)}`;
  if (name) return name;
  return found.format ? `${found.type} (${found.format})` : found.type ?? "anything";
}

const BOUNDS = {
  minimum: "at least", maximum: "at most", exclusiveMinimum: "more than", exclusiveMaximum: "less than", minLength: "characters at least",
  maxLength: "characters at most", minItems: "items at least", maxItems: "items at most", pattern: "matches",
};

/** The bounds of a value, and what holds where it is left out. */
export function boundsOf(schema) {
  const isSaid = (bound) => bound !== undefined && !(bound > Number.MAX_SAFE_INTEGER); // past it, there is no end that matters
  const said = Object.entries(BOUNDS).filter(([name]) => isSaid(schema[name])).map(([name, words]) => `${words} ${schema[name]}`);
  for (const choice of schema.anyOf ?? []) if (!choice.$ref) said.push(...boundsOf(choice).filter((each) => !said.includes(each)));
  if (schema.default !== undefined && schema.default !== null) said.push(`${JSON.stringify(schema.default)} by default`);
  if (schema["x-personal"]) said.push("personal data");
  return said;
}

/** The schema whose fields are worth showing: a record, or the records of a list. */
function inner(schema, document) {
  const found = resolved(schema, document);
  if (found.properties) return found;
  if (found.items) return inner(found.items, document);
  return (found.anyOf ?? []).map((each) => inner(each, document)).find(Boolean);
}

export function Fields({ schema, document, depth = 0 }) {
  const record = inner(schema, document);
  if (!record) return html`<p><code>${typeOf(schema, document)}</code></p>`;
  const required = new Set(record.required ?? []);
  return html`
    <ul class="members">
      ${Object.entries(record.properties).map(([name, field]) => {
        const below = depth < DEPTH_MAX && inner(field, document);
        const bounds = boundsOf(resolved(field, document));
        return html`
          <li key=${name}>
            <code>${name}</code>${required.has(name) && html`<span class="must" title="required"> *</span>`}
            <span class="kind"> ${typeOf(field, document)}</span>
            ${bounds.length > 0 && html`<span class="bounds">${bounds.join(", ")}</span>`}
            ${below && html`<details><summary class="kind">its fields</summary><${Lazy} schema=${field} document=${document} depth=${depth + 1} /></details>`}
          </li>
        `;
      })}
    </ul>
  `;
}

/** What is folded is drawn too, but not endlessly: a record may hold its own kind. */
function Lazy({ schema, document, depth }) {
  return depth <= DEPTH_MAX ? html`<${Fields} schema=${schema} document=${document} depth=${depth} />` : html`<p>…</p>`;
}
