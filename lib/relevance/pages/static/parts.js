// The large parts of a block, such as networks and packed views: in the block itself, or in scripts beside a printed page.
globalThis.relevanceBytes ??= (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
globalThis.relevanceUnpacked ??= (text) =>
  new Response(new Blob([relevanceBytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
globalThis.relevanceScript ??= (address) => new Promise((done, failed) => {
  document.head.append(Object.assign(document.createElement("script"), { src: address, onload: done, onerror: failed }));
});
// A page opened from disk may not fetch files, but it may run scripts: each leaves a text.
globalThis.relevancePart ??= async (root, name, missing) => {
  const own = root.querySelector(`script[data-name="${name}"]`)?.textContent.trim();
  if (own) return own;
  const folder = document.documentElement.dataset.content_root;
  if (folder === undefined) throw Error(missing);
  await relevanceScript(`${folder}_static/parts/${name}.js`).catch(() => { throw Error(missing); });
  return globalThis.relevanceParts[name];
};
