//! Docker Hub's official images, whose names have one part: at the Hub and at its mirrors they are `library/NAME`.

use std::collections::BTreeSet;

use fs_err as fs;
use hod_image::copy_image::MultiArch;
use hod_image::copy_list::{Base, ListCopy};
use hod_image::list::ListReader;
use hod_image::resolve::NameStyle;

use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::job::names;

#[test]
fn a_mirror_is_asked_for_library_names_where_it_lacks_the_plain_one() {
    let (nginx, plain) = (image("linux/amd64", &[layer(1, 100)]), image("linux/amd64", &[layer(2, 100)]));
    let content = Content::default().with("library/nginx:1", &nginx).with("team/app:1", &plain);
    // Both names are there: the plain one is what was asked for.
    let content = content.with("redis:7", &plain).with("library/redis:7", &nginx);
    let mirror = Faulty::new(content).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("list"), "nginx:1\nteam/app:1\nredis:7\n").unwrap();
    let words = ["pull", "-f", "list", "--from", mirror.host(), "--store", "store", "--lock", "lock"];
    hod(words).in_folder(here).ok();
    assert_eq!(names(&here.join("store")), ["nginx:1", "redis:7", "team/app:1"]);
    let lock = fs::read_to_string(here.join("lock")).unwrap();
    let pinned = |name: &str, digest| format!("{}/{name}@{digest} ", mirror.host());
    assert!(lock.contains(&pinned("library/nginx:1", nginx.digest())), "{lock}");
    assert!(lock.contains(&pinned("redis:7", plain.digest())), "{lock}");
    // An image that is nowhere is missing under the name that was asked for.
    let said = hod(["pull", "absent:1", "--from", mirror.host(), "--store", "s"]).in_folder(here).code(1).stderr;
    assert!(said.contains("/absent does not exist") && !said.contains("library/absent"), "{said}");
}

#[test]
fn a_copy_from_the_hub_asks_for_library_names() {
    let mut list = ListReader::new();
    list.file("list", b"nginx:1\ncalico/node:v3\nquay.io/a/b:1\n");
    let lines = list.finish(&[]).unwrap().lines;
    for (from, expected) in [
        (
            "docker://docker.io",
            ["docker://docker.io/library/nginx:1", "docker://docker.io/calico/node:v3", "docker://docker.io/a/b:1"],
        ),
        (
            "docker://mirror.site/hub",
            [
                "docker://mirror.site/hub/nginx:1",
                "docker://mirror.site/hub/calico/node:v3",
                "docker://mirror.site/hub/a/b:1",
            ],
        ),
    ] {
        let (from, to): (Base, Base) = (from.parse().unwrap(), "dir:x".parse().unwrap());
        let copy = ListCopy { from, to, part: MultiArch::All, names: NameStyle::AsListed, referrers: false };
        let found: BTreeSet<String> = copy.requests(&lines).unwrap().iter().map(|it| it.from.to_string()).collect();
        assert_eq!(found, expected.map(str::to_owned).into());
    }
}
