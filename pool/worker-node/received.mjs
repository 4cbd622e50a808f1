// Files that come with a call.
//
// Enters: an input that has, in the place of each file, what is known of it, and the metadata that says where they are.
// Leaves: the same input with a `ReceivedFile` in each of those places.

import fs from "node:fs";

/** A file that the caller has sent. It is gone when the call is over: who needs it longer copies it. In JSON it is what is
 * known of it. */
export class ReceivedFile {
  constructor(field, path, { name, content_type: contentType, size }) {
    /** The field of the form. */
    this.field = field;
    /** Where it is, for reading only. */
    this.path = path;
    /** The client's name of it, without folders. */
    this.name = name;
    /** As the client says. */
    this.contentType = contentType;
    /** In bytes. */
    this.size = size;
  }

  /** All of it. */
  bytes() {
    return fs.promises.readFile(this.path);
  }

  /** All of it as text in UTF-8. */
  text() {
    return fs.promises.readFile(this.path, "utf8");
  }

  /** Its bytes piece by piece. */
  stream() {
    return fs.createReadStream(this.path);
  }

  [Symbol.asyncIterator]() {
    return this.stream()[Symbol.asyncIterator]();
  }

  toJSON() {
    return { name: this.name, content_type: this.contentType, size: this.size };
  }
}

/** The input with its files. `directory` and `members` are those of the call's metadata. */
export function received(input, { directory, members }) {
  for (const [field, names] of members) {
    const file = (name, facts) => new ReceivedFile(field, `${directory}/${name}`, facts);
    const facts = input[field];
    input[field] = names.length === 1 ? file(names[0], facts) : names.map((name, at) => file(name, facts[at]));
  }
  return input;
}
