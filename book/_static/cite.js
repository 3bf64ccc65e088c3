/* "Cite": the book, the chapter of the page, or one of its figures, as text and as BibTeX, from CITATION.cff. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const book = globalThis.relevanceCitation;
  const buttons = document.querySelector(".article-header-buttons");
  const heading = document.querySelector(".bd-article h1");
  const page = DOCUMENTATION_OPTIONS.pagename || "";
  if (!book || !buttons || !heading || !page.startsWith("book/")) return;

  const make = (name, attributes = {}, ...content) => {
    const element = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...content);
    return element;
  };
  const words = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(".headerlink, .section-number").forEach((one) => one.remove());
    return copy.textContent.replace(/\s+/g, " ").trim();
  };
  const online = location.protocol.startsWith("http");
  const here = (anchor) => (online ? location.origin + location.pathname + anchor : book.url);
  const start = () => (online ? new URL(document.documentElement.dataset.content_root, location.href).href : "");
  const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const tex = (text) => text.replace(/[\\{}]/g, "").replace(/[&%#_$]/g, "\\$&");

  // What can be cited here; the first page stands for the book.
  const key = `${slug(book.title.split(":")[0])}-${book.year}`;
  const chapter = page === "book/index" ? {} : { chapter: words(heading), key: `${key}-${page.split("/").pop()}` };
  const choices = [{ label: "the book", key, url: book.url || start() }];
  if (chapter.chapter) choices.push({ ...chapter, label: "this chapter", url: here("") });

  const text = ({ chapter, figure, url }) => {
    const of = figure ? `, ${figure}` : "";
    const what = chapter ? `“${chapter}”${of}. In: ${book.title}` : `${book.title}${of}`;
    return `${book.authors.join("; ")}. ${what}. Version ${book.version}, ${book.year}.${url && ` ${url}`}`;
  };
  const bibtex = ({ chapter, figure, key, url }) => {
    const fields = {
      author: book.authors.map((one) => (one.includes(", ") ? tex(one) : `{${tex(one)}}`)).join(" and "),
      title: `{${tex(chapter || book.title)}}`,
      ...(chapter && { booktitle: `{${tex(book.title)}}` }),
      year: book.year,
      note: [figure, `version ${book.version}`].filter(Boolean).map(tex).join(", "),
      ...(url && { url }),
    };
    const lines = Object.entries(fields).map(([name, value]) => `  ${name} = {${value}},\n`);
    return `@${chapter ? "incollection" : "misc"}{${key},\n${lines.join("")}}`;
  };

  // One dialogue for all of them: its keys, its focus and its way out are the browser's.
  const choice = make("select");
  const said = make("p", { role: "status" });
  const forms = [["Text", text, 4], ["BibTeX", bibtex, 9]].map(([name, form, rows]) => {
    const area = make("textarea", { readonly: "", rows, spellcheck: "false" });
    const copy = make("button", { type: "button", class: "btn btn-sm" }, `Copy ${name}`);
    copy.addEventListener("click", () => {
      area.select();
      // Old, and the one way to copy that no browser asks a permission for, from disk neither.
      said.textContent = document.execCommand("copy") ? `${name} copied.` : `${name} selected; Ctrl+C copies it.`;
    });
    return { area, form, markup: [make("label", {}, name, area), copy] };
  });
  const show = () => {
    forms.forEach(({ area, form }) => (area.value = form(choices[choice.selectedIndex])));
    said.textContent = "";
  };
  choice.addEventListener("change", show);
  const dialogue = make(
    "dialog",
    { class: "cite", "aria-label": "Cite" },
    make("label", {}, "Cite", choice),
    ...forms.flatMap(({ markup }) => markup),
    said,
    make("form", { method: "dialog" }, make("button", { class: "btn btn-sm" }, "Close")),
  );
  const open = (index) => {
    choice.selectedIndex = index;
    show();
    dialogue.showModal();
  };

  // A figure's number leads to the figure, as the theme's sign behind the caption would, and its caption to its citation.
  document.querySelectorAll(".bd-article figure[id] figcaption .caption-number").forEach((number) => {
    const figure = number.closest("figure");
    const [label, index] = [words(number), choices.length];
    const url = here(`#${figure.id}`);
    choices.push({ ...chapter, label, figure: label, key: `${chapter.key || key}-${figure.id}`, url });
    const link = make("a", { class: "figure-number", href: `#${figure.id}` });
    number.replaceWith(link, " ");
    number.textContent = label;
    link.append(number);
    const cite = make("button", { type: "button", class: "cite-figure", "aria-label": `Cite ${label}` }, "Cite");
    cite.addEventListener("click", () => open(index));
    const caption = figure.querySelector("figcaption p") || number.parentElement;
    caption.querySelectorAll(".headerlink").forEach((one) => one.remove());
    caption.append(" ", cite);
  });
  choice.append(...choices.map(({ label }) => make("option", {}, label)));
  const button = make("button", { type: "button", class: "btn btn-sm cite-page", "aria-haspopup": "dialog" }, "Cite");
  button.addEventListener("click", () => open(chapter.chapter ? 1 : 0));
  buttons.prepend(button);
  document.body.append(dialogue);
});
