//! A blob that many images share and the registry cannot give: it costs its images, and not the time of each of them.

use crate::support::faulty::{Effect, Faulty, On};
use crate::support::images::{Blob, Content, image, layer};
use crate::support::job::{names, pull};

/// 19 images with a blob in common, and one without it.
fn images(shared: &Blob) -> Content {
    let content = (0..19).fold(Content::default(), |content, number| {
        let own = layer(100 + number, 200);
        content.with(&format!("app:{number}"), &image("linux/amd64", &[shared.clone(), own]))
    });
    content.with("other:1", &image("linux/amd64", &[layer(2, 300)]))
}

#[test]
fn a_damaged_blob_is_fetched_twice_and_not_twice_an_image() {
    let shared = layer(1, 3000);
    let registry = Faulty::new(images(&shared)).fault(On::blob(&shared.digest()), Effect::WrongByte).start();
    let folder = tempfile::tempdir().unwrap();
    let apps: Vec<String> = (0..19).map(|number| format!("app:{number}")).chain(["other:1".to_owned()]).collect();
    let words = apps.iter().map(String::as_str).chain(["--retry-delay", "1ms"]);
    let output = pull(registry.host(), folder.path(), words).code(3);
    assert_eq!(registry.count(|seen| seen.is_blob(&shared.digest())), 2);
    assert_eq!(names(folder.path()), ["other:1"]);
    // Nineteen images have one reason, which is told once.
    assert!(output.stderr.contains("error: 19 images failed for one reason: "), "{}", output.stderr);
    assert_eq!(output.stderr.matches("caused by: the bytes of").count(), 1, "{}", output.stderr);
    assert_eq!(output.stderr.matches("! app:").count(), 1, "{}", output.stderr);
}
