/** What the page lists, made of the two documents: operations, channels and problem codes, in the documents' order. */

/** Follows a reference; what is none stays as it is. */
export function resolved(part, document) {
  let found = part;
  for (let step = 0; found?.$ref !== undefined && step < 8; step += 1) {
    found = found.$ref
      .slice(2)
      .split("/")
      .reduce((inner, name) => inner?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], document);
  }
  return found ?? {};
}

function operationsOf(openapi) {
  const found = [];
  for (const [path, item] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      found.push({ kind: "operations", id: operation.operationId, group: operation.tags[0], method, path, ...operation });
    }
  }
  return found;
}

function channelsOf(asyncapi) {
  return Object.entries(asyncapi.channels).map(([name, channel]) => ({
    kind: "channels",
    id: name,
    group: "as it happens",
    method: channel.bindings?.ws ? "ws" : "sse",
    path: channel.address,
    summary: channel.description,
    channel,
    operations: Object.entries(asyncapi.operations)
      .filter(([, operation]) => operation.channel.$ref === `#/channels/${name}`)
      .map(([id, operation]) => ({ id, ...operation })),
  }));
}

function problemsOf(openapi) {
  return openapi["x-problems"].flatMap((part) =>
    part.codes.map((code) => ({ kind: "problems", id: code.code, group: `problems: ${part.heading}`, summary: code.meaning, ...code })),
  );
}

/** All entries, and the groups in the order in which they are shown, each with what it says of itself. */
export function entriesOf(openapi, asyncapi) {
  const entries = [...operationsOf(openapi), ...channelsOf(asyncapi), ...problemsOf(openapi)];
  const described = new Map(openapi.tags.map((tag) => [tag.name, tag.description]));
  const names = [...new Set([...described.keys(), ...entries.map((entry) => entry.group)])];
  return { entries, groups: names.map((name) => ({ name, description: described.get(name) ?? "" })) };
}

/** The entries in which every word that was searched for occurs. */
export function matching(entries, text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => {
    const said = [entry.id, entry.group, entry.method, entry.path, entry.summary, entry.description, entry.title].join(" ").toLowerCase();
    return wanted.every((word) => said.includes(word));
  });
}

/** The operations that may fail with a code. */
export function failingWith(entries, code, openapi) {
  return entries.filter(
    (entry) => entry.kind === "operations" && codesOf(entry, openapi).some((each) => each.codes.some((one) => one === code)),
  );
}

/** For each status of a failure, its codes. */
export function codesOf(operation, openapi) {
  return Object.entries(operation.responses)
    .map(([status, response]) => {
      const examples = resolved(response, openapi).content?.["application/problem+json"]?.examples ?? {};
      return { status, codes: Object.values(examples).map((each) => resolved(each, openapi).value.type.split(":").at(-1)) };
    })
    .filter((each) => each.codes.length > 0);
}

/** A quoted word of a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The command that sends this request, with the example that is shown. */
export function curlOf(operation, example, origin) {
  const parts = ["curl"];
  if (operation.method !== "get") parts.push(`-X ${operation.method.toUpperCase()}`);
  if (operation.security.length > 0) parts.push('-H "Authorization: Bearer $GAVEL_KEY"');
  const content = operation.requestBody?.content ?? {};
  if (example !== undefined) parts.push(`-H 'Content-Type: application/json' --data ${quoted(JSON.stringify(example))}`);
  else if (Object.keys(content).length > 0) parts.push(`-H 'Content-Type: ${Object.keys(content)[0]}' --data-binary @FILE`);
  for (const header of operation.parameters.filter((each) => each.in === "header" && each.required)) {
    parts.push(`-H '${header.name}: 0'`);
  }
  const asked = operation.parameters.filter((each) => each.in === "query" && each.required).map((each) => `${each.name}=1`);
  const query = asked.length > 0 ? `?${asked.join("&")}` : "";
  parts.push(quoted(origin + operation.path.replace(/\{(\w+)\}/g, (_, name) => name.toUpperCase()) + query));
  return parts.join(" ");
}
