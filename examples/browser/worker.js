// Runs train.py in a web worker, so that the page stays free while it computes.
// The page sends {epochs, rate}; it gets {kind: "state" | "point" | "line" | "end" | "error", ...}.

// The folder, or the address, from which Pyodide is taken; it ends with "/". The default is a
// folder beside this file: `prepare.py --pyodide FOLDER` copies one there. Any distribution of
// Pyodide 0.27 or newer with its NumPy package will do.
const PYODIDE = "pyodide/";

const tell = message => self.postMessage(message);
const address = name => new URL(name, self.location.href).href;

async function file(name) {
  const answer = await fetch(address(name));
  if (!answer.ok) throw new Error(`${name} is not there: start the page with prepare.py`);
  return answer;
}

async function begin() {
  tell({ kind: "state", text: "Python is being loaded" });
  const { loadPyodide } = await import(address(PYODIDE) + "pyodide.mjs");
  const say = text => tell({ kind: "line", text });
  const python = await loadPyodide({ indexURL: address(PYODIDE), stdout: say, stderr: say });
  tell({ kind: "state", text: "NumPy and tinynet are being loaded" });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  python.unpackArchive(await (await file("tinynet.zip")).arrayBuffer(), "zip",
                       { extractDir: "/browser" });
  python.FS.writeFile("/browser/train.py", await (await file("train.py")).text());
  python.runPython("import sys; sys.path.insert(0, '/browser')");
  return python.pyimport("train");
}

const ready = begin();
ready.catch(error => tell({ kind: "error", text: String(error) }));

self.onmessage = async ({ data: { epochs, rate, pictures } }) => {
  try {
    const train = await ready;
    tell({ kind: "state", text: "training" });
    const report = (of, epoch, loss, accuracy) =>
      tell({ kind: "point", of, epoch, loss, accuracy });
    tell({ kind: "end", accuracy: train.learn(epochs, rate, report, pictures) });
  } catch (error) {
    tell({ kind: "error", text: String(error) });
  }
};
