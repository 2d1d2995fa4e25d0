//! The address of a server as one client sees it, and the commands that pull from it.
//!
//! Every command must work when it is pasted into a shell: over HTTP and HTTPS, and for an image of which only some
//! platforms are here.

use std::net::IpAddr;
use std::sync::Arc;

use super::image::{Image, Instance, Kind, Shape};
use hod_oci::{Digest, Platform, RepositoryName, Tag};

/// Where containerd looks for the settings of registries.
pub(super) const HOSTS: &str = "/etc/containerd/certs.d";

/// How a client reaches a server, and what it needs for that.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// Host and port, as the client wrote them.
    pub(super) host: String,
    pub(super) scheme: Scheme,
    /// The user who reads the page, if a pull needs one.
    pub(super) user: Option<String>,
    pub(super) access: Access,
}

/// How the connection is protected.
#[derive(Debug, Clone)]
pub(super) enum Scheme {
    Http,
    /// HTTPS with a certificate of the site.
    Https,
    /// HTTPS with a certificate of the server's own authority, here as PEM.
    OwnAuthority(Arc<str>),
}

/// The access of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    Writable,
    /// Also deletes.
    Deletable,
}

/// A tag or digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    Tag(Tag),
    Digest(Digest),
}

/// A command of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) tool: &'static str,
    pub(super) text: String,
}

impl Site {
    /// Returns true if Docker reaches it without a change of its settings: it takes HTTP from its own machine only.
    pub(super) fn is_loopback(&self) -> bool {
        let port = self.host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let host = port.map_or(self.host.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Where Docker, podman, skopeo and nerdctl look for the authority's certificate.
    pub(super) fn authority_file(&self) -> String {
        quoted(&format!("/etc/docker/certs.d/{}/ca.crt", self.host))
    }

    /// Returns true if ctr needs a `hosts.toml` for HTTPS: otherwise it uses HTTP for its own machine.
    pub(super) fn needs_hosts_file(&self) -> bool {
        self.is_loopback() && !matches!(self.scheme, Scheme::Http)
    }

    fn option(&self, http: &'static str, own_authority: &str) -> String {
        match self.scheme {
            Scheme::Http => format!(" {http}"),
            Scheme::OwnAuthority(_) if !own_authority.is_empty() => {
                format!(" {own_authority} {}", self.authority_file())
            }
            _ => String::new(),
        }
    }

    /// The commands that log in, if a pull needs a user.
    pub(super) fn logins(&self) -> Vec<Command> {
        let Some(user) = &self.user else { return Vec::new() };
        let (user, host) = (quoted(user), quoted(&self.host));
        let login = |tool, command: &str, http, own| Command {
            tool,
            text: format!("{command}{} --username {user} {host}", self.option(http, own)),
        };
        vec![
            Command { tool: "Docker", text: format!("docker login --username {user} {host}") },
            login("podman", "podman login", "--tls-verify=false", ""),
            login("skopeo", "skopeo login", "--tls-verify=false", ""),
            login("nerdctl", "nerdctl login", "--insecure-registry", ""),
            login("Helm", "helm registry login", "--plain-http", "--ca-file"),
        ]
    }

    /// The commands that pull an image, for one platform if it is given or if not all are here. There is none where
    /// every command would fail.
    pub(super) fn commands(
        &self,
        name: &RepositoryName,
        version: &Version,
        image: &Image,
        wanted: Option<&str>,
    ) -> Vec<Command> {
        let Some(instance) = image.instance(wanted).filter(|instance| instance.is_complete()) else {
            return Vec::new();
        };
        let is_chosen = wanted == Some(instance.platform.as_str());
        let reference = quoted(&match version {
            Version::Tag(tag) => format!("{}/{name}:{tag}", self.host),
            Version::Digest(digest) => format!("{}/{name}@{digest}", self.host),
        });
        let mut commands = match &image.kind {
            Kind::Container => {
                let takes_all = image.has_all_platforms() && image.shape != Shape::Single && !is_chosen;
                let platform = instance.option().filter(|_| !takes_all);
                let mut commands = self.container_commands(&reference, platform.as_ref());
                if image.shape == Shape::Nested {
                    // Docker takes no index in an index, but the image in it.
                    let reference = quoted(&format!("{}/{name}@{}", self.host, instance.digest));
                    let docker = commands.iter_mut().filter(|command| command.tool == "Docker");
                    docker.for_each(|command| command.text = format!("docker pull {reference}"));
                }
                commands
            }
            Kind::Chart => self.chart_command(name, version).into_iter().collect(),
            Kind::Artifact(_) => Vec::new(),
        };
        commands.push(self.skopeo_command(name, &reference, image, if is_chosen { Some(instance) } else { None }));
        commands
    }

    fn container_commands(&self, reference: &str, platform: Option<&Platform>) -> Vec<Command> {
        let platform = platform.map_or_else(String::new, |platform| format!(" --platform {platform}"));
        let login = self.user.as_ref().map_or_else(String::new, |user| format!(" --user {}", quoted(user)));
        let tls = self.option("--tls-verify=false", "");
        let insecure = self.option("--insecure-registry", "");
        let ctr = if self.needs_hosts_file() {
            format!(" --hosts-dir {HOSTS}")
        } else {
            self.option("--plain-http", "--tlscacert")
        };
        vec![
            Command { tool: "Docker", text: format!("docker pull{platform} {reference}") },
            Command { tool: "podman", text: format!("podman pull{tls}{platform} {reference}") },
            Command { tool: "containerd", text: format!("ctr images pull{ctr}{login}{platform} {reference}") },
            Command { tool: "nerdctl", text: format!("nerdctl{insecure} pull{platform} {reference}") },
        ]
    }

    /// Helm pulls versions only, and writes `+` in them as `_` in a tag.
    fn chart_command(&self, name: &RepositoryName, version: &Version) -> Option<Command> {
        let Version::Tag(tag) = version else { return None };
        let numbers = tag.as_str().split(['-', '_']).next().unwrap_or_default();
        let is_version = numbers.split('.').count() == 3
            && numbers.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        let options = self.option("--plain-http", "--ca-file");
        let chart = quoted(&format!("oci://{}/{name}", self.host));
        let version = tag.as_str().replace('_', "+");
        is_version.then(|| Command { tool: "Helm", text: format!("helm pull{options} {chart} --version {version}") })
    }

    /// skopeo copies everything if everything is here and in one index, otherwise one platform.
    fn skopeo_command(
        &self,
        name: &RepositoryName,
        reference: &str,
        image: &Image,
        chosen: Option<&Instance>,
    ) -> Command {
        let takes_all = image.is_whole() && image.shape != Shape::Nested && chosen.is_none();
        let instance = if takes_all { None } else { chosen.or_else(|| image.instance(None)) };
        let platform = instance.and_then(Instance::option);
        let choice = platform.map_or_else(String::new, |platform| {
            let variant = platform.variant.map_or_else(String::new, |variant| format!(" --override-variant {variant}"));
            format!(" --override-os {} --override-arch {}{variant}", platform.os, platform.architecture)
        });
        let all = if takes_all && image.shape == Shape::Index { " --all" } else { "" };
        let tls = self.option("--src-tls-verify=false", "");
        let directory = name.as_str().rsplit('/').next().unwrap_or_default();
        Command { tool: "skopeo", text: format!("skopeo{choice} copy{all}{tls} docker://{reference} dir:{directory}") }
    }
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.:@_-+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::State;

    fn site(host: &str, scheme: Scheme) -> Site {
        Site { host: host.to_owned(), scheme, user: None, access: Access::ReadOnly }
    }

    fn image(kind: Kind, shape: Shape, platforms: &[(&str, State)]) -> Image {
        let digest = Digest::sha256(b"x");
        let instances = platforms.iter().map(|(platform, state)| Instance {
            platform: (*platform).to_owned(),
            digest,
            state: *state,
            bytes: 1,
        });
        Image {
            digest,
            kind,
            shape,
            instances: instances.collect(),
            attestations: Vec::new(),
            blobs: std::collections::BTreeMap::new(),
            absent: 0,
        }
    }

    fn lines(site: &Site, tag: &str, image: &Image, wanted: Option<&str>) -> Vec<String> {
        let commands = site.commands(&"a/b".parse().unwrap(), &Version::Tag(tag.parse().unwrap()), image, wanted);
        commands.into_iter().map(|command| command.text).collect()
    }

    const FULL: [(&str, State); 2] = [("linux/amd64", State::Complete), ("linux/arm64", State::Complete)];
    const SPARSE: [(&str, State); 2] = [("linux/amd64", State::Absent), ("linux/arm/v7", State::Complete)];

    #[test]
    fn commands_fit_the_scheme() {
        let full = image(Kind::Container, Shape::Index, &FULL);
        assert_eq!(
            lines(&site("h:5000", Scheme::Http), "1", &full, None),
            [
                "docker pull h:5000/a/b:1",
                "podman pull --tls-verify=false h:5000/a/b:1",
                "ctr images pull --plain-http h:5000/a/b:1",
                "nerdctl --insecure-registry pull h:5000/a/b:1",
                "skopeo copy --all --src-tls-verify=false docker://h:5000/a/b:1 dir:b",
            ]
        );
        assert_eq!(
            lines(&site("h", Scheme::Https), "1", &full, None)[1..],
            [
                "podman pull h/a/b:1",
                "ctr images pull h/a/b:1",
                "nerdctl pull h/a/b:1",
                "skopeo copy --all docker://h/a/b:1 dir:b",
            ]
        );
        let own = Site { user: Some("an n".to_owned()), ..site("[::1]:5", Scheme::OwnAuthority("pem".into())) };
        assert_eq!(
            lines(&own, "1", &full, Some("linux/arm64"))[2..],
            [
                "ctr images pull --hosts-dir /etc/containerd/certs.d --user 'an n' --platform linux/arm64 '[::1]:5/a/b:1'",
                "nerdctl pull --platform linux/arm64 '[::1]:5/a/b:1'",
                "skopeo --override-os linux --override-arch arm64 copy docker://'[::1]:5/a/b:1' dir:b",
            ]
        );
        assert_eq!(own.logins().len(), 5);
        assert_eq!(
            lines(&site("h:5", Scheme::OwnAuthority("pem".into())), "1", &full, None)[2],
            "ctr images pull --tlscacert /etc/docker/certs.d/h:5/ca.crt h:5/a/b:1"
        );
    }

    #[test]
    fn commands_of_sparse_indexes_name_a_platform_that_is_here() {
        let site = site("h", Scheme::Https);
        let sparse = image(Kind::Container, Shape::Index, &SPARSE);
        assert_eq!(
            lines(&site, "1", &sparse, None),
            [
                "docker pull --platform linux/arm/v7 h/a/b:1",
                "podman pull --platform linux/arm/v7 h/a/b:1",
                "ctr images pull --platform linux/arm/v7 h/a/b:1",
                "nerdctl pull --platform linux/arm/v7 h/a/b:1",
                "skopeo --override-os linux --override-arch arm --override-variant v7 copy docker://h/a/b:1 dir:b",
            ]
        );
        assert!(lines(&site, "1", &sparse, Some("linux/amd64")).is_empty());
        let partial = image(Kind::Container, Shape::Single, &[("linux/amd64", State::Partial { missing: 1 })]);
        assert!(lines(&site, "1", &partial, None).is_empty());
        let single = image(Kind::Container, Shape::Single, &FULL[..1]);
        assert_eq!(lines(&site, "1", &single, None)[0], "docker pull --platform linux/amd64 h/a/b:1");
        let nested = image(Kind::Container, Shape::Nested, &FULL);
        let lines = lines(&site, "1", &nested, None);
        assert_eq!(lines[0], format!("docker pull h/a/b@{}", Digest::sha256(b"x")));
        assert!(!lines[4].contains("--all"));
    }

    #[test]
    fn a_platform_that_was_pushed_cannot_add_a_command() {
        let hostile = image(Kind::Container, Shape::Single, &[("linux; reboot/$(x)", State::Complete)]);
        for line in lines(&site("h", Scheme::Https), "1", &hostile, Some("linux; reboot/$(x)")) {
            assert!(!line.contains("reboot") && !line.contains('$'), "{line}");
        }
        assert_eq!(quoted("a'b"), "'a'\\''b'");
    }

    #[test]
    fn charts_are_pulled_by_helm() {
        let chart = image(Kind::Chart, Shape::Single, &[("", State::Complete)]);
        let http = site("h", Scheme::Http);
        assert_eq!(
            lines(&http, "1.0.0_build", &chart, None),
            [
                "helm pull --plain-http oci://h/a/b --version 1.0.0+build",
                "skopeo copy --src-tls-verify=false docker://h/a/b:1.0.0_build dir:b",
            ]
        );
        assert_eq!(lines(&http, "latest", &chart, None).len(), 1);
        let other = image(Kind::Artifact("text/x".to_owned()), Shape::Single, &[("", State::Complete)]);
        assert_eq!(lines(&http, "1", &other, None).len(), 1);
    }

    #[test]
    fn docker_takes_http_from_its_own_machine() {
        for (host, expected) in [
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("localhost", true),
            ("10.0.0.1:5000", false),
            ("h", false),
        ] {
            assert_eq!(site(host, Scheme::Http).is_loopback(), expected, "{host}");
        }
    }
}
