"use strict";
// Hands what AuthKit put into the address to the callback endpoint, and says what came of it.
const $ = (id) => document.getElementById(id);

function show(title, message, actions) {
  document.title = title;
  $("title").textContent = title;
  $("message").textContent = message;
  $("actions").replaceChildren(...actions.map(({ label, act }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    if (index > 0) button.className = "second";
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await act();
      } catch (error) {
        $("message").textContent = "That did not work. " + error.message;
        button.disabled = false;
      }
    });
    return button;
  }));
  // Who listens to the page hears of its new title first.
  $("title").focus();
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  return { ok: response.ok, answer };
}

async function goOn(organization) {
  const { ok, answer } = await post("/v2/user/workos_login_url/", {
    redirect_url: location.origin + "/login/callback",
    organization_id: organization,
  });
  if (!ok) throw new Error(answer.detail);
  location.assign(answer.url);
}

async function logOut() {
  const { ok, answer } = await post("/v2/user/logout/", { return_to: location.origin + "/login" });
  if (!ok) throw new Error(answer.detail);
  location.assign(answer.logout_url || "/login");
}

// AuthKit would sign the same person in again: its session has to end first.
function leaving(logoutUrl) {
  if (!logoutUrl) return "/login";
  const url = new URL(logoutUrl);
  url.searchParams.set("return_to", location.origin + "/login");
  return url.href;
}

const LOGIN = "/v2/user/workos_login/?redirect_url=" + encodeURIComponent(location.origin + "/login/callback");
const BEGUN_ANEW = "authpost-begun-anew";

const again = (label) => ({ label, act: () => location.assign("/login") });

function signedIn(email, impersonator) {
  const whose = email ? "You are signed in as " + email + "." : "You are signed in.";
  const acting = impersonator ? " " + impersonator.email + " is impersonating this account." : "";
  show("Signed in", whose + acting, [{ label: "Log out", act: logOut }]);
}

const endings = {
  LOGIN_SUCCESSFUL: ({ user, impersonator, return_to }) => {
    sessionStorage.removeItem(BEGUN_ANEW);
    if (return_to) location.replace(return_to);
    else signedIn(user.email, impersonator);
  },
  MEMBERSHIP_DEACTIVATED: ({ message, logout_url }) =>
    show("Your account is not active", message, [{ label: "Use another address", act: () => location.assign(leaving(logout_url)) }]),
  LINK_EXPIRED: ({ message }) => show("That took too long", message, [again("Log in again")]),
  LINK_INVALID: ({ message, reason }) => {
    // Begun at WorkOS: it begins anew from here, by itself one time.
    if (reason === "no_state" && !sessionStorage.getItem(BEGUN_ANEW)) {
      sessionStorage.setItem(BEGUN_ANEW, "yes");
      location.replace(LOGIN);
    } else show("This sign-in cannot be used", message, [again("Log in again")]);
  },
  ACTION_REQUIRED: ({ message, reason, organizations }) =>
    reason === "organization_selection_required" && organizations
      ? show("Choose an organization", "You belong to more than one.", organizations.map(({ id, name }) => ({ label: name, act: () => goOn(id) })))
      : show("One more step", message, [again("Log in again")]),
};

async function finish() {
  const query = new URLSearchParams(location.search);
  // The code must not stay in the address, the history or a bookmark.
  history.replaceState(null, "", location.pathname);
  const callback = {};
  // Loaded again after its address was cleared.
  if ([...query].length === 0) {
    const response = await fetch("/v2/user/session/");
    if (response.ok) signedIn("", (await response.json()).impersonator);
    else location.replace("/login");
    return;
  }
  for (const field of ["code", "state", "error", "error_description"]) {
    if (query.has(field)) callback[field] = query.get(field);
  }
  try {
    const { answer } = await post("/v2/user/workos_signin_callback/", callback);
    const ending = endings[answer.response_type];
    if (ending) ending(answer);
    else show("Signing in does not work at the moment", answer.detail || "", [again("Try again")]);
  } catch {
    show("Signing in does not work at the moment", "The server could not be reached.", [again("Try again")]);
  }
}

finish();
