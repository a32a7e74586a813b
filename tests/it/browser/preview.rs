//! The preview of the mails: every language in light and dark, and what happens when a file changes.

use std::fs;

use super::{
    driver::{Browser, Window},
    json,
};
use crate::harness::{eventually, program::WithPage};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn the_preview_follows_the_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let brand = folder.path().join("brand.toml");
    fs::write(&brand, "[brand]\nname = \"Acme\"\n").expect("written");
    let directory = folder.path().to_str().expect("text").to_owned();
    let args = ["mail", "preview", "--template-dir", &directory];
    let preview = WithPage::start(&args, folder.path());
    let browser = Browser::open(Window { width: 1500, height: 1000, dark: false }).await;
    browser.client.goto(&preview.page).await.expect("the page");
    reads(&browser, "16 languages, no problems").await;
    let shown = browser.script(FRAMES).await;
    assert_eq!(shown, json!({ "frames": 64, "grounds": 2, "codes": 64 }));
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "nothing was refused");
    browser.keep_picture("preview").await;

    fs::write(&brand, "[brand]\nname = \"Acme\"\ncolor = \"#999\"\n").expect("written");
    reads(&browser, "The files cannot be used.").await;
    let error = browser.text("#error").await;
    assert!(error.contains("brand.toml, line 3: the contrast of #999999"), "{error}");

    fs::write(&brand, "[brand]\nname = \"R2D2X\"\n").expect("written");
    // In the Japanese subject it stands between brackets that no phone knows.
    reads(&browser, "16 languages, 15 problems").await;
    assert!(browser.text(".problems").await.contains("a phone takes \"R2D2X\""));
    browser.close().await;
    preview.stop();
}

/// How many frames there are, how many grounds they have, and how many show the code.
const FRAMES: &str = "
    const frames = [...document.querySelectorAll('iframe')];
    const ground = (frame) => getComputedStyle(frame.contentDocument.body).backgroundColor;
    const shows = (frame) => frame.contentDocument.body.innerText.includes('246813');
    return { frames: frames.length, grounds: new Set(frames.map(ground)).size, codes: frames.filter(shows).length };
";

/// Waits until the page says this, and every frame is loaded.
async fn reads(browser: &Browser, summary: &str) {
    eventually(summary, async || {
        let loaded = "return document.getElementById('summary').textContent === arguments[0] && \
                      [...document.querySelectorAll('iframe')].every((frame) => \
                      frame.contentDocument?.readyState === 'complete' && frame.contentDocument.body.innerText !== '')";
        let loaded = browser.client.execute(loaded, vec![json!(summary)]).await.ok()?;
        (loaded == json!(true)).then_some(())
    })
    .await;
}

/// As pictured in the README: a phone in light and in dark mode, and from right to left.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn a_mail_fits_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[brand]\nname = \"Acme\"\ncolor = \"#1457c8\"\nsupport_url = \"https://acme.example/help\"\n";
    fs::write(folder.path().join("brand.toml"), text).expect("written");
    let directory = folder.path().to_str().expect("text").to_owned();
    let args = ["mail", "preview", "--template-dir", &directory];
    let preview = WithPage::start(&args, folder.path());
    let browser = Browser::open(Window { width: 360, height: 500, dark: false }).await;
    for (language, mode) in [("en", "light"), ("de", "dark"), ("ar", "light")] {
        let mail = format!("{}/mail?language={language}&mode={mode}", preview.page);
        browser.client.goto(&mail).await.expect("a mail");
        browser.appears(".code").await;
        browser.assert_fits().await;
        browser.keep_picture(&format!("mail-{language}")).await;
    }
    browser.client.goto(&format!("{}/mail?language=xx", preview.page)).await.expect("answered");
    browser.close().await;
    preview.stop();
}
