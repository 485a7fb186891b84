//! As much of Chromium's DevTools protocol as the tests need, over two pipes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

/// The Chromium of this machine.
pub(super) fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("BYTEFACTS_CHROMIUM") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    names.into_iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// A browser without windows. Dropping it ends it.
pub(super) struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    calls: u64,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Browser {
    /// Starts one with a profile of its own below `folder`.
    pub(super) fn start(program: &Path, folder: &Path) -> Self {
        let pipes = ["to", "from"].map(|name| folder.join(name));
        assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
        // It takes what is asked from descriptor 3 and answers on 4.
        let script = "exec \"$0\" \"$@\" 3<\"$PIPE_TO\" 4>\"$PIPE_FROM\"";
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program).env("PIPE_TO", &pipes[0]).env("PIPE_FROM", &pipes[1]);
        command.args(["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-extensions"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]);
        // Who may not make namespaces, or is root, has no sandbox; the page is our own.
        command.arg("--no-sandbox").arg(format!("--user-data-dir={}", folder.join("profile").display())).arg("about:blank");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let to = OpenOptions::new().write(true).open(&pipes[0]).unwrap();
        let from = BufReader::new(File::open(&pipes[1]).unwrap());
        Self { child, to, from, calls: 0, events: Vec::new() }
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut message = self.message();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// A tab of a size, in light or dark.
    pub(super) fn tab(&mut self, (width, height): (u32, u32), scheme: &str) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }))["targetId"].as_str().unwrap().to_owned();
        let attached = self.call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let mut tab = Tab { browser: self, session, target };
        for domain in ["Page", "Runtime", "Network", "Accessibility"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.call("Performance.enable", json!({ "timeDomain": "threadTicks" }));
        let is_phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone });
        tab.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        tab.call("Emulation.setEmulatedMedia", scheme);
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It is the shell's process: the shell has become it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a page opened.
pub(super) struct Opened {
    /// Seconds until it was loaded and drawn.
    pub(super) wall: f64,
    /// Seconds of CPU that its main thread took of these.
    pub(super) cpu: f64,
    /// Paths of files, and addresses, that were asked for.
    pub(super) requests: Vec<String>,
}

/// A page in a browser.
pub(super) struct Tab<'a> {
    browser: &'a mut Browser,
    session: String,
    target: String,
}

impl Tab<'_> {
    pub(super) fn call(&mut self, method: &str, params: Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    /// Opens a file and waits until it is drawn.
    pub(super) fn open(&mut self, path: &Path, hash: &str) -> Opened {
        self.browser.events.clear();
        let begun = Instant::now();
        self.call("Page.navigate", json!({ "url": format!("file://{}{hash}", path.display()) }));
        while !self.browser.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.browser.message();
            self.browser.events.push(event);
        }
        self.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
        let wall = begun.elapsed().as_secs_f64();
        let metrics = self.call("Performance.getMetrics", json!({}));
        let cpu = metrics["metrics"].as_array().unwrap().iter().find(|metric| metric["name"] == "TaskDuration").unwrap()["value"]
            .as_f64()
            .unwrap();
        let requests = self.browser.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let address = |event: &Value| event["params"]["request"]["url"].as_str().unwrap().trim_start_matches("file://").to_owned();
        Opened { wall, cpu, requests: requests.map(address).collect() }
    }

    /// The value of an expression, or of what it promises.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{answer}");
        answer["result"]["value"].take()
    }

    /// Presses a key.
    pub(super) fn key(&mut self, name: &str) {
        let (code, text) = match name {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            other => panic!("{other} has no code here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params = json!({ "type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Names of all that a screen reader comes by.
    pub(super) fn aloud(&mut self) -> Vec<String> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false);
        nodes.filter_map(|node| node["name"]["value"].as_str().map(|name| name.trim().to_owned())).collect()
    }

    pub(super) fn close(self) {
        self.browser.call(None, "Target.closeTarget", json!({ "targetId": self.target }));
    }
}

/// What base64 stands for.
pub(super) fn bytes(base64: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in base64.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).unwrap());
        }
    }
    out
}
