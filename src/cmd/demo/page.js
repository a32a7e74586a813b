"use strict";
// Asks for a code, shows the stages it went through, and every mail that arrives. Mails are text to this page: they are
// shown through textContent or in a frame that may do nothing.
const $ = (id) => document.getElementById(id);
let mails = [];
let shown = null;

function show(mail) {
  shown = mail;
  $("mail").hidden = false;
  $("subject").textContent = mail.subject;
  $("recipient").textContent = "To " + mail.to;
  $("html").srcdoc = mail.html;
  $("text").textContent = mail.text;
  [...$("mails").querySelectorAll("button")].forEach((button, index) => button.setAttribute("aria-pressed", String(mails[index] === shown)));
}

function list() {
  $("empty").hidden = mails.length > 0;
  $("mails").replaceChildren(...mails.map((mail) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = mail.subject + " (" + mail.to + ")";
    button.setAttribute("aria-pressed", String(mail === shown));
    button.addEventListener("click", () => show(mail));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

function journey(stages) {
  $("journey").hidden = false;
  $("stages").replaceChildren(...stages.map(({ name, ms }) => {
    const item = document.createElement("li");
    const time = document.createElement("b");
    time.textContent = ms.toFixed(1) + " ms";
    const what = document.createElement("span");
    what.textContent = name;
    item.append(time, what);
    return item;
  }));
}

function view(html) {
  $("html").hidden = !html;
  $("text").hidden = html;
  $("show-html").setAttribute("aria-pressed", String(html));
  $("show-text").setAttribute("aria-pressed", String(!html));
}

// Looks into the inbox; the newest mail is on top, and opened when it arrives.
async function look() {
  const response = await fetch("/inbox");
  if (!response.ok) return;
  const answer = await response.json();
  $("walk").href = answer.login_url;
  if ($("language").length === 1) $("language").append(...answer.languages.map(({ tag, name }) => new Option(name, tag)));
  const fresh = answer.mails.slice(mails.length).map(({ to, mail }) => ({ ...mail, to }));
  if (fresh.length === 0) return;
  mails = [...fresh.reverse(), ...mails];
  list();
  show(mails[0]);
}

async function keepLooking() {
  try {
    await look();
  } catch {
    // The demo has been stopped, perhaps to be started again.
  }
  setTimeout(keepLooking, 1000);
}

$("show-html").addEventListener("click", () => view(true));
$("show-text").addEventListener("click", () => view(false));
$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("status").textContent = "Asking for a code…";
  try {
    const response = await fetch("/ask", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ email: $("email").value, language: $("language").value }) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    await look();
    journey(answer.stages);
    $("status").textContent = "The code is in the inbox.";
  } catch (error) {
    $("status").textContent = "That did not work: " + error.message;
  }
});
keepLooking();
