/**
 * A form made of a JSON schema, and the document that was filled in. What a schema asks for in a way that no control has (choices between
 * shapes, maps) is written as JSON. Whether it fits, the node alone decides: it names each fault by its pointer, and each stands by its field.
 */

import { html } from "../vendor/htm-preact.js";
import { json, words } from "../format.js";

const LONG_CHARACTERS = 120; // a text that may be longer gets more lines
const DEPTH_MAX = 4;
const INPUT_BY_FORMAT = { date: "date", time: "time", email: "email", uri: "url" };

/** A schema with what it refers to within the whole put in its place. */
function resolved(schema, whole, depth = 0) {
  const reference = schema?.$ref;
  if (typeof reference !== "string" || !reference.startsWith("#/") || depth > DEPTH_MAX) return schema ?? {};
  const path = reference.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return resolved(path.reduce((part, name) => part?.[name], whole), whole, depth + 1);
}

/** Which control a schema gets. */
function kindOf(schema, depth) {
  if ("const" in schema) return "fixed";
  if (Array.isArray(schema.enum)) return "choice";
  if (schema.type === "object" && schema.properties && depth < DEPTH_MAX) return "group";
  if (schema.type === "boolean") return "yes";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string") return (schema.maxLength ?? 0) > LONG_CHARACTERS ? "text" : "line";
  if (schema.type === "array" && Array.isArray(schema.items?.enum)) return "choices";
  if (schema.type === "array" && schema.items?.type === "string") return "lines";
  return "json";
}

export function child(pointer, name) {
  return `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** The fields of a schema; `faults` are those of the last answer, `id` sets the form apart from others on the page. */
export function SchemaFields({ schema, pointer, faults, id }) {
  const whole = schema ?? {};
  return html`<${Field} schema=${whole} whole=${whole} pointer=${pointer} name="" required=${true} faults=${faults} id=${id} depth=${0} />`;
}

function Field(given) {
  const schema = resolved(given.schema, given.whole);
  const kind = kindOf(schema, given.depth);
  if (kind === "group") return html`<${Group} ...${given} schema=${schema} />`;
  const { pointer, name, required, faults, id } = given;
  const control = `${id}${pointer}`;
  const wrong = faults.filter((fault) => fault.pointer === pointer || (kind !== "group" && fault.pointer.startsWith(`${pointer}/`)));
  const described = [schema.description && `${control}-about`, wrong.length && `${control}-wrong`].filter(Boolean).join(" ");
  const title = schema.title ?? (name ? words(name) : "Result");
  const Control = CONTROLS[kind];
  return html`
    <div class="field">
      <label for=${control}>${title}${required && name ? html` <span class="about">(required)</span>` : ""}</label>
      <${Control} schema=${schema} required=${required} common=${{
        id: control,
        name: pointer,
        "aria-describedby": described || undefined,
        "aria-invalid": wrong.length ? "true" : undefined,
      }} />
      ${schema.description && html`<p class="about" id=${`${control}-about`}>${schema.description}</p>`}
      ${wrong.length > 0 && html`<p class="bad" id=${`${control}-wrong`}>${wrong.map((fault) => fault.detail).join("; ")}</p>`}
    </div>
  `;
}

function Group({ schema, whole, pointer, name, required, faults, id, depth }) {
  const needed = new Set(schema.required ?? []);
  const fields = inOrder(schema).map(
    ([part, inner]) => html`<${Field}
      key=${part} schema=${inner} whole=${whole} pointer=${child(pointer, part)} name=${part}
      required=${required && needed.has(part)} faults=${faults} id=${id} depth=${depth + 1} />`,
  );
  const own = faults.filter((fault) => fault.pointer === pointer || isStray(fault.pointer, pointer, schema));
  const wrong = own.length > 0 && html`<p class="bad" role="alert">${own.map((fault) => fault.detail).join("; ")}</p>`;
  if (!name) return html`${fields}${wrong}`;
  return html`<fieldset><legend>${schema.title ?? words(name)}</legend>${fields}${wrong}</fieldset>`;
}

/** What has to be filled in comes first, as the schema names it; a schema keeps no other order of its properties. */
function inOrder(schema) {
  const place = (name) => (schema.required ?? []).indexOf(name) >>> 0; // what is not there comes last
  return Object.entries(schema.properties).sort(([one], [other]) => place(one) - place(other));
}

/** Whether a fault lies right within the group, at what is none of its fields. */
function isStray(fault, pointer, schema) {
  if (!fault.startsWith(`${pointer}/`)) return false;
  const name = fault.slice(pointer.length + 1).split("/")[0].replaceAll("~1", "/").replaceAll("~0", "~");
  return !(name in schema.properties);
}

const CONTROLS = {
  fixed: ({ schema, common }) => html`<output id=${common.id}>${json(schema.const)}</output>`,
  choice: ({ schema, required, common }) => html`
    <select ...${common} required=${required}>
      ${(!required || schema.default === undefined) && html`<option value="">–</option>`}
      ${schema.enum.map((value, index) => html`<option value=${String(index)} selected=${value === schema.default}>${shown(value)}</option>`)}
    </select>
  `,
  choices: ({ schema, common }) => html`
    <select ...${common} multiple size=${Math.min(6, schema.items.enum.length)}>
      ${schema.items.enum.map((value, index) => html`<option value=${String(index)}>${shown(value)}</option>`)}
    </select>
  `,
  yes: ({ schema, common }) => html`<input ...${common} type="checkbox" defaultChecked=${schema.default === true} />`,
  number: ({ schema, required, common }) => html`
    <input ...${common} type="number" required=${required} step=${schema.type === "integer" ? 1 : "any"}
      min=${schema.minimum} max=${schema.maximum} defaultValue=${schema.default ?? ""} />
  `,
  line: ({ schema, required, common }) => html`
    <input ...${common} type=${INPUT_BY_FORMAT[schema.format] ?? "text"} required=${required && (schema.minLength ?? 0) > 0}
      maxlength=${schema.maxLength} defaultValue=${schema.default ?? ""} />
  `,
  text: ({ schema, required, common }) => html`
    <textarea ...${common} rows="4" required=${required && (schema.minLength ?? 0) > 0} maxlength=${schema.maxLength} defaultValue=${schema.default ?? ""}></textarea>
  `,
  lines: ({ common }) => html`<textarea ...${common} rows="3" placeholder="one a line"></textarea>`,
  json: ({ schema, required, common }) => html`
    <textarea ...${common} class="code" rows="5" spellcheck=${false} required=${required}
      defaultValue=${schema.default === undefined ? (required ? "{}" : "") : json(schema.default)}></textarea>
  `,
};

function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What was filled in. Raises SyntaxError where a field holds no JSON that has to. What is empty and may be is left out. */
export function filledIn(form, schema, pointer) {
  return valueOf(form, schema ?? {}, schema ?? {}, pointer, true, 0);
}

function valueOf(form, given, whole, pointer, required, depth) {
  const schema = resolved(given, whole);
  const kind = kindOf(schema, depth);
  if (kind === "fixed") return required ? schema.const : undefined;
  if (kind === "group") return groupOf(form, schema, whole, pointer, required, depth);
  const control = form.elements.namedItem(pointer);
  const text = control?.value ?? "";
  switch (kind) {
    case "yes":
      return control.checked || required ? control.checked : undefined;
    case "choices":
      return some([...control.selectedOptions].map((option) => schema.items.enum[Number(option.value)]), required);
    case "lines":
      return some(text.split("\n").map((line) => line.trim()).filter(Boolean), required);
    case "choice":
      return text === "" ? undefined : schema.enum[Number(text)];
    case "number":
      return text === "" ? undefined : Number(text);
    case "json":
      return text.trim() === "" ? undefined : JSON.parse(text);
    default:
      return text === "" && !required ? undefined : text;
  }
}

function groupOf(form, schema, whole, pointer, required, depth) {
  const needed = new Set(schema.required ?? []);
  const value = {};
  for (const [name, inner] of Object.entries(schema.properties)) {
    const part = valueOf(form, inner, whole, child(pointer, name), required && needed.has(name), depth + 1);
    if (part !== undefined) value[name] = part;
  }
  return required || Object.keys(value).length ? value : undefined;
}

function some(values, required) {
  return values.length || required ? values : undefined;
}
