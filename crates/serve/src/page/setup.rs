//! How to prepare a client: plain HTTP, the TLS authority, a login.

use std::fmt::Write as _;

use maud::{Markup, html};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::super::html::copied;
use super::super::site::{HOSTS, Scheme, Site, quoted};

/// The steps that a client needs once, before it pulls; nothing if it needs none.
pub(super) fn setup(site: &Site) -> Markup {
    let logins = site.logins();
    let needs_docker = matches!(site.scheme, Scheme::Http) && !site.is_loopback();
    let needs_runtime = !matches!(site.scheme, Scheme::Https) || site.needs_hosts_file();
    html! {
        @if needs_runtime || !logins.is_empty() {
            details {
                summary { "Set up a client" }
                @if needs_docker {
                    h3 id="docker-http" { "Docker over HTTP" }
                    p { "Docker uses HTTP only for registries in its settings. Add this to " code { "/etc/docker/daemon.json" } ":" }
                    pre.copy { (json!({ "insecure-registries": [site.host] })) }
                    p { "Then load the settings:" }
                    p.line { (copied("systemctl reload docker")) }
                }
                @if let Scheme::OwnAuthority(authority) = &site.scheme { (trust(site, authority)) }
                @if needs_runtime { (containerd(site)) }
                @if !logins.is_empty() {
                    h3 { "Log in" }
                    dl.commands {
                        @for login in logins { dt { (login.tool) } dd { (copied(&login.text)) } }
                    }
                }
            }
        }
    }
}

/// How to trust the authority of this server.
fn trust(site: &Site, authority: &str) -> Markup {
    html! {
        h3 { "Trust the TLS authority" }
        p {
            "This server has its own certificate authority. Download " a href="ca.crt" download="ca.crt" { "ca.crt" }
            ", and compare it with the certificate that hod printed when it started."
        }
        @if let Some(fingerprint) = fingerprint(authority) {
            p { "SHA-256 fingerprint: " code.wrap { (fingerprint) } }
        }
        p { "As root, install it for Docker, podman, skopeo and nerdctl. The commands for ctr and Helm use this file, too." }
        p.line { (copied(&format!("install -D -m 644 ca.crt {}", site.authority_file()))) }
        details { summary { "Show the certificate" } pre.copy { (authority) } }
    }
}

/// How to let containerd, as in Kubernetes, pull from this server.
fn containerd(site: &Site) -> Markup {
    let directory = quoted(&format!("{HOSTS}/{}", site.host));
    let (scheme, authority) = match site.scheme {
        Scheme::Http => ("http", String::new()),
        Scheme::Https => ("https", String::new()),
        Scheme::OwnAuthority(_) => ("https", format!("  ca = \"/etc/docker/certs.d/{}/ca.crt\"\n", site.host)),
    };
    let hosts = format!("[host.\"{scheme}://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{authority}", site.host);
    let command = format!("mkdir -p {directory}\ncat > {directory}/hosts.toml <<'END'\n{hosts}END");
    html! {
        h3 { "containerd" }
        p {
            "Run this as root. "
            @if site.needs_hosts_file() { "ctr uses this file, too. " }
            "For Kubernetes, containerd needs " code { "config_path = \"" (HOSTS) "\"" } " in its settings."
        }
        pre.copy { (command) }
    }
}

/// The SHA-256 fingerprint of a certificate, as openssl prints it.
fn fingerprint(pem: &str) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let hash = ring::digest::digest(&ring::digest::SHA256, &certificate);
    let mut text = String::new();
    for (position, byte) in hash.as_ref().iter().enumerate() {
        let _ = write!(text, "{}{byte:02X}", if position == 0 { "" } else { ":" });
    }
    Some(text)
}
