"use strict";
// Asks which login there is, and sends the browser to AuthKit when its person says so.
const $ = (id) => document.getElementById(id);

function say(message) {
  $("message").textContent = message;
}

async function leave() {
  $("log-in").disabled = true;
  say("One moment…");
  try {
    const response = await fetch("/v2/user/workos_login_url/", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        redirect_url: location.origin + "/login/callback",
        return_to: new URLSearchParams(location.search).get("return_to"),
      }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    location.assign(answer.url);
  } catch (error) {
    say("That did not work. " + error.message);
    $("log-in").disabled = false;
  }
}

async function begin() {
  try {
    const response = await fetch("/v2/user/login_config/");
    const config = await response.json();
    if (!config.workos_enabled) {
      say("Signing in here is switched off. Use your application's own login.");
      return;
    }
    say("We will send a code to your e-mail address.");
    $("log-in").hidden = false;
  } catch {
    say("Signing in does not work at the moment. Load this page again in a while.");
  }
}

$("log-in").addEventListener("click", leave);
// A browser that comes back by its "back" button finds the page as it was left.
addEventListener("pageshow", () => { $("log-in").disabled = false; });
begin();
