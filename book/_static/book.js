/* What the theme's markup leaves out for those who listen to a page, or go through it by the keyboard. */
"use strict";

// From disk a page may not read others, so the search shows titles alone, without excerpts, rather than fail at them.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  const root = document.documentElement;
  const all = (selector) => document.querySelectorAll(selector);

  // A name that differs from the text cannot be spoken to by who reads the text; these say enough themselves.
  all("details.hide > summary, .search-button-field").forEach((one) => one.removeAttribute("aria-label"));

  // What a chapter marks as folded opens under its heading, and by any link that leads into it.
  all("section.folded").forEach((section) => {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    details.append(summary, ...section.childNodes);
    summary.append(details.querySelector("h2, h3"));
    section.append(details);
  });
  // What scrolls once it is open can be reached by keys, as the theme has it for what scrolls from the start.
  const reachable = () =>
    all(".text_html").forEach((one) => {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    });
  document.addEventListener("toggle", reachable, true);
  const reveal = () => {
    const aim = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!aim) return;
    for (const inside of [aim, ...aim.querySelectorAll(":scope > details")])
      for (let one = inside; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    aim.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  // The button shows the theme only as a picture, and pressing it changes which.
  const names = { light: "light", dark: "dark", auto: "system settings" };
  const nameTheme = () =>
    all(".theme-switch-button").forEach((button) =>
      button.setAttribute("aria-label", `Colour theme: ${names[root.dataset.mode] || names.auto}`),
    );
  new MutationObserver(nameTheme).observe(root, { attributeFilter: ["data-mode"] });
  nameTheme();

  // The title of the book stands outside of every landmark.
  all("#pst-primary-sidebar").forEach((sidebar) => {
    sidebar.setAttribute("role", "complementary");
    sidebar.setAttribute("aria-label", "Chapters");
  });
  // The markup has a list whose entries have a deprecated role, which is no entry of a list.
  all(".citation-list > .citation").forEach((entry) => entry.setAttribute("role", "listitem"));

  // The badge of a certificate leads to the chapter that says what its word means, which every page lists.
  const chapter = document.querySelector('.bd-links a[href$="certificates.html"], .bd-links a[href="#"]');
  all(".certificate").forEach((badge) => {
    const link = document.createElement("a");
    link.href = chapter ? chapter.href : "#";
    badge.replaceWith(link);
    link.append(badge);
  });

  // The theme takes the focus from a button that was pressed, which would send who uses keys back to the top of the page.
  all("button[data-bs-toggle=tooltip]").forEach((button) =>
    button.addEventListener("click", (event) => {
      const byKeys = event.detail === 0;
      setTimeout(() => byKeys && document.activeElement === document.body && button.focus());
    }),
  );

  // Paper is white.
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
  });
});
