//! Configuration files of others, and what registries say in headers.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::RepositoryName;
use hod_registry::{Registries, Settings, next_page, token_server};
use hod_serve::Admission;
use hod_steps::sync::document::Language;
use hod_steps::sync::image_syncer::Configuration;
use hod_steps::sync::source_file::SourceFile;
use hod_trust::policy::{Policy, Subject};
use tempfile::TempDir;
use url::Url;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Makes the bytes a file, for what only reads files; it is the same one each time.
pub fn in_file<T>(bytes: &[u8], work: impl FnOnce(&Path) -> T) -> T {
    FOLDER.with(|folder| {
        let path = folder.get_or_init(|| tempfile::tempdir().expect("a directory for files")).path().join("file");
        fs::write(&path, bytes).expect("a file can be written there");
        work(&path)
    })
}

fn name() -> RepositoryName {
    "library/alpine".parse().expect("a name")
}

/// Files that name what is to be synchronized: skopeo's, and those of image-syncer.
pub fn sync_sources(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(file) = SourceFile::parse(text) {
        let repositories = file.registries.iter().flat_map(|registry| &registry.repositories);
        for (repository, _) in repositories {
            assert_eq!(repository.to_string().parse().as_ref(), Ok(repository));
        }
    }
    for language in [Language::Yaml, Language::Json] {
        let mut configuration = Configuration::default();
        let variables = |_: &str| Some("x".to_owned());
        let _ = configuration.add_both(language, text, &variables);
        let _ = configuration.add_images(language, text, &variables);
        let _ = configuration.add_auth(language, text, &variables);
    }
}

/// `policy.json`: whatever it says, a ruling is found for every image.
pub fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(Path::new("policy.json"), bytes) else { return };
    for scopes in [Vec::new(), vec!["docker.io/library/alpine".to_owned(), "docker.io".to_owned()]] {
        let subject = Subject { transport: "docker", scopes };
        assert!(!policy.ruling(&subject).requirements.is_empty(), "an image that nothing is required of");
    }
}

/// `registries.conf`: it leads to a repository, or to an error that asking tells; nothing is asked here.
pub fn registries_conf(bytes: &[u8]) {
    in_file(bytes, |path| {
        let mut settings = Settings::default();
        settings.registries_conf.file = Some(path.to_owned());
        let registries = Registries::new(settings);
        for host in ["docker.io", "registry.example:5000"] {
            drop(registries.source(host, &name()));
        }
        assert_eq!(registries.requests(), 0);
    });
}

/// `auth.json` and its like. Helpers that it names are not found, and none is run.
pub fn credentials(bytes: &[u8]) {
    in_file(bytes, |path| {
        let mut settings = Settings::default();
        settings.credentials.authfile = Some(path.to_owned());
        let registries = Registries::new(settings);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for host in ["docker.io", "registry.example:5000"] {
            let _ = runtime.block_on(registries.credentials(host, Some(&name())));
        }
        assert_eq!(registries.requests(), 0);
    });
}

/// Users of a server.
pub fn htpasswd(bytes: &[u8]) {
    in_file(bytes, |path| {
        let users = |path: PathBuf| Admission { writers: Some(path), ..Admission::default() };
        let _ = users(path.to_owned()).check();
    });
}

/// `WWW-Authenticate` and `Link`.
pub fn registry_headers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let registry = Url::parse("https://registry.example/v2/").expect("an address");
    if let Some(server) = token_server(&text, &registry) {
        // Whom to trust with a password is decided where one is sent; what has no host can get none.
        assert!(server.has_host() || !matches!(server.scheme(), "http" | "https"), "{server}");
    }
    if let Some(page) = next_page(&text) {
        assert!(!page.contains('>'), "{page}");
        let _ = registry.join(page);
    }
}
