// Asking before what cannot be undone, and asking for the token.

import { onUnauthorized, setToken } from "./api.js";
import { say, visible } from "./words.js";

const find = (id) => document.getElementById(id);

/** Whether somebody says yes. */
export function confirmed({ title, text, which, yes }) {
  const dialog = find("confirm");
  say(find("confirm-title"), title);
  say(find("confirm-text"), text);
  say(find("confirm-which"), visible(which));
  say(find("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

onUnauthorized((wasWrong) => {
  const dialog = find("login");
  const field = find("token");
  find("login-wrong").hidden = !wasWrong;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    find("login-form").addEventListener("submit", () => {
      setToken(field.value.trim());
      field.value = "";
      resolve();
    }, { once: true });
  });
});

// There is nothing to see behind it.
find("login").addEventListener("cancel", (event) => event.preventDefault());
