//! The web pages as text and in a browser. `page_commands.rs` runs their commands.

use std::process::Command;

use serde_json::json;

use super::command::Served;
use super::push::{MANIFEST, push_image, registry};
use super::serving::Serving;
use crate::support::hod::hod;
use crate::support::images::{Content, artifact, attestation, image, image_with, index, layer};
use crate::support::{fixtures, images, raw};

/// A page that must be there.
#[track_caller]
pub fn page(serving: &Serving, target: &str) -> String {
    let response = serving.get(target);
    assert_eq!((response.status, response.header("content-type")), (200, "text/html; charset=utf-8"), "{target}");
    String::from_utf8(response.body).unwrap()
}

/// The page of an image such as `a/b:1`.
pub fn target(image: &str) -> String {
    let (name, tag) = image.rsplit_once(':').unwrap();
    format!("/?repository={}&tag={tag}", name.replace('/', "%2F"))
}

/// The texts to copy on a page, as a browser would show them.
pub fn copied(text: &str) -> Vec<String> {
    let texts = text.split("class=\"copy\">").skip(1).map(|rest| rest.split("</").next().unwrap());
    let plain =
        |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    texts.map(plain).collect()
}

/// The rows of a list, by the texts of their first links.
fn rows(text: &str) -> Vec<&str> {
    let links = text.split("<li><a class=\"name\"").skip(1);
    links.map(|rest| rest.split_once('>').unwrap().1.split("</a>").next().unwrap()).collect()
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {}", text.split("<main>").nth(1).unwrap_or(text));
    }
}

#[test]
fn every_repository_has_one_row_with_its_tags() {
    let serving = Serving::root(fixtures::root());
    let text = page(&serving, "/");
    for (image, _) in fixtures::names() {
        let link = format!("href=\"{}\"", target(&image)[1..].replace('&', "&amp;"));
        assert_eq!(text.contains(&link), !image.contains(":sha256-"), "{link}");
    }
    let rows = rows(&text);
    assert!(rows.is_sorted() && rows.len() == 14, "{rows:?}");
    assert_has(
        &text,
        &[
            &format!("<title>Images on {}</title>", serving.address),
            "14 repositories, 16 tags, ",
            "1 tag of attachments",
            "read-only",
            concat!("hod ", env!("CARGO_PKG_VERSION")),
        ],
    );
    assert_eq!(serving.request("HEAD", "/", &[]).body.len(), 0);
}

#[test]
fn a_page_loads_nothing_and_runs_only_its_own_script() {
    let serving = Serving::root(fixtures::root());
    for place in ["/", "/?repository=web", &target("web:1.0")] {
        let response = serving.get(place);
        let policy = response.header("content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(response.body).unwrap();
        assert_eq!((text.matches("<script").count(), text.matches("<style").count()), (1, 1), "{place}");
        for outside in ["<link", "<img", "src=", "href=\"http", "@import", "url(", " onclick", " style=", "javascript:"]
        {
            assert!(!text.contains(outside), "{place}: {outside}");
        }
    }
}

#[test]
fn a_search_works_without_a_script() {
    let serving = Serving::root(fixtures::root());
    let found = |query: &str| rows(&page(&serving, &format!("/?q={query}"))).join(" ");
    assert_eq!(found("busy"), "base/busybox");
    assert_eq!(found("BASE+2.0"), "base/klibc");
    assert_eq!(found("web"), "charts/web web");
    assert_eq!(found("web%3A1.1"), "web");
    assert_has(&page(&serving, "/?q=1.35"), &["value=\"1.35\"", "1 repository matches", "tag=1.35"]);
    assert!(!page(&serving, "/?q=1.35").contains("tag=latest"), "only the tags that match");
    let nothing = page(&serving, "/?q=%22%3E%3Cscript%3E");
    assert_has(&nothing, &["No repository, tag or group matches", "value=\"&quot;&gt;&lt;script&gt;\""]);
    assert!(page(&serving, "/").contains("<form method=\"get\" role=\"search\"><input type=\"search\" name=\"q\""));
}

#[test]
fn an_image_has_its_layers_history_config_and_attachments() {
    let root = tempfile::tempdir().unwrap();
    let run = json!({"Cmd": ["sh", "-c", "echo a"], "Env": ["A=<b>"], "Labels": {"team": "x"}});
    let history = json!([
        {"created": "2026-02-03T04:05:06Z", "created_by": "COPY data /"},
        {"created_by": "ENV A=1", "empty_layer": true},
    ]);
    let more = json!({"created": "2026-02-03T04:05:06Z", "author": "Ann", "history": history});
    let amd64 = image_with("linux/amd64", &run, &more, &[layer(1, 5_000)]);
    let arm64 = image("linux/arm64", &[layer(2, 3_000)]);
    let app = index(&[amd64.clone(), arm64.clone(), attestation(&amd64)]);
    let signature =
        artifact("application/vnd.dev.sigstore.bundle.v0.3+json", &[images::Blob::new("x/y", "s")], Some(&app));
    let sbom = artifact("application/spdx+json", &[images::Blob::new("x/y", "t")], Some(&amd64));
    let content =
        Content::default().with("app:1", &app).with("app:same", &app).with("app", &signature).with("app", &sbom);
    content.write_root(root.path());
    let serving = Serving::root(root.path());
    let text = page(&serving, &target("app:1"));
    assert_has(
        &text,
        &[
            "<dd>linux/amd64, linux/arm64</dd>",
            "2026-02-03 04:05 UTC",
            "COPY data /",
            "config only",
            "<h2>Layers of linux/amd64</h2>",
            "1 layer, 5.",
            "sh -c &quot;echo a&quot;",
            "A=&lt;b&gt;",
            "<dt>Label team</dt>",
            "<dt>Author</dt>",
            "<dt>Signature</dt>",
            "<dt>SBOM</dt>",
            "<dt>Attestation</dt>",
            "tag=same",
            &app.digest().to_string(),
            &signature.digest().to_string(),
            &arm64.digest().to_string(),
        ],
    );
    let other = page(&serving, &format!("{}&platform=linux%2Farm64", target("app:1")));
    assert_has(&other, &["<h2>Layers of linux/arm64</h2>", "1 layer, 3.", "docker pull --platform linux/arm64"]);
    let by_digest = page(&serving, &format!("/?repository=app&digest={}", signature.digest()));
    assert_has(&by_digest, &["application/vnd.dev.sigstore.bundle.v0.3+json", &format!("app@{}", signature.digest())]);
    let tags = page(&serving, "/?repository=app");
    assert_eq!(rows(&tags), ["same", "1"]);
    assert_has(&tags, &["linux/amd64, linux/arm64", "2026-02-03"]);
}

#[test]
fn platforms_and_blobs_that_are_not_here_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let (amd64, arm64) = (image("linux/amd64", &[layer(1, 10)]), image("linux/arm64", &[layer(2, 10)]));
    let mut sparse = index(&[amd64.clone(), arm64]);
    sparse.children.pop();
    let mut delta = image("linux/amd64", &[layer(3, 10), layer(4, 10)]);
    delta.blobs.pop();
    let mut bare = index(&[amd64]);
    bare.children.clear();
    let content = Content::default().with("sparse:1", &sparse).with("delta:1", &delta).with("bare:1", &bare);
    content.write_root(root.path());
    let serving = Serving::root(root.path());
    let text = page(&serving, &target("sparse:1"));
    assert_has(&text, &["linux/amd64 of 2 platforms", "The commands pull linux/amd64."]);
    assert!(!text.contains("--all") && text.contains("docker pull --platform linux/amd64"));
    let absent = page(&serving, &format!("{}&platform=linux%2Farm64", target("sparse:1")));
    assert_has(&absent, &["linux/arm64 is not on this server. Choose another platform."]);
    let delta = page(&serving, &target("delta:1"));
    assert_has(
        &delta,
        &["1 blob of this image is not on this server. If this is a delta bundle, also serve its base."],
    );
    let bare = page(&serving, &target("bare:1"));
    assert_has(&bare, &["none of 1 platform"]);
    for (name, text) in [("absent", absent), ("delta", delta), ("bare", bare)] {
        assert!(!text.contains("docker pull") && !text.contains("skopeo copy"), "{name}: no command would work");
    }
}

#[test]
fn a_bundle_shows_the_groups_of_its_list() {
    let source = Serving::root(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let (list, bundle) = (folder.path().join("list"), folder.path().join("bundle.tar"));
    let text = format!("##base\n{0}/pause:3.9\n{0}/base/klibc:2.0\n##web\n{0}/web:1.1\n", source.address);
    fs_err::write(&list, text).unwrap();
    hod(["bundle", "-f"]).arg(&list).arg("-o").arg(&bundle).ok();
    let served = Served::start([&bundle]);
    let page = |target: &str| String::from_utf8(raw::get(&served.host, target).body).unwrap();
    let text = page("/");
    assert_has(&text, &["href=\"?group=base\"", "href=\"?group=web\"", "<span class=\"group\">base</span>"]);
    assert_eq!(rows(&page("/?group=base")), ["base/klibc", "pause"]);
    assert_eq!(rows(&page("/?group=base&q=pau")), ["pause"]);
    assert_has(&page(&target("web:1.1")), &["<a href=\"?group=web\">web</a>"]);
}

#[test]
fn what_is_not_there_has_a_page_that_says_so() {
    let serving = Serving::root(fixtures::root());
    for query in ["repository=none", "repository=web&tag=none", "repository=..&tag=1", "repository=web&digest=x"] {
        let response = serving.get(&format!("/?{query}"));
        assert_eq!(response.status, 404, "{query}");
        assert!(String::from_utf8(response.body).unwrap().contains("This server does not have this image."), "{query}");
    }
    assert_eq!(serving.get("/ca.crt").status, 404, "there is no authority without TLS");
}

#[test]
fn what_was_pushed_cannot_change_the_page() {
    let (serving, _root) = registry();
    assert_has(&page(&serving, "/"), &["nothing to pull yet", "writable"]);
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
    for place in ["/?repository=a", "/?repository=a&tag=2"] {
        let text = page(&serving, place);
        assert!(text.contains("&lt;script&gt;") && text.matches("<script").count() == 1, "{text}");
    }
    for command in copied(&page(&serving, "/?repository=a&tag=2")) {
        assert!(!command.contains("alert"), "{command}");
    }
    let strange = serving.send("GET", "/", &[("Host", "x")], b"");
    assert_ne!(strange.status, 500);
}

/// Starts Chromium without a window on a page, and returns what it prints.
fn browse(folder: &std::path::Path, url: &str, arguments: &[&str]) -> Vec<u8> {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    chromium.args(["--no-first-run", "--disable-quic", "--disable-background-networking"]);
    chromium.args(["--disable-component-update", "--disable-sync", "--virtual-time-budget=5000"]);
    chromium.arg(format!("--user-data-dir={}", folder.join("profile").display())).args(arguments);
    let output = chromium.arg(url).env("HOME", folder).output();
    let output = output.expect("chromium does not start: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_browser_shows_it() {
    let serving = Serving::root(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let document = String::from_utf8(browse(folder.path(), &serving.url("/"), &["--dump-dom"])).unwrap();
    assert!(document.contains("base/busybox"));
    // The policy lets the script run: it adds the buttons.
    let image = serving.url(&target("web:1.0"));
    let document = String::from_utf8(browse(folder.path(), &image, &["--dump-dom"])).unwrap();
    assert_eq!(document.matches(">Copy</button>").count(), copied(&page(&serving, &target("web:1.0"))).len());
    let picture = folder.path().join("page.png");
    browse(folder.path(), &image, &["--window-size=900,1200", &format!("--screenshot={}", picture.display())]);
    let bytes = fs_err::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    // A blank page of this size is a few kilobytes.
    assert!(bytes.len() > 20_000, "{} bytes", bytes.len());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn no_page_is_wider_than_a_phone() {
    let long = "a-very-long-name-of-a-repository/with-many-words-and-no-break/in-any-of-them-for-a-long-time";
    let root = tempfile::tempdir().unwrap();
    let steps = json!({"history": [{"created_by": "x".repeat(300), "created": "2026-02-03T04:05:06Z"}]});
    let run = json!({"Env": [format!("PATH={}", "/bin:".repeat(80))], "Labels": {"l".repeat(90): "v"}});
    let app =
        index(&[image_with("linux/amd64", &run, &steps, &[layer(1, 10)]), image("linux/arm/v7", &[layer(2, 10)])]);
    let tags: Vec<String> = (0..20).map(|number| format!("{long}:1.0.{number}-{}", "b".repeat(50))).collect();
    let content = tags.iter().fold(Content::default(), |content, name| content.with(name, &app));
    content.write_root(root.path());
    let serving = Serving::with(root.path(), |options| (options.writable, options.deletes) = (true, true));
    let folder = tempfile::tempdir().unwrap();
    for place in ["/", "/?q=none", &format!("/?repository={}", long.replace('/', "%2F")), &target(&tags[0])] {
        let text = page(&serving, place).replace("<details", "<details open");
        let escaped = text.replace('&', "&amp;").replace('"', "&quot;");
        // A window of Chromium is at least 500 pixels wide, so a frame stands for the phone.
        let frame = format!(
            "<iframe width=375 height=800 srcdoc=\"{escaped}\"></iframe><p>waiting</p><script>onload = () => {{\
             const page = document.querySelector('iframe').contentDocument.documentElement;\
             document.querySelector('p').textContent = `width ${{page.scrollWidth}} of ${{page.clientWidth}}`;\
             }}</script>"
        );
        let file = folder.path().join("frame.html");
        fs_err::write(&file, frame).unwrap();
        let shown =
            String::from_utf8(browse(folder.path(), &format!("file://{}", file.display()), &["--dump-dom"])).unwrap();
        let widths =
            shown.split("<p>width ").nth(1).unwrap_or_else(|| panic!("{place}: {shown}")).split('<').next().unwrap();
        let (page, window) = widths.split_once(" of ").unwrap();
        assert!(page == window && window.parse::<u32>().unwrap() <= 375, "{place}: {widths}");
    }
}
