//! A registry that has more to say than a run can keep: pages without an end, and manifests by the gigabyte.

use bytes::Bytes;
use hod_oci::{Digest, MediaType};
use serde_json::json;

use super::start;
use crate::support::faulty::{Effect, Faulty, On, Route, Seen};
use crate::support::hod::hod;
use crate::support::images::{Content, Image, artifact, image, layer};
use crate::support::job::{names, pull};

const MEMORY: u64 = 192 * 1024 * 1024;

/// The page behind the one that was asked for, and so many bytes of tags.
fn page(seen: &Seen, bytes: usize) -> (Vec<(&'static str, String)>, Bytes) {
    let number: usize = seen.parameter("page").and_then(|page| page.parse().ok()).unwrap_or(0);
    let next = format!("<{}?page={}>; rel=\"next\"", seen.path, number + 1);
    let tags: Vec<String> =
        (0..bytes / 80).map(|tag| format!("{}-{number}", Digest::sha256(&tag.to_ne_bytes()).hex())).collect();
    (vec![("Link", next)], json!({ "name": "app", "tags": tags }).to_string().into())
}

#[test]
fn pages_of_tags_without_an_end_fill_no_memory() {
    // Signatures are asked for by their names where there are too many tags to look through.
    let app = image("linux/amd64", &[layer(1, 100)]);
    let signature = image("linux/amd64", &[layer(2, 100)]);
    let tag = app.digest().to_string().replace(':', "-");
    let both = Content::default().with("app:1", &app).with(&format!("app:{tag}.sig"), &signature);
    for size in [100, 3 << 20] {
        let registry = Faulty::new(both.clone()).fault(On::tags(), Effect::says(move |seen| page(seen, size))).start();
        let folder = tempfile::tempdir().unwrap();
        let (output, peak) = pull(registry.host(), folder.path(), ["app:1"]).measured();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        assert!(peak < MEMORY, "{peak} bytes of memory");
        assert_eq!(names(folder.path()), ["app:1", &format!("app:{tag}.sig")]);
        let pages = registry.count(|seen| matches!(seen.route, Route::Tags(_)));
        assert!(pages <= 100, "{pages} pages");
    }
    let registry = start([(On::tags(), Effect::says(|seen| page(seen, 3 << 20)))]);
    let (output, peak) = hod(["list-tags", &format!("docker://{}/app", registry.host())]).measured();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(peak < MEMORY, "{peak} bytes of memory");
    let says = format!("list of tags in {0}/app: {0} returned a list of more than 32 MiB", registry.host());
    assert!(output.stderr.contains(&says), "{}", output.stderr);
}

#[test]
fn an_old_index_of_referrers_is_found_among_too_many_tags() {
    let app = image("linux/amd64", &[layer(1, 100)]);
    let (listed, indexed) = (artifact("x/listed", &[], Some(&app)), artifact("x/indexed", &[], None));
    let tag = app.digest().to_string().replace(':', "-");
    let old = crate::support::images::index(std::slice::from_ref(&indexed));
    let mut content = Content::default().with("app:1", &app).with(&format!("app:{tag}"), &old);
    content.repositories.get_mut("app").unwrap().add(&listed);
    let registry =
        Faulty::new(content).lists_referrers(10).fault(On::tags(), Effect::says(|seen| page(seen, 100))).start();
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["app:1"]).ok();
    for referrer in [&listed, &indexed] {
        assert!(registry.count(|seen| seen.is_manifest(&referrer.digest().to_string())) > 0);
    }
}

#[test]
fn manifests_by_the_gigabyte_fill_no_memory() {
    // Each is as large as a manifest may be, and there is no end of them.
    let layer = layer(1, 100);
    let child = |number: usize| {
        let config =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer.digest(), "size": 1});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OciManifest.as_str(), "config": config, "layers": [],
            "annotations": {"number": number.to_string(), "note": "x".repeat(4_000_000)},
        });
        Image::of_bytes(MediaType::OciManifest.as_str(), manifest.to_string())
    };
    let children: Vec<Image> = (0..60).map(child).collect();
    let registry = Faulty::new(Content::default().with("app:1", &crate::support::images::index(&children))).start();
    let folder = tempfile::tempdir().unwrap();
    let (output, peak) = pull(registry.host(), folder.path(), ["app:1", "--all-platforms"]).measured();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let says = format!("{} sent more than 128 MiB of manifests and configs in this run", registry.host());
    assert!(output.stderr.contains(&says), "{}", output.stderr);
    // Those that were on their way come on top.
    assert!(peak < 2 * MEMORY, "{peak} bytes of memory");
}
