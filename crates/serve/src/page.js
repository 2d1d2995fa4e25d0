// Search while typing, and buttons that copy. Everything else works without this script.
'use strict';
const form = document.querySelector('form');
let timer, latest = 0;

form.q.addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(search, 150);
});

async function search() {
  const number = ++latest;
  const url = '?' + new URLSearchParams(new FormData(form));
  const response = await fetch(url).catch(() => null);
  if (!response || !response.ok || number !== latest) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  if (number !== latest) return;
  document.querySelector('main').replaceWith(page.querySelector('main'));
  document.title = page.title;
  history.replaceState(null, '', url);
  addButtons();
}

function addButtons() {
  for (const code of document.querySelectorAll('code.copy, pre.copy')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      button.textContent = await copy(code) ? 'Copied' : 'Select and copy';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    });
    code.after(button);
  }
}

// Browsers have no clipboard for pages over HTTP from other machines, but they still copy a selection.
async function copy(code) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch { /* not allowed */ }
  }
  getSelection().selectAllChildren(code);
  return document.execCommand('copy');
}

addButtons();
