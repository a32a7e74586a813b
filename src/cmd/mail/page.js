"use strict";
// Shows the mails of every language. Asks every second whether a file has changed. Mails are text to this page, or in
// frames that may run nothing.
const $ = (id) => document.getElementById(id);
let stamp = "";
let mails = [];

function frame(mail, size, mode) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = size + ", " + mode;
  const iframe = document.createElement("iframe");
  iframe.className = size;
  iframe.title = mail.name + ", " + caption.textContent;
  // Without scripts, and this page's own origin only so that its height can be read.
  iframe.setAttribute("sandbox", "allow-same-origin");
  iframe.addEventListener("load", () => {
    iframe.style.height = iframe.contentDocument.documentElement.scrollHeight + "px";
  });
  const query = new URLSearchParams({ language: mail.language, mode, client: $("client").value, stamp });
  iframe.src = "/mail?" + query;
  figure.append(caption, iframe);
  return figure;
}

function section(mail) {
  const part = $("mail").content.cloneNode(true);
  const find = (selector) => part.querySelector(selector);
  find("h2").textContent = mail.name + " (" + mail.language + ")";
  find(".subject").textContent = mail.subject + " · " + mail.bytes + " bytes";
  find(".subject").dir = "auto";
  find(".problems").append(...mail.problems.map(({ severity, what }) => {
    const item = document.createElement("li");
    item.className = severity;
    item.textContent = severity + ": " + what;
    return item;
  }));
  const sizes = ["phone", "desktop"].flatMap((size) => ["light", "dark"].map((mode) => frame(mail, size, mode)));
  find(".frames").append(...sizes);
  find(".text").textContent = mail.text;
  find(".headers").textContent = mail.headers;
  return part;
}

function options(select, first, values) {
  const chosen = select.value;
  select.replaceChildren(new Option(first, ""), ...values.map(([value, name]) => new Option(name, value)));
  select.value = values.some(([value]) => value === chosen) ? chosen : "";
}

function show() {
  const wanted = $("language").value;
  const shown = mails.filter((mail) => !wanted || mail.language === wanted);
  $("mails").replaceChildren(...shown.map(section));
  const problems = mails.reduce((count, mail) => count + mail.problems.length, 0);
  $("summary").textContent = mails.length + " languages, " + (problems || "no") + " problems";
}

async function look() {
  const query = new URLSearchParams({ since: stamp, client: $("client").value });
  const answer = await (await fetch("/mails?" + query)).json();
  if (answer.unchanged) return;
  stamp = answer.stamp;
  $("error").hidden = !answer.error;
  $("error").textContent = answer.error || "";
  if (answer.error) {
    $("summary").textContent = "The files cannot be used.";
    return;
  }
  mails = answer.mails;
  options($("language"), "all", mails.map((mail) => [mail.language, mail.name]));
  options($("client"), "default", answer.clients.map((client) => [client, client]));
  $("brand").hidden = answer.clients.length === 0;
  show();
}

async function keepLooking() {
  try {
    await look();
  } catch {
    $("summary").textContent = "The preview has been stopped.";
    stamp = "";
  }
  setTimeout(keepLooking, 1000);
}

$("language").addEventListener("change", show);
$("client").addEventListener("change", () => { stamp = ""; look(); });
keepLooking();
