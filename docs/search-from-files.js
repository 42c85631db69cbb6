// Browsers start no workers for pages that are opened as files. There the search runs in a hidden frame instead,
// which has the interface of a worker that the theme asks for: it posts messages, and is sent them.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inside = frame.contentWindow;
      inside.document.open();
      inside.document.close();
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      // One after the other, since later scripts may need earlier ones.
      inside.importScripts = (...urls) => urls.reduce((done, each) => done.then(() => load(inside, each)), Promise.resolve());
      this.inside = inside;
      this.ready = load(inside, new URL(url, document.baseURI).href);
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
  window.Worker = window.IFrameWorker;

  function load(inside, url) {
    return new Promise((resolve, reject) => {
      const script = inside.document.createElement("script");
      script.onload = resolve;
      script.onerror = () => reject(new Error("cannot load " + url));
      script.src = url;
      (inside.document.body || inside.document.documentElement || inside.document).appendChild(script);
    });
  }
}
