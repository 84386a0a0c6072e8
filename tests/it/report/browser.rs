//! A Chromium without a window, led over its DevTools pipe: two descriptors, messages that end with a NUL. No port, and
//! no library, for a handful of commands is all it takes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

/// One browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    replies: mpsc::Receiver<Value>,
    commands_sent: u64,
    session: Value,
    /// What the browser said without being asked.
    events: Vec<Value>,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser; nothing where there is none, and says so. In CI there must be one.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let Some(program) = installed() else {
            assert!(std::env::var_os("CI").is_none(), "{test}: no Chromium in PATH; .ci/setup installs it");
            eprintln!("SKIPPED {test}: install chromium");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        // The browser reads commands from descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--window-size=1440,900"])
            .args(["--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", home.path().join("profile").display()))
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, replies) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                let value = serde_json::from_slice(message.strip_suffix(b"\0").unwrap_or(&message)).unwrap();
                message.clear();
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let (session, events) = (Value::Null, Vec::new());
        let mut browser = Self { child, commands, replies, commands_sent: 0, session, events, _home: home };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attach = json!({"targetId": target, "flatten": true});
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Opens a file and waits until the page says that it has painted what it is about.
    pub(crate) fn open(&mut self, file: &Path, fragment: &str) {
        let url = format!("file://{}{fragment}", file.display());
        self.call("Page.navigate", json!({"url": "about:blank"}));
        self.call("Page.navigate", json!({"url": url}));
        self.wait_for("performance.getEntriesByName('backstaff-shown').length > 0 && document.readyState === 'complete'");
    }

    /// Waits until a trace is shown.
    pub(crate) fn wait_for_trace(&mut self) {
        self.wait_for(
            "document.querySelector('#events .row[aria-selected=\"true\"]') && !byId('timeline').ariaBusy",
        );
    }

    /// Waits until an expression is true; `byId` and `text` are there for it.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let limit = Instant::now() + DEADLINE;
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            assert!(Instant::now() < limit, "never true: {expression}; said: {:?}", self.problems());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        const HELPERS: &str = "const byId = id => document.getElementById(id); \
                               const text = selector => document.querySelector(selector)?.innerText ?? '';";
        let expression = format!("(async () => {{ {HELPERS} return ({expression}); }})()");
        let options = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let reply = self.call("Runtime.evaluate", options);
        assert!(reply["exceptionDetails"].is_null(), "{expression}: {}", reply["exceptionDetails"]);
        reply["result"]["value"].clone()
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        self.eval(&format!("text({selector:?})")).as_str().unwrap().to_owned()
    }

    /// Presses keys, one after the other.
    pub(crate) fn press(&mut self, keys: &[&str]) {
        // Without their codes these are no keys to the browser itself.
        const CODES: [(&str, u32); 4] = [("Tab", 9), ("Enter", 13), ("Escape", 27), ("Space", 32)];
        for key in keys {
            let code = CODES.iter().find(|(name, _)| name == key).map_or(0, |(_, code)| *code);
            let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
            if key.chars().count() == 1 {
                down["text"] = json!(key);
            }
            self.call("Input.dispatchKeyEvent", down);
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}),
            );
        }
        self.settle();
    }

    pub(crate) fn click(&mut self, x: f64, y: f64) {
        for (kind, button) in [("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")] {
            let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
        self.settle();
    }

    /// Clicks on the middle of the first element of a selector.
    pub(crate) fn click_on(&mut self, selector: &str) {
        let place = self.eval(&format!(
            "(() => {{ const box = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        self.click(place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
    }

    /// As a system with light or dark colours.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
        self.settle();
    }

    /// What should not have happened since the last time: errors, words on the console, requests to anywhere.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        let problem = |event: Value| {
            let params = &event["params"];
            let is_page = |url: &Value| {
                let url = url.as_str().unwrap_or_default();
                url == "about:blank"
                    || url.starts_with("blob:")
                    || url.starts_with("file:") && params["type"] == "Document"
            };
            match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" if is_page(&params["request"]["url"]) => None,
                "Network.requestWillBeSent"
                | "Runtime.exceptionThrown"
                | "Log.entryAdded"
                | "Runtime.consoleAPICalled" => Some(params.to_string()),
                _ => None,
            }
        };
        events.into_iter().filter_map(problem).collect()
    }

    /// Two frames later everything that a key or click led to is drawn.
    fn settle(&mut self) {
        self.eval("await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.commands_sent += 1;
        let mut command = json!({"id": self.commands_sent, "method": method, "params": params});
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        loop {
            let reply = self.replies.recv_timeout(DEADLINE);
            let reply =
                reply.unwrap_or_else(|error| panic!("{method}: the browser does not answer: {error}"));
            if reply["id"] != self.commands_sent {
                self.events.push(reply);
                continue;
            }
            assert!(reply["error"].is_null(), "{command}: {}", reply["error"]);
            return reply["result"].clone();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn installed() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let candidates = std::env::split_paths(&paths).flat_map(|folder| names.map(|name| folder.join(name)));
    candidates.into_iter().find(|program| program.is_file())
}

/// Nothing takes so long on the slowest host.
const DEADLINE: Duration = Duration::from_secs(60);
