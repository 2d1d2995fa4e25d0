//! The web page, as text and in a browser.

use std::process::Command;

use serde_json::json;

use super::push::{MANIFEST, push_image, registry};
use super::serving::Serving;
use crate::support::fixtures;

fn page(serving: &Serving) -> String {
    let response = serving.get("/");
    assert_eq!((response.status, response.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(response.header("content-security-policy").starts_with("default-src 'none'"));
    String::from_utf8(response.body).unwrap()
}

#[test]
fn every_image_is_there_with_the_command_that_pulls_it() {
    let serving = Serving::root(fixtures::root());
    let text = page(&serving);
    for (image, root) in fixtures::names() {
        assert_eq!(text.contains(&root.to_string()), !image.contains(":sha256-"), "{image}");
    }
    for part in [
        format!("docker pull {}/pause:3.9", serving.address),
        "<span class=\"tags\">1.35, latest</span>".to_owned(),
        "linux/amd64, linux/arm64".to_owned(),
        "with other images here".to_owned(),
        format!("<title>Images on {}</title>", serving.address),
    ] {
        assert!(text.contains(&part), "{part}");
    }
    for outside in ["<script", "<link", "<img", "http://", "https://", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert_eq!(serving.request("HEAD", "/", &[]).body.len(), 0);
}

#[test]
fn what_was_pushed_cannot_change_the_page() {
    let (serving, _root) = registry();
    assert!(page(&serving).contains("nothing to pull yet"));
    push_image(&serving, "a", "1", b"{}", &json!({}));
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": serving.get("/v2/a/manifests/1").header("docker-content-digest"),
            "size": serving.get("/v2/a/manifests/1").body.len(),
            "platform": { "os": "<script>alert(1)</script>", "architecture": "\"x" },
        }],
    });
    let pushed =
        serving.push_manifest("a", "2", "application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    assert_eq!(pushed.status, 201);
    let text = page(&serving);
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
    let strange = serving.send("GET", "/", &[("Host", "x")], b"");
    assert_ne!(strange.status, 500);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_browser_shows_it() {
    let serving = Serving::root(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let browse = |arguments: &[&str]| {
        let mut chromium = Command::new("chromium");
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        chromium.arg(format!("--user-data-dir={}", folder.path().join("profile").display())).args(arguments);
        let output = chromium.arg(serving.url("/")).env("HOME", folder.path()).output();
        let output = output.expect("chromium does not start: scripts/test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let document = String::from_utf8(browse(&["--dump-dom"])).unwrap();
    assert_eq!(document.matches("<summary>").count(), document.matches("</details>").count());
    assert!(document.contains("base/busybox"));
    let picture = folder.path().join("page.png");
    browse(&["--window-size=900,1200", &format!("--screenshot={}", picture.display())]);
    let bytes = fs_err::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    // A blank page of this size is a few kilobytes.
    assert!(bytes.len() > 20_000, "{} bytes", bytes.len());
}
