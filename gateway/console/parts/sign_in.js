/** How to sign in: by what the node says that it takes, a password or an identity provider; a link of a key always works. */

import { html } from "../vendor/htm-preact.js";
import { retry, signIn } from "../store.js";
import { Command } from "./common.js";

export function SignIn({ state }) {
  const { ways, left } = state;
  return html`
    <main class="alone" id="sign-in">
      <h2>Sign in</h2>
      ${ways?.provider && html`<${AtProvider} provider=${ways.provider} left=${left} />`}
      ${ways?.password && html`<${WithPassword} state=${state} />`}
      <${WithLink} alone=${!ways?.provider && !ways?.password} />
      <p>This page notices by itself when you have signed in.</p>
      <button type="button" onClick=${retry}>Try now</button>
    </main>
  `;
}

function AtProvider({ provider, left }) {
  return html`
    <p><a class="button primary" href=${provider.path}>Sign in with ${provider.name}</a></p>
    ${left && provider.sign_out &&
    html`<p>You are signed in there still: <a href=${provider.sign_out}>sign out of ${provider.name}, too</a>.</p>`}
  `;
}

function WithPassword({ state }) {
  const { busy, why } = state.signingIn;
  const submit = (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.currentTarget));
    if (!given.tenant) delete given.tenant;
    void signIn(given);
  };
  return html`
    <form class="fields" aria-label="Sign in with a password" onSubmit=${submit}>
      <label for="name">Name or e-mail address</label>
      <input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck=${false} required maxlength="254" />
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="128" />
      <label for="tenant">Tenant</label>
      <input id="tenant" name="tenant" placeholder="default" autocapitalize="none" spellcheck=${false} maxlength="31" />
      <button type="submit" class="primary" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
      ${why && html`<p class="bad" role="alert">${why}</p>`}
    </form>
  `;
}

function WithLink({ alone }) {
  return html`
    <p>
      ${alone ? "The" : "Or by a key: the"} node prints a sign-in link when it starts, and <code>gavel keys link</code> prints
      another, as often as you like. Open it in this browser: it works once, and signs you in for twelve hours.
    </p>
    <${Command} text=${`${location.origin}/session?ticket=…`} />
  `;
}
