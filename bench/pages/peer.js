// Loads the code of the peer that the page's address names.

await import(`./${new URLSearchParams(location.search).get("library")}.js`);

export {};
