/** What is shown of one entry: an operation, a channel, or a problem code. */

import { html } from "../vendor/htm-preact.js";
import { Command } from "../parts/common.js";
import { codesOf, curlOf, failingWith, resolved } from "./model.js";
import { Fields, boundsOf, typeOf } from "./schema.js";

/** A sentence of the documents: what stands between backticks is code. */
export function Words({ text }) {
  const parts = (text ?? "").split("`");
  return html`${parts.map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : part))}`;
}

export function Paragraphs({ text }) {
  return html`${(text ?? "").split(/\n\n+/).map((each) => html`<p><${Words} text=${each} /></p>`)}`;
}

function Roles({ roles }) {
  return roles?.length ? html`<p>For ${roles.map((role) => html`<span class="stage plain">${role}</span> `)}</p>` : html`<p>For everybody, without a key.</p>`;
}

function Section({ title, children }) {
  return html`<section><h3>${title}</h3>${children}</section>`;
}

function ParameterTable({ parameters, openapi }) {
  return html`
    <table>
      <thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">Type</th><th scope="col">Means</th></tr></thead>
      <tbody>
        ${parameters.map((each) => {
          const schema = resolved(each.schema, openapi);
          return html`
            <tr key=${`${each.in} ${each.name}`}>
              <td><code>${each.name}</code>${each.required && html`<span class="must" title="required"> *</span>`}</td>
              <td>${each.in}</td>
              <td>${typeOf(each.schema, openapi)}<span class="quiet"> ${boundsOf(schema).join(", ")}</span></td>
              <td><${Words} text=${each.description} /></td>
            </tr>
          `;
        })}
      </tbody>
    </table>
  `;
}

function Examples({ examples, chosen, choose }) {
  const names = Object.keys(examples);
  return html`
    ${names.length > 1 &&
    html`<div class="chips" role="group" aria-label="Example">
      ${names.map((name) => html`<button type="button" class="chip" aria-pressed=${name === chosen ? "true" : "false"} onClick=${() => choose(name)}>${name}</button>`)}
    </div>`}
    <${Command} text=${JSON.stringify(examples[chosen].value, null, 2)} />
  `;
}

function Answer({ status, response, openapi }) {
  const found = resolved(response, openapi);
  const [media, content] = Object.entries(found.content ?? {})[0] ?? [];
  const failures = found.content?.["application/problem+json"]?.examples;
  const headers = Object.keys(found.headers ?? {});
  const tone = status < "300" ? "good" : status < "400" ? "plain" : "bad";
  return html`
    <details open=${status < "300"}>
      <summary><span class=${`stage ${tone}`}>${status}</span> ${found.description.split(":")[0]} ${media && html`<code>${media}</code>`}</summary>
      ${headers.length > 0 && html`<p>Headers: ${headers.map((name) => html`<code title=${openapi.components.headers[name].description}>${name}</code> `)}</p>`}
      ${failures
        ? html`<ul>${codesOf({ responses: { [status]: response } }, openapi)[0].codes.map((code) => html`<li><${ProblemLink} code=${code} openapi=${openapi} /></li>`)}</ul>`
        : content?.schema && html`<${Fields} schema=${content.schema} document=${openapi} />`}
      ${content?.example !== undefined && html`<${Command} text=${typeof content.example === "string" ? content.example : JSON.stringify(content.example, null, 2)} />`}
    </details>
  `;
}

function ProblemLink({ code, openapi }) {
  const meaning = openapi["x-problems"].flatMap((part) => part.codes).find((each) => each.code === code)?.meaning;
  return html`<a href=${`#/problems/${code}`}><code>${code}</code></a> <${Words} text=${meaning} />`;
}

export function Operation({ entry, state, choose }) {
  const { openapi } = state;
  const parameters = entry.parameters.map((each) => resolved(each, openapi));
  const body = Object.entries(entry.requestBody?.content ?? {});
  const examples = body[0]?.[1].examples;
  const chosen = examples && (state.example in examples ? state.example : Object.keys(examples)[0]);
  const operation = { ...entry, parameters };
  return html`
    <article id="entry" tabindex="-1" aria-labelledby="entry-title">
      <h1 id="entry-title" class=${entry.deprecated ? "gone" : ""}><${Words} text=${entry.summary} /></h1>
      ${entry.deprecated && html`<p class="warn">This goes away; do not begin to use it.</p>`}
      <div class="address"><span class=${`method ${entry.method}`}>${entry.method.toUpperCase()}</span><span>${entry.path}</span></div>
      <${Paragraphs} text=${entry.description.split("\n\nFor keys")[0]} />
      <${Roles} roles=${entry["x-roles"]} />
      <${Section} title="As a command"><${Command} text=${curlOf(operation, examples?.[chosen].value, location.origin)} /></${Section}>
      ${parameters.length > 0 && html`<${Section} title="Parameters"><${ParameterTable} parameters=${parameters} openapi=${openapi} /></${Section}>`}
      ${body.length > 0 &&
      html`<${Section} title=${`Body${entry.requestBody.required ? "" : ", which may be left out"}`}>
        <p>${body.map(([media]) => html`<code>${media}</code> `)}</p>
        ${body[0][1].schema.$ref && html`<${Fields} schema=${body[0][1].schema} document=${openapi} />`}
        ${examples && html`<${Examples} examples=${examples} chosen=${chosen} choose=${choose} />`}
      </${Section}>`}
      <section class="answers">
        <h3>Answers</h3>
        ${Object.entries(entry.responses).map(([status, response]) => html`<${Answer} key=${status} status=${status} response=${response} openapi=${openapi} />`)}
      </section>
    </article>
  `;
}

function Message({ reference, asyncapi }) {
  const message = resolved(reference, asyncapi);
  return html`
    <details>
      <summary><code>${message.name}</code> <${Words} text=${message.summary} /></summary>
      <${Fields} schema=${message.payload} document=${asyncapi} />
      <${Command} text=${JSON.stringify(message.examples[0].payload, null, 2)} />
    </details>
  `;
}

function Messages({ title, messages, asyncapi }) {
  return (
    messages.length > 0 &&
    html`<section class="answers"><h3>${title}</h3>${messages.map((each) => html`<${Message} key=${each.$ref} reference=${each} asyncapi=${asyncapi} />`)}</section>`
  );
}

export function Channel({ entry, state }) {
  const { asyncapi } = state;
  const handshake = entry.channel.bindings?.ws ?? entry.operations[0].bindings?.http ?? {};
  const query = Object.entries(handshake.query?.properties ?? {}).map(([name, schema]) => ({ name, in: "query", description: schema.description, schema }));
  const said = entry.operations.filter((each) => each.action === "receive");
  const heard = entry.operations.filter((each) => each.action === "send");
  const protocols = handshake.headers?.properties["Sec-WebSocket-Protocol"]?.enum ?? [];
  return html`
    <article id="entry" tabindex="-1" aria-labelledby="entry-title">
      <h1 id="entry-title">${entry.channel.title}</h1>
      <div class="address"><span class="method get">${entry.method.toUpperCase()}</span><span>${entry.path}</span></div>
      <${Paragraphs} text=${entry.channel.description} />
      <${Roles} roles=${entry.channel["x-roles"]} />
      ${protocols.length > 0 && html`<p>Subprotocols: ${protocols.map((name) => html`<code>${name}</code> `)}</p>`}
      ${query.length > 0 && html`<${Section} title="Parameters"><${ParameterTable} parameters=${query} openapi=${asyncapi} /></${Section}>`}
      <${Messages} title="What a client says" messages=${said.flatMap((each) => each.messages)} asyncapi=${asyncapi} />
      <${Messages} title="What answers it, under the same id" messages=${said[0]?.reply.messages ?? []} asyncapi=${asyncapi} />
      <${Messages} title="What a client hears" messages=${heard.flatMap((each) => each.messages)} asyncapi=${asyncapi} />
    </article>
  `;
}

export function Problem({ entry, state }) {
  const example = Object.values(state.openapi.components.examples).find((each) => each.value.type === entry.type);
  return html`
    <article id="entry" tabindex="-1" aria-labelledby="entry-title">
      <h1 id="entry-title">${entry.title}</h1>
      <div class="address"><span class="method delete">${entry.statuses.join(", ")}</span><span>${entry.type}</span></div>
      <p><${Words} text=${entry.meaning} /></p>
      <p><b>What to do:</b> <${Words} text=${entry.remedy} /></p>
      ${example && html`<${Command} text=${JSON.stringify(example.value, null, 2)} />`}
      <${Section} title="Who answers so">
        <ul>${failingWith(state.entries, entry.id, state.openapi).map((each) => html`<li key=${each.id}><a href=${`#/operations/${each.id}`}>${each.method.toUpperCase()} ${each.path}</a></li>`)}</ul>
      </${Section}>
    </article>
  `;
}
