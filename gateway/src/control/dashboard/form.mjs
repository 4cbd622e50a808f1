// A form from a JSON Schema, and the input that it holds. What a form cannot show is written as JSON.

import { h } from "./dom.mjs";

const SIMPLE = ["string", "integer", "number", "boolean"];

/** The type that a field is edited as: one of those above, `enum` or `json`. */
function kind(schema) {
  if (Array.isArray(schema?.enum)) return "enum";
  const types = [schema?.type].flat().filter((type) => type && type !== "null");
  return types.length === 1 && SIMPLE.includes(types[0]) ? types[0] : "json";
}

/** Whether a schema has fields at all. */
export function hasFields(schema) {
  return Object.keys(schema?.properties ?? {}).length > 0;
}

/** One field for each property. */
export function fields(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties).map(([name, of]) => field(name, of, required.has(name)));
}

function field(name, schema, needed) {
  const id = `in-${name}`;
  const hint = [schema.description, bounds(schema)].filter(Boolean).join(" · ");
  const common = { id, name, "data-kind": kind(schema), "aria-describedby": hint ? `${id}-hint` : null, required: needed };
  const given = schema.default;
  const text = given === undefined ? "" : typeof given === "string" ? given : JSON.stringify(given);
  const control = {
    string: () => ((schema.maxLength ?? 0) > 200 ? h("textarea", { ...common, rows: 4 }, text) : h("input", { ...common, type: "text", value: text, minlength: schema.minLength, maxlength: schema.maxLength })),
    integer: () => h("input", { ...common, type: "number", step: "1", value: text, min: schema.minimum, max: schema.maximum }),
    number: () => h("input", { ...common, type: "number", step: "any", value: text, min: schema.minimum, max: schema.maximum }),
    boolean: () => h("input", { ...common, required: false, type: "checkbox", checked: given === true }),
    enum: () => h("select", common, !needed && h("option", { value: "" }, "–"), schema.enum.map((value) => h("option", { value: JSON.stringify(value), selected: value === given }, String(value)))),
    json: () => h("textarea", { ...common, rows: 3, spellcheck: "false", class: "code", placeholder: "JSON" }, text),
  }[kind(schema)]();
  return h("div", { class: "field" },
    h("label", { for: id }, schema.title ?? name, needed && h("span", { class: "needed" }, " required")), control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}

function bounds(schema) {
  const said = [];
  if (schema.minimum !== undefined || schema.maximum !== undefined) said.push(`${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`);
  if (kind(schema) === "json" && schema.type) said.push([schema.type].flat().join(" or "));
  return said.join(", ");
}

/** The input as it was typed. What is empty and not needed is left out. Throws with the name of a field that is wrong. */
export function gathered(form) {
  const input = {};
  for (const control of form.querySelectorAll("[data-kind]")) {
    const { name, value, required } = control;
    const as = control.dataset.kind;
    if (as === "boolean") {
      input[name] = control.checked;
    } else if (value !== "" || (required && as === "string")) {
      input[name] = as === "string" ? value : parsed(name, value);
    }
  }
  return input;
}

export function parsed(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not JSON: ${error.message}`);
  }
}
