// Reads one stream with an EventSource to its end, or comes back until it is told that there is no more. Also runs in a page: it stands
// on nothing around it.
export function read(EventSource, url, names, comesBack) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const events = [];
    const late = setTimeout(() => (source.close(), reject(new Error(`no end of ${url}`))), 20000);
    for (const name of names) {
      source.addEventListener(name, ({ lastEventId, type, data }) => events.push([lastEventId, type, data]));
    }
    source.addEventListener("error", () => {
      if (!comesBack || source.readyState === 2) {
        clearTimeout(late);
        source.close();
        resolve(events);
      }
    });
  });
}
