/** All the script there is: copying, and keys. The pages work without it. */
export const script = `'use strict';
for (const block of document.querySelectorAll('.copy')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    const text = block.querySelector('pre, code').textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(block.querySelector('pre, code'));
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  block.append(button);
}
const search = document.querySelector('search input');
const help = document.querySelector('dialog');
const rows = [...document.querySelectorAll('[data-rows] > *')].filter((row) => row.querySelector('a'));
let at = -1;
function go(to) {
  if (rows.length === 0) return;
  rows[at]?.classList.remove('at');
  at = Math.max(0, Math.min(rows.length - 1, to));
  const row = rows[at];
  row.classList.add('at');
  row.querySelector('a').focus({ preventScroll: true });
  row.scrollIntoView({ block: 'nearest' });
}
const keys = {
  '/': () => { search?.focus(); search?.select(); },
  j: () => go(at + 1),
  k: () => go(at - 1),
  g: () => go(0),
  G: () => go(rows.length - 1),
  u: () => { const up = [...document.querySelectorAll('.crumbs a')].at(-1); if (up) location.href = up.href; },
  h: () => { location.href = '/'; },
  '?': () => (help.open ? help.close() : help.showModal()),
};
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  const isTyping = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
  if (isTyping) {
    if (event.key === 'Escape') target.blur();
    return;
  }
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
document.querySelector('[data-help]')?.addEventListener('click', (event) => { event.preventDefault(); help.showModal(); });
`;
