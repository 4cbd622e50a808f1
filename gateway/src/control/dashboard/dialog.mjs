// Questions before something is changed, and short words about what became of it.

import { h } from "./dom.mjs";

/** Asks; resolves to whether it shall be done. Escape and Cancel do nothing, and that is where the focus is. */
export function confirmed(title, text, verb) {
  return new Promise((resolve) => {
    const cancel = h("button", { type: "button", value: "no", autofocus: true }, "Cancel");
    const go = h("button", { type: "button", class: "danger", value: "yes" }, verb);
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" },
      h("h2", { id: "dialog-title" }, title), h("p", { id: "dialog-text" }, text), h("div", { class: "actions" }, cancel, go));
    const before = document.activeElement;
    let yes = false;
    go.addEventListener("click", () => {
      yes = true;
      dialog.close();
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(yes);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Says something for some seconds; failures stay longer. */
export function toast(text, failed = false) {
  const place = document.getElementById("toasts");
  const said = h("p", { class: failed ? "toast bad" : "toast" }, text);
  place.append(said);
  while (place.children.length > 4) place.firstChild.remove();
  setTimeout(() => said.remove(), failed ? 12000 : 5000);
}

/** Does something that changes the runtime, after a question, and says what became of it. */
export async function change({ title, text, verb }, work) {
  if (!(await confirmed(title, text, verb))) return false;
  try {
    toast(await work());
    return true;
  } catch (error) {
    toast(error.message, true);
    return false;
  }
}
