// A small part of Markdown, made into elements one by one: text of a model is never HTML here.
//
// Characters of Unicode's private use area in the text stand for marks: what `marks` makes of them
// is put in their place. `blocks` and `render` are pure but for the elements that they create.

const MARKS = "\uE000-\uF8FF";
const FENCE = new RegExp(`^[${MARKS}]*\`\`\``);
const HEADING = new RegExp(`^([${MARKS}]*)(#{1,4}) +(.*)$`);
const ITEM = new RegExp(`^([${MARKS}]*)(?:([-*])|(\\d{1,3})\\.) +(.*)$`);
const INLINE = new RegExp(`(\\*\\*|\\*|\`)|([${MARKS}])`);
const UNSETTLED = /(?:(?<=^|\n)(?:#{1,4}|-|\d{1,3}\.?)|[*`]+)$/;

/** Text in which nothing can be taken for a mark. */
export const unmarked = (text) => text.replace(new RegExp(`[${MARKS}]`, "g"), "\uFFFD");

/** A text that goes on, without the signs at its end that have no meaning yet: what comes next may
 * make an asterisk bold, and a dash an item. */
export const settled = (text) => text.replace(UNSETTLED, "");

/** The text cut into blocks: headings, lists, code and paragraphs, each with its source. */
export function blocks(text) {
  const found = [];
  let block = null;
  const begin = (kind, more = {}) => found.push((block = { kind, lines: [], ...more }));
  for (const line of text.split("\n")) {
    if (block?.kind === "code" && !block.closed) {
      if (FENCE.test(line)) block.closed = true;
      else block.lines.push(line);
      continue;
    }
    const heading = HEADING.exec(line);
    const item = ITEM.exec(line);
    if (FENCE.test(line)) {
      begin("code", { closed: false });
    } else if (heading) {
      begin("heading", { level: heading[2].length });
      block.lines.push(heading[1] + heading[3]);
      block = null;
    } else if (item) {
      const kind = item[2] ? "ul" : "ol";
      if (block?.kind !== kind) begin(kind);
      block.lines.push(item[1] + item[4]);
    } else if (line.trim() === "") {
      block = null;
    } else if (block?.kind === "ul" || block?.kind === "ol") {
      block.lines.push(block.lines.pop() + " " + line.trim());
    } else {
      if (block?.kind !== "p") begin("p");
      block.lines.push(line);
    }
  }
  return found;
}

/** The element for a block. `ink` makes text and marks into nodes, in the order of the text. */
export function render(block, ink) {
  const { kind, lines } = block;
  if (kind === "code") {
    const code = element("code");
    code.append(...literal(lines.join("\n"), ink));
    return element("pre", code);
  }
  if (kind === "ul" || kind === "ol") {
    return element(kind, ...lines.map((line) => element("li", ...inline(line, ink))));
  }
  const tag = kind === "heading" ? `h${Math.min(6, block.level + 1)}` : "p";
  return element(tag, ...inline(lines.join("\n"), ink));
}

/** Bold, emphasis and code; what is not closed yet is taken to be closed at the end. */
function inline(text, ink) {
  const root = { nodes: [], sign: null };
  const stack = [root];
  const put = (...nodes) => stack.at(-1).nodes.push(...nodes);
  const close = () => {
    const { sign, nodes } = stack.pop();
    put(element({ "**": "strong", "*": "em", "`": "code" }[sign], ...nodes));
  };
  let rest = text;
  while (rest) {
    const match = INLINE.exec(rest);
    if (!match) {
      put(ink.text(rest));
      break;
    }
    if (match.index > 0) put(ink.text(rest.slice(0, match.index)));
    const before = rest.slice(0, match.index);
    rest = rest.slice(match.index + match[0].length);
    const sign = match[1];
    if (match[2]) {
      put(...ink.mark(match[2]));
    } else if (stack.at(-1).sign === sign) {
      close();
    } else if (stack.at(-1).sign === "`" || opensNothing(before, rest, stack, sign)) {
      put(ink.text(sign));
    } else {
      stack.push({ nodes: [], sign });
    }
  }
  while (stack.length > 1) close();
  return root.nodes;
}

/** Whether a sign is just itself: an asterisk in front of a space, or one that is open already. */
const opensNothing = (before, rest, stack, sign) =>
  stack.some((open) => open.sign === sign) || (sign !== "`" && (rest === "" || /^\s/.test(rest)));

function literal(text, ink) {
  return text
    .split(new RegExp(`([${MARKS}])`))
    .filter((part) => part !== "")
    .flatMap((part) => (new RegExp(`^[${MARKS}]$`).test(part) ? ink.mark(part) : [ink.text(part)]));
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}
