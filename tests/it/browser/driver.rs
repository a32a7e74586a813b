//! A headless Chromium under `chromedriver`, in a process group of its own that goes when its test
//! does.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::harness::{eventually, program::lasting_listener};

/// Where Debian has it; elsewhere `chromedriver` finds it by itself.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The processes behind a [`Browser`].
struct Driver {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Gone already if the test was well; the browser's own processes otherwise stay without
        // their driver.
        killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL).unwrap_or_default();
        drop(self.child.wait());
    }
}

/// One window of a real browser.
pub struct Browser {
    pub client: Client,
    _driver: Driver,
}

/// The size and settings of the window.
#[derive(Clone, Copy)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

impl Browser {
    pub async fn open(window: Window) -> Self {
        let listener = lasting_listener().await;
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let folder =
            tempfile::Builder::new().prefix("authpost-browser-").tempdir().expect("a folder");
        let child = Command::new("chromedriver")
            .args([format!("--port={port}"), "--silent".to_owned()])
            .env("TMPDIR", folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed: ./scripts/test");
        let driver = Driver { child, _folder: folder };
        let capabilities = capabilities(window);
        let address = format!("http://127.0.0.1:{port}");
        let client = eventually("a browser", async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone());
            builder.connect(&address).await.ok()
        })
        .await;
        let browser = Self { client, _driver: driver };
        let scheme = if window.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        browser
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let post = Post {
            path: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }),
        };
        self.client.issue_cmd(post).await.expect(command);
    }

    /// What the page's console complains about.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self
            .client
            .issue_cmd(Post { path: "se/log", body: json!({ "type": "browser" }) })
            .await
            .expect("a log");
        let lines = log
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| line["message"].as_str().expect("text").to_owned());
        // That a request was refused is what some tests are about.
        lines.filter(|line| !line.contains("Failed to load resource")).collect()
    }

    pub async fn text(&self, selector: &str) -> String {
        self.client.find(Locator::Css(selector)).await.expect(selector).text().await.expect("text")
    }

    /// Returns once the page has this heading.
    pub async fn heading(&self, text: &str) {
        let seen = Mutex::new(String::new());
        let looking = async {
            eventually("the heading", async || {
                let body = self.client.find(Locator::Css("body")).await.ok()?.text().await.ok()?;
                let found = body.lines().next() == Some(text);
                *seen.lock().expect("not poisoned") = body;
                found.then_some(())
            })
            .await;
        };
        let patience = std::time::Duration::from_secs(20);
        assert!(
            tokio::time::timeout(patience, looking).await.is_ok(),
            "not \"{text}\" but {:?}",
            seen.lock()
        );
    }

    /// Types into whatever has the focus.
    pub async fn type_keys(&self, keys: &str) {
        self.client.active_element().await.expect("a focus").send_keys(keys).await.expect("typed");
    }

    /// The id of what has the focus.
    pub async fn focus(&self) -> String {
        self.script("return document.activeElement.id")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.expect(script)
    }

    /// Nothing sticks out to the side.
    pub async fn assert_fits(&self) {
        let fits = self
            .script(
                "return document.documentElement.scrollWidth <= \
                                document.documentElement.clientWidth",
            )
            .await;
        assert_eq!(fits, json!(true), "the page is wider than its window");
    }

    /// Clicks the first element that matches.
    pub async fn click(&self, css: &str) {
        let found = self.client.find(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}")).click().await.expect("clicked");
    }

    /// Waits until an element matches.
    pub async fn appears(&self, css: &str) -> Element {
        let found = self.client.wait().for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Keeps what is seen, for whoever wonders why a test failed; and with `AUTHPOST_PICTURES=docs`
    /// for the README.
    pub async fn keep_picture(&self, name: &str) {
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(
            folder.join(format!("{name}.png")),
            self.client.screenshot().await.expect("a picture"),
        )
        .expect("written");
    }

    pub async fn close(self) {
        self.client.clone().close().await.expect("closes");
    }
}

fn pictures() -> PathBuf {
    std::env::var_os("AUTHPOST_PICTURES").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder").join("pictures"),
        PathBuf::from,
    )
}

fn capabilities(window: Window) -> serde_json::Map<String, Value> {
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ];
    let metrics = json!({
        "width": window.width, "height": window.height, "pixelRatio": 1.5, "touch": false,
        "mobile": false,
    });
    let mut options = json!({ "args": args, "mobileEmulation": { "deviceMetrics": metrics } });
    if Path::new(CHROMIUM).exists() {
        options["binary"] = json!(CHROMIUM);
    }
    let all = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
    all.as_object().expect("an object").clone()
}

/// A command of Chromium's own.
#[derive(Debug)]
struct Post {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(self.body.to_string()))
    }
}
